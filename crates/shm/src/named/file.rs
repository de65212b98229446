//! A file of shared memory that has a name, as one process holds it. [`NamedFile`] tells the protocol.

use super::collect::unlink;
use super::draft::Draft;
use super::error::{SegmentError, SegmentName};
use super::lease::{Exit, Lease};
use super::open::{check, try_open};
use super::place::{Place, file_name, patiently};
use super::shape::{Content, Shape};
use crate::kind::Kind;
use crate::raw::segment::{CONTENT, Facts, RawSegment};
use polyproc_sys::SysError;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use polyproc_sys::memory::{Access, Reservation, SharedFile};

/// A segment with a name, held by this process: a page with a header, and the content behind it, mapped.
///
/// It is what memory, locks and queues with names are made of, and for whoever makes other things with names. Programs
/// share a segment by its [`Place`] and its name; they need no kinship. The last holder to drop it takes its name away, if
/// it is not persistent.
///
/// # State
/// | the file | meaning | left by |
/// |---|---|---|
/// | has no name | being made: nobody else sees it, the kernel frees it | `create`: link |
/// | has its name, somebody has its shared lock | alive | the last holder's drop or death |
/// | has its name, nobody has its shared lock | dead, or persistent | `open` (if persistent), whoever collects it |
/// | has no name any more | only its holders still have it | the kernel frees it with the last |
///
/// # Invariants
/// * N1. Whoever uses a segment has the shared lock of an open description of its own, from before the file has its name, or
///   before it was seen to have it still, until it drops the segment. The kernel gives the lock up when the process ends.
/// * N2. An opener that has the shared lock looks again whether the file has a name; if not, it starts again. A segment has
///   one name: nobody links or renames it.
/// * N3. A name is taken away only by somebody who, on a description of his own, has a lock of the file that he has seen it
///   mean: the exclusive lock, if nobody holds the segment, or by [`NamedFile::unlink`] the shared one together with the
///   directory's lock. So nobody else can take it away in between, and it is this file's name that goes.
/// * N4. To shrink a segment takes the exclusive lock in exchange for the shared one, and back, with moments without any. So
///   whoever shrinks has the lock of the file's first byte alone all the while, and whoever takes a name away by the
///   exclusive lock must share that one too.
/// * N5. Nobody waits for a lock: all are tried, for a second at most, and the error says so.
///
/// # If a process dies
/// | at | then |
/// |---|---|
/// | `create`, before the link | the kernel frees the file |
/// | `create`, behind it | a whole segment that nobody holds: dead |
/// | `open`, `drop` | its lock goes; with the last one the segment is dead |
/// | collecting, `unlink` | its locks go; the name stays for the next one, or is gone |
/// | `shrink` | its locks go; the content is as long as before, or as it was to be |
///
/// A dead segment takes memory until somebody opens or creates its name, or calls [`gc`](crate::gc).
///
/// # Forked children
/// A forked child inherits the descriptor, and with it the lock: the segment lives until the child ends too, or drops its
/// copy. A child that runs another program does not keep it. Nobody sees a child end by `_exit`: then it is dead, as if killed.
///
/// # Trust
/// Processes of the same user that share a segment trust each other to write only where they should: a named file cannot be
/// sealed, whoever truncates it kills its holders by SIGBUS. Segments of other users are not opened.
///
/// # Examples
/// ```
/// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
/// use polyproc_sys::memory::Access;
/// let (place, name) = (Place::default(), format!("doc-named-file-{}", std::process::id()));
/// let content = Content { kind: Kind::User, type_name: "u64", type_hash: 1 };
/// let file = NamedFile::create(&place, &name, &content, Shape::fixed(8), |at| {
///     // SAFETY: 8 bytes that nobody else sees yet, aligned to a page.
///     unsafe { at.cast::<u64>().write(7) };
///     Ok(())
/// })?;
/// let other = NamedFile::open(&place, &name, &content, Access::ReadOnly)?; // in another program, as a rule
/// // SAFETY: nobody writes there.
/// assert_eq!(unsafe { other.as_ptr().cast::<u64>().read() }, 7);
/// drop((file, other));
/// assert!(matches!(NamedFile::open(&place, &name, &content, Access::ReadOnly), Err(SegmentError::NotFound(_))));
/// # Ok::<(), SegmentError>(())
/// ```
#[derive(Debug)]
pub struct NamedFile {
    // Dropped in this order: the mapping, then the lock and the name.
    pub(super) space: Reservation,
    pub(super) lease: Lease,
    pub(super) at: SegmentName,
    pub(super) facts: Facts,
    access: Access,
    /// Bytes of the content that the file reaches to; may be stale, never ahead.
    pub(super) backed: AtomicU64,
}

