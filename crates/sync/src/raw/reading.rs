//! What a reader of an [`rwlock`](super::rwlock) has, and what a writer waits for.

use super::lock::{Locked, NotLocked, RawLock, Watch};
use polyproc_sys::Deadline;
use polyproc_sys::robust::{Announced, Thread};

/// In place of a cell: the reader holds `writer`.
pub(super) const ALONE: usize = usize::MAX;

/// Whom a writer waits for.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Whoever holds the inner lock.
    Holder,
    /// The readers.
    Readers,
}

/// A read lock that this thread has: what to give it back with.
///
/// ```
/// use polyproc_sync::raw::{RawRwLock, rwlock::Who};
/// let lock = <RawRwLock>::new();
/// // SAFETY: a lock of this frame.
/// let reading = unsafe { RawRwLock::read(&raw const lock, Some(1), |_| Who::Other, polyproc_sys::Deadline::PAST) }.unwrap();
/// assert!(!reading.recovered);
/// # // SAFETY: as above.
/// # unsafe { RawRwLock::unlock_read(&raw const lock, reading) };
/// ```
#[derive(Debug)]
#[must_use = "the lock is read-locked until this is given to `unlock_read`, or the thread ends"]
pub struct Reading {
    /// A writer died, and nobody has repaired since: what the lock protects may be half changed.
    pub recovered: bool,
    pub(super) at: usize,
    /// W5 of the lock. Dropped behind the ring.
    _announced: Option<Announced>,
}

impl Reading {
    #[inline]
    pub(super) fn new(at: usize, recovered: bool, announced: Option<Announced>) -> Self {
        Self { recovered, at, _announced: announced }
    }
}

/// Takes the inner lock.
///
/// # Safety
/// * As for [`RawLock::lock`].
pub(super) unsafe fn lock_writer<W: Watch>(
    writer: *const RawLock,
    deadline: Deadline,
    watch: impl FnOnce() -> W,
) -> Result<Locked, NotLocked> {
    let me = Thread::current();
    // SAFETY: the caller's duty is the same, and `lock_or` has announced it.
    let contended = || unsafe { RawLock::lock_contended(me, writer, deadline, watch()) };
    // SAFETY: the caller's duty is the same.
    unsafe { RawLock::lock_or(me, writer, contended) }
}

/// X3 of the lock: what SeqCst accesses do, where a model takes them for less.
#[inline]
pub(super) fn total_order() {
    #[cfg(polyproc_loom)]
    polyproc_sys::atomic::fence(polyproc_sys::atomic::Ordering::SeqCst);
}
