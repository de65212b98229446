//! The bytes of a lock that its holder may take again: a [`RawLock`], and how often it is held.
//!
//! # State
//! | bits of `depth` | name | meaning |
//! |---|---|---|
//! | 0..29 | levels | how often the holder has taken it and not given it up |
//! | 29 | `OWES` | the holder is to wake others when it has given the lock up |
//! | 30 | `UNREPAIRED` | the next holder is to be told of the death again |
//! | 31 | `RECOVERED` | the holder before this one died, and nobody has said since that all is whole again |
//!
//! `home` is the address by which the holder took the lock first: a lock that has a name may have several in one process,
//! and the kernel knows of that one.
//!
//! # Invariants
//! D1. `depth` and `home` are written by the holder only, and mean nothing while nobody holds the lock: whoever takes it
//!     free writes both, whatever a dead holder left there.
//! D2. `home` is believed only where this thread's own list names it ([`Thread::owned_at`]).
//!
//! # Memory ordering
//! The lock's (L1): `depth` and `home` are what it protects.
//!
//! # If a process dies
//! The kernel gives the lock up, however deep it was held ([`lock`](super::lock)); the next holder starts at level 1 (D1).

use super::lock::{Locked, NotLocked as RawNotLocked, RawLock};
use polyproc_sys::Deadline;
use polyproc_sys::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use polyproc_sys::futex::Futex;
use polyproc_sys::robust::Thread;

const LEVELS: u32 = OWES - 1;
const OWES: u32 = 1 << 29;
const UNREPAIRED: u32 = 1 << 30;
const RECOVERED: u32 = 1 << 31;

/// The bytes of a lock that its holder may take again, 56 of them; zeroed bytes are a free lock.
///
/// ```
/// use polyproc_sync::raw::RawRLock;
/// use polyproc_sys::Deadline;
/// let lock = RawRLock::new(); // on the stack: for threads of this process
/// for _ in 0..2 {
///     // SAFETY: `lock` lives until the end, and nothing else uses its bytes.
///     unsafe { RawRLock::lock(&raw const lock, Deadline::NEVER) }.unwrap();
/// }
/// assert_eq!(lock.levels(), 2);
/// for _ in 0..2 {
///     // SAFETY: as above; this thread holds it.
///     unsafe { RawRLock::unlock(&raw const lock) };
/// }
/// assert_eq!(lock.owner(), None);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct RawRLock {
    lock: RawLock,
    /// See `# State`.
    depth: AtomicU32,
    spare: AtomicU32,
    /// See `# State`.
    home: AtomicU64,
}

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(size_of::<RawRLock>() == 56 && core::mem::offset_of!(RawRLock, lock) == 0);

/// Why a lock was not got.
///
/// ```
/// use polyproc_sync::raw::{RawRLock, rlock::NotLocked};
/// let lock = RawRLock::new();
/// std::thread::scope(|s| {
///     // SAFETY: a lock of this frame, which outlives the scope.
///     unsafe { RawRLock::try_lock(&raw const lock) }.unwrap();
///     let lock = &lock;
///     // SAFETY: as above.
///     s.spawn(move || assert_eq!(unsafe { RawRLock::try_lock(lock) }, Err(NotLocked::TimedOut)));
/// });
/// # // SAFETY: as above.
/// # unsafe { RawRLock::unlock(&raw const lock) };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLocked {
    /// Somebody else holds it, and the deadline came.
    TimedOut,
    /// This thread holds it 2^29 - 1 times already.
    TooDeep,
    /// The watch gave up.
    GivenUp,
}