// SAFETY: the mapping belongs to the process, not to a thread; what changes in it is reached through atomics, or by
// pointers whose users must see to it.
unsafe impl Send for NamedFile {}
// SAFETY: as above.
unsafe impl Sync for NamedFile {}

impl NamedFile {
    /// Makes a segment whose content is zero but for what `build` writes there, which gets the address of its first byte,
    /// aligned to 4096. Nobody sees the segment before `build` has returned, nor if it fails.
    ///
    /// If the name is that of a segment that nobody holds, and that is not persistent, that one is removed first.
    ///
    /// # Errors
    /// [`SegmentError::BadName`], [`SegmentError::BadPlace`], [`SegmentError::Exists`]; [`SegmentError::NoSpace`] if
    /// the memory is not there: no later access to the content fails for want of it; what `build` says.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// let (place, name) = (Place::default(), format!("doc-create-{}", std::process::id()));
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// let file = NamedFile::create(&place, &name, &content, Shape::fixed(100), |_| Ok(()))?;
    /// let again = NamedFile::create(&place, &name, &content, Shape::fixed(100), |_| Ok(()));
    /// assert!(matches!(again, Err(SegmentError::Exists(_))));
    /// assert_eq!(file.len(), 100);
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn create(
        place: &Place,
        name: &str,
        content: &Content<'_>,
        shape: Shape,
        build: impl FnOnce(*mut u8) -> Result<(), SegmentError>,
    ) -> Result<Self, SegmentError> {
        let draft = Draft::new(place, name, content, shape)?;
        build(content_of(draft.space()))?;
        let (space, lease, at, facts, link) = draft.into_parts();
        lease.set_exit(link.link(lease.file())?);
        let backed = AtomicU64::new(facts.len);
        Ok(Self { space, lease, at, facts, access: Access::ReadWrite, backed })
    }

    /// Opens the segment that has the name, to read it only or to write as well.
    ///
    /// # Errors
    /// [`SegmentError::BadName`]; [`SegmentError::NotFound`] also for one that nobody holds and that is not persistent,
    /// which is removed; [`SegmentError::WrongType`]; [`SegmentError::Unusable`] for what is no segment, or one of another
    /// user, version or pid namespace; [`SegmentError::Busy`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError};
    /// use polyproc_sys::memory::Access;
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// let nobody = NamedFile::open(&Place::default(), "doc-nobody-made-this", &content, Access::ReadWrite);
    /// assert!(matches!(nobody, Err(SegmentError::NotFound(_))));
    /// ```
    pub fn open(place: &Place, name: &str, content: &Content<'_>, access: Access) -> Result<Self, SegmentError> {
        Self::open_if(place, name, access, |facts, at| check(facts, content, at))
    }

    /// Opens the segment that has the name if it holds something of `kind`, of whatever type.
    pub(super) fn open_any(place: &Place, name: &str, kind: Kind) -> Result<Self, SegmentError> {
        Self::open_if(place, name, Access::ReadWrite, |facts, at| {
            let (type_name, type_hash) = (facts.type_name.as_str(), facts.type_hash);
            check(facts, &Content { kind, type_name, type_hash }, at)
        })
    }

    fn open_if(
        place: &Place,
        name: &str,
        access: Access,
        check: impl FnOnce(&Facts, &SegmentName) -> Result<(), SegmentError>,
    ) -> Result<Self, SegmentError> {
        let (at, file_name) = (place.named(name), file_name(name)?);
        let found = patiently(|| try_open(place, &file_name, &at, access))?;
        let (hold, facts, info) = found.ok_or_else(|| SegmentError::Busy(at.clone()))?;
        let lease = Lease::new(hold); // who does not want it may be the last to leave it all the same
        lease.set_exit(Exit::new(place.clone(), file_name));
        check(&facts, &at)?;
        Self::enter(lease, facts, info.size, access, at)
    }

    /// Maps a file that is held, and that is what is wanted.
    pub(super) fn enter(
        lease: Lease,
        facts: Facts,
        size: u64,
        access: Access,
        at: SegmentName,
    ) -> Result<Self, SegmentError> {
        let backed = size.saturating_sub(CONTENT).min(facts.limit);
        if backed < facts.len {
            return Err(SegmentError::Unusable { at, why: "it was truncated; unlink it" });
        }
        let space = map(lease.file(), facts.limit, access, &at)?;
        Ok(Self { space, lease, at, facts, access, backed: AtomicU64::new(backed) })
    }

