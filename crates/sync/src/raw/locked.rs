//! What comes of asking for a lock.

/// How a lock was got.
///
/// ```
/// use polyproc_sync::raw::{RawLock, lock::Locked};
/// let lock = RawLock::new();
/// // SAFETY: a lock of this frame.
/// let how = unsafe { RawLock::try_lock(&raw const lock) }.unwrap();
/// assert_eq!(how, Locked { recovered: false });
/// # // SAFETY: as above.
/// # unsafe { RawLock::unlock(&raw const lock, false) };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The previous holder died, or gave the lock up unrepaired: what the lock protects may be half changed.
    pub recovered: bool,
}

/// Why a lock was not got.
///
/// ```
/// use polyproc_sync::raw::{RawLock, lock::NotLocked};
/// let lock = RawLock::new();
/// // SAFETY: a lock of this frame.
/// unsafe { RawLock::try_lock(&raw const lock) }.unwrap();
/// // SAFETY: as above.
/// assert_eq!(unsafe { RawLock::try_lock(&raw const lock) }, Err(NotLocked::Mine));
/// # // SAFETY: as above.
/// # unsafe { RawLock::unlock(&raw const lock, false) };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLocked {
    /// Somebody else holds it, and the deadline came.
    TimedOut,
    /// This very thread holds it: waiting would last for ever.
    Mine,
    /// The [`Watch`] gave up.
    GivenUp,
}

/// Looks on while a thread sleeps for a lock. It is made when the thread finds the lock taken, and dropped when the wait ends.
#[doc(hidden)]
pub trait Watch {
    /// Called at each tick of the sleep, while the thread announces nothing that it does not hold; `true` ends the wait.
    fn tick(&mut self) -> bool;
}

/// Nobody looks on.
impl Watch for () {
    fn tick(&mut self) -> bool {
        false
    }
}
