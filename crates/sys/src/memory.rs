//! A file that exists in memory only, and the address space through which all of it is seen, now and when it has grown.

use crate::SysError;
use memmap2::{MmapOptions, MmapRaw};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A memfd: a growable file without a name, freed by the kernel when the last process that has it is gone.
///
/// It can grow and never shrinks (it is sealed so): what was mapped and backed once can be touched for ever, nobody can
/// make an access fail with SIGBUS. Its descriptor is closed on exec.
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
pub struct MemFd(OwnedFd);

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
        let file = Self(unsafe { OwnedFd::from_raw_fd(fd) });
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
        let file = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: fcntl takes plain numbers here.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(SysError::last("fcntl(F_SETFD)"));
        }
        Ok(file)
    }

    /// Backs `len` bytes from `offset` on with memory, zeroed where there was none, and grows the file if they end behind it.
    ///
    /// Lack of memory is told here, not by a signal at some later access. Safe to repeat; interrupted calls are.
    ///
    /// # Errors
    /// `ENOSPC` or `ENOMEM` if the memory is not there; then the file has the size it had.
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
        self.fallocate(0, offset, len)
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
        self.fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, len)
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
        Ok(self.stat()?.st_size.unsigned_abs())
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
        Ok(self.stat()?.st_blocks.unsigned_abs() * 512)
    }

    /// The descriptor, for handing it to a child.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    /// assert!(polyproc_sys::memory::MemFd::create("example")?.fd().as_raw_fd() >= 0);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    fn stat(&self) -> Result<libc::stat, SysError> {
        // SAFETY: all zero is a valid `stat`, a struct of numbers.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        // SAFETY: `stat` is a variable of this frame, and the descriptor is open.
        if unsafe { libc::fstat(self.0.as_raw_fd(), &raw mut stat) } != 0 {
            return Err(SysError::last("fstat"));
        }
        Ok(stat)
    }

    fn fallocate(&self, mode: libc::c_int, offset: u64, len: u64) -> Result<(), SysError> {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
            return Err(SysError::new("fallocate", std::io::Error::from_raw_os_error(libc::EFBIG)));
        };
        loop {
            // SAFETY: plain numbers and an open descriptor.
            if unsafe { libc::fallocate(self.0.as_raw_fd(), mode, offset, len) } == 0 {
                return Ok(());
            }
            let error = SysError::last("fallocate");
            if error.source.kind() != std::io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;

/// Address space through which a [`MemFd`] is seen, larger than the file: as the file grows, the bytes appear.
///
/// Touching it behind the end of the file raises SIGBUS: whoever uses it compares with the file's size first.
/// A forked child inherits it.
///
/// ```
/// use polyproc_sys::memory::{MemFd, Reservation};
/// let file = MemFd::create("example")?;
/// let space = Reservation::map(&file, 1 << 38)?;
/// file.back(0, 4096)?;
/// // SAFETY: the file has 4096 bytes now, and this is the only access to them.
/// unsafe { space.base().write(7) };
/// assert!(space.len() >= 1 << 30);
/// # Ok::<(), polyproc_sys::SysError>(())
/// ```
#[derive(Debug)]
pub struct Reservation(MmapRaw);

impl Reservation {
    /// Reserves `len` bytes of address space for `file`, or a half, a quarter … of it, at least 1 GiB, where a limit forbids more.
    ///
    /// # Errors
    /// If not even 1 GiB of address space can be had.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{MemFd, Reservation};
    /// let space = Reservation::map(&MemFd::create("example")?, 1 << 30)?;
    /// assert_eq!(space.len(), 1 << 30);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html), MAP_SHARED, MAP_NORESERVE
    pub fn map(file: &MemFd, len: u64) -> Result<Self, SysError> {
        const LEAST: u64 = 1 << 30;
        let mut len = len.max(LEAST);
        loop {
            let size = usize::try_from(len).unwrap_or(usize::MAX);
            match MmapOptions::new().len(size).no_reserve_swap().map_raw(file.0.as_raw_fd()) {
                Ok(map) => return Ok(Self(map)),
                // EINVAL is valgrind's word for too much.
                Err(e) if len > LEAST && matches!(e.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL)) => {
                    len = (len / 2).max(LEAST);
                }
                Err(e) => return Err(SysError::new("mmap (is RLIMIT_AS, `ulimit -v`, below 2 GiB?)", e)),
            }
        }
    }

    /// Where the file's first byte is seen.
    ///
    /// ```
    /// # use polyproc_sys::memory::{MemFd, Reservation};
    /// assert!(!Reservation::map(&MemFd::create("example")?, 1 << 30)?.base().is_null());
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    /// How many bytes of the file can be seen at most.
    ///
    /// ```
    /// # use polyproc_sys::memory::{MemFd, Reservation};
    /// assert!(Reservation::map(&MemFd::create("example")?, 1 << 31)?.len() >= 1 << 30);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a reservation is never empty")]
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }
}