    /// Takes a segment's name away at once: nobody finds it any more, whoever holds it keeps it, and a new one may be
    /// created.
    ///
    /// # Errors
    /// [`SegmentError::NotFound`], also if it was unlinked before; [`SegmentError::BadName`], [`SegmentError::Busy`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// let (place, name) = (Place::default(), format!("doc-unlink-{}", std::process::id()));
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// let old = NamedFile::create(&place, &name, &content, Shape::fixed(1), |_| Ok(()))?;
    /// NamedFile::unlink(&place, &name)?;
    /// let new = NamedFile::create(&place, &name, &content, Shape::fixed(1), |_| Ok(()))?;
    /// assert_ne!(old.uuid(), new.uuid());
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn unlink(place: &Place, name: &str) -> Result<(), SegmentError> {
        unlink(place, name)
    }

    /// Says whether the segment is to outlive its holders: then its name stays until somebody unlinks it.
    ///
    /// # Errors
    /// [`SegmentError::Unusable`] if it was opened for reading only.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// use polyproc_sys::memory::Access;
    /// let (place, name) = (Place::default(), format!("doc-persist-{}", std::process::id()));
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// NamedFile::create(&place, &name, &content, Shape::fixed(1), |_| Ok(()))?.persist(true)?;
    /// assert!(NamedFile::open(&place, &name, &content, Access::ReadOnly)?.is_persistent());
    /// NamedFile::unlink(&place, &name)?;
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn persist(&self, persistent: bool) -> Result<(), SegmentError> {
        if self.access == Access::ReadOnly {
            return Err(SegmentError::Unusable { at: self.at.clone(), why: "it was opened for reading only" });
        }
        header(&self.space).set_persistent(persistent);
        Ok(())
    }

    /// Whether the segment outlives its holders.
    ///
    /// See [`NamedFile::persist`].
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        header(&self.space).is_persistent()
    }

    /// The bytes of its content now; a moment later there may be more.
    ///
    /// See [`NamedFile::create`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "what an empty segment is, the content's type says")]
    #[inline]
    pub fn len(&self) -> u64 {
        if self.facts.len == self.facts.limit {
            return self.facts.len; // nobody grows it, and only the holder of this value may shrink it, who says so
        }
        let said = header(&self.space).len();
        let known = self.backed.load(Relaxed);
        if said <= known {
            return said;
        }
        // D2. As far as the file reaches, and the mapping.
        let there = self.lease.file().size().map_or(known, |size| size.saturating_sub(CONTENT).min(self.facts.limit));
        self.backed.fetch_max(there, Relaxed);
        said.min(there)
    }

    /// The bytes that its content may grow to.
    ///
    /// See [`Shape`].
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.facts.limit
    }

    /// The address of the content's first byte, aligned to 4096. [`NamedFile::len`] bytes may be read, and written unless
    /// the segment was opened for reading only. Good until this value is dropped.
    ///
    /// See [`NamedFile`].
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        content_of(&self.space)
    }

    /// Tells the segment from all others that had or will have its name.
    ///
    /// See [`NamedFile::unlink`].
    #[must_use]
    pub fn uuid(&self) -> u128 {
        self.facts.uuid
    }

    /// The mapping, and what keeps the segment alive: for who keeps the mapping longer.
    pub(super) fn into_parts(self) -> (Reservation, Lease, SegmentName, Facts) {
        (self.space, self.lease, self.at, self.facts)
    }

    /// The name and the directory, as they were asked for.
    ///
    /// ```
    /// use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, Shape};
    /// let name = format!("doc-name-{}", std::process::id());
    /// let content = Content { kind: Kind::User, type_name: "bytes", type_hash: 0 };
    /// let file = NamedFile::create(&Place::default(), &name, &content, Shape::fixed(1), |_| Ok(()))?;
    /// assert_eq!(file.name().name, name);
    /// # Ok::<(), SegmentError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &SegmentName {
        &self.at
    }
}

pub(super) fn map(
    file: &SharedFile,
    limit: u64,
    access: Access,
    at: &SegmentName,
) -> Result<Reservation, SegmentError> {
    let space = match access {
        Access::ReadWrite => Reservation::exact(file, CONTENT + limit),
        Access::ReadOnly => Reservation::read_only(file, CONTENT + limit),
    };
    space.map_err(|source: SysError| match source.source.kind() {
        std::io::ErrorKind::OutOfMemory => SegmentError::NoAddressSpace { at: at.clone(), asked: limit },
        _ => SegmentError::Sys { at: at.clone(), source },
    })
}

pub(super) fn header(space: &Reservation) -> &RawSegment {
    // SAFETY: every file that is mapped here has a first page, which is never taken away; atomics, any bits are valid.
    unsafe { &*space.base().cast() }
}

fn content_of(space: &Reservation) -> *mut u8 {
    #[expect(clippy::cast_possible_truncation, reason = "one page")]
    space.base().wrapping_add(CONTENT as usize)
}
