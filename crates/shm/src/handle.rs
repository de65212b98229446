//! Handles as parts of values: how the `Serialize` and `Deserialize` of locks, queues and the like are written.

use crate::error::wrong;
use crate::keep::keep;
use crate::kind::Kind;
use crate::named::NamedRef;
use crate::object::Object;
use crate::scope;
use serde::{Deserializer, Serialize, Serializer, de, ser};
use std::sync::Arc;

/// Serializes a handle: how the `Serialize` of a lock's or a queue's handle is written.
///
/// # Errors
/// Outside of [`Message::encode`](crate::Message::encode): a handle means nothing anywhere else.
///
/// # Examples
/// ```
/// use polyproc_shm::{Family, Kind, Message, Object, message};
/// use std::sync::Arc;
/// struct Lock(Arc<Object>);
/// impl serde::Serialize for Lock {
///     fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
///         message::serialize_handle(&self.0, s)
///     }
/// }
/// impl<'de> serde::Deserialize<'de> for Lock {
///     fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
///         message::deserialize_handle(Kind::Lock, 64, d).map(Lock)
///     }
/// }
/// let family = Family::get()?;
/// let lock = Lock(Arc::new(Object::create(family, 64, Kind::Lock)?));
/// let message = Message::encode(family, &("work", lock))?;
/// let (_, lock): (String, Lock) = message.decode(family)?; // in another process, as a rule
/// assert_eq!(lock.0.kind(), Kind::Lock);
/// # Ok::<(), polyproc_shm::MessageError>(())
/// ```
pub fn serialize_handle<S: Serializer>(object: &Arc<Object>, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(member) = object.member().filter(|_| scope::is_encoding()) {
        keep(|| Arc::clone(object) as _);
        return (BY_NAME, NamedRef::of(member)).serialize(serializer);
    }
    match scope::add_handle(object) {
        Some(number) => serializer.serialize_u32(number),
        None => Err(ser::Error::custom("a handle can only be encoded into a message of its family")),
    }
}

/// Deserializes a handle of an object of `kind` that has at least `least` bytes; see [`serialize_handle`].
///
/// Whoever reads the object as a type relies on `least`: a damaged message may name a smaller object of the same kind.
///
/// # Errors
/// Outside of [`Message::decode`](crate::Message::decode), or if the message carries no such handle: [`ShmError::BadHandle`](crate::ShmError).
///
/// # Examples
/// ```
/// use polyproc_shm::{Kind, message};
/// let number = serde::de::value::U32Deserializer::<serde::de::value::Error>::new(0);
/// assert!(message::deserialize_handle(Kind::Lock, 64, number).is_err()); // no message is being decoded
/// ```
pub fn deserialize_handle<'de, D: Deserializer<'de>>(
    kind: Kind,
    least: u64,
    deserializer: D,
) -> Result<Arc<Object>, D::Error> {
    deserializer.deserialize_tuple(2, Handle { kind, least })
}

/// In place of a handle's number: its name follows.
const BY_NAME: u32 = u32::MAX;

struct Handle {
    kind: Kind,
    least: u64,
}

impl<'de> de::Visitor<'de> for Handle {
    type Value = Arc<Object>;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a handle")
    }

    fn visit_u32<E: de::Error>(self, number: u32) -> Result<Arc<Object>, E> {
        scope::take_handle(number, self.kind, self.least).map(Arc::new).map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Arc<Object>, A::Error> {
        let missing = || de::Error::custom("there is no handle");
        match parts.next_element::<u32>()?.ok_or_else(missing)? {
            BY_NAME => {
                let name = parts.next_element::<NamedRef>()?.ok_or_else(missing)?;
                scope::open_handle(&name, self.kind, self.least).map_err(de::Error::custom)
            }
            number => self.visit_u32(number),
        }
    }
}

/// The error of a handle type's `Deserialize` that got its object and does not want it: `why` reaches whoever decodes the
/// message, which serde's own errors do not.
///
/// ```
/// use polyproc_shm::message;
/// let e: serde::de::value::Error = message::refuse_handle::<u8, _>("the box is closed");
/// assert!(e.to_string().contains("closed"));
/// ```
#[cold]
pub fn refuse_handle<T, E: de::Error>(why: &str) -> E {
    scope::set_error(wrong::<T>(why));
    E::custom(why)
}
