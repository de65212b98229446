//! The handle of a list; the bytes are a header like an array's and [`Slots`].

use crate::contents;
use crate::error::{SCRIBBLED, TooLong};
use crate::held::Held;
use crate::item::Item;
use crate::raw::array::{Parts, RawArray};
use crate::raw::slots::{Slots, words_for};
use core::mem::ManuallyDrop;
use polyproc_shm::{Family, Kind, Object, ShmError, message};
use polyproc_sync::kept;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A list of fixed length whose items may be of different types, like `multiprocessing.shared_memory.ShareableList`.
///
/// Each item is always whole: a reader gets it as it was before or after a change and never waits. Changes are made one at
/// a time, under a lock of the list. A slot has room for its first item, as [`Item::room`] says, and for any other that is
/// not longer, of any type. Unlike Python's, texts and bytes keep the zeros at their end, and a text has its room in UTF-8.
///
/// Clones are the same list, and so are the copies that arrive in other processes. An item takes twice its room and 24 bytes
/// of shared memory. It lies in the family's memory; for lists that Python reads and writes see
/// [`PyList`](crate::PyList).
///
/// # When a process dies
/// The item that it was changing is the old one or the new one; the kernel gives the lock to the next one.
///
/// # Panics
/// An index that is out of bounds panics, as with slices.
///
/// # Limits
/// A reader that a writer overtakes reads again. A process that writes where it should not can change any item; one that
/// makes no sense is read as [`Item::None`].
///
/// # Examples
/// ```
/// use polyproc_values::{Item, ShareableList};
///
/// let list = ShareableList::new([Item::from("howdy"), Item::from(-273.154), Item::from(100), Item::None])?;
/// let other = list.clone();
/// std::thread::spawn(move || other.set(0, "hello").unwrap()).join().unwrap();
/// assert_eq!(list.get(0), Item::from("hello"));
/// assert!(list.set(0, "longer than eight bytes").is_err());
/// assert_eq!(list.index(&Item::from(100)), Some(2));
/// # Ok::<(), polyproc_values::ShmError>(())
/// ```
pub struct ShareableList {
    /// Released by [`kept::release`].
    object: ManuallyDrop<Arc<Object>>,
    parts: Parts,
    slots: Slots,
}

/// In place of the type of an array's elements.
pub(crate) const LIST: u64 = u64::from_le_bytes(*b"pp list1");

