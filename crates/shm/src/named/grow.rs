//! Segments whose content becomes longer or shorter, and those that came as a descriptor.

use super::error::{SegmentError, SegmentName};
use super::file::{NamedFile, header};
use super::lease::{Exit, Lease};
use super::open::{HeldFile, check, read_facts};
use super::place::{Place, file_name, patiently};
use super::shape::Content;
use crate::raw::segment::CONTENT;
use polyproc_sys::atomic::Ordering::Relaxed;
use polyproc_sys::dir::user;
use polyproc_sys::memory::{Access, SharedFile};
use polyproc_sys::robust::forks;
use std::os::fd::OwnedFd;
use std::path::Path;

impl NamedFile {
    /// Makes the content at least `len` bytes long. The new bytes are zero, and all holders see them without doing
    /// anything; addresses stay. Several may grow a segment at once.
    ///
    /// # Errors
    /// [`SegmentError::NotGrowable`] beyond [`NamedFile::limit`]; [`SegmentError::NoSpace`]; [`SegmentError::Sys`] if it was
    /// opened for reading only. After an error it is as long as it was.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// let name = format!("doc-grow-{}", std::process::id());
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// let shape = Shape { limit: 1 << 20, ..Shape::fixed(10) };
    /// let file = NamedFile::create(&Place::default(), &name, &content, shape, |_| Ok(()))?;
    /// file.grow(10_000)?;
    /// assert_eq!(file.len(), 10_000);
    /// assert!(matches!(file.grow(2 << 20), Err(SegmentError::NotGrowable { .. })));
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn grow(&self, len: u64) -> Result<(), SegmentError> {
        if len > self.limit() {
            return Err(SegmentError::NotGrowable { what: self.what(), asked: len, limit: self.limit() });
        }
        let old = self.len();
        if len > old {
            // What was given back by `shrink` is backed once more, too.
            let backed = self.lease.file().back(CONTENT + old, len - old);
            backed.map_err(|source| SegmentError::of(&self.at, len, source))?;
            self.backed.fetch_max(len, Relaxed);
            header(&self.space).raise_len(len); // D2
        }
        Ok(())
    }

    /// Makes the content `len` bytes long and gives the rest of the memory back, if this is the only hold of the segment in
    /// all processes. More than it has changes nothing.
    ///
    /// # Errors
    /// [`SegmentError::InUse`] if anybody else holds it, if this process has forked since it opened it, or if somebody
    /// looks at it this moment; [`SegmentError::Busy`]; [`SegmentError::Sys`] if it was opened for reading only.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// let name = format!("doc-shrink-{}", std::process::id());
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// let mut file = NamedFile::create(&Place::default(), &name, &content, Shape::fixed(100_000), |_| Ok(()))?;
    /// file.shrink(10)?;
    /// assert_eq!(file.len(), 10);
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn shrink(&mut self, len: u64) -> Result<(), SegmentError> {
        let failed = |source| SegmentError::Sys { at: self.at.clone(), source };
        let in_use = || SegmentError::InUse { what: self.what() };
        let old = self.len();
        if len >= old {
            return Ok(());
        }
        if !self.lease.is_own() {
            return Err(in_use()); // a forked child may use it
        }
        // While this is held nobody takes the name away (N4): to go from one lock to the other leaves a moment without.
        if !self.lease.file().try_lock_byte(Access::ReadWrite).map_err(failed)? {
            return Err(in_use()); // somebody else shrinks it
        }
        let alone = self.lease.file().try_lock_exclusive().map_err(failed)?;
        let punched = if alone {
            header(&self.space).lower_len(len); // D2
            self.lease.file().punch(CONTENT + len, old - len)
        } else {
            Ok(())
        };
        // Back to the lock that holders have. If an opener was stopped in the middle of looking, the segment may lose its name
        // before its time; not its bytes.
        let held = patiently(|| Ok(self.lease.file().try_lock_shared()?.then_some(()))).map_err(failed)?;
        self.lease.file().unlock_byte().map_err(failed)?;
        let done = match held {
            None => Err(SegmentError::Busy(self.at.clone())),
            Some(()) if !alone => Err(in_use()),
            Some(()) => punched.map_err(failed),
        };
        if alone {
            self.facts.len = len;
        }
        done
    }

