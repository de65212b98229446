//! The first moments of a child: its boot text in the environment, its name, its inherited descriptors.

use crate::SysError;
use core::mem::MaybeUninit;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

/// Reads the environment variable `name`, and removes it so that no program started later takes it for its own.
///
/// The variable stays where it is if this process has other threads already: C code of theirs may read the environment
/// at any time. Whoever passes something through the environment must be able to tell whom it is meant for.
///
/// ```
/// assert_eq!(polyproc_sys::process::boot::take_variable("SURELY_NOT_SET"), None);
/// ```
#[must_use]
pub fn take_variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    if is_single_threaded() {
        // SAFETY: this is the only thread of the process, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Some(value)
}

/// Whether the calling thread is the only one of this process.
///
/// ```
/// let other = std::thread::spawn(polyproc_sys::process::boot::is_single_threaded);
/// assert!(!other.join().unwrap());
/// ```
#[must_use]
pub fn is_single_threaded() -> bool {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path is a C string; the call fills the struct of this frame if it succeeds.
    if unsafe { libc::stat(c"/proc/self/task".as_ptr(), stat.as_mut_ptr()) } < 0 {
        return false;
    }
    // SAFETY: filled by the call, which succeeded.
    let stat = unsafe { stat.assume_init() };
    stat.st_nlink == 3 // one directory for each thread, and two
}

/// The device and the inode of the file that this process runs: the same in all processes that run this program.
///
/// ```
/// use std::os::unix::fs::MetadataExt;
/// let me = std::fs::metadata(std::env::current_exe()?)?;
/// assert_eq!(polyproc_sys::process::boot::program().unwrap(), (me.dev(), me.ino()));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What `stat` says: no `/proc`.
///
/// # References
/// * [proc_pid_exe(5)](https://man7.org/linux/man-pages/man5/proc_pid_exe.5.html): leads to the file itself, also when
///   it was replaced or removed
pub fn program() -> Result<(u64, u64), SysError> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata("/proc/self/exe") {
        Ok(file) => Ok((file.dev(), file.ino())),
        Err(e) => Err(SysError::new("stat", e)),
    }
}

/// Sets the CLOEXEC flag of an inherited descriptor, so that programs which this process starts do not get it.
///
/// ```
/// use std::os::fd::AsRawFd;
/// let file = std::fs::File::open("/dev/null").unwrap();
/// assert!(polyproc_sys::process::boot::set_cloexec(file.as_raw_fd()).is_ok());
/// assert!(polyproc_sys::process::boot::set_cloexec(-1).is_err());
/// ```
///
/// # Errors
/// EBADF if the descriptor is not open.
pub fn set_cloexec(fd: RawFd) -> Result<(), SysError> {
    // SAFETY: takes numbers only.
    let r = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if r < 0 { Err(SysError::last("fcntl")) } else { Ok(()) }
}

/// Names this process, as `ps` and `top` show it, after its first argument: a start of `/proc/self/exe` leaves `exe`.
///
/// ```
/// polyproc_sys::process::boot::name_after_first_argument();
/// let name = std::fs::read_to_string("/proc/self/comm").unwrap();
/// assert_ne!(name.trim(), "exe");
/// ```
///
/// # References
/// * [prctl(2)](https://man7.org/linux/man-pages/man2/prctl.2.html), PR_SET_NAME: names the calling thread, cut to 15
///   bytes; the process has the name of its first thread
pub fn name_after_first_argument() {
    let Some(first) = std::env::args_os().next() else { return };
    let base = first.as_bytes().rsplit(|b| *b == b'/').next().unwrap_or_default();
    if let Ok(name) = CString::new(base)
        && !base.is_empty()
    {
        // SAFETY: the call reads a C string of this frame.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// Ignores SIGPIPE if nobody chose a disposition yet, as Rust does before `main`: for code that runs before that.
///
/// ```
/// polyproc_sys::process::boot::ignore_sigpipe(); // done already
/// ```
pub fn ignore_sigpipe() {
    // SAFETY: no handler is installed; ignoring a signal is safe at any time.
    let old = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    if old != libc::SIG_DFL && old != libc::SIG_IGN && old != libc::SIG_ERR {
        // SAFETY: gives back the handler that was in place before.
        unsafe { libc::signal(libc::SIGPIPE, old) };
    }
}
