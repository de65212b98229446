//! Bytes in a segment and the algorithms on them: no pointer, no fd, no heap; the same code runs under loom.
//!
//! They are what Python calls `RawValue` and `RawArray`, for any memory that processes share: [`RawValue`] has its lock in it,
//! [`Elements`] are a view of words, with the lock and the [`Journal`] wherever you put them. An array of 100 numbers:
//!
//! ```
//! use polyproc_sync::raw::RawLock;
//! use polyproc_sys::{Deadline, atomic::AtomicU64};
//! use polyproc_values::raw::{Elements, Journal};
//!
//! #[repr(C)]
//! struct Numbers {
//!     lock: RawLock, // bytes that were a lock's must not become anything else while processes live
//!     journal: Journal,
//!     words: [AtomicU64; 50], // 100 numbers of 4 bytes
//! }
//!
//! let map = memmap2::MmapOptions::new().len(size_of::<Numbers>()).map_anon()?; // children of a fork share it; or a file
//! // SAFETY: the map is large enough, aligned to a page, and lives until the end; zeroed bytes are an array of zeros and a
//! // free lock, and all fields are atomics.
//! let numbers = unsafe { &*map.as_ptr().cast::<Numbers>() };
//! let array = Elements::new(&numbers.journal, &numbers.words, 100, Elements::stride(4)).expect("50 words are 100 numbers");
//!
//! // SAFETY: the lock stays mapped until it is given up.
//! unsafe { RawLock::lock(&numbers.lock, Deadline::NEVER) }.unwrap();
//! array.repair(); // what a dead holder had under way
//! array.store(99, |_| 7);
//! // SAFETY: this thread holds it.
//! unsafe { RawLock::unlock(&numbers.lock, false) };
//!
//! array.load(99, |_, word| assert_eq!(word & 0xffff_ffff, 7)); // readers need no lock
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(not(polyproc_loom))]
pub(crate) mod array;
pub mod claim;
pub(crate) mod copies;
pub mod elements;
#[cfg(not(polyproc_loom))]
pub(crate) mod slots;
pub mod value;

pub use claim::RawClaim;
pub use elements::{Elements, Journal};
pub use value::RawValue;
