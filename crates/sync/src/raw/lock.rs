//! The bytes of a lock: who holds it, how many sleep on it, and the kernel's way to the next holder when he dies.
//!
//! # State
//! | `word` | meaning | left by |
//! |---|---|---|
//! | 0 | free, nobody is counted | `lock` |
//! | `WAITERS` | free, somebody may sleep | `lock` (slow path) |
//! | `DIED` (`\| WAITERS`) | free, the last holder died, or left it unrepaired | `lock` (slow path) |
//! | tid | held | `unlock`, the kernel at the holder's death |
//! | tid `\| WAITERS` | held, the kernel shall wake a sleeper if the holder dies | as above |
//!
//! `wait` counts those who sleep or are about to:
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0 | `FENCED` | every unlock fences between its store to `word` and its load of `wait` |
//! | 1..16 | count | waiters announced and not yet retracted; wrong only upward |
//! | 16..48 | expiry | milliseconds (wrapping) after which no counted waiter sleeps any more |
//! | 48..64 | generation | raised when a count that only the dead hold is thrown away |
//!
//! # Transitions
//! ```text
//! lock      announce to the kernel; CAS word 0 -> tid; if anybody is counted: word |= WAITERS
//! wait      count += 1; barrier, FENCED (first of them only); word |= WAITERS; sleep on word; count -= 1 unless woken
//! unlock    store word = 0 (WAITERS if anybody is counted); load wait; counted: wake one, count -= 1 for him; retract
//! death     kernel: word -> WAITERS & word | DIED, wakes one; or, if word names nobody: wakes one ("passes on")
//! ```
//!
//! # Invariants
//! I1. A thread that sleeps on `word` is counted in `wait`, until its waker takes it out or its sleep has expired.
//! I2. Only the waiter itself, or the waker that got it out of the kernel's queue, takes it out of the count: whoever dies
//!     in between leaves the count too high, which costs a system call an unlock until it expires, and never too low.
//! I3. Whoever holds the lock while somebody is counted has `WAITERS` in `word`, from a few instructions after the CAS on.
//! I4. From before the CAS until after the last wake-up the kernel knows of the lock (`announce_lock`).
//! I5. `FENCED` is set only after a barrier during which the count was above 0, and cleared only while it is 0.
//!
//! # Memory ordering
//! L1. The release store in `unlock` pairs with the acquire CAS in `lock`: publishes what the lock protects.
//! L2. `unlock` stores `word`, then loads `wait`; a waiter raises `wait`, then loads `word`. One of them must see the
//!     other. Without `FENCED` the waiter's [`asym::heavy`] stands for both fences: the unlocker's load either comes after
//!     it and sees the count, or its store came before it and is seen. With `FENCED`, the unlocker's first load of `wait`
//!     is not 0 (I5), and it fences and loads again.
//! L3. A swap where a model runs, since loom does not order a plain store against concurrent RMWs.
//!
//! # If the owner dies
//! The kernel marks the word and wakes a sleeper (I3, I4); the next holder is told. A waiter that dies after it was woken
//! passes the wake-up on if the word is free (kernel), or else the holder of the moment sees the others in the count (I1).
//! An unlocker that dies between store and wake: the word names nobody and the lock is pending, the kernel wakes one.
//! Left to the tick ([`polyproc_sys::futex::tick`]): two deaths within the same few instructions, as when the unlocker and
//! a thread of its own process that has just taken the lock die by one SIGKILL (window: I3's few instructions); a kernel
//! before 6.2; an owner whose pending slot another user of robust lists has overwritten. At each tick a waiter asks
//! the kernel whether the owner's thread exists, and takes the lock from it if not. A stopped owner is never robbed.
//!
//! # Sources
//! The kernel's robust futex ABI; glibc's node layout. Why not glibc's robust mutex: it forgets sleepers when the woken one dies.

pub use super::locked::{Locked, NotLocked, Watch};
use super::thread_is_dead;
use super::waiters::{
    COUNT, FENCED, GENERATION, ONE, ONE_GENERATION, SLICE, expired, expiry_at, expiry_of, later, raise_fence, retract,
    with_expiry,
};
use polyproc_sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
use polyproc_sys::futex::{self, Futex, Wait};
use polyproc_sys::robust::{DIED, TID, Thread, WAITERS};
use polyproc_sys::spin::Spin;
use polyproc_sys::{Deadline, asym};

