//! What keeps a named object alive for this process: the lock on its segment, and the duty to take the name away.

use super::collect::give_back;
use super::error::SegmentName;
use super::lease::Lease;
use crate::family::Family;
use crate::identity::leave_closed;
use polyproc_sys::memory::SharedFile;
use std::sync::OnceLock;

/// This process's hold on the segment of a named object; dropped with the last handle of the object.
///
/// What may stay then is the mapping of the tables: threads that have used the object are named to the kernel by words in
/// them, until they end or use another object that has a name. The segment's memory is given back by whoever takes its name
/// away, or else when the last of those processes has ended, or given them up, that have a mapping of its tables.
#[derive(Debug)]
pub(crate) struct Membership {
    lease: Lease,
    at: SegmentName,
    uuid: u128,
    /// As soon as it is known.
    family: OnceLock<&'static Family>,
}

impl Membership {
    pub(super) fn new(lease: Lease, at: SegmentName, uuid: u128) -> Self {
        Self { lease, at, uuid, family: OnceLock::new() }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(super) fn set_family(&self, family: &'static Family) {
        let _ = self.family.set(family);
    }

    /// Gives this process's places in the tables up, while they are mapped.
    pub(super) fn resign(&self) {
        if let Some(family) = self.family.get() {
            leave_closed(); // this thread; others when they use another one
            family.resign();
        }
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
}

impl Drop for Membership {
    fn drop(&mut self) {
        let nobody_ever = self.lease.leave() || self.lease.has_no_name();
        if nobody_ever {
            give_back(self.lease.file());
        }
    }
}
