//! The bytes at the start of an array: its lock, the journal of its elements, and where they are.
//!
//! ```text
//! +0     the lock
//! +40    the journal, see `elements.rs`
//! +56    length, type, reference of the elements' block; written once, before anybody else knows the array
//! ```
//!
//! # If a process dies
//! While it makes an array: nobody else knows the array; its blocks are freed by the sweep. Otherwise see `elements.rs` and
//! the lock. The last handle that goes frees the elements' block, or the sweep does in place of a dead one (`contents.rs`).

use super::{Elements, Journal};
use polyproc_shm::{BlockRef, Family, ShmError};
use polyproc_sync::raw::RawLock;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};

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
}

const _: () = assert!(size_of::<RawArray>() == 104 && core::mem::offset_of!(RawArray, lock) == 0);

/// What an array is made of, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) raw: &'static RawArray,
    /// Those that as many elements of the type take.
    words: &'static [AtomicU64],
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

    pub(crate) fn kind(&self) -> u64 {
        self.kind.load(Relaxed)
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
    /// The elements; `stride` is that of [`RawArray::parts`].
    #[inline]
    pub(crate) fn elements(&self, stride: usize) -> Elements<'static> {
        Elements::new(&self.raw.journal, self.words, self.len, stride).expect("the words were counted in `parts`")
    }
}
