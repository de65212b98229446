//! The bytes of a value: a lock for its writers, two copies of it, and the word that says which of them counts.
//!
//! The protocol of the copies and the selector, with what becomes of it when a process dies, is in `copies.rs`; the
//! selector's label is a number for the type of the value.

use super::copies::{Copies, LABEL_SHIFT};
use polyproc_sync::raw::RawLock;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};

/// The bytes of a value: 48, and two copies of its words behind them. Zeroed bytes are the value of zeros, and a free lock.
///
/// Place one in a segment that several processes map, as the low-level alternative to `Value`: as
/// `RawValue<[AtomicU64; 2 * N]>` for a value of N words, or at an address with [`RawValue::at`]. Whatever the bytes are,
/// no operation is undefined: words that somebody scribbled over are read as they are.
///
/// ```
/// use polyproc_sync::raw::RawLock;
/// use polyproc_sys::{Deadline, atomic::AtomicU64};
/// use polyproc_values::raw::RawValue;
///
/// let place: RawValue<[AtomicU64; 4]> = RawValue::new(); // on the stack: for threads of this process
/// let value: &RawValue = &place;
/// // SAFETY: `place` lives until the end, and nothing else uses its bytes.
/// unsafe { RawLock::lock(value.lock(), Deadline::NEVER) }.unwrap();
/// value.write(|i| [7, 8][i]);
/// // SAFETY: as above; this thread holds it.
/// unsafe { RawLock::unlock(value.lock(), false) };
///
/// let mut words = [0; 2];
/// value.read(|i, word| words[i] = word);
/// assert_eq!(words, [7, 8]);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct RawValue<W: ?Sized = [AtomicU64]> {
    lock: RawLock,
    /// See `copies.rs`.
    selector: AtomicU64,
    /// Copy 0, then copy 1.
    copies: W,
}

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(
    size_of::<RawValue<[AtomicU64; 2]>>() == 64
        && core::mem::offset_of!(RawValue<[AtomicU64; 2]>, lock) == 0
        && RawValue::size(1) == 64
);

impl<const N: usize> RawValue<[AtomicU64; N]> {
    /// A value of `N / 2` words, all zero, and a free lock.
    ///
    /// ```
    /// use polyproc_values::raw::RawValue;
    /// let value: RawValue<[_; 2]> = RawValue::new();
    /// assert_eq!(value.label(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        const { assert!(N.is_multiple_of(2), "two copies need an even number of words") };
        Self { lock: RawLock::new(), selector: AtomicU64::new(0), copies: core::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl<const N: usize> Default for RawValue<[AtomicU64; N]> {
    fn default() -> Self {
        Self::new()
    }
}

impl RawValue {
    /// How many bytes a value of `words` words takes in a segment.
    ///
    /// ```
    /// assert_eq!(polyproc_values::raw::RawValue::size(2), 80);
    /// ```
    #[must_use]
    pub const fn size(words: usize) -> usize {
        48 + 16 * words
    }

    /// The address as that of a value of `words` words, with [`RawValue::size`] bytes.
    ///
    /// Whoever makes a reference of it vouches that so many bytes are mapped while he uses it, aligned to 8, and that the
    /// first 40 are only ever used for locks.
    ///
    /// ```
    /// use polyproc_values::raw::RawValue;
    /// let mut place = [0_u64; 10];
    /// let value = RawValue::at(place.as_mut_ptr().cast(), 2);
    /// // SAFETY: 80 aligned bytes of this frame, zeroed.
    /// let value = unsafe { &*value };
    /// value.read(|_, word| assert_eq!(word, 0));
    /// ```
    #[must_use]
    #[inline]
    pub const fn at(place: *const u8, words: usize) -> *const Self {
        core::ptr::slice_from_raw_parts(place.cast::<AtomicU64>(), 2 * words) as *const Self
    }

    /// The lock that a writer holds.
    ///
    /// ```
    /// use polyproc_values::raw::RawValue;
    /// let value: RawValue<[_; 2]> = RawValue::new();
    /// let value: &RawValue = &value;
    /// // SAFETY: a lock of this frame.
    /// assert_eq!(unsafe { &*value.lock() }.owner(), None);
    /// ```
    #[must_use]
    #[inline]
    pub const fn lock(&self) -> *const RawLock {
        &raw const self.lock
    }

    /// Writes the first value, and the label that stands for its type; before anybody else knows the value.
    ///
    /// ```
    /// use polyproc_values::raw::RawValue;
    /// let value: RawValue<[_; 2]> = RawValue::new();
    /// (&value as &RawValue).describe(7, |_| 1);
    /// assert_eq!(value.label(), 7);
    /// ```
    pub fn describe(&self, label: u16, get: impl FnMut(usize) -> u64) {
        self.selector.store(u64::from(label) << LABEL_SHIFT, Relaxed);
        self.write(get);
    }

    /// Makes the words that `get` gives, by their numbers, the new value.
    ///
    /// For the holder of the lock alone: if two write at once, readers may get words of both.
    ///
    /// ```
    /// use polyproc_values::raw::RawValue;
    /// let value: RawValue<[_; 2]> = RawValue::new(); // nobody else knows it: no need for the lock
    /// let value: &RawValue = &value;
    /// value.write(|_| 5);
    /// value.read(|_, word| assert_eq!(word, 5));
    /// ```
    #[inline]
    pub fn write(&self, get: impl FnMut(usize) -> u64) {
        Copies::new(&self.selector, &self.copies).write(usize::MAX, get);
    }

    /// Reads the value: hands its words, by their numbers, to `put`. If a writer publishes another value meanwhile, it
    /// does so again from the first on: what was put last is whole.
    ///
    /// ```
    /// use polyproc_values::raw::RawValue;
    /// let value: RawValue<[_; 4]> = RawValue::new();
    /// let mut words = vec![];
    /// (&value as &RawValue).read(|i, word| words.push((i, word)));
    /// assert_eq!(words, [(0, 0), (1, 0)]);
    /// ```
    #[inline]
    pub fn read(&self, mut put: impl FnMut(usize, u64)) {
        Copies::new(&self.selector, &self.copies)
            .read(|words| words.iter().enumerate().for_each(|(i, word)| put(i, word.load(Relaxed))));
    }

    /// As `read`; where somebody changes the value all the time, `stop` holds the writers up.
    #[inline]
    pub(crate) fn read_or_stop<G>(&self, stop: impl FnOnce() -> Option<G>, mut put: impl FnMut(usize, u64)) {
        Copies::new(&self.selector, &self.copies)
            .read_or_stop(stop, |words| words.iter().enumerate().for_each(|(i, word)| put(i, word.load(Relaxed))));
    }
}

impl<W: ?Sized> RawValue<W> {
    /// The number for the type of the value, as [`RawValue::describe`] was told.
    ///
    /// ```
    /// use polyproc_values::raw::RawValue;
    /// assert_eq!(RawValue::<[_; 2]>::new().label(), 0);
    /// ```
    #[must_use]
    pub fn label(&self) -> u16 {
        (self.selector.load(Relaxed) >> LABEL_SHIFT) as u16
    }
}
