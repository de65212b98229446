//! How shared memory travels in messages: unnamed memory as a handle, like a lock; what has a name by its name.

use super::builder::BYTES;
use super::memory::{SharedMemory, Which};
use super::plain::Plain;
use super::unnamed::Unnamed;
use crate::keep::keep;
use crate::kind::Kind;
use crate::message::{deserialize_handle, refuse_handle, serialize_handle};
use crate::named::{NamedFile, Place, SegmentError, SegmentName};
use crate::object::Object;
use crate::raw::memory::RawMemory;
use crate::scope;
use polyproc_sys::memory::Access;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::sync::Arc;

/// What travels.
#[derive(Serialize, Deserialize)]
enum Wire {
    Unnamed(Handle),
    /// Directory, name, uuid.
    Named(String, String, u128),
    /// Directory, name.
    Plain(String, String),
}

struct Handle(Arc<Object>);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_handle(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_handle(Kind::Memory, size_of::<RawMemory>() as u64, deserializer).map(Self)
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |at: &SegmentName| match at.dir.to_str() {
            Some(dir) => Ok((dir.to_owned(), at.name.clone())),
            None => Err(ser::Error::custom(format!("the path of {at} is not UTF-8"))),
        };
        let wire = match &self.0 {
            Which::Unnamed(memory) => Wire::Unnamed(Handle(Arc::clone(&memory.object))),
            Which::Named(file) => {
                let (dir, name) = text(file.name())?;
                keep(|| Arc::clone(file) as _);
                Wire::Named(dir, name, file.uuid())
            }
            Which::Plain(file) => {
                let (dir, name) = text(file.name())?;
                Wire::Plain(dir, name)
            }
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let which = match Wire::deserialize(deserializer)? {
            Wire::Unnamed(Handle(object)) => {
                let memory = Unnamed::arrived(object);
                Which::Unnamed(memory.ok_or_else(|| refuse_handle::<Self, _>("the memory's header was damaged"))?)
            }
            Wire::Named(dir, name, uuid) => Which::Named(Arc::new(named(&dir, &name, uuid).map_err(refuse)?)),
            Wire::Plain(dir, name) => {
                let file = Place::dir(dir).and_then(|place| Plain::open(&place.name(&name), Access::ReadWrite));
                Which::Plain(Arc::new(file.map_err(refuse)?))
            }
        };
        Ok(Self(which))
    }
}

/// The very segment that was sent.
fn named(dir: &str, name: &str, uuid: u128) -> Result<NamedFile, SegmentError> {
    let place = Place::dir(dir)?;
    match NamedFile::open(&place, name, &BYTES, Access::ReadWrite) {
        Ok(file) if file.uuid() == uuid => Ok(file),
        Ok(_) | Err(SegmentError::NotFound(_)) => Err(SegmentError::Gone(place.named(name))),
        Err(e) => Err(e),
    }
}

/// Serde's errors carry no values: the whole one reaches whoever decodes the message beside them.
fn refuse<E: de::Error>(error: SegmentError) -> E {
    let text = error.to_string();
    scope::set_error(error.into());
    E::custom(text)
}
