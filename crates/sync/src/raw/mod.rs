//! Bytes in a segment and the algorithms on them: no pointer, no fd, no heap; the same code runs under loom.

pub mod gate;
pub mod lock;

pub use gate::RawGate;
pub use lock::RawLock;
