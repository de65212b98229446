//! The bytes of a gate: where two kinds of waiters sleep until a state elsewhere in the segment changes.
//!
//! A gate holds no state of its own: what is waited for (a slot that is full, a slot that is free) lies beside it. A
//! *poster* changes the state and then rings for one [`Side`]; a *waiter* marks its side, looks at the state again, and
//! sleeps. Both sides share one word, because the kernel lets a thread announce one word only: whoever takes from a
//! queue may have consumed a wake-up of the takers and owes one to the givers at the same time.
//!
//! # State
//! | bit of `word` | name | meaning | set by | cleared by |
//! |---|---|---|---|---|
//! | 31 | `TAKERS` | somebody may sleep for something to take | waiters, before each look and sleep | the poster that wakes |
//! | 30 | `GIVERS` | somebody may sleep for room to give | as above | as above |
//! | 0..30 | | always 0: nobody owns a gate, so the kernel passes wake-ups on | | |
//!
//! | bits of `fence` | name | meaning |
//! |---|---|---|
//! | 0 | `WANTED` | posters fence between the state and the gate, from now on |
//! | 1 | `FENCED` | … and no poster is left that does not: a waiter needs no barrier of his own |
//! | 2..32 | epoch | how often the fence was given up |
//!
//! `rovers` is 1 if somebody may sleep who waits at other gates, too ([`RawGate::arm`]), until the fence is given up.
//!
//! # Invariants
//! G1. Nobody sleeps unless the word is exactly what he saw together with a state that was not ready, or looks the same
//!     again because another waiter has marked it since, who then has his own look and G4 ahead of him.
//! G2. A waiter that was woken marks the gate again, for both sides, before he does anything else: others may sleep still,
//!     and if the kernel woke him in place of a dead poster, that one may have cleared the mark of the other side.
//! G3. From before a state changes until after the wake-up, and from before a sleep until after what it led to, the thread
//!     holds an announcement ([`RawGate::announce`]): the kernel wakes another waiter if it dies meanwhile.
//! G4. Whoever consumed a wake-up, or takes what he marked the gate for, rings for each side whose state is ready: the
//!     wake-up may have stood for several changes or, when the kernel passed it on, for the other side; and his mark may
//!     have stood where a poster had just cleared another's, who then slept on it.
//!     One who roves takes nothing, so he rings whenever he was woken; and as he sleeps for both sides and can announce one
//!     gate of several, a ring wakes the whole side where there may be one: none that he consumes was meant for him alone.
//! G5. `FENCED` is set only after a barrier during which `WANTED` was set without a break (same epoch).
//!
//! # Memory ordering
//! M1. A poster stores the state, then loads `word` and `fence`; a waiter marks `word`, then loads the state. With `FENCED`
//!     the poster sees that one of the two is not 0, fences, and loads again. Without, the waiter sets `WANTED` and then
//!     runs [`asym::heavy`]: a poster's loads come after that and see `WANTED`, or his store came before it and is seen.
//!
//! # If a process dies
//! A poster between the state and its wake-up: the gate is pending and its TID bits are 0, so the kernel wakes one waiter,
//! of either side, who marks the gate again (G2) and does as G4 says. A waiter that was woken: likewise. One who roves,
//! asleep or just woken: whoever else the ring was for was woken with him (G4).
//!
//! Left to the tick: two such deaths at once; and a waiter that stood still between its look and its sleep while all of this
//! happened: the state became ready, and whoever owed him the wake-up died, before the ring or (a waiter whose mark stands
//! where his was cleared, G4) before it had settled. The kernel wakes nobody then, and the word is what he has seen.
//! And a rover that consumed, and died with, a wake-up of a poster who had looked for rovers just before it came.
//! Nobody else is stranded by one death: every state of it is gone through in tests/states_gate.rs.
//!
//! # Sources
//! The event count of the literature; the kernel's robust futex ABI for the pass-on (exact from Linux 6.2 on).

use polyproc_sys::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, SeqCst},
    fence,
};
use polyproc_sys::futex::{self, Futex, Wait, Watch};
use polyproc_sys::robust::{self, Announced};
use polyproc_sys::{Deadline, asym};

