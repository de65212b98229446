//! What can go wrong with the family's memory, and with messages in it.

use crate::ids::BlockRef;
use crate::kind::Kind;
use crate::named::SegmentError;
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
    /// What the parent handed over is not the memory of its family, or lies in another pid or time namespace.
    #[error("the inherited memory cannot be used: {0}")]
    BadFamily(&'static str),
    /// There is no memory for `asked` bytes: free some, or raise the limit of the memory cgroup or of /dev/shm.
    #[error(
        "no shared memory for {asked} bytes, {backed} are in use by this family: {source}; ask for less, or free some memory"
    )]
    NoSpace {
        /// The bytes that were asked for.
        asked: u64,
        /// The bytes that the family's memory takes.
        backed: u64,
        /// What the kernel said.
        source: SysError,
    },
    /// The address space for the family's memory, of 256 GiB at most, is used up, or a child has too little to join.
    #[error(
        "no address space for {asked} more bytes of shared memory: {reserved} are reserved, of 256 GiB at most; ask for \
         less, or raise RLIMIT_AS (`ulimit -v`)"
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
    /// 4096 processes of the family are alive, or 256 that hold one named object.
    #[error(
        "4096 processes of this family are alive, or 256 hold one named object, there cannot be more: join some first"
    )]
    TooManyProcesses,
    /// 4096 threads of the family are registered and alive, or 512 that use one named object.
    #[error(
        "4096 threads of this family are at work, or 512 use one named object, there cannot be more: let some end first"
    )]
    TooManyParticipants,
    /// One thread has put into, taken from, or owned permits of 63 queues and semaphores that were opened by name.
    #[error(
        "this thread has used 63 objects that were opened by name, it cannot use more: use others on another thread"
    )]
    TooManyNamed,
    /// 1024 different functions have been entered.
    #[error("the family has entered 1024 functions, it cannot have more: tell them apart by an argument")]
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
    /// A message was to carry a handle, and there is none, or its object is too small.
    #[error("the message carries no such handle: both ends must use the same type")]
    BadHandle,
    /// The handle in a message is one of something else.
    #[error("the message carries a handle of a {found:?}, not of a {wanted:?}: both ends must use the same type")]
    WrongKind {
        /// What was to be decoded.
        wanted: Kind,
        /// What the message carries.
        found: Kind,
    },
    /// The handles in a message belong to the memory of another family, and mean nothing here.
    #[error(
        "the message carries handles of another family: they travel only between a process and those that it starts by \
         polyproc"
    )]
    OtherFamily,
    /// For 10 s a living thread seemed to be at work on who holds what, which takes milliseconds: its process is stopped, or
    /// one wrote where it should not.
    #[error(
        "thread {thread} has not given up the table of handles for 10 s, so none can be sent or taken: continue its \
         process if it is stopped, or end it"
    )]
    Stuck {
        /// The thread, as the memory names it.
        thread: u32,
    },
    /// The last handle of the object that has a name is gone in this process, and with it the memory.
    #[error(
        "the memory of an object with a name was given up with the last handle of it: keep one for as long as you use it"
    )]
    GivenUp,
    /// The kernel refused something.
    #[error(transparent)]
    Sys(#[from] SysError),
}

/// A message that could not be made or read.
///
/// ```
/// use polyproc_shm::{Family, Message, MessageError};
/// let family = Family::get()?;
/// let message = Message::encode(family, &7_u64)?;
/// assert!(matches!(message.decode::<u8>(family), Err(MessageError::Decode { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The value's `Serialize` failed, or it gave different bytes each time.
    #[error("the value of type {what} cannot be encoded: {why}")]
    Encode {
        /// The type.
        what: &'static str,
        /// What serde said.
        why: String,
    },
    /// The bytes are no value of the type: the two ends disagree about it.
    #[error("the message is no value of type {what}: {why}")]
    Decode {
        /// The type.
        what: &'static str,
        /// What serde said.
        why: String,
    },
    /// A message carries at most 65535 handles.
    #[error("a message carries at most 65535 handles: send several messages")]
    TooManyHandles,
    /// Handles travel through the family's memory only: not as bytes over a connection.
    #[error("a message with handles cannot leave the family's memory: leave the handles out")]
    HasHandles,
    /// There is no memory, or a handle is gone.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// A segment that the message names cannot be opened.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

impl MessageError {
    /// What to say of a value of `T` that postcard could not encode.
    ///
    /// ```
    /// use polyproc_shm::MessageError;
    /// let error = MessageError::unencodable::<u8>(&postcard::Error::SerializeSeqLengthUnknown);
    /// assert!(error.to_string().contains("length of a sequence"));
    /// ```
    #[must_use]
    #[cold]
    pub fn unencodable<T>(e: &postcard::Error) -> Self {
        let why = match e {
            // Postcard drops what the type's own Serialize said.
            postcard::Error::SerdeSerCustom => {
                "its Serialize refused it; handles of locks and queues travel in queues and as arguments of processes and \
                 initializers only, and a struct only with all of its fields, without serde's skip_serializing_if"
                    .to_owned()
            }
            postcard::Error::WontImplement => DESCRIBING.to_owned(),
            e @ postcard::Error::SerializeSeqLengthUnknown => format!("{e}; types with serde's flatten do not travel, nor sequences that do not know their length beforehand"),
            e => e.to_string(),
        };
        Self::Encode { what: core::any::type_name::<T>(), why }
    }

    /// What to say of bytes that postcard could not decode as a `T`.
    ///
    /// ```
    /// use polyproc_shm::MessageError;
    /// let error = MessageError::undecodable::<u8>(&postcard::Error::WontImplement);
    /// assert!(error.to_string().contains("untagged"));
    /// ```
    #[must_use]
    #[cold]
    pub fn undecodable<T>(e: &postcard::Error) -> Self {
        match e {
            postcard::Error::WontImplement => {
                Self::Decode { what: core::any::type_name::<T>(), why: DESCRIBING.to_owned() }
            }
            postcard::Error::SerdeDeCustom => wrong::<T>("its Deserialize refused the bytes"),
            e => wrong::<T>(&e.to_string()),
        }
    }
}

const DESCRIBING: &str =
    "a message does not name its fields: types with serde's untagged, flatten or tag do not travel";

/// Bytes that are no `T`.
#[cold]
pub(crate) fn wrong<T>(why: &str) -> MessageError {
    MessageError::Decode { what: core::any::type_name::<T>(), why: format!("{why}; both ends must use the same type") }
}
