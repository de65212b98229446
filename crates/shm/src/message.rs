//! Values as messages: bytes that one process makes and another turns into a value again.
//!
//! Integers, floats, `bool`, `char`, `()`, `String`, `Vec<u8>` and [`Buffer`] are moved as they are; all other types by
//! serde, in postcard's format. Up to 48 bytes lie inline in six words; more lie in a block, written there without a second copy.
//! Handles of shared objects travel in the message's table of tickets ([`serialize_handle`]).

use crate::block::Block;
use crate::buffer::Buffer;
use crate::codec::{self, Codec, INLINE};
use crate::envelope;
use crate::error::{MessageError, ShmError, wrong};
use crate::family::Family;
pub use crate::handle::{deserialize_handle, refuse_handle, serialize_handle};
pub use crate::keep::{Kept, keeping};
use crate::kind::Kind;
use crate::scope::{DecodingScope, Encoding};
use crate::whole::Whole;
use core::any::{Any, TypeId};
use core::mem::MaybeUninit;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An encoded value.
///
/// ```
/// use polyproc_shm::{Family, Message};
/// let family = Family::get()?;
/// let message = Message::encode(family, &vec!["a".to_string(), "b".to_string()])?;
/// assert!(matches!(message, Message::Inline { len: 5, .. }));
/// assert_eq!(message.decode::<Vec<String>>(family)?, ["a", "b"]);
/// # Ok::<(), polyproc_shm::MessageError>(())
/// ```
#[derive(Debug)]
pub enum Message {
    /// At most 48 bytes.
    Inline {
        /// The bytes, in little-endian order.
        words: [u64; 6],
        /// How many of them count.
        len: u8,
    },
    /// More bytes, or handles: `block.len()` bytes, and the table of handles behind them.
    Block(Block),
}

/// Values that fit are encoded on the stack first.
const SCRATCH: usize = 512;

impl Message {
    /// Encodes a value.
    ///
    /// # Errors
    /// If the value's `Serialize` fails, or there is no memory for the bytes.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Message};
    /// let family = Family::get()?;
    /// assert!(matches!(Message::encode(family, &3.5_f64)?, Message::Inline { len: 8, .. }));
    /// assert!(matches!(Message::encode(family, &vec![0_u8; 1000])?, Message::Block(_)));
    /// # Ok::<(), polyproc_shm::MessageError>(())
    /// ```
    #[inline]
    pub fn encode<T: Serialize + 'static>(family: &'static Family, value: &T) -> Result<Self, MessageError> {
        if let Some((words, len)) = codec::encode_raw(value) {
            #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
            return Ok(Self::Inline { words, len: len as u8 });
        }
        let any: &dyn Any = value;
        if let Some(bytes) = any.downcast_ref::<Vec<u8>>() {
            return Self::from_bytes(family, bytes);
        }
        if let Some(text) = any.downcast_ref::<String>() {
            return Self::from_bytes(family, text.as_bytes());
        }
        if let Some(buffer) = any.downcast_ref::<Buffer>() {
            return Self::from_bytes(family, buffer);
        }
        encode_serde(family, value)
    }

    /// A message of bytes that were encoded elsewhere: read from a connection, say.
    ///
    /// # Errors
    /// If there is no memory for the bytes.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Message};
    /// let family = Family::get()?;
    /// let bytes = Message::encode(family, &(1, "x".to_string()))?.to_vec()?;
    /// assert_eq!(Message::from_bytes(family, &bytes)?.decode::<(i32, String)>(family)?.0, 1);
    /// # Ok::<(), polyproc_shm::MessageError>(())
    /// ```
    pub fn from_bytes(family: &'static Family, bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() <= INLINE {
            #[expect(clippy::cast_possible_truncation, reason = "at most 48")]
            return Ok(Self::Inline { words: codec::to_words(bytes), len: bytes.len() as u8 });
        }
        let block = family.alloc(bytes.len() as u64, Kind::Data)?;
        copy_in(bytes, &block);
        Ok(Self::Block(block))
    }

    /// The bytes, to be sent elsewhere.
    ///
    /// # Errors
    /// [`MessageError::HasHandles`]: they would mean nothing outside of the family's memory.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Message};
    /// assert_eq!(Message::encode(Family::get()?, &7_u16)?.to_vec()?, [7, 0]);
    /// # Ok::<(), polyproc_shm::MessageError>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<u8>, MessageError> {
        match self {
            Self::Inline { words, len } => Ok(codec::to_bytes(words)[..usize::from(*len).min(INLINE)].to_vec()),
            Self::Block(block) if block.handles() != 0 => Err(MessageError::HasHandles),
            Self::Block(block) => Ok(copy_out(block)),
        }
    }

    /// How many bytes the value takes.
    ///
    /// ```
    /// use polyproc_shm::{Family, Message};
    /// assert_eq!(Message::encode(Family::get()?, &"abc".to_string())?.len(), 3);
    /// # Ok::<(), polyproc_shm::MessageError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline { len, .. } => u64::from(*len),
            Self::Block(block) => block.len(),
        }
    }

    /// Whether the value takes no byte.
    ///
    /// ```
    /// use polyproc_shm::{Family, Message};
    /// assert!(Message::encode(Family::get()?, &())?.is_empty());
    /// # Ok::<(), polyproc_shm::MessageError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many handles the message carries.
    ///
    /// ```
    /// use polyproc_shm::{Family, Message};
    /// assert_eq!(Message::encode(Family::get()?, &1_u8)?.handles(), 0);
    /// # Ok::<(), polyproc_shm::MessageError>(())
    /// ```
    #[must_use]
    pub fn handles(&self) -> u16 {
        match self {
            Self::Inline { .. } => 0,
            Self::Block(block) => block.handles(),
        }
    }

    /// Turns the message into a value again, and frees its block.
    ///
    /// # Errors
    /// If it is no value of the type, or a handle in it is gone.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Message};
    /// let family = Family::get()?;
    /// let text = "long ".repeat(100);
    /// assert_eq!(Message::encode(family, &text)?.decode::<String>(family)?, text);
    /// # Ok::<(), polyproc_shm::MessageError>(())
    /// ```
    #[inline]
    pub fn decode<T: DeserializeOwned + 'static>(self, family: &'static Family) -> Result<T, MessageError> {
        match self {
            Self::Inline { words, len } => decode_inline(family, &words, usize::from(len)),
            Self::Block(block) => decode_block(block),
        }
    }
}

