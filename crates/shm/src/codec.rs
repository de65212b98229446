//! How a type is encoded, and the fast way for those that are a handful of bytes.

use crate::buffer::Buffer;
use core::any::{Any, TypeId};

/// Six words: what a small message is made of.
pub(crate) type Words = [u64; 6];
/// The bytes of [`Words`].
pub(crate) const INLINE: usize = 48;

/// How the values of a type are encoded.
///
/// ```
/// use polyproc_shm::Codec;
/// assert_eq!(Codec::of::<u64>(), Codec::Raw { size: 8 });
/// assert_eq!(Codec::of::<String>(), Codec::Bytes);
/// assert_eq!(Codec::of::<(u8, u8)>(), Codec::Postcard);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// An integer, a float, `bool`, `char` or `()`: its bytes, always inline.
    Raw {
        /// The bytes of a value.
        size: usize,
    },
    /// `Vec<u8>`, `String` or [`Buffer`]: the bytes in it.
    Bytes,
    /// All other types: by serde, in postcard's format.
    Postcard,
}

impl Codec {
    /// How values of `T` are encoded; known at compile time.
    ///
    /// ```
    /// use polyproc_shm::Codec;
    /// assert_eq!(Codec::of::<()>(), Codec::Raw { size: 0 });
    /// ```
    #[must_use]
    #[inline]
    pub fn of<T: 'static>() -> Self {
        let t = TypeId::of::<T>();
        if t == TypeId::of::<Vec<u8>>() || t == TypeId::of::<String>() || t == TypeId::of::<Buffer>() {
            Self::Bytes
        } else if is_raw(t) {
            Self::Raw { size: size_of::<T>() }
        } else {
            Self::Postcard
        }
    }

    /// A number that stands for the codec in a queue's header.
    ///
    /// ```
    /// use polyproc_shm::Codec;
    /// assert_ne!(Codec::Bytes.id(), Codec::Postcard.id());
    /// ```
    #[must_use]
    pub fn id(self) -> u64 {
        match self {
            Self::Raw { size } => 0x100 + size as u64,
            Self::Bytes => 2,
            Self::Postcard => 1,
        }
    }
}

/// A type whose values fit into two words.
trait Word: Copy + 'static {
    fn to_words(self) -> [u64; 2];
    fn from_words(words: [u64; 2]) -> Option<Self>;
}

macro_rules! integers {
    ($($t:ty)*) => { $(
        impl Word for $t {
            #[inline]
            fn to_words(self) -> [u64; 2] {
                let mut bytes = [0; 16];
                bytes[..size_of::<Self>()].copy_from_slice(&self.to_le_bytes());
                let value = u128::from_le_bytes(bytes);
                #[expect(clippy::cast_possible_truncation, reason = "the low half")]
                [value as u64, (value >> 64) as u64]
            }

            #[inline]
            fn from_words(words: [u64; 2]) -> Option<Self> {
                let value = u128::from(words[0]) | u128::from(words[1]) << 64;
                let (bytes, _) = value.to_le_bytes().split_first_chunk::<{ size_of::<Self>() }>().map(|(b, r)| (*b, r.len()))?;
                Some(Self::from_le_bytes(bytes))
            }
        }
    )* };
}

macro_rules! by_bits {
    ($($t:ty, $bits:ty, $to:expr, $from:expr;)*) => { $(
        impl Word for $t {
            #[inline]
            fn to_words(self) -> [u64; 2] {
                let to: fn($t) -> $bits = $to;
                to(self).to_words()
            }

            #[inline]
            fn from_words(words: [u64; 2]) -> Option<Self> {
                let from: fn($bits) -> Option<$t> = $from;
                from(<$bits>::from_words(words)?)
            }
        }
    )* };
}

integers! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 }
by_bits! {
    bool, u8, u8::from, |b| match b { 0 => Some(false), 1 => Some(true), _ => None };
    char, u32, u32::from, char::from_u32;
}

macro_rules! for_each_raw {
    ($do:ident) => {
        $do! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char }
    };
}

#[inline]
fn is_raw(t: TypeId) -> bool {
    macro_rules! any_of {
        ($($t:ty)*) => { t == TypeId::of::<()>() $(|| t == TypeId::of::<$t>())* };
    }
    for_each_raw!(any_of)
}

/// The words and the length of a raw value; `None` for all other types. Compiles to a few moves.
#[inline]
pub(crate) fn encode_raw<T: 'static>(value: &T) -> Option<(Words, usize)> {
    let value: &dyn Any = value;
    macro_rules! try_each {
        ($($t:ty)*) => { $(
            if let Some(v) = value.downcast_ref::<$t>() {
                let [low, high] = v.to_words();
                return Some(([low, high, 0, 0, 0, 0], size_of::<$t>()));
            }
        )* };
    }
    for_each_raw!(try_each);
    value.is::<()>().then_some(([0; 6], 0))
}

/// The raw value in the words; `None` if `T` is no raw type, `Some(None)` if the words hold no value of it.
#[inline]
pub(crate) fn decode_raw<T: 'static>(words: &Words, len: usize) -> Option<Option<T>> {
    macro_rules! try_each {
        ($($t:ty)*) => { $(
            if TypeId::of::<T>() == TypeId::of::<$t>() {
                let value = if len == size_of::<$t>() { <$t>::from_words([words[0], words[1]]) } else { None };
                return Some(value.and_then(as_type::<$t, T>));
            }
        )* };
    }
    for_each_raw!(try_each);
    (TypeId::of::<T>() == TypeId::of::<()>()).then(|| if len == 0 { as_type::<(), T>(()) } else { None })
}

/// `value` as a `T`, if that is its type.
#[inline]
pub(crate) fn as_type<V: 'static, T: 'static>(value: V) -> Option<T> {
    let mut value = Some(value);
    let value: &mut dyn Any = &mut value;
    value.downcast_mut::<Option<T>>()?.take()
}

/// At most 48 bytes as words.
pub(crate) fn to_words(bytes: &[u8]) -> Words {
    let mut padded = [0; INLINE];
    let n = bytes.len().min(INLINE);
    padded[..n].copy_from_slice(&bytes[..n]);
    let mut words = [0; 6];
    for (word, chunk) in words.iter_mut().zip(padded.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}

/// The bytes of words.
pub(crate) fn to_bytes(words: &Words) -> [u8; INLINE] {
    let mut bytes = [0; INLINE];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes
}
