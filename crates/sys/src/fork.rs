//! A raw `fork` for the tests of the crates above: what a child may do and what death leaves behind.

/// Runs `body` in a forked child and returns the child's pid at once; the child ends with the code that `body` returns.
///
/// For tests only: the other threads do not exist in the child, so `body` must not wait for anything they held. A panic
/// of `body` ends the child with code 101.
///
/// # Panics
/// If there is no process to be had.
///
/// # Examples
/// ```
/// let pid = polyproc_sys::fork::spawn_child(|| 3);
/// assert_eq!(polyproc_sys::fork::wait_child(pid), 3);
/// ```
#[doc(hidden)]
pub fn spawn_child(body: impl FnOnce() -> i32) -> u32 {
    // SAFETY: the child runs `body` and leaves by `_exit`; glibc keeps malloc usable in a forked child.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(101);
        // SAFETY: ends this process; no destructor of the parent's runs.
        unsafe { libc::_exit(code) };
    }
    pid.unsigned_abs()
}

/// Waits for a child and returns its exit code, or 128 and the number of the signal that killed it.
///
/// # Panics
/// If `pid` is not a child of this process.
#[doc(hidden)]
#[must_use]
pub fn wait_child(pid: u32) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a variable of this frame.
        let r = unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) };
        if r == pid.cast_signed() {
            break;
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "waitpid: {error}");
    }
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

/// Kills a process at once, with SIGKILL.
#[doc(hidden)]
pub fn kill_child(pid: u32) {
    // SAFETY: plain numbers.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}
