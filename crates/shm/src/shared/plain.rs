//! Memory with a name and nothing else: no header, the file's name as it is, as C's `shm_open` and Python's `SharedMemory` make
//! it.

use crate::named::{Name, SegmentError, SegmentName, check_name};
use polyproc_sys::SysError;
use polyproc_sys::memory::{Access, Reservation, SharedFile};

/// A mapped file of somebody's. Nobody is counted: it stays until it is unlinked.
#[derive(Debug)]
pub(super) struct Plain {
    space: Reservation,
    _file: SharedFile,
    at: SegmentName,
    len: u64,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Plain {}
// SAFETY: as above.
unsafe impl Sync for Plain {}

impl Plain {
    /// Makes a file of `len` zeros; it appears whole.
    pub(super) fn create(name: &Name, len: u64, mode: u32) -> Result<Self, SegmentError> {
        let (place, name) = (name.place(), name.text());
        check_name(name)?;
        let at = place.named(name);
        let failed = |source| SegmentError::of(&at, len, source);
        let file = place.as_dir().create_unnamed(mode).map_err(|source| place.unfit(source))?;
        file.back(0, len).map_err(failed)?;
        let space = map(&file, len, Access::ReadWrite, &at)?;
        if !place.as_dir().link(&file, name).map_err(failed)? {
            return Err(SegmentError::Exists(at));
        }
        Ok(Self { space, _file: file, at, len })
    }

    /// Maps the file as long as it is now.
    pub(super) fn open(name: &Name, access: Access) -> Result<Self, SegmentError> {
        let (place, name) = (name.place(), name.text());
        check_name(name)?;
        let at = place.named(name);
        let failed = |source| SegmentError::of(&at, 0, source);
        let file = place.as_dir().open(name, access).map_err(failed)?;
        let Some(file) = file else { return Err(SegmentError::NotFound(at)) };
        let info = file.info().map_err(failed)?;
        if !info.is_regular {
            return Err(SegmentError::Unusable { at, why: "it is no ordinary file" });
        }
        let len = info.size;
        if access == Access::ReadWrite {
            // Who made it may only have said how long it is: lack of memory is an error now, no signal later.
            file.back(0, len).map_err(|source| SegmentError::of(&at, len, source))?;
        }
        let space = map(&file, len, access, &at)?;
        Ok(Self { space, _file: file, at, len })
    }

    pub(super) fn unlink(name: &Name) -> Result<(), SegmentError> {
        let (place, name) = (name.place(), name.text());
        check_name(name)?;
        let at = place.named(name);
        match place.as_dir().unlink(name).map_err(|source| SegmentError::of(&at, 0, source))? {
            true => Ok(()),
            false => Err(SegmentError::NotFound(at)),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.space.base()
    }

    pub(super) fn name(&self) -> &SegmentName {
        &self.at
    }

    pub(super) fn prefault(&self) -> Result<(), SegmentError> {
        self.space.populate(self.len).map_err(|source| SegmentError::of(&self.at, self.len, source))
    }
}

fn map(file: &SharedFile, len: u64, access: Access, at: &SegmentName) -> Result<Reservation, SegmentError> {
    let space = match access {
        Access::ReadWrite => Reservation::exact(file, len),
        Access::ReadOnly => Reservation::read_only(file, len),
    };
    space.map_err(|source: SysError| match source.source.kind() {
        std::io::ErrorKind::OutOfMemory => SegmentError::NoAddressSpace { at: at.clone(), asked: len },
        _ => SegmentError::Sys { at: at.clone(), source },
    })
}
