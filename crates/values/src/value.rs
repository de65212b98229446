//! The handle of a value; the bytes are [`RawValue`].

use crate::bound;
use crate::error::{SCRIBBLED, ValueError};
use crate::held::Held;
use crate::plain::{Bits, Plain, word_of, words};
use crate::raw::RawValue;
use crate::value_guard::ValueGuard;
use core::mem::ManuallyDrop;
use core::time::Duration;
use polyproc_shm::{Family, Kind, Object, ShmError, message, type_hash};
use polyproc_sync::lock::raw_of;
use polyproc_sync::raw::RawLock;
use polyproc_sync::{Lock, LockError, LockGuard, kept};
use polyproc_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A value that the threads and processes of a family share, like `multiprocessing.Value`.
///
/// It is always whole: a reader gets the value as it was before or after a change, never half of it, and never waits, also
/// while somebody changes it, or died or was stopped in the middle of that. Changes are made one at a time, under a lock
/// of its own: with [`Value::set`], [`Value::update`], or through the guard of [`Value::lock`], which works on a private
/// copy that becomes the value when the guard is dropped. Integers have the operations of std's atomics, too, from
/// [`Value::fetch_add`] on. With [`Value::with_lock`] several values share one lock.
///
/// Clones are the same value, and so are the copies that arrive in other processes. 64 bytes of shared memory for a number,
/// no file descriptor. The type is any [`Plain`] one of at most 16296 bytes.
///
/// # When a process dies
/// A change that was published is there, any other never was. The kernel gives the lock to the next one; nothing needs to
/// be repaired, and [`ValueGuard::recovered`] is for those who want to know. A panic under a guard drops the change.
///
/// # Ordering
/// A reader of a new value sees everything that its writer did before.
///
/// # Limits
/// A reader that a writer overtakes reads again. One thread holds 128 locks at most, those of values included. A process
/// that writes where it should not can make the bytes no `T` at all: then `get` returns the value with which this handle
/// was made or arrived, until somebody sets another one.
///
/// # Examples
/// ```
/// use polyproc_values::Value;
///
/// let hits = Value::new(0_u64)?;
/// *hits.lock() += 1;
/// hits.update(|n| *n += 1);
/// let other = hits.clone();
/// std::thread::spawn(move || other.set(other.get() + 40)).join().unwrap();
/// assert_eq!(hits.get(), 42);
/// # Ok::<(), polyproc_values::ValueError>(())
/// ```
///
/// What contains an address cannot be shared, since it means nothing in another process:
///
/// ```compile_fail,E0277
/// let name = polyproc_values::Value::new(String::from("x")); // `String` cannot lie in shared memory
/// ```
/// ```compile_fail,E0277
/// static ONE: u64 = 1;
/// let reference = polyproc_values::Value::new(&ONE); // nor can `&u64`
/// ```
pub struct Value<T: Plain> {
    /// Released by [`kept::release`].
    object: ManuallyDrop<Arc<Object>>,
    /// In place of its own.
    lock: Option<Lock>,
    /// The value with which the handle was made or arrived: stands in for bytes that are no `T`.
    first: T,
}

/// The words of the largest value: two copies of it and the rest of [`RawValue`] fit into the largest block.
const MOST: usize = (32640 - RawValue::size(0)) / 16;

impl<T: Plain> Value<T> {
    /// A new value.
    ///
    /// # Errors
    /// [`ValueError::TooLarge`]; [`ValueError::Shm`] if the family has no memory left, or this process has not joined it.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::Value::new('x')?.get(), 'x');
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    pub fn new(value: T) -> Result<Self, ValueError> {
        Self::build(value, None)
    }

    /// A new value whose lock is `lock`, as `Value('i', lock=lock)` in Python: all that are bound to one lock, and whoever
    /// holds it, exclude each other. A handle that travels takes its lock along. To change several of them together, take
    /// the lock, and see [`Value::locked_by`].
    ///
    /// # Errors
    /// As [`Value::new`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Lock;
    /// use polyproc_values::Value;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = Lock::new()?;
    /// let (here, there) = (Value::with_lock(10, &lock)?, Value::with_lock(0, &lock)?);
    /// let guard = here.lock();
    /// assert!(there.try_lock().is_none() && lock.try_lock().is_none());
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_lock(value: T, lock: &Lock) -> Result<Self, ValueError> {
        Self::build(value, Some(lock.clone()))
    }

