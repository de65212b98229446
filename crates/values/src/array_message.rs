//! How the handle of an array travels.

use crate::array::Array;
use crate::array_object::kind;
use crate::bound;
use crate::contents;
use crate::error::SCRIBBLED;
use crate::plain::Plain;
use crate::raw::array::RawArray;
use polyproc_shm::{Kind, message};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
        Self::arrived(object, lock).ok_or_else(scribbled)
    }
}
