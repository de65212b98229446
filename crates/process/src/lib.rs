#![doc = include_str!("../README.md")]

mod boot;
mod builder;
mod callable;
mod child;
mod current;
mod error;
pub mod function;
pub mod items;
mod keeper;
mod process;
mod raw;
mod registry;
mod task;
mod tidy;
mod wire;

#[doc(hidden)]
pub use boot::before_main;
pub use boot::init;
pub use builder::Builder;
pub use callable::Function;
pub use current::{CurrentProcess, current_process};
pub use error::{CallError, NotStarted, ProcessError};
pub use polyproc_shm::{MessageError, ShmError};
pub use polyproc_sys::SysError;
pub use process::Process;
pub use registry::active_children;
