//! A span that is cut into blocks of one size and one kind.
//!
//! ```text
//! +0     header line (unused)
//! +64    tags, one word a block
//! first  blocks; 64-byte aligned from 64 bytes on
//! ```
//!
//! # State, transitions, death
//! See [`tag`](super::tag): the tags are the whole state.
//!
//! # Invariants
//! S1. The tags are zero (free) before the span's word says `SLAB`, which it says for ever after.
//! S2. Kind and class are in the span's word; every process computes the same geometry from the class.

use super::layout::SPAN;

const HEADER: u64 = 64;
const WORD: u64 = 8;

/// The sizes of blocks. The larger ones fill a span evenly, so a message of 4 KiB has room for its table of handles.
const SIZES: [u64; 12] = [16, 32, 64, 128, 256, 512, 1024, 2048, 4352, 9344, 21760, 32640];
pub(crate) const CLASSES: usize = SIZES.len();
/// The largest block that lies in a slab.
pub(crate) const LARGEST: u64 = SIZES[CLASSES - 1];

/// The size of a slab's blocks, as an index in 0..[`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u8);

struct Geometry {
    size: u64,
    count: u32,
    first: u64,
    /// 2^32 / size, rounded up: a product and a shift divide numbers below 2^16 by the size, without error.
    reciprocal: u64,
}

const GEOMETRY: [Geometry; CLASSES] = {
    let mut all = [const { Geometry { size: 0, count: 0, first: 0, reciprocal: 0 } }; CLASSES];
    let mut c = 0;
    while c < CLASSES {
        let size = SIZES[c];
        let mut count = (SPAN - HEADER) / (size + WORD);
        while (HEADER + count * WORD).next_multiple_of(64) + count * size > SPAN {
            count -= 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 64 KiB / 24")]
        let blocks = count as u32;
        let first = (HEADER + count * WORD).next_multiple_of(64);
        all[c] = Geometry { size, count: blocks, first, reciprocal: (1_u64 << 32).div_ceil(size) };
        assert!(count >= 2 && (size < 64 || size.is_multiple_of(64)));
        c += 1;
    }
    all
};

impl Class {
    /// The smallest class whose blocks have `len` bytes.
    #[inline]
    pub(crate) fn for_len(len: u64) -> Option<Self> {
        if len > LARGEST {
            return None;
        }
        if len <= 2048 {
            // 16 is class 0, 32 class 1, …
            let bits = (len.max(16) - 1).ilog2() + 1;
            #[expect(clippy::cast_possible_truncation, reason = "in 0..8")]
            return Some(Self((bits - 4) as u8));
        }
        SIZES.iter().position(|&s| len <= s).and_then(|c| u8::try_from(c).ok()).map(Self)
    }

    pub(crate) fn from_index(index: u64) -> Option<Self> {
        u8::try_from(index).ok().filter(|&c| usize::from(c) < CLASSES).map(Self)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    #[inline]
    pub(crate) fn size(self) -> u64 {
        GEOMETRY[self.index()].size
    }

    /// How many blocks a slab has.
    #[inline]
    pub(crate) fn count(self) -> u32 {
        GEOMETRY[self.index()].count
    }

    /// From the span's start to the tag of block `i`.
    #[inline]
    pub(crate) fn tag_at(self, i: u32) -> u64 {
        HEADER + u64::from(i) * WORD
    }

    /// From the span's start to block `i`.
    #[inline]
    pub(crate) fn block_at(self, i: u32) -> u64 {
        let g = &GEOMETRY[self.index()];
        g.first + u64::from(i) * g.size
    }

    /// The block that starts `at` bytes into the span, if one does.
    #[inline]
    pub(crate) fn block_of(self, at: u64) -> Option<u32> {
        let g = &GEOMETRY[self.index()];
        let from = at.checked_sub(g.first).filter(|&f| f < SPAN)?;
        let i = (from * g.reciprocal) >> 32;
        (i * g.size == from && i < u64::from(g.count)).then_some(i as u32)
    }

    /// The bytes at a slab's start that must be zero before it is published (S1).
    pub(crate) fn prefix(self) -> u64 {
        GEOMETRY[self.index()].first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_behind_the_tags_and_inside_the_span() {
        for c in 0..CLASSES as u64 {
            let class = Class::from_index(c).unwrap();
            let last = class.count() - 1;
            assert!(class.tag_at(last) + WORD <= class.block_at(0));
            assert!(class.block_at(last) + class.size() <= SPAN);
            assert!(class.size() < 64 || class.block_at(0).is_multiple_of(64));
        }
        assert!(Class::from_index(CLASSES as u64).is_none());
    }

    #[test]
    fn a_block_is_found_at_its_first_byte_and_nowhere_else() {
        for c in 0..CLASSES as u64 {
            let class = Class::from_index(c).unwrap();
            let mut found = 0;
            for at in 0..SPAN {
                if let Some(i) = class.block_of(at) {
                    assert_eq!(class.block_at(i), at);
                    found += 1;
                }
            }
            assert_eq!(found, class.count());
            assert_eq!(class.block_of(u64::MAX), None);
        }
    }

    #[test]
    fn the_class_of_a_length_is_the_smallest_that_holds_it() {
        for len in 0..=LARGEST {
            let class = Class::for_len(len).unwrap();
            let best = SIZES.iter().position(|&s| s >= len).unwrap();
            assert_eq!(class.index(), best, "{len}");
        }
        assert_eq!(Class::for_len(LARGEST + 1), None);
    }
}
