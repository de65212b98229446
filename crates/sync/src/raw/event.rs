//! The bytes of an event: whether it is set, and who sleeps until it is.
//!
//! # State
//! 64 bits that change as one; the upper half is what the kernel compares.
//!
//! | bits | name | meaning | changed by |
//! |---|---|---|---|
//! | 0 | `SET` | waits return at once | `set`, `clear` |
//! | 1 | `OWED` | more than one sleeper of an earlier epoch may not have been woken yet | `set`; cleared by whoever wakes all |
//! | 2..6 | asleep | who sleeps or is about to, in this epoch; sticks at 15; wrong only upward | waiters, `set` |
//! | 6..32 | epoch | how often the event was set while anybody was counted | `set` |
//! | 32..62 | | always 0: nobody owns an event, so the kernel passes wake-ups on | |
//! | 62..64 | turn | the lowest bits of the epoch | `set` |
//!
//! # Transitions
//! ```text
//! wait      SET: done. Otherwise asleep += 1, sleep while the turn is the same; until the epoch is another one
//! set       nobody counted: SET. Otherwise announce; SET, epoch += 1, asleep = 0, OWED if there were two; wake all; OWED = 0
//! clear     SET = 0
//! woken     epoch moved: done. OWED: wake all, OWED = 0
//! timeout   asleep -= 1, if the epoch is the same
//! ```
//!
//! # Invariants
//! E1. Whoever sleeps is counted in the epoch that he remembers, or that has ended; he returns `true` exactly if it
//!     has, that is if the event was set after he was counted, whatever became of it since.
//! E2. When an epoch ends, a living thread has all its sleepers to wake: the setter, and who is woken while `OWED`.
//! E3. Both have announced the event to the kernel meanwhile, which wakes another sleeper if they die.
//! E4. `SET` implies that nobody is counted.
//!
//! # Memory ordering
//! S1. All changes are read-modify-writes of one word, so whoever sees what `set` has left, or what came behind, with
//!     Acquire sees what came before that `set` (Release).
//! S2. A `set` of a set event is a read-modify-write as well: a load could see a state from before a `clear` whose
//!     caller then looks at data from before the `set`, and sleeps.
//!
//! # If a process dies
//! The setter, before it has woken all: the kernel wakes one sleeper (E3), and if there were several he wakes the
//! others (E2). Who is woken and dies: likewise. A sleeper: it stays counted, for which the next `set` makes one system
//! call too many. Left to the tick ([`polyproc_sys::futex::tick`]): two deaths within the same few instructions; a
//! kernel before 6.2; four ends of epochs between a waiter's count and his sleep; a setter that dies where the kernel
//! prefers a new sleeper of higher priority to the only old one; and a lock that the setter holds while it wakes
//! sleepers is not announced: if it dies just then, those who wait for the lock see it at their tick.
//!
//! # Sources
//! The event count of the literature; the kernel's robust futex ABI for the pass-on.

use polyproc_sys::Deadline;
use polyproc_sys::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use polyproc_sys::futex::{self, Watch, WideFutex};
use polyproc_sys::robust;
use polyproc_sys::spin::Spin;

const SET: u64 = 1;
const OWED: u64 = 1 << 1;
const ONE: u64 = 1 << 2; // one who sleeps
const ASLEEP: u64 = 15 << 2;
const ONE_EPOCH: u64 = 1 << 6;
const EPOCH: u64 = 0x3ff_ffff << 6;
const TURN_SHIFT: u32 = 62 - 6; // of the epoch's lowest bits, where they lie

/// The bytes of an event, 8 of them; zeroed bytes are an event that is not set.
///
/// Place it in a segment that several processes map, as the low-level alternative to [`Event`](crate::Event).
///
/// ```
/// use polyproc_sync::raw::RawEvent;
/// use polyproc_sys::Deadline;
/// let event = RawEvent::new();
/// assert!(!event.wait(Deadline::PAST));
/// event.set();
/// assert!(event.wait(Deadline::NEVER));
/// event.clear();
/// assert!(!event.is_set());
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct RawEvent {
    /// See `# State`.
    state: WideFutex,
}

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(size_of::<RawEvent>() == 8 && align_of::<RawEvent>() == 8);

