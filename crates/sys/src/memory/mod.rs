//! Files of shared memory, and the address space through which all of one is seen, now and when it has grown.

mod bytes;
mod file;
mod info;
mod memfd;

pub use bytes::{load, store};
pub use file::SharedFile;
pub use info::{Access, FileInfo};
pub use memfd::MemFd;

pub(crate) use file::flock;

use crate::SysError;
use memmap2::{Advice, MmapOptions, MmapRaw};

/// Address space through which a [`SharedFile`] is seen, larger than the file: as the file grows, the bytes appear.
///
/// Touching it behind the end of the file raises SIGBUS: whoever uses it compares with the file's size first.
/// A forked child inherits it.
///
/// Core dumps leave it out, if it has a MiB or more: hundreds of GiB of address space would keep a child that aborts busy for
/// minutes, alive for all to see and with its locks held.
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
    /// let file = MemFd::create("example")?;
    /// let space = Reservation::map(&file, 1 << 30)?;
    /// assert_eq!(space.len(), 1 << 30);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html), MAP_SHARED, MAP_NORESERVE
    pub fn map(file: &SharedFile, len: u64) -> Result<Self, SysError> {
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
    pub fn exact(file: &SharedFile, len: u64) -> Result<Self, SysError> {
        Self::new(MmapOptions::new().len(bytes(len)).no_reserve_swap().map_raw(file))
    }

    /// As [`Reservation::exact`], for looking only: whoever writes there is killed by a signal.
    ///
    /// # Errors
    /// As [`Reservation::exact`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{Access, MemFd, Reservation};
    /// let file = MemFd::create("example")?;
    /// file.back(0, 4096)?;
    /// let space = Reservation::read_only(&file.reopen(Access::ReadOnly)?, 4096)?;
    /// // SAFETY: the file has 4096 bytes, and nobody writes to them.
    /// assert_eq!(unsafe { space.base().read() }, 0);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn read_only(file: &SharedFile, len: u64) -> Result<Self, SysError> {
        Self::new(MmapOptions::new().len(bytes(len)).no_reserve_swap().map_raw_read_only(file))
    }

    fn new(map: std::io::Result<MmapRaw>) -> Result<Self, SysError> {
        let map = map.map_err(|e| SysError::new("mmap (is RLIMIT_AS, `ulimit -v`, too low?)", e))?;
        // Else a child that aborts writes a core of all that is backed, for minutes, and is not dead until then: its
        // locks stay held. Where the kernel refuses, dumps are slow and all else works. A call less for what is small.
        const DUMPED: usize = 1 << 20;
        if map.len() >= DUMPED {
            let _ = map.advise(Advice::DontDump);
        }
        Ok(Self(map))
    }

    /// Makes the first `len` bytes present now, so that no later access waits for the kernel. They must lie in the file.
    ///
    /// Kernels before 5.14 do not know how; there nothing happens.
    ///
    /// # Errors
    /// `ENOMEM` if there is no memory for the page tables, `EINVAL` never.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{MemFd, Reservation};
    /// let file = MemFd::create("example")?;
    /// file.back(0, 8192)?;
    /// Reservation::exact(&file, 8192)?.populate(8192)?;
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html), MADV_POPULATE_WRITE
    pub fn populate(&self, len: u64) -> Result<(), SysError> {
        match self.0.advise_range(Advice::PopulateWrite, 0, bytes(len).min(self.0.len())) {
            Err(e) if e.kind() != std::io::ErrorKind::InvalidInput => {
                Err(SysError::new("madvise(MADV_POPULATE_WRITE)", e))
            }
            _ => Ok(()),
        }
    }

    /// Leaves the file behind the first `keep` bytes, a multiple of the page size: nothing is there any more, and the address
    /// space stays reserved. Of what stays, no page counts as this process's before it is touched again.
    ///
    /// # Safety
    /// * Nothing behind `keep` is used any more, by anybody in this process.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{MemFd, Reservation};
    /// let file = MemFd::create("example")?;
    /// file.back(0, 8192)?;
    /// let space = Reservation::exact(&file, 1 << 30)?;
    /// // SAFETY: nobody uses it.
    /// unsafe { space.blank(4096) };
    /// // SAFETY: the first page is still there.
    /// assert_eq!(unsafe { space.base().read() }, 0);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    ///
    /// # References
    /// * [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html), PROT_NONE, MAP_FIXED
    pub unsafe fn blank(&self, keep: u64) {
        if let Some(rest) = self.len().checked_sub(keep).filter(|rest| *rest > 0) {
            let from = self.base().wrapping_add(bytes(keep)).cast();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
            // SAFETY: a part of this mapping, which nobody uses by the caller's duty. If it fails, all is as it was.
            unsafe { libc::mmap(from, bytes(rest), libc::PROT_NONE, flags, -1, 0) };
        }
        if keep > 0 {
            // SAFETY: the bytes of a shared mapping are the file's: they are there again when they are touched.
            unsafe { libc::madvise(self.base().cast(), bytes(keep), libc::MADV_DONTNEED) };
        }
    }

    /// Where the file's first byte is seen.
    ///
    /// ```
    /// # use polyproc_sys::memory::{MemFd, Reservation};
    /// let file = MemFd::create("example")?;
    /// assert!(!Reservation::map(&file, 1 << 30)?.base().is_null());
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
    /// let file = MemFd::create("example")?;
    /// assert!(Reservation::map(&file, 1 << 31)?.len() >= 1 << 30);
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a reservation is never empty")]
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

fn bytes(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Whether `mmap` says that there is less address space.
fn is_no_space(error: &SysError) -> bool {
    matches!(error.source.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL)) // EINVAL: valgrind
}
