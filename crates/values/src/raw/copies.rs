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
//! publishes in the middle of a read makes it begin again.
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
            let before = self.selector.load(Acquire); // SYNC(R1)
            let result = f(self.copy(before));
            fence(Acquire); // SYNC(R2)
            if self.selector.load(Relaxed) == before {
                return result; // V3
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
