//! A child process as its parent sees it: a pidfd, so that no other process is ever meant by mistake.

use crate::{Deadline, SysError};
use core::mem::MaybeUninit;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// How a child stands, as [`Child::reap`] finds it.
///
/// ```
/// use polyproc_sys::process::Ended;
/// use std::os::unix::process::ExitStatusExt;
/// let killed = Ended::With(std::process::ExitStatus::from_raw(9));
/// assert_ne!(killed, Ended::NotYet);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It still runs (or is stopped).
    NotYet,
    /// It has ended with this status.
    With(ExitStatus),
    /// It has ended, and somebody else took its status: the program ignores SIGCHLD, or reaps children that are not
    /// its own. Since Linux 6.15 the kernel still tells the status, and this does not occur.
    Unknown,
}

/// A child process: wait for it, signal it, take its status.
///
/// Dropping it neither ends nor reaps the child.
///
/// # Examples
/// ```
/// use polyproc_sys::{Deadline, process::{Ended, SIGKILL, spawn_self}};
/// use std::os::unix::process::ExitStatusExt;
///
/// if std::env::var_os("IN_CHILD").is_some() {
///     loop { std::thread::park() }
/// }
/// let child = spawn_self(&[], &[("IN_CHILD".as_ref(), "1".as_ref())]).unwrap();
/// assert_eq!(child.reap().unwrap(), Ended::NotYet);
/// child.signal(SIGKILL).unwrap();
/// assert!(child.wait(Deadline::NEVER).unwrap());
/// let Ended::With(status) = child.reap().unwrap() else { panic!("it has ended") };
/// assert_eq!(status.signal(), Some(9));
/// ```
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// A pidfd; the end of a pipe that is hung up for a child that is `gone`.
    pidfd: OwnedFd,
    /// SIGCHLD is ignored, and the kernel reaped the child before it could be named.
    gone: bool,
}

