//! Objects of pthread in memory that is shared with programs in C, by the crate `raw_sync`.
//!
//! Not for programs of polyproc alone: [`Lock`](crate::Lock) is faster and survives its holder.
//!
//! # What these cannot do
//! * **A death is not survived.** Who is killed while it holds a [`Lock`], or is inside a call of an [`Event`], leaves it locked
//!   for ever: the mutex is not robust, and could not be made so without the other side's consent.
//! * **No timeouts.** `raw_sync` computes them on the clock that somebody may set, and without carrying nanoseconds over.
//! * No names, no handles in messages: what is shared is the memory, and both sides know the offset.
//!
//! # Layout
//! | object | bytes, at a multiple of 8 |
//! |---|---|
//! | [`Lock`] | a `pthread_mutex_t`, process-shared, of the default type |
//! | [`Event`] | such a mutex; a `pthread_cond_t`, process-shared; a byte: 1 if it resets itself; a byte: 1 if it is set |

mod event;
mod lock;

pub use event::{Event, Reset};
pub use lock::{Lock, LockGuard};

use polyproc_shm::SharedMemory;

/// Why there is no such object, or why a call of it failed.
///
/// ```
/// use polyproc_shm::SharedMemory;
/// use polyproc_sync::pthread::{Lock, PthreadError};
/// let memory = SharedMemory::new(64)?;
/// // SAFETY: nothing else uses these bytes.
/// let error = unsafe { Lock::create(&memory, 60) }.unwrap_err();
/// assert!(matches!(error, PthreadError::NoRoom { offset: 60, .. }));
/// # Ok::<(), polyproc_sync::SegmentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PthreadError {
    /// The object would not lie in the memory, or not at a multiple of 8.
    #[error(
        "{size} bytes at offset {offset} are not in a memory of {len} bytes, or that is no multiple of 8: take another offset"
    )]
    NoRoom {
        /// Where it was to begin.
        offset: u64,
        /// How many bytes it has.
        size: u64,
        /// How many bytes the memory has.
        len: u64,
    },
    /// A call of pthread failed, as `raw_sync` says.
    #[error("{what}; are the bytes at this offset what they should be?")]
    Failed {
        /// What `raw_sync` said.
        what: String,
    },
}

impl PthreadError {
    fn failed(e: impl core::fmt::Display) -> Self {
        Self::Failed { what: e.to_string() }
    }
}

/// The address of `size` bytes at `offset`.
fn place(memory: &SharedMemory, offset: u64, size: usize) -> Result<*mut u8, PthreadError> {
    let (size, len) = (size as u64, memory.len());
    let fits = offset.is_multiple_of(8) && offset.checked_add(size).is_some_and(|end| end <= len);
    let at = usize::try_from(offset).ok().filter(|_| fits);
    at.map(|at| memory.as_ptr().wrapping_add(at)).ok_or(PthreadError::NoRoom { offset, size, len })
}
