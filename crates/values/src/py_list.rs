//! Lists in CPython's own bytes, over any memory.

use crate::error::TooLong;
use crate::item::Item;
use core::cell::Cell;
use polyproc_shm::SharedMemory;

/// Bytes that others may read and write, too: a mapped file, a block of shared memory.
///
/// ```
/// use polyproc_values::Region;
/// use std::cell::Cell;
/// let mut bytes = [1, 2, 3];
/// let region: &[Cell<u8>] = Cell::from_mut(&mut bytes[..]).as_slice_of_cells();
/// Region::write(region, 1, &[7]);
/// let mut two = [0; 2];
/// Region::read(region, 1, &mut two);
/// assert_eq!(two, [7, 3]);
/// ```
#[expect(clippy::len_without_is_empty, reason = "nobody asks for it")]
pub trait Region {
    /// How many bytes there are; never fewer later on.
    ///
    /// ```
    /// use polyproc_values::Region;
    /// use std::cell::Cell;
    /// assert_eq!(Region::len(&[Cell::new(0), Cell::new(1)][..]), 2);
    /// ```
    fn len(&self) -> usize;

    /// Copies the bytes from `offset` on to `to`; [`PyList`] asks for no more than there are.
    ///
    /// ```
    /// use polyproc_values::Region;
    /// use std::cell::Cell;
    /// let mut one = [0];
    /// Region::read(&[Cell::new(0), Cell::new(1)][..], 1, &mut one);
    /// assert_eq!(one, [1]);
    /// ```
    fn read(&self, offset: usize, to: &mut [u8]);

    /// Copies `from` to the bytes from `offset` on; [`PyList`] gives no more than there is room for.
    ///
    /// ```
    /// use polyproc_values::Region;
    /// use std::cell::Cell;
    /// let bytes = [Cell::new(0), Cell::new(1)];
    /// Region::write(&bytes[..], 0, &[5]);
    /// assert_eq!(bytes[0].get(), 5);
    /// ```
    fn write(&self, offset: usize, from: &[u8]);
}

impl Region for [Cell<u8>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        for (to, from) in to.iter_mut().zip(&self[offset..]) {
            *to = from.get();
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        for (to, from) in self[offset..].iter().zip(from) {
            to.set(*from);
        }
    }
}

impl<R: Region + ?Sized> Region for &R {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        (**self).read(offset, to);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        (**self).write(offset, from);
    }
}

/// As plain memory that Python has made too: [`SharedMemory::open_plain`].
impl Region for SharedMemory {
    fn len(&self) -> usize {
        usize::try_from(Self::len(self)).unwrap_or(usize::MAX)
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        let _ = Self::read(self, offset as u64, to); // inside of its length, which grows only while it is borrowed
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let _ = Self::write(self, offset as u64, from); // as above
    }
}

