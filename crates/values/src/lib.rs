#![doc = include_str!("../README.md")]

#[cfg(not(polyproc_loom))]
mod array;
#[cfg(not(polyproc_loom))]
mod array_guard;
#[cfg(not(polyproc_loom))]
mod array_lock;
#[cfg(not(polyproc_loom))]
mod array_message;
#[cfg(not(polyproc_loom))]
mod array_object;
#[cfg(not(polyproc_loom))]
mod bound;
#[cfg(not(polyproc_loom))]
mod chunks;
#[cfg(not(polyproc_loom))]
mod contents;
#[cfg(not(polyproc_loom))]
mod error;
#[cfg(not(polyproc_loom))]
mod fetch;
#[cfg(not(polyproc_loom))]
mod held;
#[cfg(not(polyproc_loom))]
mod item;
#[cfg(not(polyproc_loom))]
mod list;
#[cfg(not(polyproc_loom))]
mod named;
#[cfg(not(polyproc_loom))]
mod plain;
#[cfg(not(polyproc_loom))]
mod py_list;
#[cfg(not(polyproc_loom))]
mod range;
pub mod raw;
#[cfg(not(polyproc_loom))]
mod value;
#[cfg(not(polyproc_loom))]
mod value_guard;

#[cfg(not(polyproc_loom))]
pub use array::Array;
#[cfg(not(polyproc_loom))]
pub use array_guard::ArrayGuard;
#[cfg(not(polyproc_loom))]
pub use chunks::{ChunkGuard, Chunks};
#[cfg(not(polyproc_loom))]
pub use error::{ClaimError, CutError, TooLong, ValueError};
#[cfg(not(polyproc_loom))]
pub use fetch::{Integer, Logic};
#[cfg(not(polyproc_loom))]
pub use item::Item;
#[cfg(not(polyproc_loom))]
pub use list::ShareableList;
#[cfg(not(polyproc_loom))]
pub use plain::Plain;
#[cfg(not(polyproc_loom))]
pub use polyproc_shm::{Name, Place, SegmentError, ShmError};
#[cfg(not(polyproc_loom))]
pub use polyproc_sync::LockError;
#[cfg(not(polyproc_loom))]
pub use polyproc_sys::Deadline;
#[cfg(not(polyproc_loom))]
pub use py_list::{PyList, PyListError, Region};
#[cfg(not(polyproc_loom))]
pub use value::Value;
#[cfg(not(polyproc_loom))]
pub use value_guard::ValueGuard;
