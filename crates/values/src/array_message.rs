//! How the handle of an array travels.

use crate::array::Array;
use crate::bound;
use crate::contents;
use crate::error::SCRIBBLED;
use crate::plain::{Bits, Plain, type_hash};
use crate::raw::array::RawArray;
use polyproc_shm::{Kind, message};
use polyproc_sync::Lock;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number for the type of the elements and the lock that the array is bound to.
pub(crate) fn kind<T: 'static>(lock: Option<&Lock>) -> u64 {
    type_hash::<T>() ^ bound::hash(lock)
}

impl<T: Plain> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bound::serialize(self.object(), self.get_lock(), serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        contents::register_array();
        let (object, lock) = bound::deserialize(Kind::Array, size_of::<RawArray>() as u64, deserializer)?;
        let scribbled = || message::refuse_handle::<Self, _>(SCRIBBLED);
        let raw = RawArray::at(object.family(), object.offset()).ok().flatten().ok_or_else(scribbled)?;
        if raw.kind() != kind::<T>(lock.as_ref()) {
            return Err(message::refuse_handle::<Self, _>("the array holds elements of another type"));
        }
        let parts = raw.parts(object.family(), Self::STRIDE).ok().flatten().ok_or_else(scribbled)?;
        let elements = parts.elements(Self::STRIDE);
        let mut bits = Bits::<T>::new();
        let valid = (0..parts.len).find_map(|i| {
            elements.load(i, |k, word| bits.put(k, word));
            bits.value()
        });
        if valid.is_none() && parts.len != 0 {
            return Err(scribbled());
        }
        Ok(Self::of(object, lock, parts, valid))
    }
}
