//! An entry of the function table: where a trampoline lies, relative to an anchor in the executable.
//!
//! # State
//! Entries below the header's `functions` are complete and do not change; the others are nothing.
//!
//! # Invariants
//! F1. `mac` is a keyed hash of the other words and the index; the key is never in shared memory, so that a damaged or
//!     forged entry is an error and not a jump.
//!
//! # Memory ordering
//! E1. The store of the header's `functions` (Release) pairs with its load (Acquire) in a look-up.
//!
//! # If a process dies
//! Entries are written under the holders lock; an entry that was not counted is overwritten by the next.

use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};

#[repr(C)]
pub(crate) struct RawFunction {
    code: AtomicU64,
    target: AtomicU64,
    hash: AtomicU64,
    mac: AtomicU64,
}
#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawFunction>() == 32);

impl RawFunction {
    /// (code, target, hash, mac), which may be anything.
    pub(crate) fn read(&self) -> [u64; 4] {
        [&self.code, &self.target, &self.hash, &self.mac].map(|w| w.load(Relaxed))
    }

    pub(crate) fn write(&self, words: [u64; 4]) {
        for (word, value) in [&self.code, &self.target, &self.hash, &self.mac].into_iter().zip(words) {
            word.store(value, Relaxed);
        }
    }
}
