//! Processes that are this program again: starting them, waiting for them, and their end when the parent is gone.
//!
//! A child is a fresh start of `/proc/self/exe`: the same inode as this process runs, also when the file was replaced
//! or removed since, so that code addresses relative to the image mean the same in both. What such a child needs is
//! here: [`spawn_self`] and [`Child`] for the parent, [`Lifeline`] for both, [`boot`] for the child's first moments,
//! [`image`] for the addresses.
//!
//! # What a child inherits
//! | what | how |
//! |---|---|
//! | arguments, working directory, standard streams, process group | as this process has them |
//! | environment | this process's, with the given variables added |
//! | file descriptors | those without CLOEXEC, and those that [`spawn_self`] names |
//! | signal mask | empty, whatever the spawning thread blocks |
//! | ignored signals | stay ignored, except SIGCHLD, which a child needs to wait for children of its own |
//!
//! The process group is the parent's: Ctrl-C at the terminal reaches the children directly.

pub mod boot;
mod child;
pub mod image;
mod lifeline;
mod spawn;

pub use child::{Child, Ended};
pub use lifeline::{Fate, Lifeline};
pub use spawn::spawn_self;

/// Asks a process to end: `SIGTERM`.
pub const SIGTERM: i32 = libc::SIGTERM;
/// Ends a process: `SIGKILL`.
pub const SIGKILL: i32 = libc::SIGKILL;

/// The id of the process that started this one, as it is now: another one once the parent is gone.
///
/// ```
/// assert_eq!(polyproc_sys::process::parent_id(), std::os::unix::process::parent_id());
/// ```
#[must_use]
pub fn parent_id() -> u32 {
    std::os::unix::process::parent_id()
}
