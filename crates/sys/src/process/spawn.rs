//! Starting this program again, with descriptors and variables of our choice.

use super::Child;
use crate::SysError;
use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Starts this program again, with its own arguments, in a new process.
///
/// The descriptors of `inherit` keep their numbers in the child and lose their CLOEXEC flag there (not here: no other
/// thread that starts a program meanwhile passes them on). The variables of `env` are added to the environment.
/// The module's page lists what else a child inherits. Returns when the new program has been loaded.
///
/// # Errors
/// What `posix_spawn` or `pidfd_open` say: no more processes, memory or descriptors, or no `/proc`.
///
/// # Examples
/// ```
/// use polyproc_sys::{Deadline, process::{Ended, spawn_self}};
///
/// if std::env::var_os("IN_CHILD").is_some() {
///     std::process::exit(7);
/// }
/// let child = spawn_self(&[], &[("IN_CHILD".as_ref(), "1".as_ref())]).unwrap();
/// assert!(child.wait(Deadline::NEVER).unwrap());
/// let Ended::With(status) = child.reap().unwrap() else { panic!("it has ended") };
/// assert_eq!(status.code(), Some(7));
/// ```
///
/// # References
/// * [posix_spawn(3)](https://man7.org/linux/man-pages/man3/posix_spawn.3.html): `adddup2` of a descriptor to itself
///   clears FD_CLOEXEC (glibc ≥ 2.29, musl)
/// * [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html): the descriptor has CLOEXEC set
pub fn spawn_self(inherit: &[BorrowedFd<'_>], env: &[(&OsStr, &OsStr)]) -> Result<Child, SysError> {
    let arguments = std::env::args_os().map(|a| text(a.into_vec())).collect::<Result<Vec<_>, _>>()?;
    let variables = std::env::vars_os()
        .filter(|(name, _)| env.iter().all(|(added, _)| added != name))
        .map(|(name, value)| (name.into_vec(), value.into_vec()))
        .chain(env.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())))
        .map(|(mut name, value)| {
            name.push(b'=');
            name.extend_from_slice(&value);
            text(name)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let argv = pointers(&arguments);
    let envp = pointers(&variables);
    let mut actions = Actions::new()?;
    for fd in inherit {
        actions.keep(fd.as_raw_fd())?;
    }
    let attributes = Attributes::new()?;
    let mut pid = 0;
    // SAFETY: the path is a C string; actions and attributes were initialised; argv and envp end with a null and their
    // strings live in this frame.
    let code = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            c"/proc/self/exe".as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr(),
            envp.as_ptr(),
        )
    };
    check("posix_spawn", code)?;
    Child::open(pid)
}

fn text(bytes: Vec<u8>) -> Result<CString, SysError> {
    CString::new(bytes).map_err(|e| SysError::new("posix_spawn", io::Error::new(io::ErrorKind::InvalidInput, e)))
}

fn pointers(texts: &[CString]) -> Vec<*mut c_char> {
    // posix_spawn does not write through these, its type only says so for the sake of old C programs.
    texts.iter().map(|t| t.as_ptr().cast_mut()).chain([core::ptr::null_mut()]).collect()
}

/// The calls of this family return the error instead of setting `errno`.
fn check(op: &'static str, code: c_int) -> Result<(), SysError> {
    if code == 0 { Ok(()) } else { Err(SysError::new(op, io::Error::from_raw_os_error(code))) }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> Result<Self, SysError> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the call initialises what the pointer of this frame points to.
        let code = unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) };
        check("posix_spawn_file_actions_init", code)?;
        // SAFETY: initialised by the call, which succeeded.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn keep(&mut self, fd: c_int) -> Result<(), SysError> {
        // SAFETY: `self.0` was initialised in `new`.
        let code = unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, fd, fd) };
        check("posix_spawn_file_actions_adddup2", code)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed only here.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// No signal blocked, SIGCHLD not ignored.
    fn new() -> Result<Self, SysError> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the call initialises what the pointer of this frame points to.
        let code = unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) };
        check("posix_spawnattr_init", code)?;
        // SAFETY: initialised by the call, which succeeded.
        let mut this = Self(unsafe { attributes.assume_init() });
        let mut signals = empty_set();
        // SAFETY: the attributes and the set are initialised and belong to this frame.
        let code = unsafe { libc::posix_spawnattr_setsigmask(&raw mut this.0, &raw const signals) };
        check("posix_spawnattr_setsigmask", code)?;
        // SAFETY: the set is initialised; SIGCHLD is a signal, so the call does not fail.
        unsafe { libc::sigaddset(&raw mut signals, libc::SIGCHLD) };
        // SAFETY: as for the mask above.
        let code = unsafe { libc::posix_spawnattr_setsigdefault(&raw mut this.0, &raw const signals) };
        check("posix_spawnattr_setsigdefault", code)?;
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        // SAFETY: the attributes are initialised.
        let code = unsafe {
            #[allow(clippy::cast_possible_truncation, reason = "the flags are small, the C type is a short")]
            libc::posix_spawnattr_setflags(&raw mut this.0, flags as libc::c_short)
        };
        check("posix_spawnattr_setflags", code)?;
        Ok(this)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed only here.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call initialises the set of this frame and does not fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the call.
    unsafe { set.assume_init() }
}
