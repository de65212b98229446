//! Finding a segment by its name, holding it, and looking whether it is what was wanted.

use super::collect::collect_one;
use super::error::{SegmentError, SegmentName};
use super::place::Place;
use super::shape::Content;
use crate::family::{boot_id, namespace};
use crate::kind::Kind;
use crate::raw::segment::{Facts, SIZE};
use polyproc_sys::dir::user;
use polyproc_sys::memory::{Access, FileInfo, SharedFile};
use polyproc_sys::robust::forks;

/// The file with the shared lock of this process.
#[derive(Debug)]
pub(super) struct HeldFile {
    pub(super) file: SharedFile,
    /// How often this process had forked before the file was opened.
    pub(super) forks: u64,
    /// Whether there is no lock any more, or none that anybody could mind.
    pub(super) given_up: bool,
    /// Whether it is the exclusive one, by which nobody holds the segment.
    pub(super) exclusive: bool,
}

impl HeldFile {
    /// The file, which was opened when this process had forked so often.
    pub(super) fn new(file: SharedFile, forks: u64) -> Self {
        Self { file, forks, given_up: false, exclusive: false }
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        if !self.given_up && (self.exclusive || self.forks == forks()) {
            // A child that is on its way to run another program has a copy of the descriptor for a moment, and does not need it.
            let _ = self.file.unlock();
        } // else a forked child may use the segment
    }
}

/// One attempt to find and hold a segment; `None` to try again.
pub(super) fn try_open(
    place: &Place,
    file_name: &str,
    at: &SegmentName,
    access: Access,
) -> Result<Option<(HeldFile, Facts, FileInfo)>, SegmentError> {
    let failed = |source| SegmentError::Sys { at: at.clone(), source };
    let before = forks();
    let file = place.as_dir().open(file_name, access).map_err(failed)?;
    let Some(file) = file else { return Err(SegmentError::NotFound(at.clone())) };
    let mut hold = HeldFile::new(file, before);
    let nobody = hold.file.try_lock_exclusive().map_err(failed)?;
    hold.exclusive = nobody;
    let held = !nobody && hold.file.try_lock_shared().map_err(failed)?;
    let facts = read_facts(&hold.file);
    let info = hold.file.info().map_err(failed)?; // behind the header: a file that grows meanwhile is never too short for it
    if !info.is_regular || info.uid != user() {
        let why = "it is no ordinary file of this user; take another name";
        return Err(SegmentError::Unusable { at: at.clone(), why });
    }
    let Some(facts) = facts else {
        let why = "it is no segment of this version of polyproc, or was damaged; unlink it, or take another name";
        return Err(SegmentError::Unusable { at: at.clone(), why });
    };
    if nobody && !facts.persistent {
        drop(hold);
        collect_one(place, file_name).map_err(failed)?;
        return Ok(None);
    }
    if nobody {
        // Others may lock it between the two locks, and take its name away: so all is looked at once more.
        let held = hold.file.try_lock_shared().map_err(failed)?;
        hold.exclusive = false;
        let info = hold.file.info().map_err(failed)?;
        return Ok((held && info.links != 0)
            .then(|| read_facts(&hold.file))
            .flatten()
            .map(|facts| (hold, facts, info)));
    }
    // N2. A segment has one name: this one, if it still has any.
    Ok((held && info.links != 0).then_some((hold, facts, info)))
}

/// Whether the segment holds what is wanted, here and now.
pub(super) fn check(facts: &Facts, wanted: &Content<'_>, at: &SegmentName) -> Result<(), SegmentError> {
    let unusable = |why| Err(SegmentError::Unusable { at: at.clone(), why });
    if (facts.kind, facts.type_hash) != (wanted.kind, wanted.type_hash) {
        let text = |kind: Kind, name: &str| format!("a {kind:?} of {name}");
        let (wanted, mut found) = (text(wanted.kind, wanted.type_name), text(facts.kind, &facts.type_name));
        if found == wanted {
            found.push_str(" of another size or layout");
        }
        return Err(SegmentError::WrongType { at: at.clone(), wanted, found });
    }
    if facts.kind == Kind::Memory {
        return Ok(()); // bytes mean the same everywhere
    }
    if facts.boot != boot_id() {
        return unusable("it was made before the last boot: unlink it");
    }
    let here = namespace().map_err(|source| SegmentError::Sys { at: at.clone(), source })?;
    if facts.namespace != here {
        return unusable("it was made in another pid or time namespace, where thread ids or times mean others");
    }
    Ok(())
}

/// What the header of a file says; `None` if it has none.
pub(super) fn read_facts(file: &SharedFile) -> Option<Facts> {
    let mut bytes = [0; SIZE];
    file.read_at(0, &mut bytes).ok()?;
    Facts::from_bytes(&bytes)
}
