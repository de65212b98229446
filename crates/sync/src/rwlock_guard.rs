//! The guards of a [`RwLock`].

use crate::checked::OwnerDied;
use crate::raw::RawRwLock;
use crate::raw::rwlock::Reading;
use crate::rwlock::RwLock;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use polyproc_sys::robust::Thread;

/// Keeps a [`RwLock`] read-locked until it is dropped.
///
/// It stays on the thread that took the lock:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let lock = polyproc_sync::RwLock::new().unwrap();
/// send(lock.read());
/// ```
#[must_use = "the lock is given up as soon as the guard is dropped"]
pub struct ReadGuard<'a> {
    lock: &'a RwLock,
    thread: Thread,
    /// Given back on the thread that took the lock, and only there.
    reading: ManuallyDrop<Reading>,
}

/// Keeps a [`RwLock`] for the only writer until it is dropped.
///
/// It stays on the thread that took the lock:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let lock = polyproc_sync::RwLock::new().unwrap();
/// send(lock.write());
/// ```
#[must_use = "the lock is given up as soon as the guard is dropped"]
pub struct WriteGuard<'a> {
    lock: &'a RwLock,
    /// The kernel marks the lock when this thread dies, no other.
    thread: Thread,
    recovered: bool,
    /// Whether those who come next are to be told of the death again.
    unrepaired: Cell<bool>,
}

impl<'a> ReadGuard<'a> {
    #[inline]
    pub(crate) fn new(lock: &'a RwLock, reading: Reading) -> Self {
        Self { lock, thread: Thread::current(), reading: ManuallyDrop::new(reading) }
    }

    /// Whether a writer died and no writer came since: what the lock protects may be half changed.
    ///
    /// ```
    /// assert!(!polyproc_sync::RwLock::new()?.read().recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.reading.recovered
    }
}

impl<'a> WriteGuard<'a> {
    pub(crate) fn new(lock: &'a RwLock, recovered: bool) -> Self {
        Self { lock, thread: Thread::current(), recovered, unrepaired: Cell::new(false) }
    }

    /// Whether a writer died and no writer came since: what the lock protects may be half changed.
    ///
    /// ```
    /// assert!(!polyproc_sync::RwLock::new()?.write().recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

impl<'a> OwnerDied<WriteGuard<'a>> {
    pub(crate) fn unrepaired(guard: WriteGuard<'a>) -> Self {
        guard.unrepaired.set(true);
        Self(guard)
    }

    /// Says that what the lock protects is whole again: those who come next are not told any more.
    ///
    /// ```
    /// use polyproc_sync::{CheckedError, RwLock};
    /// let lock = RwLock::new()?;
    /// if let Err(CheckedError::OwnerDied(died)) = lock.write_checked() {
    ///     let guard = died.make_consistent();
    ///     assert!(guard.recovered());
    /// }
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn make_consistent(self) -> WriteGuard<'a> {
        self.0.unrepaired.set(false);
        self.0
    }
}

impl<'a> OwnerDied<ReadGuard<'a>> {
    /// The guard, for a reader who can tell by himself what is whole.
    ///
    /// ```
    /// use polyproc_sync::{CheckedError, RwLock};
    /// let lock = RwLock::new()?;
    /// let guard = match lock.read_checked() {
    ///     Ok(guard) => guard,
    ///     Err(CheckedError::OwnerDied(died)) => died.into_guard(),
    ///     Err(CheckedError::NotLocked(e)) => panic!("{e}"),
    /// };
    /// assert!(!guard.recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn into_guard(self) -> ReadGuard<'a> {
        self.0
    }
}

impl Drop for ReadGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.thread.is_current() {
            // SAFETY: taken once; nothing uses it behind this.
            let reading = unsafe { ManuallyDrop::take(&mut self.reading) };
            // SAFETY: a lock that stays mapped and never becomes anything else; this thread took it so.
            unsafe { RawRwLock::unlock_read(self.lock.raw, reading) };
        } // else a copy in a forked child, which does not have the lock
    }
}

impl Drop for WriteGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.thread.is_current() {
            // SAFETY: a lock that stays mapped and never becomes anything else; this thread has it to write.
            unsafe { RawRwLock::unlock_write(self.lock.raw, self.unrepaired.get()) };
        } // else a copy in a forked child, which does not have the lock
    }
}

impl core::fmt::Debug for ReadGuard<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReadGuard").field("recovered", &self.recovered()).finish_non_exhaustive()
    }
}

impl core::fmt::Debug for WriteGuard<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WriteGuard").field("recovered", &self.recovered).finish_non_exhaustive()
    }
}
