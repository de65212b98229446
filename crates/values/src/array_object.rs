//! The object of an array: how it is made, and known again.

use crate::array::Array;
use crate::bound;
use crate::contents;
use crate::plain::{Bits, Plain};
use crate::raw::Elements;
use crate::raw::array::RawArray;
use polyproc_shm::{Family, Kind, Object, ShmError, type_hash};
use polyproc_sync::Lock;
use std::sync::Arc;

/// A number for the type of the elements and the lock that the array is bound to.
pub(crate) fn kind<T: 'static>(lock: Option<&Lock>) -> u64 {
    type_hash::<T>() ^ bound::hash(lock)
}

impl<T: Plain> Array<T> {
    /// A fresh object with the elements that `get` gives.
    pub(crate) fn make(
        family: &'static Family,
        len: usize,
        lock: Option<&Lock>,
        get: impl FnMut(usize) -> T,
    ) -> Result<Object, ShmError> {
        contents::register_array();
        let data = family.alloc(Self::room(len), Kind::Data)?;
        let object = Object::create(family, size_of::<RawArray>() as u64, Kind::Array)?;
        let raw = RawArray::at(family, object.offset())?.ok_or(ShmError::ObjectGone { offset: object.offset() })?;
        raw.describe(len as u64, kind::<T>(lock), data.into_ref()); // the object's from here on
        let parts = RawArray::made(family, object.offset(), len, Self::STRIDE)?;
        Self::store_range(&parts.elements(Self::STRIDE), 0..len, get);
        Ok(object)
    }

    /// Bytes for `len` elements.
    pub(crate) fn room(len: usize) -> u64 {
        Elements::words(len, Self::STRIDE).and_then(|n| (n as u64).checked_mul(8)).unwrap_or(u64::MAX)
    }

    /// The array in an object that came from elsewhere and says that its elements are `T`s; `None` if none of them is one.
    pub(crate) fn arrived(object: Arc<Object>, lock: Option<Lock>) -> Option<Self> {
        let raw = RawArray::at(object.family(), object.offset()).ok().flatten()?;
        let parts = raw.parts(object.family(), Self::STRIDE).ok().flatten()?;
        let elements = parts.elements(Self::STRIDE);
        let mut bits = Bits::<T>::new();
        let valid = (0..parts.len).find_map(|i| {
            elements.load_or_stop(i, || Some(()), |k, word| bits.put(k, word));
            bits.value()
        });
        (valid.is_some() || parts.len == 0).then(|| Self::of(object, lock, parts, valid))
    }
}
