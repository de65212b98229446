//! A directory in which files of shared memory have names: `/dev/shm`, or any other on a file system in memory.

use crate::SysError;
use crate::memory::{Access, FileInfo, SharedFile, flock};
use crate::robust::forks;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A directory of shared files, by its absolute path. Files appear in it whole: made without a name, filled, then linked.
///
/// The names that its calls take are single components: no `/` in them, neither `.` nor `..`.
///
/// ```
/// use polyproc_sys::{dir::Dir, memory::Access};
/// let dir = Dir::new(std::env::temp_dir()).unwrap();
/// let name = format!("polyproc-sys-dir-{}", std::process::id());
/// let file = dir.create_unnamed(0o600)?;
/// file.back(0, 4096)?;
/// assert!(dir.open(&name, Access::ReadOnly)?.is_none()); // nobody sees it yet
/// assert!(dir.link(&file, &name)?);
/// assert!(!dir.link(&dir.create_unnamed(0o600)?, &name)?); // the name is taken
/// let again = dir.open(&name, Access::ReadOnly)?.unwrap();
/// assert!(again.info()?.is_same_file(&file.info()?));
/// assert!(dir.unlink(&name)?);
/// assert!(!dir.means(&name, &file)? && file.info()?.links == 0);
/// # Ok::<(), polyproc_sys::SysError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dir(PathBuf);

/// The exclusive lock of a [`Dir`], given up when dropped.
///
/// ```
/// use polyproc_sys::dir::Dir;
/// let path = std::env::temp_dir().join(format!("polyproc-sys-lock-{}", std::process::id()));
/// std::fs::create_dir(&path).unwrap();
/// let dir = Dir::new(&path).unwrap();
/// let lock = dir.try_lock()?;
/// assert!(lock.is_some() && dir.try_lock()?.is_none());
/// drop(lock);
/// assert!(dir.try_lock()?.is_some());
/// std::fs::remove_dir(&path).unwrap();
/// # Ok::<(), polyproc_sys::SysError>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock is given up as soon as this is dropped"]
pub struct DirLock {
    file: File,
    /// How often this process had forked before.
    forks: u64,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        if self.forks != forks() {
            // By word, not only by closing: a child that another thread forked meanwhile has a copy of the descriptor.
            let _ = flock(self.file.as_fd(), libc::LOCK_UN);
        }
    }
}

impl Dir {
    /// The directory at `path`; a relative one starts at the present working directory, now and for ever. Whether it
    /// exists, and is fit for shared files, its use tells.
    ///
    /// # Errors
    /// If the path is empty, or there is no working directory.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::dir::Dir;
    /// assert!(Dir::new("here").unwrap().path().is_absolute());
    /// ```
    pub fn new(path: impl AsRef<Path>) -> Result<Self, SysError> {
        std::path::absolute(path).map(Self).map_err(|e| SysError::new("getcwd", e))
    }

    /// Its absolute path.
    ///
    /// ```
    /// # use polyproc_sys::dir::Dir;
    /// assert_eq!(Dir::new("/dev/shm").unwrap().path(), "/dev/shm");
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new empty file of this file system that has no name: if nobody links it, the kernel frees it with its last user.
    ///
    /// # Errors
    /// If there is no such directory, if this process may not write there, or if its file system has no such files
    /// (`EOPNOTSUPP`, `EISDIR`).
    ///
    /// # Examples
    /// See [`Dir`].
    ///
    /// # References
    /// * [open(2)](https://man7.org/linux/man-pages/man2/open.2.html), O_TMPFILE
    pub fn create_unnamed(&self, mode: u32) -> Result<SharedFile, SysError> {
        let mut options = Access::ReadWrite.options();
        let file = options.custom_flags(libc::O_TMPFILE).mode(0o600).open(&self.0);
        let file = SharedFile::new(file.map_err(|e| SysError::new("open(O_TMPFILE)", e))?);
        if mode != 0o600 {
            file.set_mode(mode)?; // an umask takes no bits away, as `open` would have it
        }
        Ok(file)
    }

    /// Gives an unnamed file a name; `false` if the name is taken. One step: the file is seen whole or not at all.
    ///
    /// # Errors
    /// If the file is of another file system, or `/proc` is not there.
    ///
    /// # Examples
    /// See [`Dir`].
    ///
    /// # References
    /// * [linkat(2)](https://man7.org/linux/man-pages/man2/linkat.2.html), AT_EMPTY_PATH, and by /proc/self/fd
    pub fn link(&self, file: &SharedFile, name: &str) -> Result<bool, SysError> {
        let to = CString::new(self.join(name).as_os_str().as_bytes());
        let to = to.map_err(|e| SysError::new("linkat", e.into()))?;
        let here = libc::AT_FDCWD;
        // SAFETY: two C strings that outlive the call, and plain numbers.
        if unsafe { libc::linkat(file.as_raw_fd(), c"".as_ptr(), here, to.as_ptr(), libc::AT_EMPTY_PATH) } == 0 {
            return Ok(true);
        }
        // Kernels before 6.10 allow it to few: by way of /proc it costs a little more, and is allowed to all.
        let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("numbers have no NUL");
        // SAFETY: two C strings that outlive the call, and plain numbers.
        if unsafe { libc::linkat(here, from.as_ptr(), here, to.as_ptr(), libc::AT_SYMLINK_FOLLOW) } == 0 {
            return Ok(true);
        }
        match SysError::last("linkat") {
            e if e.source.kind() == ErrorKind::AlreadyExists => Ok(false),
            e => Err(e),
        }
    }

