//! Values, arrays and lists with names, for programs without kinship.

use crate::array::Array;
use crate::array_object::kind;
use crate::contents;
use crate::error::{SCRIBBLED, ValueError};
use crate::item::Item;
use crate::list::{self, LIST, ShareableList};
use crate::plain::Plain;
use crate::raw::array::RawArray;
use crate::value::{self, Value};
use polyproc_shm::{Content, Kind, Name, Object, SegmentError, type_hash};
use std::sync::Arc;

/// Raised with every change of the bytes of a value, an array or a list.
const LAYOUT: u64 = 1;
const HEADER: u64 = size_of::<RawArray>() as u64;

fn content<T: Plain>(kind: Kind) -> Content<'static> {
    Content { kind, type_name: core::any::type_name::<T>(), type_hash: type_hash::<T>().wrapping_add(LAYOUT) }
}

/// What was found under a name and makes no sense.
fn unusable(object: &Object) -> SegmentError {
    match object.name() {
        Some(at) => SegmentError::Unusable { at: at.clone(), why: SCRIBBLED },
        None => polyproc_shm::ShmError::BadHandle.into(),
    }
}

/// Address space for the elements, and for the claims of the smallest chunks.
fn room<T: Plain>(len: usize) -> u64 {
    Array::<T>::room(len).saturating_add((len as u64).saturating_mul(8))
}

impl<T: Plain> Value<T> {
    /// A new value with a name, for programs without kinship: they [`open`](Self::open) it by that, as the same type. The
    /// name goes with the last process that holds the value.
    ///
    /// # Errors
    /// [`ValueError::TooLarge`]; [`ValueError::Segment`]: the name is taken, it is no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::Value;
    /// let name = format!("doc-value-{}", std::process::id());
    /// let value = Value::create(&name, 3_u64)?;
    /// let same = Value::<u64>::open(&name)?; // in another program, as a rule
    /// value.set(4);
    /// assert_eq!(same.get(), 4);
    /// assert!(Value::<f64>::open(&name).unwrap_err().to_string().contains("u64"));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    pub fn create(name: impl Into<Name>, value: T) -> Result<Self, ValueError> {
        value::check_size::<T>()?;
        let make = |family| value::make(family, value, None);
        let object = Object::create_named(name, &content::<T>(Kind::Value), 0, make)?;
        Ok(Self::of(object, None, value))
    }

    /// The value that has the name. A type of your own comes from a crate that both programs use: see [`Name`].
    ///
    /// # Errors
    /// [`ValueError::Segment`]: there is none, or its last holder has gone; it is no value, or one of another type or layout.
    ///
    /// # Examples
    /// As of [`Value::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, ValueError> {
        Self::found(Object::open_named(name, &content::<T>(Kind::Value), value::size::<T>())?)
    }

    /// The value that has the name; made if there is none.
    ///
    /// # Errors
    /// As [`Value::open`] and [`Value::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::Value;
    /// let name = format!("doc-value-either-{}", std::process::id());
    /// let (first, second) = (Value::open_or_create(&name, 1)?, Value::open_or_create(&name, 2)?);
    /// assert_eq!((first.get(), second.get()), (1, 1));
    /// # Ok::<(), polyproc_values::ValueError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>, value: T) -> Result<Self, ValueError> {
        value::check_size::<T>()?;
        let make = |family| value::make(family, value, None);
        Self::found(Object::open_or_create_named(name, &content::<T>(Kind::Value), value::size::<T>(), 0, make)?)
    }

    fn found(object: Arc<Object>) -> Result<Self, ValueError> {
        match value::first::<T>(&object, None) {
            Some(first) => Ok(Self::of(object, None, first)),
            None => Err(unusable(&object).into()),
        }
    }
}

