//! Where segments with names live, and what names they may have.

use super::error::{SegmentError, SegmentName};
use super::name::Name;
use polyproc_sys::dir::{Dir, DirLock};
use polyproc_sys::{Deadline, SysError};
use std::path::Path;
use std::time::Duration;

/// What all names of files of ours begin with; the segment's name follows.
pub(crate) const PREFIX: &str = "polyproc.";
/// How long to wait for somebody who holds a lock for some microseconds, as a rule.
const PATIENCE: Duration = Duration::from_secs(1);

/// A directory where segments have their names: `/dev/shm` if nothing else is said.
///
/// All programs that are to find a segment name the same place, on a file system in memory.
///
/// ```
/// use polyproc_shm::Place;
/// assert_eq!(Place::default().path(), "/dev/shm");
/// assert!(Place::dir("segments").unwrap().path().is_absolute());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place(Dir);

impl Default for Place {
    fn default() -> Self {
        Self(Dir::new("/dev/shm").expect("an absolute path needs no look at the working directory"))
    }
}

impl Place {
    /// The directory at `path`. Whether it is fit for segments, the first of them tells.
    ///
    /// # Errors
    /// [`SegmentError::BadPlace`] if the path is empty, or relative where there is no working directory.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Place, SegmentError, gc};
    /// assert!(Place::dir("").is_err());
    /// let nowhere = Place::dir("/no/such/directory")?;
    /// assert!(matches!(gc(&nowhere), Err(SegmentError::BadPlace { .. })));
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn dir(path: impl AsRef<Path>) -> Result<Self, SegmentError> {
        let dir = path.as_ref().to_owned();
        Dir::new(path).map(Self).map_err(|source| SegmentError::BadPlace { dir, source })
    }

    /// Its absolute path.
    ///
    /// ```
    /// # use polyproc_shm::Place;
    /// assert_eq!(Place::dir("/tmp").unwrap().path(), "/tmp");
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A name there.
    ///
    /// See [`Name`].
    #[must_use]
    pub fn name(&self, text: &str) -> Name {
        Name::new(self, text)
    }

    pub(crate) fn as_dir(&self) -> &Dir {
        &self.0
    }

    /// Why no file can be made here.
    pub(crate) fn unfit(&self, source: SysError) -> SegmentError {
        SegmentError::BadPlace { dir: self.path().to_owned(), source }
    }

    /// The segment `name` there, as errors name it.
    pub(crate) fn named(&self, name: &str) -> SegmentName {
        SegmentName { name: name.to_owned(), dir: self.path().to_owned() }
    }

    /// Takes the lock under which names of segments in use are taken away; `None` if somebody keeps it.
    pub(crate) fn lock(&self) -> Result<Option<DirLock>, SysError> {
        patiently(|| self.0.try_lock())
    }
}

/// Tries until it works, for a second at most. What is waited for takes microseconds where nobody was stopped.
pub(crate) fn patiently<T, E>(mut attempt: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let mut deadline = None;
    loop {
        if let Some(done) = attempt()? {
            return Ok(Some(done));
        }
        if deadline.get_or_insert_with(|| Deadline::after(PATIENCE)).is_past() {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// The name of the file of segment `name`.
pub(crate) fn file_name(name: &str) -> Result<String, SegmentError> {
    check(name)?;
    Ok(format!("{PREFIX}{name}"))
}

/// Whether a segment may have this name.
pub(crate) fn check(name: &str) -> Result<(), SegmentError> {
    const LONGEST: usize = 200;
    let why = match name {
        "" => "is empty",
        "." | ".." => "means a directory",
        n if n.len() > LONGEST => "is longer than 200 bytes",
        n if n.contains('/') => "has a '/'",
        n if n.contains('\0') => "has a NUL",
        _ => return Ok(()),
    };
    Err(SegmentError::BadName { name: name.to_owned(), why })
}
