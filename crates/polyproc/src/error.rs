//! One error for programs that use several parts.

use polyproc_pool::{PoolError, TaskError};
use polyproc_process::ProcessError;
use polyproc_queue::{GetError, PutError, QueueError};
use polyproc_shm::{MessageError, SegmentError, ShmError};
use polyproc_sync::{AcquireError, BarrierError, CheckedError, ConditionError, LockError, TooManyPermits};
use polyproc_values::{ClaimError, CutError, PyListError, TooLong, ValueError};

/// Anything that can go wrong in polyproc, for programs that only pass it on with `?`.
///
/// Each operation has a narrower error of its own. An item that could not be put is dropped when its error becomes one of
/// these: take it out before if you need it.
///
/// ```
/// fn f() -> polyproc::Result<()> {
///     polyproc::Queue::<u8>::bounded(0)?;
///     Ok(())
/// }
/// assert_eq!(f().unwrap_err().to_string(), "a queue of capacity 0 cannot be made: ask for 1 to 16777216 items");
/// ```
/// Its `Debug` is its text as well, since that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The family's memory.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// Shared memory, or what has a name.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A value that could not be encoded or decoded.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A lock that was not got, of a value or an array, too.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The last holder of a lock died; the guard that came with this was dropped, and the next one is told again.
    #[error("the last holder of a lock died: repair what it protects where it is locked, then call make_consistent")]
    OwnerDied,
    /// A condition that nobody could wait for.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// A barrier that was not passed, or not made.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// A value that was not made.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// An array that was not cut into chunks.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// A chunk of an array that was not claimed.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// An item that was not stored in a list.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// A list of CPython's.
    #[error(transparent)]
    PyList(#[from] PyListError),
    /// A permit of a semaphore that was not got.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// A permit too many that was not released.
    #[error(transparent)]
    Release(#[from] TooManyPermits),
    /// A queue that was not made.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// An item that was not put.
    #[error("an item was not put: {0}")]
    Put(String),
    /// An item that was not got.
    #[error(transparent)]
    Get(#[from] GetError),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A task.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// The result of a program that passes errors on with `?`.
///
/// ```
/// fn f() -> polyproc::Result<usize> {
///     Ok(polyproc::Queue::<u8>::bounded(4)?.capacity())
/// }
/// assert_eq!(f().unwrap(), 4);
/// ```
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl core::fmt::Debug for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl<G> From<CheckedError<G>> for Error {
    fn from(e: CheckedError<G>) -> Self {
        match e {
            CheckedError::OwnerDied(_) => Self::OwnerDied,
            CheckedError::NotLocked(e) => Self::Lock(e),
        }
    }
}

impl<T> From<PutError<T>> for Error {
    fn from(e: PutError<T>) -> Self {
        Self::Put(e.to_string())
    }
}
