//! Bytes in a segment and the algorithms on them: no pointer, no fd, no heap; the same code runs under loom.

#[cfg(not(polyproc_loom))]
pub(crate) mod array;
pub mod claim;
pub(crate) mod copies;
pub mod elements;
pub mod value;

pub use claim::RawClaim;
pub use elements::{Elements, Journal};
pub use value::RawValue;
