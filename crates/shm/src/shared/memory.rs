//! Bytes that processes share, to be read and written: unnamed, with a name, or a foreign file.

use super::builder::MemoryBuilder;
use super::plain::Plain;
use super::unnamed::Unnamed;
use super::view::View;
use crate::named::{Name, NamedFile, SegmentError, SegmentName};
use bytemuck::{NoUninit, Pod};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Bytes that processes share, like `multiprocessing.shared_memory.SharedMemory`. They start as zeros.
///
/// | made by | found by | ends |
/// |---|---|---|
/// | [`new`](Self::new) | handles in arguments and queues, within the family | with the last handle of any process |
/// | [`create`](Self::create) | its name, by any program of this user; and by handles | with the last handle, unless it is [`persist`](Self::persist)ent |
/// | [`create_plain`](Self::create_plain) | its file's name, by any program at all | when it is unlinked |
///
/// Clones are the same memory. Nothing here orders or excludes: bytes that several change at once belong under a `Lock`, and
/// numbers that several count into a `Value`. Each access by [`read`](Self::read), [`write`](Self::write),
/// [`get`](Self::get) and [`set`](Self::set) is sound beside all others; one of 1, 2, 4 or 8 bytes at a multiple of its size
/// is never seen half done.
///
/// The name goes with the last handle that is *dropped*: one in a `static`, or one that is forgotten, is not, and its name stays as
/// if the process had been killed. The file of `NAME` is `polyproc.NAME` in `/dev/shm`; a plain file is `NAME` itself.
///
/// # When a process dies
/// What it wrote stays, perhaps half of a longer `write`. Its handles come back: unnamed memory with the sweep of its family;
/// of named memory the kernel knows at once that it holds it no more, and if nobody else does, whoever next opens or
/// creates the name removes it, or [`gc`](crate::gc). A plain file stays.
///
/// # Examples
/// ```
/// use polyproc_shm::SharedMemory;
/// let name = format!("doc-memory-{}", std::process::id());
/// let memory = SharedMemory::create(&name, 1 << 20)?;
/// memory.write(100, b"hello")?;
/// let other = SharedMemory::open(&name)?; // in another program, as a rule
/// let mut text = [0; 5];
/// other.read(100, &mut text)?;
/// assert_eq!(&text, b"hello");
/// other.set::<f64>(0, 0.5)?;
/// assert_eq!(memory.get::<f64>(0)?, 0.5);
/// # Ok::<(), polyproc_shm::SegmentError>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory(pub(super) Which);

impl core::fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SharedMemory").field("what", &self.what()).field("len", &self.len()).finish()
    }
}

#[derive(Clone, Debug)]
pub(super) enum Which {
    Unnamed(Unnamed),
    Named(Arc<NamedFile>),
    Plain(Arc<Plain>),
}

