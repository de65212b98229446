//! The bytes of a value: a lock for its writers, two copies of it, and the word that says which of them counts.
//!
//! # State
//! | `selector`, bits | name | meaning | left by |
//! |---|---|---|---|
//! | 0..48 | version | copy `version % 2` is the value; the other one is anything | the lock's holder: + 1 |
//! | 48..64 | label | a number for the type of the value | never |
//!
//! # Transitions
//! ```text
//! write    (holder) the other copy = new value, word by word; version += 1: from here on it is the value
//! read     version; the words of its copy; version again: if it is the same, the words are whole, else once more
//! ```
//!
//! # Invariants
//! V1. Only the lock's holder writes, and only to the copy that is not the value.
//! V2. A copy that becomes the value was written as a whole by the holder of that moment: a dead one's leavings in it are
//!     written over.
//! V3. A copy is written over only after the version has moved on from it: whoever finds the version unchanged behind
//!     the words has read them before that.
//!
//! # Memory ordering
//! R1. The release store of the version pairs with the acquire load in `read`: a reader of the new value sees its words, and
//!     what the writer did before.
//! R2. The release fence before the words are written pairs with the acquire fence after they are read: a reader that met
//!     one word of a newer value sees the version that made its copy the other one (V3), by this thread or, through the
//!     lock, by an earlier holder.
//!
//! # If a process dies
//! A writer before the store of the version: the old value counts. After it: the new one. In both cases the kernel frees the
//! lock ([`RawLock`]). A reader leaves nothing. Readers look at no lock: nobody's death or stop holds them up; only a writer
//! that publishes in the middle of a read makes it begin again.
//!
//! # Sources
//! Lamport's two copies with a version. Why not a seqlock: its readers wait for a writer that died, and find half a value.

use polyproc_sync::raw::RawLock;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

const LABEL_SHIFT: u32 = 48;
const VERSION: u64 = (1 << LABEL_SHIFT) - 1;

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
    /// See `# State`.
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
    pub fn write(&self, mut get: impl FnMut(usize) -> u64) {
        let selector = self.selector.load(Relaxed); // nobody else writes it (V1)
        let next = (selector & !VERSION) | (selector.wrapping_add(1) & VERSION);
        fence(Release); // SYNC(R2)
        for (i, word) in self.copy(next).iter().enumerate() {
            word.store(get(i), Relaxed); // V2: all of them
        }
        self.selector.store(next, Release); // SYNC(R1)
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
        loop {
            let before = self.selector.load(Acquire); // SYNC(R1)
            for (i, word) in self.copy(before).iter().enumerate() {
                put(i, word.load(Relaxed));
            }
            fence(Acquire); // SYNC(R2)
            if self.selector.load(Relaxed) == before {
                return; // V3
            }
            core::hint::spin_loop();
        }
    }

    #[inline]
    fn copy(&self, selector: u64) -> &[AtomicU64] {
        let (zero, one) = self.copies.split_at(self.copies.len() / 2);
        if selector & 1 == 0 { zero } else { one }
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
