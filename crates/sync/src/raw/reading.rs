//! What a reader of an [`rwlock`](super::rwlock) has, and what a writer waits for.

use polyproc_sys::robust::Announced;

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
