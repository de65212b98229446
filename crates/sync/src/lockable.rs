//! The locks that a [`Condition`](crate::Condition) can be used with, and how it gives up what a guard holds.

use crate::lock::{Lock, LockGuard};
use crate::raw::condition::Hold;
use crate::raw::{RawLock, RawRLock};
use crate::rlock::{RLock, RLockGuard};
use crate::wakes;
use polyproc_shm::Object;
use polyproc_sys::Deadline;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A [`Lock`] or an [`RLock`], as a [`Condition`](crate::Condition) uses it; nothing else can be one.
///
/// ```
/// use polyproc_sync::{Condition, Lock, Lockable, RLock, ShmError};
/// fn of<L: Lockable>(lock: &L) -> Result<Condition<L>, ShmError> {
///     Condition::with_lock(lock)
/// }
/// assert!(of(&Lock::new()?).is_ok() && of(&RLock::new()?).is_ok());
/// # Ok::<(), ShmError>(())
/// ```
pub trait Lockable: sealed::Sealed + Clone + Serialize + DeserializeOwned + 'static {
    /// What holds the lock.
    type Guard<'a>: Hold;

    #[doc(hidden)]
    #[track_caller]
    fn take(&self) -> Self::Guard<'_>;

    /// The bytes.
    #[doc(hidden)]
    fn raw_lock(&self) -> &RawLock;

    /// Which lock it is: the family, and where in its memory.
    #[doc(hidden)]
    fn identity(&self) -> (u64, u64);

    /// The identity of the lock that the calling thread holds by `guard`; `None` if it has inherited that by fork.
    #[doc(hidden)]
    fn held_by(guard: &Self::Guard<'_>) -> Option<(u64, u64)>;

    /// What the guard says of a death.
    #[doc(hidden)]
    fn recovered<'g>(guard: &'g mut Self::Guard<'_>) -> &'g mut bool;

    /// This thread pays its debts ([`wakes`]) when it gives up what `guard` holds.
    #[doc(hidden)]
    fn owe_wakes(guard: &Self::Guard<'_>);

    /// That of a condition that has its own.
    ///
    /// # Safety
    /// * `raw` is the first thing in the object `condition`.
    #[doc(hidden)]
    unsafe fn own(condition: &Arc<Object>, raw: &'static RawRLock) -> Option<Self>;

    /// A number for the lock that is not 0, by which a condition tells whether it arrived with its own.
    #[doc(hidden)]
    fn label(&self) -> u64 {
        let (family, offset) = self.identity();
        // An odd factor: in one family no two are the same.
        (family ^ offset).wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::lock::Lock {}
    impl Sealed for crate::rlock::RLock {}
}

impl Lockable for Lock {
    type Guard<'a> = LockGuard<'a>;

    fn take(&self) -> LockGuard<'_> {
        self.lock()
    }

    fn raw_lock(&self) -> &RawLock {
        self.raw
    }

    fn identity(&self) -> (u64, u64) {
        (self.object.family().id(), self.object.offset())
    }

    fn held_by(guard: &LockGuard<'_>) -> Option<(u64, u64)> {
        guard.thread.is_current().then(|| guard.lock.identity())
    }

    fn recovered<'g>(guard: &'g mut LockGuard<'_>) -> &'g mut bool {
        &mut guard.recovered
    }

    fn owe_wakes(guard: &LockGuard<'_>) {
        guard.owes_wakes.set(true);
    }

    unsafe fn own(_: &Arc<Object>, _: &'static RawRLock) -> Option<Self> {
        None
    }
}

impl Hold for LockGuard<'_> {
    fn lock(&self) -> &RawLock {
        self.lock.raw
    }

    unsafe fn release(&mut self) -> u32 {
        // SAFETY: the caller's duty is the same; the guard is one of this thread.
        unsafe { RawLock::unlock_as(self.thread, self.lock.raw, false) }; // who was told by `Err` has no guard to wait with
        if self.owes_wakes.replace(false) {
            wakes::pay();
        }
        1
    }

    unsafe fn retake(&mut self, _: u32, deaths: u64) {
        let contended = || self.lock.wait(Deadline::NEVER, false);
        // SAFETY: the caller's duty is the same; the bytes stay those of a lock. Without a deadline it fails only if others
        // have written that this thread holds it.
        let _ = unsafe { RawLock::lock_or(self.thread, self.lock.raw, contended) };
        self.recovered = self.lock.raw.deaths() != deaths;
    }
}

impl Lockable for RLock {
    type Guard<'a> = RLockGuard<'a>;

    fn take(&self) -> RLockGuard<'_> {
        self.lock()
    }

    fn raw_lock(&self) -> &RawLock {
        self.raw.as_lock()
    }

    fn identity(&self) -> (u64, u64) {
        (self.object.family().id(), self.object.offset())
    }

    fn held_by(guard: &RLockGuard<'_>) -> Option<(u64, u64)> {
        guard.thread.is_current().then(|| guard.lock.identity())
    }

    fn recovered<'g>(guard: &'g mut RLockGuard<'_>) -> &'g mut bool {
        &mut guard.recovered
    }

    fn owe_wakes(guard: &RLockGuard<'_>) {
        if guard.thread.is_current() {
            // SAFETY: held by this guard, of this thread and not of its parent.
            unsafe { guard.lock.raw.owe_wakes() };
        }
    }

    unsafe fn own(condition: &Arc<Object>, raw: &'static RawRLock) -> Option<Self> {
        Some(Self::within(Arc::clone(condition), raw))
    }
}

impl Hold for RLockGuard<'_> {
    fn lock(&self) -> &RawLock {
        self.lock.raw.as_lock()
    }

    fn is_unrepaired(&self) -> bool {
        self.lock.raw.is_unrepaired()
    }

    unsafe fn release(&mut self) -> u32 {
        // SAFETY: the caller's duty is the same; the guard is one of this thread.
        let (levels, owes_wakes) = unsafe { RawRLock::release_as(self.thread, self.lock.raw) };
        if owes_wakes {
            wakes::pay();
        }
        levels
    }

    unsafe fn retake(&mut self, levels: u32, deaths: u64) {
        let contended = || self.lock.wait(Deadline::NEVER, false);
        // SAFETY: the caller's duty is the same; the bytes stay those of such a lock, and without a deadline the wait fails
        // only if others have written that this thread holds it.
        self.recovered = unsafe { RawRLock::retake_as(self.thread, self.lock.raw, levels, deaths, contended) };
    }
}