/// Turns at most 48 bytes in six words into a value: [`Message::decode`] for words that lie in a queue's slot.
///
/// # Errors
/// [`MessageError::Decode`].
///
/// # Examples
/// ```
/// use polyproc_shm::{Family, message};
/// assert_eq!(message::decode_inline::<u32>(Family::get()?, &[9, 0, 0, 0, 0, 0], 4)?, 9);
/// # Ok::<(), polyproc_shm::MessageError>(())
/// ```
#[inline]
pub fn decode_inline<T: DeserializeOwned + 'static>(
    family: &'static Family,
    words: &[u64; 6],
    len: usize,
) -> Result<T, MessageError> {
    match codec::decode_raw(words, len) {
        Some(Some(value)) => Ok(value),
        Some(None) => Err(wrong::<T>("the bytes are no value of it")),
        None => decode_slice(family, &codec::to_bytes(words)[..len.min(INLINE)], 0, Ok(Vec::new())),
    }
}

/// Turns the message in a block into a value, and frees the block.
///
/// The bytes are copied out of the shared memory before they are looked at: a relative that writes into the block
/// meanwhile can spoil the value, not more. But for a [`Buffer`], which is the block itself.
///
/// # Errors
/// As [`Message::decode`].
///
/// # Examples
/// ```
/// use polyproc_shm::{Family, Message, message};
/// let family = Family::get()?;
/// let Message::Block(block) = Message::encode(family, &vec![7_u8; 100])? else { panic!("too small") };
/// let arrived = family.claim(block.into_ref())?;
/// assert_eq!(message::decode_block::<Vec<u8>>(arrived)?, [7; 100]);
/// # Ok::<(), polyproc_shm::MessageError>(())
/// ```
pub fn decode_block<T: DeserializeOwned + 'static>(block: Block) -> Result<T, MessageError> {
    if TypeId::of::<T>() == TypeId::of::<Buffer>() {
        return codec::as_type(Buffer::from_block(block)?).ok_or_else(|| wrong::<T>("it is a buffer"));
    }
    let len = usize::try_from(block.len().min(block.capacity())).unwrap_or(0);
    if len <= SCRATCH && Codec::of::<T>() == Codec::Postcard {
        let mut scratch = [0; SCRATCH];
        // SAFETY: `len` bytes of a block of at least so many, into a buffer of at least so many; they cannot overlap.
        unsafe { block.as_ptr().copy_to_nonoverlapping(scratch.as_mut_ptr(), len) };
        return decode_slice(block.family(), &scratch[..len], block.offset(), envelope::tickets(&block));
    }
    let bytes = copy_out(&block);
    if Codec::of::<T>() != Codec::Bytes {
        return decode_slice(block.family(), &bytes, block.offset(), envelope::tickets(&block));
    }
    if block.handles() != 0 {
        return Err(wrong::<T>("it carries handles"));
    }
    drop(block);
    bytes_as(bytes)
}

/// `T` is `Vec<u8>`, `String` or `Buffer`.
fn bytes_as<T: 'static>(bytes: Vec<u8>) -> Result<T, MessageError> {
    if TypeId::of::<T>() == TypeId::of::<Buffer>() {
        return codec::as_type(Buffer::copy_of(&bytes)?).ok_or_else(|| wrong::<T>("it is a buffer"));
    }
    if TypeId::of::<T>() == TypeId::of::<String>() {
        let text = String::from_utf8(bytes).map_err(|e| wrong::<T>(&e.to_string()))?;
        return codec::as_type(text).ok_or_else(|| wrong::<T>("it is no text"));
    }
    codec::as_type(bytes).ok_or_else(|| wrong::<T>("it is too large"))
}

