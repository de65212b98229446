//! What can go wrong with a value.

use polyproc_shm::{SegmentError, ShmError};

/// What a handle says whose object makes no sense.
pub(crate) const SCRIBBLED: &str = "it was written over by a process that writes where it should not";

/// Why a value was not made.
///
/// ```
/// use polyproc_values::{Value, ValueError};
/// let error = Value::new([0_u8; 20_000]).unwrap_err();
/// assert!(matches!(error, ValueError::TooLarge { size: 20_000 }));
/// assert_eq!(error.to_string(), "a value of 20000 bytes is too large: 16296 at most, put it into an Array");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A value has at most 16296 bytes: put larger things into an [`Array`](crate::Array).
    #[error("a value of {size} bytes is too large: 16296 at most, put it into an Array")]
    TooLarge {
        /// The bytes of the type.
        size: usize,
    },
    /// The family has no memory left, or this process has not joined it.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// The name is taken, or there is none; or it cannot be used.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// Why an array was not cut into chunks.
///
/// ```
/// use polyproc_values::{Array, CutError};
/// let array = Array::new(10, 0_u8)?;
/// array.chunks(5).unwrap();
/// let error = array.chunks(2).unwrap_err();
/// assert!(matches!(error, CutError::CutBefore { have: 5, want: 2 }));
/// # Ok::<(), polyproc_values::ShmError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// It is cut into chunks of another size.
    #[error("the array was cut into chunks of {have} elements, not of {want}: take those, or make another array")]
    CutBefore {
        /// The elements of a chunk.
        have: usize,
        /// What was asked for.
        want: usize,
    },
    /// What the array says of its chunks makes no sense.
    #[error("the array says nonsense of its chunks: it was written over by a process that writes where it should not")]
    Damaged,
    /// The family has no memory left.
    #[error(transparent)]
    Shm(#[from] ShmError),
}

/// Why a chunk of an array was not claimed.
///
/// ```
/// use polyproc_values::{Array, ClaimError};
/// let chunks = Array::new(10, 0_u8)?.chunks(5).unwrap();
/// let _mine = chunks.claim(1).unwrap();
/// let error = std::thread::scope(|s| s.spawn(|| chunks.claim(1).unwrap_err()).join().unwrap());
/// assert!(matches!(error, ClaimError::Claimed { chunk: 1 }));
/// # Ok::<(), polyproc_values::ShmError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another thread has it, and is alive.
    #[error("chunk {chunk} is claimed by another thread: claim another one, or this one later")]
    Claimed {
        /// The number of the chunk.
        chunk: usize,
    },
    /// The calling thread has it.
    #[error("this thread has claimed chunk {chunk} already: use that guard, or drop it first")]
    Mine {
        /// The number of the chunk.
        chunk: usize,
    },
    /// The family knows as many living threads as it can.
    #[error(transparent)]
    Shm(#[from] ShmError),
}

/// Why an item was not stored in a list.
///
/// ```
/// use polyproc_values::{ShareableList, TooLong};
/// let error = ShareableList::new(["ant"])?.set(0, "elephant's").unwrap_err();
/// assert_eq!(error, TooLong { index: 0, len: 10, room: 8 });
/// assert_eq!(error.to_string(), "an item of 10 bytes is too long for slot 0: it has room for 8, \
///     make the list with a longer item there");
/// # Ok::<(), polyproc_values::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an item of {len} bytes is too long for slot {index}: it has room for {room}, make the list with a longer item there"
)]
pub struct TooLong {
    /// The number of the slot.
    pub index: usize,
    /// The bytes of the item.
    pub len: usize,
    /// The bytes that it may have.
    pub room: usize,
}