    fn build(value: T, lock: Option<Lock>) -> Result<Self, ValueError> {
        check_size::<T>()?;
        let object = make(Family::get()?, value, lock.as_ref())?;
        Ok(Self::of(Arc::new(object), lock, value))
    }

    pub(crate) fn of(object: Arc<Object>, lock: Option<Lock>, first: T) -> Self {
        Self { object: ManuallyDrop::new(object), lock, first }
    }

    /// The lock that the value was bound to by [`Value::with_lock`], if it was.
    ///
    /// ```
    /// assert!(polyproc_values::Value::new(1)?.get_lock().is_none()); // it has one of its own
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[must_use]
    pub fn get_lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// The value of this moment; may be another one by the time you look. Never blocks.
    ///
    /// ```
    /// let value = polyproc_values::Value::new((1.5_f64, 2.5_f64).0)?;
    /// let guard = value.lock();
    /// assert_eq!(value.get(), 1.5); // the lock is for writers
    /// # drop(guard);
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn get(&self) -> T {
        // SAFETY: the lock of an object that `self` keeps meanwhile.
        let stop = || unsafe { Held::stop(self.lock_bytes()) };
        read(self.raw(), stop).unwrap_or(self.first)
    }

    /// Makes `value` the value; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// If this thread holds the lock of this value, or 128 others.
    ///
    /// # Examples
    /// ```
    /// let value = polyproc_values::Value::new(1_u8)?;
    /// value.set(2);
    /// assert_eq!(value.get(), 2);
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn set(&self, value: T) {
        let _held = self.briefly();
        self.raw().write(|i| word_of(&value, i));
    }

    /// Changes the value under its lock, and returns what `f` does; sleeps while somebody else holds the lock. If `f`
    /// panics, the value stays as it was.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let ticket = polyproc_values::Value::new(7_u32)?;
    /// let mine = ticket.update(|next| {
    ///     *next += 1;
    ///     *next - 1
    /// });
    /// assert_eq!((mine, ticket.get()), (7, 8));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn update<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let held = self.briefly();
        let mut copy = self.get();
        let result = f(&mut copy); // a panic does not come back from it
        if held.is_mine() {
            self.raw().write(|i| word_of(&copy, i));
        } // else `f` has forked, and this is the child
        result
    }

    /// Takes the lock; sleeps until it is free. The guard is a private copy of the value.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let pair = polyproc_values::Value::new([1_u64, 2])?;
    /// let mut guard = pair.lock();
    /// guard[0] = 10;
    /// guard[1] = 20;
    /// assert_eq!(pair.get(), [1, 2]); // nothing is half done
    /// drop(guard);
    /// assert_eq!(pair.get(), [10, 20]);
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> ValueGuard<'_, T> {
        match self.lock_deadline(Deadline::NEVER) {
            Ok(guard) => guard,
            Err(e) => panic!("{e}"),
        }
    }

    /// Takes the lock if nobody holds it.
    ///
    /// ```
    /// let value = polyproc_values::Value::new(1)?;
    /// let guard = value.try_lock().expect("nobody holds it");
    /// assert!(value.try_lock().is_none());
    /// # drop(guard);
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Option<ValueGuard<'_, T>> {
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
    /// let value = polyproc_values::Value::new(1)?;
    /// assert!(value.lock_timeout(Duration::from_secs(1)).is_ok());
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ValueGuard<'_, T>, LockError> {
        self.lock_deadline(Deadline::after(timeout))
    }

    /// Takes the lock; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// As [`Value::lock_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::Deadline;
    /// let value = polyproc_values::Value::new(1)?;
    /// assert_eq!(*value.lock_deadline(Deadline::NEVER).unwrap(), 1);
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    pub fn lock_deadline(&self, deadline: Deadline) -> Result<ValueGuard<'_, T>, LockError> {
        // SAFETY: the lock of an object that `self` keeps, and the guard `self`.
        let held = unsafe { Held::lock(self.lock_bytes(), deadline) }?;
        Ok(ValueGuard::new(self, held))
    }

    /// The guard of a value that is bound to a lock, for whoever holds that: to change several values together. Its copy
    /// becomes the value when it is dropped; the lock is given up with `guard`.
    ///
    /// # Panics
    /// If `guard` is not that of the lock that the value was bound to, or was inherited by fork.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Lock;
    /// use polyproc_values::Value;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = Lock::new()?;
    /// let (here, there) = (Value::with_lock(10, &lock)?, Value::with_lock(0, &lock)?);
    /// let mut guard = lock.lock();
    /// *here.locked_by(&mut guard) -= 3;
    /// *there.locked_by(&mut guard) += 3; // nobody else has changed either in between
    /// drop(guard);
    /// assert_eq!((here.get(), there.get()), (7, 3));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn locked_by<'a>(&'a self, guard: &'a mut LockGuard<'_>) -> ValueGuard<'a, T> {
        ValueGuard::new(self, Held::lent(self.lock.as_ref(), guard))
    }

    /// The lock for one operation.
    #[inline]
    #[track_caller]
    pub(crate) fn briefly(&self) -> Held<'_> {
        // SAFETY: the lock of an object that `self` keeps while the operation lasts.
        unsafe { Held::briefly(self.lock_bytes()) }
    }

    #[inline]
    fn lock_bytes(&self) -> *const RawLock {
        match &self.lock {
            None => self.raw().lock(),
            Some(lock) => raw_of(lock),
        }
    }

    #[inline]
    pub(crate) fn raw(&self) -> &RawValue {
        raw::<T>(&self.object)
    }
}

