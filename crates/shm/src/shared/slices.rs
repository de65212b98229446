//! What is rarer done with shared memory: to change its size, and to take its bytes for a slice.

use super::memory::{SharedMemory, Which};
use crate::named::SegmentError;
use std::sync::Arc;

impl SharedMemory {
    /// The bytes that it may grow to: what [`growable`](crate::MemoryBuilder::growable) said when it was made.
    ///
    /// ```
    /// assert_eq!(polyproc_shm::SharedMemory::new(10)?.limit(), 10);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[must_use]
    pub fn limit(&self) -> u64 {
        match &self.0 {
            Which::Unnamed(memory) => memory.limit(),
            Which::Named(file) => file.limit(),
            Which::Plain(file) => file.len(),
        }
    }

    /// Makes it at least `len` bytes long. The new bytes are zero; everybody sees them, addresses stay.
    ///
    /// # Errors
    /// [`SegmentError::NotGrowable`] beyond [`SharedMemory::limit`]; [`SegmentError::NoSpace`]. Then it is as long as it was.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let name = format!("doc-memory-grow-{}", std::process::id());
    /// let memory = SharedMemory::builder().growable(1 << 30).create(&name, 10)?;
    /// let other = SharedMemory::open(&name)?;
    /// memory.grow(1 << 20)?;
    /// other.set::<u8>((1 << 20) - 1, 7)?;
    /// assert!(memory.grow(1 << 31).is_err());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn grow(&self, len: u64) -> Result<(), SegmentError> {
        match &self.0 {
            Which::Named(file) => file.grow(len),
            _ if len > self.limit() => {
                Err(SegmentError::NotGrowable { what: self.what(), asked: len, limit: self.limit() })
            }
            Which::Unnamed(memory) => {
                memory.grow(len);
                Ok(())
            }
            Which::Plain(_) => Ok(()),
        }
    }

    /// Makes it `len` bytes long and forgets the others, if this is the only handle in all processes; a named one gives
    /// their memory back. More than it has changes nothing.
    ///
    /// # Errors
    /// [`SegmentError::InUse`] if there is another handle, or may be one: a message that was sent, a forked child; always for a
    /// plain file, whose users nobody knows. As [`NamedFile::shrink`](crate::NamedFile::shrink).
    ///
    /// # Examples
    /// ```
    /// let mut memory = polyproc_shm::SharedMemory::new(100)?;
    /// let other = memory.clone();
    /// assert!(memory.shrink(10).is_err());
    /// drop(other);
    /// memory.shrink(10)?;
    /// assert_eq!(memory.len(), 10);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn shrink(&mut self, len: u64) -> Result<(), SegmentError> {
        let what = self.what();
        let alone = match &mut self.0 {
            Which::Unnamed(memory) => memory.shrink(len),
            Which::Named(file) => match Arc::get_mut(file) {
                Some(file) => return file.shrink(len),
                None => false,
            },
            Which::Plain(_) => false,
        };
        if alone { Ok(()) } else { Err(SegmentError::InUse { what }) }
    }

    /// Its bytes as a slice, as many as there are now.
    ///
    /// # Safety
    /// * Nobody, in any process, writes to them while the slice lives, by whatever way.
    ///
    /// # Examples
    /// ```
    /// let memory = polyproc_shm::SharedMemory::new(4)?;
    /// memory.write(0, b"abcd")?;
    /// // SAFETY: nobody else has a handle, and we do not write.
    /// assert_eq!(unsafe { memory.as_slice() }, b"abcd");
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        let len = usize::try_from(self.len()).unwrap_or(0);
        // SAFETY: so many bytes are mapped and backed as long as the handle lives; nobody writes, by the caller's duty.
        unsafe { core::slice::from_raw_parts(self.as_ptr(), len) }
    }

    /// Its bytes as a slice to be changed, as many as there are now.
    ///
    /// # Safety
    /// * Nobody else, in any process and by whatever way, uses them while the slice lives.
    ///
    /// # Examples
    /// ```
    /// let mut memory = polyproc_shm::SharedMemory::new(4)?;
    /// // SAFETY: nobody else has a handle.
    /// unsafe { memory.as_mut_slice() }.copy_from_slice(b"abcd");
    /// assert_eq!(memory.get::<u8>(3)?, b'd');
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = usize::try_from(self.len()).unwrap_or(0);
        // SAFETY: so many bytes are mapped and backed as long as the handle lives; nobody else uses them, by the caller's duty.
        unsafe { core::slice::from_raw_parts_mut(self.as_ptr(), len) }
    }
}
