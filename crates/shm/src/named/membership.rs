//! What keeps a named object alive for this process: the lock on its segment, and the duty to take the name away.

use super::error::SegmentName;
use super::file::Exit;
use super::open::Hold;
use crate::family::Family;
use crate::raw::segment::CONTENT;
use polyproc_sys::memory::SharedFile;
use polyproc_sys::robust::forks;
use std::sync::OnceLock;

/// This process's hold on the segment of a named object; dropped with the last handle of the object.
///
/// The mapping stays: threads that have used the object are named to the kernel by words in it, until they end. What
/// memory the mapping would keep is given back as soon as nobody holds the segment any more.
#[derive(Debug)]
pub(crate) struct Membership {
    hold: Hold,
    at: SegmentName,
    uuid: u128,
    /// As soon as the segment has its name.
    exit: OnceLock<Exit>,
    /// As soon as it is known.
    family: OnceLock<&'static Family>,
}

impl Membership {
    pub(super) fn new(hold: Hold, at: SegmentName, uuid: u128) -> Self {
        Self { hold, at, uuid, exit: OnceLock::new(), family: OnceLock::new() }
    }

    pub(super) fn set_exit(&self, exit: Exit) {
        let _ = self.exit.set(exit);
    }

    pub(super) fn set_family(&self, family: &'static Family) {
        let _ = self.family.set(family);
    }

    pub(crate) fn file(&self) -> &SharedFile {
        &self.hold.file
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
        if self.hold.forks != forks() {
            return; // a forked child may use the segment by the same lock
        }
        let _ = self.hold.file.unlock();
        drop(self.exit.take());
        // A buffer that came out of it is still in use, perhaps.
        let Some(family) = self.family.get().filter(|f| f.has_no_blocks()) else { return };
        // Nobody finds it any more, and nobody holds it: then nobody but this mapping keeps its memory.
        let is_gone = self.hold.file.info().is_ok_and(|info| info.links == 0);
        if is_gone && self.hold.file.try_lock_exclusive().unwrap_or(false) {
            family.give_back(|offset, len| {
                let _ = self.hold.file.punch(CONTENT + offset, len);
            });
        }
    }
}
