//! How a condition travels in messages: with its lock, if that is not its own.

use super::{Bytes, Condition, LEN, bytes};
use crate::lockable::Lockable;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use polyproc_shm::{Kind, Object, message};
use polyproc_sys::atomic::Ordering::Relaxed;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

struct Sent<'a>(&'a Arc<Object>);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(self.0, serializer)
    }
}

impl<L: Lockable> Serialize for Condition<L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_its_own = self.raw.label.load(Relaxed) == 0;
        let mut both = serializer.serialize_tuple(2)?;
        both.serialize_element(&Sent(&self.object))?;
        both.serialize_element(&(!has_its_own).then_some(&self.lock))?;
        both.end()
    }
}

impl<'de, L: Lockable> Deserialize<'de> for Condition<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (object, lock) = deserializer.deserialize_tuple(2, Received(PhantomData))?;
        let raw: &'static Bytes = bytes(&object);
        let label = lock.as_ref().map_or(0, L::label);
        // SAFETY: the first field of the object's bytes.
        let lock = lock.or_else(|| unsafe { L::own(&object, &raw.own) });
        match lock {
            Some(lock) if raw.label.load(Relaxed) == label => Ok(Self { object: ManuallyDrop::new(object), lock, raw }),
            _ => Err(message::refuse_handle::<Self, _>("the condition is one of another lock")),
        }
    }
}

/// The object, and the lock that came with it.
struct Received<L>(PhantomData<L>);

impl<'de, L> DeserializeSeed<'de> for Received<L> {
    type Value = Arc<Object>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        message::deserialize_handle(Kind::Condition, LEN, deserializer)
    }
}

impl<'de, L: Lockable> Visitor<'de> for Received<L> {
    type Value = (Arc<Object>, Option<L>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handle, and a lock if it is not its own")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let object = seq.next_element_seed(Self(PhantomData))?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let lock = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        Ok((object, lock))
    }
}
