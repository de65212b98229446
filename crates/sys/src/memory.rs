//! A file that exists in memory only, and the address space through which all of it is seen, now and when it has grown.

use crate::SysError;
use memmap2::{Advice, MmapOptions, MmapRaw};
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
            return Err(SysError::new("MemAvailable in /proc/meminfo", source));
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
        // SAFETY: plain numbers and an open descriptor.
        match unsafe { libc::fallocate(self.0.as_raw_fd(), mode, offset, len) } {
            0 => Ok(()),
            _ => Err(SysError::last("fallocate")),
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

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;

/// Address space through which a [`MemFd`] is seen, larger than the file: as the file grows, the bytes appear.
///
/// Touching it behind the end of the file raises SIGBUS: whoever uses it compares with the file's size first.
/// A forked child inherits it.
///
/// Core dumps leave it out: hundreds of GiB of address space would keep a child that aborts busy for minutes, alive for all
/// to see and with its locks held.
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
    /// Reserves `len` bytes of address space for `file`, or less, at least 1 GiB, where a limit forbids so much.
    ///
    /// Under a limit it takes a half of the largest half, quarter … of `len` that fits: the heap, stacks and libraries need
    /// address space too, in this process and in its children, which must map as much ([`Reservation::exact`]).
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
        let whole = len.max(LEAST);
        let mut len = whole;
        loop {
            match Self::exact(file, len) {
                Ok(all) if len == whole || len == LEAST => return Ok(all),
                Ok(too_much) => {
                    drop(too_much);
                    return Self::exact(file, (len / 2).max(LEAST));
                }
                Err(e) if len > LEAST && is_no_space(&e) => len = (len / 2).max(LEAST),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reserves exactly `len` bytes of address space for `file`.
    ///
    /// # Errors
    /// `ENOMEM` if they cannot be had; valgrind says `EINVAL`.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{MemFd, Reservation};
    /// let file = MemFd::create("example")?;
    /// assert_eq!(Reservation::exact(&file, 4096)?.len(), 4096);
    /// assert!(Reservation::exact(&file, 1 << 60).is_err());
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html), MADV_DONTDUMP
    pub fn exact(file: &MemFd, len: u64) -> Result<Self, SysError> {
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        let map = MmapOptions::new().len(size).no_reserve_swap().map_raw(file.0.as_raw_fd());
        let map = map.map_err(|e| SysError::new("mmap (is RLIMIT_AS, `ulimit -v`, too low?)", e))?;
        // Else a child that aborts writes a core of all that is backed, for minutes, and is not dead until then: its
        // locks stay held. Where the kernel refuses, dumps are slow and all else works.
        let _ = map.advise(Advice::DontDump);
        Ok(Self(map))
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

/// Whether `mmap` says that there is less address space.
fn is_no_space(error: &SysError) -> bool {
    matches!(error.source.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL)) // EINVAL: valgrind
}
