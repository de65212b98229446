//! The header of a segment that has a name: what it is, how large, and whether it outlives its holders. The first page of
//! the file; the content starts behind it.
//!
//! # State
//! | word | meaning | who changes it |
//! |---|---|---|
//! | `MAGIC_AT`, `VERSION_AT` | a segment of polyproc, of this layout | the creator, before anybody sees the file |
//! | `KIND`, `HASH`, `TYPE_LEN`, `TYPE` | what the content is; the text is for errors alone | the creator |
//! | `NAME_LEN`, `NAME` | the name that it was created by, for whoever has it by a descriptor | the creator |
//! | `FLAGS` | bit 0: persistent, the name stays when nobody holds the segment | any holder |
//! | `LEN` | the bytes of the content | whoever has grown it; the only holder shrinks it |
//! | `LIMIT` | the bytes that the content may grow to, and that every holder maps | the creator |
//! | `UUID` | tells the segment from all others that had or will have its name | the creator |
//! | `NAMESPACE`, `BOOT` | where and until when thread ids in the content mean something | the creator |
//!
//! # Invariants
//! D1. A file that has a name has a whole header: it was linked when it was complete.
//! D2. `LEN` bytes of the content are backed: it is raised after the backing, and lowered before memory is given back. A
//!     reader trusts it only as far as the file reaches, which it asks of the kernel.
//! D3. All words but `FLAGS` and `LEN` stay as they are; readers keep a private copy that they have checked.
//!
//! # Memory ordering
//! S1. `LEN` is raised with Release and read with Acquire: what was written before the growth is seen behind it.
//!
//! # If a process dies
//! Before the file is linked, the kernel frees it. `FLAGS` and `LEN` change in one step; a file that is longer than `LEN`
//! says is grown again by the next one, which changes nothing that is there. The only holder that dies between lowering `LEN`
//! and giving the memory back leaves old bytes behind `LEN`: whoever grows a persistent segment then finds them, not zeros.

use crate::kind::Kind;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// "polysegm" as bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"polysegm");
/// The layout of the header, and what the directory's users agree on.
const VERSION: u64 = 1;
/// Where the content starts in the file.
pub(crate) const CONTENT: u64 = 4096;
/// More than any process should map: 64 TiB.
pub(crate) const MOST: u64 = 1 << 46;

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 1;
const KIND: usize = 2;
const FLAGS: usize = 3;
const LEN: usize = 4;
const LIMIT: usize = 5;
const HASH: usize = 6;
const UUID: usize = 7; // two words
const NAMESPACE: usize = 9;
const BOOT: usize = 10;
const TYPE_LEN: usize = 11;
const TYPE: usize = 12; // 160 bytes
const NAME_LEN: usize = 32;
const NAME: usize = 33; // 200 bytes
const WORDS: usize = 64;

const PERSISTENT: u64 = 1;

/// The words of the header.
#[repr(C)]
pub(crate) struct RawSegment {
    words: [AtomicU64; WORDS],
}

#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawSegment>() == 512);

/// What a header says, in a private copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    pub(crate) persistent: bool,
    pub(crate) len: u64,
    pub(crate) limit: u64,
    pub(crate) type_hash: u64,
    pub(crate) uuid: u128,
    pub(crate) namespace: u64,
    pub(crate) boot: u64,
    /// At most 160 bytes, cut at the end of a character.
    pub(crate) type_name: String,
    /// At most 200 bytes, as names are.
    pub(crate) name: String,
}

/// The bytes of a header.
pub(crate) const SIZE: usize = WORDS * 8;

impl Facts {
    /// What the first bytes of a file say; `None` if they are no header of this layout, or were damaged.
    pub(crate) fn from_bytes(bytes: &[u8; SIZE]) -> Option<Self> {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().ok()?);
        }
        let (len, limit) = (words[LEN], words[LIMIT]);
        if (words[MAGIC_AT], words[VERSION_AT]) != (MAGIC, VERSION) || len > limit || limit > MOST {
            return None;
        }
        let text = |at: usize, end: usize, len: u64| {
            let text = bytes.get(at * 8..end * 8)?.get(..usize::try_from(len).ok()?)?;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        Some(Self {
            kind: Kind::from_u8(u8::try_from(words[KIND]).ok()?)?,
            persistent: words[FLAGS] & PERSISTENT != 0,
            len,
            limit,
            type_hash: words[HASH],
            uuid: u128::from(words[UUID]) | u128::from(words[UUID + 1]) << 64,
            namespace: words[NAMESPACE],
            boot: words[BOOT],
            type_name: text(TYPE, NAME_LEN, words[TYPE_LEN])?,
            name: text(NAME, WORDS, words[NAME_LEN])?,
        })
    }
}

impl RawSegment {
    /// Writes the header of a file that nobody else sees yet.
    pub(crate) fn fill(&self, facts: &Facts) {
        let set = |at: usize, word: u64| self.words[at].store(word, Relaxed);
        let text = |at: usize, text: &str, len_at: usize| {
            for (i, bytes) in text.as_bytes().chunks(8).enumerate() {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                set(at + i, u64::from_ne_bytes(word));
            }
            set(len_at, text.len() as u64);
        };
        let most = |text: &str, words: usize| text.floor_char_boundary(words * 8);
        text(TYPE, &facts.type_name[..most(&facts.type_name, NAME_LEN - TYPE)], TYPE_LEN);
        text(NAME, &facts.name[..most(&facts.name, WORDS - NAME)], NAME_LEN);
        set(KIND, u64::from(facts.kind as u8));
        set(FLAGS, if facts.persistent { PERSISTENT } else { 0 });
        set(LEN, facts.len);
        set(LIMIT, facts.limit);
        set(HASH, facts.type_hash);
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        let (low, high) = (facts.uuid as u64, (facts.uuid >> 64) as u64);
        set(UUID, low);
        set(UUID + 1, high);
        set(NAMESPACE, facts.namespace);
        set(BOOT, facts.boot);
        set(MAGIC_AT, MAGIC);
        set(VERSION_AT, VERSION);
    }

    /// The bytes of the content, as said there: to be compared with the file's.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.words[LEN].load(Acquire) // SYNC(S1)
    }

    /// Says that at least `len` bytes are backed.
    pub(crate) fn raise_len(&self, len: u64) {
        self.words[LEN].fetch_max(len, Release); // SYNC(S1)
    }

    /// Says that only `len` bytes count: for the only holder, before it gives the rest back.
    pub(crate) fn lower_len(&self, len: u64) {
        self.words[LEN].store(len, Release);
    }

    /// Whether the segment outlives its holders.
    pub(crate) fn is_persistent(&self) -> bool {
        self.words[FLAGS].load(Acquire) & PERSISTENT != 0
    }

    /// Says whether the segment outlives its holders.
    pub(crate) fn set_persistent(&self, persistent: bool) {
        if persistent {
            self.words[FLAGS].fetch_or(PERSISTENT, AcqRel);
        } else {
            self.words[FLAGS].fetch_and(!PERSISTENT, AcqRel);
        }
    }
}
