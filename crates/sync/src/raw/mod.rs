//! Bytes in a segment and the algorithms on them: no pointer, no fd, no heap; the same code runs under loom.

pub mod barrier;
mod cell;
pub mod event;
pub mod gate;
pub mod lock;
pub mod rlock;
mod rounds;
pub mod semaphore;
mod waiters;

pub use barrier::RawBarrier;
pub use event::RawEvent;
pub use gate::RawGate;
pub use lock::RawLock;
pub use rlock::RawRLock;
pub use semaphore::RawSemaphore;
