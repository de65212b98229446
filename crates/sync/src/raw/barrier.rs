//! The bytes of a barrier: which round it is in, who has arrived, and how the last rounds have ended.
//!
//! # State
//! 64 bits that change as one; the upper half is what the kernel compares.
//!
//! | bits | name | meaning | changed by |
//! |---|---|---|---|
//! | 0 | `BROKEN` | nobody can arrive | whoever breaks a round; `reset` |
//! | 1, 2 | `SLEEPER`, `MANY` | one sleeps in this round or is about to; more than one | waiters; cleared with the round |
//! | 3 | `OWED` | more than one sleeper of an earlier round may not have been woken yet | the end of a round; whoever wakes all |
//! | 4..10 | history | the last six rounds, the latest lowest: 1 for those that were broken | the end of a round |
//! | 10..32 | round | its upper bits | the end of a round |
//! | 32..62 | | always 0: nobody owns a barrier, so the kernel passes wake-ups on | |
//! | 62..64 | turn | the round's two lowest bits | the end of a round |
//!
//! A cell for each party: the thread that has arrived, as the caller numbers them (0..32), the round in which it has
//! (32..56), and bit 63. What names another round is as good as empty.
//!
//! # Transitions
//! ```text
//! arrive    announce; not BROKEN: claim the first cell that is not of this round, by a CAS
//! last      who has claimed the last cell: action; end the round
//! others    sleep while the turn is the same; until the round is another one, whose history tells how this one ended
//! too late  claim the last cell, out of turn, so that nobody is the last: break; it is claimed: sleep on, without limit
//! end       round += 1, history; SLEEPER: wake all (OWED meanwhile, if MANY)
//! break     end, and BROKEN: abort; a party's time is up; one that has arrived is dead; the action panicked
//! reset     BROKEN = 0; or end, as if it were broken, if anybody has arrived
//! ```
//!
//! # Invariants
//! B1. Cells are claimed in order: who claims one has seen the one before it claimed for the same round. But who breaks
//!     a round since his time is up claims the last one whatever there is before it.
//! B2. A cell is not claimed for a round that has ended once it was claimed for a later one: the CAS replaces what was
//!     seen before a look that found the round not ended.
//! B3. A round ends once. It passes only if each cell is claimed for it, by the thread that claimed the last one in
//!     order. Once it has, nobody breaks the round since his time is up: whose action has begun has all before it.
//! B4. Who sleeps is marked in the round that he has arrived in, or that has ended. When a round ends, a living thread
//!     has its sleepers to wake: who ended it, and who is woken while `OWED`.
//! B5. From before he arrives until he returns, a waiter has the barrier announced, but while his caller's action or
//!     look runs: if he dies, the kernel wakes a sleeper, who finds that he is dead.
//!
//! # Memory ordering
//! S1. A claim (AcqRel) follows a look (Acquire) at the claim before it (B1), the end of a round (AcqRel) all claims,
//!     and a waiter looks at the state with Acquire: what came before any arrival is seen after the wait.
//! S2. The look at the round behind that at the cell (B2): whoever claimed the cell for a later round had seen that
//!     one.
//!
//! # If a process dies
//! Before its claim: nothing has happened. After it, or asleep: the kernel marks its thread as dead, then wakes a
//! sleeper (B5), who breaks the round. Who ends a round, before it has woken all: the kernel wakes one, who wakes the
//! others (B4). Left to the tick ([`polyproc_sys::futex::tick`]), when every sleeper looks for the dead and his caller
//! for dead processes: a party that dies between another's look for the dead and its sleep, in its action, or outside
//! of the barrier; two deaths within the same few instructions; a kernel before 6.2; four rounds that end between a
//! waiter's mark and its sleep.
//!
//! # Limits
//! A waiter that sleeps through the end of more than six rounds beside its own, for which there must be more threads
//! than parties, or resets, takes its own for broken if one of the last six was, and for passed if not.

use super::rounds::{BROKEN, End, MANY, OWED, SLEEPER, claim_of, ended, passed, round_of, tag};
use polyproc_sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use polyproc_sys::futex::{self, Wait, WideFutex};
use polyproc_sys::spin::Spin;
use polyproc_sys::{Deadline, robust};

