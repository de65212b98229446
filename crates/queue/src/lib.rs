#![doc = include_str!("../README.md")]

#[cfg(not(polyproc_loom))]
mod board;
#[cfg(not(polyproc_loom))]
pub mod error;
#[cfg(not(polyproc_loom))]
mod queue;
pub mod raw;

#[cfg(not(polyproc_loom))]
pub use board::{Board, Job, Results};
#[cfg(not(polyproc_loom))]
pub use error::{BoardError, GetError, PutError, QueueError};
#[cfg(not(polyproc_loom))]
pub use queue::Queue;
