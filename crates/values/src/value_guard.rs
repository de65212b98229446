//! The guard of a value's lock: a private copy of the value.

use crate::held::Held;
use crate::plain::{Plain, word_of};
use crate::value::Value;
use core::ops::{Deref, DerefMut};

/// Holds the lock of a [`Value`], with a private copy of it: what was changed in the copy becomes the value when the guard
/// is dropped, all at once; nothing does if it is dropped by a panic that began under it. (Two panics cannot be told apart: in
/// a destructor that runs because of one, use [`Value::update`] for what may panic itself.)
///
/// It stays on the thread that took the lock:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let value = polyproc_values::Value::new(1).unwrap();
/// send(value.lock());
/// ```
#[must_use = "the lock is given up as soon as the guard is dropped"]
pub struct ValueGuard<'a, T: Plain> {
    value: &'a Value<T>,
    copy: T,
    changed: bool,
    /// Given up after the copy was written.
    held: Held<'a>,
}

impl<'a, T: Plain> ValueGuard<'a, T> {
    #[inline]
    pub(crate) fn new(value: &'a Value<T>, held: Held<'a>) -> Self {
        Self { value, copy: value.get(), changed: false, held }
    }

    /// Whether the previous holder died while it held the lock. The value is whole all the same: what the dead one had not
    /// published never was.
    ///
    /// ```
    /// assert!(!polyproc_values::Value::new(1)?.lock().recovered());
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.held.recovered
    }
}

impl<T: Plain> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T: Plain> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.copy
    }
}

impl<T: Plain> Drop for ValueGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A copy of the guard in a forked child does not hold the lock.
        if self.changed && self.held.is_mine() && !self.held.is_unwinding() {
            self.value.raw().write(|i| word_of(&self.copy, i));
        }
    }
}

impl<T: Plain + core::fmt::Debug> core::fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ValueGuard").field("value", &self.copy).field("recovered", &self.recovered()).finish()
    }
}
