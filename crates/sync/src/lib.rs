#![doc = include_str!("../README.md")]

#[cfg(not(polyproc_loom))]
pub mod barrier;
#[cfg(not(polyproc_loom))]
pub mod event;
#[cfg(not(polyproc_loom))]
#[doc(hidden)]
pub mod kept;
#[cfg(not(polyproc_loom))]
pub mod lock;
#[cfg(not(polyproc_loom))]
pub mod permit;
#[cfg(all(feature = "raw-sync", not(polyproc_loom)))]
pub mod pthread;
pub mod raw;
#[cfg(not(polyproc_loom))]
pub mod rlock;
#[cfg(not(polyproc_loom))]
pub mod semaphore;

#[cfg(not(polyproc_loom))]
pub use barrier::{Barrier, BarrierError, BarrierWait};
#[cfg(not(polyproc_loom))]
pub use event::Event;
#[cfg(not(polyproc_loom))]
pub use lock::{Lock, LockError, LockGuard, OwnerDied};
#[cfg(not(polyproc_loom))]
pub use permit::Permit;
#[cfg(not(polyproc_loom))]
pub use polyproc_shm::{Name, Place, SegmentError, ShmError};
#[cfg(not(polyproc_loom))]
pub use polyproc_sys::Deadline;
#[cfg(not(polyproc_loom))]
pub use rlock::{RLock, RLockGuard};
#[cfg(not(polyproc_loom))]
pub use semaphore::{AcquireError, Semaphore, TooManyPermits};
