//! The handle of an array; the bytes are [`RawArray`] and [`Elements`](crate::raw::Elements).

use crate::held::Held;
use crate::plain::{Bits, Plain, word_of};
use crate::range;
use crate::raw::Elements;
use crate::raw::array::{Parts, RawArray};
use bytemuck::Zeroable;
use core::mem::ManuallyDrop;
use core::ops::{Range, RangeBounds};
use polyproc_shm::{Family, Object, ShmError};
use polyproc_sync::{Lock, kept};
use polyproc_sys::atomic::Ordering::Acquire;
use std::sync::Arc;

/// An array of fixed length that the threads and processes of a family share, like `multiprocessing.Array`.
///
/// Each element is always whole, whatever its size: a reader gets it as it was before or after a change and never waits,
/// also while somebody changes it, or died or was stopped in the middle of that. Stores are made one at a time, under the
/// array's lock: [`Array::set`] and [`Array::write`] take it for themselves, the guard of [`Array::lock`] keeps it for
/// as many operations as belong together. Those take effect one by one, and at once: readers need no lock and see them.
/// With [`Array::with_lock`] several arrays and values share one lock; with [`Array::chunks`] several writers store to
/// parts of their own at the same time, without it.
///
/// Clones are the same array, and so are the copies that arrive in other processes. The elements are any [`Plain`] type and
/// lie side by side in the family's memory: an element of up to 8 bytes takes the next power of two, a larger one the next
/// multiple of 8. It is freed when the last handle of the last process is gone.
///
/// # When a process dies
/// Each element is old or new. Of several that belong together some may be new: the next guard's
/// [`recovered`](crate::ArrayGuard::recovered) says so, once; `set` and `write` pass that on. The kernel gives the lock to
/// the next one. A panic under a guard undoes nothing.
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
///
/// What contains an address cannot be shared, nor can arrays of what has bytes that are no value:
///
/// ```compile_fail,E0277
/// let names = polyproc_values::Array::new(3, String::new()); // `String` cannot lie in shared memory as its bytes
/// ```
/// ```compile_fail,E0277
/// let lists = polyproc_values::Array::new(3, Vec::<u8>::new()); // nor can `Vec<u8>`: use an Array of bytes, or a Queue
/// ```
/// ```compile_fail,E0277
/// let flags = polyproc_values::Array::new(3, [true; 8]); // nor `[bool; 8]`: use `u8`
/// ```
/// ```compile_fail,E0277
/// struct Pair(u32, u32); // lacks bytemuck's derives
/// let pairs = polyproc_values::Array::new(3, Pair(1, 2));
/// ```
pub struct Array<T: Plain> {
    /// Released by [`kept::release`].
    object: ManuallyDrop<Arc<Object>>,
    /// In place of its own.
    lock: Option<Lock>,
    parts: Parts,
    /// An element as it was when the handle was made or arrived: stands in for bytes that are no `T`.
    first: Option<T>,
}

impl<T: Plain> Array<T> {
    pub(crate) const STRIDE: usize = Elements::stride(size_of::<T>());

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
        Self::build(len, None, Some(fill), |_| fill)
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
        Self::build(slice.len(), None, slice.first().copied(), |i| slice[i])
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