impl ShareableList {
    /// A list with the items that the iterator gives, each in a slot of its [`room`](Item::room).
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory for it, or this process has not joined it.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Item, ShareableList};
    /// let list = ShareableList::new(["a", "b"])?;
    /// assert_eq!(list.to_vec(), [Item::from("a"), Item::from("b")]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn new<I: Into<Item>>(items: impl IntoIterator<Item = I>) -> Result<Self, ShmError> {
        let items: Vec<Item> = items.into_iter().map(Into::into).collect();
        let object = make(Family::get()?, &items)?;
        let gone = ShmError::ObjectGone { offset: object.offset() };
        Self::of(Arc::new(object)).filter(|list| list.len() == items.len()).ok_or(gone)
    }

    /// The list in an object; `None` if there is none, or it was damaged.
    pub(crate) fn of(object: Arc<Object>) -> Option<Self> {
        let raw = RawArray::at(object.family(), object.offset()).ok().flatten().filter(|raw| raw.kind() == LIST)?;
        let parts = raw.parts(object.family(), 8).ok().flatten()?;
        let slots = Slots::new(parts.words)?;
        Some(Self { object: ManuallyDrop::new(object), parts, slots })
    }

    /// How many items it has, for ever.
    ///
    /// ```
    /// assert_eq!(polyproc_values::ShareableList::new([1, 2])?.len(), 2);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it has none.
    ///
    /// ```
    /// assert!(polyproc_values::ShareableList::new([0; 0])?.is_empty());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Item `i` of this moment; may be another one by the time you look. Never blocks.
    ///
    /// # Panics
    /// If there is no such item.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Item, ShareableList};
    /// assert_eq!(ShareableList::new([true, false])?.get(1), Item::Bool(false));
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn get(&self, i: usize) -> Item {
        self.check(i);
        // SAFETY: the lock of an object that `self` keeps meanwhile.
        let stop = || unsafe { Held::stop(&raw const self.parts.raw.lock) };
        let (tag, bytes) = self.slots.read(i, stop);
        Item::decode(tag, bytes)
    }

    /// Makes `item` item `i`; sleeps while somebody else holds the list's lock.
    ///
    /// # Errors
    /// [`TooLong`] if the slot has no room for it; then nothing is changed.
    ///
    /// # Panics
    /// If there is no such item, or this thread holds 128 locks.
    ///
    /// # Examples
    /// ```
    /// let list = polyproc_values::ShareableList::new(["short", "a little longer"])?;
    /// assert!(list.set(0, "a little longer").is_err());
    /// list.set(0, 7).unwrap(); // of another type
    /// list.set(1, vec![0, 1, 0]).unwrap();
    /// assert_eq!(list.get(1), vec![0, 1, 0].into());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn set(&self, i: usize, item: impl Into<Item>) -> Result<(), TooLong> {
        self.check(i);
        let (tag, bytes) = item.into().encode();
        let room = self.slots.capacity(i);
        if bytes.len() > room {
            return Err(TooLong { index: i, len: bytes.len(), room });
        }
        // SAFETY: the lock of an object that `self` keeps while the operation lasts.
        let _held = unsafe { Held::briefly(&raw const self.parts.raw.lock) };
        self.slots.write(i, tag, &bytes);
        Ok(())
    }

    /// How many bytes an item in slot `i` may have, a text in UTF-8.
    ///
    /// # Panics
    /// If there is no such item.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::ShareableList::new(["a", "eight by"])?.capacity(1), 16);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn capacity(&self, i: usize) -> usize {
        self.check(i);
        self.slots.capacity(i)
    }

    /// The number of the first item that is equal to `item`.
    ///
    /// ```
    /// use polyproc_values::{Item, ShareableList};
    /// let list = ShareableList::new(["a", "b", "b"])?;
    /// assert_eq!((list.index(&Item::from("b")), list.index(&Item::None)), (Some(1), None));
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn index(&self, item: &Item) -> Option<usize> {
        self.iter().position(|other| other == *item)
    }

    /// How many items are equal to `item`.
    ///
    /// ```
    /// use polyproc_values::{Item, ShareableList};
    /// assert_eq!(ShareableList::new(["a", "b", "b"])?.count(&Item::from("b")), 2);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn count(&self, item: &Item) -> usize {
        self.iter().filter(|other| other == item).count()
    }

    /// The items one after the other, each as it is at its moment.
    ///
    /// ```
    /// use polyproc_values::{Item, ShareableList};
    /// assert!(ShareableList::new([1, 2])?.iter().rev().eq([Item::Int(2), Item::Int(1)]));
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Item> + ExactSizeIterator + '_ {
        (0..self.len()).map(|i| self.get(i))
    }

    /// A copy of all items, each as it is at its moment.
    ///
    /// ```
    /// assert_eq!(polyproc_values::ShareableList::new([7])?.to_vec(), [7.into()]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn to_vec(&self) -> Vec<Item> {
        self.iter().collect()
    }

    /// How Python's `struct` module would pack the items of this moment into their slots.
    ///
    /// ```
    /// use polyproc_values::{Item, ShareableList};
    /// assert_eq!(ShareableList::new([Item::from("HoWdY"), Item::from(1.5), Item::from(7)])?.format(), "8sdq");
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn format(&self) -> String {
        (0..self.len()).map(|i| self.get(i).format(self.slots.capacity(i))).collect()
    }

    #[track_caller]
    fn check(&self, i: usize) {
        assert!(i < self.len(), "index {i} is out of bounds: there are {} items", self.len());
    }
}

impl Drop for ShareableList {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: its first bytes are a lock.
        unsafe { kept::release(object) };
    }
}

impl Clone for ShareableList {
    fn clone(&self) -> Self {
        Self { object: ManuallyDrop::clone(&self.object), parts: self.parts, slots: self.slots.clone() }
    }
}

impl core::fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ShareableList")?;
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A fresh object with the items.
pub(crate) fn make(family: &'static Family, items: &[Item]) -> Result<Object, ShmError> {
    contents::register_array();
    let rooms: Vec<usize> = items.iter().map(Item::room).collect();
    let bytes = words_for(&rooms).and_then(|n| (n as u64).checked_mul(8)).unwrap_or(u64::MAX);
    let data = family.alloc(bytes, Kind::Data)?;
    // SAFETY: a block that this process alone owns, of at least so many bytes.
    unsafe { data.as_ptr().write_bytes(0, usize::try_from(bytes).unwrap_or(0)) };
    let object = Object::create(family, size_of::<RawArray>() as u64, Kind::Array)?;
    let gone = || ShmError::ObjectGone { offset: object.offset() };
    let raw = RawArray::at(family, object.offset())?.ok_or_else(gone)?;
    raw.describe(bytes / 8, LIST, data.into_ref()); // the object's from here on
    let words = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
    let parts = RawArray::made(family, object.offset(), words, 8)?;
    Slots::describe(parts.words, &rooms);
    let fits = |slots: &Slots| slots.len() == rooms.len() && (0..).zip(&rooms).all(|(i, r)| slots.capacity(i) >= *r);
    let slots = Slots::new(parts.words).filter(fits).ok_or_else(gone)?;
    for (i, item) in items.iter().enumerate() {
        let (tag, bytes) = item.encode();
        slots.write(i, tag, &bytes); // nobody else knows the list
    }
    Ok(object)
}

impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        contents::register_array();
        let object = message::deserialize_handle(Kind::Array, size_of::<RawArray>() as u64, deserializer)?;
        Self::of(object).ok_or_else(|| message::refuse_handle::<Self, _>(SCRIBBLED))
    }
}
