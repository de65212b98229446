//! What the kernel does with a word when the thread that announced it dies.
//!
//! Every thread has one robust list head, which libc registers with the kernel. It holds a list of futex words and one
//! extra slot, `list_op_pending`. When the thread ends, in whatever way, the kernel looks at each of these words:
//!
//! | the word's TID bits | what the kernel does |
//! |---|---|
//! | this thread | sets [`DIED`], clears the TID, keeps [`WAITERS`], wakes one sleeper if that was set |
//! | none, and the word is the pending one | wakes one sleeper ("passes the wake-up on") |
//! | another thread | nothing |
//!
//! polyproc never replaces libc's head. A held lock is named by the pending slot alone, which costs one plain store;
//! only when the thread takes a second lock is the first one linked into the list, in libc's own format, so that the
//! list stays whole when libc's robust mutexes are used beside ours.
//!
//! # Layout of a word that can be linked
//! The word itself, at +24 room for the address of the previous node, which libc may write, and at +32 that of the next: 40
//! bytes, the offset that glibc uses ([`NODE_SIZE`]). The addresses mean something to the owner only.
//!
//! # References
//! * [get_robust_list(2)](https://man7.org/linux/man-pages/man2/get_robust_list.2.html)
//! * Documentation/locking/robust-futex-ABI.rst in the kernel's sources

#[cfg(not(polyproc_loom))]
mod announced;
#[cfg(not(polyproc_loom))]
mod fork;
#[cfg(not(polyproc_loom))]
mod life;
#[cfg(not(polyproc_loom))]
mod linux;
#[cfg(not(polyproc_loom))]
mod list;
#[cfg(polyproc_loom)]
mod model;

#[cfg(not(polyproc_loom))]
pub use announced::{Announced, Briefly, announce, announce_briefly};
#[cfg(not(polyproc_loom))]
pub use fork::{forks, generation, on_fork, watch_forks};
#[cfg(not(polyproc_loom))]
pub use life::{end_life, has_room_for_life, keep_for_life};
#[cfg(not(polyproc_loom))]
pub use linux::Thread;
#[cfg(polyproc_loom)]
pub use model::{Announced, Briefly, Thread, announce, announce_briefly};

/// The bits of a word that name its owner: the owner's thread id, 0 if there is none.
pub const TID: u32 = 0x3fff_ffff;
/// The bit of a word that the kernel sets when the owner died.
pub const DIED: u32 = 0x4000_0000;
/// The bit of a word that tells the kernel to wake a sleeper when the owner died.
pub const WAITERS: u32 = 0x8000_0000;
/// Bytes from the start of a word to the end of its list node.
pub const NODE_SIZE: usize = 40;

/// This thread's id, as the kernel writes and reads it in words: `gettid`, asked once a thread.
///
/// ```
/// use polyproc_sys::robust;
/// let other = std::thread::spawn(robust::thread_id).join().unwrap();
/// assert_ne!(robust::thread_id(), other);
/// ```
#[must_use]
#[inline]
pub fn thread_id() -> u32 {
    Thread::current().id()
}
