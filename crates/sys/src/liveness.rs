//! Proof that a process or a thread is dead: never a guess from silence or from the time that passed.
//!
//! The kernel is asked by system calls, which mean the pid namespace of the caller. `/proc` adds what they do not tell,
//! and only if it shows that same namespace: in a namespace made without mounting another one, its numbers mean other
//! processes. A missing directory there proves nothing either: with the mount option `hidepid` other users' processes
//! have none.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
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
    /// When the process started, in clock ticks since boot; 0 if that is not known: no `/proc`, or another namespace's.
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
        Self { pid, start: stat(pid).map_or(0, |s| s.start) }
    }

    /// The process that has the number `pid` now; `None` if there is none, or none that this process may see.
    ///
    /// ```
    /// use polyproc_sys::liveness::ProcessIdentity;
    /// assert_eq!(ProcessIdentity::of(std::process::id()), Some(ProcessIdentity::current()));
    /// ```
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        if proc_is_ours() {
            return stat(pid).map(|s| Self { pid, start: s.start });
        }
        exists(pid).then_some(Self { pid, start: 0 })
    }

    /// Whether it is proven that no thread of the process will run again: it is gone, a later process has its number, or
    /// all of its threads have ended and only its exit status is left.
    ///
    /// `false` says nothing: the process may be dead a moment later, or there may be no way to ask. Without a `/proc` that
    /// shows this process's pid namespace, a later process that has the number is taken for this one.
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
    ///   has ended; a leader that called pthread_exit is a zombie while others run, so the state letter proves nothing.
    ///   ESRCH: there is no such number. EINVAL, or ENOENT in newer kernels: it is that of a thread now, not of a process
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let Some(pid) = number(self.pid) else { return true };
        // SAFETY: plain numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let Ok(fd) = i32::try_from(fd) else { return false };
        if fd < 0 {
            return match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::ESRCH | libc::EINVAL | libc::ENOENT) => true,
                _ => !exists(self.pid), // no descriptor to be had, or no such call
            };
        }
        // SAFETY: the kernel just gave us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // From here on the number cannot pass to another process unseen: the descriptor names the one it was opened for.
        match stat(self.pid) {
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
/// `false` says nothing, as with [`ProcessIdentity::is_dead`]. A zombie, which only the first thread of a process
/// becomes, is known by a `/proc` that shows this process's pid namespace; without that it counts as alive until its
/// process has been waited for.
///
/// ```
/// use polyproc_sys::{liveness::tid_is_dead, robust::thread_id};
/// assert!(!tid_is_dead(thread_id()));
/// let other = std::thread::spawn(thread_id).join().unwrap();
/// while !tid_is_dead(other) {} // `join` returns a moment before the kernel has forgotten the thread
/// ```
///
/// # References
/// * [tkill(2)](https://man7.org/linux/man-pages/man2/tkill.2.html) with signal 0: ESRCH = no such thread, EPERM = it
///   is another user's
/// * [proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html): `/proc/<tid>` exists for threads too
#[must_use]
pub fn tid_is_dead(tid: u32) -> bool {
    !exists(tid) || stat(tid).is_some_and(|s| matches!(s.state, b'Z' | b'X'))
}

/// Whether `tid` is the number of a thread of the calling process now; one that is just ending may still count.
///
/// ```
/// use polyproc_sys::{liveness::is_own_thread, robust::thread_id};
/// assert!(is_own_thread(thread_id()));
/// assert!(is_own_thread(std::process::id())); // the first thread has the number of the process
/// assert!(!is_own_thread(0));
///
/// let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
/// assert!(!is_own_thread(child.id()));
/// child.kill()?;
/// child.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// * [tgkill(2)](https://man7.org/linux/man-pages/man2/tgkill.2.html) with signal 0: ESRCH = no such thread, or one of
///   another process
#[must_use]
pub fn is_own_thread(tid: u32) -> bool {
    let Some(tid) = number(tid) else { return false };
    // SAFETY: takes no argument.
    let me = unsafe { libc::getpid() };
    // SAFETY: plain numbers; signal 0 is sent to nobody.
    unsafe { libc::syscall(libc::SYS_tgkill, me, tid, 0) == 0 }
}

/// The number as the kernel takes it; `None` if no thread ever has it.
fn number(tid: u32) -> Option<libc::pid_t> {
    libc::pid_t::try_from(tid).ok().filter(|&tid| tid > 0)
}

/// Whether some thread, perhaps a zombie, has the number `tid` in this pid namespace; `true` if that cannot be told.
fn exists(tid: u32) -> bool {
    let Some(tid) = number(tid) else { return false };
    // SAFETY: plain numbers; signal 0 is sent to nobody.
    let r = unsafe { libc::syscall(libc::SYS_tkill, tid, 0) };
    r == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

struct Stat {
    state: u8,
    start: u64,
}

/// What `/proc` says of a process or thread of this pid namespace.
fn stat(tid: u32) -> Option<Stat> {
    if !proc_is_ours() {
        return None;
    }
    parse(&std::fs::read_to_string(format!("/proc/{tid}/stat")).ok()?)
}

/// The name, field 2, may hold spaces and parentheses: the fields are counted from the last `)`.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?; // field 3
    let start = fields.nth(18)?.parse().ok()?; // field 22
    Some(Stat { state, start })
}

/// What [`proc_is_ours`] found, and for which process: its id twice, and one more if so. 0 if nobody has looked.
static PROC: AtomicU64 = AtomicU64::new(0);

/// Whether `/proc` shows the pid namespace of this process: looked up once in each process.
fn proc_is_ours() -> bool {
    let me = std::process::id();
    let known = PROC.load(Ordering::Relaxed);
    if known >> 1 == u64::from(me) { known & 1 == 1 } else { look_at_proc(me) }
}

#[cold]
fn look_at_proc(me: u32) -> bool {
    // A forked child may be the first of a namespace, as its parent was of another: the same number, another `/proc`.
    static HANDLER: AtomicU32 = AtomicU32::new(0);
    if HANDLER.swap(1, Ordering::Relaxed) == 0 {
        // SAFETY: `forget_proc` is a function without arguments that only stores to an atomic.
        unsafe { libc::pthread_atfork(None, None, Some(forget_proc)) };
    }
    let own_number = std::fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == me.to_string().as_str());
    let ours = own_number && std::fs::read_to_string("/proc/self/status").is_ok_and(|s| is_of_one_namespace(&s));
    PROC.store(u64::from(me) << 1 | u64::from(ours), Ordering::Relaxed);
    ours
}

