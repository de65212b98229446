//! What the checked forms of locking say instead of handing out a guard.

use crate::lock::LockError;

/// Why [`Lock::lock_checked`](crate::Lock::lock_checked), and the checked forms of [`RLock`](crate::RLock) and
/// [`RwLock`](crate::RwLock), returned no guard `G`, or one with a warning.
///
/// ```
/// use polyproc_sync::{CheckedError, Lock};
/// let lock = Lock::new()?;
/// let guard = match lock.lock_checked() {
///     Ok(guard) => guard,
///     Err(CheckedError::OwnerDied(died)) => {
///         // … look at what the lock protects, repair it …
///         died.make_consistent()
///     }
///     Err(CheckedError::NotLocked(e)) => panic!("{e}"), // a deadlock, for example
/// };
/// assert!(!guard.recovered());
/// # drop(guard);
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum CheckedError<G> {
    /// The lock is held, and its previous holder died: what it protects may be half changed.
    #[error(
        "the lock's last holder died: repair what it protects, then call make_consistent (a reader drops this first and locks by write_checked)"
    )]
    OwnerDied(OwnerDied<G>),
    /// The lock is not held. Never [`LockError::TimedOut`].
    #[error(transparent)]
    NotLocked(#[from] LockError),
}

impl<G> CheckedError<G> {
    /// The death that was told, if it was that.
    ///
    /// ```
    /// use polyproc_sync::Lock;
    /// let lock = Lock::new()?;
    /// let _held = lock.lock();
    /// assert!(lock.lock_checked().unwrap_err().owner_died().is_none()); // this thread holds it
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn owner_died(self) -> Option<OwnerDied<G>> {
        match self {
            Self::OwnerDied(died) => Some(died),
            Self::NotLocked(_) => None,
        }
    }
}

/// The previous holder of a lock, or a writer, died: the lock is held all the same, by the guard `G`.
///
/// For examples see [`CheckedError`].
#[must_use = "the lock is held until this is dropped"]
pub struct OwnerDied<G>(pub(crate) G);

impl<G> core::fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OwnerDied(repair what the lock protects, then call make_consistent)")
    }
}
