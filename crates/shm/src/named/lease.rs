//! The lock by which a process holds a segment, and the duty to take its name away if nobody else does.

use super::collect::{collect_one, leave};
use super::open::{HeldFile, read_facts};
use super::place::Place;
use polyproc_sys::memory::SharedFile;
use polyproc_sys::robust::forks;
use std::sync::OnceLock;

/// A process's part in a segment, left when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    // Dropped in this order: the lock, then the name if nobody else has the lock.
    pub(super) hold: HeldFile,
    /// None where the segment has no name yet, or had none when it was found.
    exit: OnceLock<Exit>,
    left: bool,
}

/// The name, to be taken away if nobody holds the segment.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) place: Place,
    file_name: String,
    /// Whether it is to be taken away when this is dropped, behind the lock.
    ask: bool,
}

impl Exit {
    pub(super) fn new(place: Place, file_name: String) -> Self {
        Self { place, file_name, ask: false }
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        if self.ask {
            let _ = collect_one(&self.place, &self.file_name);
        }
    }
}

impl Lease {
    pub(super) fn new(hold: HeldFile) -> Self {
        Self { hold, exit: OnceLock::new(), left: false }
    }

    /// Says what name it is; once.
    pub(super) fn set_exit(&self, exit: Exit) {
        let _ = self.exit.set(exit);
    }

    pub(super) fn file(&self) -> &SharedFile {
        &self.hold.file
    }

    /// Whether nobody else has ever seen the segment: it got no name.
    pub(super) fn has_no_name(&self) -> bool {
        self.exit.get().is_none() && self.is_own() && self.file().info().is_ok_and(|info| info.links == 0)
    }

    /// Whether no forked child shares the lock.
    pub(super) fn is_own(&self) -> bool {
        self.hold.forks == forks()
    }

    /// Gives the lock up, and the name if nobody else holds the segment; `true` if nobody ever will again. To be called once;
    /// what fails is left to the next one who comes by.
    pub(super) fn leave(&mut self) -> bool {
        self.left = true;
        let is_own = self.is_own();
        let Some(exit) = self.exit.get_mut() else { return false };
        if !is_own {
            // A forked child may use the segment by the same lock, which is given up by closing alone; then it is asked for.
            exit.ask = true;
            return false;
        }
        // The lock is this process's alone. If anybody else has one, this one's is gone: it is leaving anyway.
        let file = &self.hold.file;
        let nobody = file.try_lock_exclusive().ok();
        self.hold.exclusive = nobody == Some(true);
        let dead = self.hold.exclusive && read_facts(file).is_some_and(|facts| !facts.persistent);
        let unlinked = dead && leave(&exit.place, &exit.file_name, file).is_ok_and(|unlinked| unlinked);
        self.hold.given_up = nobody == Some(false);
        unlinked
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.left {
            self.leave();
        }
    }
}
