//! Taking names away: of segments that nobody holds any more, and of those that somebody does not want to be found.

use super::error::{SegmentError, SegmentName};
use super::open::read_facts;
use super::place::{PREFIX, Place, file_name, patiently};
use crate::kind::Kind;
use crate::map::Tables;
use crate::raw::segment::CONTENT;
use polyproc_sys::SysError;
use polyproc_sys::dir::{is_foreign, user};
use polyproc_sys::memory::{Access, SharedFile};

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It means nothing, or something else by now.
    Gone,
    /// Nobody held its segment, which took so many bytes: unlinked.
    Removed(u64),
    /// Somebody holds it, or opens, leaves or collects it this moment.
    InUse,
    /// Nobody holds it, and it is to stay.
    Persistent,
    /// No segment of ours: not touched.
    Foreign,
}

/// Unlinks the file `name` if it is a segment of this user that nobody holds and that is not persistent.
///
/// N3 and N4 of [`NamedFile`](super::NamedFile).
pub(crate) fn collect_one(place: &Place, name: &str) -> Result<Fate, SysError> {
    let dir = place.as_dir();
    let file = match dir.open(name, Access::ReadOnly) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Fate::Gone),
        Err(e) if is_foreign(&e) => return Ok(Fate::Foreign),
        Err(e) => return Err(e),
    };
    let info = file.info()?;
    if !info.is_regular || info.uid != user() || read_facts(&file).is_none() {
        return Ok(Fate::Foreign);
    }
    if !file.try_lock_exclusive()? {
        return Ok(Fate::InUse);
    }
    let fate = collect_locked(place, name, &file);
    // By word, not only by closing: a child that another thread forked meanwhile has a copy of the descriptor.
    file.unlock()?;
    fate
}

/// As [`collect_one`], with the exclusive lock.
fn collect_locked(place: &Place, name: &str, file: &SharedFile) -> Result<Fate, SysError> {
    let dir = place.as_dir();
    // Nobody holds it, so nobody changes it.
    Ok(match read_facts(file) {
        None => Fate::Foreign,
        Some(facts) if facts.persistent => Fate::Persistent,
        Some(_) if !dir.means(name, file)? => Fate::Gone,
        Some(_) if !file.try_lock_byte(Access::ReadOnly)? => Fate::InUse, // N4
        Some(facts) => {
            let bytes = file.backed()?;
            if dir.unlink(name)? {
                free(file, facts.kind);
                Fate::Removed(bytes)
            } else {
                Fate::Gone
            }
        }
    })
}

/// Collects what has the name, if nobody holds it, for somebody who wants the name.
///
/// # Errors
/// [`SegmentError::Exists`] if somebody holds it, or if it is to stay; [`SegmentError::Unusable`] if it is no segment;
/// [`SegmentError::Busy`] if somebody keeps it for longer than a look takes.
pub(super) fn make_way(place: &Place, name: &str, at: &SegmentName) -> Result<(), SegmentError> {
    /// Of others that want the name, too, each has the shared lock for a moment.
    const LOOKS: u32 = 3;
    let failed = |source| SegmentError::Sys { at: at.clone(), source };
    let mut held = 0;
    let free = patiently(|| match collect_one(place, name).map_err(failed)? {
        Fate::Removed(_) | Fate::Gone => Ok(Some(())),
        Fate::Persistent => Err(SegmentError::Exists(at.clone())),
        Fate::Foreign => {
            let why = "what has the name is no segment of this user and this version of polyproc, or was damaged: remove it, or \
                       take another name";
            Err(SegmentError::Unusable { at: at.clone(), why })
        }
        Fate::InUse => {
            held += u32::from(is_held(place, name).map_err(failed)?);
            if held < LOOKS { Ok(None) } else { Err(SegmentError::Exists(at.clone())) }
        }
    })?;
    free.ok_or_else(|| SegmentError::Busy(at.clone()))
}

/// Whether somebody else has the shared lock, as holders do, and not the exclusive one, as those who look.
fn is_held(place: &Place, name: &str) -> Result<bool, SysError> {
    let Some(file) = place.as_dir().open(name, Access::ReadOnly)? else { return Ok(false) };
    let held = file.try_lock_shared()? && !file.try_lock_exclusive()?;
    // If it was the last one, and has left meanwhile, it has seen this lock: the caller collects what it has left.
    file.unlock()?;
    Ok(held)
}

/// Gives the memory of a segment that nobody holds and nobody finds back, where processes that have left it may have its
/// tables mapped still.
fn free(file: &SharedFile, kind: Kind) {
    if kind != Kind::Memory
        && let Ok(file) = file.reopen(Access::ReadWrite)
    {
        give_back(&file);
    }
}

