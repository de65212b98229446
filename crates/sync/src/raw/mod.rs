//! Bytes in a segment and the algorithms on them: no pointer, no fd, no heap; the same code runs under loom.

mod cell;
pub mod event;
pub mod gate;
pub mod lock;
mod locked;
mod readers;
mod reading;
pub mod rlock;
pub mod rwlock;
pub mod semaphore;
mod waiters;

pub use event::RawEvent;
pub use gate::RawGate;
pub use lock::RawLock;
pub use rlock::RawRLock;
pub use rwlock::RawRwLock;
pub use semaphore::RawSemaphore;
