//! The guard of an array's lock.

use crate::array::Array;
use crate::held::Held;
use crate::plain::Plain;
use core::ops::RangeBounds;

/// Holds the lock of an [`Array`] until it is dropped: while it does, nobody else stores.
///
/// Its stores cost less than the array's own, which take the lock each. They take effect at once; dropping the guard, by a
/// panic or not, only gives the lock up.
///
/// It stays on the thread that took the lock:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let array = polyproc_values::Array::new(1, 1).unwrap();
/// send(array.lock());
/// ```
#[must_use = "the lock is given up as soon as the guard is dropped"]
pub struct ArrayGuard<'a, T: Plain> {
    array: &'a Array<T>,
    held: Held<'a>,
}

impl<'a, T: Plain> ArrayGuard<'a, T> {
    #[inline]
    pub(crate) fn new(array: &'a Array<T>, held: Held<'a>) -> Self {
        Self { array, held }
    }

    /// Whether the previous holder died while it held the lock: each element is whole, but of several that belong together
    /// some may have been changed and others not.
    ///
    /// ```
    /// assert!(!polyproc_values::Array::new(1, 1)?.lock().recovered());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.held.recovered
    }

    /// As [`Array::len`].
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::new(7, 1)?.lock().len(), 7);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// As [`Array::is_empty`].
    ///
    /// ```
    /// assert!(!polyproc_values::Array::new(7, 1)?.lock().is_empty());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// Element `i`.
    ///
    /// # Panics
    /// If there is no such element.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::Array::new(7, 1)?.lock().get(6), 1);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn get(&self, i: usize) -> T {
        self.array.get(i)
    }

    /// Makes `value` element `i`.
    ///
    /// # Panics
    /// If there is no such element, or in a forked child that inherited the guard: it does not hold the lock.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(2, 1)?;
    /// array.lock().set(0, 5);
    /// assert_eq!(array.get(0), 5);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn set(&self, i: usize, value: T) {
        self.held.assert_mine();
        self.array.store(&self.held, i, value);
    }

    /// Changes element `i`, and returns what `f` does. If `f` panics, the element stays as it was.
    ///
    /// # Panics
    /// As [`ArrayGuard::set`].
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(2, 1)?;
    /// array.lock().update(0, |n| *n += 4);
    /// assert_eq!(array.get(0), 5);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn update<R>(&self, i: usize, f: impl FnOnce(&mut T) -> R) -> R {
        self.held.assert_mine();
        self.array.change(&self.held, i, f)
    }

    /// Exchanges elements `i` and `j`, one store after the other: a reader may see the same element at both places, and so
    /// may the next holder if this one is killed in between.
    ///
    /// # Panics
    /// As [`ArrayGuard::set`].
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::from_iter(0..3)?;
    /// array.lock().swap(0, 2);
    /// assert_eq!(array.to_vec(), [2, 1, 0]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn swap(&self, i: usize, j: usize) {
        let (a, b) = (self.get(i), self.get(j));
        self.set(i, b);
        self.set(j, a);
    }

    /// Makes `value` every element of `range`, each for itself.
    ///
    /// # Panics
    /// As [`ArrayGuard::set`].
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(3, 1)?;
    /// array.lock().fill(1.., 5);
    /// assert_eq!(array.to_vec(), [1, 5, 5]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn fill(&self, range: impl RangeBounds<usize>, value: T) {
        let range = self.array.range(range);
        self.held.assert_mine();
        Array::<T>::store_range(&self.array.elements_of(&self.held), range, |_| value);
    }

    /// Reads the elements one after the other.
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::new(7, 1)?.lock().iter().sum::<i32>(), 7);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + ExactSizeIterator + '_ {
        self.array.iter()
    }

    /// A copy of all elements as they are together.
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::new(2, 1)?.lock().to_vec(), [1, 1]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.array.to_vec()
    }

    /// Copies the elements of `range` to `to`.
    ///
    /// # Panics
    /// If there are no such elements, or `to` has another length.
    ///
    /// # Examples
    /// ```
    /// let mut two = [0; 2];
    /// polyproc_values::Array::from_iter(0..10)?.lock().read(..2, &mut two);
    /// assert_eq!(two, [0, 1]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>, to: &mut [T]) {
        self.array.read(range, to);
    }

    /// Makes the elements of `from` those of `range`, each for itself.
    ///
    /// # Panics
    /// As [`ArrayGuard::set`], and if `from` has another length than the range.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(2, 1)?;
    /// array.lock().write(.., &[5, 6]);
    /// assert_eq!(array.to_vec(), [5, 6]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn write(&self, range: impl RangeBounds<usize>, from: &[T]) {
        let range = self.array.range_of(range, from.len());
        self.held.assert_mine();
        self.array.store_slice(&self.array.elements_of(&self.held), range, from);
    }
}

impl<T: Plain> core::fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ArrayGuard")
            .field("len", &self.len())
            .field("recovered", &self.recovered())
            .finish_non_exhaustive()
    }
}
