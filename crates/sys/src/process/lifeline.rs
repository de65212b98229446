//! The pipe that ends the children when their parent is gone.
//!
//! Each process that has children keeps both ends of one pipe; nobody ever writes to it. The children inherit the read
//! end. When the parent ends, in whatever way, the kernel closes the only write end, and signals every child that
//! asked for it: SIGKILL by `F_SETSIG`, so that a child in a busy loop, in a blocking call or with all signals blocked
//! ends as well, without a thread that watches. A child's own children hang on a pipe of the child's: they end next.
//!
//! `PR_SET_PDEATHSIG` is no substitute: it fires when the *thread* ends that started the child.
//!
//! # If the parent dies at a bad moment
//! A child arms the signal first and then looks whether the pipe is hung up already: one of the two sees the death.
//! A raw `fork` of the parent would hold the write end open, so the forked child closes its copy at once.

use super::child::poll_in;
use crate::{Deadline, SysError};
use core::sync::atomic::{AtomicU64, Ordering};
use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Once;

/// `F_SETSIG` of asm-generic/fcntl.h, the same on x86_64 and aarch64.
const F_SETSIG: i32 = 10;

/// Both ends of this process's pipe: read end in the high half, write end in the low one; [`NONE`] if not made yet.
static PIPE: AtomicU64 = AtomicU64::new(NONE);
const NONE: u64 = u64::MAX;

/// What the look at an inherited lifeline found.
///
/// ```
/// use polyproc_sys::process::{Fate, Lifeline};
/// let strange = Lifeline { fd: 9_999, inode: 1 }.arm().unwrap();
/// assert_eq!(strange, Fate::NotOurs);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// This process ends when the parent does.
    Bound,
    /// The parent is gone already.
    ParentGone,
    /// The descriptor is no such pipe: this process is not the child that it was meant for.
    NotOurs,
}

/// The read end of a parent's pipe: as the parent passes it on, and as the child finds it.
///
/// # Examples
/// ```
/// use polyproc_sys::process::Lifeline;
/// let line = Lifeline::of_this_process().unwrap();
/// assert_eq!(line, Lifeline::of_this_process().unwrap()); // one a process
/// assert_ne!(line.inode, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifeline {
    /// The descriptor's number, the same in the parent and in the child.
    pub fd: RawFd,
    /// The pipe's inode, by which a child knows that the number still means the pipe.
    pub inode: u64,
}

impl Lifeline {
    /// The pipe that this process's children hang on, made on first use and kept until the process ends.
    ///
    /// ```
    /// assert!(polyproc_sys::process::Lifeline::of_this_process().is_ok());
    /// ```
    ///
    /// # Errors
    /// What `pipe2` says: no more descriptors.
    pub fn of_this_process() -> Result<Self, SysError> {
        let mut ends = PIPE.load(Ordering::Acquire);
        if ends == NONE {
            ends = make()?;
        }
        let fd = RawFd::try_from(ends >> 32).expect("made of a descriptor");
        let (_, inode) = kind_and_inode(fd).ok_or_else(|| SysError::last("fstat"))?;
        Ok(Self { fd, inode })
    }