extern "C" fn forget_proc() {
    PROC.store(0, Ordering::Relaxed);
}

/// The line `NSpid` of `/proc/self/status` has a number for each namespace, from that of `/proc` to that of the process.
/// Kernels without such namespaces have no such line.
fn is_of_one_namespace(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_none_or(|numbers| numbers.split_ascii_whitespace().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_of_an_outer_namespace_is_not_ours() {
        assert!(is_of_one_namespace("Name:\tx\nNSpid:\t17\nNSsid:\t1\t2\n"));
        assert!(!is_of_one_namespace("Name:\tx\nNSpid:\t17\t17\n"));
        assert!(is_of_one_namespace("Name:\tx\n"));
    }

    #[test]
    fn a_forked_child_looks_again() {
        if !proc_is_ours() {
            return; // nothing to look at
        }
        let parent = std::process::id();
        let child = crate::fork::spawn_child(move || {
            let fresh = PROC.load(Ordering::Relaxed) == 0;
            let me = ProcessIdentity::current();
            i32::from(fresh && me.pid != parent && me.start != 0 && !me.is_dead() && !tid_is_dead(parent))
        });
        assert_eq!(crate::fork::wait_child(child), 1);
    }

    #[test]
    fn a_zombie_is_dead() {
        let child = crate::fork::spawn_child(|| 0);
        let id = ProcessIdentity { pid: child, start: 0 };
        while (proc_is_ours() && !tid_is_dead(child)) || !id.is_dead() {
            std::thread::yield_now();
        }
        assert!(exists(child));
        assert_eq!(crate::fork::wait_child(child), 0);
        assert!(tid_is_dead(child) && id.is_dead());
    }

    #[test]
    fn the_number_of_a_thread_is_no_process() {
        let (tid, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tid.send(crate::robust::thread_id()).unwrap();
            let _ = ended.recv();
        });
        let tid = told.recv().unwrap();
        assert!(ProcessIdentity { pid: tid, start: 0 }.is_dead());
        assert!(is_own_thread(tid) && !tid_is_dead(tid));
        drop(end);
        thread.join().unwrap();
        while !tid_is_dead(tid) {}
        assert!(!is_own_thread(tid));
    }

    #[test]
    fn no_thread_has_a_number_that_is_none() {
        for none in [0, u32::MAX, 1 << 31] {
            assert!(tid_is_dead(none) && !is_own_thread(none));
            assert!(ProcessIdentity { pid: none, start: 1 }.is_dead());
        }
    }
}