impl RawRLock {
    /// A free lock.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::raw::RawRLock::new().levels(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { lock: RawLock::new(), depth: AtomicU32::new(0), spare: AtomicU32::new(0), home: AtomicU64::new(0) }
    }

    /// The thread id of the holder; may be another one by the time you look.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::raw::RawRLock::new().owner(), None);
    /// ```
    #[must_use]
    #[inline]
    pub fn owner(&self) -> Option<u32> {
        self.lock.owner()
    }

    /// How often the holder holds it, 0 if there is none; may be another number by the time you look.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::raw::RawRLock::new().levels(), 0);
    /// ```
    #[must_use]
    pub fn levels(&self) -> u32 {
        self.owner().map_or(0, |_| self.depth.load(Relaxed) & LEVELS)
    }

    /// Takes the lock, once more if this thread holds it; sleeps until `deadline` at most. Within one hold `recovered` is
    /// the same at each level, until [`RawRLock::make_consistent`].
    ///
    /// # Errors
    /// [`NotLocked`]
    ///
    /// # Panics
    /// If this thread holds 128 other locks already, and not this one.
    ///
    /// # Safety
    /// * `this` points to a `RawRLock` that stays mapped until it is unlocked, and whose bytes are never used for anything
    ///   but such locks while any thread may still be inside `lock` or `unlock`.
    ///
    /// # Examples
    /// See [`RawRLock`].
    #[inline]
    pub unsafe fn lock(this: *const Self, deadline: Deadline) -> Result<Locked, NotLocked> {
        // SAFETY: the caller's duty is the same.
        unsafe { Self::lock_as(Thread::current(), this, deadline) }
    }

    /// [`RawRLock::lock`] for who knows already which thread it is.
    ///
    /// # Safety
    /// * As for [`RawRLock::lock`], and `me` is the calling thread.
    #[doc(hidden)]
    #[inline(always)] // as the handle's `lock`
    pub unsafe fn lock_as(me: Thread, this: *const Self, deadline: Deadline) -> Result<Locked, NotLocked> {
        // SAFETY: the caller's duty is the same, and `lock_or` has announced it.
        let contended = || unsafe { RawLock::lock_contended(me, this.cast(), deadline, ()) };
        // SAFETY: as above.
        unsafe { Self::lock_or(me, this, contended) }
    }

    /// Takes the lock if this thread holds it, or if it is free and nobody may sleep on it; else as [`RawLock::lock_or`].
    ///
    /// # Safety
    /// * As for [`RawRLock::lock_as`].
    #[doc(hidden)]
    #[inline(always)] // as the handle's `lock`
    pub unsafe fn lock_or(
        me: Thread,
        this: *const Self,
        contended: impl FnOnce() -> Result<Locked, RawNotLocked>,
    ) -> Result<Locked, NotLocked> {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        // Before the announcement, which would move another lock into the list. The lock itself asks the same.
        if lock.owner() == Some(me.id()) && (me.announces(word_of(this)) || me.has_linked()) {
            return lock.deeper();
        }
        // SAFETY: the caller's duty is the same.
        match unsafe { RawLock::lock_or(me, &raw const lock.lock, contended) } {
            Ok(how) => {
                let (depth, home) = (if how.recovered { 1 | RECOVERED } else { 1 }, this.addr() as u64);
                // D1. Mostly it is as the last holder left it, and a load costs less than a store before the next CAS.
                if lock.depth.load(Relaxed) != depth {
                    lock.depth.store(depth, Relaxed);
                }
                if lock.home.load(Relaxed) != home {
                    lock.home.store(home, Relaxed);
                }
                Ok(how)
            }
            Err(RawNotLocked::Mine) => lock.deeper(), // by another address
            Err(RawNotLocked::TimedOut) => Err(NotLocked::TimedOut),
            Err(RawNotLocked::GivenUp) => Err(NotLocked::GivenUp),
        }
    }

    /// Takes the lock if it is free or this thread's, without blocking.
    ///
    /// # Errors
    /// As [`RawRLock::lock`].
    ///
    /// # Safety
    /// * As for [`RawRLock::lock`].
    ///
    /// # Examples
    /// See [`NotLocked`].
    #[inline]
    pub unsafe fn try_lock(this: *const Self) -> Result<Locked, NotLocked> {
        // SAFETY: the caller's duty is the same.
        unsafe { Self::lock(this, Deadline::PAST) }
    }

    /// One level more, for its holder.
    #[inline]
    fn deeper(&self) -> Result<Locked, NotLocked> {
        let depth = self.depth.load(Relaxed);
        if depth & LEVELS == LEVELS {
            return Err(NotLocked::TooDeep);
        }
        self.depth.store(depth + 1, Relaxed);
        Ok(Locked { recovered: depth & RECOVERED != 0 })
    }

    /// Gives one level up; with the last one the lock, and wakes one sleeper if there are any.
    ///
    /// # Safety
    /// * As for [`RawRLock::lock`], and the calling thread holds the lock.
    ///
    /// # Examples
    /// See [`RawRLock`].
    #[inline]
    pub unsafe fn unlock(this: *const Self) {
        // SAFETY: the caller's duty is the same.
        let _ = unsafe { Self::unlock_as(Thread::current(), this) };
    }

    /// [`RawRLock::unlock`] for who knows already which thread it is; whether it has to wake others now
    /// ([`RawRLock::owe_wakes`]).
    ///
    /// # Safety
    /// * As for [`RawRLock::unlock`], and `me` is the calling thread.
    #[doc(hidden)]
    #[inline(always)] // as the handle's `lock`
    pub unsafe fn unlock_as(me: Thread, this: *const Self) -> bool {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        let depth = lock.depth.load(Relaxed);
        let done = depth == 1 && me.announces(word_of(this)) && lock.lock.try_unlock_announced(me);
        // SAFETY: the caller's duty is the same.
        !done && unsafe { Self::unlock_level(me, this, depth) }
    }

    /// Gives up one level of several, or a lock that is wanted, that is unrepaired, or that is in this thread's list, perhaps
    /// by another address.
    #[inline(never)]
    unsafe fn unlock_level(me: Thread, this: *const Self, depth: u32) -> bool {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        if depth & LEVELS > 1 {
            lock.depth.store(depth - 1, Relaxed);
            return false;
        }
        let held = if me.announces(word_of(this)) { &raw const lock.lock } else { lock.home(me) };
        // SAFETY: the caller's duty is the same; by another address it is the same lock, or else one of this thread's (D2).
        unsafe { RawLock::unlock_as(me, held, depth & UNREPAIRED != 0) };
        depth & OWES != 0
    }

    /// The lock by the address by which this thread has announced it (D2).
    #[cold]
    fn home(&self, me: Thread) -> *const RawLock {
        let home = usize::try_from(self.home.load(Relaxed)).unwrap_or(0);
        me.owned_at(home).map_or(&raw const self.lock, <*const Futex>::cast)
    }

    /// Gives all levels up; says how many there were, with a mark if the next holder is told of a death again, and whether it
    /// has to wake others now.
    ///
    /// # Safety
    /// * As for [`RawRLock::unlock`], and `me` is the calling thread.
    ///
    /// # Examples
    /// See [`RawRLock::retake_as`].
    #[doc(hidden)]
    pub unsafe fn release_as(me: Thread, this: *const Self) -> (u32, bool) {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        let depth = lock.depth.load(Relaxed);
        lock.depth.store((depth & !LEVELS) | 1, Relaxed);
        // SAFETY: the caller's duty is the same.
        (depth & (LEVELS | UNREPAIRED), unsafe { Self::unlock_as(me, this) })
    }

    /// Takes the lock as often as [`RawRLock::release_as`] said, waiting as of [`RawRLock::lock_or`], and tells its levels of
    /// a death if the lock counts other [`deaths`](RawLock::deaths) than `deaths`, or was given up unrepaired and is so still;
    /// says whether it does.
    ///
    /// # Safety
    /// * As for [`RawRLock::lock`], `me` is the calling thread, and does not hold the lock.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::raw::RawRLock;
    /// use polyproc_sys::robust::Thread;
    /// let (lock, me) = (RawRLock::new(), Thread::current());
    /// // SAFETY: a lock of this frame.
    /// assert!(!unsafe { RawRLock::retake_as(me, &raw const lock, 2, 0, || unreachable!("it is free")) });
    /// // SAFETY: held just now.
    /// assert_eq!(unsafe { RawRLock::release_as(me, &raw const lock) }, (2, false));
    /// ```
    #[doc(hidden)]
    pub unsafe fn retake_as(
        me: Thread,
        this: *const Self,
        levels: u32,
        deaths: u64,
        contended: impl FnOnce() -> Result<Locked, RawNotLocked>,
    ) -> bool {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        // SAFETY: the caller's duty is the same.
        let how = unsafe { Self::lock_or(me, this, contended) };
        // Else somebody has had it in between, and was told: he has repaired it, or taken it as it is.
        let unrepaired = if how.is_ok_and(|how| how.recovered) { levels & UNREPAIRED } else { 0 };
        let told = unrepaired != 0 || lock.lock.deaths() != deaths;
        lock.depth.store(if told { RECOVERED } else { 0 } | unrepaired | levels & LEVELS, Relaxed);
        told
    }

    /// When the last level is given up, its holder is told that it has to wake others.
    ///
    /// # Safety
    /// * The calling thread holds the lock.
    #[doc(hidden)]
    pub unsafe fn owe_wakes(&self) {
        self.depth.store(self.depth.load(Relaxed) | OWES, Relaxed);
    }

    /// The lock without its levels.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::raw::RawRLock::new().as_lock().deaths(), 0);
    /// ```
    #[must_use]
    pub fn as_lock(&self) -> &RawLock {
        &self.lock
    }

    /// The next holder is told of the death again, until [`RawRLock::make_consistent`].
    ///
    /// # Safety
    /// * The calling thread holds the lock.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::raw::RawRLock;
    /// let lock = RawRLock::new();
    /// // SAFETY: a lock of this frame.
    /// unsafe { RawRLock::try_lock(&raw const lock) }.unwrap();
    /// // SAFETY: held by this thread.
    /// unsafe { lock.leave_unrepaired() };
    /// // SAFETY: as above.
    /// unsafe { RawRLock::unlock(&raw const lock) };
    /// // SAFETY: as above.
    /// assert!(unsafe { RawRLock::try_lock(&raw const lock) }.unwrap().recovered);
    /// # // SAFETY: as above.
    /// # unsafe { RawRLock::unlock(&raw const lock) };
    /// ```
    pub unsafe fn leave_unrepaired(&self) {
        self.depth.store(self.depth.load(Relaxed) | UNREPAIRED, Relaxed);
    }

    /// Whether the next holder will be told of a death again; exact for the holder.
    ///
    /// ```
    /// assert!(!polyproc_sync::raw::RawRLock::new().is_unrepaired());
    /// ```
    #[must_use]
    pub fn is_unrepaired(&self) -> bool {
        self.depth.load(Relaxed) & UNREPAIRED != 0
    }

    /// What the lock protects is whole again: neither this holder's further levels nor the next holder are told of the
    /// death.
    ///
    /// # Safety
    /// * The calling thread holds the lock.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::raw::RawRLock;
    /// let lock = RawRLock::new();
    /// // SAFETY: a lock of this frame.
    /// unsafe { RawRLock::try_lock(&raw const lock) }.unwrap();
    /// // SAFETY: held by this thread.
    /// unsafe { lock.leave_unrepaired() };
    /// // SAFETY: as above.
    /// unsafe { lock.make_consistent() };
    /// # // SAFETY: as above; held by this thread.
    /// # unsafe { RawRLock::unlock(&raw const lock) };
    /// ```
    pub unsafe fn make_consistent(&self) {
        self.depth.store(self.depth.load(Relaxed) & (LEVELS | OWES), Relaxed);
    }
}