    /// The read end, to be inherited by a child.
    ///
    /// ```
    /// use polyproc_sys::process::Lifeline;
    /// use std::os::fd::AsRawFd;
    /// let line = Lifeline::of_this_process().unwrap();
    /// assert_eq!(line.to_inherit().as_raw_fd(), line.fd);
    /// ```
    ///
    /// # Panics
    /// If the line is not this process's own.
    #[must_use]
    pub fn to_inherit(self) -> BorrowedFd<'static> {
        let own = PIPE.load(Ordering::Acquire) >> 32;
        assert_eq!(RawFd::try_from(own).ok(), Some(self.fd), "the lifeline of another process");
        // SAFETY: the descriptor is this process's own pipe, which stays open until the process ends.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// In a child: binds this process's life to the parent's, and closes the inherited descriptor.
    ///
    /// The owner of the signal belongs to the open file, which all children share: so the pipe is opened anew.
    ///
    /// ```
    /// use polyproc_sys::process::{Fate, Lifeline};
    /// assert_eq!(Lifeline { fd: 9_999, inode: 1 }.arm().unwrap(), Fate::NotOurs);
    /// ```
    ///
    /// # Errors
    /// What `open` or `fcntl` say: no more descriptors, or no `/proc`.
    ///
    /// # References
    /// * [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), O_ASYNC, F_SETOWN, F_SETSIG
    pub fn arm(self) -> Result<Fate, SysError> {
        if !kind_and_inode(self.fd).is_some_and(|(kind, inode)| kind == libc::S_IFIFO && inode == self.inode) {
            return Ok(Fate::NotOurs);
        }
        // SAFETY: the descriptor is open and is the pipe that the parent gave to this process for this very use.
        let inherited = unsafe { OwnedFd::from_raw_fd(self.fd) };
        let path = CString::new(format!("/proc/self/fd/{}", self.fd)).expect("numbers have no NUL");
        // SAFETY: the path is a C string of this frame.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC) };
        if fd < 0 {
            return Err(SysError::last("open"));
        }
        drop(inherited);
        // The line is never closed: it lies there until the process ends.
        // SAFETY: takes numbers only.
        control(unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGKILL) })?;
        // SAFETY: takes no argument.
        let me = unsafe { libc::getpid() };
        // SAFETY: takes numbers only.
        control(unsafe { libc::fcntl(fd, libc::F_SETOWN, me) })?;
        // SAFETY: takes numbers only.
        control(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC) })?;
        // SAFETY: the descriptor was opened above and is not closed.
        let line = unsafe { BorrowedFd::borrow_raw(fd) };
        let events = poll_in(line, Deadline::PAST)?;
        Ok(if events & libc::POLLHUP == 0 { Fate::Bound } else { Fate::ParentGone })
    }
}

fn control(r: i32) -> Result<(), SysError> {
    if r < 0 { Err(SysError::last("fcntl")) } else { Ok(()) }
}

#[cold]
fn make() -> Result<u64, SysError> {
    let mut ends = [0; 2];
    // SAFETY: the call writes two descriptors to the array of this frame.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(SysError::last("pipe2"));
    }
    let made = u64::from(ends[0].unsigned_abs()) << 32 | u64::from(ends[1].unsigned_abs());
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| crate::robust::on_fork(forget));
    match PIPE.compare_exchange(NONE, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(made),
        Err(others) => {
            close(made);
            Ok(others)
        }
    }
}

/// In a forked child: its parent's pipe is not its own; it makes another if it starts children.
fn forget() {
    let ends = PIPE.swap(NONE, Ordering::AcqRel);
    if ends != NONE {
        close(ends);
    }
}

fn close(ends: u64) {
    for half in [ends >> 32, ends & u64::from(u32::MAX)] {
        if let Ok(fd) = RawFd::try_from(half) {
            // SAFETY: both halves came from pipe2, and whoever calls this took them out of use.
            unsafe { libc::close(fd) };
        }
    }
}

fn kind_and_inode(fd: RawFd) -> Option<(libc::mode_t, u64)> {
    let mut stat = core::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the call fills the struct of this frame if it succeeds.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } < 0 {
        return None;
    }
    // SAFETY: filled by the call, which succeeded.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_mode & libc::S_IFMT, stat.st_ino))
}

impl core::str::FromStr for Lifeline {
    type Err = SysError;

    fn from_str(text: &str) -> Result<Self, SysError> {
        let bad = || SysError::new("lifeline", io::Error::from(io::ErrorKind::InvalidData));
        let (fd, inode) = text.split_once('@').ok_or_else(bad)?;
        let inode = inode.parse().map_err(|_| bad())?;
        fd.parse().map(|fd| Self { fd, inode }).map_err(|_| bad())
    }
}

impl core::fmt::Display for Lifeline {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}@{}", self.fd, self.inode)
    }
}
