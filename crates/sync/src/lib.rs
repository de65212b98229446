#![doc = include_str!("../README.md")]

#[cfg(not(polyproc_loom))]
pub mod barrier;
#[cfg(not(polyproc_loom))]
pub mod checked;
#[cfg(not(polyproc_loom))]
pub mod condition;
#[cfg(not(polyproc_loom))]
pub mod deadlock;
#[cfg(not(polyproc_loom))]
pub mod event;
#[cfg(not(polyproc_loom))]
#[doc(hidden)]
pub mod kept;
#[cfg(not(polyproc_loom))]
pub mod lock;
#[cfg(not(polyproc_loom))]
pub mod lockable;
#[cfg(not(polyproc_loom))]
pub mod permit;
#[cfg(all(feature = "raw-sync", not(polyproc_loom)))]
pub mod pthread;
pub mod raw;
#[cfg(not(polyproc_loom))]
pub mod rlock;
#[cfg(not(polyproc_loom))]
pub mod rwlock;
#[cfg(not(polyproc_loom))]
pub mod rwlock_guard;
#[cfg(not(polyproc_loom))]
pub mod semaphore;
pub mod wait_any;
#[cfg(not(polyproc_loom))]
mod wakes;

#[cfg(not(polyproc_loom))]
pub use barrier::{Barrier, BarrierError, BarrierWait};
#[cfg(not(polyproc_loom))]
pub use checked::{CheckedError, OwnerDied};
#[cfg(not(polyproc_loom))]
pub use condition::{Condition, ConditionError};
#[cfg(not(polyproc_loom))]
pub use event::Event;
#[cfg(not(polyproc_loom))]
pub use lock::{Lock, LockError, LockGuard};
#[cfg(not(polyproc_loom))]
pub use lockable::Lockable;
#[cfg(not(polyproc_loom))]
pub use permit::Permit;
#[cfg(not(polyproc_loom))]
pub use polyproc_shm::{Name, Place, SegmentError, ShmError};
#[cfg(not(polyproc_loom))]
pub use polyproc_sys::Deadline;
#[cfg(not(polyproc_loom))]
pub use rlock::{RLock, RLockGuard};
#[cfg(not(polyproc_loom))]
pub use rwlock::RwLock;
#[cfg(not(polyproc_loom))]
pub use rwlock_guard::{ReadGuard, WriteGuard};
#[cfg(not(polyproc_loom))]
pub use semaphore::{AcquireError, Semaphore, TooManyPermits};
pub use wait_any::{Waitable, wait_any};
