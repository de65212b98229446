//! The items of a list: slots of fixed capacity, each with two copies of its item.
//!
//! # State
//! ```text
//! word 0            n, how many slots there are
//! words 1..n+2      where each slot starts, and where the last one ends; written once, before anybody else knows the list
//! slot              selector, copy 0, copy 1 (`copies.rs`); changed by the holder of the list's lock
//! copy              tag of the item in 8 bits, length in bytes above them; as many words as the capacity takes
//! ```
//!
//! # Invariants
//! T1. Where the slots are is checked once, and kept in private memory. What a copy says of its length is cut down to the
//!     capacity.
//! T2. Slots change under the list's lock only.
//!
//! # Memory ordering
//! That of `copies.rs`. What `describe` writes is seen by whoever got the list by a message.
//!
//! # If a process dies
//! While it makes a list: nobody else knows it. In a change: see `copies.rs`, the item is the old one or the new one.

use super::copies::Copies;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

/// The slots of a list, checked.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    words: &'static [AtomicU64],
    /// Where each slot starts, and where the last one ends.
    starts: Arc<[usize]>,
}

/// The words of a slot for items of up to `capacity` bytes.
fn slot_words(capacity: usize) -> Option<usize> {
    capacity.div_ceil(8).checked_add(1)?.checked_mul(2)?.checked_add(1)
}

/// The words of a list whose slots have these capacities, in bytes; `None` if that is no number.
pub(crate) fn words_for(capacities: &[usize]) -> Option<usize> {
    capacities.iter().try_fold(capacities.len().checked_add(2)?, |sum, c| sum.checked_add(slot_words(*c)?))
}

impl Slots {
    /// Writes where the slots are, into zeroed words as many as [`words_for`] says.
    pub(crate) fn describe(words: &[AtomicU64], capacities: &[usize]) {
        words[0].store(capacities.len() as u64, Relaxed);
        let mut start = capacities.len() + 2;
        for (to, capacity) in words[1..].iter().zip(capacities) {
            to.store(start as u64, Relaxed);
            start += slot_words(*capacity).expect("the words were counted by `words_for`");
        }
        words[capacities.len() + 1].store(start as u64, Relaxed);
    }

    /// The slots that the words describe, if that makes sense (T1).
    pub(crate) fn new(words: &'static [AtomicU64]) -> Option<Self> {
        let read = |word: &AtomicU64| usize::try_from(word.load(Relaxed)).ok();
        let n = read(words.first()?)?;
        let starts: Arc<[usize]> = words.get(1..n.checked_add(2)?)?.iter().map(read).collect::<Option<_>>()?;
        let good = *starts.first()? == n + 2
            && *starts.last()? == words.len()
            && starts.windows(2).all(|w| w[1] >= w[0] && w[1] - w[0] >= 5 && (w[1] - w[0]) % 2 == 1);
        good.then_some(Self { words, starts })
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many bytes an item in slot `i` may have.
    pub(crate) fn capacity(&self, i: usize) -> usize {
        ((self.starts[i + 1] - self.starts[i] - 1) / 2 - 1) * 8
    }

    fn copies(&self, i: usize) -> Copies<'static> {
        let slot = &self.words[self.starts[i]..self.starts[i + 1]];
        Copies::new(&slot[0], &slot[1..])
    }

    /// The tag and the bytes of item `i`; never blocks.
    pub(crate) fn read<G>(&self, i: usize, stop: impl FnOnce() -> Option<G>) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        let (tag, len) = self.copies(i).read_or_stop(stop, |words| {
            let (head, body) = words.split_first().expect("a copy has at least two words");
            let head = head.load(Relaxed);
            let len = usize::try_from(head >> 8).unwrap_or(usize::MAX).min(body.len() * 8); // T1
            bytes.clear();
            bytes.extend(body[..len.div_ceil(8)].iter().flat_map(|word| word.load(Relaxed).to_le_bytes()));
            (head.to_le_bytes()[0], len)
        });
        bytes.truncate(len);
        (tag, bytes)
    }

    /// Makes an item of `bytes`, at most as many as the capacity, item `i`; under the lock (T2).
    pub(crate) fn write(&self, i: usize, tag: u8, bytes: &[u8]) {
        assert!(bytes.len() <= self.capacity(i), "the caller knows the capacity");
        let head = u64::from(tag) | (bytes.len() as u64) << 8;
        self.copies(i).write(1 + bytes.len().div_ceil(8), |k| {
            let Some(at) = k.checked_sub(1) else { return head };
            let mut word = [0; 8];
            let some = &bytes[at * 8..bytes.len().min(at * 8 + 8)];
            word[..some.len()].copy_from_slice(some);
            u64::from_le_bytes(word)
        });
    }
}
