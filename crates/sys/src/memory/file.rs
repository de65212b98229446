//! What files of shared memory have in common, with a name or without: size, backing, locks.

use super::{Access, FileInfo};
use crate::SysError;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// A file whose bytes processes share by mapping it: a [`MemFd`](super::MemFd), or one that has a name
/// ([`Dir`](crate::dir::Dir)). Its descriptor is closed on exec.
///
/// ```
/// use polyproc_sys::memory::MemFd;
/// let file = MemFd::create("example")?;
/// file.back(0, 4096)?;
/// let mut bytes = [1; 4];
/// file.read_at(0, &mut bytes)?;
/// assert_eq!(bytes, [0; 4]);
/// # Ok::<(), polyproc_sys::SysError>(())
/// ```
#[derive(Debug)]
pub struct SharedFile(File);

impl SharedFile {
    pub(crate) fn new(fd: impl Into<File>) -> Self {
        Self(fd.into())
    }

    /// Takes over a descriptor that came from elsewhere. Whether it is a file that can be mapped [`SharedFile::info`] tells.
    ///
    /// ```
    /// use polyproc_sys::memory::{MemFd, SharedFile};
    /// let received = MemFd::create("example")?.fd().try_clone_to_owned().unwrap();
    /// assert_eq!(SharedFile::adopt(received).size()?, 0);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    #[must_use]
    pub fn adopt(fd: OwnedFd) -> Self {
        Self::new(fd)
    }

