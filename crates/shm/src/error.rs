//! What can go wrong with the family's memory.

use crate::ids::BlockRef;
use polyproc_sys::SysError;

/// An operation on the family's memory that failed.
///
/// ```
/// use polyproc_shm::{BlockRef, Family, ShmError};
/// let error = Family::get()?.claim(BlockRef { offset: 12345, ..BlockRef::default() }).unwrap_err();
/// assert!(matches!(error, ShmError::NoBlock { .. }));
/// # Ok::<(), ShmError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShmError {
    /// This process was spawned as a child of a family and has not joined it: its `main` lacks `polyproc::init()`.
    #[error("this child process has not joined its family: call polyproc::init() first in main")]
    NotInitialised,
    /// This process belongs to a family already.
    #[error("this process belongs to a family already")]
    AlreadyInitialised,
    /// What the parent handed over is not the memory of its family, or lies in another pid namespace.
    #[error("the inherited memory cannot be used: {0}")]
    BadFamily(&'static str),
    /// There is no memory for `asked` bytes: free some, or raise the limit of the memory cgroup or of /dev/shm.
    #[error("no shared memory for {asked} bytes, {backed} are in use by this family: {source}")]
    NoSpace {
        /// The bytes that were asked for.
        asked: u64,
        /// The bytes that the family's memory takes.
        backed: u64,
        /// What the kernel said.
        source: SysError,
    },
    /// The address space for the family's memory is used up, or a child has too little to join its family.
    #[error(
        "no address space for {asked} more bytes of shared memory: {reserved} are reserved, raise RLIMIT_AS (`ulimit -v`)"
    )]
    NoAddressSpace {
        /// The bytes that were asked for.
        asked: u64,
        /// The bytes of address space that this process has reserved; 0 if it could not join.
        reserved: u64,
    },
    /// Only blocks of data may be larger than 32640 bytes.
    #[error("a block of {len} bytes is too large for its kind, put the bulk into a block of data")]
    TooLarge {
        /// The bytes that were asked for.
        len: u64,
    },
    /// Somebody else took or freed the block first, or the reference is old.
    #[error("the block at {} is gone: taken or freed by somebody else", .0.offset)]
    Gone(BlockRef),
    /// No block starts there: the reference was damaged.
    #[error("no block of this family's memory starts at {offset}")]
    NoBlock {
        /// The offset that was named.
        offset: u64,
    },
    /// The bytes lie, in part or in whole, outside of the memory that the family has.
    #[error("{len} bytes from {offset} on lie outside of this family's memory")]
    OutOfRange {
        /// Where they were said to start.
        offset: u64,
        /// How many were named.
        len: u64,
    },
    /// 4096 processes of the family are alive.
    #[error("the family has 4096 processes alive, it cannot have more")]
    TooManyProcesses,
    /// 4096 threads of the family are registered and alive.
    #[error("the family has 4096 threads at work, it cannot have more")]
    TooManyParticipants,
    /// 1024 different functions have been entered.
    #[error("the family has entered 1024 functions, it cannot have more")]
    TooManyFunctions,
    /// There is no such function, its entry was damaged, or it has other types than the caller thinks.
    #[error("function {index} is not in the family's table, or has other argument and result types")]
    BadFunction {
        /// The index that was named.
        index: u32,
    },
    /// The block is not shared: the last handle is gone, or the bytes were damaged.
    #[error("the shared object at {offset} is gone")]
    ObjectGone {
        /// Where the object was.
        offset: u64,
    },
    /// A message said that it carries a handle, and there is none, or one of another kind.
    #[error("the message carries no such handle")]
    BadHandle,
    /// The kernel refused something.
    #[error(transparent)]
    Sys(#[from] SysError),
}