/// Unlocks without a waiter after which the fence is given up again.
const IDLE: u32 = 64;

/// The bytes of a lock, 40 of them; zeroed bytes are a free lock.
///
/// Place it in a segment that several processes map, as the low-level alternative to [`Lock`](crate::Lock).
///
/// ```
/// use polyproc_sync::raw::RawLock;
/// use polyproc_sys::Deadline;
///
/// let lock = RawLock::new(); // on the stack: for threads of this process
/// // SAFETY: `lock` lives until the end, and nothing else uses its bytes.
/// let how = unsafe { RawLock::lock(&raw const lock, Deadline::NEVER) }.unwrap();
/// assert!(!how.recovered);
/// // SAFETY: as above; this thread holds it.
/// unsafe { RawLock::unlock(&raw const lock, false) };
/// ```
#[derive(Debug)]
#[repr(C, align(8))]
pub struct RawLock {
    /// See `# State`.
    word: Futex,
    /// Unlocks in a row that met `FENCED` and nobody counted. Written by the holder only.
    idle: AtomicU32,
    /// See `# State`.
    wait: AtomicU64,
    /// See [`RawLock::deaths`]. Written by the holder only.
    deaths: AtomicU64,
    /// The holder's place in its thread's robust list: addresses that mean something to the holder only.
    node: [AtomicU64; 2],
}

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () =
    assert!(size_of::<RawLock>() == polyproc_sys::robust::NODE_SIZE && core::mem::offset_of!(RawLock, wait) == 8);