/// The bytes of a barrier, with a cell for each party.
///
/// Place it in a segment that several processes map, as the low-level alternative to [`Barrier`](crate::Barrier);
/// zeroed bytes become one by [`RawBarrier::reset_bytes`].
///
/// ```
/// use polyproc_sync::raw::RawBarrier;
/// use polyproc_sys::{Deadline, atomic::AtomicU64};
/// let sized = RawBarrier::<[AtomicU64; 2]>::new();
/// let barrier: &RawBarrier = &sized;
/// let wait = |me| barrier.wait(me, |_| false, |_| {}, Deadline::NEVER, || {}).unwrap();
/// std::thread::scope(|s| {
///     let other = s.spawn(|| wait(1));
///     assert_eq!(wait(2) + other.join().unwrap(), 1); // one is 0 and one is 1
/// });
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct RawBarrier<C: ?Sized = [AtomicU64]> {
    /// See `# State`.
    state: WideFutex,
    /// As many cells are used.
    parties: AtomicU32,
    spare: AtomicU32,
    /// Nanoseconds that a wait without a deadline of its own lasts at most; 0: for ever. Of use to the handle only.
    patience: AtomicU64,
    /// See `# State`.
    cells: C,
}

/// Bytes before the first cell.
pub const HEADER: usize = 24;
/// As many parties a barrier can have.
pub const MOST_PARTIES: u32 = 4000;

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(
    size_of::<RawBarrier<[AtomicU64; 1]>>() == HEADER + 8
        && core::mem::offset_of!(RawBarrier<[AtomicU64; 1]>, cells) == HEADER
);

/// Why a wait did not pass the barrier.
///
/// ```
/// use polyproc_sync::raw::barrier::NotPassed;
/// assert_ne!(NotPassed::Broken, NotPassed::TimedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPassed {
    /// The barrier was broken, or is.
    Broken,
    /// The deadline came before all had arrived: if this thread had, the barrier is broken now.
    TimedOut,
}

impl<const N: usize> RawBarrier<[AtomicU64; N]> {
    /// A barrier of `N` parties.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawBarrier;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// let barrier = RawBarrier::<[AtomicU64; 3]>::new();
    /// assert_eq!((&barrier as &RawBarrier).parties(), 3);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: WideFutex::new(0),
            parties: AtomicU32::new(u32::try_from(N).unwrap_or(u32::MAX)),
            spare: AtomicU32::new(0),
            patience: AtomicU64::new(0),
            cells: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl<const N: usize> Default for RawBarrier<[AtomicU64; N]> {
    fn default() -> Self {
        Self::new()
    }
}

impl RawBarrier {
    /// The barrier that fills `len` bytes from `first` on, 24 at least, aligned to 8; nothing is read or written.
    ///
    /// ```
    /// use polyproc_sync::raw::RawBarrier;
    /// use polyproc_sys::atomic::AtomicU64;
    /// let bytes: Vec<AtomicU64> = (0..5).map(|_| AtomicU64::new(0)).collect();
    /// // SAFETY: 40 aligned bytes that live until the end, used as a barrier only.
    /// let barrier = unsafe { &*RawBarrier::at(bytes.as_ptr().cast(), 40) };
    /// barrier.reset_bytes(2);
    /// assert_eq!(barrier.parties(), 2);
    /// ```
    #[must_use]
    pub fn at(first: *const u8, len: usize) -> *const Self {
        let cells = len.saturating_sub(HEADER) / size_of::<u64>();
        core::ptr::slice_from_raw_parts(first.cast::<AtomicU64>(), cells) as *const Self
    }

    /// Makes these bytes a new barrier of `parties`, as many as there are cells at most, before anybody else knows it.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawBarrier;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// let barrier = RawBarrier::<[AtomicU64; 3]>::new();
    /// (&barrier as &RawBarrier).reset_bytes(2);
    /// assert_eq!((&barrier as &RawBarrier).parties(), 2);
    /// ```
    pub fn reset_bytes(&self, parties: u32) {
        self.cells.iter().for_each(|cell| cell.store(0, Relaxed));
        self.patience.store(0, Relaxed);
        self.parties.store(parties, Relaxed);
        self.state.store(0, Release);
    }

    /// As many threads as must arrive.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawBarrier;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// assert_eq!((&RawBarrier::<[AtomicU64; 1]>::new() as &RawBarrier).parties(), 1);
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.used().len()
    }

    /// Where the handle keeps how long a wait lasts at most, in nanoseconds.
    pub(crate) fn patience(&self) -> &AtomicU64 {
        &self.patience
    }

    fn used(&self) -> &[AtomicU64] {
        let parties = usize::try_from(self.parties.load(Relaxed)).unwrap_or(usize::MAX);
        &self.cells[..parties.min(self.cells.len())]
    }

