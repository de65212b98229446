//! Bytes in a segment and the algorithms on them: no pointer, no fd, no heap; the same code runs under loom.

pub mod board;
#[cfg(not(polyproc_loom))]
pub(crate) mod queue;
pub mod ring;
mod slot;

pub use ring::Ring;
