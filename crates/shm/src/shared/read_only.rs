//! Shared memory that this process may look at, and cannot write.

use super::builder::BYTES;
use super::memory::SharedMemory;
use super::plain::Plain;
use super::view::View;
use crate::named::{Name, NamedFile, SegmentError, SegmentName};
use bytemuck::Pod;
use polyproc_sys::memory::Access;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Named memory, or a plain file, mapped for reading only: the type has no way to write, and the kernel kills who writes
/// all the same. Others write meanwhile. It is a hold like that of [`SharedMemory`].
///
/// ```
/// use polyproc_shm::{ReadOnlyMemory, SharedMemory};
/// let name = format!("doc-read-only-{}", std::process::id());
/// let memory = SharedMemory::create(&name, 16)?;
/// let looking = ReadOnlyMemory::open(&name)?;
/// memory.set::<u64>(1, 7)?;
/// assert_eq!(looking.get::<u64>(1)?, 7);
/// # Ok::<(), polyproc_shm::SegmentError>(())
/// ```
///
/// ```compile_fail,E0599
/// polyproc_shm::ReadOnlyMemory::open("jobs").unwrap().write(0, b"no");
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnlyMemory(pub(super) Source);

#[derive(Clone, Debug)]
pub(super) enum Source {
    Named(Arc<NamedFile>),
    Plain(Arc<Plain>),
}

impl ReadOnlyMemory {
    /// The memory that has the name.
    ///
    /// # Errors
    /// As [`NamedFile::open`].
    ///
    /// # Examples
    /// See [`ReadOnlyMemory`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        SharedMemory::builder().open_read_only(name)
    }

    /// Holds the named memory behind a descriptor, which may be one for reading only ([`NamedFile::attach`]).
    ///
    /// # Errors
    /// As [`NamedFile::attach`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{ReadOnlyMemory, SharedMemory};
    /// let memory = SharedMemory::create(&format!("doc-read-only-fd-{}", std::process::id()), 10)?;
    /// let received = memory.fd().unwrap().try_clone_to_owned().unwrap();
    /// assert_eq!(ReadOnlyMemory::attach(received)?.len(), 10);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn attach(fd: OwnedFd) -> Result<Self, SegmentError> {
        Ok(Self(Source::Named(Arc::new(NamedFile::attach(fd, &BYTES, Access::ReadOnly)?))))
    }

    /// The bytes that it has now; a moment later there may be more.
    ///
    /// See [`ReadOnlyMemory::attach`].
    #[must_use]
    #[inline]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Source::Named(file) => file.len(),
            Source::Plain(file) => file.len(),
        }
    }

    /// Whether it has no bytes.
    ///
    /// See [`SharedMemory::is_empty`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its name and directory.
    ///
    /// See [`SharedMemory::name`].
    #[must_use]
    pub fn name(&self) -> &SegmentName {
        match &self.0 {
            Source::Named(file) => file.name(),
            Source::Plain(file) => file.name(),
        }
    }

    /// Copies bytes from `offset` on into `to`.
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`].
    ///
    /// # Examples
    /// See [`SharedMemory::read`].
    #[inline]
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), SegmentError> {
        self.view().read(offset, to, || format!("segment {}", self.name()))
    }

    /// Element `i`, if the memory is taken for an array of `T`. See [`SharedMemory::get`].
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`].
    ///
    /// # Examples
    /// See [`ReadOnlyMemory`].
    #[inline]
    pub fn get<T: Pod>(&self, i: u64) -> Result<T, SegmentError> {
        self.view().get(i, || format!("segment {}", self.name()))
    }

    /// Copies elements from number `i` on into `to`. See [`SharedMemory::read_slice`].
    ///
    /// # Errors
    /// [`SegmentError::OutOfBounds`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{ReadOnlyMemory, SharedMemory};
    /// let name = format!("doc-read-slice-{}", std::process::id());
    /// let memory = SharedMemory::create(&name, 16)?;
    /// memory.write_slice(0, &[7_u64, 8])?;
    /// let mut words = [0; 2];
    /// ReadOnlyMemory::open(&name)?.read_slice::<u64>(0, &mut words)?;
    /// assert_eq!(words, [7, 8]);
    /// # Ok::<(), polyproc_shm::SegmentError>(())
    /// ```
    pub fn read_slice<T: Pod>(&self, i: u64, to: &mut [T]) -> Result<(), SegmentError> {
        self.read(i.saturating_mul(size_of::<T>() as u64), bytemuck::cast_slice_mut(to))
    }

    /// The address of its first byte, aligned to 4096. [`ReadOnlyMemory::len`] bytes may be read as long as this handle or a
    /// clone of it lives; others may write them meanwhile.
    ///
    /// See [`SharedMemory::as_ptr`].
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        match &self.0 {
            Source::Named(file) => file.as_ptr(),
            Source::Plain(file) => file.as_ptr(),
        }
    }

    #[inline]
    fn view(&self) -> View {
        View { at: self.as_ptr().cast_mut(), len: self.len() }
    }
}