const WANTED: u32 = 1;
const FENCED: u32 = 1 << 1;
const EPOCH: u32 = !(WANTED | FENCED);
const ONE_EPOCH: u32 = 1 << 2;
/// Rings without a waiter after which the fence is given up again.
const IDLE: u32 = 64;
/// How long a waiter sleeps where the kernel refuses the barrier.
pub(crate) const SLICE: core::time::Duration = core::time::Duration::from_millis(1);

/// What a waiter waits for.
///
/// ```
/// use polyproc_sync::raw::gate::Side;
/// assert_ne!(Side::Takers, Side::Givers);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Something to take: a message, a permit, a result.
    Takers,
    /// Room to give.
    Givers,
}

impl Side {
    const fn mark(self) -> u32 {
        match self {
            Self::Takers => 1 << 31,
            Self::Givers => 1 << 30,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Takers => Self::Givers,
            Self::Givers => Self::Takers,
        }
    }

    /// The futex class of the side's sleepers.
    const fn class(self) -> u32 {
        match self {
            Self::Takers => 1,
            Self::Givers => 2,
        }
    }
}

/// The bytes of a gate, 16 of them; zeroed bytes are a gate at which nobody sleeps.
///
/// ```
/// use polyproc_sync::raw::{RawGate, gate::Side};
/// use polyproc_sys::Deadline;
/// let gate = RawGate::new();
/// let announced = gate.announce();
/// assert!(gate.wait(Side::Takers, Deadline::PAST, || true, || {})); // ready: no sleep
/// assert!(!gate.wait(Side::Takers, Deadline::PAST, || false, || {})); // not ready, and no time
/// drop(announced);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct RawGate {
    /// See `# State`.
    word: Futex,
    /// See `# State`.
    fence: AtomicU32,
    /// Rings in a row that met a fence and no waiter; approximate, several posters write it.
    idle: AtomicU32,
    /// See `# State`.
    rovers: AtomicU32,
}

/// What one who waits for several things finds at one of them.
///
/// ```
/// use polyproc_sync::raw::{RawGate, gate::{Armed, Side}};
/// assert!(matches!(RawGate::new().arm(Side::Takers, false, || true, || {}), Armed::Ready));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// There is no need to sleep.
    Ready,
    /// Whoever makes it ready wakes those who sleep on the word while it is this.
    Asleep(u64),
    /// As `Asleep`, but the wake-up may not come (at a gate: the kernel refuses the barrier): look again after 1 ms.
    Dozing(u64),
}

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(size_of::<RawGate>() == 16);

