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
//! E1. Only the holder of the array's lock stores wide elements; he repairs before he does. Narrow ones are stored by him
//!     or by the owner of their chunk ([`claim`](super::claim)): a word of which others may store a part at the same time
//!     changes by read-modify-writes alone, one that has a single writer (*alone*) by loads and stores.
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

use super::copies::{ROUNDS, rounds};
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
/// may undo the other, unless they store different narrow elements and say by [`Elements::alone`] which are their own.
/// Whatever the words are, no operation is undefined.
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
    /// The elements that nobody but the user of this view stores: first, and behind the last.
    alone: (usize, usize),
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
        (whole && Self::words(len, stride) == Some(words.len())).then_some(Self {
            journal,
            words,
            len,
            stride,
            alone: (0, len),
        })
    }

    /// The view of one who shares the array with others that store at the same time: nobody else stores the elements of
    /// `range`, nor does he store those that others do. It concerns narrow elements, of which several lie in a word.
    ///
    /// ```
    /// use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
    /// use polyproc_values::raw::{Elements, Journal};
    /// let (journal, words) = (Journal::new(), [AtomicU64::new(0)]);
    /// let half = |range| Elements::new(&journal, &words, 8, 1).unwrap().alone(range);
    /// std::thread::scope(|s| {
    ///     s.spawn(|| half(0..4).store_many(0..4, |_| 1));
    ///     s.spawn(|| half(4..8).store_many(4..8, |_| 2));
    /// });
    /// assert_eq!(words[0].load(Relaxed), 0x0202_0202_0101_0101);
    /// ```
    #[must_use]
    #[inline]
    pub fn alone(self, range: Range<usize>) -> Self {
        Self { alone: (range.start, range.end), ..self }
    }

    /// Whether an element lies in one word.
    #[inline]
    fn is_narrow(&self) -> bool {
        self.stride <= 8
    }

    /// The logarithm of how many narrow elements lie in a word.
    #[inline]
    fn per(&self) -> u32 {
        3 - self.stride.trailing_zeros().min(3)
    }

    /// How far up narrow element `i` lies in its word.
    #[inline]
    fn shift(&self, i: usize) -> u32 {
        let per = self.per();
        #[expect(clippy::cast_possible_truncation, reason = "below 8")]
        let i = (i & ((1 << per) - 1)) as u32;
        i << (6 - per)
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
        while !self.try_load(i, ROUNDS, &mut put) {}
    }

    /// As `load`, with the help of `stop`: see [`Copies::read_or_stop`](super::copies::Copies::read_or_stop).
    #[inline]
    #[track_caller]
    pub(crate) fn load_or_stop<G>(&self, i: usize, stop: impl FnOnce() -> Option<G>, mut put: impl FnMut(usize, u64)) {
        if !self.try_load(i, ROUNDS, &mut put) {
            let stopped = stop();
            self.try_load(i, rounds(stopped.as_ref()), &mut put);
        }
    }

    /// So many rounds of `load`; whether the last one was whole.
    #[inline]
    #[track_caller]
    fn try_load(&self, i: usize, rounds: u32, put: &mut impl FnMut(usize, u64)) -> bool {
        assert!(i < self.len, "index {i} is out of bounds: there are {} elements", self.len);
        if self.is_narrow() {
            let word = &self.words[i >> self.per()];
            put(0, word.load(Acquire) >> self.shift(i)); // SYNC(A1)
            return true;
        }
        let Journal { version, index } = self.journal;
        for _ in 0..rounds {
            let before = version.load(Acquire); // SYNC(A1)
            let in_spare = before & 1 == 1 && index.load(Relaxed) == i as u64;
            for (k, word) in self.place(if in_spare { self.len } else { i }).iter().enumerate() {
                put(k, word.load(Relaxed));
            }
            fence(Acquire); // SYNC(A2)
            if version.load(Relaxed) == before {
                return true; // E3
            }
            core::hint::spin_loop();
        }
        false
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
                put(i, bits >> self.shift(i));
            }
        });
    }

    /// The words that narrow elements of a range fill, the elements before them, and those behind them.
    ///
    /// # Panics
    /// If there are no such elements, or they are wide.
    #[inline]
    pub(crate) fn whole_words(&self, range: Range<usize>) -> (Range<usize>, &'a [AtomicU64], Range<usize>) {
        assert!(self.is_narrow() && range.end <= self.len, "the range was checked, and the stride");
        let first = (range.start + (1 << self.per()) - 1) >> self.per();
        let last = range.end >> self.per();
        let Some(words) = self.words.get(first..last) else { return (range.clone(), &[], range.end..range.end) };
        (range.start..first << self.per(), words, last << self.per()..range.end)
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
            let (word, shift) = (&self.words[i >> self.per()], self.shift(i));
            return self.store_in(word, i, (get(0) & self.mask()) << shift, self.mask() << shift);
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
            let at = elements.start;
            let (mut bits, mut covered) = (0, 0);
            for i in elements {
                let shift = self.shift(i);
                bits |= (get(i) & self.mask()) << shift;
                covered |= self.mask() << shift;
            }
            self.store_in(word, at, bits, covered);
        });
    }

    /// Stores the elements that `covered` covers of the word in which narrow element `i` lies.
    #[inline]
    fn store_in(&self, word: &AtomicU64, i: usize, bits: u64, covered: u64) {
        if covered == u64::MAX {
            word.store(bits, Release); // SYNC(A1): no element of another is in it
        } else if self.is_alone(i) {
            let others = word.load(Relaxed) & !covered; // nobody else writes it (E1)
            word.store(others | bits, Release); // SYNC(A1)
        } else {
            Self::store_part(word, bits, covered);
        }
    }

    /// Stores elements from number `start` on, given by the bytes that they take; of narrow elements only. For the lock's
    /// holder alone.
    ///
    /// # Panics
    /// If there are no such elements, or they are wide.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
    /// use polyproc_values::raw::{Elements, Journal};
    /// let (journal, words) = (Journal::new(), [0, 0].map(AtomicU64::new));
    /// Elements::new(&journal, &words, 8, 2).unwrap().store_bytes(3, &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
    /// assert_eq!(words.map(|w| w.load(Relaxed)), [0x0001_0000_0000_0000, 0x0005_0004_0003_0002]);
    /// ```
    #[inline]
    pub fn store_bytes(&self, start: usize, bytes: &[u8]) {
        let per = 1 << self.per();
        let end = start.saturating_add(bytes.len() / self.stride);
        let one = |i: usize| {
            let mut word = [0; 8];
            word[..self.stride].copy_from_slice(&bytes[(i - start) * self.stride..][..self.stride]);
            u64::from_le_bytes(word)
        };
        let whole = start.next_multiple_of(per).min(end);
        self.store_many(start..whole, one);
        let (eights, _) = bytes[(whole - start) * self.stride..].as_chunks::<8>();
        for (word, eight) in self.words[whole >> self.per()..].iter().zip(eights) {
            word.store(u64::from_le_bytes(*eight), Release); // SYNC(A1): no element of another is in it
        }
        self.store_many(whole + eights.len() * per..end, one);
    }

    /// Whether nobody else stores elements of the word in which narrow element `i` lies.
    #[inline]
    fn is_alone(&self, i: usize) -> bool {
        let per = 1 << self.per();
        let first = i & !(per - 1);
        self.alone.0 <= first && (first + per).min(self.len) <= self.alone.1
    }

    /// Stores the elements of a word that `covered` covers, while others may store others of them.
    #[inline]
    fn store_part(word: &AtomicU64, bits: u64, covered: u64) {
        let mut seen = word.load(Relaxed);
        while let Err(now) = word.compare_exchange_weak(seen, seen & !covered | bits, Release, Relaxed) {
            seen = now; // SYNC(A1)
        }
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
        if range.is_empty() {
            return;
        }
        let (first, last) = (range.start >> self.per(), (range.end - 1) >> self.per());
        for (k, word) in (first..).zip(&self.words[first..=last]) {
            let (start, end) = (k << self.per(), (k + 1) << self.per());
            f(word, range.start.max(start)..range.end.min(end));
        }
    }
}
