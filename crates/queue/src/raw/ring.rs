//! The slotring: a bounded queue for any number of producers and consumers, where the claim of a slot names its owner.
//!
//! # State
//! A position is a number that grows for ever; position `p` lives in slot `p mod capacity`, in turn `p / capacity`.
//! Each slot starts with one word, which alone decides what the slot holds:
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0..2 | phase | `FREE`, `WRITING`, `FULL` |
//! | 2..16 | slot of the owner | while `WRITING`: the participant that writes |
//! | 16..32 | generation of the owner | … which of the threads that had that participant slot |
//! | 32..64 | turn | modulo 2^32 |
//!
//! `tail` and `head` are hints: some position that was next to be put, or taken, a moment ago.
//!
//! # Transitions
//! ```text
//! put    FREE(t) -> WRITING(t, me) -> payload -> FULL(t)             one RMW, then a store
//! get    FULL(t): read the payload; CAS FULL(t) -> FREE(t + 1)       one RMW; if it fails the payload is not used
//! skip   WRITING(t, dead) -> FREE(t + 1)                             by any consumer that gets there
//! ```
//!
//! # Invariants
//! S1. Position p is claimed only after p - 1 was: a producer moves on from p only when the slot's word proves that p is
//!     claimed (same turn and not `FREE`, or a later turn), and jumps no further than the next position so proven.
//! S2. Likewise for taking: a consumer moves on from p only when the slot proves that p was taken or skipped.
//! S3. A hint is written by whoever knows that the position before it was claimed, or taken: it may be behind, as far as
//!     the writer was asleep between his claim and his hint, and jump back by that; never ahead.
//! S4. From `WRITING` to `FULL` only the owner changes the slot; if the owner is dead nobody does, and it is skipped.
//! S5. A message is in the queue from the store of `FULL` to the CAS of its taker: the two commit points.
//!
//! # Memory ordering
//! Q1. The release store of `FULL` pairs with the acquire load in `get`: publishes the payload.
//! Q2. The release CAS `FULL -> FREE` pairs with the acquire CAS `FREE -> WRITING` of the next turn: the payload was read
//!     before it is overwritten. Reads of a payload are atomic word by word; what was read is used only if the word of
//!     the slot did not change meanwhile, which a release CAS proves, and no load does: payloads are stored relaxed.
//! Q3. Hints are stored with release and loaded with acquire, and so are the words on the way: whoever comes to a position
//!     sees what proved the one before it, hence never a word that is a turn too old.
//! Gates are not rung here; the callers do, with an announcement around it.
//!
//! # If a process dies
//! A producer before `WRITING`: nothing happened. In `WRITING`: the message never was; the slot is skipped once the
//! participant registry says that the thread is dead. After `FULL`: delivered. A consumer before the CAS: not taken; after
//! it: taken, and lost with the consumer, one message at most. Nobody reads a message twice, or half.
//! A stopped producer in `WRITING` holds the queue up, since the order is kept.
//!
//! # Sources
//! Vyukov's bounded queue; the owner in the slot word instead of a ticket makes every claim attributable.

use super::slot::{FREE, FULL, PHASE, TURN_SHIFT, WRITING, low, owner_of, turn_of};
pub use super::slot::{Owner, Take, Unchecked};
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Steps beyond one for each slot that a call follows the words of the slots before it gives up: words that somebody
/// scribbled over must not keep it for ever.
const PATIENCE: u64 = 1 << 16;
/// Every so many steps a walk leaves a hint, so that the next one need not start as far behind.
const STRIDE: u64 = 1 << 10;

/// Why a put or a get did not happen.
///
/// ```
/// use polyproc_queue::raw::ring::NotNow;
/// assert_ne!(NotNow::Blocked, NotNow::Scribbled);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// Full, or empty; also if the next message is still being written.
    Blocked,
    /// The words of the slots contradict each other: somebody scribbled over them.
    Scribbled,
}

/// A ring as one process sees it: the shared words, and a private copy of its geometry. A slot has `WIDTH` words, its own
/// word among them.
///
/// ```
/// use polyproc_queue::raw::{Ring, ring::{NotNow, Owner, Take}};
/// use polyproc_sys::atomic::AtomicU64;
///
/// let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
/// let words: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
/// let ring = Ring::<2>::new(&head, &tail, &words, 4).unwrap(); // four slots of a word and one word of payload
/// ring.put(Owner::new(1, 1), &[42]).unwrap();
/// let mut out = [0];
/// ring.get(&mut out, |_| false, |_, _| Take::Yes).unwrap();
/// assert_eq!(out, [42]);
/// assert_eq!(ring.get(&mut out, |_| false, |_, _| Take::Yes), Err(NotNow::Blocked));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a, const WIDTH: usize> {
    head: &'a AtomicU64,
    tail: &'a AtomicU64,
    slots: &'a [[AtomicU64; WIDTH]],
    /// log2 of the capacity.
    shift: u32,
}