    /// The same file by an open description of its own: with locks of its own, and perhaps with less access.
    ///
    /// # Errors
    /// No more descriptors, no `/proc`, or the file's mode does not allow `access`.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{Access, MemFd};
    /// let file = MemFd::create("example")?;
    /// let again = file.reopen(Access::ReadOnly)?;
    /// assert!(again.info()?.is_same_file(&file.info()?));
    /// assert!(again.back(0, 1).is_err());
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn reopen(&self, access: Access) -> Result<Self, SysError> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        access.options().open(path).map(Self).map_err(|e| SysError::new("open(/proc/self/fd)", e))
    }

    /// What the kernel knows of the file now.
    ///
    /// # Errors
    /// None in practice.
    ///
    /// # Examples
    /// See [`FileInfo`].
    pub fn info(&self) -> Result<FileInfo, SysError> {
        Ok(FileInfo::from(&self.metadata()?))
    }

    /// Where the descriptor was opened. The path may have gone since, and that of a memfd, or of a file that was made without a
    /// name, has a last part that means nothing.
    ///
    /// # Errors
    /// If `/proc` is not there.
    ///
    /// # Examples
    /// ```
    /// let file = polyproc_sys::memory::MemFd::create("example")?;
    /// assert!(file.path()?.to_string_lossy().contains("memfd:example"));
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn path(&self) -> Result<PathBuf, SysError> {
        let link = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        std::fs::read_link(link).map_err(|e| SysError::new("readlink(/proc/self/fd)", e))
    }

    /// Reads the bytes from `offset` on; all of them, or it is an error. Never raises SIGBUS.
    ///
    /// # Errors
    /// If the file ends before.
    ///
    /// # Examples
    /// See [`SharedFile`].
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), SysError> {
        self.0.read_exact_at(bytes, offset).map_err(|e| SysError::new("pread", e))
    }

    /// Makes `mode` the file's permissions, whatever the process's umask.
    ///
    /// # Errors
    /// If the file is another user's.
    ///
    /// # Examples
    /// ```
    /// let file = polyproc_sys::memory::MemFd::create("example")?;
    /// file.set_mode(0o640)?;
    /// assert_eq!(file.info()?.mode, 0o640);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn set_mode(&self, mode: u32) -> Result<(), SysError> {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(mode & 0o7777);
        self.0.set_permissions(mode).map_err(|e| SysError::new("fchmod", e))
    }

    /// Takes the shared lock for this open description, if nobody has the exclusive one; `false` if somebody has.
    ///
    /// The lock belongs to the open description: a forked child that inherits it shares it, and it is given up by
    /// [`SharedFile::unlock`] in any of them, or when the last of them has closed it, however it ended. Instead of an
    /// exclusive lock it is taken in two steps: others may take theirs in between, and then none is held.
    ///
    /// # Errors
    /// Where the file system knows no locks.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{Access, MemFd};
    /// let file = MemFd::create("example")?;
    /// let other = file.reopen(Access::ReadWrite)?;
    /// assert!(file.try_lock_shared()? && other.try_lock_shared()?);
    /// assert!(!file.try_lock_exclusive()?);
    /// drop(other);
    /// assert!(file.try_lock_exclusive()?);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html)
    pub fn try_lock_shared(&self) -> Result<bool, SysError> {
        flock(self.fd(), libc::LOCK_SH)
    }

    /// Takes the exclusive lock for this open description, if nobody has any; `false` if somebody has. See
    /// [`SharedFile::try_lock_shared`], also for what it does to a shared lock of this description.
    ///
    /// # Errors
    /// Where the file system knows no locks.
    ///
    /// # Examples
    /// See [`SharedFile::try_lock_shared`].
    pub fn try_lock_exclusive(&self) -> Result<bool, SysError> {
        flock(self.fd(), libc::LOCK_EX)
    }

    /// Gives this open description's lock up, for all processes that have inherited it.
    ///
    /// # Errors
    /// None in practice.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{Access, MemFd};
    /// let file = MemFd::create("example")?;
    /// assert!(file.try_lock_exclusive()?);
    /// file.unlock()?;
    /// assert!(file.reopen(Access::ReadOnly)?.try_lock_exclusive()?);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn unlock(&self) -> Result<(), SysError> {
        flock(self.fd(), libc::LOCK_UN).map(|_| ())
    }

    /// Takes the lock of the file's first byte for this open description, to be shared with others of its kind
    /// ([`Access::ReadOnly`]) or alone ([`Access::ReadWrite`]); `false` if somebody has one that forbids it.
    ///
    /// It is a lock of its own beside [`SharedFile::try_lock_shared`]'s, and is given up likewise: by
    /// [`SharedFile::unlock_byte`], or when the description is closed.
    ///
    /// # Errors
    /// If the file was not opened for that access.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{Access, MemFd};
    /// let file = MemFd::create("example")?;
    /// let other = file.reopen(Access::ReadOnly)?;
    /// assert!(file.try_lock_exclusive()? && file.try_lock_byte(Access::ReadWrite)?);
    /// assert!(!other.try_lock_byte(Access::ReadOnly)?);
    /// file.unlock_byte()?;
    /// assert!(other.try_lock_byte(Access::ReadOnly)? && !other.try_lock_shared()?);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [F_OFD_SETLK(2const)](https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html)
    pub fn try_lock_byte(&self, access: Access) -> Result<bool, SysError> {
        self.lock_byte(match access {
            Access::ReadOnly => libc::F_RDLCK,
            Access::ReadWrite => libc::F_WRLCK,
        })
    }

    /// Gives the lock of the first byte up. See [`SharedFile::try_lock_byte`].
    ///
    /// # Errors
    /// None in practice.
    ///
    /// # Examples
    /// See [`SharedFile::try_lock_byte`].
    pub fn unlock_byte(&self) -> Result<(), SysError> {
        self.lock_byte(libc::F_UNLCK).map(|_| ())
    }

    /// Backs `len` bytes from `offset` on with memory, zeroed where there was none, and grows the file if they end behind it.
    ///
    /// Lack of memory is told here, not by a signal at some later access. Safe to repeat; interrupted calls are.
    ///
    /// It goes in steps of at most 4 MiB, of less where signals interrupt it: kernels that undo an interrupted call would
    /// otherwise never come to an end under a periodic signal.
    ///
    /// More than 4 MiB are asked for only if the system says that it has them: it would not refuse the rest when all memory
    /// is used up, but kill processes, and any of them, for it. That others take the memory meanwhile cannot be excluded.
    ///
    /// # Errors
    /// `ENOSPC` or `ENOMEM` if the memory is not there; then the file ends where it did, or behind the last whole step,
    /// and all that it has gained is backed.
    ///
    /// # Examples
    /// ```
    /// let file = polyproc_sys::memory::MemFd::create("example")?;
    /// file.back(4096, 4096)?;
    /// assert_eq!(file.size()?, 8192);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html)
    pub fn back(&self, offset: u64, len: u64) -> Result<(), SysError> {
        const LEAST: u64 = 64 << 10;
        const MOST: u64 = 4 << 20;
        if len > MOST && available().is_some_and(|there| there < len) {
            let source = std::io::Error::from_raw_os_error(libc::ENOMEM);
            return Err(SysError::new("the system has not so much left (MemAvailable)", source));
        }
        let (mut done, mut step) = (0, MOST);
        while done < len {
            let n = step.min(len - done);
            match self.fallocate(0, offset.saturating_add(done), n) {
                Ok(()) => done += n,
                Err(e) if e.source.kind() == std::io::ErrorKind::Interrupted => step = (step / 2).max(LEAST),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Gives the memory under `len` bytes from `offset` on back to the system; the size stays, the bytes read as zero.
    ///
    /// # Errors
    /// Whatever the kernel says; the memory may then still be there.
    ///
    /// # Examples
    /// ```
    /// let file = polyproc_sys::memory::MemFd::create("example")?;
    /// file.back(0, 8192)?;
    /// file.punch(0, 4096)?;
    /// assert_eq!((file.size()?, file.backed()?), (8192, 4096));
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html), FALLOC_FL_PUNCH_HOLE
    pub fn punch(&self, offset: u64, len: u64) -> Result<(), SysError> {
        loop {
            match self.fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, len) {
                Err(e) if e.source.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// The size of the file, as the kernel knows it.
    ///
    /// # Errors
    /// None in practice.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_sys::memory::MemFd::create("example")?.size()?, 0);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn size(&self) -> Result<u64, SysError> {
        Ok(self.metadata()?.size())
    }

    /// The bytes of memory that the file takes.
    ///
    /// # Errors
    /// None in practice.
    ///
    /// # Examples
    /// ```
    /// let file = polyproc_sys::memory::MemFd::create("example")?;
    /// file.back(0, 4096)?;
    /// assert_eq!(file.backed()?, 4096);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn backed(&self) -> Result<u64, SysError> {
        Ok(self.metadata()?.blocks() * 512)
    }

    /// The descriptor: for handing it to a child, say.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    /// assert!(polyproc_sys::memory::MemFd::create("example")?.fd().as_raw_fd() >= 0);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn metadata(&self) -> Result<Metadata, SysError> {
        self.0.metadata().map_err(|e| SysError::new("fstat", e))
    }

    fn lock_byte(&self, how: libc::c_int) -> Result<bool, SysError> {
        // SAFETY: zeros are a valid `flock`: byte 0 from the start of the file on.
        let mut lock: libc::flock = unsafe { core::mem::zeroed() };
        lock.l_type = libc::c_short::try_from(how).expect("one of three small constants");
        lock.l_len = 1;
        // SAFETY: an open descriptor and a valid `flock`, which outlives the call.
        if unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
            return Ok(true);
        }
        match SysError::last("fcntl(F_OFD_SETLK)") {
            e if e.source.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            e => Err(e),
        }
    }

    fn fallocate(&self, mode: libc::c_int, offset: u64, len: u64) -> Result<(), SysError> {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
            return Err(SysError::new("fallocate", std::io::Error::from_raw_os_error(libc::EFBIG)));
        };
        // SAFETY: plain numbers and an open descriptor.
        match unsafe { libc::fallocate(self.0.as_raw_fd(), mode, offset, len) } {
            0 => Ok(()),
            _ => Err(SysError::last("fallocate")),
        }
    }
}

impl AsRawFd for SharedFile {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Takes or gives up a lock without waiting; `false` if somebody else has one that forbids it.
pub(crate) fn flock(fd: BorrowedFd<'_>, how: libc::c_int) -> Result<bool, SysError> {
    loop {
        // SAFETY: plain numbers and an open descriptor.
        if unsafe { libc::flock(fd.as_raw_fd(), how | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        let error = std::io::Error::last_os_error();
        match error.kind() {
            std::io::ErrorKind::WouldBlock => return Ok(false),
            std::io::ErrorKind::Interrupted => {}
            _ => return Err(SysError::new("flock", error)),
        }
    }
}

/// The bytes that can still be had: memory that is free or easily freed, and swap. `None` where /proc does not tell.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |name: &str| {
        let amount = text.lines().find_map(|line| line.strip_prefix(name))?;
        amount.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    kib("MemAvailable:")?.checked_add(kib("SwapFree:")?)?.checked_mul(1024)
}