impl Child {
    /// The id is safe from reuse here: the child was not waited for yet.
    pub(super) fn open(pid: libc::pid_t) -> Result<Self, SysError> {
        // SAFETY: the call takes numbers only.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            let error = SysError::last("pidfd_open");
            // With SIGCHLD ignored the child may be gone already, and the number free for others: it has run all the same.
            if error.source.raw_os_error() == Some(libc::ESRCH) {
                let (hung_up, _) = io::pipe().map_err(|e| SysError::new("pipe2", e))?;
                return Ok(Self { pid, pidfd: hung_up.into(), gone: true });
            }
            // SAFETY: takes numbers only; nobody can name the child any more, so it must not run on.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // SAFETY: a null status is allowed.
            unsafe { libc::waitpid(pid, core::ptr::null_mut(), 0) };
            return Err(error);
        }
        let fd = i32::try_from(fd).expect("descriptors are ints");
        // SAFETY: the call just made this descriptor for us.
        Ok(Self { pid, pidfd: unsafe { OwnedFd::from_raw_fd(fd) }, gone: false })
    }

    /// The child's process id.
    ///
    /// ```no_run
    /// let child = polyproc_sys::process::spawn_self(&[], &[]).unwrap();
    /// assert_ne!(child.pid(), std::process::id());
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits until the child has ended, or until the deadline; says whether it has. Does not reap it.
    ///
    /// Signals that interrupt the wait do not end it.
    ///
    /// ```no_run
    /// # use polyproc_sys::{Deadline, process::spawn_self};
    /// let child = spawn_self(&[], &[]).unwrap();
    /// assert!(child.wait(Deadline::NEVER).unwrap());
    /// ```
    ///
    /// # Errors
    /// What `ppoll` says: out of memory.
    ///
    /// # References
    /// * [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html): readable once the process has ended
    pub fn wait(&self, deadline: Deadline) -> Result<bool, SysError> {
        Ok(poll_in(self.pidfd.as_fd(), deadline)? != 0)
    }

    /// Takes the child's status if it has ended. To be called by one thread at a time; after it has said anything
    /// but [`Ended::NotYet`] the child is gone and its id may name another process.
    ///
    /// ```no_run
    /// # use polyproc_sys::{Deadline, process::{Ended, spawn_self}};
    /// let child = spawn_self(&[], &[]).unwrap();
    /// child.wait(Deadline::NEVER).unwrap();
    /// assert_ne!(child.reap().unwrap(), Ended::NotYet);
    /// ```
    ///
    /// # Errors
    /// What `waitid` says: nothing that can be helped.
    ///
    /// # References
    /// * [waitid(2)](https://man7.org/linux/man-pages/man2/waitid.2.html), P_PIDFD and WNOHANG; ECHILD = somebody else
    ///   reaped the child
    /// * PIDFD_GET_INFO with PIDFD_INFO_EXIT in linux/pidfd.h: the status of a child that is reaped already
    pub fn reap(&self) -> Result<Ended, SysError> {
        if self.gone {
            return Ok(Ended::Unknown);
        }
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let fd = self.pidfd.as_raw_fd().unsigned_abs();
        let r = loop {
            // SAFETY: the pointer is to a siginfo of this frame.
            let r = unsafe { libc::waitid(libc::P_PIDFD, fd, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG) };
            if r == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                break r;
            }
        };
        if r == 0 {
            // SAFETY: zeroed at first, which is a valid siginfo, and then perhaps filled in by the kernel.
            return Ok(ended(&unsafe { info.assume_init() }));
        }
        let error = SysError::last("waitid");
        if error.source.raw_os_error() != Some(libc::ECHILD) {
            return Err(error);
        }
        // With SIGCHLD ignored ECHILD comes also while the child runs, if it is the only one: look.
        if !self.wait(Deadline::PAST)? {
            return Ok(Ended::NotYet);
        }
        Ok(self.status_after_reaping().map_or(Ended::Unknown, Ended::With))
    }

    /// Sends `signal` to the child; a child that has ended takes no notice.
    ///
    /// ```no_run
    /// # use polyproc_sys::process::{SIGTERM, spawn_self};
    /// let child = spawn_self(&[], &[]).unwrap();
    /// assert!(child.signal(SIGTERM).is_ok());
    /// ```
    ///
    /// # Errors
    /// EPERM for a child that changed its user, EINVAL for a number that is no signal.
    ///
    /// # References
    /// * [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    pub fn signal(&self, signal: i32) -> Result<(), SysError> {
        if self.gone {
            return Ok(());
        }
        let fd = self.pidfd.as_raw_fd();
        let no_info = core::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is a pidfd, a null info is allowed.
        let r = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) };
        if r == 0 {
            return Ok(());
        }
        let error = SysError::last("pidfd_send_signal");
        if error.source.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
    }

    /// Since Linux 6.15 a pidfd remembers how its process ended.
    fn status_after_reaping(&self) -> Option<ExitStatus> {
        const INFO_EXIT: u64 = 1 << 3;
        const GET_INFO: u64 = 0xC040_FF0B; // _IOWR(0xFF, 11, 64 bytes)
        let mut info = PidfdInfo { mask: INFO_EXIT, rest: [0; 11], cgroup: 0, exit: 0 };
        // SAFETY: the number's size field is that of the struct, which the kernel fills at most.
        let r = unsafe { libc::ioctl(self.pidfd.as_raw_fd(), GET_INFO as libc::Ioctl, &raw mut info) };
        (r == 0 && info.mask & INFO_EXIT != 0).then(|| ExitStatus::from_raw(info.exit))
    }
}

impl AsFd for Child {
    /// The pidfd: readable once the child has ended, for `poll` and its kin.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The first version of the kernel's `struct pidfd_info`.
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    rest: [u32; 11],
    exit: i32,
}
const _: () = assert!(size_of::<PidfdInfo>() == 64);

fn ended(info: &libc::siginfo_t) -> Ended {
    // SAFETY: for zeroed bytes and for what waitid fills in these fields are numbers.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ended::NotYet;
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ended::With(ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    }))
}

/// Polls for input and returns the events, 0 if the deadline came.
pub(super) fn poll_in(fd: BorrowedFd<'_>, deadline: Deadline) -> Result<i16, SysError> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        let left = deadline.remaining().map(|left| libc::timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let left = left.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: one entry of this frame; the timespec is null or of this frame; a null mask leaves the mask alone.
        let r = unsafe { libc::ppoll(&raw mut entry, 1, left, core::ptr::null()) };
        if r >= 0 {
            return Ok(entry.revents);
        }
        let error = SysError::last("ppoll");
        if error.source.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
