//! Finding a segment by its name, holding it, and looking whether it is what was wanted.

use super::collect::collect_one;
use super::error::{SegmentError, SegmentName};
use super::place::Place;
use super::shape::Content;
use crate::family::{boot_id, namespace};
use crate::kind::Kind;
use crate::raw::segment::{Facts, SIZE};
use polyproc_sys::dir::user;
use polyproc_sys::memory::{Access, SharedFile};
use polyproc_sys::robust::forks;

/// The file with the shared lock of this process.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) file: SharedFile,
    /// How often this process had forked before the file was opened.
    pub(super) forks: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.forks == forks() {
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
) -> Result<Option<(Hold, Facts)>, SegmentError> {
    let failed = |source| SegmentError::Sys { at: at.clone(), source };
    let before = forks();
    let file = place.as_dir().open(file_name, access).map_err(failed)?;
    let Some(file) = file else { return Err(SegmentError::NotFound(at.clone())) };
    if file.info().map_err(failed)?.uid != user() {
        return Err(SegmentError::Unusable { at: at.clone(), why: "it belongs to another user" });
    }
    let why = "it is no segment of this version of polyproc, or was damaged; unlink it, or take another name";
    let read = |file: &SharedFile| read_facts(file).ok_or_else(|| SegmentError::Unusable { at: at.clone(), why });
    read(&file)?;
    let hold = Hold { file, forks: before };
    if hold.file.try_lock_exclusive().map_err(failed)? && !read(&hold.file)?.persistent {
        drop(hold);
        collect_one(place, file_name).map_err(failed)?;
        return Ok(None);
    }
    if !hold.file.try_lock_shared().map_err(failed)? || !place.as_dir().means(file_name, &hold.file).map_err(failed)? {
        return Ok(None); // N2
    }
    let facts = read(&hold.file)?;
    Ok(Some((hold, facts)))
}

/// Whether the segment holds what is wanted, here and now.
pub(super) fn check(facts: &Facts, wanted: &Content<'_>, at: &SegmentName) -> Result<(), SegmentError> {
    let unusable = |why| Err(SegmentError::Unusable { at: at.clone(), why });
    if (facts.kind, facts.type_hash) != (wanted.kind, wanted.type_hash) {
        let text = |kind: Kind, name: &str| format!("a {kind:?} of {name}");
        let (wanted, found) = (text(wanted.kind, wanted.type_name), text(facts.kind, &facts.type_name));
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
        return unusable("it was made in another pid namespace, where thread ids mean other threads");
    }
    Ok(())
}

/// What the header of a file says; `None` if it has none.
pub(super) fn read_facts(file: &SharedFile) -> Option<Facts> {
    let mut bytes = [0; SIZE];
    file.read_at(0, &mut bytes).ok()?;
    Facts::from_bytes(&bytes)
}
