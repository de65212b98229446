//! The bytes at the start of an array: its lock, the journal of its elements, and where they are.
//!
//! ```text
//! +0     the lock
//! +40    the journal, see `elements.rs`
//! +56    length, type, reference of the elements' block; written once, before anybody else knows the array
//! +104   cut: how many elements a chunk has, 0 for an array without chunks; reference of the claims' block,
//!        see `claim.rs`; written once, by a holder of the lock, `cut` last
//! ```
//!
//! # If a process dies
//! While it makes an array: nobody else knows the array; its blocks are freed by the sweep. Otherwise see `elements.rs` and
//! the lock. One that dies while it cuts the array leaves `cut` at 0, and the next one begins again: what does not count is
//! not traced, so that the sweep frees the block. The last handle that goes frees both blocks, or the sweep does in place of a
//! dead one (`contents.rs`).

use super::claim::RawClaim;
use super::{Elements, Journal};
use polyproc_shm::{BlockRef, Family, ShmError};
use polyproc_sync::raw::RawLock;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The bytes of an array, without its elements.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawArray {
    pub(crate) lock: RawLock,
    journal: Journal,
    len: AtomicU64,
    /// Hash of the type of the elements.
    kind: AtomicU64,
    data: [AtomicU64; 4],
    cut: AtomicU64,
    claims: [AtomicU64; 4],
}

const _: () = assert!(size_of::<RawArray>() == 144 && core::mem::offset_of!(RawArray, lock) == 0);

/// What an array is made of, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) raw: &'static RawArray,
    /// Those that as many elements of the type take.
    pub(crate) words: &'static [AtomicU64],
    pub(crate) len: usize,
}

impl RawArray {
    /// Writes the part that never changes.
    pub(crate) fn describe(&self, len: u64, kind: u64, data: BlockRef) {
        self.len.store(len, Relaxed);
        self.kind.store(kind, Relaxed);
        for (to, from) in self.data.iter().zip(data.to_words()) {
            to.store(from, Relaxed);
        }
    }

    /// The header at `offset`, whatever it says.
    pub(crate) fn at(family: &'static Family, offset: u64) -> Result<Option<&'static Self>, ShmError> {
        let raw = family.at(offset, size_of::<Self>() as u64)?.cast::<Self>();
        if !raw.is_aligned() {
            return Ok(None);
        }
        // SAFETY: so many bytes from there on are mapped, for ever; they are aligned; every field is an atomic.
        Ok(Some(unsafe { &*raw }))
    }

    /// Where the elements are; from the segment, to be checked.
    pub(crate) fn data(&self) -> BlockRef {
        BlockRef::from_words(core::array::from_fn(|i| self.data[i].load(Relaxed)))
    }

    /// How many elements a chunk has; from the segment, to be checked. 0 if there are no chunks: for the holder of the lock it
    /// stays so while he holds it.
    #[inline]
    pub(crate) fn cut(&self) -> u64 {
        self.cut.load(Acquire) // pairs with `set_claims`
    }

    /// Where the claims are, if there are chunks; from the segment, to be checked.
    pub(crate) fn claims(&self) -> Option<BlockRef> {
        (self.cut() != 0).then(|| BlockRef::from_words(core::array::from_fn(|i| self.claims[i].load(Relaxed))))
    }

    /// Cuts the array into chunks of `cut` elements each. For the holder of the lock, if there are none yet.
    pub(crate) fn set_claims(&self, cut: u64, claims: BlockRef) {
        for (to, from) in self.claims.iter().zip(claims.to_words()) {
            to.store(from, Relaxed);
        }
        self.cut.store(cut, Release); // pairs with `cut`: the claims are there, and zero
    }

    pub(crate) fn kind(&self) -> u64 {
        self.kind.load(Relaxed)
    }

    /// The parts of an array of `len` elements that this process has described just now.
    ///
    /// # Errors
    /// [`ShmError::ObjectGone`] if somebody has written over it since.
    pub(crate) fn made(family: &'static Family, offset: u64, len: usize, stride: usize) -> Result<Parts, ShmError> {
        let raw = Self::at(family, offset)?.ok_or(ShmError::ObjectGone { offset })?;
        raw.parts(family, stride)?.filter(|parts| parts.len == len).ok_or(ShmError::ObjectGone { offset })
    }

    /// The array as one of elements of `stride` bytes, if its description makes sense; later calls trust this copy of it, not
    /// the bytes.
    pub(crate) fn parts(&'static self, family: &'static Family, stride: usize) -> Result<Option<Parts>, ShmError> {
        let (data, len) = (self.data(), usize::try_from(self.len.load(Relaxed)).unwrap_or(usize::MAX));
        let words = Elements::words(len, stride).filter(|n| (*n as u64).checked_mul(8) == Some(data.len));
        let Some(words) = words else { return Ok(None) };
        let first = family.at(data.offset, data.len)?.cast::<AtomicU64>();
        if !first.is_aligned() {
            return Ok(None);
        }
        // SAFETY: so many bytes from there on are mapped, for ever, and aligned; any bits are an atomic.
        let words: &'static [AtomicU64] = unsafe { core::slice::from_raw_parts(first, words) };
        Ok(Some(Parts { raw: self, words, len }))
    }
}

impl Parts {
    /// The claims of an array that is cut into chunks of `cut` elements each, if their description makes sense.
    pub(crate) fn claims(&self, family: &'static Family, cut: usize) -> Result<Option<&'static [RawClaim]>, ShmError> {
        let count = self.len.div_ceil(cut);
        let Some(claims) = self.raw.claims().filter(|r| r.len == count as u64 * 8) else { return Ok(None) };
        let first = family.at(claims.offset, claims.len)?.cast::<RawClaim>();
        if !first.is_aligned() {
            return Ok(None);
        }
        // SAFETY: so many bytes from there on are mapped, for ever, and aligned; a claim is an atomic, of any bits.
        Ok(Some(unsafe { core::slice::from_raw_parts(first, count) }))
    }

    /// The elements; `stride` is that of [`RawArray::parts`].
    #[inline]
    pub(crate) fn elements(&self, stride: usize) -> Elements<'static> {
        Elements::new(&self.raw.journal, self.words, self.len, stride).expect("the words were counted in `parts`")
    }
}
