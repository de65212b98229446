//! The handle of an array; the bytes are [`RawArray`] and [`Elements`](crate::raw::Elements).

use crate::array_guard::ArrayGuard;
use crate::contents;
use crate::error::SCRIBBLED;
use crate::held::Held;
use crate::plain::{Bits, Plain, type_hash, word_of};
use crate::raw::Elements;
use crate::raw::array::{Parts, RawArray};
use bytemuck::Zeroable;
use core::mem::ManuallyDrop;
use core::ops::{Bound, Range, RangeBounds};
use core::time::Duration;
use polyproc_shm::{Family, Kind, Object, ShmError, message};
use polyproc_sync::raw::RawLock;
use polyproc_sync::{LockError, kept};
use polyproc_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// An array of fixed length that the threads and processes of a family share, like `multiprocessing.Array`.
///
/// Each element is always whole, whatever its size: a reader gets it as it was before or after a change and never waits,
/// also while somebody changes it, or died or was stopped in the middle of that. Stores are made one at a time, under the
/// array's lock: [`Array::set`] and [`Array::write`] take it for themselves, the guard of [`Array::lock`] keeps it for
/// as many operations as belong together. Those take effect one by one, and at once: readers need no lock and see them.
///
/// Clones are the same array, and so are the copies that arrive in other processes. The elements are any [`Plain`] type and
/// lie side by side in the family's memory: an element of up to 8 bytes takes the next power of two, a larger one the next
/// multiple of 8. It is freed when the last handle of the last process is gone.
///
/// # When a process dies
/// Each element is old or new. Of several that belong together some may be new: the next guard's
/// [`recovered`](ArrayGuard::recovered) says so, once; `set` and `write` pass that on. The kernel gives the lock to the next
/// one. A panic under a guard undoes nothing.
///
/// # Ordering
/// A reader of a new element sees everything that its writer did before.
///
/// # Panics
/// An index or a range that is out of bounds panics, as with slices.
///
/// # Limits
/// Whoever reads an element of more than 8 bytes while another element of the array changes may have to read it again.
/// One thread holds 128 locks at most, those of arrays included. A process that writes where it should not can make the
/// bytes no `T` at all: such an element reads as the first one was when this handle was made or arrived.
///
/// # Examples
/// ```
/// use polyproc_values::Array;
///
/// let squares = Array::from_slice(&[0_u64, 1, 4])?;
/// let other = squares.clone();
/// std::thread::spawn(move || other.set(2, 40)).join().unwrap();
/// let guard = squares.lock();
/// guard.set(0, guard.get(2) + 2);
/// drop(guard);
/// assert_eq!(squares.to_vec(), [42, 1, 40]);
/// # Ok::<(), polyproc_values::ShmError>(())
/// ```
pub struct Array<T: Plain> {
    /// Released by [`kept::release`].
    object: ManuallyDrop<Arc<Object>>,
    parts: Parts,
    /// An element as it was when the handle was made or arrived: stands in for bytes that are no `T`.
    first: Option<T>,
}

impl<T: Plain> Array<T> {
    const STRIDE: usize = Elements::stride(size_of::<T>());

    /// An array of `len` times `fill`.
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory for it, or this process has not joined it.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::Array::new(3, true)?.to_vec(), [true; 3]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn new(len: usize, fill: T) -> Result<Self, ShmError> {
        Self::build(len, Some(fill), |_| fill)
    }

    /// An array of `len` zeros.
    ///
    /// # Errors
    /// As [`Array::new`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::Array;
    /// assert_eq!(Array::<f64>::zeroed(2)?.to_vec(), [0.0; 2]);
    /// assert!(Array::<u64>::zeroed(usize::MAX).is_err());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self, ShmError>
    where
        T: Zeroable,
    {
        Self::new(len, T::zeroed())
    }

