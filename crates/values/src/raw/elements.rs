//! The elements of an array, in place, and the journal by which those of more than eight bytes change as a whole.
//!
//! # State
//! An element of up to eight bytes (*narrow*) takes 1, 2, 4 or 8 bytes of one word; a larger one (*wide*) takes as many
//! words as it needs, and behind the last of them lies the *spare*: words for one more.
//!
//! | `version` | meaning | left by |
//! |---|---|---|
//! | even | every wide element is whole in its place | the lock's holder: + 1 |
//! | odd | element `index` is whole in the spare, and half written, maybe, in its place | the lock's holder: + 1 |
//!
//! # Transitions
//! ```text
//! store, narrow   (holder) one store of its word, with the neighbours as they are
//! store, wide     (holder) index, spare = new element; version + 1 (odd): from here on it is the element;
//!                 its place = new element; version + 1 (even)
//! repair          (holder, after a death) version is odd: place of `index` = spare; version + 1
//! load, wide      version; the words, from the spare if `version` is odd and `index` this one, else from its place;
//!                 version again: if it is the same, the words are whole, else once more
//! ```
//!
//! # Invariants
//! E1. Only the holder of the array's lock stores; he repairs before he does.
//! E2. While `version` is even, nobody writes to the place of a wide element; while it is odd, nobody to `index` and the
//!     spare, nor to any place but that of `index`.
//! E3. What changes is announced by `version` before: whoever finds the version unchanged behind the words has read them
//!     before that.
//!
//! # Memory ordering
//! A1. Release stores of a narrow element's word and of `version` pair with the acquire loads of them: a reader of the new
//!     element sees its words, and what the writer did before.
//! A2. The release fences before the spare is written and before the place is pair with the acquire fence after the words
//!     are read: a reader that met one newer word sees the version that announced it (E3).
//!
//! # If a process dies
//! A narrow element is old or new. A wide one likewise: the store of the odd version decides. If its place is half written,
//! readers take the spare, until the next holder of the lock repairs; killed in that, he leaves the same to the next one.

use core::ops::Range;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

/// What is under way in an array of wide elements: 16 bytes, zero at first.
///
/// ```
/// let journal = polyproc_values::raw::Journal::new();
/// assert!(format!("{journal:?}").contains("version: 0"));
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Journal {
    /// See `# State`.
    version: AtomicU64,
    /// The element that the spare is for. From the segment: checked before it is used.
    index: AtomicU64,
}

impl Journal {
    /// A journal of an array in which nothing is under way.
    ///
    /// ```
    /// let _ = polyproc_values::raw::Journal::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { version: AtomicU64::new(0), index: AtomicU64::new(0) }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

/// The elements of an array: a view of words in a segment and of the journal beside them.
///
/// Loads need nothing. Stores are for the holder of a lock that the array's users agree on: of two that store at once, one
/// may undo the other. Whatever the words are, no operation is undefined.
///
/// ```
/// use polyproc_sys::atomic::AtomicU64;
/// use polyproc_values::raw::{Elements, Journal};
/// let journal = Journal::new();
/// let words: [AtomicU64; 3] = Default::default();
/// let bytes = Elements::new(&journal, &words, 24, 1).expect("three words are 24 bytes");
/// bytes.store(9, |_| 7);
/// bytes.load(9, |_, word| assert_eq!(word & 0xff, 7));
/// bytes.load(8, |_, word| assert_eq!(word & 0xff, 0));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    journal: &'a Journal,
    words: &'a [AtomicU64],
    len: usize,
    /// Bytes of an element in the segment: 1, 2, 4, or a multiple of 8.
    stride: usize,
}

impl<'a> Elements<'a> {
    /// The bytes that an element of `size` bytes takes: it is rounded up to a power of two, or, above 8, to a multiple of 8.
    ///
    /// ```
    /// use polyproc_values::raw::Elements;
    /// assert_eq!([1, 3, 8, 9].map(Elements::stride), [1, 4, 8, 16]);
    /// assert_eq!(Elements::stride(0), 1);
    /// ```
    #[must_use]
    pub const fn stride(size: usize) -> usize {
        match size.checked_next_multiple_of(8) {
            Some(8) | Some(0) => size.next_power_of_two(),
            Some(n) => n,
            None => usize::MAX - 7,
        }
    }