impl RawGate {
    /// A gate at which nobody sleeps.
    ///
    /// ```
    /// use polyproc_sync::raw::{RawGate, gate::Side};
    /// assert!(!RawGate::new().is_marked(Side::Givers));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { word: Futex::new(0), fence: AtomicU32::new(0), idle: AtomicU32::new(0), rovers: AtomicU32::new(0) }
    }

    /// Whether somebody may sleep on `side`; may be wrong by the time you look.
    ///
    /// ```
    /// use polyproc_sync::raw::{RawGate, gate::Side};
    /// let gate = RawGate::new();
    /// gate.wait(Side::Takers, polyproc_sys::Deadline::PAST, || false, || {});
    /// assert!(gate.is_marked(Side::Takers)); // the mark stays until somebody rings
    /// ```
    #[must_use]
    pub fn is_marked(&self, side: Side) -> bool {
        self.word.load(Relaxed) & side.mark() != 0
    }

    /// Tells the kernel that this thread may owe a wake-up here until the announcement is dropped (G3).
    ///
    /// ```
    /// use polyproc_sync::raw::{RawGate, gate::Side};
    /// let gate = RawGate::new();
    /// let owes = gate.announce();
    /// // … change the state …
    /// gate.ring(Side::Takers);
    /// drop(owes);
    /// assert!(!gate.is_marked(Side::Takers));
    /// ```
    #[inline]
    pub fn announce(&self) -> Announced {
        robust::announce(&raw const *self.word)
    }

    /// Wakes one waiter of `side` if there may be any: to be called after the state was changed, under an announcement.
    ///
    /// No system call, and no fence, where nobody waits.
    ///
    /// ```
    /// use polyproc_sync::raw::{RawGate, gate::Side};
    /// RawGate::new().ring(Side::Givers);
    /// ```
    #[inline]
    pub fn ring(&self, side: Side) {
        asym::light(); // SYNC(M1)
        if self.is_watched() {
            self.ring_marked(side, 1);
        }
    }

    /// Wakes every waiter of `side` if there may be any; otherwise as [`RawGate::ring`].
    ///
    /// ```
    /// use polyproc_sync::raw::{RawGate, gate::Side};
    /// RawGate::new().ring_all(Side::Takers);
    /// ```
    #[inline]
    pub fn ring_all(&self, side: Side) {
        asym::light(); // SYNC(M1)
        if self.is_watched() {
            self.ring_marked(side, u32::MAX);
        }
    }

    /// Whether a poster has to do more than change the state. The fence is loaded first: whoever finds it given up then
    /// sees the marks of all who relied on it.
    #[inline]
    fn is_watched(&self) -> bool {
        let fence = self.fence.load(Acquire) & !EPOCH; // SYNC(M1)
        fence | self.word.load(Relaxed) != 0
    }

    #[cold]
    fn ring_marked(&self, side: Side, n: u32) {
        fence(SeqCst); // SYNC(M1)
        let word = self.word.load(Relaxed);
        if word & side.mark() != 0 {
            if self.word.fetch_and(!side.mark(), SeqCst) & side.mark() != 0 {
                let n = if self.rovers.load(Relaxed) == 0 { n } else { u32::MAX }; // G4
                Futex::wake_class(&raw const self.word, n, side.class());
            }
            self.idle.store(0, Relaxed);
        } else {
            self.idle_ring(side.other());
        }
    }

    /// Nobody waits on the poster's side, but he had to fence. After some such rings the other side's mark, which may be
    /// left over, is rung away (whoever sleeps there marks it again), and if there is none the fence is given up.
    fn idle_ring(&self, other: Side) {
        let idle = self.idle.load(Relaxed).wrapping_add(1);
        self.idle.store(idle, Relaxed);
        if idle < IDLE {
            return;
        }
        self.idle.store(0, Relaxed);
        if self.word.load(Relaxed) & other.mark() != 0 {
            if self.word.fetch_and(!other.mark(), SeqCst) & other.mark() != 0 {
                Futex::wake_class(&raw const self.word, 1, other.class());
            }
        } else {
            self.rovers.store(0, Relaxed);
            let fenced = self.fence.load(Relaxed);
            let _ = self.fence.compare_exchange(fenced, (fenced & EPOCH).wrapping_add(ONE_EPOCH), SeqCst, Relaxed);
        }
    }

    /// Sleeps on `side` until `ready` says `true`, or until `deadline`; says which. To be called under an announcement.
    ///
    /// `ready` is called again and again and may itself take what it waits for. `settle` is called whenever a wake-up was
    /// consumed, and when `ready` was: it rings for each side whose state is ready at that moment (G4).
    ///
    /// ```
    /// use polyproc_sync::raw::{RawGate, gate::Side};
    /// use polyproc_sys::Deadline;
    /// let gate = RawGate::new();
    /// let _announced = gate.announce();
    /// let mut looks = 0;
    /// assert!(gate.wait(Side::Takers, Deadline::NEVER, || { looks += 1; looks > 0 }, || {}));
    /// ```
    pub fn wait(
        &self,
        side: Side,
        deadline: Deadline,
        mut ready: impl FnMut() -> bool,
        mut settle: impl FnMut(),
    ) -> bool {
        let mut woken = false;
        loop {
            let mut until = deadline.earlier(Deadline::after(futex::tick()));
            // G2. The wake-up may have been meant for the other side, whose mark the poster had cleared before it died.
            let mine = if woken { Side::Takers.mark() | Side::Givers.mark() } else { side.mark() };
            let marked = self.word.fetch_or(mine, SeqCst) | mine;
            if self.fence.load(Relaxed) & FENCED == 0 && !self.raise_fence() {
                until = deadline.earlier(Deadline::after(SLICE));
            }
            fence(SeqCst); // SYNC(M1)
            let done = ready();
            if woken || done {
                settle(); // G4
            }
            if done || deadline.is_past() {
                return done;
            }
            if woken {
                woken = false; // settling may have cleared what this round has marked: sleep on what the next one sees
                continue;
            }
            // G1. Not only a wake-up counts as one: a ring may have cleared our mark for us just before we slept.
            woken = self.word.wait_class(marked, side.class(), until) != Wait::TimedOut;
        }
    }

    /// For one who waits at several gates: makes posters wake him, and looks. To be called anew after each sleep; if
    /// that may have consumed a wake-up he is `woken`, and passes it on first.
    ///
    /// `ready` only looks; `settle` is that of [`RawGate::wait`]. Announces the gate meanwhile, and no longer.
    ///
    /// ```
    /// use polyproc_sync::raw::{RawGate, gate::{Armed, Side}};
    /// use polyproc_sys::{Deadline, futex::{Wait, wait_many}};
    /// let (one, two) = (RawGate::new(), RawGate::new());
    /// let arm = |gate: &RawGate| match gate.arm(Side::Takers, false, || false, || {}) {
    ///     Armed::Asleep(word) | Armed::Dozing(word) => word,
    ///     Armed::Ready => unreachable!(),
    /// };
    /// let (word_one, word_two) = (arm(&one), arm(&two));
    /// one.ring(Side::Takers);
    /// assert_eq!(wait_many(&[one.watch(word_one), two.watch(word_two)], Deadline::NEVER), Wait::Changed);
    /// ```
    pub fn arm(&self, side: Side, woken: bool, mut ready: impl FnMut() -> bool, mut settle: impl FnMut()) -> Armed {
        let _owes = self.announce();
        self.rovers.store(1, Relaxed); // before the mark, which releases it
        if woken {
            self.mark(Side::Takers.mark() | Side::Givers.mark()); // G2
            settle(); // G4
        }
        let (word, is_fenced) = self.mark(side.mark());
        if ready() {
            settle(); // G4
            Armed::Ready
        } else if is_fenced {
            Armed::Asleep(word.into())
        } else {
            Armed::Dozing(word.into())
        }
    }

    /// Sets marks; the word after it, and whether posters see it in time.
    fn mark(&self, marks: u32) -> (u32, bool) {
        let word = self.word.fetch_or(marks, SeqCst) | marks;
        let is_fenced = self.fence.load(Relaxed) & FENCED != 0 || self.raise_fence();
        fence(SeqCst); // SYNC(M1)
        (word, is_fenced)
    }

    /// The gate to sleep at, while its word is what [`RawGate::arm`] has said.
    ///
    /// See [`RawGate::arm`] for an example.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the word has 32 bits")]
    pub fn watch(&self, word: u64) -> Watch<'_> {
        self.word.watch(word as u32)
    }

    /// Makes all posters fence; `false` if the kernel refuses the barrier.
    #[cold]
    fn raise_fence(&self) -> bool {
        let epoch = self.fence.fetch_or(WANTED, SeqCst) & EPOCH;
        if !asym::heavy() {
            return false; // SYNC(M1)
        }
        let mut seen = self.fence.load(Relaxed);
        while seen & EPOCH == epoch && seen & FENCED == 0 {
            match self.fence.compare_exchange_weak(seen, seen | FENCED, SeqCst, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        true
    }
}

impl Default for RawGate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;

    /// Hazard 3: `membarrier` interrupts every CPU, so only the first sleeper may call it.
    #[test]
    fn the_fence_is_raised_by_the_first_sleeper_and_given_up_when_idle() {
        let gate = RawGate::new();
        let _announced = gate.announce();
        for _ in 0..3 {
            gate.wait(Side::Takers, Deadline::PAST, || false, || {});
            assert_eq!(gate.fence.load(Relaxed), WANTED | FENCED, "raised once, in the first epoch");
        }
        gate.ring(Side::Takers); // clears the mark
        for _ in 0..IDLE {
            assert_eq!(gate.fence.load(Relaxed) & FENCED, FENCED);
            gate.ring(Side::Takers);
        }
        assert_eq!(gate.fence.load(Relaxed), ONE_EPOCH, "given up: the next sleeper starts a new epoch");
        gate.wait(Side::Givers, Deadline::PAST, || false, || {});
        assert_eq!(gate.fence.load(Relaxed), ONE_EPOCH | WANTED | FENCED);
    }
}
