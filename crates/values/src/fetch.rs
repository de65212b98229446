//! The operations of std's atomics on values: read, change, write, in one.
//!
//! They take the value's lock. A lock-free one would change the word in place, and a guard works on a private copy that
//! replaces the value as a whole: the two could exclude each other only if the lock's state and the value lay in one
//! word, and all 64 bits of an integer are its own. A change that falls between a guard's copy and its publication would
//! be lost without a word, or the guard's would.

use crate::plain::{Plain, word_of};
use crate::value::Value;
use core::ops::{BitAnd, BitOr, BitXor};

mod sealed {
    pub trait Sealed {}
}

/// The types whose values have `fetch_and`, `fetch_or` and `fetch_xor`: the integers and `bool`.
///
/// ```
/// fn clear<T: polyproc_values::Logic>(flags: &polyproc_values::Value<T>, none: T) -> T {
///     flags.fetch_and(none)
/// }
/// assert!(clear(&polyproc_values::Value::new(true)?, false));
/// # Ok::<(), polyproc_values::ValueError>(())
/// ```
pub trait Logic: Plain + sealed::Sealed + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> {}

/// The types whose values have `fetch_add` and the like: the integers.
///
/// ```
/// fn count<T: polyproc_values::Integer + From<u8>>(hits: &polyproc_values::Value<T>) -> T {
///     hits.fetch_add(T::from(1))
/// }
/// assert_eq!(count(&polyproc_values::Value::new(7_u32)?), 7);
/// # Ok::<(), polyproc_values::ValueError>(())
/// ```
pub trait Integer: Logic + Ord {
    #[doc(hidden)]
    fn plus(self, other: Self) -> Self;
    #[doc(hidden)]
    fn minus(self, other: Self) -> Self;
}

impl sealed::Sealed for bool {}
impl Logic for bool {}

macro_rules! integers {
    ($($t:ty)*) => { $(
        impl sealed::Sealed for $t {}
        impl Logic for $t {}
        impl Integer for $t {
            #[inline]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    )* };
}
integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl<T: Plain> Value<T> {
    /// Changes the value to what `f` makes of it; returns what it was.
    #[inline]
    #[track_caller]
    fn fetch(&self, f: impl FnOnce(T) -> T) -> T {
        let _held = self.briefly();
        let old = self.get();
        let new = f(old);
        self.raw().write(|i| word_of(&new, i));
        old
    }

    /// Makes `value` the value, and returns what it was; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let value = polyproc_values::Value::new('a')?;
    /// assert_eq!((value.swap('b'), value.get()), ('a', 'b'));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn swap(&self, value: T) -> T {
        self.fetch(|_| value)
    }
}

impl<T: Plain + PartialEq> Value<T> {
    /// Makes `new` the value if it is `current`; returns what it was. Sleeps while somebody else holds the lock, but not
    /// if the value is another one.
    ///
    /// # Errors
    /// The value, if it is not `current` as `==` says; then it stays.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let value = polyproc_values::Value::new(1_u8)?;
    /// assert_eq!(value.compare_exchange(1, 2), Ok(1));
    /// assert_eq!(value.compare_exchange(1, 3), Err(2));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        let now = self.get();
        if now != current {
            return Err(now);
        }
        let held = self.briefly();
        let now = self.get();
        if now != current {
            return Err(now);
        }
        if held.is_mine() {
            self.raw().write(|i| word_of(&new, i));
        } // else the comparison has forked, and this is the child
        Ok(now)
    }
}

impl<T: Logic> Value<T> {
    /// Ands `other` to the value bit by bit, and returns what it was; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let flags = polyproc_values::Value::new(0b110_u8)?;
    /// assert_eq!((flags.fetch_and(0b011), flags.get()), (0b110, 0b010));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn fetch_and(&self, other: T) -> T {
        self.fetch(|old| old & other)
    }

    /// Ors `other` to the value bit by bit, and returns what it was; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let seen = polyproc_values::Value::new(false)?;
    /// assert_eq!((seen.fetch_or(true), seen.get()), (false, true));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn fetch_or(&self, other: T) -> T {
        self.fetch(|old| old | other)
    }

    /// Xors `other` to the value bit by bit, and returns what it was; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let flags = polyproc_values::Value::new(0b110_i64)?;
    /// assert_eq!((flags.fetch_xor(0b011), flags.get()), (0b110, 0b101));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn fetch_xor(&self, other: T) -> T {
        self.fetch(|old| old ^ other)
    }
}

impl<T: Integer> Value<T> {
    /// Adds `n` to the value and returns what it was; sleeps while somebody else holds the lock. Wraps around at the ends of
    /// the type, as std's atomics do.
    ///
    /// A process that is killed in it has added `n` or has not.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let hits = polyproc_values::Value::new(7_u64)?;
    /// assert_eq!((hits.fetch_add(1), hits.get()), (7, 8));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn fetch_add(&self, n: T) -> T {
        self.fetch(|old| old.plus(n))
    }

    /// Subtracts `n` from the value and returns what it was; as [`Value::fetch_add`].
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let left = polyproc_values::Value::new(0_u8)?;
    /// assert_eq!((left.fetch_sub(1), left.get()), (0, 255));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn fetch_sub(&self, n: T) -> T {
        self.fetch(|old| old.minus(n))
    }

    /// Makes `other` the value if it is larger, and returns what it was; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let best = polyproc_values::Value::new(-5_i32)?;
    /// assert_eq!((best.fetch_max(3), best.fetch_max(1), best.get()), (-5, 3, 3));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn fetch_max(&self, other: T) -> T {
        self.fetch(|old| old.max(other))
    }

    /// Makes `other` the value if it is smaller, and returns what it was; sleeps while somebody else holds the lock.
    ///
    /// # Panics
    /// As [`Value::set`].
    ///
    /// # Examples
    /// ```
    /// let best = polyproc_values::Value::new(5_u16)?;
    /// assert_eq!((best.fetch_min(3), best.fetch_min(4), best.get()), (5, 3, 3));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn fetch_min(&self, other: T) -> T {
        self.fetch(|old| old.min(other))
    }
}
