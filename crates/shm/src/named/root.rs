//! The object that has the name: it belongs to nobody, and lives as long as the segment.
//!
//! Its tag says `SHARED` by one more than there are cells that name it (C1): no death and no drop brings that to 0.

use crate::error::ShmError;
use crate::family::Family;
use crate::kind::Kind;
use crate::object::Object;
use crate::raw::tag::Tag;
use polyproc_sys::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

impl Object {
    /// Makes a fresh object of this process the one that has the name of its segment, which nobody else sees yet.
    pub(super) fn into_root(mut self) -> Result<Self, ShmError> {
        let gone = || ShmError::ObjectGone { offset: self.offset };
        let header = self.family.map.header();
        let place = self.family.map.place(self.offset)?;
        let (old, new) = (Tag::owned(self.generation, self.home), Tag::shared(self.generation, 1));
        place.tag.compare_exchange(old.0, new.0, AcqRel, Relaxed).map_err(|_| gone())?;
        header.root_generation.store(u64::from(self.generation), Relaxed);
        header.root.store(self.offset, Release);
        self.is_root = true;
        Ok(self)
    }
}

impl Family {
    /// The object that has the name, if it is one of `kind` and has at least `least` bytes; `None` if it was damaged.
    pub(super) fn root(&'static self, kind: Kind, least: u64) -> Result<Option<Object>, ShmError> {
        let header = self.map.header();
        let offset = header.root.load(Acquire);
        let Ok(place) = self.map.place(offset) else { return Ok(None) };
        let tag = Tag(place.tag.load(Acquire));
        let is_it = self.is_root(offset, tag.generation()) && tag.count().is_some();
        if !is_it || place.kind != kind || place.capacity < least {
            return Ok(None);
        }
        let me = self.try_me()?;
        let mut root = Object::held(self, offset, tag.generation(), kind, place.capacity, me, 0);
        root.is_root = true;
        Ok(Some(root))
    }

    /// Offset and generation of the object that has the name; no object's where there is none.
    #[expect(clippy::cast_possible_truncation, reason = "a generation has 32 bits")]
    pub(crate) fn root_block(&self) -> (u64, u32) {
        let header = self.map.header();
        (header.root.load(Acquire), header.root_generation.load(Relaxed) as u32)
    }

    /// Whether the block is that of the object that has the name of this family's segment.
    pub(crate) fn is_root(&self, offset: u64, generation: u32) -> bool {
        let header = self.map.header();
        offset == header.root.load(Acquire) && u64::from(generation) == header.root_generation.load(Relaxed)
    }

    /// Gives this process's place in the table of processes up: under the holders lock, so that a sweep that has begun
    /// does not take what this process has put somewhere since for a dead one's.
    pub(super) fn resign(&'static self) {
        let me = self.registered_me();
        // Where it fails the slot stays until this process ends: others see then that it is dead.
        let _ = self.with_holders(|_| {
            if let Some((pid, generation, _)) = self.map.process(me.slot).occupant()
                && generation == me.generation
            {
                self.map.process(me.slot).release(pid, generation);
            }
        });
        self.me.forget();
    }
}