/// Gives the memory of a named object that nobody holds any more back to the system: all but the table of threads, where
/// some of processes that have left it may be named to the kernel still.
pub(super) fn give_back(file: &SharedFile) {
    let [_, (participants, len)] = Tables::NAMED.ranges();
    let behind = CONTENT + participants + len;
    // If the kernel does not want to, it does so when the last mapping is gone.
    let _ = file.punch(CONTENT, participants);
    let _ = file.punch(behind, file.size().unwrap_or(0).saturating_sub(behind));
}

/// Unlinks a segment that this process is about to leave, if it has its exclusive lock, so that nobody else holds it.
/// Says whether it has no name any more. N3 and N4.
pub(super) fn leave(place: &Place, name: &str, file: &SharedFile) -> Result<bool, SysError> {
    if !place.as_dir().means(name, file)? {
        return Ok(file.info()?.links == 0); // else somebody has renamed it, or the directory
    }
    Ok(file.try_lock_byte(Access::ReadOnly)? && place.as_dir().unlink(name)?)
}

/// What [`gc`] found.
///
/// ```
/// assert_eq!(polyproc_shm::Collected::default().removed, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Segments that nobody held: unlinked.
    pub removed: u64,
    /// The bytes of memory that these took.
    pub bytes: u64,
    /// Segments that somebody holds, opens or collects.
    pub in_use: u64,
    /// Segments that nobody holds, and that stay until they are unlinked.
    pub persistent: u64,
    /// Files that have names like segments and are none of this user's, or of another version of polyproc.
    pub foreign: u64,
}

/// Unlinks the segments in `place` that nobody holds: those whose last holders were killed.
///
/// Persistent segments stay, and so does all that is not a segment of this user: plain memory
/// and files of others are never touched. May run beside openers, creators and other collectors; killed anywhere, it
/// leaves the rest to the next one. Nobody has to call it: whoever opens or creates a segment of the same name does the
/// same for that one.
///
/// # Errors
/// [`SegmentError::BadPlace`] if the directory cannot be read.
///
/// # Examples
/// ```
/// let found = polyproc_shm::gc(&polyproc_shm::Place::default())?;
/// println!("{} segments removed, {} bytes", found.removed, found.bytes);
/// # Ok::<(), polyproc_shm::SegmentError>(())
/// ```
pub fn gc(place: &Place) -> Result<Collected, SegmentError> {
    let bad_place = |source| SegmentError::BadPlace { dir: place.path().to_owned(), source };
    let mut found = Collected::default();
    for file in place.as_dir().names().map_err(bad_place)? {
        let Some((file, name)) = file.to_str().and_then(|f| Some((f, f.strip_prefix(PREFIX)?))) else { continue };
        match collect_one(place, file).map_err(|source| SegmentError::Sys { at: place.named(name), source })? {
            Fate::Gone => {}
            Fate::Removed(bytes) => {
                found.removed += 1;
                found.bytes += bytes;
            }
            Fate::InUse => found.in_use += 1,
            Fate::Persistent => found.persistent += 1,
            Fate::Foreign => found.foreign += 1,
        }
    }
    Ok(found)
}

/// Takes the segment's name away at once; whoever holds the segment keeps it.
pub(crate) fn unlink(place: &Place, name: &str) -> Result<(), SegmentError> {
    let file = file_name(name)?;
    let at = place.named(name);
    let failed = |source| SegmentError::Sys { at: at.clone(), source };
    let busy = || SegmentError::Busy(at.clone());
    let dir = place.as_dir();
    let _one_at_a_time = place.lock().map_err(failed)?.ok_or_else(busy)?;
    let held = patiently(|| {
        let found = dir.open(&file, Access::ReadOnly).map_err(failed)?;
        let found = found.ok_or_else(|| SegmentError::NotFound(at.clone()))?;
        let locked = found.try_lock_exclusive().map_err(failed)? || found.try_lock_shared().map_err(failed)?;
        let held = locked && dir.means(&file, &found).map_err(failed)?;
        Ok::<_, SegmentError>(held.then_some(found))
    })?;
    let held = held.ok_or_else(busy)?;
    // N3: the name means this file until this process takes it away.
    let unlinked = dir.unlink(&file).map_err(failed)?;
    // If its last holder has left meanwhile, he has seen the lock, and left the rest to this process.
    if let Ok(true) = held.try_lock_exclusive()
        && let Some(facts) = read_facts(&held)
    {
        free(&held, facts.kind);
    }
    let _ = held.unlock(); // by word, as above
    if unlinked { Ok(()) } else { Err(SegmentError::NotFound(at)) }
}