    /// An array of `len` times `fill` whose lock is `lock`, as `Array('d', 10, lock=lock)` in Python: see
    /// [`Value::with_lock`](crate::Value::with_lock).
    ///
    /// # Errors
    /// As [`Array::new`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Lock;
    /// use polyproc_values::Array;
    /// let lock = Lock::new()?;
    /// let (here, there) = (Array::with_lock(3, 0_u8, &lock)?, Array::with_lock(3, 0_u8, &lock)?);
    /// let guard = here.lock();
    /// assert!(there.try_lock().is_none() && lock.try_lock().is_none());
    /// # drop(guard);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn with_lock(len: usize, fill: T, lock: &Lock) -> Result<Self, ShmError> {
        Self::build(len, Some(lock.clone()), Some(fill), |_| fill)
    }

    fn build(len: usize, lock: Option<Lock>, first: Option<T>, get: impl FnMut(usize) -> T) -> Result<Self, ShmError> {
        let family = Family::get()?;
        let object = Self::make(family, len, lock.as_ref(), get)?;
        let parts = RawArray::made(family, object.offset(), len, Self::STRIDE)?;
        Ok(Self::of(Arc::new(object), lock, parts, first))
    }

    pub(crate) fn of(object: Arc<Object>, lock: Option<Lock>, parts: Parts, first: Option<T>) -> Self {
        Self { object: ManuallyDrop::new(object), lock, parts, first }
    }

    /// The lock that the array was bound to by [`Array::with_lock`], if it was.
    ///
    /// ```
    /// assert!(polyproc_values::Array::new(3, 0)?.get_lock().is_none()); // it has one of its own
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn get_lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
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
        // SAFETY: the lock of an object that `self` keeps meanwhile.
        let stop = || unsafe { Held::stop(self.raw_lock()) };
        self.elements().load_or_stop(i, stop, |k, word| bits.put(k, word));
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
        let held = self.briefly();
        self.store(&held, i, value);
    }

    /// Changes element `i` under the lock, and returns what `f` does; sleeps while somebody else holds the lock. If `f`
    /// panics, the element stays as it was.
    ///
    /// # Panics
    /// As [`Array::set`].
    ///
    /// # Examples
    /// ```
    /// let hits = polyproc_values::Array::new(2, 7_u32)?;
    /// hits.update(1, |n| *n += 1);
    /// assert_eq!(hits.to_vec(), [7, 8]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn update<R>(&self, i: usize, f: impl FnOnce(&mut T) -> R) -> R {
        let held = self.briefly();
        self.change(&held, i, f)
    }

    /// Makes `value` every element of `range`, under one hold of the lock, each for itself; sleeps while somebody else
    /// holds it.
    ///
    /// # Panics
    /// If there are no such elements; if this thread holds the lock of this array, or 128 others.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(4, 0_u8)?;
    /// array.fill(1..3, 7);
    /// assert_eq!(array.to_vec(), [0, 7, 7, 0]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn fill(&self, range: impl RangeBounds<usize>, value: T) {
        let range = self.range(range);
        let held = self.briefly();
        Self::store_range(&self.elements_of(&held), range, |_| value);
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
        let range = self.range_of(range, to.len());
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
        let range = self.range_of(range, from.len());
        let held = self.briefly();
        self.store_slice(&self.elements_of(&held), range, from);
    }

    pub(crate) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    #[inline]
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    #[inline]
    pub(crate) fn elements(&self) -> Elements<'static> {
        self.parts.elements(Self::STRIDE)
    }

    /// The elements as the holder of the lock stores them: beside the owners of chunks, if there are any.
    #[inline]
    pub(crate) fn elements_of(&self, _: &Held<'_>) -> Elements<'static> {
        let elements = self.elements();
        if self.parts.raw.cut() == 0 { elements } else { elements.alone(0..0) }
    }

    #[inline]
    fn valid(&self, bits: &Bits<T>) -> T {
        bits.value().or(self.first).expect("an array that has an element knows one")
    }

    #[inline]
    pub(crate) fn load_range(&self, range: Range<usize>, mut put: impl FnMut(usize, T)) {
        if Self::STRIDE > 8 {
            return range.for_each(|i| put(i, self.get(i)));
        }
        let mut one = |i: usize, word: u64| {
            let mut bits = Bits::<T>::new();
            bits.put(0, word);
            put(i, self.valid(&bits));
        };
        let elements = self.elements();
        let (head, words, tail) = elements.whole_words(range);
        elements.load_many(head.clone(), &mut one);
        let per = 8 / Self::STRIDE; // a constant: the inner loop has no branches
        for (k, word) in words.iter().enumerate() {
            let word = word.load(Acquire); // pairs with the stores of `Elements`
            for j in 0..per {
                one(head.end + k * per + j, word >> (j * Self::STRIDE * 8));
            }
        }
        elements.load_many(tail, one);
    }

    #[inline]
    #[track_caller]
    pub(crate) fn store(&self, held: &Held<'_>, i: usize, value: T) {
        self.elements_of(held).store(i, |k| word_of(&value, k));
    }

    #[inline]
    #[track_caller]
    pub(crate) fn change<R>(&self, held: &Held<'_>, i: usize, f: impl FnOnce(&mut T) -> R) -> R {
        let mut copy = self.get(i);
        let result = f(&mut copy); // a panic does not come back from it
        if held.is_mine() {
            self.store(held, i, copy);
        } // else `f` has forked, and this is the child
        result
    }

    /// By who may store to these elements.
    #[inline]
    pub(crate) fn store_range(to: &Elements<'_>, range: Range<usize>, mut get: impl FnMut(usize) -> T) {
        if Self::STRIDE > 8 {
            return range.for_each(|i| {
                let value = get(i);
                to.store(i, |k| word_of(&value, k));
            });
        }
        to.store_many(range, |i| word_of(&get(i), 0));
    }

    /// As [`Array::store_range`], for a range as long as the slice.
    #[inline]
    pub(crate) fn store_slice(&self, to: &Elements<'_>, range: Range<usize>, from: &[T]) {
        if Self::STRIDE <= 8 && size_of::<T>() == Self::STRIDE {
            return to.store_bytes(range.start, bytemuck::cast_slice(from));
        }
        let start = range.start;
        Self::store_range(to, range, |i| from[i - start]);
    }

    /// The numbers of a range.
    #[track_caller]
    pub(crate) fn range(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        range::checked(&range, self.len())
    }

    /// The numbers of a range that has `len` elements.
    #[track_caller]
    pub(crate) fn range_of(&self, range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
        let range = self.range(range);
        assert!(range.len() == len, "range {range:?} and a slice of {len} elements have different lengths");
        range
    }
}

impl<T: Plain> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: its first bytes are a lock.
        unsafe { kept::release(object) };
    }
}

impl<T: Plain> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self {
            object: ManuallyDrop::clone(&self.object),
            lock: self.lock.clone(),
            parts: self.parts,
            first: self.first,
        }
    }
}

impl<T: Plain> core::fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Array").field("len", &self.len()).finish_non_exhaustive()
    }
}
