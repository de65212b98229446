//! What a raw `fork` of this process must not inherit: locks that another thread held, and what they guard.
//!
//! The other threads do not exist in the forked child, so what they held is held for ever there. It is therefore never
//! locked again: each process has its own lock, made when it is first used, and the parent's is forgotten unlocked.

use crate::robust::{generation, watch_forks};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value behind a lock of this process alone; a forked child starts with the default.
///
/// ```
/// use polyproc_sys::{fork, per_process::PerProcess};
/// static CHILDREN: PerProcess<Vec<u32>> = PerProcess::new();
/// CHILDREN.lock().push(7);
/// let empty = || i32::from(CHILDREN.lock().is_empty());
/// assert_eq!(fork::wait_child(fork::spawn_child(empty)), 1);
/// assert_eq!(*CHILDREN.lock(), [7]);
/// ```
#[derive(Debug)]
pub struct PerProcess<T> {
    /// The address of the newest [`Cell`]; 0 at first. Cells are never freed: a fork leaves one behind.
    cell: AtomicU64,
    of: PhantomData<fn() -> T>,
}

struct Cell<T> {
    /// [`generation`] of the process that made it.
    generation: u32,
    value: Mutex<T>,
}

impl<T> PerProcess<T> {
    /// The default value, in each process.
    ///
    /// ```
    /// use polyproc_sys::per_process::PerProcess;
    /// static N: PerProcess<u8> = PerProcess::new();
    /// assert_eq!(*N.lock(), 0);
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self { cell: AtomicU64::new(0), of: PhantomData }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default + Send + 'static> PerProcess<T> {
    /// Waits for the lock. A panic while it was held leaves the value as it was then.
    ///
    /// ```
    /// use polyproc_sys::per_process::PerProcess;
    /// static N: PerProcess<u8> = PerProcess::new();
    /// *N.lock() += 1;
    /// assert_eq!(*N.lock(), 1);
    /// ```
    pub fn lock(&'static self) -> MutexGuard<'static, T> {
        self.mutex().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if another thread has it.
    ///
    /// ```
    /// use polyproc_sys::per_process::PerProcess;
    /// static N: PerProcess<u8> = PerProcess::new();
    /// let held = N.lock();
    /// assert!(std::thread::spawn(|| N.try_lock().is_none()).join().unwrap());
    /// # drop(held);
    /// ```
    pub fn try_lock(&'static self) -> Option<MutexGuard<'static, T>> {
        self.mutex().try_lock().ok()
    }

    fn mutex(&'static self) -> &'static Mutex<T> {
        let address = self.cell.load(Ordering::Acquire);
        match Self::cell(address) {
            Some(cell) if cell.generation == generation() => &cell.value,
            _ => self.make(address),
        }
    }

    #[cold]
    fn make(&'static self, old: u64) -> &'static Mutex<T> {
        watch_forks();
        let new = Box::into_raw(Box::new(Cell { generation: generation(), value: Mutex::new(T::default()) }));
        let address = new.expose_provenance() as u64;
        let kept = match self.cell.compare_exchange(old, address, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => address,
            Err(others) => {
                // SAFETY: made above and shown to nobody.
                drop(unsafe { Box::from_raw(new) });
                others
            }
        };
        &Self::cell(kept).expect("some thread made one").value
    }

    fn cell(address: u64) -> Option<&'static Cell<T>> {
        let address = usize::try_from(address).ok().filter(|&a| a != 0)?;
        // SAFETY: only `make` stores addresses other than 0, of boxes that it leaked and that are used by shared
        // references only.
        Some(unsafe { &*core::ptr::with_exposed_provenance::<Cell<T>>(address) })
    }
}