/// Decodes private bytes of the message in the block at `message`.
fn decode_slice<T: DeserializeOwned + 'static>(
    family: &'static Family,
    bytes: &[u8],
    message: u64,
    tickets: Result<Vec<crate::holds::Ticket>, ShmError>,
) -> Result<T, MessageError> {
    match Codec::of::<T>() {
        Codec::Bytes => return bytes_as(bytes.to_vec()),
        Codec::Raw { .. } => return Err(wrong::<T>("it is too large")),
        Codec::Postcard => {}
    }
    let scope = DecodingScope::enter(family, message, tickets?);
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(wrong::<T>("there are bytes behind it")),
        Err(e) => Err(scope.error().unwrap_or_else(|| MessageError::undecodable::<T>(&e))),
    }
}

fn encode_serde<T: Serialize + 'static>(family: &'static Family, value: &T) -> Result<Message, MessageError> {
    let scope = Encoding::enter();
    let mut scratch = [MaybeUninit::uninit(); SCRATCH];
    let failed = |e: &postcard::Error| MessageError::unencodable::<T>(e);
    let len = postcard::serialize_with_flavor(&Whole(value), Probe { bytes: &mut scratch, len: 0 })
        .map_err(|e| failed(&e))?;
    let mut objects = scope.take();
    if len <= INLINE && objects.is_empty() {
        let mut words = [0; 6];
        let to: *mut u8 = words.as_mut_ptr().cast();
        // SAFETY: `Probe` initialized `len` bytes, at most 48, the size of `words`; any bits are valid for integers.
        unsafe { scratch.as_ptr().cast::<u8>().copy_to_nonoverlapping(to, len) };
        #[expect(clippy::cast_possible_truncation, reason = "at most 48")]
        return Ok(Message::Inline { words: words.map(u64::from_le), len: len as u8 });
    }
    if objects.iter().any(|o| o.family().id() != family.id()) {
        return Err(ShmError::OtherFamily.into());
    }
    if objects.len() > usize::from(u16::MAX) {
        return Err(MessageError::TooManyHandles);
    }
    let mut block = family.alloc(envelope::size(len as u64, objects.len()), Kind::Data)?;
    block.set_len(len as u64);
    if len <= SCRATCH {
        // SAFETY: `Probe` initialized `len` bytes; the block was made with room for them and is ours alone.
        unsafe { scratch.as_ptr().cast::<u8>().copy_to_nonoverlapping(block.as_ptr(), len) };
    } else {
        let to = Writer { to: block.as_ptr(), left: len };
        let left = postcard::serialize_with_flavor(&Whole(value), to).map_err(|e| failed(&e))?;
        let again = scope.take();
        if left != 0 || again.len() != objects.len() {
            let why = "it gave different bytes the second time: its Serialize must depend on the value alone";
            return Err(MessageError::Encode { what: core::any::type_name::<T>(), why: why.to_owned() });
        }
        objects = again;
    }
    if !objects.is_empty() {
        let tickets = family.add_tickets(&objects, (block.offset(), block.generation()))?;
        envelope::write(&mut block, &tickets);
    }
    Ok(Message::Block(block))
}

/// Keeps the first bytes and counts all of them.
struct Probe<'a> {
    bytes: &'a mut [MaybeUninit<u8>; SCRATCH],
    len: usize,
}

impl postcard::ser_flavors::Flavor for Probe<'_> {
    type Output = usize;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            slot.write(byte);
        }
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if let Some(slots) = self.bytes.get_mut(self.len..).filter(|s| s.len() >= data.len()) {
            slots[..data.len()].write_copy_of_slice(data);
        }
        // Where they did not all fit, none is needed: the value is too long for the buffer.
        self.len += data.len();
        Ok(())
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.len)
    }
}

/// Writes into a block that this process alone owns. Invariant: `left` bytes from `to` on are in the block.
struct Writer {
    to: *mut u8,
    left: usize,
}

impl postcard::ser_flavors::Flavor for Writer {
    type Output = usize;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.left = self.left.checked_sub(data.len()).ok_or(postcard::Error::SerializeBufferFull)?;
        // SAFETY: so many bytes were left in the block, as was just checked; a buffer's may overlap with it, in damaged memory.
        unsafe { data.as_ptr().copy_to(self.to, data.len()) };
        self.to = self.to.wrapping_add(data.len());
        Ok(())
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.left)
    }
}

fn copy_in(bytes: &[u8], block: &Block) {
    debug_assert!(bytes.len() as u64 <= block.capacity());
    // SAFETY: the block was made for these bytes; a buffer's may overlap with it, in damaged memory.
    unsafe { bytes.as_ptr().copy_to(block.as_ptr(), bytes.len()) };
}

/// The bytes in use of a block, as a private copy.
fn copy_out(block: &Block) -> Vec<u8> {
    let len = usize::try_from(block.len().min(block.capacity())).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len);
    // SAFETY: `len` bytes of a block of at least so many, into a fresh buffer of at least so many.
    unsafe { block.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
    // SAFETY: so many bytes were just written.
    unsafe { bytes.set_len(len) };
    bytes
}
