//! The bytes that a parent and one child share about the child's start: what to do, who does it, how it stands.
//!
//! # State
//! | `state`      | meaning                                                   | left by          |
//! |--------------|-----------------------------------------------------------|------------------|
//! | `OFFERED`    | written by the parent, nobody took it yet                 | child, parent    |
//! | `RUNNING`    | the child took it and is at work                          | child            |
//! | `UNKNOWN`    | the child took it and could not find the function         | nobody           |
//! | `UNREADABLE` | the child took it and could not decode the arguments      | nobody           |
//! | `RETURNED`   | the function returned or panicked, `code` is the exit code | nobody          |
//! | `REVOKED`    | the parent gave up waiting: the child must not take it    | nobody           |
//!
//! # Invariants
//! S1. The function runs only after one compare-and-swap `OFFERED` → `RUNNING`: never once the parent has revoked it.
//! S2. `process` names the child before `state` is `RUNNING`.
//!
//! # Memory ordering
//! O1. The swap to `RUNNING` (Release) pairs with the parent's load of `state` (Acquire): `process` is visible.
//! O2. The start of the child's process orders the parent's writes before the child's reads.
//!
//! # If a process dies
//! A child that dies before S2 left no name: the parent, with the proof of its death, checks all processes of the
//! family. The record belongs to the parent and goes with it; a child that outlives it by a moment reads bytes that
//! may be somebody else's, and checks them like everything that comes from shared memory.

use polyproc_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use polyproc_sys::futex::Futex;

pub(crate) const OFFERED: u32 = 1; // not 0: a zero page is no offer
pub(crate) const RUNNING: u32 = 2;
pub(crate) const UNKNOWN: u32 = 3;
pub(crate) const UNREADABLE: u32 = 4;
pub(crate) const RETURNED: u32 = 5;
pub(crate) const REVOKED: u32 = 6;

/// Words of a message: see [`crate::wire`].
pub(crate) const WORDS: usize = 8;

#[repr(C)]
pub(crate) struct RawStart {
    /// See `# State`.
    state: Futex,
    /// The exit code; written by the child before `RETURNED`.
    code: AtomicU32,
    /// The child, as `ProcessId::to_word`; 0 until it has joined the family.
    process: AtomicU64,
    /// What to run, as `FnRef::to_words`.
    function: [AtomicU64; 2],
    /// The message with the arguments.
    args: [AtomicU64; WORDS],
}
#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawStart>() == 96);

impl RawStart {
    /// Parent: writes the offer. Before the child is started.
    pub(crate) fn offer(&self, function: [u64; 2], args: [u64; WORDS]) {
        for (word, value) in self.function.iter().zip(function).chain(self.args.iter().zip(args)) {
            word.store(value, Ordering::Relaxed);
        }
        self.state.store(OFFERED, Ordering::Release); // O2
    }

    /// Child: takes the offer as the process `me`; what to run and on what, or `None` if it is not on offer.
    pub(crate) fn take(&self, me: u64) -> Option<([u64; 2], [u64; WORDS])> {
        self.process.store(me, Ordering::Relaxed); // S2
        // SYNC(O1)
        self.state.compare_exchange(OFFERED, RUNNING, Ordering::AcqRel, Ordering::Acquire).ok()?;
        Futex::wake(&raw const self.state, u32::MAX);
        let function = core::array::from_fn(|i| self.function[i].load(Ordering::Relaxed));
        Some((function, core::array::from_fn(|i| self.args[i].load(Ordering::Relaxed))))
    }

    /// Child: says how it ended.
    pub(crate) fn end(&self, state: u32, code: u8) {
        self.code.store(code.into(), Ordering::Relaxed);
        self.state.store(state, Ordering::Release);
    }

    /// Parent: takes the offer back; `false` if the child was faster.
    pub(crate) fn revoke(&self) -> bool {
        self.state.compare_exchange(OFFERED, REVOKED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Any number: the child may have scribbled on it.
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire) // SYNC(O1)
    }

    /// The address of the state, to sleep on.
    pub(crate) fn state_word(&self) -> *const AtomicU32 {
        &raw const *self.state
    }

    pub(crate) fn process(&self) -> u64 {
        self.process.load(Ordering::Relaxed)
    }

    pub(crate) fn code(&self) -> u32 {
        self.code.load(Ordering::Relaxed)
    }
}
