#![allow(clippy::disallowed_methods, reason = "this is the crate that talks to the kernel")]
#![doc = include_str!("../README.md")]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("polyproc runs on Linux 5.10 or later, on x86_64 and aarch64");

pub mod asym;
pub mod atomic;
pub mod deadline;
#[cfg(not(polyproc_loom))]
pub mod dir;
#[cfg(not(polyproc_loom))]
pub mod error;
#[cfg(not(polyproc_loom))]
#[doc(hidden)]
pub mod fork;
pub mod futex;
#[cfg(not(polyproc_loom))]
pub mod liveness;
#[cfg(not(polyproc_loom))]
pub mod memory;
#[cfg(not(polyproc_loom))]
pub mod per_process;
#[cfg(not(polyproc_loom))]
pub mod poll;
#[cfg(not(polyproc_loom))]
pub mod process;
pub mod robust;
pub mod spin;

pub use deadline::Deadline;
#[cfg(not(polyproc_loom))]
pub use error::SysError;
