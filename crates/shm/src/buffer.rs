//! Bytes that travel between processes without being copied.

use crate::block::Block;
use crate::error::ShmError;
use crate::family::Family;
use crate::kind::Kind;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes in the family's memory, owned by one process at a time: an item of a queue that is never copied.
///
/// The sender fills it in place and puts it into a `Queue<Buffer>`; the receiver reads it, changes it and sends it on in
/// place. What travels is the reference, whatever the length. Inside of another type (`(u64, Buffer)`), and as an argument
/// or result of a pool's task, its bytes are copied like those of a `Vec<u8>`.
///
/// It starts at an address that is a multiple of 64 if it has 64 bytes or more, of 16 otherwise, so `bytemuck::cast_slice`
/// gives it a type.
///
/// # When a process dies
/// Its buffers are freed, but for those that lie in a queue.
///
/// # Safety notes
/// A forked child must not use the buffers that it inherited: its parent still does. A relative that writes into memory
/// which is not its own can change the bytes under a reader, and so can whoever makes up a [`BlockRef`](crate::BlockRef).
///
/// # Examples
/// ```
/// use polyproc_shm::Buffer;
/// let mut buffer = Buffer::zeroed(1 << 20)?;
/// buffer[..5].copy_from_slice(b"hello");
/// assert_eq!((buffer.len(), &buffer[..6]), (1 << 20, &b"hello\0"[..]));
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
pub struct Buffer {
    /// Of as many bytes as are in use, at most its capacity.
    block: Block,
}

impl Buffer {
    /// A buffer of `len` bytes that hold what was in that memory before: for whoever writes all of them.
    ///
    /// # Errors
    /// [`ShmError::NoSpace`] if the system has no memory for it, and as [`Family::get`].
    ///
    /// # Examples
    /// ```
    /// let mut buffer = polyproc_shm::Buffer::new(3)?;
    /// buffer.copy_from_slice(&[1, 2, 3]);
    /// assert_eq!(*buffer, [1, 2, 3]);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn new(len: usize) -> Result<Self, ShmError> {
        Ok(Self { block: Family::get()?.alloc(len as u64, Kind::Data)? })
    }

    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    ///
    /// # Examples
    /// ```
    /// assert_eq!(*polyproc_shm::Buffer::zeroed(2)?, [0, 0]);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn zeroed(len: usize) -> Result<Self, ShmError> {
        let mut buffer = Self::new(len)?;
        buffer.fill(0);
        Ok(buffer)
    }

    /// A buffer with a copy of `bytes`.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    ///
    /// # Examples
    /// ```
    /// assert_eq!(*polyproc_shm::Buffer::copy_of(b"abc")?, *b"abc");
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn copy_of(bytes: &[u8]) -> Result<Self, ShmError> {
        let buffer = Self::new(bytes.len())?;
        // SAFETY: a new block of so many bytes; those of another buffer may overlap with it, in damaged memory.
        unsafe { bytes.as_ptr().copy_to(buffer.block.as_ptr(), bytes.len()) };
        Ok(buffer)
    }

    /// Keeps the first `len` bytes; more than there are changes nothing. The memory is kept.
    ///
    /// ```
    /// let mut buffer = polyproc_shm::Buffer::copy_of(b"abc")?;
    /// buffer.truncate(2);
    /// assert_eq!(*buffer, *b"ab");
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.block.set_len(len as u64);
        }
    }

    /// The family in whose memory it lies.
    ///
    /// ```
    /// use polyproc_shm::{Buffer, Family};
    /// assert_eq!(Buffer::new(1)?.family().id(), Family::get()?.id());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn family(&self) -> &'static Family {
        self.block.family()
    }

    /// The block that holds the bytes, as a message carries it.
    ///
    /// ```
    /// use polyproc_shm::Buffer;
    /// let block = Buffer::copy_of(b"abc")?.into_block();
    /// assert_eq!(*Buffer::from_block(block)?, *b"abc");
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn into_block(self) -> Block {
        self.block
    }

    /// The buffer in a block of this process's own. The block is claimed once more, so that nobody's references to it are
    /// good any longer. A length beyond its capacity does not count.
    ///
    /// # Errors
    /// [`ShmError::Gone`] if somebody has claimed it meanwhile.
    ///
    /// # Examples
    /// See [`Buffer::into_block`].
    pub fn from_block(block: Block) -> Result<Self, ShmError> {
        let family = block.family();
        let _open = family.map.keep_open()?; // the block may be what holds it
        let block = family.claim(block.into_ref())?;
        // SAFETY: whoever has a reference to it has one of an older generation.
        Ok(unsafe { Self::from_block_unchecked(block) })
    }

    /// As [`Buffer::from_block`], without claiming it once more.
    ///
    /// # Safety
    /// * The block's reference, in its present generation, was given to nobody, and never will be.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::Buffer;
    /// let block = Buffer::copy_of(b"abc")?.into_block();
    /// // SAFETY: nobody has seen its reference.
    /// assert_eq!(*unsafe { Buffer::from_block_unchecked(block) }, *b"abc");
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub unsafe fn from_block_unchecked(mut block: Block) -> Self {
        let len = block.len();
        block.set_len(len);
        Self { block }
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.block.len()).unwrap_or(0)
    }
}

impl core::ops::Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes of a block that this process owns, mapped while it does; any bits are bytes.
        unsafe { core::slice::from_raw_parts(self.block.as_ptr(), self.bytes()) }
    }
}

impl core::ops::DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; this value is the only owner of the block.
        unsafe { core::slice::from_raw_parts_mut(self.block.as_ptr(), self.bytes()) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Equal if their bytes are.
impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl core::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copied;

        impl de::Visitor<'_> for Copied {
            type Value = Buffer;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Buffer, E> {
                Buffer::copy_of(bytes).map_err(E::custom)
            }
        }

        deserializer.deserialize_bytes(Copied)
    }
}