/// Why bytes are no list of CPython's, or an item was not stored.
///
/// ```
/// use polyproc_values::{PyList, PyListError};
/// use std::cell::Cell;
/// let bytes = [const { Cell::new(255) }; 100];
/// assert!(matches!(PyList::open(&bytes[..]), Err(PyListError::NoList(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PyListError {
    /// The bytes do not begin with a list.
    #[error("the bytes are no ShareableList of CPython: {0}")]
    NoList(&'static str),
    /// The list has more bytes than there are.
    #[error("the list takes {need} bytes and there are {have}: give it a larger region")]
    TooSmall {
        /// The bytes of the list.
        need: usize,
        /// The bytes that there are.
        have: usize,
    },
    /// An item is of no type that a list can hold.
    #[error("item {index} is packed as {format:?}, which no ShareableList does")]
    Format {
        /// The number of the item.
        index: usize,
        /// What is written as its format.
        format: String,
    },
    /// A text is not in UTF-8; a Python without the defect of slots that are too small for it does not write that.
    #[error("item {index} is a text, and its bytes are not UTF-8")]
    NotUtf8 {
        /// The number of the item.
        index: usize,
    },
    /// The slot has no room for the item.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// A list in the bytes that CPython's `multiprocessing.shared_memory.ShareableList` reads and writes (as of 3.11), over any
/// [`Region`]: what Python makes can be read and changed here, and the other way round.
///
/// It has CPython's weaknesses: no lock, items that a reader may see half written, and texts and bytes that lose the zeros
/// at their end, since their length is not stored. Slots for texts are made large enough, which Python's are not for all.
/// Between processes of polyproc use [`ShareableList`](crate::ShareableList).
///
/// ```
/// use polyproc_values::{Item, PyList};
/// use std::cell::Cell;
/// let items = [Item::from("howdy"), Item::from(1.5), Item::None];
/// let mut bytes = vec![0; PyList::<&[Cell<u8>]>::size(&items)];
/// let region = Cell::from_mut(&mut bytes[..]).as_slice_of_cells();
/// let list = PyList::create(region, &items)?;
/// list.set(2, 7)?;
/// let same = PyList::open(region)?;
/// assert_eq!(same.to_vec()?, [Item::from("howdy"), Item::from(1.5), Item::from(7)]);
/// assert_eq!(same.format()?, "8sdq");
/// # Ok::<(), polyproc_values::PyListError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PyList<R> {
    region: R,
    /// Where each slot starts, behind the offsets, and where the last one ends; checked.
    starts: Vec<usize>,
}

/// Bytes of a number, of an offset and of a format.
const WORD: usize = 8;
/// The largest slot: its format has eight letters.
const MOST: usize = 9_999_999;

/// What Python does with what it has unpacked: nothing, decode a text, strip bytes, forget it.
fn code_of(item: &Item) -> u8 {
    match item {
        Item::Int(_) | Item::Float(_) | Item::Bool(_) => 0,
        Item::Str(_) => 1,
        Item::Bytes(_) => 2,
        Item::None => 3,
    }
}

/// The bytes of a list whose slots end there.
fn size(len: usize, end: usize) -> Option<usize> {
    len.checked_mul(2 * WORD + 1)?.checked_add(2 * WORD)?.checked_add(end)
}

impl<R: Region> PyList<R> {
    /// How many bytes a list of these items takes.
    ///
    /// ```
    /// use polyproc_values::PyList;
    /// use std::cell::Cell;
    /// assert_eq!(PyList::<&[Cell<u8>]>::size(&[1.into(), "12345678".into()]), 16 + 8 + 16 + 2 * 17);
    /// ```
    #[must_use]
    pub fn size(items: &[Item]) -> usize {
        size(items.len(), items.iter().map(Item::room).sum()).expect("the items are in memory, and take no less there")
    }

