//! The word that says what a slot of a ring holds; its bits are in the table of [`ring`](super::ring).

use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};

pub(super) const FREE: u64 = 0; // the zero page is a ring of free slots in turn 0
pub(super) const WRITING: u64 = 1;
pub(super) const FULL: u64 = 2;
pub(super) const PHASE: u64 = 3;
pub(super) const OWNER_SHIFT: u32 = 2;
pub(super) const TURN_SHIFT: u32 = 32;

/// A thread that claims slots, as it stands in a slot's word: 14 bits of participant slot, 16 bits of generation.
///
/// ```
/// use polyproc_queue::raw::ring::Owner;
/// let owner = Owner::new(5, 7);
/// assert_eq!((owner.slot(), owner.generation()), (5, 7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    const BITS: u32 = 30;

    /// The owner with participant slot `slot`, of which 14 bits count, in its `generation`.
    ///
    /// ```
    /// assert_eq!(polyproc_queue::raw::ring::Owner::new(1, 2).slot(), 1);
    /// ```
    #[must_use]
    pub const fn new(slot: u16, generation: u16) -> Self {
        Self((slot as u32 & 0x3fff) | (generation as u32) << 14)
    }

    /// As it stands in a word.
    #[inline]
    pub(super) const fn in_word(self) -> u64 {
        (self.0 as u64) << OWNER_SHIFT
    }

    /// The participant slot.
    ///
    /// ```
    /// assert_eq!(polyproc_queue::raw::ring::Owner::new(9, 0).slot(), 9);
    /// ```
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 & 0x3fff) as u16
    }

    /// The generation of the participant slot.
    ///
    /// ```
    /// assert_eq!(polyproc_queue::raw::ring::Owner::new(0, 9).generation(), 9);
    /// ```
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "30 bits less 14 are 16")]
    pub const fn generation(self) -> u16 {
        (self.0 >> 14) as u16
    }
}

/// What a consumer decided about a payload that it has read.
///
/// ```
/// use polyproc_queue::raw::ring::Take;
/// assert_ne!(Take::Yes, Take::Skip);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// It wants the message: the CAS on the slot decides whether it gets it.
    Yes,
    /// It has the message already, by claiming the block that the payload names: the slot is only cleared.
    Claimed,
    /// Another consumer claimed the block and has not cleared the slot yet: it is cleared for it.
    Skip,
    /// The payload is not [whole](Unchecked::is_whole): somebody took the message meanwhile.
    Torn,
}

/// A payload as it was read: words of two messages, perhaps, until the CAS on its slot succeeds.
///
/// Who acts on the payload before that asks here first.
///
/// ```
/// use polyproc_queue::raw::{Ring, ring::{Owner, Take}};
/// use polyproc_sys::atomic::AtomicU64;
/// let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
/// let words: Vec<AtomicU64> = (0..2).map(|_| AtomicU64::new(0)).collect();
/// let ring = Ring::<2>::new(&head, &tail, &words, 1).unwrap();
/// ring.put(Owner::new(1, 1), &[7]).unwrap();
/// let take = |payload: &[u64; 1], read: polyproc_queue::raw::ring::Unchecked<'_>| {
///     assert!(read.is_whole() && *payload == [7]);
///     Take::Yes
/// };
/// ring.get(&mut [0], |_| false, take).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Unchecked<'a> {
    slot: &'a AtomicU64,
    word: u64,
}

impl<'a> Unchecked<'a> {
    #[inline]
    pub(super) const fn new(slot: &'a AtomicU64, word: u64) -> Self {
        Self { slot, word }
    }

    /// Whether the message was still in its slot after the payload was read: then the payload is one message's.
    ///
    /// See [`Unchecked`] for an example.
    #[must_use]
    #[inline]
    pub fn is_whole(&self) -> bool {
        // SYNC(Q2). A load, even behind a fence, might see the word as it was before a payload that was already seen.
        self.slot.compare_exchange(self.word, self.word, Release, Relaxed).is_ok()
    }
}

pub(super) fn turn_of(word: u64) -> u32 {
    (word >> TURN_SHIFT) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "turns are counted modulo 2^32")]
pub(super) fn low(n: u64) -> u32 {
    n as u32
}

pub(super) fn owner_of(word: u64) -> Owner {
    Owner(low(word >> OWNER_SHIFT) & ((1 << Owner::BITS) - 1))
}