    /// Opens what has the name; `None` if there is nothing. Links are not followed, and nothing waits. Whether it is an
    /// ordinary file its [`SharedFile::info`] tells.
    ///
    /// # Errors
    /// If it is a link (`ELOOP`), or its mode does not allow `access`.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::{dir::Dir, memory::Access};
    /// assert!(Dir::new("/proc").unwrap().open("self", Access::ReadOnly).is_err()); // a link
    /// assert!(!Dir::new("/dev").unwrap().open("null", Access::ReadOnly)?.unwrap().info()?.is_regular);
    /// assert!(Dir::new("/").unwrap().open("no such file", Access::ReadOnly)?.is_none());
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn open(&self, name: &str, access: Access) -> Result<Option<SharedFile>, SysError> {
        let mut options = access.options();
        // O_NONBLOCK and O_NOCTTY: a pipe or a terminal, neither blocks the call nor is changed.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        match options.open(self.join(name)) {
            Ok(file) => Ok(Some(SharedFile::new(file))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(SysError::new("open", e)),
        }
    }

    /// Whether the name means this very file, of those that exist.
    ///
    /// # Errors
    /// If this process may not look.
    ///
    /// # Examples
    /// See [`Dir`].
    pub fn means(&self, name: &str, file: &SharedFile) -> Result<bool, SysError> {
        match std::fs::symlink_metadata(self.join(name)) {
            Ok(found) => Ok(FileInfo::from(&found).is_same_file(&file.info()?)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(SysError::new("lstat", e)),
        }
    }

    /// Takes a name away; `false` if nobody has it. Whoever has the file open keeps it.
    ///
    /// # Errors
    /// If this process may not.
    ///
    /// # Examples
    /// See [`Dir`].
    pub fn unlink(&self, name: &str) -> Result<bool, SysError> {
        match std::fs::remove_file(self.join(name)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(SysError::new("unlink", e)),
        }
    }

    /// The names in the directory, in no order. Those that come and go meanwhile are there or not.
    ///
    /// # Errors
    /// If there is no such directory, or this process may not read it.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::dir::Dir;
    /// assert!(Dir::new("/proc/self").unwrap().names()?.contains(&"stat".into()));
    /// # Ok::<(), polyproc_sys::SysError>(())
    /// ```
    pub fn names(&self) -> Result<Vec<OsString>, SysError> {
        let names = std::fs::read_dir(&self.0).and_then(|dir| dir.map(|entry| Ok(entry?.file_name())).collect());
        names.map_err(|e| SysError::new("readdir", e))
    }

    /// Takes the directory's exclusive lock, among all processes, if nobody has it. A process that ends gives it up,
    /// and with it the children that it forked meanwhile.
    ///
    /// # Errors
    /// If this process may not read the directory, or has no descriptor left.
    ///
    /// # Examples
    /// See [`DirLock`].
    ///
    /// # References
    /// * [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html)
    pub fn try_lock(&self) -> Result<Option<DirLock>, SysError> {
        let (mut options, before) = (Access::ReadOnly.options(), forks());
        let file = options.custom_flags(libc::O_DIRECTORY).open(&self.0).map_err(|e| SysError::new("open", e))?;
        let locked = flock(file.as_fd(), libc::LOCK_EX)?;
        Ok(locked.then_some(DirLock { file, forks: before }))
    }

    fn join(&self, name: &str) -> PathBuf {
        debug_assert!(!name.contains('/'));
        self.0.join(name)
    }
}

/// Whether what a name means could not be opened because it is no ordinary file of this user: a link, a socket, a folder, or
/// somebody else's.
///
/// ```
/// use polyproc_sys::{dir::{Dir, is_foreign}, memory::Access};
/// let link = Dir::new("/proc").unwrap().open("self", Access::ReadOnly).unwrap_err();
/// assert!(is_foreign(&link));
/// ```
#[must_use]
pub fn is_foreign(error: &SysError) -> bool {
    let foreign = [libc::ELOOP, libc::ENXIO, libc::EACCES, libc::EPERM, libc::EISDIR];
    error.source.raw_os_error().is_some_and(|e| foreign.contains(&e))
}

/// The user whose rights this process has, as [`FileInfo::uid`] names users.
///
/// ```
/// use polyproc_sys::{dir::user, memory::MemFd};
/// assert_eq!(MemFd::create("example")?.info()?.uid, user());
/// # Ok::<(), polyproc_sys::SysError>(())
/// ```
#[must_use]
pub fn user() -> u32 {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::geteuid() }
}
