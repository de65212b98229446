//! An entry of the span table: 64 KiB that are free, a slab, or a part of a run.
//!
//! # State
//! `word` is a [`tag`](super::tag); `aux` is `punched:1 | length of the run in spans:32`, the length in the first span only.
//!
//! # Transitions
//! * run: CAS the first span to `OWNED`, store the length, CAS the others to `PART` one by one, back what is punched.
//! * release: `PART` back to `FREE` in reverse, then length 0, then the first span to `FREE`. The same undoes a half-made run.
//! * slab: a run of one; zero the tags; then `SLAB`.
//!
//! # Invariants
//! N1. The length is stored before the first `PART` and cleared after the last.
//! N2. `PART(h)` is made and unmade by the owner of span `h` only.
//! N3. `punched` is set before the memory under a span is given back, and cleared after it was backed again, both by the
//!     span's owner: a free span without it has memory.
//!
//! # If a process dies
//! The first span says `OWNED` by it, at every moment in between. The sweep makes itself the owner and releases the run.

use super::tag::{FREE, OWNED, PART, Tag};
use crate::ids::ProcessId;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

#[repr(C)]
pub(crate) struct RawSpan {
    pub(crate) word: AtomicU64,
    aux: AtomicU64,
}
#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawSpan>() == 16);

const PUNCHED: u64 = 1 << 63;

impl RawSpan {
    #[inline]
    pub(crate) fn tag(&self) -> Tag {
        Tag(self.word.load(Acquire))
    }

    /// The length of the run that starts here, at least 1; it may be any number if the bytes were damaged.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the length")]
    pub(crate) fn run_length(&self) -> u32 {
        (self.aux.load(Acquire) as u32).max(1)
    }

    pub(crate) fn is_punched(&self) -> bool {
        self.aux.load(Relaxed) & PUNCHED != 0
    }

    pub(crate) fn set_punched(&self, punched: bool) {
        let aux = self.aux.load(Relaxed) & !PUNCHED;
        self.aux.store(if punched { aux | PUNCHED } else { aux }, Release);
    }

    /// Takes a free span as the first of a run of `length`; the generation, or `None` if it is not free.
    pub(crate) fn take_first(&self, length: u32, me: ProcessId) -> Option<u32> {
        let old = Tag(self.word.load(Relaxed));
        let new = old.taken(me);
        if !old.is_free() || self.word.compare_exchange(old.0, new.0, AcqRel, Relaxed).is_err() {
            return None;
        }
        self.set_length(length); // N1
        Some(new.generation())
    }

    pub(crate) fn set_length(&self, length: u32) {
        let aux = self.aux.load(Relaxed) & PUNCHED;
        self.aux.store(aux | u64::from(length), Release);
    }

    /// Takes a free span as a further part of the run that starts at `first`.
    pub(crate) fn take_part(&self, first: u32) -> bool {
        let old = Tag(self.word.load(Relaxed));
        let new = Tag::new(PART, old.generation(), u64::from(first));
        old.is_free() && self.word.compare_exchange(old.0, new.0, AcqRel, Relaxed).is_ok()
    }

    /// Whether the span belongs to the run that starts at `first`.
    pub(crate) fn is_part_of(&self, first: u32) -> bool {
        let tag = self.tag();
        tag.state() == PART && tag.rest() == u64::from(first)
    }

    /// Frees a further part of the run that starts at `first`; nothing happens if it is none.
    pub(crate) fn free_part(&self, first: u32) {
        let tag = self.tag();
        if tag.state() == PART && tag.rest() == u64::from(first) {
            let _ = self.word.compare_exchange(tag.0, tag.freed().0, Release, Relaxed);
        }
    }

    /// Frees the first span of a run whose parts are free, of `owner` and generation.
    pub(crate) fn free_first(&self, generation: u32, owner: ProcessId) {
        let old = Tag::owned(generation, owner);
        if self.word.load(Relaxed) == old.0 {
            self.set_length(0); // N1
            let _ = self.word.compare_exchange(old.0, old.freed().0, Release, Relaxed);
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.tag().state() == FREE
    }

    pub(crate) fn is_run(&self) -> bool {
        matches!(self.tag().state(), OWNED | super::tag::SHARED)
    }
}
