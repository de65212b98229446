//! How a file is opened, and what the kernel knows of it.

use std::fs::{Metadata, OpenOptions};
use std::os::unix::fs::MetadataExt;

/// What one may do with a file that is opened.
///
/// ```
/// use polyproc_sys::memory::Access;
/// assert_ne!(Access::ReadOnly, Access::ReadWrite);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look only: the descriptor cannot be mapped for writing.
    ReadOnly,
    /// Look and change.
    ReadWrite,
}

impl Access {
    pub(crate) fn options(self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(self == Self::ReadWrite);
        options
    }
}

/// What the kernel knows of a file.
///
/// ```
/// use polyproc_sys::memory::MemFd;
/// let info = MemFd::create("example")?.info()?;
/// assert_eq!((info.size, info.links, info.is_regular), (0, 0, true));
/// # Ok::<(), polyproc_sys::SysError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileInfo {
    /// Bytes, backed or not.
    pub size: u64,
    /// The file system's number; with `inode` it tells the file from all others that exist.
    pub device: u64,
    /// The file's number.
    pub inode: u64,
    /// How many names it has; 0 when it was unlinked.
    pub links: u64,
    /// Who owns it.
    pub uid: u32,
    /// Who may do what with it: the low twelve bits.
    pub mode: u32,
    /// Whether it is an ordinary file: not a directory, a pipe, a device.
    pub is_regular: bool,
}

impl From<&Metadata> for FileInfo {
    fn from(m: &Metadata) -> Self {
        Self {
            size: m.size(),
            device: m.dev(),
            inode: m.ino(),
            links: m.nlink(),
            uid: m.uid(),
            mode: m.mode() & 0o7777,
            is_regular: m.is_file(),
        }
    }
}

impl FileInfo {
    /// Whether both are of one file, as long as somebody has it open.
    ///
    /// ```
    /// use polyproc_sys::memory::MemFd;
    /// let (one, other) = (MemFd::create("one")?, MemFd::create("other")?);
    /// assert!(one.info()?.is_same_file(&one.info()?));
    /// assert!(!one.info()?.is_same_file(&other.info()?));
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}