/// The word of the lock, its first field.
#[inline]
fn word_of(this: *const RawRLock) -> *const Futex {
    this.cast()
}

impl Default for RawRLock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_level_too_many_is_refused_and_what_a_dead_holder_left_does_not_count() {
        let lock = RawRLock::new();
        // SAFETY: a lock of this frame.
        let take = || unsafe { RawRLock::try_lock(&raw const lock) };
        // SAFETY: as above; held by this thread.
        let give_up = || unsafe { RawRLock::unlock(&raw const lock) };
        lock.depth.store(RECOVERED | UNREPAIRED | 7, Relaxed);
        assert_eq!(take(), Ok(Locked { recovered: false }));
        assert_eq!(lock.depth.load(Relaxed), 1);
        lock.depth.store(LEVELS, Relaxed);
        assert_eq!(take(), Err(NotLocked::TooDeep));
        lock.depth.store(1, Relaxed);
        give_up();
        assert_eq!((lock.owner(), lock.levels()), (None, 0));
    }

    #[test]
    fn a_word_that_lies_about_the_depth_costs_no_more_than_the_lock() {
        let lock = RawRLock::new();
        // SAFETY: a lock of this frame.
        unsafe { RawRLock::try_lock(&raw const lock) }.unwrap();
        lock.depth.store(0, Relaxed);
        lock.home.store(8, Relaxed);
        let other = RawLock::new();
        // SAFETY: as above.
        unsafe { RawLock::try_lock(&raw const other) }.unwrap(); // ours goes into the list
        // SAFETY: as above; held by this thread.
        unsafe { RawRLock::unlock(&raw const lock) };
        assert_eq!(lock.owner(), None);
        // SAFETY: as above.
        unsafe { RawLock::unlock(&raw const other, false) };
    }
}
