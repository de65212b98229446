//! What a segment holds and how large it is, as its creator and its openers say.

use crate::kind::Kind;

/// What a segment holds: both ends must say the same.
///
/// ```
/// use polyproc_shm::{Content, Kind};
/// let content = Content { kind: Kind::Value, type_name: "u64", type_hash: 0x1234 };
/// assert_eq!(content.kind, Kind::Value);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// What it is.
    pub kind: Kind,
    /// The type in it, for errors: the first 160 bytes.
    pub type_name: &'a str,
    /// Tells types and layouts apart that must not be taken for each other.
    pub type_hash: u64,
}

/// How large a segment is, and for whom.
///
/// ```
/// use polyproc_shm::Shape;
/// assert_eq!(Shape { limit: 1 << 20, ..Shape::fixed(100) }.mode, 0o600);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the content.
    pub len: u64,
    /// Bytes that it may grow to: so much address space is reserved in every process that holds it, and no memory.
    pub limit: u64,
    /// The permissions of the file.
    pub mode: u32,
}

impl Shape {
    /// A segment of `len` bytes that does not grow, for the processes of this user alone.
    ///
    /// ```
    /// assert_eq!(polyproc_shm::Shape::fixed(100).limit, 100);
    /// ```
    #[must_use]
    pub fn fixed(len: u64) -> Self {
        Self { len, limit: len, mode: 0o600 }
    }
}