/// The bytes of an object that was made, or has arrived, as a value of type `T`.
#[inline]
fn raw<T: Plain>(object: &Object) -> &RawValue {
    // SAFETY: the object has `size::<T>()` bytes at least, aligned, mapped for ever and kept; every field is an atomic.
    unsafe { &*RawValue::at(object.as_ptr(), words::<T>()) }
}

/// The value, if its bytes are one; `stop` as for [`RawValue::read_or_stop`].
#[inline]
fn read<T: Plain, G>(raw: &RawValue, stop: impl FnOnce() -> Option<G>) -> Option<T> {
    let mut bits = Bits::<T>::new();
    raw.read_or_stop(stop, |i, word| bits.put(i, word));
    bits.value()
}

pub(crate) fn check_size<T>() -> Result<(), ValueError> {
    if words::<T>() > MOST { Err(ValueError::TooLarge { size: size_of::<T>() }) } else { Ok(()) }
}

/// A fresh object with `value` in it; the lock in fresh memory of this kind is zero: free.
pub(crate) fn make<T: Plain>(family: &'static Family, value: T, lock: Option<&Lock>) -> Result<Object, ShmError> {
    let object = Object::create(family, size::<T>(), Kind::Value)?;
    raw::<T>(&object).describe(label::<T>(lock), |i| word_of(&value, i));
    Ok(object)
}

/// The value in an object that came from elsewhere; `None` if it is of another type, or was damaged.
pub(crate) fn first<T: Plain>(object: &Object, lock: Option<&Lock>) -> Option<T> {
    let raw = raw::<T>(object);
    if raw.label() == label::<T>(lock) { read(raw, || Some(())) } else { None }
}

pub(crate) fn size<T>() -> u64 {
    RawValue::size(words::<T>()) as u64
}

/// A number for the type of a value and the lock that it is bound to.
fn label<T: 'static>(lock: Option<&Lock>) -> u16 {
    u16::try_from((type_hash::<T>() ^ bound::hash(lock)) >> 48).expect("16 bits are left")
}

impl<T: Plain> Drop for Value<T> {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: its first bytes are a lock.
        unsafe { kept::release(object) };
    }
}

impl<T: Plain> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self { object: ManuallyDrop::clone(&self.object), lock: self.lock.clone(), first: self.first }
    }
}

impl<T: Plain + core::fmt::Debug> core::fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Value").field(&self.get()).finish()
    }
}

impl<T: Plain> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bound::serialize(&self.object, self.lock.as_ref(), serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (object, lock) = bound::deserialize(Kind::Value, size::<T>(), deserializer)?;
        let raw = raw::<T>(&object);
        if raw.label() != label::<T>(lock.as_ref()) {
            return Err(message::refuse_handle::<Self, _>("the value is of another type"));
        }
        let first = read(raw, || Some(())).ok_or_else(|| message::refuse_handle::<Self, _>(SCRIBBLED))?;
        Ok(Self { object: ManuallyDrop::new(object), lock, first })
    }
}
