//! A slot of the process table: which process it is, so that its death can be proven.
//!
//! # State
//! | `owner` | meaning | left by |
//! |---|---|---|
//! | pid 0, generation g | free; the zero page is free | `take`: CAS to (pid, g + 1) |
//! | pid, generation g | that process, or a dead one that nobody has cleared up | `release`: CAS to (0, g) |
//!
//! `start` is the time at which the process started, 0 if it is not known (yet).
//!
//! # Invariants
//! P1. `start` is 0 or that of the process in `owner`: `release` clears it first.
//! P2. A slot is released only under the holders lock: with proof of death, after the sweep, or by its process, which has
//!     given up all that it held but what it has handed on (named objects).
//! P3. Generations have 24 bits and are never 0: (slot, 0) is nobody.
//!
//! # Memory ordering
//! R1. The CAS in `take` (Acquire) pairs with that in `release` (Release): `start` is 0 for the taker.
//!
//! # If a process dies
//! Between the CAS and the store of `start` it leaves 0: death is then proven by its number alone, at the latest when the
//! process that has the number after it ends.

use crate::ids::ProcessId;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

#[repr(C)]
pub(crate) struct RawProcess {
    /// pid:32 in the low half, generation:32 (24 used) above.
    owner: AtomicU64,
    start: AtomicU64,
}
#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawProcess>() == 16);

impl RawProcess {
    /// The process in the slot: (pid, generation, start), `None` if the slot is free.
    #[expect(clippy::cast_possible_truncation, reason = "the fields are cut out of the word on purpose")]
    pub(crate) fn occupant(&self) -> Option<(u32, u32, u64)> {
        let owner = self.owner.load(Acquire);
        let start = self.start.load(Relaxed);
        (owner as u32 != 0).then_some((owner as u32, (owner >> 32) as u32 & ProcessId::GENERATION, start))
    }

    /// Takes a free slot for the process `pid` and returns the generation; `None` if it is not free.
    pub(crate) fn take(&self, pid: u32, start: u64) -> Option<u32> {
        let owner = self.owner.load(Relaxed);
        let generation = ((owner >> 32) as u32).wrapping_add(1) & ProcessId::GENERATION;
        let generation = generation.max(1); // P3
        let new = u64::from(pid) | u64::from(generation) << 32;
        #[expect(clippy::cast_possible_truncation, reason = "the low half is the pid")]
        if owner as u32 != 0 || self.owner.compare_exchange(owner, new, AcqRel, Relaxed).is_err() {
            return None; // SYNC(R1)
        }
        self.start.store(start, Release);
        Some(generation)
    }

    /// Frees the slot of the dead process (`pid`, `generation`); nothing happens if it is not in there.
    pub(crate) fn release(&self, pid: u32, generation: u32) {
        let owner = u64::from(pid) | u64::from(generation) << 32;
        if self.owner.load(Acquire) != owner {
            return;
        }
        self.start.store(0, Relaxed); // P1
        let free = u64::from(generation) << 32;
        let _ = self.owner.compare_exchange(owner, free, Release, Relaxed); // SYNC(R1)
    }
}
