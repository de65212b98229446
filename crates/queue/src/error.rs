//! What can go wrong with a queue; whoever puts gets his item back.

use polyproc_shm::{MessageError, SegmentError, ShmError};

/// What a handle says whose object makes no sense.
pub(crate) const SCRIBBLED: &str = "it was written over by a process that writes where it should not";

/// Why an item was not put; the item is in it.
///
/// ```
/// use polyproc_queue::{PutError, Queue};
/// let q = Queue::bounded(1)?;
/// q.put("first".to_owned())?;
/// match q.try_put("second".to_owned()) {
///     Err(PutError::Full(item)) => assert_eq!(item, "second"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue is full; it may have room again by the time you look.
    #[error("the queue is full")]
    Full(T),
    /// The time is up and the queue is still full.
    #[error("the queue is full and the time is up")]
    TimedOut(T),
    /// The item could not be encoded, or there is no memory for it.
    #[error("{source}")]
    Message {
        /// The item.
        item: T,
        /// Why.
        source: MessageError,
    },
    /// The queue's bytes contradict each other: some process wrote over them.
    #[error("the queue was scribbled over by a process that writes where it should not")]
    Broken(T),
}

impl<T> PutError<T> {
    /// The item that was not put.
    ///
    /// ```
    /// assert_eq!(polyproc_queue::PutError::Full(7).into_item(), 7);
    /// ```
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::TimedOut(item) | Self::Message { item, .. } | Self::Broken(item) => item,
        }
    }

    /// Whether it only was a matter of time: the queue was full.
    ///
    /// ```
    /// assert!(polyproc_queue::PutError::Full(7).is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_) | Self::TimedOut(_))
    }
}

impl<T> core::fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::TimedOut(_) => f.write_str("TimedOut(..)"),
            Self::Message { source, .. } => f.debug_struct("Message").field("source", source).finish_non_exhaustive(),
            Self::Broken(_) => f.write_str("Broken(..)"),
        }
    }
}

/// Why there is no item.
///
/// ```
/// use polyproc_queue::{GetError, Queue};
/// let q = Queue::<u32>::bounded(1)?;
/// assert!(matches!(q.try_get(), Err(GetError::Empty)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is empty, or its next item is being put right now.
    #[error("the queue is empty")]
    Empty,
    /// The time is up and the queue is still empty.
    #[error("the queue is empty and the time is up")]
    TimedOut,
    /// An item was taken, but its bytes are no value of the queue's type, or a handle in it is gone.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The queue's bytes contradict each other: some process wrote over them.
    #[error("the queue was scribbled over by a process that writes where it should not")]
    Broken,
}

/// Why a queue, or a board, was not made.
///
/// ```
/// use polyproc_queue::{Queue, QueueError};
/// assert!(matches!(Queue::<u8>::bounded(0), Err(QueueError::Capacity(0))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A queue holds at least one item and at most 2^24.
    #[error("a queue of capacity {0} cannot be made: ask for 1 to 16777216 items")]
    Capacity(usize),
    /// A board has at least one cell and at most 65,536.
    #[error("a board of {0} cells cannot be made: ask for 1 to 65536")]
    Cells(usize),
    /// The family has no memory left, or this process has not joined it.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// The name is taken, or there is none; or it cannot be used.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// What can go wrong with a task board.
///
/// ```
/// use polyproc_queue::BoardError;
/// assert!(BoardError::TooLarge.to_string().contains("4 GiB"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// The family has no memory left, or this thread cannot join it.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// The results of one task exceed 4 GiB: give it fewer items.
    #[error("the results of one task exceed 4 GiB: give it fewer items")]
    TooLarge,
    /// The board's bytes contradict each other: some process wrote over them.
    #[error("the task board was scribbled over by a process that writes where it should not")]
    Broken,
}
