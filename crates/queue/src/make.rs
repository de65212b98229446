//! How queues are made and found: for a family, and by name for programs without kinship.

use crate::contents;
use crate::error::{QueueError, SCRIBBLED};
use crate::queue::{Queue, is_narrow};
use crate::raw::queue::{MOST, NARROW, RawQueue, WIDE};
use polyproc_shm::{Content, Family, Kind, Name, Object, SegmentError, ShmError, type_hash};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// Address space for the items of a queue with a name, beside its slots.
const ROOM: u64 = 8 << 30;
const LEN: u64 = size_of::<RawQueue>() as u64;

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// A queue for at most `items` items, rounded up to a power of two.
    ///
    /// It takes 16 bytes a slot for primitives up to eight bytes and 64 for all other types.
    ///
    /// # Errors
    /// [`QueueError::Capacity`] for 0 and for more than 2^24 items; [`QueueError::Shm`] if there is no memory.
    ///
    /// # Examples
    /// ```
    /// let q = polyproc_queue::Queue::<u64>::bounded(100)?;
    /// assert_eq!(q.capacity(), 128);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bounded(items: usize) -> Result<Self, QueueError> {
        let capacity = capacity_for(items)?;
        let object = make::<T>(Family::get()?, capacity)?;
        let gone = ShmError::ObjectGone { offset: object.offset() };
        Ok(Self::of(Arc::new(object)).filter(Self::holds_items).ok_or(gone)?)
    }

    /// A queue with a name, for programs without kinship: they [`open`](Self::open) it by that, with the same type of items.
    /// The name goes with the last process that holds the queue, and with it all items that nobody has taken.
    ///
    /// Its memory is its own: handles of objects without names cannot travel in it, and a [`Buffer`](crate::Buffer) is
    /// copied into it.
    ///
    /// # Errors
    /// [`QueueError::Capacity`] as [`Queue::bounded`]; [`QueueError::Segment`]: the name is taken, it is
    /// no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::Queue;
    /// let name = format!("doc-queue-{}", std::process::id());
    /// let q = Queue::create(&name, 8)?;
    /// let same = Queue::<String>::open(&name)?; // in another program, as a rule
    /// q.put("hello".to_owned())?;
    /// assert_eq!(same.get()?, "hello");
    /// assert!(Queue::<u8>::open(&name).unwrap_err().to_string().contains("String"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(name: impl Into<Name>, items: usize) -> Result<Self, QueueError> {
        let capacity = capacity_for(items)?;
        let object = Object::create_named(name, &content::<T>(), room::<T>(capacity), |f| make::<T>(f, capacity))?;
        Self::found(object)
    }

    /// The queue that has the name. A type of your own comes from a crate that both programs use: see [`Name`].
    ///
    /// # Errors
    /// [`QueueError::Segment`]: there is none, or its last holder has gone; it is no queue, or one of
    /// other items, or of another layout.
    ///
    /// # Examples
    /// As of [`Queue::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, QueueError> {
        contents::register_queue();
        Self::found(Object::open_named(name, &content::<T>(), LEN)?)
    }

    /// The queue that has the name; made for at most `items` items if there is none.
    ///
    /// # Errors
    /// As [`Queue::open`] and [`Queue::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::Queue;
    /// let name = format!("doc-queue-either-{}", std::process::id());
    /// let (first, second) = (Queue::<u64>::open_or_create(&name, 8)?, Queue::<u64>::open_or_create(&name, 99)?);
    /// first.put(7)?;
    /// assert_eq!((second.get()?, second.capacity()), (7, 8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>, items: usize) -> Result<Self, QueueError> {
        let capacity = capacity_for(items)?;
        contents::register_queue();
        let make = |family| make::<T>(family, capacity);
        Self::found(Object::open_or_create_named(name, &content::<T>(), LEN, room::<T>(capacity), make)?)
    }

    fn found(object: Arc<Object>) -> Result<Self, QueueError> {
        let at = object.name().cloned();
        Self::of(object).filter(Self::holds_items).ok_or_else(|| match at {
            Some(at) => SegmentError::Unusable { at, why: SCRIBBLED }.into(),
            None => ShmError::BadHandle.into(),
        })
    }
}

impl<T: 'static> Queue<T> {
    /// Whether its header says that its items are `T`s.
    pub(crate) fn holds_items(&self) -> bool {
        self.parts.kind == type_hash::<T>() && self.parts.ring.is_narrow() == is_narrow::<T>()
    }
}

/// What the segment of a queue says of it; the layout's number is raised with every change of its bytes.
fn content<T: 'static>() -> Content<'static> {
    const LAYOUT: u64 = 1;
    Content {
        kind: Kind::Queue,
        type_name: core::any::type_name::<T>(),
        type_hash: type_hash::<T>().wrapping_add(LAYOUT),
    }
}

fn room<T: 'static>(capacity: u64) -> u64 {
    ROOM + capacity * width_of::<T>() as u64 * 8
}

/// The slots of a queue for `items` items.
pub(crate) fn capacity_for(items: usize) -> Result<u64, QueueError> {
    let capacity = (items > 0).then(|| items.checked_next_power_of_two()).flatten().map(|n| n as u64);
    capacity.filter(|n| *n <= MOST).ok_or(QueueError::Capacity(items))
}

/// An empty queue.
pub(crate) fn make<T: 'static>(family: &'static Family, capacity: u64) -> Result<Object, ShmError> {
    contents::register_queue();
    let width = width_of::<T>();
    let slots = family.alloc(capacity * width as u64 * 8, Kind::Data)?;
    // SAFETY: the block has `len` bytes and is this process's own.
    unsafe { slots.as_ptr().write_bytes(0, usize::try_from(slots.len()).unwrap_or(0)) };
    let object = Object::create(family, size_of::<RawQueue>() as u64, Kind::Queue)?;
    // SAFETY: the object has as many bytes, all zero, mapped for ever and aligned; every field is an atomic or unused.
    let raw = unsafe { &*object.as_ptr().cast::<RawQueue>() };
    raw.describe(capacity, width, type_hash::<T>(), slots.into_ref());
    Ok(object)
}

/// Words of a slot.
pub(crate) fn width_of<T: 'static>() -> usize {
    if is_narrow::<T>() { NARROW } else { WIDE }
}
