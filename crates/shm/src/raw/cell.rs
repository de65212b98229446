//! A cell: the record that a process holds a shared object, or that a message carries a handle to it.
//!
//! # State
//! | `what` | `message` | meaning |
//! |---|---|---|
//! | 0 | – | nothing: a fresh cell, or a released one |
//! | set | 0 | a **hold**: the process that owns this cell's block has handles of `object` |
//! | set | offset | a **ticket**: the message in that block carries a handle of `object` |
//!
//! `what` is `generation:32 of the object | 1 << 63`, `message_generation` that of the message's block.
//!
//! # Invariants
//! C1. The number in an object's `SHARED` tag is the number of set cells that name it, and one more if it is the object that
//!     a named segment is about. Cells are the truth: after a death
//!     under the holders lock the numbers are counted anew.
//! C2. `what` is stored last when a cell is written and first when it is cleared.
//! C3. A ticket lives as long as the message: whoever frees the message's block releases its tickets, or else the sweep does.
//!
//! # Memory ordering
//! All under the holders lock.
//!
//! # If a process dies
//! The sweep releases the holds of its cells, and the tickets whose message is gone; the other tickets stay as they are.

use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release, compiler_fence};

const SET: u64 = 1 << 63;

#[repr(C)]
pub(crate) struct RawCell {
    object: AtomicU64,
    what: AtomicU64,
    message: AtomicU64,
    message_generation: AtomicU64,
}
#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawCell>() == 32);

/// What a set cell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) object: u64,
    pub(crate) generation: u32,
    /// Offset and generation of the message's block, for a ticket.
    pub(crate) message: Option<(u64, u32)>,
}

impl RawCell {
    /// What the cell says; `None` if it says nothing.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the generation")]
    pub(crate) fn read(&self) -> Option<Record> {
        let what = self.what.load(Relaxed);
        if what & SET == 0 {
            return None;
        }
        let message = self.message.load(Relaxed);
        Some(Record {
            object: self.object.load(Relaxed),
            generation: what as u32,
            message: (message != 0).then(|| (message, self.message_generation.load(Relaxed) as u32)),
        })
    }

    pub(crate) fn write(&self, record: Record) {
        let (message, generation) = record.message.unwrap_or((0, 0));
        self.object.store(record.object, Relaxed);
        self.message.store(message, Relaxed);
        self.message_generation.store(u64::from(generation), Relaxed);
        compiler_fence(Release);
        self.what.store(u64::from(record.generation) | SET, Release); // C2
    }

    /// Turns a ticket into a hold, in one step.
    pub(crate) fn make_hold(&self) {
        self.message.store(0, Release);
    }

    pub(crate) fn clear(&self) {
        self.what.store(0, Release); // C2
    }
}
