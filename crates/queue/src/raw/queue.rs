//! The bytes at the start of a queue: the hints of its ring, its gate, and where its slots are.
//!
//! ```text
//! +0     tail, the producers' hint          a line of its own, as the next two
//! +64    head, the consumers' hint
//! +128   the gate
//! +192   capacity, words of a slot, type, reference of the slots' block; written once, before anybody else knows the queue
//! ```
//!
//! # If a process dies
//! While it makes a queue: nobody else knows the queue; its blocks are freed by the sweep. Otherwise see `raw/ring.rs`
//! and the gate.

use super::Ring;
use polyproc_shm::{BlockRef, Family, ShmError};
use polyproc_sync::raw::RawGate;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};

/// Marks the payload's first word: the message lies in a block, whose reference follows.
pub(crate) const IN_BLOCK: u64 = 1 << 63;

/// The bytes of a queue, without its slots.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct RawQueue {
    tail: Line,
    head: Line,
    pub(crate) gate: RawGate,
    _pad: [u64; 6],
    capacity: AtomicU64,
    width: AtomicU64,
    /// Hash of the type of the messages.
    kind: AtomicU64,
    slots: [AtomicU64; 4],
    _end: u64,
}

#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) AtomicU64);

const _: () = assert!(size_of::<RawQueue>() == 256 && core::mem::offset_of!(RawQueue, capacity) == 192);

/// What a queue is made of, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) raw: &'static RawQueue,
    pub(crate) ring: Slots,
    /// Hash of the type of the messages.
    pub(crate) kind: u64,
    pub(crate) slots: BlockRef,
}

/// An item of at most eight bytes is a slot's only word beside the slot's own; all others have a word of length, and room
/// for 48 bytes or a block's reference.
pub(crate) const NARROW: usize = 2;
pub(crate) const WIDE: usize = 8;

/// The slots of a queue, of one of two widths.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slots {
    Narrow(Ring<'static, NARROW>),
    Wide(Ring<'static, WIDE>),
}

/// Runs an expression for the ring, whatever its width.
macro_rules! either {
    ($slots:expr, $ring:ident => $then:expr) => {
        match $slots {
            $crate::raw::queue::Slots::Narrow($ring) => $then,
            $crate::raw::queue::Slots::Wide($ring) => $then,
        }
    };
}
pub(crate) use either;

impl Slots {
    /// The ring of a queue of numbers.
    #[inline]
    pub(crate) fn narrow(&self) -> &Ring<'static, NARROW> {
        match self {
            Self::Narrow(ring) => ring,
            Self::Wide(_) => unreachable!("the width was checked when this process got the queue"),
        }
    }

    /// The ring of a queue of anything else.
    #[inline]
    pub(crate) fn wide(&self) -> &Ring<'static, WIDE> {
        match self {
            Self::Wide(ring) => ring,
            Self::Narrow(_) => unreachable!("the width was checked when this process got the queue"),
        }
    }

    pub(crate) fn is_narrow(&self) -> bool {
        matches!(self, Self::Narrow(_))
    }
}

impl RawQueue {
    /// Writes the part that never changes.
    pub(crate) fn describe(&self, capacity: u64, width: usize, kind: u64, slots: BlockRef) {
        self.capacity.store(capacity, Relaxed);
        self.width.store(width as u64, Relaxed);
        self.kind.store(kind, Relaxed);
        for (to, from) in self.slots.iter().zip(slots.to_words()) {
            to.store(from, Relaxed);
        }
    }

    /// The queue at `offset`, if its description makes sense; later calls trust the copy of it, not the bytes.
    pub(crate) fn at(family: &'static Family, offset: u64) -> Result<Option<Parts>, ShmError> {
        let raw = family.at(offset, size_of::<Self>() as u64)?.cast::<Self>();
        if !raw.is_aligned() {
            return Ok(None);
        }
        // SAFETY: so many bytes from there on are mapped, for ever; they are aligned; every field is an atomic or unused.
        let raw: &'static Self = unsafe { &*raw };
        let (capacity, width) = (raw.capacity.load(Relaxed), raw.width.load(Relaxed));
        let slots = BlockRef::from_words(core::array::from_fn(|i| raw.slots[i].load(Relaxed)));
        let Some(words) =
            capacity.checked_mul(width).filter(|w| capacity <= MOST && *w > 0 && w.checked_mul(8) == Some(slots.len))
        else {
            return Ok(None);
        };
        let first = family.at(slots.offset, slots.len)?.cast::<AtomicU64>();
        let (Ok(words), Ok(capacity), Ok(width)) =
            (usize::try_from(words), usize::try_from(capacity), usize::try_from(width))
        else {
            return Ok(None);
        };
        if !first.is_aligned() {
            return Ok(None);
        }
        // SAFETY: so many bytes from there on are mapped, for ever, and aligned; any bits are an atomic.
        let words: &'static [AtomicU64] = unsafe { core::slice::from_raw_parts(first, words) };
        let (head, tail) = (&raw.head.0, &raw.tail.0);
        let ring = match width {
            NARROW => Ring::new(head, tail, words, capacity).map(Slots::Narrow),
            WIDE => Ring::new(head, tail, words, capacity).map(Slots::Wide),
            _ => None,
        };
        Ok(ring.map(|ring| Parts { raw, ring, kind: raw.kind.load(Relaxed), slots }))
    }
}

/// The largest capacity.
pub(crate) const MOST: u64 = 1 << 24;
