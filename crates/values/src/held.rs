//! The lock of a value or an array as its guard holds it.

use polyproc_sync::LockError;
use polyproc_sync::raw::RawLock;
use polyproc_sync::raw::lock::NotLocked;
use polyproc_sys::{Deadline, robust};

/// A lock that this thread holds until it is dropped. Not `Send`: the kernel marks the lock when this thread dies.
pub(crate) struct Held {
    lock: *const RawLock,
    thread: u32,
    pub(crate) recovered: bool,
    /// Whether the next holder is to be told of a death that nobody was told of.
    passes_on: bool,
    unwinding: bool,
}

impl Held {
    /// Takes the lock for a guard that tells whether the previous holder died.
    ///
    /// # Safety
    /// * `lock` points to the lock of an object of the family's memory, which somebody keeps alive while this is.
    #[inline]
    pub(crate) unsafe fn lock(lock: *const RawLock, deadline: Deadline) -> Result<Self, LockError> {
        // SAFETY: a lock by the caller's duty; its memory stays mapped, and of that kind, for ever.
        match unsafe { RawLock::lock(lock, deadline) } {
            Ok(how) => Ok(Self {
                lock,
                thread: robust::thread_id(),
                recovered: how.recovered,
                passes_on: false,
                unwinding: std::thread::panicking(),
            }),
            Err(NotLocked::TimedOut) => Err(LockError::TimedOut),
            Err(NotLocked::Mine) => Err(LockError::Mine),
        }
    }

    /// Takes the lock for one operation: if the previous holder died, the next guard says so.
    ///
    /// # Panics
    /// If this thread holds the lock already.
    ///
    /// # Safety
    /// * As for [`Held::lock`].
    #[inline]
    #[track_caller]
    pub(crate) unsafe fn briefly(lock: *const RawLock) -> Self {
        // SAFETY: the caller's duty is the same.
        match unsafe { Self::lock(lock, Deadline::NEVER) } {
            Ok(mut held) => {
                held.passes_on = held.recovered;
                held
            }
            Err(e) => panic!("{e}"),
        }
    }

    /// Whether this thread holds it: not so a copy of the guard in a forked child.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        robust::thread_id() == self.thread
    }

    /// # Panics
    /// If the guard was inherited by fork.
    #[inline]
    #[track_caller]
    pub(crate) fn assert_mine(&self) {
        assert!(
            self.is_mine(),
            "this guard was inherited by fork: its lock is held by the parent, take it for yourself"
        );
    }

    /// Whether a panic that began under the lock is unwinding.
    #[inline]
    pub(crate) fn is_unwinding(&self) -> bool {
        !self.unwinding && std::thread::panicking()
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        if self.is_mine() {
            // SAFETY: as in `lock`; this thread took the lock and still holds it.
            unsafe { RawLock::unlock(self.lock, self.passes_on) };
        }
    }
}
