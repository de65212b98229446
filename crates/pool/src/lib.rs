#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batch;
mod crew;
mod desk;
mod error;
mod pool;
mod result;
mod worker;

pub use error::{PoolError, TaskError};
pub use polyproc_process::{ProcessError, init, init_for_tests};
pub use polyproc_queue::{BoardError, QueueError};
pub use polyproc_shm::MessageError;
pub use pool::{Builder, Pool};
pub use result::{AsyncResult, ImapUnordered};
