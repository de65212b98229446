//! What can go wrong with a value.

use polyproc_shm::ShmError;

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
}