impl RawEvent {
    /// An event that is not set.
    ///
    /// ```
    /// assert!(!polyproc_sync::raw::RawEvent::new().is_set());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { state: WideFutex::new(0) }
    }

    /// Makes these bytes an event that is not set, which nobody uses yet.
    ///
    /// ```
    /// let event = polyproc_sync::raw::RawEvent::new();
    /// event.set();
    /// event.reset();
    /// assert!(!event.is_set());
    /// ```
    pub fn reset(&self) {
        self.state.store(0, Release);
    }

    /// Whether it is set; may be wrong by the time you look.
    ///
    /// ```
    /// let event = polyproc_sync::raw::RawEvent::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.state.load(Acquire) & SET != 0 // SYNC(S1)
    }

    /// Whether anybody is counted as a sleeper: he returns `true` if the event is set from now on. May be wrong by the
    /// time you look, and for as long as the event is not set once a sleeper has died.
    ///
    /// ```
    /// assert!(!polyproc_sync::raw::RawEvent::new().has_sleepers());
    /// ```
    #[must_use]
    pub fn has_sleepers(&self) -> bool {
        self.state.load(Relaxed) & ASLEEP != 0
    }

    /// Sets the event and wakes all who sleep. Async-signal-safe; no system call where nobody sleeps.
    ///
    /// ```
    /// let event = polyproc_sync::raw::RawEvent::new();
    /// event.set();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[inline]
    pub fn set(&self) {
        let mut seen = self.state.load(Relaxed);
        while seen & (ASLEEP | OWED) == 0 {
            // SYNC(S1), SYNC(S2): also where it changes nothing.
            match self.state.compare_exchange_weak(seen, seen | SET, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        self.set_and_wake();
    }

    #[cold]
    fn set_and_wake(&self) {
        let _owes = robust::announce_briefly(self.state.word()); // E3
        let mut seen = self.state.load(Relaxed);
        loop {
            let next = if seen & ASLEEP == 0 { seen | SET } else { end_epoch(seen) };
            match self.state.compare_exchange_weak(seen, next, AcqRel, Relaxed) {
                Ok(_) if seen & (ASLEEP | OWED) == 0 => return,
                Ok(_) => return self.wake_all(next), // E2
                Err(now) => seen = now,
            }
        }
    }

    /// Wakes all who sleep for an epoch that has ended when the state is `seen`.
    fn wake_all(&self, seen: u64) {
        WideFutex::wake_all(&raw const self.state);
        let mut now = seen;
        // Another epoch that has ended meanwhile has a waker of its own, who clears the mark.
        while now & EPOCH == seen & EPOCH && now & OWED != 0 {
            match self.state.compare_exchange_weak(now, now & !OWED, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }

    /// Takes the mark away: waits sleep from now on. Async-signal-safe. Those who slept when it was set return all the
    /// same.
    ///
    /// ```
    /// let event = polyproc_sync::raw::RawEvent::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    #[inline]
    pub fn clear(&self) {
        if self.state.load(Relaxed) & SET != 0 {
            self.state.fetch_and(!SET, AcqRel); // SYNC(S1)
        }
    }

    /// Sleeps until the event is set, or until `deadline`; says which.
    ///
    /// ```
    /// use polyproc_sync::raw::RawEvent;
    /// use polyproc_sys::Deadline;
    /// use std::time::Duration;
    /// let event = RawEvent::new();
    /// assert!(!event.wait(Deadline::after(Duration::from_millis(1))));
    /// std::thread::scope(|s| {
    ///     s.spawn(|| event.set());
    ///     assert!(event.wait(Deadline::NEVER));
    /// });
    /// ```
    #[inline]
    pub fn wait(&self, deadline: Deadline) -> bool {
        self.is_set() || self.wait_until_set(deadline)
    }

    #[cold]
    fn wait_until_set(&self, deadline: Deadline) -> bool {
        if deadline.is_past() {
            return false;
        }
        let mut spin = Spin::new();
        while spin.again() {
            if self.is_set() {
                return true;
            }
        }
        let _owes = robust::announce(self.state.word()); // E3
        let Some(counted) = self.count_in() else { return true };
        let mut now = counted;
        loop {
            self.state.wait(now, deadline.earlier(Deadline::after(futex::tick())));
            now = self.look(); // E2
            let late = deadline.is_past(); // once: who gives up has counted himself out
            if now & EPOCH != counted & EPOCH || late && !self.count_out(counted) {
                return true; // E1
            }
            if late {
                return false;
            }
        }
    }

    /// The state, after a sleep: wakes those whose waker may have died.
    fn look(&self) -> u64 {
        let now = self.state.load(Acquire); // SYNC(S1)
        if now & OWED != 0 {
            self.wake_all(now);
        }
        now
    }

    /// For one who waits for several things: counts him as a sleeper and says in what state, which
    /// [`is_over`](Self::is_over), [`watch`](Self::watch) and, in the end, [`disarm`](Self::disarm) ask for. `None` if
    /// the event is set.
    ///
    /// ```
    /// use polyproc_sync::raw::RawEvent;
    /// use polyproc_sys::{Deadline, futex::{Wait, wait_many}};
    /// let event = RawEvent::new();
    /// let counted = event.arm().unwrap();
    /// assert_eq!(wait_many(&[event.watch(counted)], Deadline::PAST), Wait::TimedOut);
    /// event.set();
    /// event.clear();
    /// assert!(event.is_over(counted)); // it was set since
    /// assert!(event.disarm(counted));
    /// ```
    #[must_use]
    pub fn arm(&self) -> Option<u64> {
        self.count_in()
    }

    /// Whether the event was set since he was `counted`; to be called after each sleep: others may be woken by it.
    ///
    /// See [`RawEvent::arm`] for an example.
    #[must_use]
    pub fn is_over(&self, counted: u64) -> bool {
        let _owes = robust::announce(self.state.word()); // E3
        self.look() & EPOCH != counted & EPOCH // E1
    }

    /// Counts him out again; says whether the event was set since.
    ///
    /// See [`RawEvent::arm`] for an example.
    pub fn disarm(&self, counted: u64) -> bool {
        !self.count_out(counted)
    }

    /// The event to sleep on, for who was `counted`.
    ///
    /// See [`RawEvent::arm`] for an example.
    #[must_use]
    pub fn watch(&self, counted: u64) -> Watch<'_> {
        self.state.watch(counted)
    }

    /// Counts a sleeper, and says in what state; `None` if the event is set.
    fn count_in(&self) -> Option<u64> {
        let mut seen = self.state.load(Acquire);
        loop {
            if seen & SET != 0 {
                return None; // SYNC(S1)
            }
            let next = if seen & ASLEEP == ASLEEP { seen } else { seen + ONE };
            match self.state.compare_exchange_weak(seen, next, AcqRel, Acquire) {
                Ok(_) => return Some(next),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a sleeper out of the count in which he was `counted`; `false` if the epoch has ended: the event was set.
    fn count_out(&self, counted: u64) -> bool {
        let mut seen = self.state.load(Acquire);
        loop {
            if seen & EPOCH != counted & EPOCH {
                return false; // SYNC(S1)
            }
            // Where the count sticks, it is not known how many there are.
            let next = if matches!(seen & ASLEEP, 0 | ASLEEP) { seen } else { seen - ONE };
            match self.state.compare_exchange_weak(seen, next, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }
}

impl Default for RawEvent {
    fn default() -> Self {
        Self::new()
    }
}

/// The state of a set event whose epoch ended with the sleepers that `seen` counts.
fn end_epoch(seen: u64) -> u64 {
    let epoch = seen.wrapping_add(ONE_EPOCH) & EPOCH;
    let owed = if seen & ASLEEP == ONE { seen & OWED } else { OWED };
    SET | owed | epoch | epoch << TURN_SHIFT
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn epochs_come_round_and_touch_no_thread_id() {
        let mut state = EPOCH | 3 << 62 | ONE;
        state = end_epoch(state);
        assert_eq!(state, SET);
        for turn in 1..=4_u64 {
            state = end_epoch((state & !SET) + ONE);
            assert_eq!((state & EPOCH, state >> 32), (turn * ONE_EPOCH, (turn % 4) << 30));
        }
        assert_eq!(end_epoch(2 * ONE), SET | OWED | ONE_EPOCH | 1 << 62);
    }

    #[test]
    fn a_full_count_sticks_until_the_event_is_set() {
        let event = RawEvent::new();
        let counted: Vec<_> = (0..20).map(|_| event.count_in().expect("not set")).collect();
        assert!(counted.into_iter().all(|c| event.count_out(c)));
        assert!(event.has_sleepers());
        event.set();
        assert!(!event.has_sleepers());
        assert_eq!(event.state.load(Relaxed), SET | ONE_EPOCH | 1 << 62);
    }
}
