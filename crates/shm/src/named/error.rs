//! What can go wrong with segments that have names.

use crate::error::ShmError;
use core::fmt;
use polyproc_sys::SysError;
use std::path::PathBuf;

/// A segment, as errors name it: `"jobs" in /dev/shm`.
///
/// ```
/// use polyproc_shm::SegmentName;
/// let name = SegmentName { name: "jobs".into(), dir: "/dev/shm".into() };
/// assert_eq!(name.to_string(), "\"jobs\" in /dev/shm");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName {
    /// The name that it was asked for by.
    pub name: String,
    /// The directory.
    pub dir: PathBuf,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.name, self.dir.display())
    }
}

/// An operation on a segment with a name that failed.
///
/// ```
/// use polyproc_shm::{NamedFile, Place, SegmentError};
/// let error = NamedFile::unlink(&Place::default(), "polyproc-no-such-segment").unwrap_err();
/// assert!(matches!(&error, SegmentError::NotFound(at) if at.dir.ends_with("shm")));
/// assert!(NamedFile::unlink(&Place::default(), "a/b").unwrap_err().to_string().contains("'/'"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// A segment cannot have this name.
    #[error(
        "{name:?} is no name for a segment, it {why}: take 1 to 200 bytes without '/' and NUL, and neither \".\" nor \"..\""
    )]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name is taken.
    #[error("there is a segment {0} already, in use or persistent: open it, unlink it first, or take another name")]
    Exists(SegmentName),
    /// There is no such segment, or its last holder is gone.
    #[error(
        "there is no segment {0}: it was not created, or its last holder has gone and it was not persistent; create it \
         (what Python or C made is found by open_plain)"
    )]
    NotFound(SegmentName),
    /// The directory cannot have segments.
    #[error(
        "{dir:?} is no place for segments: {source}; it takes a directory that exists, that this process may write to, \
         and that lies in memory (tmpfs), like /dev/shm"
    )]
    BadPlace {
        /// The directory.
        dir: PathBuf,
        /// What the kernel said.
        source: SysError,
    },
    /// There is no space in the directory for so many bytes.
    #[error(
        "no space for {asked} bytes of segment {at}: {source}; ask for less, unlink what nobody needs there (`df {}`), or \
         mount it larger", at.dir.display()
    )]
    NoSpace {
        /// The segment.
        at: SegmentName,
        /// The bytes that were asked for.
        asked: u64,
        /// What the kernel said.
        source: SysError,
    },
    /// There is no address space for so many bytes.
    #[error(
        "no address space for {asked} bytes of segment {at}: ask for a smaller maximum, or raise RLIMIT_AS (`ulimit -v`)"
    )]
    NoAddressSpace {
        /// The segment.
        at: SegmentName,
        /// The bytes that were to be mapped.
        asked: u64,
    },
    /// For a second, somebody was at opening or removing it, and did not get on: a stopped process, probably.
    #[error("somebody has been at opening or removing segment {0} for a second, is that process stopped? try again")]
    Busy(SegmentName),
    /// What has the name is no segment that this process can use.
    #[error("{at} cannot be used: {why}")]
    Unusable {
        /// The segment.
        at: SegmentName,
        /// Why.
        why: &'static str,
    },
    /// The segment holds something else.
    #[error(
        "segment {at} holds {found}, not {wanted}: both programs must open it as the same type, of one crate that both use"
    )]
    WrongType {
        /// The segment.
        at: SegmentName,
        /// The type that was to be opened.
        wanted: String,
        /// The type that it was created with.
        found: String,
    },
    /// The bytes do not all lie in the memory.
    #[error(
        "{len} bytes from {offset} on do not lie in {what}, which has {size} bytes: look at len(), or grow it first"
    )]
    OutOfBounds {
        /// Which memory.
        what: String,
        /// Where the bytes were said to start.
        offset: u64,
        /// How many were named.
        len: u64,
        /// How many bytes the memory had.
        size: u64,
    },
    /// The memory was made for fewer bytes.
    #[error(
        "{what} cannot grow to {asked} bytes, it was made for {limit}: memory grows if builder().growable(max) made it, a plain \
         file never does"
    )]
    NotGrowable {
        /// Which memory.
        what: String,
        /// The bytes that were asked for.
        asked: u64,
        /// The bytes that it can grow to.
        limit: u64,
    },
    /// Only memory that was created with a name has a choice of how long it stays.
    #[error(
        "{what} cannot be told how long to stay: memory without a name ends with its last handle, a plain file stays until \
         unlink_plain(name); only what create(name, len) made has the choice"
    )]
    NotNamed {
        /// Which memory.
        what: String,
    },
    /// Others may use the bytes that were to be given back.
    #[error(
        "{what} cannot shrink while others may use it: drop all other handles, in all processes, and try again (whoever uses \
         a plain file nobody knows: it never shrinks)"
    )]
    InUse {
        /// Which memory.
        what: String,
    },
    /// The segment that a message names has gone, or another one has its name.
    #[error(
        "segment {0}, which the message named, is gone: its sender must keep a handle until the message has arrived"
    )]
    Gone(SegmentName),
    /// The family's memory refused something.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// The kernel refused something.
    #[error("segment {at}: {source}")]
    Sys {
        /// The segment.
        at: SegmentName,
        /// What it was.
        source: SysError,
    },
}

impl SegmentError {
    /// What `source` means for somebody who wanted `asked` bytes.
    pub(crate) fn of(at: &SegmentName, asked: u64, source: SysError) -> Self {
        use std::io::ErrorKind as Kind;
        let at = at.clone();
        match source.source.kind() {
            Kind::StorageFull | Kind::OutOfMemory | Kind::FileTooLarge | Kind::QuotaExceeded => {
                Self::NoSpace { at, asked, source }
            }
            _ => Self::Sys { at, source },
        }
    }
}