impl SharedMemory {
    /// New memory of `len` bytes without a name, for this process and those that it sends handles to.
    ///
    /// # Errors
    /// [`SegmentError::Shm`]: the family has no memory left, or this process has not joined its family.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_shm::SharedMemory::new(4096)?.len(), 4096);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn new(len: u64) -> Result<Self, SegmentError> {
        Self::builder().unnamed(len)
    }

    /// New memory of `len` bytes that has a name.
    ///
    /// # Errors
    /// As [`NamedFile::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{SegmentError, SharedMemory};
    /// let name = format!("doc-memory-create-{}", std::process::id());
    /// let memory = SharedMemory::create(&name, 10)?;
    /// assert!(matches!(SharedMemory::create(&name, 10), Err(SegmentError::Exists(_))));
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn create(name: impl Into<Name>, len: u64) -> Result<Self, SegmentError> {
        Self::builder().create(name, len)
    }

    /// The memory that has the name, however long it is.
    ///
    /// # Errors
    /// As [`NamedFile::open`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{SegmentError, SharedMemory};
    /// assert!(matches!(SharedMemory::open("doc-nobody-made-that"), Err(SegmentError::NotFound(_))));
    /// ```
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Self::builder().open(name)
    }

    /// The memory that has the name, however long it is; if there is none, new memory of `len` bytes.
    ///
    /// # Errors
    /// As [`NamedFile::create`] and [`NamedFile::open`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let name = format!("doc-memory-either-{}", std::process::id());
    /// let first = SharedMemory::open_or_create(&name, 10)?;
    /// assert_eq!(SharedMemory::open_or_create(&name, 20)?.len(), 10);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>, len: u64) -> Result<Self, SegmentError> {
        Self::builder().open_or_create(name, len)
    }

    /// Says more than a name and a length: the permissions, room to grow.
    ///
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// assert_eq!(SharedMemory::builder().growable(1 << 20).unnamed(10)?.limit(), 1 << 20);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::new()
    }

    /// A file of `len` zeros whose name is `name` and that holds nothing else: C's `shm_open` and Python's
    /// `SharedMemory(name)` find it. It is nobody's: it stays until somebody unlinks it ([`SharedMemory::unlink_plain`]).
    ///
    /// Python before 3.13 unlinks at its end what it has only opened; there, tell its `resource_tracker` to forget it.
    ///
    /// # Errors
    /// As [`NamedFile::create`]; [`SegmentError::Exists`] for any file of that name.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let name = format!("doc-plain-{}", std::process::id());
    /// let memory = SharedMemory::create_plain(&name, 16)?;
    /// assert_eq!(SharedMemory::open_plain(&name)?.len(), 16);
    /// SharedMemory::unlink_plain(&name)?;
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn create_plain(name: impl Into<Name>, len: u64) -> Result<Self, SegmentError> {
        Self::builder().create_plain(name, len)
    }

    /// The file that somebody made, as long as it is now. What of it was not backed by memory is backed now.
    ///
    /// Whoever shortens such a file kills those that use it by SIGBUS.
    ///
    /// # Errors
    /// [`SegmentError::NotFound`], [`SegmentError::BadName`], [`SegmentError::NoSpace`]; [`SegmentError::Sys`] if it may not
    /// be written, or is no ordinary file.
    ///
    /// # Examples
    /// See [`SharedMemory::create_plain`].
    pub fn open_plain(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Self::builder().open_plain(name)
    }

    /// Takes the name of a plain file away at once; whoever has it mapped keeps it.
    ///
    /// # Errors
    /// [`SegmentError::NotFound`], also if it was unlinked before; [`SegmentError::BadName`].
    ///
    /// # Examples
    /// See [`SharedMemory::create_plain`].
    pub fn unlink_plain(name: impl Into<Name>) -> Result<(), SegmentError> {
        Plain::unlink(&name.into())
    }

    /// Takes the name away at once: nobody finds it any more, its holders keep what has it. It may be the name of memory, or
    /// of any other thing of polyproc's: a `Lock`, a `Queue`. (A plain file has another: [`SharedMemory::unlink_plain`].)
    ///
    /// # Errors
    /// [`SegmentError::NotFound`], also if it was unlinked before; [`SegmentError::BadName`], [`SegmentError::Busy`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{SegmentError, SharedMemory};
    /// let name = format!("doc-memory-unlink-{}", std::process::id());
    /// let memory = SharedMemory::create(&name, 10)?;
    /// SharedMemory::unlink(&name)?;
    /// assert!(matches!(SharedMemory::unlink(&name), Err(SegmentError::NotFound(_))));
    /// assert_eq!(memory.len(), 10);
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn unlink(name: impl Into<Name>) -> Result<(), SegmentError> {
        let name = name.into();
        NamedFile::unlink(name.place(), name.text())
    }

    /// Holds the named memory behind a descriptor that was received or inherited ([`NamedFile::attach`]).
    ///
    /// # Errors
    /// As [`NamedFile::attach`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let memory = SharedMemory::create(&format!("doc-memory-fd-{}", std::process::id()), 10)?;
    /// let received = memory.fd().unwrap().try_clone_to_owned().unwrap(); // over a socket, as a rule
    /// assert_eq!(SharedMemory::attach(received)?.len(), 10);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn attach(fd: OwnedFd) -> Result<Self, SegmentError> {
        let file = NamedFile::attach(fd, &super::builder::BYTES, polyproc_sys::memory::Access::ReadWrite)?;
        Ok(Self(Which::Named(Arc::new(file))))
    }

    /// The descriptor of named memory, to be sent elsewhere. See [`SharedMemory::attach`].
    #[must_use]
    pub fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match &self.0 {
            Which::Named(file) => Some(file.fd()),
            Which::Unnamed(_) | Which::Plain(_) => None,
        }
    }

    /// Says whether named memory is to outlive its holders: then it stays until somebody unlinks it.
    ///
    /// # Errors
    /// [`SegmentError::NotNamed`] for memory without a name, and for a plain file.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let name = format!("doc-memory-persist-{}", std::process::id());
    /// SharedMemory::create(&name, 10)?.persist(true)?;
    /// assert_eq!(SharedMemory::open(&name)?.len(), 10);
    /// SharedMemory::unlink(&name)?;
    /// assert!(SharedMemory::new(10)?.persist(true).is_err());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn persist(&self, persistent: bool) -> Result<(), SegmentError> {
        match &self.0 {
            Which::Named(file) => file.persist(persistent),
            Which::Unnamed(_) | Which::Plain(_) => Err(SegmentError::NotNamed { what: self.what() }),
        }
    }

    /// Its name and directory, if it has one.
    ///
    /// ```
    /// assert!(polyproc_shm::SharedMemory::new(10)?.name().is_none());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&SegmentName> {
        match &self.0 {
            Which::Unnamed(_) => None,
            Which::Named(file) => Some(file.name()),
            Which::Plain(file) => Some(file.name()),
        }
    }

    /// The bytes that it has now; a moment later there may be more.
    ///
    /// ```
    /// assert_eq!(polyproc_shm::SharedMemory::new(10)?.len(), 10);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Which::Unnamed(memory) => memory.len(),
            Which::Named(file) => file.len(),
            Which::Plain(file) => file.len(),
        }
    }

    /// Whether it has no bytes.
    ///
    /// ```
    /// assert!(polyproc_shm::SharedMemory::new(0)?.is_empty());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from `offset` on into `to`.
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`]; then `to` is as it was.
    ///
    /// # Examples
    /// ```
    /// let memory = polyproc_shm::SharedMemory::new(10)?;
    /// let mut bytes = [1; 10];
    /// memory.read(0, &mut bytes)?;
    /// assert_eq!(bytes, [0; 10]);
    /// assert!(memory.read(1, &mut bytes).is_err());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[inline]
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), SegmentError> {
        self.view().read(offset, to, || self.what())
    }

    /// Copies `from` to the bytes from `offset` on.
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`]; then nothing is written.
    ///
    /// # Examples
    /// ```
    /// let memory = polyproc_shm::SharedMemory::new(10)?;
    /// memory.write(7, &[1, 2, 3])?;
    /// assert_eq!(memory.get::<u8>(9)?, 3);
    /// assert!(memory.write(8, &[1, 2, 3]).is_err());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[inline]
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<(), SegmentError> {
        self.view().write(offset, from, || self.what())
    }

    /// Element `i`, if the memory is taken for an array of `T` from its first byte on.
    ///
    /// One of 1, 2, 4 or 8 bytes is never half of an older one; larger ones may be.
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`].
    ///
    /// # Examples
    /// ```
    /// let memory = polyproc_shm::SharedMemory::new(24)?;
    /// memory.set::<f64>(2, 1.5)?;
    /// assert_eq!(memory.get::<f64>(2)?, 1.5);
    /// assert!(memory.get::<f64>(3).is_err());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[inline]
    pub fn get<T: Pod>(&self, i: u64) -> Result<T, SegmentError> {
        self.view().get(i, || self.what())
    }

    /// Makes `value` element `i`. See [`SharedMemory::get`].
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`].
    ///
    /// # Examples
    /// See [`SharedMemory::get`].
    #[inline]
    pub fn set<T: NoUninit>(&self, i: u64, value: T) -> Result<(), SegmentError> {
        self.view().set(i, value, || self.what())
    }

    /// Copies elements from number `i` on into `to`, if the memory is taken for an array of `T`. Each is read as by
    /// [`SharedMemory::get`], all of them not at one moment.
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`]; then `to` is as it was.
    ///
    /// # Examples
    /// ```
    /// let memory = polyproc_shm::SharedMemory::new(80)?;
    /// memory.write_slice(2, &[0.5, 1.5])?;
    /// let mut some = [0.0; 3];
    /// memory.read_slice(1, &mut some)?;
    /// assert_eq!(some, [0.0, 0.5, 1.5]);
    /// assert!(memory.write_slice(9, &[0.5, 1.5]).is_err());
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn read_slice<T: Pod>(&self, i: u64, to: &mut [T]) -> Result<(), SegmentError> {
        self.read(i.saturating_mul(size_of::<T>() as u64), bytemuck::cast_slice_mut(to))
    }

    /// Makes `from` the elements from number `i` on. See [`SharedMemory::read_slice`].
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`]; then nothing is written.
    ///
    /// # Examples
    /// See [`SharedMemory::read_slice`].
    pub fn write_slice<T: NoUninit>(&self, i: u64, from: &[T]) -> Result<(), SegmentError> {
        self.write(i.saturating_mul(size_of::<T>() as u64), bytemuck::cast_slice(from))
    }

    /// The address of its first byte: aligned to 4096, unnamed memory to 64 (to 16 if its limit is below 64 bytes).
    /// [`SharedMemory::len`] bytes may be read and written as long as this handle or a clone of it lives.
    ///
    /// ```
    /// let memory = polyproc_shm::SharedMemory::new(8)?;
    /// // SAFETY: eight bytes, aligned to 16, and nobody else uses them.
    /// unsafe { memory.as_ptr().cast::<u64>().write(7) };
    /// assert_eq!(memory.get::<u64>(0)?, 7);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        match &self.0 {
            Which::Unnamed(memory) => memory.as_ptr(),
            Which::Named(file) => file.as_ptr(),
            Which::Plain(file) => file.as_ptr(),
        }
    }

    #[inline]
    fn view(&self) -> View {
        View { at: self.as_ptr(), len: self.len() }
    }

    /// What it is, for errors.
    pub(super) fn what(&self) -> String {
        match &self.0 {
            Which::Unnamed(_) => "unnamed shared memory".to_owned(),
            Which::Named(file) => file.what(),
            Which::Plain(file) => format!("file {}", file.name()),
        }
    }
}