impl RawLock {
    /// A free lock.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::raw::RawLock::new().owner(), None);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: Futex::new(0),
            idle: AtomicU32::new(0),
            wait: AtomicU64::new(0),
            deaths: AtomicU64::new(0),
            node: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// The thread id of the holder; may be another one by the time you look.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::raw::RawLock::new().owner(), None);
    /// ```
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        let tid = self.word.load(Relaxed) & TID;
        (tid != 0).then_some(tid)
    }

    /// A number that has changed if a holder has died since, or has given the lock up unrepaired; exact for the holder.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::raw::RawLock::new().deaths(), 0);
    /// ```
    #[must_use]
    pub fn deaths(&self) -> u64 {
        let word = self.word.load(Relaxed);
        let not_taken_since = word & DIED != 0 && word & TID == 0;
        self.deaths.load(Relaxed).wrapping_add(u64::from(not_taken_since))
    }

    /// Takes the lock, sleeping until `deadline` at most.
    ///
    /// # Errors
    /// [`NotLocked::TimedOut`] when the deadline came, [`NotLocked::Mine`] if this thread holds it already.
    ///
    /// # Panics
    /// If this thread holds 128 locks already.
    ///
    /// # Safety
    /// * `this` points to a `RawLock` that stays mapped until it is unlocked, and whose bytes are never used for anything
    ///   but locks while any thread may still be inside `lock` or `unlock`.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::raw::RawLock;
    /// use polyproc_sys::Deadline;
    /// let lock = RawLock::new();
    /// // SAFETY: a lock of this frame.
    /// assert!(unsafe { RawLock::lock(&raw const lock, Deadline::PAST) }.is_ok());
    /// # // SAFETY: as above.
    /// # unsafe { RawLock::unlock(&raw const lock, false) };
    /// ```
    #[inline]
    pub unsafe fn lock(this: *const Self, deadline: Deadline) -> Result<Locked, NotLocked> {
        // SAFETY: the caller's duty is the same.
        unsafe { Self::lock_as(Thread::current(), this, deadline) }
    }

    /// [`RawLock::lock`] for who knows already which thread it is.
    ///
    /// # Safety
    /// * As for [`RawLock::lock`], and `me` is the calling thread.
    #[doc(hidden)]
    #[inline(always)] // as the handle's `lock`
    pub unsafe fn lock_as(me: Thread, this: *const Self, deadline: Deadline) -> Result<Locked, NotLocked> {
        // SAFETY: the caller's duty is the same, and `lock_or` has announced it.
        let contended = || unsafe { Self::lock_contended(me, this, deadline, ()) };
        // SAFETY: as above.
        unsafe { Self::lock_or(me, this, contended) }
    }

    /// Takes the lock if its word is 0; else `contended` says what comes of it ([`RawLock::lock_contended`]).
    ///
    /// # Safety
    /// * As for [`RawLock::lock_as`].
    #[doc(hidden)]
    #[inline(always)] // as the handle's `lock`
    pub unsafe fn lock_or(
        me: Thread,
        this: *const Self,
        contended: impl FnOnce() -> Result<Locked, NotLocked>,
    ) -> Result<Locked, NotLocked> {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        // SAFETY: the lock is 40 aligned bytes, mapped until `unlock`, and its node is used by the holder only.
        let announced = unsafe { me.announce_lock(&raw const lock.word) }; // I4
        if !announced {
            return Err(NotLocked::Mine);
        }
        if lock.word.compare_exchange(0, me.id(), Acquire, Relaxed).is_ok() {
            lock.note_waiters(); // SYNC(L1)
            return Ok(Locked { recovered: false });
        }
        contended()
    }

    /// Takes the lock if it is free, without blocking.
    ///
    /// # Errors
    /// As [`RawLock::lock`].
    ///
    /// # Safety
    /// * As for [`RawLock::lock`].
    ///
    /// # Examples
    /// ```
    /// let lock = polyproc_sync::raw::RawLock::new();
    /// // SAFETY: a lock of this frame.
    /// assert!(unsafe { polyproc_sync::raw::RawLock::try_lock(&raw const lock) }.is_ok());
    /// # // SAFETY: as above.
    /// # unsafe { polyproc_sync::raw::RawLock::unlock(&raw const lock, false) };
    /// ```
    #[inline]
    pub unsafe fn try_lock(this: *const Self) -> Result<Locked, NotLocked> {
        // SAFETY: the caller's duty is the same.
        unsafe { Self::lock(this, Deadline::PAST) }
    }

    /// Gives the lock up and wakes one sleeper if there are any; `unrepaired` tells the next holder that a holder died.
    ///
    /// # Safety
    /// * As for [`RawLock::lock`], and the calling thread holds the lock.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::raw::RawLock;
    /// let lock = RawLock::new();
    /// // SAFETY: a lock of this frame, held by this thread.
    /// unsafe { RawLock::try_lock(&raw const lock) }.unwrap();
    /// // SAFETY: as above.
    /// unsafe { RawLock::unlock(&raw const lock, true) };
    /// // SAFETY: as above.
    /// assert!(unsafe { RawLock::try_lock(&raw const lock) }.unwrap().recovered);
    /// # // SAFETY: as above.
    /// # unsafe { RawLock::unlock(&raw const lock, false) };
    /// ```
    #[inline]
    pub unsafe fn unlock(this: *const Self, unrepaired: bool) {
        // SAFETY: the caller's duty is the same.
        unsafe { Self::unlock_as(Thread::current(), this, unrepaired) };
    }

    /// [`RawLock::unlock`] for who knows already which thread it is.
    ///
    /// # Safety
    /// * As for [`RawLock::unlock`], and `me` is the calling thread.
    #[doc(hidden)]
    #[inline(always)] // as the handle's `lock`
    pub unsafe fn unlock_as(me: Thread, this: *const Self, unrepaired: bool) {
        // SAFETY: mapped by the caller's duty; the bytes remain those of a lock even after the store below.
        let lock = unsafe { &*this };
        if !me.announces(&raw const lock.word) {
            // SAFETY: the holder announced it when it took the lock.
            unsafe { me.recall(&raw const lock.word) };
        }
        if unrepaired || !lock.try_unlock_announced(me) {
            lock.release_counted(if unrepaired { DIED } else { 0 });
            me.done();
        }
    }

    /// [`RawLock::unlock`] of the lock that was announced last, unless somebody is counted, or was lately: then `false`, and
    /// nothing is done.
    #[inline(always)] // as the handle's `lock`
    pub(super) fn try_unlock_announced(&self, me: Thread) -> bool {
        if self.wait.load(Relaxed) & (COUNT | FENCED) != 0 {
            return false;
        }
        self.release(0); // SYNC(L1)
        asym::light(); // SYNC(L2)
        if self.wait.load(Relaxed) & (COUNT | FENCED) != 0 {
            self.wake_one(false);
        }
        me.done();
        true
    }

    /// I3: a waiter that was counted before this thread took the lock may have set its mark on an earlier holder's word.
    #[inline]
    fn note_waiters(&self) {
        if self.wait.load(Relaxed) & COUNT != 0 {
            self.word.fetch_or(WAITERS, Relaxed);
        }
    }

    #[inline]
    fn release(&self, free: u32) {
        #[cfg(not(polyproc_loom))]
        self.word.store(free, Release);
        #[cfg(polyproc_loom)]
        self.word.swap(free, Release); // SYNC(L3)
    }

    #[cold]
    fn release_counted(&self, free: u32) {
        let counted = self.wait.load(Relaxed) & COUNT != 0;
        let idle = if counted { 0 } else { self.idle.load(Relaxed).saturating_add(1) };
        let give_up_fence = idle >= IDLE;
        self.idle.store(if give_up_fence { 0 } else { idle }, Relaxed);
        // A thread of this process that takes a word without `WAITERS` and dies with us would leave the sleepers behind.
        self.release(free | if counted { WAITERS } else { 0 });
        self.wake_one(give_up_fence);
    }

    /// The second half of an unlock that found somebody counted, or a fence due.
    #[cold]
    fn wake_one(&self, give_up_fence: bool) {
        fence(SeqCst); // SYNC(L2)
        let seen = self.wait.load(Relaxed);
        if seen & COUNT == 0 {
            if give_up_fence && seen & FENCED != 0 {
                // I5. Fails if anybody was counted meanwhile.
                let _ = self.wait.compare_exchange(seen, seen & !FENCED, Relaxed, Relaxed);
            }
        } else if Futex::wake(&raw const self.word, 1) == 1 {
            self.retract(seen & GENERATION); // for the one we woke (I2)
        } else if expired(seen) {
            // Counted, not in the kernel's queue, and no sleep lasts that long: only the dead are counted.
            let none = (seen & !COUNT & !GENERATION) | (seen & GENERATION).wrapping_add(ONE_GENERATION);
            let _ = self.wait.compare_exchange(seen, none, Relaxed, Relaxed);
        }
    }

    /// The rest of [`RawLock::lock_or`]; `watch` looks on.
    ///
    /// # Safety
    /// * As for [`RawLock::lock_as`], and the lock is announced.
    #[doc(hidden)]
    #[cold]
    pub unsafe fn lock_contended(
        me: Thread,
        this: *const Self,
        deadline: Deadline,
        mut watch: impl Watch,
    ) -> Result<Locked, NotLocked> {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        let mut spin = Spin::new();
        loop {
            let word = lock.word.load(Acquire);
            // Our number while we hold nothing, by whatever address: a mistake, or left by a dead holder who had it before.
            let is_mine = word & TID == me.id() && me.has_linked();
            if word & TID == 0 || word & TID == me.id() && !is_mine {
                // Whoever is counted was so before he marked the word that we have just read.
                let mark = if lock.wait.load(Relaxed) & COUNT == 0 { 0 } else { WAITERS };
                if lock.word.compare_exchange(word, me.id() | mark, Acquire, Relaxed).is_ok() {
                    lock.note_waiters(); // SYNC(L1)
                    let recovered = word & (DIED | TID) != 0;
                    if recovered {
                        lock.deaths.store(lock.deaths.load(Relaxed).wrapping_add(1), Relaxed);
                    }
                    return Ok(Locked { recovered });
                }
                continue;
            }
            if is_mine {
                me.done(); // held since before another lock was taken: it stays in the list
                return Err(NotLocked::Mine);
            }
            if deadline.is_past() {
                me.done();
                return Err(NotLocked::TimedOut);
            }
            if spin.again() {
                continue;
            }
            if lock.sleep(deadline) == Wait::TimedOut {
                lock.rob_the_dead();
                if !deadline.is_past() {
                    // Not woken and not counted, this thread owes nothing: it may announce something else meanwhile.
                    me.done();
                    if watch.tick() {
                        return Err(NotLocked::GivenUp);
                    }
                    // SAFETY: the caller's duty is the same.
                    let _ = unsafe { me.announce_lock(&raw const lock.word) };
                }
            }
        }
    }

    /// Counts this thread in, sleeps while the lock is held, and counts it out unless its waker did.
    fn sleep(&self, deadline: Deadline) -> Wait {
        let mut until = deadline.earlier(Deadline::after(futex::tick()));
        let Some(generation) = self.announce(until) else {
            // 32,767 waiters are counted already: this one looks again and again.
            until = deadline.earlier(Deadline::after(SLICE));
            return Futex::new(0).wait(0, until); // not on the lock's word: a waker would count out somebody else
        };
        if self.wait.load(Relaxed) & FENCED == 0 {
            if asym::heavy() {
                raise_fence(&self.wait, generation); // SYNC(L2)
            } else {
                until = deadline.earlier(Deadline::after(SLICE)); // no barrier to be had: look often
            }
        }
        fence(SeqCst); // SYNC(L2)
        let word = self.word.load(Relaxed);
        let mut how = Wait::Changed;
        if word & TID != 0 {
            let marked = word | WAITERS;
            if word == marked || self.word.compare_exchange(word, marked, AcqRel, Relaxed).is_ok() {
                how = self.word.wait(marked, until);
            }
        }
        if how != Wait::Woken {
            self.retract(generation);
        }
        how
    }

    /// Counts a waiter that sleeps until `until` at most; the generation to retract it with, none if the count is full.
    fn announce(&self, until: Deadline) -> Option<u64> {
        let expiry = expiry_at(until);
        let mut seen = self.wait.load(Relaxed);
        loop {
            if seen & COUNT == COUNT {
                return None;
            }
            let mut next = seen + ONE;
            if seen & COUNT == 0 || later(expiry, expiry_of(seen)) {
                next = with_expiry(next, expiry);
            }
            match self.wait.compare_exchange_weak(seen, next, SeqCst, Relaxed) {
                Ok(_) => return Some(seen & GENERATION),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes one waiter out of the count, unless the whole count was thrown away since.
    fn retract(&self, generation: u64) {
        retract(&self.wait, generation);
    }

    /// At a tick: frees the word of an owner that the kernel does not know any more, as the kernel would have done.
    #[cold]
    pub(super) fn rob_the_dead(&self) {
        let word = self.word.load(Relaxed);
        if word & TID != 0 && thread_is_dead(word & TID) {
            let _ = self.word.compare_exchange(word, (word & WAITERS) | DIED, AcqRel, Relaxed);
        }
    }
}

impl Default for RawLock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;

    /// Hazard 3, and the lease: a count that only the dead hold costs wake-ups until it expires, then none.
    #[test]
    fn the_fence_and_the_count_of_the_dead_are_given_up() {
        let lock = RawLock::new();
        let pass = || {
            // SAFETY: a lock of this frame, given up at once.
            unsafe { RawLock::try_lock(&raw const lock) }.unwrap();
            // SAFETY: as above; held by this thread.
            unsafe { RawLock::unlock(&raw const lock, false) };
        };
        let until = Deadline::after(core::time::Duration::from_millis(500));
        let generation = lock.announce(until).expect("the first waiter"); // it dies
        lock.wait.fetch_or(FENCED, Relaxed);
        pass();
        assert_eq!(lock.wait.load(Relaxed) & COUNT, ONE, "its sleep may still last");
        while lock.wait.load(Relaxed) & COUNT != 0 {
            pass();
        }
        lock.retract(generation); // a late one, of the old generation, takes nobody else out
        assert_eq!(lock.wait.load(Relaxed) & (COUNT | GENERATION), ONE_GENERATION);
        for _ in 0..=IDLE {
            pass();
        }
        assert_eq!(lock.wait.load(Relaxed) & FENCED, 0);
    }
}
