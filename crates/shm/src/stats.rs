//! What the family's memory holds right now: for tests, for leaks, for looking at it.

use crate::family::Family;
use crate::kind::{KINDS, Kind};
use crate::raw::layout::SPAN;

/// What the family's memory holds. Racy: other processes go on while it is counted.
///
/// ```
/// use polyproc_shm::{Family, Kind, Object};
/// let family = Family::get()?;
/// let before = family.stats();
/// let lock = Object::create(family, 64, Kind::Lock)?;
/// assert_eq!(family.stats().blocks(Kind::Lock), before.blocks(Kind::Lock) + 1);
/// drop(lock);
/// assert_eq!(family.stats().blocks(Kind::Lock), before.blocks(Kind::Lock));
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of memory that the family's file takes.
    pub bytes_backed: u64,
    /// Bytes of the blocks that are in use, with what their sizes were rounded up by.
    pub bytes_in_use: u64,
    /// Spans of 64 KiB that exist.
    pub spans: u32,
    /// Spans that are cut into blocks.
    pub slabs: u32,
    /// Processes that are registered: alive, or dead and not cleared up.
    pub processes: u32,
    /// Threads that are registered and alive.
    pub participants: u32,
    /// Functions in the table.
    pub functions: u32,
    blocks: [u64; KINDS],
}

impl Stats {
    /// How many blocks of `kind` are in use.
    ///
    /// ```
    /// use polyproc_shm::{Family, Kind};
    /// assert_eq!(Family::get()?.stats().blocks(Kind::Board), 0);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn blocks(&self, kind: Kind) -> u64 {
        self.blocks[kind as usize]
    }

    /// How many blocks are in use, of all kinds.
    ///
    /// ```
    /// use polyproc_shm::{Family, Kind};
    /// let _block = Family::get()?.alloc(10, Kind::Data)?;
    /// assert!(Family::get()?.stats().all_blocks() >= 1);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn all_blocks(&self) -> u64 {
        self.blocks.iter().sum()
    }
}

impl Family {
    /// Counts what the family's memory holds; takes time in proportion to it.
    ///
    /// ```
    /// let stats = polyproc_shm::Family::get()?.stats();
    /// assert!(stats.processes >= 1 && stats.bytes_backed > 0);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Ok(_open) = self.map.keep_open() else { return Stats::default() };
        let mut stats = Stats { bytes_backed: self.map.backed(), ..Stats::default() };
        self.for_each_block(|_, place, _| {
            stats.blocks[place.kind as usize] += 1;
            stats.bytes_in_use += place.capacity;
        });
        stats.spans = self.map.spans();
        let slabs = (0..stats.spans).filter(|&i| self.map.slab(i).is_some()).count();
        stats.slabs = u32::try_from(slabs).unwrap_or(u32::MAX);
        stats.processes = u32::try_from(self.processes().count()).unwrap_or(u32::MAX);
        let alive =
            (0..self.map.tables().participants).filter(|&p| self.map.participant(p).occupant().is_some()).count();
        stats.participants = u32::try_from(alive).unwrap_or(u32::MAX);
        stats.functions = self.functions();
        const { assert!(SPAN == 65536) };
        stats
    }
}
