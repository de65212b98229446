//! Two copies of a value and the word that says which of them counts: how a value or an item changes as a whole.
//!
//! # State
//! | `selector`, bits | name | meaning | left by |
//! |---|---|---|---|
//! | 0..48 | version | copy `version % 2` is the value; the other one is anything | the lock's holder: + 1 |
//! | 48..64 | label | what the user of the copies puts there at first | never |
//!
//! # Transitions
//! ```text
//! write    (holder) the other copy = new value, word by word; version += 1: from here on it is the value
//! read     version; the words of its copy; version again: if it is the same, the words are whole, else once more
//! ```
//!
//! # Invariants
//! V1. Only the lock's holder writes, and only to the copy that is not the value.
//! V2. A copy that becomes the value was written as a whole by the holder of that moment: a dead one's leavings in it are
//!     written over, as far as it counts (an item's first word says how far).
//! V3. A copy is written over only after the version has moved on from it: whoever finds the version unchanged behind
//!     the words has read them before that.
//!
//! # Memory ordering
//! R1. The release store of the version pairs with the acquire load in `read`: a reader of the new value sees its words, and
//!     what the writer did before.
//! R2. The release fence before the words are written pairs with the acquire fence after they are read: a reader that met
//!     one word of a newer value sees the version that made its copy the other one (V3), by this thread or, through the
//!     lock, by an earlier holder.
//!
//! # If a process dies
//! A writer before the store of the version: the old value counts. After it: the new one. In both cases the kernel frees the
//! lock. A reader leaves nothing. Readers look at no lock: nobody's death or stop holds them up; only a writer that
//! publishes in the middle of a read makes it begin again. Whoever is never let through, 65536 times, takes the lock.
//!
//! # Sources
//! Lamport's two copies with a version. Why not a seqlock: its readers wait for a writer that died, and find half a value.

use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

pub(crate) const LABEL_SHIFT: u32 = 48;
const VERSION: u64 = (1 << LABEL_SHIFT) - 1;

/// Reads in a row that a writer comes in between of, until they are too many.
pub(crate) const ROUNDS: u32 = 1 << 16;

/// How many more there are when the writers were to be stopped: one that was not may be an honest one, for a while.
pub(crate) fn rounds<G>(stopped: Option<&G>) -> u32 {
    if stopped.is_some() { ROUNDS } else { u32::MAX }
}

/// The copies and their selector, in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copies<'a> {
    /// See `# State`.
    selector: &'a AtomicU64,
    /// Copy 0, then copy 1.
    words: &'a [AtomicU64],
}

impl<'a> Copies<'a> {
    #[inline]
    pub(crate) fn new(selector: &'a AtomicU64, words: &'a [AtomicU64]) -> Self {
        Self { selector, words }
    }

    /// Makes the words that `get` gives, by their numbers, the first `n` ones of the new value. For the holder of the lock
    /// alone.
    #[inline]
    pub(crate) fn write(&self, n: usize, mut get: impl FnMut(usize) -> u64) {
        let selector = self.selector.load(Relaxed); // nobody else writes it (V1)
        let next = (selector & !VERSION) | (selector.wrapping_add(1) & VERSION);
        fence(Release); // SYNC(R2)
        for (i, word) in self.copy(next).iter().enumerate().take(n) {
            word.store(get(i), Relaxed); // V2: all of them
        }
        self.selector.store(next, Release); // SYNC(R1)
    }

    /// Hands the words of the value to `f`, again and again until they were whole.
    #[inline]
    pub(crate) fn read<R>(&self, mut f: impl FnMut(&'a [AtomicU64]) -> R) -> R {
        loop {
            if let Ok(result) = self.try_read(ROUNDS, &mut f) {
                return result;
            }
        }
    }

    /// As `read`. If the version changes all the time it calls `stop`, which holds up the writers until what it returns is
    /// dropped; `None` if it cannot. If it changes even then, somebody scribbles: the words of the last round are as good as
    /// any.
    #[inline]
    pub(crate) fn read_or_stop<R, G>(
        &self,
        stop: impl FnOnce() -> Option<G>,
        mut f: impl FnMut(&'a [AtomicU64]) -> R,
    ) -> R {
        if let Ok(result) = self.try_read(ROUNDS, &mut f) {
            return result;
        }
        let stopped = stop();
        match self.try_read(rounds(stopped.as_ref()), &mut f) {
            Ok(result) | Err(result) => result,
        }
    }

    /// So many rounds of `read`; what `f` made of the last one.
    #[inline]
    fn try_read<R>(&self, rounds: u32, f: &mut impl FnMut(&'a [AtomicU64]) -> R) -> Result<R, R> {
        let mut left = rounds;
        loop {
            let before = self.selector.load(Acquire); // SYNC(R1)
            let result = f(self.copy(before));
            fence(Acquire); // SYNC(R2)
            if self.selector.load(Relaxed) == before {
                return Ok(result); // V3
            }
            left -= 1;
            if left == 0 {
                return Err(result);
            }
            core::hint::spin_loop();
        }
    }

    #[inline]
    fn copy(&self, selector: u64) -> &'a [AtomicU64] {
        let (zero, one) = self.words.split_at(self.words.len() / 2);
        if selector & 1 == 0 { zero } else { one }
    }
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;
    use polyproc_sys::atomic::AtomicU32;

    const WORDS: usize = 1000; // more than can be read between two changes

    /// Changes the version all the time until it is told to end, while `f` reads.
    fn beside_a_hammer<R>(f: impl FnOnce(&Copies<'_>, &dyn Fn()) -> R) -> R {
        let (selector, end) = (AtomicU64::new(0), AtomicU32::new(0));
        let words: Vec<AtomicU64> = (0..2 * WORDS).map(|_| AtomicU64::new(7)).collect();
        std::thread::scope(|threads| {
            let hammer = threads.spawn(|| {
                while end.load(Relaxed) == 0 {
                    selector.fetch_add(1, Relaxed);
                }
            });
            while selector.load(Relaxed) == 0 {
                std::thread::yield_now();
            }
            let stop = || {
                end.store(1, Relaxed);
                while !hammer.is_finished() {
                    std::thread::yield_now();
                }
            };
            let result = f(&Copies::new(&selector, &words), &stop);
            stop();
            result
        })
    }

    #[test]
    fn a_reader_whom_a_writer_never_lets_through_stops_it() {
        let read = beside_a_hammer(|copies, stop| {
            let stop = || {
                stop();
                Some(())
            };
            copies.read_or_stop(stop, |words| words.iter().map(|w| w.load(Relaxed)).sum::<u64>())
        });
        assert_eq!(read, 7 * WORDS as u64);
    }

    #[test]
    fn a_reader_whom_a_scribbler_never_lets_through_ends_with_what_there_is() {
        let mut rounds = 0;
        beside_a_hammer(|copies, _| {
            copies.read_or_stop(
                || Some(()),
                |words| {
                    rounds += 1;
                    words.iter().map(|w| w.load(Relaxed)).sum::<u64>()
                },
            )
        });
        assert!((1..=2 * ROUNDS).contains(&rounds));
    }
}
