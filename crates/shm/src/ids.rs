//! The names by which processes, threads and blocks are known in a family's memory: plain numbers with generations.

/// A process of the family: a slot of the process table and the generation of its use.
///
/// It names one process for ever: a slot that is used again has another generation (of 24 bits).
///
/// ```
/// use polyproc_shm::{Family, ProcessId};
/// let me = Family::get()?.me();
/// assert_eq!(ProcessId::from_word(me.to_word()), me);
/// assert_ne!(me, ProcessId::NOBODY);
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ProcessId {
    /// The slot of the process table.
    pub slot: u16,
    /// The generation of the slot's use, of 24 bits; 0 only in [`ProcessId::NOBODY`].
    pub generation: u32,
}

impl ProcessId {
    /// No process.
    ///
    /// ```
    /// assert_eq!(polyproc_shm::ProcessId::NOBODY.to_word(), 0);
    /// ```
    pub const NOBODY: Self = Self { slot: 0, generation: 0 };

    pub(crate) const GENERATION: u32 = 0xff_ffff;

    /// The 40 bits that stand for this process in a word: slot and generation.
    ///
    /// ```
    /// use polyproc_shm::ProcessId;
    /// assert_eq!(ProcessId { slot: 5, generation: 2 }.to_word(), 0x2_0005);
    /// ```
    #[must_use]
    #[inline]
    pub fn to_word(self) -> u64 {
        u64::from(self.slot) | u64::from(self.generation & Self::GENERATION) << 16
    }

    /// The process that the low 40 bits of a word stand for.
    ///
    /// ```
    /// use polyproc_shm::ProcessId;
    /// assert_eq!(ProcessId::from_word(0x2_0005), ProcessId { slot: 5, generation: 2 });
    /// ```
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the fields are cut out of the word on purpose")]
    pub fn from_word(word: u64) -> Self {
        Self { slot: word as u16, generation: (word >> 16) as u32 & Self::GENERATION }
    }
}

impl core::fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "P{}.{}", self.slot, self.generation)
    }
}

/// A thread of the family: a slot of the participant table, whose word the kernel marks when the thread ends.
///
/// ```
/// use polyproc_shm::{Family, Participant};
/// let me = Family::get()?.participant()?;
/// assert_eq!(Participant::from_word(me.to_word()), me);
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Participant {
    /// The slot of the participant table, below 2^12.
    pub slot: u16,
    /// The low 16 bits of the number of uses of the slot.
    pub generation: u16,
}

impl Participant {
    /// The 32 bits that stand for this thread in a word.
    ///
    /// ```
    /// use polyproc_shm::Participant;
    /// assert_eq!(Participant { slot: 5, generation: 2 }.to_word(), 0x2_0005);
    /// ```
    #[must_use]
    #[inline]
    pub fn to_word(self) -> u32 {
        u32::from(self.slot) | u32::from(self.generation) << 16
    }

    /// The thread that 32 bits of a word stand for.
    ///
    /// ```
    /// use polyproc_shm::Participant;
    /// assert_eq!(Participant::from_word(0x2_0005), Participant { slot: 5, generation: 2 });
    /// ```
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the fields are cut out of the word on purpose")]
    pub fn from_word(word: u32) -> Self {
        Self { slot: word as u16, generation: (word >> 16) as u16 }
    }
}

impl core::fmt::Debug for Participant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "T{}.{}", self.slot, self.generation)
    }
}

/// A block of the family's memory by plain numbers: how it lies in a queue's slot.
///
/// It is a claim, not a right: [`Family::claim`](crate::Family::claim) checks it and makes the claimer the owner.
///
/// ```
/// use polyproc_shm::{BlockRef, Family, Kind};
/// let family = Family::get()?;
/// let sent = family.alloc(100, Kind::Data)?.into_ref();
/// let words = sent.to_words(); // … lie in some slot …
/// let block = family.claim(BlockRef::from_words(words))?;
/// assert_eq!(block.len(), 100);
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct BlockRef {
    /// Where the block lies in the family's memory.
    pub offset: u64,
    /// How many of its bytes are in use.
    pub len: u64,
    /// The generation of the block's use, of 21 bits.
    pub generation: u32,
    /// How many handles the message in the block carries; 0 for all other blocks.
    pub handles: u16,
    /// Who owned the block when the reference was made.
    pub owner: ProcessId,
}

impl BlockRef {
    /// The reference as four words.
    ///
    /// ```
    /// use polyproc_shm::BlockRef;
    /// assert_eq!(BlockRef::default().to_words(), [0; 4]);
    /// ```
    #[must_use]
    #[inline]
    pub fn to_words(self) -> [u64; 4] {
        [self.offset, self.len, u64::from(self.generation) | u64::from(self.handles) << 32, self.owner.to_word()]
    }

    /// The reference that four words hold; any words are allowed.
    ///
    /// ```
    /// use polyproc_shm::BlockRef;
    /// assert_eq!(BlockRef::from_words([4096, 10, 1, 0]).len, 10);
    /// ```
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the fields are cut out of the words on purpose")]
    pub fn from_words(words: [u64; 4]) -> Self {
        Self {
            offset: words[0],
            len: words[1],
            generation: words[2] as u32,
            handles: (words[2] >> 32) as u16,
            owner: ProcessId::from_word(words[3]),
        }
    }
}
