//! A slot of the participant table: a word that the kernel marks when the thread that owns it ends.
//!
//! # State
//! | `word` | meaning | left by |
//! |---|---|---|
//! | 0 | never used | `take`: CAS to the thread's id |
//! | TID | that thread is alive, in its use number `generation` of the slot | the kernel, at the thread's end: `DIED` |
//! | `DIED` | the thread has ended | `take`: CAS to the next thread's id |
//!
//! # Invariants
//! G1. The word is named to the kernel before it is taken and until the thread ends: first as the pending word, then as
//!     a node of the thread's robust list.
//! G2. A thread uses (slot, generation) only after it has raised `generation` and while its id is in the word.
//! G3. Slots are used in turn, so that the 16 bits of a generation that travel repeat after 65536 * 4096 registrations
//!     at the earliest while slots are free (the answer to row 7 of the list of holes: that many threads cannot come and
//!     go while one claim waits to be judged).
//!
//! G4. `waiting` is written by the thread itself, and by whoever takes the slot before he raises `generation`. Its upper 16
//!     bits change with each wait, so that equal words mean one wait without a break.
//!
//! # Memory ordering
//! O1. `is_alive` loads `generation`, then `word`; the taker raises `generation` after its CAS. A thread that is alive is
//!     never taken for dead; a dead one is taken for alive for the moment in which the next one moves in.
//!
//! # If a process dies
//! The kernel marks the words of all of its threads. One that died between the CAS and the raise leaves `DIED` and the old
//! generation, which the next taker raises.

use polyproc_sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use polyproc_sys::robust::{DIED, TID, WAITERS};

/// The bits of `waiting` that say what is waited for.
const WHAT: u64 = (1 << 48) - 1;

#[repr(C, align(64))]
pub(crate) struct RawParticipant {
    /// See `# State`; the kernel changes it.
    word: AtomicU32,
    generation: AtomicU32,
    /// The process of the thread, for people who look at the table.
    pid: AtomicU32,
    _pad: [u32; 3],
    /// Links of the thread's robust list: mean something to that thread alone.
    _node: [u64; 2],
    /// What the thread waits for, in the lower 48 bits; 0: nothing.
    waiting: AtomicU64,
    _free: [u64; 2],
}
#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawParticipant>() == 64 && core::mem::offset_of!(RawParticipant, _node) == 24);

impl RawParticipant {
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// The thread in the slot and its process, `None` if the slot is free.
    pub(crate) fn occupant(&self) -> Option<(u32, u32)> {
        let word = self.word.load(Acquire);
        (word & TID != 0 && word & DIED == 0).then(|| (word & TID, self.pid.load(Relaxed)))
    }

    /// Takes a free slot for the thread `tid`, which has announced the word (G1), and returns the generation.
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are what travels")]
    pub(crate) fn take(&self, tid: u32, pid: u32) -> Option<u16> {
        let word = self.word.load(Relaxed);
        if word & TID != 0 || self.word.compare_exchange(word, tid, AcqRel, Relaxed).is_err() {
            return None;
        }
        self.pid.store(pid, Relaxed);
        self.wait_for(0);
        let generation = self.generation.load(Relaxed).wrapping_add(1);
        self.generation.store(generation, Release); // SYNC(O1)
        Some(generation as u16)
    }

    /// The generation of the use that is, or was the last.
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are what travels")]
    pub(crate) fn generation(&self) -> u16 {
        self.generation.load(Acquire) as u16
    }

    /// Says that the thread, which calls, waits for `what`, or by 0 no longer (G4).
    pub(crate) fn wait_for(&self, what: u64) {
        let before = self.waiting.load(Relaxed);
        let next = if what == 0 { before & !WHAT } else { (before & !WHAT).wrapping_add(WHAT + 1) | what & WHAT };
        self.waiting.store(next, Release);
    }

    /// The word of the wait and what is waited for, if anything is.
    pub(crate) fn waiting(&self) -> Option<(u64, u64)> {
        let word = self.waiting.load(Acquire);
        (word & WHAT != 0).then_some((word, word & WHAT))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are what travels")]
    pub(crate) fn is_alive(&self, generation: u16) -> bool {
        let now = self.generation.load(Acquire) as u16; // SYNC(O1)
        let word = self.word.load(Acquire);
        now == generation && word & !WAITERS & TID != 0 && word & DIED == 0
    }
}
