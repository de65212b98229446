#![doc = include_str!("../README.md")]

#[cfg(not(polyproc_loom))]
mod board;
#[cfg(not(polyproc_loom))]
mod contents;
#[cfg(not(polyproc_loom))]
pub mod error;
#[cfg(not(polyproc_loom))]
mod job;
#[cfg(not(polyproc_loom))]
mod make;
#[cfg(not(polyproc_loom))]
mod payload;
#[cfg(not(polyproc_loom))]
mod queue;
pub mod raw;
#[cfg(not(polyproc_loom))]
mod wait_any;

#[cfg(not(polyproc_loom))]
pub use board::{Board, Results};
#[cfg(not(polyproc_loom))]
pub use error::{BoardError, GetError, PutError, QueueError};
#[cfg(not(polyproc_loom))]
pub use job::Job;
#[cfg(not(polyproc_loom))]
pub use polyproc_shm::{Buffer, MessageError, Name, Place, SegmentError, ShmError};
#[cfg(not(polyproc_loom))]
pub use polyproc_sys::Deadline;
#[cfg(not(polyproc_loom))]
pub use queue::Queue;