    /// How many words `len` elements of so many bytes each take, the spare included; `None` if that is no number.
    ///
    /// ```
    /// use polyproc_values::raw::Elements;
    /// assert_eq!(Elements::words(9, 1), Some(2));
    /// assert_eq!(Elements::words(2, 24), Some(9));
    /// assert_eq!(Elements::words(usize::MAX, 24), None);
    /// ```
    #[must_use]
    pub const fn words(len: usize, stride: usize) -> Option<usize> {
        match (stride, len.checked_add(1)) {
            (0, _) | (9.., None) => None,
            (1..=8, _) => Some(len.div_ceil(8 / stride)),
            (9.., Some(n)) => n.checked_mul(stride / 8),
        }
    }

    /// The view of `len` elements of `stride` bytes; `None` if the number of words is not what they take.
    ///
    /// ```
    /// use polyproc_sys::atomic::AtomicU64;
    /// use polyproc_values::raw::{Elements, Journal};
    /// let words = [AtomicU64::new(0)];
    /// assert!(Elements::new(&Journal::new(), &words, 9, 1).is_none());
    /// ```
    #[must_use]
    #[inline]
    pub fn new(journal: &'a Journal, words: &'a [AtomicU64], len: usize, stride: usize) -> Option<Self> {
        let whole = stride > 0 && Self::stride(stride) == stride;
        (whole && Self::words(len, stride) == Some(words.len())).then_some(Self { journal, words, len, stride })
    }

    /// Whether an element lies in one word.
    #[inline]
    fn is_narrow(&self) -> bool {
        self.stride <= 8
    }

    /// The word in which a narrow element lies, and how far up.
    #[inline]
    fn bits(&self, i: usize) -> (&'a AtomicU64, u32) {
        let per = 8 / self.stride;
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        let shift = (i % per * self.stride * 8) as u32;
        (&self.words[i / per], shift)
    }