    /// Holds the segment behind a descriptor that came from elsewhere: received over a socket, or inherited. If the segment
    /// has a name, this process becomes a holder like those that opened it by name.
    ///
    /// The file is opened once more, so that the hold is this process's own; the descriptor is closed.
    ///
    /// # Errors
    /// As [`NamedFile::open`], and [`SegmentError::Sys`] without `/proc`.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// use polyproc_sys::memory::Access;
    /// let name = format!("doc-attach-{}", std::process::id());
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// let file = NamedFile::create(&Place::default(), &name, &content, Shape::fixed(10), |_| Ok(()))?;
    /// let received = file.fd().try_clone_to_owned().unwrap(); // over a socket, as a rule
    /// let again = NamedFile::attach(received, &content, Access::ReadWrite)?;
    /// assert_eq!((again.uuid(), &again.name().name), (file.uuid(), &name));
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn attach(fd: OwnedFd, content: &Content<'_>, access: Access) -> Result<Self, SegmentError> {
        let received = SharedFile::adopt(fd);
        let at = SegmentName { name: "a received descriptor".to_owned(), dir: "/proc/self/fd".into() };
        let failed = |source| SegmentError::Sys { at: at.clone(), source };
        let before = forks();
        let info = received.info().map_err(failed)?;
        if !info.is_regular || info.uid != user() {
            return Err(SegmentError::Unusable { at, why: "it is no ordinary file of this user" });
        }
        let hold = HeldFile::new(received.reopen(access).map_err(failed)?, before);
        let held = patiently(|| Ok(hold.file.try_lock_shared()?.then_some(()))).map_err(failed)?;
        held.ok_or_else(|| SegmentError::Busy(at.clone()))?;
        let Some(facts) = read_facts(&hold.file) else {
            return Err(SegmentError::Unusable { at, why: "it is no segment of this version of polyproc" });
        };
        let size = hold.file.size().map_err(failed)?;
        let exit = exit_of(&hold.file, &received.path().map_err(failed)?, &facts.name);
        let at = exit.as_ref().map_or(at, |exit| exit.place.named(&facts.name));
        let lease = Lease::new(hold);
        exit.into_iter().for_each(|exit| lease.set_exit(exit));
        check(&facts, content, &at)?;
        Self::enter(lease, facts, size, access, at)
    }

    /// The descriptor of the file, to be sent elsewhere. See [`NamedFile::attach`].
    #[must_use]
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.lease.file().fd()
    }

    /// Makes the pages of the content present now: no later access waits for the kernel.
    ///
    /// # Errors
    /// [`SegmentError::NoSpace`] if there is no memory for that.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// let name = format!("doc-prefault-{}", std::process::id());
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// NamedFile::create(&Place::default(), &name, &content, Shape::fixed(100), |_| Ok(()))?.prefault()?;
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn prefault(&self) -> Result<(), SegmentError> {
        let len = self.len();
        self.space.populate(CONTENT + len).map_err(|source| SegmentError::of(&self.at, len, source))
    }

    /// What it is, for errors.
    pub(crate) fn what(&self) -> String {
        format!("segment {}", self.at)
    }
}

/// The name of a file that came as a descriptor with this path, if it still means it. The path of a file that was made without a
/// name has the right directory, and another last part.
fn exit_of(file: &SharedFile, path: &Path, name: &str) -> Option<Exit> {
    let (place, file_name) = (Place::dir(path.parent()?).ok()?, file_name(name).ok()?);
    place.as_dir().means(&file_name, file).ok()?.then(|| Exit::new(place, file_name))
}
