//! A mutex of pthread.

use super::{PthreadError, place};
use polyproc_shm::SharedMemory;
use polyproc_sys::robust;
use raw_sync::locks::{LockImpl, LockInit, Mutex};

/// A process-shared `pthread_mutex_t` in shared memory.
///
/// Between the threads of one process and of several; any program that maps the memory may use the mutex by pthread's calls.
/// To lock it twice in one thread blocks for ever. See the [module](super) for what it cannot do.
///
/// ```
/// use polyproc_shm::SharedMemory;
/// use polyproc_sync::pthread::Lock;
/// let memory = SharedMemory::new(64)?;
/// // SAFETY: nothing but mutexes touches the first 40 bytes, and nobody knows them yet.
/// let lock = unsafe { Lock::create(&memory, 0) }?;
/// // SAFETY: a mutex is there.
/// let same = unsafe { Lock::open(&memory, 0) }?; // in another program, as a rule
/// drop(lock.lock()?);
/// let _guard = same.lock()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Lock {
    mutex: Box<dyn LockImpl>,
    /// Keeps the bytes mapped.
    memory: SharedMemory,
}

// SAFETY: behind it is a process-shared mutex, which any thread may use; raw_sync's type holds only its address.
unsafe impl Send for Lock {}
// SAFETY: as above.
unsafe impl Sync for Lock {}

impl Lock {
    /// Makes a mutex, unlocked, of the bytes from `offset` on: a `pthread_mutex_t`, 40 of them on x86_64.
    ///
    /// # Errors
    /// [`PthreadError::NoRoom`], and [`PthreadError::Failed`] if the system has no such mutexes.
    ///
    /// # Safety
    /// * Nobody uses these bytes as anything else, in any process, for as long as somebody uses the mutex.
    /// * Nobody uses them as a mutex yet.
    ///
    /// # Examples
    /// As of [`Lock`].
    pub unsafe fn create(memory: &SharedMemory, offset: u64) -> Result<Self, PthreadError> {
        let at = place(memory, offset, Mutex::size_of(None))?;
        // SAFETY: so many bytes at a multiple of 8, mapped while `memory` is there, and ours by the caller's duty.
        let (mutex, _) = unsafe { Mutex::new(at, core::ptr::null_mut()) }.map_err(PthreadError::failed)?;
        Ok(Self { mutex, memory: memory.clone() })
    }

    /// The mutex at `offset`, which somebody has made.
    ///
    /// # Errors
    /// [`PthreadError::NoRoom`]
    ///
    /// # Safety
    /// * A process-shared `pthread_mutex_t` is there, made by [`Lock::create`] or by `pthread_mutex_init`.
    /// * Nobody uses these bytes as anything else, in any process, for as long as somebody uses the mutex.
    ///
    /// # Examples
    /// As of [`Lock`].
    pub unsafe fn open(memory: &SharedMemory, offset: u64) -> Result<Self, PthreadError> {
        let at = place(memory, offset, Mutex::size_of(None))?;
        // SAFETY: as in `create`; a mutex is there by the caller's duty.
        let (mutex, _) = unsafe { Mutex::from_existing(at, core::ptr::null_mut()) }.map_err(PthreadError::failed)?;
        Ok(Self { mutex, memory: memory.clone() })
    }

    /// Takes the lock; sleeps until it is free, for ever if its holder was killed.
    ///
    /// # Errors
    /// [`PthreadError::Failed`]: pthread says that this is no mutex.
    ///
    /// # Examples
    /// As of [`Lock`].
    pub fn lock(&self) -> Result<LockGuard<'_>, PthreadError> {
        let guard = self.mutex.lock().map_err(PthreadError::failed)?;
        Ok(LockGuard { guard: Some(guard), thread: robust::thread_id() })
    }
}

impl core::fmt::Debug for Lock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lock").field("memory", &self.memory).finish_non_exhaustive()
    }
}

/// Holds a [`Lock`] until it is dropped. It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let memory = polyproc_shm::SharedMemory::new(64).unwrap();
/// let lock = unsafe { polyproc_sync::pthread::Lock::create(&memory, 0) }.unwrap();
/// send(lock.lock().unwrap());
/// ```
#[must_use = "the lock is given up as soon as the guard is dropped"]
pub struct LockGuard<'a> {
    guard: Option<raw_sync::locks::LockGuard<'a>>,
    thread: u32,
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        if robust::thread_id() != self.thread {
            core::mem::forget(self.guard.take()); // a copy in a forked child, which does not hold the lock
        }
    }
}

impl core::fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LockGuard(..)")
    }
}
