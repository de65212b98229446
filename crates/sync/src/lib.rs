#![doc = include_str!("../README.md")]

#[cfg(not(polyproc_loom))]
pub mod lock;
pub mod raw;

#[cfg(not(polyproc_loom))]
pub use lock::{Lock, LockError, LockGuard, OwnerDied};