    /// An array with the elements of `slice`.
    ///
    /// # Errors
    /// As [`Array::new`].
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::Array::from_slice(&['a', 'b'])?.len(), 2);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn from_slice(slice: &[T]) -> Result<Self, ShmError> {
        Self::build(slice.len(), slice.first().copied(), |i| slice[i])
    }

    /// An array with the elements that the iterator gives; they are collected first.
    ///
    /// # Errors
    /// As [`Array::new`].
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::Array::from_iter(1..=3)?.to_vec(), [1, 2, 3]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[expect(clippy::should_implement_trait, reason = "the trait's function could not fail")]
    pub fn from_iter(items: impl IntoIterator<Item = T>) -> Result<Self, ShmError> {
        Self::from_slice(&items.into_iter().collect::<Vec<_>>())
    }

    fn build(len: usize, first: Option<T>, get: impl FnMut(usize) -> T) -> Result<Self, ShmError> {
        contents::register_array();
        let family = Family::get()?;
        let bytes = Elements::words(len, Self::STRIDE).and_then(|n| (n as u64).checked_mul(8)).unwrap_or(u64::MAX);
        let data = family.alloc(bytes, Kind::Data)?;
        let object = Object::create(family, size_of::<RawArray>() as u64, Kind::Array)?;
        let raw = RawArray::at(family, object.offset())?.expect("objects are aligned");
        raw.describe(len as u64, type_hash::<T>(), data.into_ref()); // the object's from here on
        let parts = raw.parts(family, Self::STRIDE)?.expect("the array was described just now");
        let this = Self { object: ManuallyDrop::new(Arc::new(object)), parts, first };
        this.store_range(0..len, get);
        Ok(this)
    }

    /// How many elements it has, for ever.
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::new(7, 'x')?.len(), 7);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.parts.len
    }

    /// Whether it has no element.
    ///
    /// ```
    /// assert!(polyproc_values::Array::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `i` of this moment; may be another one by the time you look. Never blocks.
    ///
    /// # Panics
    /// If there is no such element.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::Array::from_slice(&[3_i32, 4])?.get(1), 4);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn get(&self, i: usize) -> T {
        let mut bits = Bits::<T>::new();
        self.elements().load(i, |k, word| bits.put(k, word));
        self.valid(&bits)
    }

    /// Makes `value` element `i`; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// If there is no such element; if this thread holds the lock of this array, or 128 others.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(2, 0_u8)?;
    /// array.set(1, 5);
    /// assert_eq!(array.to_vec(), [0, 5]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn set(&self, i: usize, value: T) {
        let _held = self.briefly();
        self.store(i, value);
    }

    /// Reads the elements one after the other, each as it is at its moment.
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::from_slice(&[3_u16, 4])?.iter().sum::<u16>(), 7);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + ExactSizeIterator + '_ {
        (0..self.len()).map(|i| self.get(i))
    }

    /// A copy of all elements, each as it is at its moment.
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::new(2, 'x')?.to_vec(), ['x', 'x']);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.len());
        self.load_range(0..self.len(), |_, value| all.push(value));
        all
    }

    /// Copies the elements of `range` to `to`, each as it is at its moment. Never blocks.
    ///
    /// # Panics
    /// If there are no such elements, or `to` has another length.
    ///
    /// # Examples
    /// ```
    /// let mut two = [0; 2];
    /// polyproc_values::Array::from_iter(0..10)?.read(4..6, &mut two);
    /// assert_eq!(two, [4, 5]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>, to: &mut [T]) {
        let range = self.range(range, to.len());
        let start = range.start;
        self.load_range(range, |i, value| to[i - start] = value);
    }

    /// Makes the elements of `from` those of `range`, under one hold of the lock, each for itself; sleeps while somebody
    /// else holds it.
    ///
    /// # Panics
    /// If there are no such elements, or `from` has another length; if this thread holds the lock of this array, or 128
    /// others.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(4, 0_u8)?;
    /// array.write(1..=2, &[5, 6]);
    /// assert_eq!(array.to_vec(), [0, 5, 6, 0]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn write(&self, range: impl RangeBounds<usize>, from: &[T]) {
        let range = self.range(range, from.len());
        let _held = self.briefly();
        self.store_slice(range, from);
    }

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

    /// The lock for one operation.
    #[inline]
    #[track_caller]
    fn briefly(&self) -> Held {
        // SAFETY: the lock of an object that `self` keeps while the operation lasts.
        let held = unsafe { Held::briefly(self.raw_lock()) };
        self.elements().repair();
        held
    }

    #[inline]
    fn raw_lock(&self) -> *const RawLock {
        &raw const self.parts.raw.lock
    }

    #[inline]
    fn elements(&self) -> Elements<'_> {
        self.parts.elements(Self::STRIDE)
    }

    #[inline]
    fn valid(&self, bits: &Bits<T>) -> T {
        bits.value().or(self.first).expect("an array that has an element knows one")
    }

    #[inline]
    fn load_range(&self, range: Range<usize>, mut put: impl FnMut(usize, T)) {
        if Self::STRIDE > 8 {
            return range.for_each(|i| put(i, self.get(i)));
        }
        self.elements().load_many(range, |i, word| {
            let mut bits = Bits::<T>::new();
            bits.put(0, word);
            put(i, self.valid(&bits));
        });
    }

    /// Under the lock, or before anybody else knows the array.
    #[inline]
    #[track_caller]
    pub(crate) fn store(&self, i: usize, value: T) {
        self.elements().store(i, |k| word_of(&value, k));
    }

    /// As [`Array::store`].
    fn store_range(&self, range: Range<usize>, mut get: impl FnMut(usize) -> T) {
        if Self::STRIDE > 8 {
            return range.for_each(|i| self.store(i, get(i)));
        }
        self.elements().store_many(range, |i| word_of(&get(i), 0));
    }

    /// As [`Array::store`], for a range as long as the slice.
    pub(crate) fn store_slice(&self, range: Range<usize>, from: &[T]) {
        let start = range.start;
        self.store_range(range, |i| from[i - start]);
    }

    /// The numbers of a range that has `len` elements.
    #[track_caller]
    pub(crate) fn range(&self, range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(&i) => i,
            Bound::Excluded(&i) => i.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&i) => i.saturating_add(1),
            Bound::Excluded(&i) => i,
            Bound::Unbounded => self.len(),
        };
        let there = self.len();
        assert!(start <= end && end <= there, "range {start}..{end} is out of bounds: there are {there} elements");
        assert!(end - start == len, "range {start}..{end} and a slice of {len} elements have different lengths");
        start..end
    }
}

