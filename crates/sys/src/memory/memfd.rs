//! A file that exists in memory only, without a name: freed by the kernel with the last process that has it.

use super::SharedFile;
use crate::SysError;
use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A memfd: a growable file without a name, freed by the kernel when the last process that has it is gone.
///
/// It can grow and never shrinks (it is sealed so): what was mapped and backed once can be touched for ever, nobody can
/// make an access fail with SIGBUS. Its descriptor is closed on exec. What it can do is what every [`SharedFile`] can.
///
/// ```
/// use polyproc_sys::memory::MemFd;
/// let file = MemFd::create("example")?;
/// file.back(0, 8192)?;
/// assert_eq!(file.size()?, 8192);
/// # Ok::<(), polyproc_sys::SysError>(())
/// ```
///
/// # References
/// * [memfd_create(2)](https://man7.org/linux/man-pages/man2/memfd_create.2.html)
/// * [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), F_ADD_SEALS
#[derive(Debug)]
pub struct MemFd(SharedFile);

impl MemFd {
    /// Makes an empty file; `name` is what /proc shows for it.
    ///
    /// # Errors
    /// If the process or the system has no descriptor left, or `name` holds a zero byte or is longer than 249 bytes.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_sys::memory::MemFd::create("example")?.size()?, 0);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn create(name: &str) -> Result<Self, SysError> {
        let name = CString::new(name).map_err(|e| SysError::new("memfd_create", e.into()))?;
        // SAFETY: `name` is a C string that outlives the call.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if fd < 0 {
            return Err(SysError::last("memfd_create"));
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
        let file = Self(SharedFile::new(unsafe { OwnedFd::from_raw_fd(fd) }));
        // SAFETY: fcntl takes plain numbers here.
        if unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, SEALS) } != 0 {
            return Err(SysError::last("fcntl(F_ADD_SEALS)"));
        }
        Ok(file)
    }

    /// Takes over a descriptor that this process inherited, and checks that it is a file made by [`MemFd::create`].
    ///
    /// # Errors
    /// If there is no such descriptor, or it is anything but a memfd with the right seals.
    ///
    /// # Safety
    /// * Nothing else in this process owns the descriptor: it is closed when the value is dropped.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::MemFd;
    /// // SAFETY: -1 is never open.
    /// assert!(unsafe { MemFd::adopt(-1) }.is_err());
    /// ```
    pub unsafe fn adopt(fd: RawFd) -> Result<Self, SysError> {
        // SAFETY: fcntl takes plain numbers here; a bad descriptor is an error.
        let seals = unsafe { libc::fcntl(fd, libc::F_GET_SEALS) };
        if seals < 0 {
            return Err(SysError::last("fcntl(F_GET_SEALS)"));
        }
        if seals & SEALS != SEALS {
            return Err(SysError::new("fcntl(F_GET_SEALS)", std::io::ErrorKind::InvalidInput.into()));
        }
        // SAFETY: open, as fcntl has shown, and owned by nobody else by the caller's duty.
        let file = Self(SharedFile::new(unsafe { OwnedFd::from_raw_fd(fd) }));
        // SAFETY: fcntl takes plain numbers here.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(SysError::last("fcntl(F_SETFD)"));
        }
        Ok(file)
    }
}

impl core::ops::Deref for MemFd {
    type Target = SharedFile;

    fn deref(&self) -> &SharedFile {
        &self.0
    }
}

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
