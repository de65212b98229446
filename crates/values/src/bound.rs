//! Handles that travel together with the lock that they are bound to.

use core::fmt;
use polyproc_shm::{Kind, Object, message};
use polyproc_sync::Lock;
use polyproc_sync::lock::identity_of;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A number for the lock, by which an object tells whether it arrived with its own; 0 for none.
pub(crate) fn hash(lock: Option<&Lock>) -> u64 {
    lock.map_or(0, |lock| {
        let (family, offset) = identity_of(lock);
        (family ^ offset).wrapping_mul(0x9e37_79b9_7f4a_7c15) // an odd number: in one family no two are the same
    })
}

struct Sent<'a>(&'a Arc<Object>);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(self.0, serializer)
    }
}

pub(crate) fn serialize<S: Serializer>(
    object: &Arc<Object>,
    lock: Option<&Lock>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut both = serializer.serialize_tuple(2)?;
    both.serialize_element(&Sent(object))?;
    both.serialize_element(&lock)?;
    both.end()
}

/// The object, of `kind` and with at least `least` bytes, and its lock.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    kind: Kind,
    least: u64,
    deserializer: D,
) -> Result<(Arc<Object>, Option<Lock>), D::Error> {
    deserializer.deserialize_tuple(2, Wanted { kind, least })
}

#[derive(Clone, Copy)]
struct Wanted {
    kind: Kind,
    least: u64,
}

impl<'de> DeserializeSeed<'de> for Wanted {
    type Value = Arc<Object>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        message::deserialize_handle(self.kind, self.least, deserializer)
    }
}

impl<'de> Visitor<'de> for Wanted {
    type Value = (Arc<Object>, Option<Lock>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handle, and a lock if it is bound to one")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let object = seq.next_element_seed(self)?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let lock = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        Ok((object, lock))
    }
}
