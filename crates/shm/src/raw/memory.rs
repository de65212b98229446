//! The header of unnamed shared memory: where its bytes are, and how many of them count.
//!
//! # State
//! | word | meaning | who changes it |
//! |---|---|---|
//! | `data` | the reference of the block with the bytes; all zero: not finished | the creator, once |
//! | `len` | how many of them count, at most the length in `data` | anybody grows it; the only holder shrinks it |
//!
//! # Invariants
//! U1. The bytes behind `len` are zero: growing is one step.
//! U2. Processes keep the place and the length of the block as they checked it; `len` is cut to that at each look.
//!
//! # Memory ordering
//! M1. `len` is raised with Release and read with Acquire. Everything else is ordered by the message that carries the handle.
//!
//! # If a process dies
//! While it makes the memory: both blocks are its own, the sweep frees them. Later `len` changes in one step. Who shrinks is
//! the only holder: if it dies between `len` and the zeros, nobody is left who could grow it.

use crate::family::Family;
use crate::ids::BlockRef;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The bytes of the header.
#[repr(C)]
pub(crate) struct RawMemory {
    data: [AtomicU64; 4],
    len: AtomicU64,
}

#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawMemory>() == 40);

impl RawMemory {
    /// The header in the object at `offset`, whatever it says.
    pub(crate) fn at(family: &'static Family, offset: u64) -> Option<&'static Self> {
        let raw = family.at(offset, size_of::<Self>() as u64).ok()?.cast::<Self>();
        // SAFETY: so many bytes from there on are mapped, for ever; every field is an atomic.
        raw.is_aligned().then(|| unsafe { &*raw })
    }

    /// Names the block; before anybody else knows the memory.
    pub(crate) fn describe(&self, data: BlockRef, len: u64) {
        self.len.store(len, Relaxed);
        for (to, from) in self.data.iter().zip(data.to_words()) {
            to.store(from, Relaxed);
        }
    }

    /// The block with the bytes; from the segment, to be checked.
    pub(crate) fn data(&self) -> BlockRef {
        BlockRef::from_words(core::array::from_fn(|i| self.data[i].load(Relaxed)))
    }

    /// How many bytes count; from the segment, to be cut to what is there.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Acquire) // SYNC(M1)
    }

    pub(crate) fn raise_len(&self, len: u64) {
        self.len.fetch_max(len, Release); // SYNC(M1)
    }

    pub(crate) fn lower_len(&self, len: u64) {
        self.len.store(len, Release);
    }
}