impl<T: Plain> Array<T> {
    /// An array of `len` times `fill` with a name, for programs without kinship: they [`open`](Self::open) it by that, with
    /// the same type of elements. The name goes with the last process that holds the array.
    ///
    /// # Errors
    /// [`SegmentError`]: the name is taken, it is no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::Array;
    /// let name = format!("doc-array-{}", std::process::id());
    /// let array = Array::create(&name, 3, 0.5)?;
    /// let same = Array::<f64>::open(&name)?; // in another program, as a rule
    /// array.set(1, 2.0);
    /// assert_eq!(same.to_vec(), [0.5, 2.0, 0.5]);
    /// # Ok::<(), polyproc_values::SegmentError>(())
    /// ```
    pub fn create(name: impl Into<Name>, len: usize, fill: T) -> Result<Self, SegmentError> {
        let make = |family| Self::make(family, len, None, |_| fill);
        let object = Object::create_named(name, &content::<T>(Kind::Array), room::<T>(len), make)?;
        Self::found(object)
    }

    /// The array that has the name.
    ///
    /// # Errors
    /// [`SegmentError`]: there is none, or its last holder has gone; it is no array, or one of another type or layout.
    ///
    /// # Examples
    /// As of [`Array::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        contents::register_array();
        Self::found(Object::open_named(name, &content::<T>(Kind::Array), HEADER)?)
    }

    /// The array that has the name; made if there is none.
    ///
    /// # Errors
    /// As [`Array::open`] and [`Array::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::Array;
    /// let name = format!("doc-array-either-{}", std::process::id());
    /// let (first, second) = (Array::open_or_create(&name, 2, 'a')?, Array::open_or_create(&name, 9, 'b')?);
    /// assert_eq!((first.to_vec(), second.len()), (vec!['a', 'a'], 2));
    /// # Ok::<(), polyproc_values::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>, len: usize, fill: T) -> Result<Self, SegmentError> {
        contents::register_array();
        let make = |family| Self::make(family, len, None, |_| fill);
        let content = content::<T>(Kind::Array);
        Self::found(Object::open_or_create_named(name, &content, HEADER, room::<T>(len), make)?)
    }

    fn found(object: Arc<Object>) -> Result<Self, SegmentError> {
        let found = RawArray::at(object.family(), object.offset()).ok().flatten();
        let is_it = found.is_some_and(|raw| raw.kind() == kind::<T>(None));
        match is_it.then(|| Self::arrived(Arc::clone(&object), None)).flatten() {
            Some(array) => Ok(array),
            None => Err(unusable(&object)),
        }
    }
}

impl ShareableList {
    /// A list with a name, for programs without kinship: they [`open`](Self::open) it by that. The name goes with the last
    /// process that holds the list.
    ///
    /// # Errors
    /// [`SegmentError`]: the name is taken, it is no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Item, ShareableList};
    /// let name = format!("doc-list-{}", std::process::id());
    /// let list = ShareableList::create(&name, ["howdy", "folks"])?;
    /// let same = ShareableList::open(&name)?; // in another program, as a rule
    /// list.set(0, "hello").unwrap();
    /// assert_eq!(same.get(0), Item::from("hello"));
    /// # Ok::<(), polyproc_values::SegmentError>(())
    /// ```
    pub fn create<I: Into<Item>>(
        name: impl Into<Name>,
        items: impl IntoIterator<Item = I>,
    ) -> Result<Self, SegmentError> {
        let items: Vec<Item> = items.into_iter().map(Into::into).collect();
        let room = items.iter().map(|item| 2 * item.room() as u64 + 64).sum();
        let object = Object::create_named(name, &LIST_CONTENT, room, |family| list::make(family, &items))?;
        Self::found(object)
    }

    /// The list that has the name.
    ///
    /// # Errors
    /// [`SegmentError`]: there is none, or its last holder has gone; it is no list, or one of another layout.
    ///
    /// # Examples
    /// As of [`ShareableList::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        contents::register_array();
        Self::found(Object::open_named(name, &LIST_CONTENT, HEADER)?)
    }

    fn found(object: Arc<Object>) -> Result<Self, SegmentError> {
        Self::of(Arc::clone(&object)).ok_or_else(|| unusable(&object))
    }
}

const LIST_CONTENT: Content<'_> = Content { kind: Kind::Array, type_name: "the items of a list", type_hash: LIST };