    /// How many have arrived and not been let go yet; may be wrong by the time you look.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawBarrier;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// assert_eq!((&RawBarrier::<[AtomicU64; 2]>::new() as &RawBarrier).waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.arrived(self.state.load(Acquire))
    }

    /// How many cells are claimed for the round of `seen` (B1); all, or those before some gap, once its last one is
    /// claimed to break it.
    fn arrived(&self, seen: u64) -> usize {
        self.used().partition_point(|cell| round_of(cell.load(Acquire)) == tag(seen)) // SYNC(S1)
    }

    /// Whether waits fail; may be wrong by the time you look.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawBarrier;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// let barrier = RawBarrier::<[AtomicU64; 2]>::new();
    /// (&barrier as &RawBarrier).abort();
    /// assert!((&barrier as &RawBarrier).is_broken());
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state.load(Acquire) & BROKEN != 0
    }

    /// Breaks the barrier: who waits and who comes fails, until [`RawBarrier::reset`].
    ///
    /// ```
    /// # use polyproc_sync::raw::{RawBarrier, barrier::NotPassed};
    /// # use polyproc_sys::{Deadline, atomic::AtomicU64};
    /// let barrier = RawBarrier::<[AtomicU64; 1]>::new();
    /// (&barrier as &RawBarrier).abort();
    /// let late = (&barrier as &RawBarrier).wait(1, |_| false, |_| {}, Deadline::NEVER, || {});
    /// assert_eq!(late, Err(NotPassed::Broken));
    /// ```
    pub fn abort(&self) {
        let mut seen = self.state.load(Acquire);
        while seen & BROKEN == 0 && !self.end(seen, End::Broken) {
            seen = self.state.load(Acquire);
        }
    }

    /// Makes a broken barrier usable again. Who waits at one that is not broken fails, and those that come can pass.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawBarrier;
    /// # use polyproc_sys::{Deadline, atomic::AtomicU64};
    /// let sized = RawBarrier::<[AtomicU64; 1]>::new();
    /// let barrier: &RawBarrier = &sized;
    /// barrier.abort();
    /// barrier.reset();
    /// assert_eq!(barrier.wait(1, |_| false, |_| {}, Deadline::NEVER, || {}), Ok(0));
    /// ```
    pub fn reset(&self) {
        let mut seen = self.state.load(Acquire);
        while seen & BROKEN != 0 {
            match self.state.compare_exchange_weak(seen, seen & !BROKEN, AcqRel, Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        if self.arrived(seen) > 0 {
            self.end(seen, End::Reset); // if it has ended meanwhile, nobody waits who waited when this was called
        }
    }

    /// Arrives as `me`, and sleeps until all parties have, or until `deadline`; says as which of them it has arrived,
    /// from 0.
    ///
    /// The last one runs `action` before the others are let go, who wait for its end even if their deadlines come. A
    /// waiter calls `dead` to learn whether another is dead, and, with its own place, `look` at each tick: to find dead
    /// parties that have not arrived, and call [`RawBarrier::abort`].
    ///
    /// # Errors
    /// [`NotPassed`]
    ///
    /// # Panics
    /// If `action` does; the barrier is broken then.
    ///
    /// # Examples
    /// ```
    /// # use polyproc_sync::raw::{RawBarrier, barrier::NotPassed};
    /// # use polyproc_sys::{Deadline, atomic::AtomicU64};
    /// let sized = RawBarrier::<[AtomicU64; 2]>::new();
    /// let barrier: &RawBarrier = &sized;
    /// let alone = barrier.wait(1, |_| false, |_| {}, Deadline::PAST, || {});
    /// assert_eq!(alone, Err(NotPassed::TimedOut));
    /// assert!(barrier.is_broken());
    /// ```
    pub fn wait(
        &self,
        me: u32,
        dead: impl Fn(u32) -> bool,
        mut look: impl FnMut(usize),
        deadline: Deadline,
        action: impl FnOnce(),
    ) -> Result<usize, NotPassed> {
        let _owes = robust::announce(self.state.word()); // B5
        let (mine, seen) = loop {
            let seen = self.state.load(Acquire);
            if seen & BROKEN != 0 {
                return Err(NotPassed::Broken);
            }
            if let Some(mine) = self.claim(seen, me) {
                break (mine, seen);
            }
            // The round has ended, or the last one is at its action.
            if !self.sleep(seen, &dead, || look(usize::MAX), deadline) {
                return Err(NotPassed::TimedOut);
            }
        };
        if mine + 1 == self.parties() {
            let unwinding = Breaks(self, seen);
            action();
            core::mem::forget(unwinding);
            self.end(seen, End::Passed);
        } else if !self.sleep(seen, &dead, || look(mine), deadline) {
            if !self.forestall(seen, me) {
                self.sleep(seen, &dead, || look(mine), Deadline::NEVER); // B3: the last one is at its action
            } else if self.end(seen, End::Broken) {
                return Err(NotPassed::TimedOut);
            }
        }
        if passed(seen, self.state.load(Acquire)) { Ok(mine) } else { Err(NotPassed::Broken) } // SYNC(S1)
    }

    /// Claims a cell for the round of `seen`; `None` if all are claimed or the round has ended.
    fn claim(&self, seen: u64, me: u32) -> Option<usize> {
        loop {
            let at = self.arrived(seen);
            let cell = self.used().get(at)?;
            let old = cell.load(Acquire);
            if tag(self.state.load(Acquire)) != tag(seen) {
                return None; // SYNC(S2), B2
            }
            let mine = claim_of(seen, me);
            // SYNC(S1)
            if round_of(old) != tag(seen) && cell.compare_exchange(old, mine, AcqRel, Relaxed).is_ok() {
                return Some(at);
            }
        }
    }

    /// Claims the last cell for the round of `seen`, which `me` is about to break, so that nobody runs the action;
    /// `false` if it is claimed or the round has ended.
    #[cold]
    fn forestall(&self, seen: u64, me: u32) -> bool {
        let Some(cell) = self.used().last() else { return false };
        let old = cell.load(Acquire);
        // SYNC(S2), B2
        tag(self.state.load(Acquire)) == tag(seen)
            && round_of(old) != tag(seen)
            && cell.compare_exchange(old, claim_of(seen, me), AcqRel, Relaxed).is_ok()
    }

    /// Spins a little, then sleeps until the round of `of` has ended; `false` if the deadline comes before.
    fn sleep(&self, of: u64, dead: &impl Fn(u32) -> bool, mut look: impl FnMut(), deadline: Deadline) -> bool {
        let (mut spin, mut marked, mut slept) = (Spin::new(), false, false);
        loop {
            let now = self.state.load(Acquire); // SYNC(S1)
            if slept && now & OWED != 0 {
                self.wake_all(now); // B4
            }
            if tag(now) != tag(of) {
                return true;
            }
            if deadline.is_past() {
                return false;
            }
            if spin.again() {
                continue;
            }
            let _owes = robust::announce(self.state.word()); // B5: a look may have announced something else
            if !marked {
                let mark = if now & SLEEPER == 0 { SLEEPER } else { MANY };
                marked = self.state.compare_exchange(now, now | mark, AcqRel, Relaxed).is_ok(); // B4
                if !marked {
                    continue;
                }
            }
            if self.has_dead(of, dead) {
                self.end(of, End::Broken);
                continue;
            }
            let end = self.state.wait(now, deadline.earlier(Deadline::after(futex::tick())));
            slept = true;
            if end == Wait::TimedOut && !deadline.is_past() {
                look();
            }
        }
    }

    /// Whether a thread that has arrived in the round of `of` is dead.
    fn has_dead(&self, of: u64, dead: &impl Fn(u32) -> bool) -> bool {
        let cells = self.used().iter().map(|cell| cell.load(Acquire));
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the thread")]
        cells.take_while(|&cell| round_of(cell) == tag(of)).any(|cell| dead(cell as u32))
    }

    /// Ends the round of `of` and wakes its sleepers; `false` if it has ended already (B3).
    fn end(&self, of: u64, how: End) -> bool {
        let _owes = robust::announce(self.state.word()); // B5
        let mut seen = self.state.load(Relaxed);
        while tag(seen) == tag(of) {
            let next = ended(seen, how);
            match self.state.compare_exchange_weak(seen, next, AcqRel, Relaxed) {
                Ok(_) => {
                    if seen & (SLEEPER | OWED) != 0 {
                        self.wake_all(next); // B4
                    }
                    return true;
                }
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Wakes all who sleep for a round that has ended when the state is `seen`.
    fn wake_all(&self, seen: u64) {
        WideFutex::wake_all(&raw const self.state);
        let mut now = seen;
        // Another round that has ended meanwhile has a waker of its own, who clears the mark.
        while tag(now) == tag(seen) && now & OWED != 0 {
            match self.state.compare_exchange_weak(now, now & !OWED, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }
}

/// Breaks the round when it is dropped: the action panicked.
struct Breaks<'a>(&'a RawBarrier, u64);

impl Drop for Breaks<'_> {
    fn drop(&mut self) {
        self.0.end(self.1, End::Broken);
    }
}
