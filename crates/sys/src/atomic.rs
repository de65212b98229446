//! The atomics of everything that processes share, and their loom twins.
//!
//! Every crate of polyproc takes its atomics from here, so that one `cfg` turns the whole of the raw layer into a
//! model that loom can explore.
//!
//! ```
//! use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
//!
//! let word = AtomicU64::new(1);
//! assert_eq!(word.fetch_add(1, Relaxed), 1);
//! ```

#[cfg(not(polyproc_loom))]
pub use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence, fence};
#[cfg(polyproc_loom)]
pub use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// Orders the memory accesses of this thread for the compiler only; nothing under loom, which sees program order.
#[cfg(polyproc_loom)]
pub fn compiler_fence(_: Ordering) {}
