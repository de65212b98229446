//! The lock of a value or an array as its guard holds it.

use core::marker::PhantomData;
use polyproc_sync::lock::{held_by, identity_of, raw_of};
use polyproc_sync::raw::RawLock;
use polyproc_sync::raw::lock::NotLocked;
use polyproc_sync::{Lock, LockError, LockGuard};
use polyproc_sys::Deadline;
use polyproc_sys::robust::Thread;

/// A lock that this thread holds until it is dropped. Not `Send`: the kernel marks the lock when this thread dies.
pub(crate) struct Held<'a> {
    lock: *const RawLock,
    thread: Thread,
    pub(crate) recovered: bool,
    /// Whether the next holder is to be told of a death that nobody was told of.
    passes_on: bool,
    /// Whether it is another guard that gives the lock up.
    lent: bool,
    unwinding: bool,
    _guard: PhantomData<&'a ()>,
}

impl<'a> Held<'a> {
    /// Takes the lock for a guard that tells whether the previous holder died.
    ///
    /// # Safety
    /// * `lock` points to the lock of an object of the family's memory, which somebody keeps alive while this is.
    #[inline]
    pub(crate) unsafe fn lock(lock: *const RawLock, deadline: Deadline) -> Result<Self, LockError> {
        let thread = Thread::current();
        // SAFETY: a lock by the caller's duty; its memory stays mapped, and of that kind, for ever.
        match unsafe { RawLock::lock_as(thread, lock, deadline) } {
            Ok(how) => Ok(Self {
                lock,
                thread,
                recovered: how.recovered,
                passes_on: false,
                lent: false,
                unwinding: std::thread::panicking(),
                _guard: PhantomData,
            }),
            // Nobody looks on, so nobody gives up.
            Err(NotLocked::TimedOut | NotLocked::GivenUp) => Err(LockError::TimedOut),
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

    /// Holds the writers up for a reader that they do not let through; `None` if somebody else has the lock for a second. If
    /// this thread has it already, there are no writers.
    ///
    /// # Safety
    /// * As for [`Held::lock`].
    #[cold]
    pub(crate) unsafe fn stop(lock: *const RawLock) -> Option<Option<Self>> {
        const PATIENCE: core::time::Duration = core::time::Duration::from_secs(1);
        // SAFETY: the caller's duty is the same.
        match unsafe { Self::lock(lock, Deadline::after(PATIENCE)) } {
            Ok(held) => Some(Some(held)),
            Err(LockError::Mine) => Some(None),
            Err(_) => None,
        }
    }

    /// `lock` as `guard` holds it, who gives it up.
    ///
    /// # Panics
    /// If it is the guard of another lock than `lock`, or was inherited by fork.
    #[inline]
    #[track_caller]
    pub(crate) fn lent(lock: Option<&Lock>, guard: &'a mut LockGuard<'_>) -> Self {
        let (held, recovered) = held_by(guard).expect(INHERITED);
        assert!(
            lock.is_some_and(|lock| identity_of(lock) == identity_of(held)),
            "this guard is that of another lock: give the one of the lock that it was bound to, by `with_lock`"
        );
        let lock = raw_of(held);
        Self {
            lock,
            thread: Thread::current(),
            recovered,
            passes_on: false,
            lent: true,
            unwinding: std::thread::panicking(),
            _guard: PhantomData,
        }
    }

    /// Whether this thread holds it: not so a copy of the guard in a forked child.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.thread.is_current()
    }

    /// # Panics
    /// If the guard was inherited by fork.
    #[inline]
    #[track_caller]
    pub(crate) fn assert_mine(&self) {
        assert!(self.is_mine(), "{INHERITED}");
    }

    /// Whether a panic that began under the lock is unwinding.
    #[inline]
    pub(crate) fn is_unwinding(&self) -> bool {
        !self.unwinding && std::thread::panicking()
    }
}

pub(crate) const INHERITED: &str =
    "this guard was inherited by fork: its lock is held by the parent, take it for yourself";

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_mine() && !self.lent {
            // SAFETY: as in `lock`; this thread took the lock and still holds it.
            unsafe { RawLock::unlock_as(self.thread, self.lock, self.passes_on) };
        }
    }
}
