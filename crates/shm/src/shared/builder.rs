//! How shared memory is to be made or opened.

use super::memory::{SharedMemory, Which};
use super::plain::Plain;
use super::read_only::{ReadOnlyMemory, Source};
use super::unnamed::Unnamed;
use crate::kind::Kind;
use crate::named::{Content, Name, NamedFile, SegmentError, Shape, open_or_create};
use polyproc_sys::memory::Access;
use std::sync::Arc;

/// What a segment of shared memory says that it holds.
pub(super) const BYTES: Content<'static> = Content { kind: Kind::Memory, type_name: "bytes", type_hash: 0 };

/// Says how shared memory is to be made.
///
/// ```
/// use polyproc_shm::SharedMemory;
/// let name = format!("doc-builder-{}", std::process::id());
/// let memory = SharedMemory::builder().mode(0o640).growable(1 << 20).create(&name, 4096)?;
/// assert_eq!(SharedMemory::open(&name)?.limit(), 1 << 20);
/// # Ok::<(), polyproc_shm::SegmentError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it makes nothing until it is told what"]
pub struct MemoryBuilder {
    mode: u32,
    limit: u64,
    prefault: bool,
}

impl MemoryBuilder {
    pub(super) fn new() -> Self {
        Self { mode: 0o600, limit: 0, prefault: false }
    }

    /// The permissions of the file, 0600 if nothing is said, whatever the umask. Named memory is opened by its owner alone,
    /// a plain file by whom its mode allows it.
    ///
    /// See [`MemoryBuilder`].
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Leaves room to grow to `max` bytes. For named memory that is address space in each process; for unnamed memory it is
    /// memory at once, as all of the family's is. Less than its length at the start says nothing.
    ///
    /// See [`MemoryBuilder`].
    pub fn growable(mut self, max: u64) -> Self {
        self.limit = max;
        self
    }

    /// Makes the pages present when the memory is made or opened, so that no first access waits for the kernel (from Linux
    /// 5.14 on). Unnamed memory is touched when it is made in any case.
    ///
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let name = format!("doc-prefault-memory-{}", std::process::id());
    /// assert_eq!(SharedMemory::builder().prefault(true).create(&name, 1 << 20)?.len(), 1 << 20);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// As [`SharedMemory::new`].
    ///
    /// # Errors
    /// As [`SharedMemory::new`].
    ///
    /// # Examples
    /// See [`SharedMemory::builder`].
    pub fn unnamed(&self, len: u64) -> Result<SharedMemory, SegmentError> {
        Ok(SharedMemory(Which::Unnamed(Unnamed::create(len, self.limit)?)))
    }

    /// As [`SharedMemory::create`].
    ///
    /// # Errors
    /// As [`SharedMemory::create`].
    ///
    /// # Examples
    /// See [`MemoryBuilder`].
    pub fn create(&self, name: impl Into<Name>, len: u64) -> Result<SharedMemory, SegmentError> {
        let name = name.into();
        let shape = Shape { len, limit: self.limit, mode: self.mode };
        self.named(NamedFile::create(name.place(), name.text(), &BYTES, shape, |_| Ok(()))?)
    }

    /// As [`SharedMemory::open`].
    ///
    /// # Errors
    /// As [`SharedMemory::open`].
    ///
    /// # Examples
    /// See [`MemoryBuilder`].
    pub fn open(&self, name: impl Into<Name>) -> Result<SharedMemory, SegmentError> {
        let name = name.into();
        self.named(NamedFile::open(name.place(), name.text(), &BYTES, Access::ReadWrite)?)
    }

    /// As [`SharedMemory::open_or_create`].
    ///
    /// # Errors
    /// As [`SharedMemory::open_or_create`]; [`SegmentError::Busy`] if others make and unlink it for a second without end.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let name = format!("doc-builder-either-{}", std::process::id());
    /// assert_eq!(SharedMemory::builder().growable(100).open_or_create(&name, 10)?.limit(), 100);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn open_or_create(&self, name: impl Into<Name>, len: u64) -> Result<SharedMemory, SegmentError> {
        let name = name.into();
        open_or_create(&name, || self.open(&name), || self.create(&name, len))
    }

    /// As [`ReadOnlyMemory::open`].
    ///
    /// # Errors
    /// As [`SharedMemory::open`].
    ///
    /// # Examples
    /// See [`ReadOnlyMemory`].
    pub fn open_read_only(&self, name: impl Into<Name>) -> Result<ReadOnlyMemory, SegmentError> {
        let name = name.into();
        let file = NamedFile::open(name.place(), name.text(), &BYTES, Access::ReadOnly)?;
        Ok(ReadOnlyMemory(Source::Named(Arc::new(file))))
    }

    /// As [`SharedMemory::create_plain`]. A plain file does not grow.
    ///
    /// # Errors
    /// As [`SharedMemory::create_plain`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::SharedMemory;
    /// let builder = SharedMemory::builder();
    /// let name = format!("doc-builder-plain-{}", std::process::id());
    /// builder.create_plain(&name, 10)?.write(0, b"abc")?;
    /// assert_eq!(builder.open_plain(&name)?.get::<u8>(2)?, b'c');
    /// assert_eq!(builder.open_plain_read_only(&name)?.len(), 10);
    /// SharedMemory::unlink_plain(&name)?;
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn create_plain(&self, name: impl Into<Name>, len: u64) -> Result<SharedMemory, SegmentError> {
        self.plain(Plain::create(&name.into(), len, self.mode)?)
    }

    /// As [`SharedMemory::open_plain`].
    ///
    /// # Errors
    /// As [`SharedMemory::open_plain`].
    ///
    /// # Examples
    /// See [`MemoryBuilder::create_plain`].
    pub fn open_plain(&self, name: impl Into<Name>) -> Result<SharedMemory, SegmentError> {
        self.plain(Plain::open(&name.into(), Access::ReadWrite)?)
    }

    /// As [`SharedMemory::open_plain`], to be read only. What is not backed by memory stays so: reading there takes memory, and
    /// raises SIGBUS if there is none.
    ///
    /// # Errors
    /// As [`SharedMemory::open_plain`].
    ///
    /// # Examples
    /// See [`MemoryBuilder::create_plain`].
    pub fn open_plain_read_only(&self, name: impl Into<Name>) -> Result<ReadOnlyMemory, SegmentError> {
        let file = Plain::open(&name.into(), Access::ReadOnly)?;
        Ok(ReadOnlyMemory(Source::Plain(Arc::new(file))))
    }

    fn named(&self, file: NamedFile) -> Result<SharedMemory, SegmentError> {
        if self.prefault {
            file.prefault()?;
        }
        Ok(SharedMemory(Which::Named(Arc::new(file))))
    }

    fn plain(&self, file: Plain) -> Result<SharedMemory, SegmentError> {
        if self.prefault {
            file.prefault()?;
        }
        Ok(SharedMemory(Which::Plain(Arc::new(file))))
    }
}
