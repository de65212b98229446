//! Forks a child that runs a closure and nothing else: no destructor, no atexit handler, no unflushed text of the
//! parent.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{proc, reexec};

/// Exit code of a child whose closure panicked; libtest uses the same.
pub(crate) const PANICKED: i32 = 101;

/// Forks; the child runs `body`, then ends by `_exit`: 0, or [`PANICKED`] if `body` panicked. It is killed when the
/// parent dies.
///
/// # Panics
/// If this process has other threads (locks held by them would stay locked in the child), or fork fails.
pub(crate) fn fork(body: impl FnOnce()) -> i32 {
    let threads = proc::threads();
    // libtest runs every test on a thread of its own; in a child of `reexec` its main thread only waits for that one.
    let allowed = if reexec::in_child() { 2 } else { 1 };
    assert!(
        threads <= allowed,
        "fork in a process with {threads} threads: use polyproc_testing::runner, or reexec::child"
    );
    io::stdout().flush().expect("stdout takes text"); // else the child has a copy of the buffered text
    // SAFETY: no pointers.
    let parent = unsafe { libc::getpid() };
    // SAFETY: no other thread holds a lock (there is none, or it waits), so the child may do everything that the
    // parent may.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            // SAFETY: PR_SET_PDEATHSIG takes a signal number.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // SAFETY: no pointers.
            let orphaned = unsafe { libc::getppid() } != parent; // the parent ended before prctl
            let code = if orphaned || catch_unwind(AssertUnwindSafe(body)).is_err() { PANICKED } else { 0 };
            let _ = io::stdout().flush();
            // SAFETY: ends this process at once; nothing of the parent's stack is touched again.
            unsafe { libc::_exit(code) }
        }
        child => child,
    }
}

/// What a wait status says: the exit code, or the negative number of the signal that killed it.
pub(crate) fn exit_code(status: i32) -> i32 {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

/// Kills and reaps a child; returns its exit code as [`exit_code`] tells it.
pub(crate) fn kill_and_reap(pid: i32) -> i32 {
    // SAFETY: the caller has not reaped this child, so the number still means it.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    reap(pid, libc::__WALL).map_or(-libc::SIGKILL, exit_code)
}

/// Waits until a child has ended (or, with `WNOHANG`, looks once) and returns its wait status. Stops are passed over.
pub(crate) fn reap(pid: i32, flags: i32) -> Option<i32> {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        if got == pid && !libc::WIFSTOPPED(status) {
            return Some(status);
        }
        if got == 0 || (got < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted) {
            return None;
        }
    }
}