    /// The bits of a narrow element at the lower end of a word.
    #[inline]
    fn mask(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.stride)
    }

    /// The place of a wide element; that of number `len` is the spare.
    #[inline]
    fn place(&self, i: usize) -> &'a [AtomicU64] {
        let n = self.stride / 8;
        &self.words[i * n..][..n]
    }

    /// Hands the words of element `i`, by their numbers, to `put`. A narrow element lies in the lowest bytes of its only
    /// word, and others above it. If a writer comes in between, the words come again: what was put last is whole.
    ///
    /// # Panics
    /// If there is no such element.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::atomic::AtomicU64;
    /// use polyproc_values::raw::{Elements, Journal};
    /// let journal = Journal::new();
    /// let words: [AtomicU64; 6] = Default::default();
    /// let two = Elements::new(&journal, &words, 2, 16).unwrap();
    /// two.store(1, |i| [3, 4][i]);
    /// let mut got = [0; 2];
    /// two.load(1, |i, word| got[i] = word);
    /// assert_eq!(got, [3, 4]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn load(&self, i: usize, mut put: impl FnMut(usize, u64)) {
        assert!(i < self.len, "index {i} is out of bounds: there are {} elements", self.len);
        if self.is_narrow() {
            let (word, shift) = self.bits(i);
            return put(0, word.load(Acquire) >> shift); // SYNC(A1)
        }
        let Journal { version, index } = self.journal;
        loop {
            let before = version.load(Acquire); // SYNC(A1)
            let in_spare = before & 1 == 1 && index.load(Relaxed) == i as u64;
            for (k, word) in self.place(if in_spare { self.len } else { i }).iter().enumerate() {
                put(k, word.load(Relaxed));
            }
            fence(Acquire); // SYNC(A2)
            if version.load(Relaxed) == before {
                return; // E3
            }
            core::hint::spin_loop();
        }
    }

    /// Hands the elements of a range, by their numbers, to `put`, as [`Elements::load`] does; of narrow elements only.
    ///
    /// # Panics
    /// If there are no such elements, or they are wide.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::atomic::AtomicU64;
    /// use polyproc_values::raw::{Elements, Journal};
    /// let (journal, words) = (Journal::new(), [AtomicU64::new(0x0403_0201)]);
    /// let mut got = vec![];
    /// Elements::new(&journal, &words, 8, 1).unwrap().load_many(1..4, |i, word| got.push((i, word & 0xff)));
    /// assert_eq!(got, [(1, 2), (2, 3), (3, 4)]);
    /// ```
    #[inline]
    pub fn load_many(&self, range: Range<usize>, mut put: impl FnMut(usize, u64)) {
        self.each_word(range, |word, elements| {
            let bits = word.load(Acquire); // SYNC(A1)
            for i in elements {
                put(i, bits >> self.bits(i).1);
            }
        });
    }

    /// Stores the words that `get` gives, by their numbers, as element `i`. For the lock's holder alone.
    ///
    /// # Panics
    /// If there is no such element.
    ///
    /// # Examples
    /// See [`Elements::load`].
    #[inline]
    #[track_caller]
    pub fn store(&self, i: usize, mut get: impl FnMut(usize) -> u64) {
        assert!(i < self.len, "index {i} is out of bounds: there are {} elements", self.len);
        if self.is_narrow() {
            return self.store_many(i..i + 1, |_| get(0));
        }
        let Journal { version, index } = self.journal;
        let even = version.load(Relaxed); // nobody else writes it (E1)
        fence(Release); // SYNC(A2)
        index.store(i as u64, Relaxed);
        for (k, word) in self.place(self.len).iter().enumerate() {
            word.store(get(k), Relaxed);
        }
        version.store(even.wrapping_add(1), Release); // SYNC(A1): the new element counts
        self.settle(i, even.wrapping_add(1));
    }

    /// Stores what `get` gives for the numbers of a range; of narrow elements only. For the lock's holder alone.
    ///
    /// # Panics
    /// If there are no such elements, or they are wide.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
    /// use polyproc_values::raw::{Elements, Journal};
    /// let (journal, words) = (Journal::new(), [AtomicU64::new(u64::MAX)]);
    /// Elements::new(&journal, &words, 8, 1).unwrap().store_many(1..3, |i| i as u64);
    /// assert_eq!(words[0].load(Relaxed), 0xffff_ffff_ff02_01ff);
    /// ```
    #[inline]
    pub fn store_many(&self, range: Range<usize>, mut get: impl FnMut(usize) -> u64) {
        self.each_word(range, |word, elements| {
            let mut bits = word.load(Relaxed); // nobody else writes it (E1)
            for i in elements {
                let shift = self.bits(i).1;
                bits = (bits & !(self.mask() << shift)) | (get(i) & self.mask()) << shift;
            }
            word.store(bits, Release); // SYNC(A1)
        });
    }

    /// Finishes what a dead holder had under way; the first thing that the next one does. For the lock's holder alone.
    ///
    /// ```
    /// use polyproc_sys::atomic::AtomicU64;
    /// use polyproc_values::raw::{Elements, Journal};
    /// let (journal, words) = (Journal::new(), [AtomicU64::new(0)]);
    /// Elements::new(&journal, &words, 1, 8).unwrap().repair(); // nothing to do
    /// ```
    #[inline]
    pub fn repair(&self) {
        let version = self.journal.version.load(Relaxed);
        if version & 1 == 1 && !self.is_narrow() {
            let index = usize::try_from(self.journal.index.load(Relaxed)).unwrap_or(usize::MAX);
            // Somebody scribbled if there is no such element: then no place is written.
            self.settle(index.min(self.len), version);
        }
    }

    /// The second half of a wide store: from the spare to the place, which is the spare itself if there is none.
    #[inline]
    fn settle(&self, i: usize, odd: u64) {
        fence(Release); // SYNC(A2)
        for (to, from) in self.place(i).iter().zip(self.place(self.len)) {
            to.store(from.load(Relaxed), Relaxed);
        }
        self.journal.version.store(odd.wrapping_add(1), Release); // SYNC(A1)
    }

    /// Visits the words of narrow elements, with the numbers of those in them that belong to the range.
    #[inline]
    fn each_word(&self, range: Range<usize>, mut f: impl FnMut(&AtomicU64, Range<usize>)) {
        assert!(self.is_narrow(), "wide elements are loaded and stored one by one");
        assert!(range.end <= self.len, "range {range:?} is out of bounds: there are {} elements", self.len);
        let per = 8 / self.stride;
        let mut i = range.start;
        while i < range.end {
            let next = range.end.min((i / per + 1) * per);
            f(&self.words[i / per], i..next);
            i = next;
        }
    }
}
