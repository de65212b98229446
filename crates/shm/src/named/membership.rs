//! What keeps a named object alive for this process: the lock on its segment, and the duty to take the name away.

use super::error::SegmentName;
use super::lease::Lease;
use crate::family::Family;
use crate::identity::leave_closed;
use crate::map::Tables;
use crate::raw::segment::CONTENT;
use core::mem::ManuallyDrop;
use polyproc_sys::memory::SharedFile;
use std::sync::OnceLock;

/// This process's hold on the segment of a named object; dropped with the last handle of the object.
///
/// What stays then is the mapping of the tables: threads that have used the object are named to the kernel by words in
/// them, until they end or use another object that has a name. Their memory is given back as soon as nobody holds the
/// segment any more.
#[derive(Debug)]
pub(crate) struct Membership {
    lease: ManuallyDrop<Lease>,
    at: SegmentName,
    uuid: u128,
    /// As soon as it is known.
    family: OnceLock<&'static Family>,
}

impl Membership {
    pub(super) fn new(lease: Lease, at: SegmentName, uuid: u128) -> Self {
        Self { lease: ManuallyDrop::new(lease), at, uuid, family: OnceLock::new() }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(super) fn set_family(&self, family: &'static Family) {
        let _ = self.family.set(family);
    }

    pub(crate) fn file(&self) -> &SharedFile {
        self.lease.file()
    }

    pub(crate) fn at(&self) -> &SegmentName {
        &self.at
    }

    pub(crate) fn uuid(&self) -> u128 {
        self.uuid
    }

    /// Gives the memory of a segment that nobody holds any more back to the system: all but the table of threads, where
    /// those of this process stay named to the kernel.
    fn give_back(&self) {
        let [_, (participants, len)] = Tables::NAMED.ranges();
        let behind = CONTENT + participants + len;
        // If the kernel does not want to, it does so when this process ends.
        let _ = self.lease.file().punch(CONTENT, participants);
        let _ = self.lease.file().punch(behind, self.lease.file().size().unwrap_or(0).saturating_sub(behind));
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let family = self.family.get().copied();
        if family.is_some_and(|family| !family.has_no_blocks()) {
            return; // a buffer that came out of it is still in use: it stays as it is until this process ends
        }
        if let Some(family) = family {
            leave_closed(); // this thread; others when they use another one
            family.resign();
            // SAFETY: there is no handle any more, nor a block, and families of segments with names are never dropped.
            unsafe { family.map.forget_spans() };
        }
        // Nobody finds it any more, and nobody holds it: then nobody but what is left of this mapping keeps its memory.
        if self.lease.leave() {
            self.give_back();
        }
        // SAFETY: taken once; nothing uses it behind this.
        drop(unsafe { ManuallyDrop::take(&mut self.lease) });
    }
}
