//! The word that says of each block, and of each span, whose it is.
//!
//! # State
//! | state | rest (40 bits) | meaning | left by |
//! |---|---|---|---|
//! | `FREE` | 0 | nobody's; the zero page is free | `alloc`: CAS to `OWNED` |
//! | `OWNED` | slot:16, generation:24 of a process | that process may use and free it | owner: `FREE`, `SHARED`; claimer: `OWNED` by him |
//! | `SHARED` | number of cells that name it | an object with handles | under the holders lock only |
//! | `SLAB` | kind:8, class:8 | a span: cut into blocks with tags of their own | never |
//! | `PART` | index of the first span | a span: belongs to the run that starts there | owner of the run |
//!
//! ```text
//! 63   61 60        40 39                     0
//! | state | generation | rest                 |
//! ```
//!
//! # Invariants
//! T1. A transition away from `OWNED` is a CAS from the exact word, so that of several takers one wins, and a stale
//!     reference (another generation, another owner) wins nothing.
//! T2. The generation grows with each `FREE` to `OWNED` and with each claim, so that of two threads of one process that
//!     claim a block of their own process one wins.
//! T3. `SHARED` words and the cells that they count change under the holders lock only.
//!
//! # Memory ordering
//! A1. The CAS from `FREE` (Acquire) pairs with the store of `FREE` (Release): what the last owner did happened before.
//! A2. The claim, a CAS from `OWNED` by another (Acquire), pairs with the Release of whoever handed the reference on.
//!
//! # If a process dies
//! Every word it left says `OWNED` by it, or is whole in another state: the sweep finds it by looking at all words.

use crate::ids::ProcessId;

pub(crate) const FREE: u64 = 0;
pub(crate) const OWNED: u64 = 1;
pub(crate) const SHARED: u64 = 2;
pub(crate) const SLAB: u64 = 3;
pub(crate) const PART: u64 = 4;

const REST: u64 = (1 << 40) - 1;
/// The bits of a generation.
pub(crate) const GENERATION: u32 = (1 << 21) - 1;

/// The value of a tag word, in a private copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag(pub(crate) u64);

impl Tag {
    #[inline]
    pub(crate) fn new(state: u64, generation: u32, rest: u64) -> Self {
        Self(state << 61 | u64::from(generation & GENERATION) << 40 | rest & REST)
    }

    #[inline]
    pub(crate) fn owned(generation: u32, owner: ProcessId) -> Self {
        Self::new(OWNED, generation, owner.to_word())
    }

    #[inline]
    pub(crate) fn shared(generation: u32, count: u64) -> Self {
        Self::new(SHARED, generation, count)
    }

    /// The same generation, nobody's.
    #[inline]
    pub(crate) fn freed(self) -> Self {
        Self::new(FREE, self.generation(), 0)
    }

    /// The word after `owner` took this free one.
    #[inline]
    pub(crate) fn taken(self, owner: ProcessId) -> Self {
        Self::owned(self.generation().wrapping_add(1), owner) // T2
    }

    #[inline]
    pub(crate) fn state(self) -> u64 {
        self.0 >> 61
    }

    #[inline]
    pub(crate) fn is_free(self) -> bool {
        self.state() == FREE
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 40) as u32 & GENERATION
    }

    #[inline]
    pub(crate) fn rest(self) -> u64 {
        self.0 & REST
    }

    /// The owner, if the state is `OWNED`.
    #[inline]
    pub(crate) fn owner(self) -> Option<ProcessId> {
        (self.state() == OWNED).then(|| ProcessId::from_word(self.rest()))
    }

    /// Whether this is the tag of a block of `generation`, or of the same block after a few claims of it.
    pub(crate) fn continues(self, generation: u32) -> bool {
        const CLAIMS: u32 = 1024;
        self.generation().wrapping_sub(generation) & GENERATION < CLAIMS
    }

    /// The count, if the state is `SHARED`.
    #[inline]
    pub(crate) fn count(self) -> Option<u64> {
        (self.state() == SHARED).then(|| self.rest())
    }
}
