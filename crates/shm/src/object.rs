//! A shared object as one process holds it: what the handles of locks and queues wrap.

use crate::error::ShmError;
use crate::family::Family;
use crate::ids::ProcessId;
use crate::kind::{self, Kind};
use crate::named::{Hold, Membership, SegmentName};
use crate::raw::tag::GENERATION;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};

/// This process's hold on a shared object: a block that other processes may hold too. The last one to drop it frees it.
///
/// As long as the object was never sent anywhere it belongs to this process alone, and making and dropping it costs no
/// more than a block. Handles wrap it in an `Arc`, so that clones within a process cost nothing in shared memory.
///
/// A forked child may use an object that it inherited for as long as its parent holds it, may send it on, and does not
/// free it.
///
/// ```
/// use polyproc_shm::{Family, Kind, Object};
/// let object = Object::create(Family::get()?, 64, Kind::Lock)?;
/// assert_eq!(object.kind(), Kind::Lock);
/// assert!(!object.is_shared());
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
pub struct Object {
    pub(crate) family: &'static Family,
    pub(crate) offset: u64,
    pub(crate) generation: u32,
    pub(crate) kind: Kind,
    capacity: u64,
    /// The process that made this value.
    pub(crate) home: ProcessId,
    /// The block of this hold's cell, 0 while it has none.
    pub(crate) cell: AtomicU64,
    /// What keeps the memory, if it is that of a named object.
    member: Option<Hold<'static>>,
    /// Whether it is that named object itself: it lives as long as its segment.
    pub(crate) is_root: bool,
}

impl Object {
    /// A new object of at least `len` bytes, all zero (undefined for [`Kind::Data`]), of this process alone.
    ///
    /// # Errors
    /// As [`Family::alloc`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Kind, Object};
    /// let object = Object::create(Family::get()?, 40, Kind::Event)?;
    /// assert!(object.capacity() >= 40);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[inline]
    pub fn create(family: &'static Family, len: u64, kind: Kind) -> Result<Self, ShmError> {
        let _open = family.map.keep_open()?;
        let block = family.alloc(len, kind)?;
        let r = (block.offset(), block.generation(), block.capacity(), block.owner());
        let _ = block.into_ref();
        Ok(Self::held(family, r.0, r.1, kind, r.2, r.3, 0))
    }

    #[inline]
    pub(crate) fn held(
        family: &'static Family,
        offset: u64,
        generation: u32,
        kind: Kind,
        capacity: u64,
        home: ProcessId,
        cell: u64,
    ) -> Self {
        let member = family.map.keep_open().ok().flatten();
        Self { family, offset, generation, kind, capacity, home, cell: AtomicU64::new(cell), member, is_root: false }
    }

    /// Its segment, if it has a name.
    pub(crate) fn member(&self) -> Option<&Membership> {
        self.member.as_deref().filter(|_| self.is_root)
    }

    /// The name that it can be opened by, if it has one.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// assert!(Object::create(Family::get()?, 8, Kind::Value)?.name().is_none());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&SegmentName> {
        self.member().map(Membership::at)
    }

    /// The family whose memory it lies in.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// let family = Family::get()?;
    /// assert_eq!(Object::create(family, 8, Kind::Value)?.family().id(), family.id());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Where it lies in the family's memory.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// assert_ne!(Object::create(Family::get()?, 8, Kind::Value)?.offset(), 0);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Which use of its block it is: offset and generation together name the object.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// assert_ne!(Object::create(Family::get()?, 8, Kind::Value)?.generation(), 0);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How many bytes it has.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// assert!(Object::create(Family::get()?, 100, Kind::Value)?.capacity() >= 100);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What it is.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// assert_eq!(Object::create(Family::get()?, 8, Kind::Value)?.kind(), Kind::Value);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The address of its first byte, aligned to 64 from 64 bytes on, else to 16.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// assert!(Object::create(Family::get()?, 64, Kind::Lock)?.as_ptr().addr().is_multiple_of(64));
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.family.map.pointer(self.offset)
    }

    /// Whether a message with a handle of it was ever made: then other processes may hold it.
    ///
    /// ```
    /// # use polyproc_shm::{Family, Kind, Object};
    /// assert!(!Object::create(Family::get()?, 8, Kind::Value)?.is_shared());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.cell.load(Acquire) != 0 || self.family.is_shared(self.offset, self.generation)
    }
}

impl Drop for Object {
    #[inline]
    fn drop(&mut self) {
        if self.is_root || !self.family.is_me(self.home) {
            return; // it lives as long as its segment; inherited by fork: the parent frees it
        }
        if self.cell.load(Acquire) == 0 {
            let Ok(place) = self.family.map.place(self.offset) else { return };
            let generation = if let Some(hooks) = kind::hooks(self.kind) {
                // A claim: a forked child that inherited this object can no longer share it, or has done so already.
                let claimed = self.generation.wrapping_add(1) & GENERATION; // T2
                let mine = self.family.take_over(&place, (self.home, self.generation), (self.home, claimed));
                if mine {
                    // Killed from here on, the object is one that a dead process owned: the sweep drops it once more.
                    (hooks.drop)(self.family, self.offset);
                }
                mine.then_some(claimed)
            } else {
                Some(self.generation)
            };
            if generation.is_some_and(|g| self.family.free_block(&place, g, self.home)) {
                return;
            }
            // A forked child sent it on: the child made the cell of this hold.
        }
        self.family.drop_hold(self, self.cell.swap(0, AcqRel));
    }
}

impl core::fmt::Debug for Object {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Object")
            .field("kind", &self.kind)
            .field("offset", &self.offset)
            .field("generation", &self.generation)
            .field("shared", &self.is_shared())
            .finish_non_exhaustive()
    }
}
