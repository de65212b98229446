//! Bytes in a segment and the algorithms on them: no pointer, no fd, no heap; the same code runs under loom.

pub mod barrier;
mod cell;
pub mod condition;
pub mod event;
pub mod gate;
pub mod lock;
mod locked;
mod readers;
mod reading;
pub mod rlock;
mod rounds;
pub mod rwlock;
pub mod semaphore;
mod waiters;

pub use barrier::RawBarrier;
pub use condition::RawCondition;
pub use event::RawEvent;
pub use gate::RawGate;
pub use lock::RawLock;
pub use rlock::RawRLock;
pub use rwlock::RawRwLock;
pub use semaphore::RawSemaphore;

/// Whether the kernel says that there is no such thread; in models nobody dies.
fn thread_is_dead(tid: u32) -> bool {
    #[cfg(not(polyproc_loom))]
    return polyproc_sys::liveness::tid_is_dead(tid);
    #[cfg(polyproc_loom)]
    return tid == u32::MAX;
}
