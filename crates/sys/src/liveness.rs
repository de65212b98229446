//! Proof that a process or a thread is dead: never a guess from silence or from the time that passed.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A process, told from all others that had or will have its number by the time at which it started.
///
/// ```
/// use polyproc_sys::liveness::ProcessIdentity;
/// let me = ProcessIdentity::current();
/// assert_eq!(me.pid, std::process::id());
/// assert!(!me.is_dead());
/// ```
///
/// # References
/// * [proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html), field 22
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// The process id in this pid namespace.
    pub pid: u32,
    /// When the process started, in clock ticks since boot; 0 if that is not known.
    pub start: u64,
}

impl ProcessIdentity {
    /// The calling process.
    ///
    /// ```
    /// use polyproc_sys::liveness::ProcessIdentity;
    /// assert_eq!(ProcessIdentity::current(), ProcessIdentity::current());
    /// ```
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        Self { pid, start: stat(&format!("/proc/{pid}/stat")).map_or(0, |s| s.start) }
    }

    /// The process that has the number `pid` now; `None` if there is none.
    ///
    /// ```
    /// use polyproc_sys::liveness::ProcessIdentity;
    /// assert_eq!(ProcessIdentity::of(std::process::id()), Some(ProcessIdentity::current()));
    /// ```
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        stat(&format!("/proc/{pid}/stat")).map(|s| Self { pid, start: s.start })
    }

    /// Whether it is proven that no thread of the process will run again: it is gone, a later process has its number, or
    /// all of its threads have ended and only its exit status is left.
    ///
    /// `false` says nothing: the process may be dead a moment later, or there may be no way to ask.
    ///
    /// ```
    /// use polyproc_sys::liveness::ProcessIdentity;
    /// let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
    /// let id = ProcessIdentity::of(child.id()).unwrap();
    /// assert!(!id.is_dead());
    /// child.kill()?;
    /// child.wait()?;
    /// assert!(id.is_dead());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # References
    /// * [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html): readable when the whole thread group
    ///   has ended; a leader that called pthread_exit is a zombie while others run, so the state letter proves nothing
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let Ok(pid) = libc::pid_t::try_from(self.pid) else { return true };
        if pid <= 0 {
            return true;
        }
        // SAFETY: plain numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let Ok(fd) = i32::try_from(fd) else { return false };
        if fd < 0 {
            // EINVAL: the number is that of a thread now, not of a process.
            return matches!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ESRCH | libc::EINVAL));
        }
        // SAFETY: the kernel just gave us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // From here on the number cannot pass to another process unseen: the descriptor names the one it was opened for.
        match stat(&format!("/proc/{pid}/stat")) {
            Some(now) if self.start != 0 && now.start != self.start => true,
            _ => has_ended(&fd),
        }
    }
}

/// Whether all threads of the process behind a pidfd have ended.
fn has_ended(fd: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd of this frame; a timeout of 0 does not sleep.
    let n = unsafe { libc::poll(&raw mut poll, 1, 0) };
    n == 1 && poll.revents & libc::POLLIN != 0
}

/// Whether it is proven that the thread `tid` of this pid namespace runs no more: there is none, or it is a zombie.
///
/// ```
/// use polyproc_sys::{liveness::tid_is_dead, robust::thread_id};
/// assert!(!tid_is_dead(thread_id()));
/// let other = std::thread::spawn(thread_id).join().unwrap();
/// while !tid_is_dead(other) {} // `join` returns a moment before the kernel has forgotten the thread
/// ```
///
/// # References
/// * [proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html): `/proc/<tid>` exists for threads too
#[must_use]
pub fn tid_is_dead(tid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{tid}/stat")) {
        Ok(text) => parse(&text).is_some_and(|s| matches!(s.state, b'Z' | b'X')),
        Err(e) => match e.raw_os_error() {
            Some(libc::ESRCH) => true,
            Some(libc::ENOENT) => std::path::Path::new("/proc/self/stat").exists(), // else /proc is not mounted: no proof
            _ => false,
        },
    }
}

struct Stat {
    state: u8,
    start: u64,
}

fn stat(path: &str) -> Option<Stat> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// The name, field 2, may hold spaces and parentheses: the fields are counted from the last `)`.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?; // field 3
    let start = fields.nth(18)?.parse().ok()?; // field 22
    Some(Stat { state, start })
}
