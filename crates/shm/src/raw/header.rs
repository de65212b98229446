//! The header of the family's file: whose it is, and the few words that all processes share.
//!
//! # State
//! | word | meaning | who changes it |
//! |---|---|---|
//! | `magic`, `family`, `namespace`, `boot` | what it is, which family, where its TIDs mean something | the founder, once |
//! | `reserved` | bytes of address space that every process of the family maps | the founder, once |
//! | `version` | 0: not finished; else the version of the layout | the founder, last |
//! | `kinds` | kinds of which a process registered hooks, as bits | anybody, bits are only set |
//! | `root`, `root_generation` | in a named segment: the object that has the name | the creator, before anybody sees it |
//! | `functions` | entries of the function table that are complete | under the holders lock |
//! | `next_participant`, `next_process` | where the next search starts | anybody; only hints |
//!
//! # Invariants
//! H2. The file never grows behind `reserved`: what one process sees all see, or a sweep would take objects that lie
//!     beyond its sight for objects that nobody holds.
//! H1. A file whose `version` is not [`VERSION`] is not used.
//!
//! # Memory ordering
//! The file is handed on by fork and exec only, which order everything before them.
//!
//! # If a process dies
//! A founder that dies before `version` is stored leaves a file that nobody else has. All other words change in one step.

use super::holders::RawHolders;
use polyproc_sys::atomic::{AtomicU32, AtomicU64};

/// "polyproc" as bytes.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"polyproc");
/// The layout of the file; changed with every change of a raw type.
pub(crate) const VERSION: u64 = 3;

#[repr(C)]
pub(crate) struct RawHeader {
    pub(crate) magic: AtomicU64,
    pub(crate) family: AtomicU64,
    /// The inodes of the pid and the time namespace: thread ids and times of others mean others.
    pub(crate) namespace: AtomicU64,
    /// A hash of the boot id.
    pub(crate) boot: AtomicU64,
    pub(crate) version: AtomicU64,
    /// In 1 GiB..=256 GiB. Processes keep a copy: the length of their mapping.
    pub(crate) reserved: AtomicU64,
    pub(crate) root: AtomicU64,
    pub(crate) root_generation: AtomicU64,
    pub(crate) kinds: AtomicU64,
    /// In 0..=1024.
    pub(crate) functions: AtomicU32,
    pub(crate) next_participant: AtomicU32,
    pub(crate) next_process: AtomicU32,
    _pad2: [u32; 11],
    pub(crate) holders: RawHolders,
}

#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawHeader>() == 192 && core::mem::offset_of!(RawHeader, holders) == 128);