impl<'a, const WIDTH: usize> Ring<'a, WIDTH> {
    /// A ring of `capacity` slots over `words`; `None` unless the capacity is a power of two and the words are as many slots.
    ///
    /// ```
    /// use polyproc_queue::raw::Ring;
    /// use polyproc_sys::atomic::AtomicU64;
    /// let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// assert!(Ring::<2>::new(&head, &tail, &[], 3).is_none());
    /// ```
    #[must_use]
    pub fn new(head: &'a AtomicU64, tail: &'a AtomicU64, words: &'a [AtomicU64], capacity: usize) -> Option<Self> {
        const { assert!(WIDTH >= 2, "a slot has its own word and one of payload") };
        let (slots, rest) = words.as_chunks();
        (capacity.is_power_of_two() && slots.len() == capacity && rest.is_empty()).then(|| Self {
            head,
            tail,
            slots,
            shift: capacity.trailing_zeros(),
        })
    }

    /// The number of slots.
    ///
    /// ```
    /// # use polyproc_queue::raw::Ring;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// # let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// assert_eq!(Ring::<2>::new(&head, &tail, &words, 1).unwrap().capacity(), 1);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> u64 {
        1 << self.shift
    }

    /// Puts one message: `payload` fills the slot from its second word on; it may be shorter than the slot.
    ///
    /// # Errors
    /// [`NotNow`]: the queue is full, or was scribbled over. Nothing was put.
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::raw::{Ring, ring::{NotNow, Owner}};
    /// use polyproc_sys::atomic::AtomicU64;
    /// let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// let ring = Ring::<2>::new(&head, &tail, &words, 1).unwrap();
    /// assert_eq!(ring.put(Owner::new(1, 1), &[7]), Ok(()));
    /// assert_eq!(ring.put(Owner::new(1, 1), &[8]), Err(NotNow::Blocked));
    /// ```
    #[inline(always)] // a dozen instructions, where the length and the place of the payload are known
    pub fn put<const N: usize>(&self, me: Owner, payload: &[u64; N]) -> Result<(), NotNow> {
        let pos = self.tail.load(Acquire); // SYNC(Q3)
        if self.put_at(pos, me, payload) { Ok(()) } else { self.put_from(pos, me, payload) }
    }

    /// Puts a message at `pos` if that is free. S1: p - 1 was claimed, or this would not be the position we came to.
    #[inline(always)] // as in `put`
    fn put_at<const N: usize>(&self, pos: u64, me: Owner, payload: &[u64; N]) -> bool {
        const { assert!(N < WIDTH, "the payload fits a slot") };
        let slot = self.slot(pos);
        let turn = self.turn(pos);
        let claim = turn | me.in_word() | WRITING;
        if slot[0].compare_exchange(turn | FREE, claim, AcqRel, Relaxed).is_err() {
            return false; // SYNC(Q2)
        }
        self.tail.store(pos.wrapping_add(1), Release); // SYNC(Q3), S3
        for (to, from) in slot[1..].iter().zip(payload) {
            to.store(*from, Relaxed);
        }
        slot[0].store(turn | FULL, Release); // SYNC(Q1), S5
        true
    }

    /// The rest of `put` where the hint was behind, or the queue is full.
    #[cold]
    fn put_from<const N: usize>(&self, mut pos: u64, me: Owner, payload: &[u64; N]) -> Result<(), NotNow> {
        for step in 1..=self.patience() {
            if step % STRIDE == 0 {
                self.tail.store(pos, Release); // S3
            }
            let word = self.slot(pos)[0].load(Acquire);
            let behind = self.behind(word, pos);
            if behind == 0 && word & PHASE == FREE {
                if word != self.turn(pos) {
                    return Err(NotNow::Scribbled); // a free slot has no owner
                }
                if self.put_at(pos, me, payload) {
                    return Ok(());
                }
            } else if behind < 0 {
                // A turn behind and not free: the message of the turn before is still there. Anything else is no state
                // of ours.
                let full = behind == -1 && word & PHASE != FREE;
                return Err(if full { NotNow::Blocked } else { NotNow::Scribbled });
            } else {
                pos = self.after(pos, word, word & PHASE == FREE);
            }
        }
        Err(NotNow::Scribbled)
    }

    /// Takes the next message: copies the payload to `out` and asks `take` what to do with it.
    ///
    /// `dead` says whether the owner of a claim is known to be dead; if so the claim is skipped, which makes room as a taken
    /// message does: tell whoever waits for room. `take` sees a payload that may not be whole ([`Unchecked`]); another
    /// consumer may get the message all the same, then `take` is asked about the next one.
    ///
    /// # Errors
    /// [`NotNow`]: the queue is empty, or was scribbled over. Nothing was taken.
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::raw::{Ring, ring::{NotNow, Owner, Take}};
    /// use polyproc_sys::atomic::AtomicU64;
    /// let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// let ring = Ring::<2>::new(&head, &tail, &words, 1).unwrap();
    /// assert_eq!(ring.get(&mut [0], |_| false, |_, _| Take::Yes), Err(NotNow::Blocked));
    /// ```
    #[inline(always)] // as in `put`
    pub fn get<const N: usize>(
        &self,
        out: &mut [u64; N],
        dead: impl FnMut(Owner) -> bool,
        mut take: impl FnMut(&[u64; N], Unchecked<'_>) -> Take,
    ) -> Result<(), NotNow> {
        let pos = self.head.load(Acquire); // SYNC(Q3)
        let full = self.turn(pos) | FULL;
        if self.slot(pos)[0].load(Acquire) == full && self.take_at(pos, full, out, &mut take) {
            return Ok(()); // SYNC(Q1)
        }
        self.get_from(pos, out, dead, take)
    }

    /// Takes the message at `pos` if the slot's word is still `word` and `take` wants it.
    #[inline(always)] // as in `put`
    fn take_at<const N: usize>(
        &self,
        pos: u64,
        word: u64,
        out: &mut [u64; N],
        take: &mut impl FnMut(&[u64; N], Unchecked<'_>) -> Take,
    ) -> bool {
        let slot = self.slot(pos);
        for (to, from) in out.iter_mut().zip(&slot[1..]) {
            *to = from.load(Relaxed);
        }
        let decision = take(out, Unchecked::new(&slot[0], word));
        if decision == Take::Torn {
            return false;
        }
        let cleared = slot[0].compare_exchange(word, self.free(pos), AcqRel, Relaxed).is_ok(); // SYNC(Q2), S5
        if cleared {
            self.head.store(pos.wrapping_add(1), Release); // SYNC(Q3), S3
        }
        decision == Take::Claimed || (decision == Take::Yes && cleared)
    }

    /// The rest of `get` where the hint was behind, the queue is empty, or the message went to somebody else.
    #[cold]
    fn get_from<const N: usize>(
        &self,
        mut pos: u64,
        out: &mut [u64; N],
        mut dead: impl FnMut(Owner) -> bool,
        mut take: impl FnMut(&[u64; N], Unchecked<'_>) -> Take,
    ) -> Result<(), NotNow> {
        for step in 1..=self.patience() {
            if step % STRIDE == 0 {
                self.head.store(pos, Release); // S3
            }
            let slot = self.slot(pos);
            let word = slot[0].load(Acquire); // SYNC(Q1)
            let behind = self.behind(word, pos);
            if behind == 0 && word & PHASE == FULL {
                if self.take_at(pos, word, out, &mut take) {
                    return Ok(());
                }
            } else if behind == 0 && word & PHASE == WRITING {
                if !dead(owner_of(word)) {
                    return Err(NotNow::Blocked);
                }
                // S4. If the CAS fails somebody else skipped it.
                if slot[0].compare_exchange(word, self.free(pos), AcqRel, Relaxed).is_ok() {
                    self.head.store(pos.wrapping_add(1), Release); // SYNC(Q3)
                }
            } else if behind == 0 && word & PHASE == FREE {
                return Err(NotNow::Blocked);
            } else if behind < 0 {
                return Err(NotNow::Scribbled); // ahead of a slot that was not even put: no state of ours (S3)
            } else {
                pos = self.after(pos, word, true);
            }
        }
        Err(NotNow::Scribbled)
    }

    /// Whether a `get` would find something: a message, or a claim whose owner is dead. May be wrong by the time you look.
    ///
    /// ```
    /// # use polyproc_queue::raw::{Ring, ring::Owner};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// # let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// let ring = Ring::<2>::new(&head, &tail, &words, 1).unwrap();
    /// assert!(!ring.has_message(|_| false));
    /// ring.put(Owner::new(1, 1), &[7]).unwrap();
    /// assert!(ring.has_message(|_| false));
    /// ```
    #[must_use]
    pub fn has_message(&self, dead: impl Fn(Owner) -> bool) -> bool {
        let pos = self.next(self.head, true);
        let word = self.slot(pos)[0].load(Relaxed);
        turn_of(word) == low(pos >> self.shift)
            && match word & PHASE {
                FULL => true,
                WRITING => dead(owner_of(word)),
                _ => false,
            }
    }

    /// Whether a `put` would find room. May be wrong by the time you look.
    ///
    /// ```
    /// # use polyproc_queue::raw::{Ring, ring::Owner};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// # let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// let ring = Ring::<2>::new(&head, &tail, &words, 1).unwrap();
    /// assert!(ring.has_room());
    /// ring.put(Owner::new(1, 1), &[7]).unwrap();
    /// assert!(!ring.has_room());
    /// ```
    #[must_use]
    pub fn has_room(&self) -> bool {
        let pos = self.next(self.tail, false);
        let word = self.slot(pos)[0].load(Relaxed);
        turn_of(word) == low(pos >> self.shift) && word & PHASE == FREE
    }

    /// The number of messages, those that are being put or taken counted or not: in `0..=capacity`, and exact while nobody
    /// puts or takes.
    ///
    /// ```
    /// # use polyproc_queue::raw::{Ring, ring::Owner};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// # let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// let ring = Ring::<2>::new(&head, &tail, &words, 1).unwrap();
    /// ring.put(Owner::new(1, 1), &[7]).unwrap();
    /// assert_eq!(ring.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> u64 {
        let head = self.next(self.head, true);
        self.next(self.tail, false).saturating_sub(head).min(self.capacity())
    }

    /// Whether [`Ring::len`] is 0.
    ///
    /// ```
    /// # use polyproc_queue::raw::Ring;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// # let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// assert!(Ring::<2>::new(&head, &tail, &words, 1).unwrap().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `each` with the payload of every message that is in the queue: for whoever looks for what the queue refers to.
    ///
    /// ```
    /// # use polyproc_queue::raw::{Ring, ring::Owner};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    /// # let words = [AtomicU64::new(0), AtomicU64::new(0)];
    /// let ring = Ring::<2>::new(&head, &tail, &words, 1).unwrap();
    /// ring.put(Owner::new(1, 1), &[7]).unwrap();
    /// let mut seen = vec![];
    /// ring.for_each(&mut [0], |payload| seen.push(payload[0]));
    /// assert_eq!(seen, [7]);
    /// ```
    pub fn for_each(&self, buffer: &mut [u64], mut each: impl FnMut(&[u64])) {
        for slot in self.slots {
            loop {
                let word = slot[0].load(Acquire);
                if word & PHASE != FULL {
                    break;
                }
                for (to, from) in buffer.iter_mut().zip(&slot[1..]) {
                    *to = from.load(Relaxed);
                }
                // A read-modify-write that leaves the word as it is.
                if Unchecked::new(&slot[0], word).is_whole() {
                    each(buffer);
                    break;
                }
            }
        }
    }

    /// The next position to put or take, read from `hint` on.
    fn next(&self, hint: &AtomicU64, taking: bool) -> u64 {
        let mut pos = hint.load(Acquire); // SYNC(Q3)
        for _ in 0..self.patience() {
            let word = self.slot(pos)[0].load(Acquire);
            let behind = self.behind(word, pos);
            if behind < 0 || (behind == 0 && (taking || word & PHASE == FREE)) {
                break;
            }
            pos = self.after(pos, word, taking || word & PHASE == FREE);
        }
        pos
    }

    /// The position after the last one that the slot of `pos` proves to be claimed (or taken): that of the slot's turn, or
    /// of the turn before if the slot is `before` that (S1, S2).
    #[inline]
    fn after(&self, pos: u64, word: u64, before: bool) -> u64 {
        let turns = turn_of(word).wrapping_sub(low(pos >> self.shift));
        pos.wrapping_add(u64::from(turns.wrapping_sub(u32::from(before))) << self.shift).wrapping_add(1)
    }

    /// The most steps of a walk: once around, and some for others who come in between.
    #[inline]
    fn patience(&self) -> u64 {
        self.capacity() + PATIENCE
    }

    #[inline]
    fn slot(&self, pos: u64) -> &'a [AtomicU64; WIDTH] {
        &self.slots[low(pos) as usize & (self.slots.len() - 1)]
    }

    /// The turn of a position, as it stands in a word.
    #[inline]
    fn turn(&self, pos: u64) -> u64 {
        (pos >> self.shift) << TURN_SHIFT
    }

    /// The word of the slot of `pos` when it is free for the next turn.
    #[inline]
    fn free(&self, pos: u64) -> u64 {
        self.turn(pos).wrapping_add(1 << TURN_SHIFT) | FREE
    }

    /// How many turns the word is before (negative) or after that of `pos`.
    #[inline]
    fn behind(&self, word: u64, pos: u64) -> i32 {
        turn_of(word).wrapping_sub(low(pos >> self.shift)).cast_signed()
    }
}
