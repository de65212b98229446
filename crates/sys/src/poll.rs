//! Waiting for one of several file descriptors.

use crate::{Deadline, SysError};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sleeps until one of `fds` is readable or hung up, or until `deadline`; says which are, in the order of `fds`.
///
/// ```
/// use polyproc_sys::{Deadline, poll};
/// use std::{io::Write, os::fd::AsFd};
/// let (reader, mut writer) = std::io::pipe()?;
/// assert_eq!(poll::readable(&[reader.as_fd()], Deadline::PAST)?, [false]);
/// writer.write_all(b"x")?;
/// assert_eq!(poll::readable(&[reader.as_fd()], Deadline::NEVER)?, [true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SysError`] if the kernel has no memory, or the process may not have that many descriptors.
///
/// # References
/// * [ppoll(2)](https://man7.org/linux/man-pages/man2/poll.2.html): EINTR is taken for nothing and waited on
pub fn readable(fds: &[BorrowedFd<'_>], deadline: Deadline) -> Result<Vec<bool>, SysError> {
    let mut entries: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    loop {
        let left = deadline.remaining().map(|left| Deadline::after_zero(left).timespec());
        let left = left.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: `entries` has so many entries, which the call may write; `left` is null or a timespec of this frame.
        let r = unsafe { libc::ppoll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, left, core::ptr::null()) };
        if r >= 0 {
            return Ok(entries.iter().map(|e| e.revents != 0).collect());
        }
        let error = SysError::last("ppoll");
        if error.source.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}
