//! Announcements: words on which this thread owes or consumes a wake-up, without owning them.

use super::linux::{Node, STATE, Thread, node_of};
use crate::atomic::AtomicU32;

/// While it lives, the kernel knows that this thread owes or consumes a wake-up on a word ([`announce`]).
#[derive(Debug)]
#[must_use = "the announcement ends when this is dropped"]
pub struct Announced {
    thread: Thread,
    node: Node,
    /// What an outer announcement named.
    outer: Node,
}

/// Announces that this thread owes, or is about to consume, a wake-up on `word`: if it dies meanwhile, the kernel wakes
/// another sleeper, provided that the word's TID bits are 0 (a gate), or marks the word if they are this thread's.
///
/// A held lock that was named by the pending slot is linked into the list first. The bytes at `word` are not touched.
///
/// ```
/// use polyproc_sys::{atomic::AtomicU32, robust};
/// let gate = AtomicU32::new(0);
/// let announced = robust::announce(&gate);
/// // … change the state that sleepers wait for, wake one …
/// drop(announced);
/// # assert_eq!(gate.load(polyproc_sys::atomic::Ordering::Relaxed), 0);
/// ```
#[inline]
pub fn announce(word: *const AtomicU32) -> Announced {
    let thread = Thread::current();
    let node = node_of(word.cast());
    STATE.with(|s| {
        let mut outer = core::ptr::null_mut();
        let pending = thread.pending();
        if !pending.is_null() {
            if s.gate.get() {
                outer = pending;
            } else {
                thread.spill();
            }
        }
        s.gate.set(true);
        thread.set_pending(node);
        Announced { thread, node, outer }
    })
}

impl Drop for Announced {
    #[inline]
    fn drop(&mut self) {
        if self.thread.pending() == self.node {
            self.thread.set_pending(self.outer);
            STATE.with(|s| s.gate.set(!self.outer.is_null()));
        }
    }
}

/// While it lives, the kernel knows that this thread owes a wake-up on a word ([`announce_briefly`]).
#[derive(Debug)]
#[must_use = "the announcement ends when this is dropped"]
pub struct Briefly {
    /// The thread's head, and what its pending slot named before.
    before: Option<(Thread, Node)>,
}

/// As [`announce`], for a few instructions that announce nothing else, and async-signal-safe.
///
/// What the pending slot named before, a lock that the thread holds for instance, is not named meanwhile: if the thread
/// dies now, whoever waits for that finds out by itself (at its tick). Where libc has registered no robust list for a
/// thread (musl, a raw `clone`) nothing is announced until the thread has used [`announce`] or a lock.
///
/// ```
/// use polyproc_sys::{atomic::AtomicU32, robust};
/// let gate = AtomicU32::new(0);
/// let announced = robust::announce_briefly(&gate);
/// // … change the state that sleepers wait for, wake them …
/// drop(announced);
/// # assert_eq!(gate.load(polyproc_sys::atomic::Ordering::Relaxed), 0);
/// ```
#[inline]
pub fn announce_briefly(word: *const AtomicU32) -> Briefly {
    let before = Thread::not_entered().map(|thread| {
        let before = thread.pending();
        thread.set_pending(node_of(word.cast()));
        (thread, before)
    });
    Briefly { before }
}

impl Drop for Briefly {
    #[inline]
    fn drop(&mut self) {
        if let Some((thread, before)) = self.before {
            thread.set_pending(before);
        }
    }
}