    /// Writes a list of these items to the start of the region, byte for byte as CPython does; before anybody else reads it.
    ///
    /// # Errors
    /// [`PyListError::TooSmall`]; [`PyListError::TooLong`] for a text or bytes of 10 MB, whose length has no place in a format.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{PyList, PyListError};
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 40];
    /// assert!(PyList::create(&region[..], &[]).is_ok());
    /// let error = PyList::create(&region[..], &[1.into()]).unwrap_err();
    /// assert_eq!(error, PyListError::TooSmall { need: 41, have: 40 });
    /// ```
    pub fn create(region: R, items: &[Item]) -> Result<Self, PyListError> {
        let (need, have) = (Self::size(items), region.len());
        if need > have {
            return Err(PyListError::TooSmall { need, have });
        }
        if let Some(index) = items.iter().position(|item| item.room() > MOST) {
            return Err(TooLong { index, len: items[index].encode().1.len(), room: MOST }.into());
        }
        let mut starts = vec![0];
        starts.extend(items.iter().scan(0, |end, item| {
            *end += item.room();
            Some(*end)
        }));
        for (k, n) in core::iter::once(items.len()).chain(starts.iter().copied()).enumerate() {
            region.write(k * WORD, &(n as u64).to_le_bytes());
        }
        let list = Self { region, starts };
        for (i, item) in items.iter().enumerate() {
            list.put(i, item, item.room());
        }
        Ok(list)
    }

    /// The list at the start of the region; its length and slots are read once.
    ///
    /// # Errors
    /// [`PyListError::NoList`], [`PyListError::TooSmall`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::PyList;
    /// use std::cell::Cell;
    /// let empty = [const { Cell::new(0) }; 16];
    /// assert!(PyList::open(&empty[..])?.is_empty());
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    pub fn open(region: R) -> Result<Self, PyListError> {
        let have = region.len();
        let word = |k: usize| {
            let mut bytes = [0; WORD];
            region.read(k * WORD, &mut bytes);
            usize::try_from(i64::from_le_bytes(bytes)).map_err(|_| PyListError::NoList("a number in it is negative"))
        };
        if have < 2 * WORD {
            return Err(PyListError::TooSmall { need: 2 * WORD, have });
        }
        let len = word(0)?;
        let endless = PyListError::NoList("its length is no number");
        let fits = |end| match size(len, end) {
            None => Err(endless.clone()),
            Some(need) if need > have => Err(PyListError::TooSmall { need, have }),
            Some(_) => Ok(()),
        };
        fits(0)?;
        let starts = (1..=len + 1).map(word).collect::<Result<Vec<_>, _>>()?;
        if starts[0] != 0 || starts.windows(2).any(|w| w[1] < w[0].saturating_add(WORD)) {
            return Err(PyListError::NoList("its slots do not follow each other"));
        }
        fits(starts[len])?;
        Ok(Self { region, starts })
    }

    /// How many items it has.
    ///
    /// ```
    /// use polyproc_values::PyList;
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 50];
    /// assert_eq!(PyList::create(&region[..], &[1.into()])?.len(), 1);
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether it has none.
    ///
    /// ```
    /// use polyproc_values::PyList;
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 50];
    /// assert!(!PyList::create(&region[..], &[1.into()])?.is_empty());
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Item `i` of this moment; half of it if somebody writes it just now.
    ///
    /// # Errors
    /// [`PyListError::Format`], [`PyListError::NotUtf8`].
    ///
    /// # Panics
    /// If there is no such item.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Item, PyList};
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 50];
    /// assert_eq!(PyList::create(&region[..], &[true.into()])?.get(0)?, Item::Bool(true));
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    #[track_caller]
    pub fn get(&self, i: usize) -> Result<Item, PyListError> {
        let format = self.format_of(i);
        let mut code = [0];
        self.region.read(self.codes() + i, &mut code);
        let bad = || PyListError::Format { index: i, format: format.clone() };
        let mut bytes = match format.strip_suffix('s') {
            Some(n) => vec![0; n.parse().ok().filter(|n| *n <= self.capacity(i)).ok_or_else(bad)?],
            None => vec![0; WORD],
        };
        self.region.read(self.slots() + self.starts[i], &mut bytes);
        let eight = || bytes[..].try_into().ok();
        match (format.as_str(), code[0]) {
            ("q", 0) => eight().map(|b| Item::Int(i64::from_le_bytes(b))).ok_or_else(bad),
            ("d", 0) => eight().map(|b| Item::Float(f64::from_le_bytes(b))).ok_or_else(bad),
            ("xxxxxxx?", 0) => Ok(Item::Bool(bytes[7] != 0)),
            ("xxxxxx?x", 3) => Ok(Item::None),
            (text, code @ 1..=2) if text.ends_with('s') => {
                bytes.truncate(bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1));
                if code == 2 {
                    return Ok(Item::Bytes(bytes));
                }
                String::from_utf8(bytes).map(Item::Str).map_err(|_| PyListError::NotUtf8 { index: i })
            }
            _ => Err(bad()),
        }
    }

    /// Makes `item` item `i`, as CPython does: its format first, then its bytes.
    ///
    /// # Errors
    /// [`PyListError::TooLong`]; then nothing is changed.
    ///
    /// # Panics
    /// If there is no such item.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Item, PyList};
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 50];
    /// let list = PyList::create(&region[..], &[1.into()])?;
    /// list.set(0, "now a text").unwrap_err();
    /// list.set(0, "a text")?;
    /// assert_eq!(list.get(0)?, Item::from("a text"));
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    #[track_caller]
    pub fn set(&self, i: usize, item: impl Into<Item>) -> Result<(), PyListError> {
        let (item, room) = (item.into(), self.capacity(i).min(MOST)); // a longer slot has no format of 8 bytes
        let len = item.encode().1.len();
        if len > room {
            return Err(TooLong { index: i, len, room }.into());
        }
        let before = self.format_of(i);
        let same = before.strip_suffix('s').and_then(|n| n.parse().ok()).filter(|n| (len..=room).contains(n));
        self.put(i, &item, same.unwrap_or(room));
        Ok(())
    }

    /// How many bytes an item in slot `i` may have.
    ///
    /// # Panics
    /// If there is no such item.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::PyList;
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 50];
    /// assert_eq!(PyList::create(&region[..], &["12345678".into()])?.capacity(0), 16);
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn capacity(&self, i: usize) -> usize {
        assert!(i < self.len(), "index {i} is out of bounds: there are {} items", self.len());
        self.starts[i + 1] - self.starts[i]
    }

    /// A copy of all items.
    ///
    /// # Errors
    /// As [`PyList::get`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Item, PyList};
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 50];
    /// assert_eq!(PyList::create(&region[..], &[Item::None])?.to_vec()?, [Item::None]);
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<Item>, PyListError> {
        (0..self.len()).map(|i| self.get(i)).collect()
    }

    /// How the items are packed, as Python's `ShareableList.format` tells it.
    ///
    /// # Errors
    /// [`PyListError::Format`] if that makes no sense.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Item, PyList};
    /// use std::cell::Cell;
    /// let region = [const { Cell::new(0) }; 50];
    /// assert_eq!(PyList::create(&region[..], &[Item::None])?.format()?, "xxxxxx?x");
    /// # Ok::<(), polyproc_values::PyListError>(())
    /// ```
    pub fn format(&self) -> Result<String, PyListError> {
        (0..self.len()).map(|i| self.get(i).map(|_| self.format_of(i))).collect()
    }

    /// Where the slots begin.
    fn slots(&self) -> usize {
        (self.len() + 2) * WORD
    }

    fn formats(&self) -> usize {
        self.slots() + self.starts[self.len()]
    }

    fn codes(&self) -> usize {
        self.formats() + self.len() * WORD
    }

    /// Whatever is written as the format of item `i`.
    #[track_caller]
    fn format_of(&self, i: usize) -> String {
        assert!(i < self.len(), "index {i} is out of bounds: there are {} items", self.len());
        let mut bytes = [0; WORD];
        self.region.read(self.formats() + i * WORD, &mut bytes);
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// Writes an item that fits, with its format; a text or bytes as one of `room` bytes.
    fn put(&self, i: usize, item: &Item, room: usize) {
        let mut format = item.format(room).into_bytes();
        format.resize(WORD, 0);
        self.region.write(self.formats() + i * WORD, &format);
        self.region.write(self.codes() + i, &[code_of(item)]);
        let mut bytes = item.encode().1;
        if let Item::Bool(_) = item {
            bytes.splice(..0, [0; WORD - 1]);
        }
        bytes.resize(if matches!(item, Item::Str(_) | Item::Bytes(_)) { room } else { WORD }, 0);
        self.region.write(self.slots() + self.starts[i], &bytes);
    }
}