impl<T: Plain> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        kept::release(unsafe { ManuallyDrop::take(&mut self.object) });
    }
}

impl<T: Plain> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { object: ManuallyDrop::clone(&self.object), parts: self.parts, first: self.first }
    }
}

impl<T: Plain> core::fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Array").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T: Plain> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        contents::register_array();
        let object = message::deserialize_handle(Kind::Array, size_of::<RawArray>() as u64, deserializer)?;
        let scribbled = || message::refuse_handle::<Self, _>(SCRIBBLED);
        let raw = RawArray::at(object.family(), object.offset()).ok().flatten().ok_or_else(scribbled)?;
        if raw.kind() != type_hash::<T>() {
            return Err(message::refuse_handle::<Self, _>("the array holds elements of another type"));
        }
        let parts = raw.parts(object.family(), Self::STRIDE).ok().flatten().ok_or_else(scribbled)?;
        let mut arrived = Self { object: ManuallyDrop::new(object), parts, first: None };
        let mut bits = Bits::<T>::new();
        let valid = (0..arrived.len()).find_map(|i| {
            arrived.elements().load(i, |k, word| bits.put(k, word));
            bits.value()
        });
        if valid.is_none() && !arrived.is_empty() {
            return Err(scribbled());
        }
        arrived.first = valid;
        Ok(arrived)
    }
}
