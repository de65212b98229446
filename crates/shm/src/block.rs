//! A block of the family's memory that this process owns.

use crate::allocator::Fresh;
use crate::error::ShmError;
use crate::family::Family;
use crate::ids::{BlockRef, ProcessId};
use crate::named::Hold;
use core::mem::ManuallyDrop;

/// A block that this process owns; freed when dropped.
///
/// A forked child may use the blocks that it inherited, but does not free them.
///
/// ```
/// use polyproc_shm::{Family, Kind};
/// let block = Family::get()?.alloc(4096, Kind::Data)?;
/// assert_eq!(block.len(), 4096);
/// assert!(block.as_ptr().cast::<u64>().is_aligned());
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
pub struct Block {
    family: &'static Family,
    offset: u64,
    len: u64,
    capacity: u64,
    generation: u32,
    handles: u16,
    owner: ProcessId,
    /// What keeps the memory, if it is that of a named object.
    member: Option<Hold<'static>>,
}

impl Block {
    #[inline]
    pub(crate) fn new(
        family: &'static Family,
        fresh: &Fresh,
        len: u64,
        owner: ProcessId,
        member: Option<Hold<'static>>,
    ) -> Self {
        let &Fresh { offset, generation, capacity } = fresh;
        Self { family, offset, len, capacity, generation, handles: 0, owner, member }
    }

    pub(crate) fn claimed(
        family: &'static Family,
        r: &BlockRef,
        capacity: u64,
        owner: ProcessId,
        member: Option<Hold<'static>>,
    ) -> Self {
        let &BlockRef { offset, len, generation, handles, .. } = r;
        Self { family, offset, len, capacity, generation, handles, owner, member }
    }

    /// The family whose memory it is.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// let family = Family::get()?;
    /// assert_eq!(family.alloc(8, Kind::Data)?.family().id(), family.id());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Where it lies in the family's memory.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// assert!(Family::get()?.alloc(64, Kind::Data)?.offset().is_multiple_of(64));
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many of its bytes are in use, at most [`Block::capacity`].
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// assert_eq!(Family::get()?.alloc(5, Kind::Data)?.len(), 5);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte is in use.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// assert!(Family::get()?.alloc(0, Kind::Data)?.is_empty());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says how many bytes are in use from now on, at most [`Block::capacity`]; returns what was set.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// let mut block = Family::get()?.alloc(64, Kind::Data)?;
    /// assert_eq!(block.set_len(10), 10);
    /// assert_eq!(block.set_len(1000), 64);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn set_len(&mut self, len: u64) -> u64 {
        self.len = len.min(self.capacity);
        self.len
    }

    /// How many bytes it has.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// assert!(Family::get()?.alloc(100, Kind::Data)?.capacity() >= 100);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Which use of the block this is.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// let block = Family::get()?.alloc(100, Kind::Data)?;
    /// assert_eq!(block.generation(), block.ref_().generation);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How many handles the message in it carries.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// assert_eq!(Family::get()?.alloc(100, Kind::Data)?.handles(), 0);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn handles(&self) -> u16 {
        self.handles
    }

    pub(crate) fn set_handles(&mut self, handles: u16) {
        self.handles = handles;
    }

    pub(crate) fn owner(&self) -> ProcessId {
        self.owner
    }

    /// The address of its first byte. Good for [`Block::capacity`] bytes, also after the block was freed: then they are
    /// somebody else's.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// let block = Family::get()?.alloc(8, Kind::Data)?;
    /// // SAFETY: eight bytes of our own, aligned to 16.
    /// unsafe { block.as_ptr().cast::<u64>().write(7) };
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.family.map.pointer(self.offset)
    }

    /// The reference by which another process can claim it, while this one stays the owner.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// let block = Family::get()?.alloc(8, Kind::Data)?;
    /// assert_eq!(block.ref_().offset, block.offset());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn ref_(&self) -> BlockRef {
        BlockRef {
            offset: self.offset,
            len: self.len,
            generation: self.generation,
            handles: self.handles,
            owner: self.owner,
        }
    }

    /// Gives the guard up without freeing the block: whoever gets the reference frees it, or the sweep after this
    /// process's death does.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// let family = Family::get()?;
    /// let r = family.alloc(8, Kind::Data)?.into_ref();
    /// drop(family.claim(r)?);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use = "the block leaks, until this process ends, if nobody claims it"]
    #[inline]
    pub fn into_ref(self) -> BlockRef {
        let mut this = ManuallyDrop::new(self);
        this.member = None;
        this.ref_()
    }

    /// Frees the block, and says whether it was there to be freed.
    ///
    /// # Errors
    /// [`ShmError::Gone`] if the block is not this process's: inherited by fork, claimed by another, or its tag was damaged.
    ///
    /// # Examples
    /// ```
    /// # use polyproc_shm::{Family, Kind};
    /// let family = Family::get()?;
    /// let block = family.alloc(8, Kind::Data)?;
    /// drop(family.claim(block.ref_())?); // somebody claims and frees it
    /// assert!(block.free().is_err());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn free(self) -> Result<(), ShmError> {
        let freed = self.release();
        let r = self.into_ref();
        if freed { Ok(()) } else { Err(ShmError::Gone(r)) }
    }

    #[inline]
    fn release(&self) -> bool {
        if !self.family.is_me(self.owner) {
            return false; // inherited by fork
        }
        if self.handles != 0 {
            self.family.release_tickets(self);
        }
        let Ok(place) = self.family.map.place(self.offset) else { return false };
        self.family.free_block(&place, self.generation, self.owner)
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}

impl core::fmt::Debug for Block {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Block")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("capacity", &self.capacity)
            .field("generation", &self.generation)
            .field("handles", &self.handles)
            .field("owner", &self.owner)
            .finish()
    }
}
