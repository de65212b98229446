//! The ways to the lock of an array: its own, or the one that it was bound to.

use crate::array::Array;
use crate::array_guard::ArrayGuard;
use crate::held::Held;
use crate::plain::Plain;
use core::time::Duration;
use polyproc_sync::lock::raw_of;
use polyproc_sync::raw::RawLock;
use polyproc_sync::{LockError, LockGuard};
use polyproc_sys::Deadline;

impl<T: Plain> Array<T> {
    /// Takes the lock; sleeps until it is free.
    ///
    /// # Panics
    /// If this thread holds the lock already, or 128 others.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(2, 10)?;
    /// let guard = array.lock();
    /// guard.set(0, guard.get(0) - 1); // from one account to the other
    /// guard.set(1, guard.get(1) + 1);
    /// # drop(guard);
    /// # assert_eq!(array.to_vec(), [9, 11]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> ArrayGuard<'_, T> {
        match self.lock_deadline(Deadline::NEVER) {
            Ok(guard) => guard,
            Err(e) => panic!("{e}"),
        }
    }

    /// Takes the lock if nobody holds it.
    ///
    /// ```
    /// let array = polyproc_values::Array::new(2, 0)?;
    /// let guard = array.try_lock().expect("nobody holds it");
    /// assert!(array.try_lock().is_none());
    /// # drop(guard);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<ArrayGuard<'_, T>> {
        self.lock_deadline(Deadline::PAST).ok()
    }

    /// Takes the lock; sleeps for `timeout` at most, [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], and [`LockError::Mine`] at once if this thread holds it.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let array = polyproc_values::Array::new(2, 0)?;
    /// assert!(array.lock_timeout(Duration::from_secs(1)).is_ok());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>, LockError> {
        self.lock_deadline(Deadline::after(timeout))
    }

    /// Takes the lock; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// As [`Array::lock_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::Deadline;
    /// let array = polyproc_values::Array::new(2, 0)?;
    /// assert!(array.lock_deadline(Deadline::NEVER).is_ok());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    pub fn lock_deadline(&self, deadline: Deadline) -> Result<ArrayGuard<'_, T>, LockError> {
        // SAFETY: the lock of an object that `self` keeps, and the guard `self`.
        let held = unsafe { Held::lock(self.raw_lock(), deadline) }?;
        self.elements().repair();
        Ok(ArrayGuard::new(self, held))
    }

    /// The guard of an array that is bound to a lock, for whoever holds that: to change several arrays and values together.
    /// The lock is given up with `guard`.
    ///
    /// # Panics
    /// If `guard` is not that of the lock that the array was bound to, or was inherited by fork.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Lock;
    /// use polyproc_values::{Array, Value};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = Lock::new()?;
    /// let (items, sum) = (Array::with_lock(3, 0_u64, &lock)?, Value::with_lock(0_u64, &lock)?);
    /// let mut guard = lock.lock();
    /// items.locked_by(&mut guard).set(1, 7);
    /// *sum.locked_by(&mut guard) += 7;
    /// drop(guard);
    /// assert_eq!((items.get(1), sum.get()), (7, 7));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn locked_by<'a>(&'a self, guard: &'a mut LockGuard<'_>) -> ArrayGuard<'a, T> {
        let held = Held::lent(self.get_lock(), guard);
        self.elements().repair();
        ArrayGuard::new(self, held)
    }

    /// The lock for one operation.
    #[inline]
    #[track_caller]
    pub(crate) fn briefly(&self) -> Held<'_> {
        // SAFETY: the lock of an object that `self` keeps while the operation lasts.
        let held = unsafe { Held::briefly(self.raw_lock()) };
        self.elements().repair();
        held
    }

    #[inline]
    pub(crate) fn raw_lock(&self) -> *const RawLock {
        match self.get_lock() {
            None => &raw const self.parts().raw.lock,
            Some(lock) => raw_of(lock),
        }
    }
}
