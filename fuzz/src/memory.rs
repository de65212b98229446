//! Places in the family's memory, to be written over as a relative could.

use super::input::Input;
use polyproc_shm::{Block, BlockRef, Family};
use polyproc_sys::liveness::tid_is_dead;
use polyproc_sys::robust::{TID, thread_id};

/// Bytes that stay mapped. What lies there is read through atomics by everybody else, or copied out before it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    at: *mut u8,
    len: usize,
}

impl Region {
    /// The region, if it lies in the family's memory and is not empty.
    pub(crate) fn new(family: &Family, offset: u64, len: u64) -> Option<Self> {
        let at = family.at(offset, len).ok()?;
        Some(Self { at, len: usize::try_from(len).ok().filter(|n| *n > 0)? })
    }

    /// The region at an address.
    ///
    /// # Safety
    /// * So many bytes from there on stay mapped, and nobody takes them for Rust values meanwhile.
    pub(crate) unsafe fn at(at: *mut u8, len: usize) -> Self {
        Self { at, len }
    }

    /// The whole words of the region.
    pub(crate) fn words(self) -> usize {
        self.len / 8
    }

    pub(crate) fn read(self, word: usize) -> u64 {
        assert!(word < self.words());
        // SAFETY: the word lies in the region, which is mapped; regions start at multiples of 8; any bits are valid.
        unsafe { self.at.cast::<u64>().wrapping_add(word).read_volatile() }
    }

    pub(crate) fn write(self, word: usize, value: u64) {
        assert!(word < self.words());
        // SAFETY: as in `read`; to be written over is what the region is for.
        unsafe { self.at.cast::<u64>().wrapping_add(word).write_volatile(value) };
    }

    /// Writes what the input says where the input says: a word, or some bytes.
    pub(crate) fn scribble(self, input: &mut Input<'_>) {
        let how = input.byte();
        if how.is_multiple_of(2) && self.words() > 0 {
            let word = input.below(self.words());
            let value = input.word();
            return self.write(word, if how & 2 == 0 { value } else { self.read(word) ^ value });
        }
        let start = input.below(self.len);
        for i in (start..self.len).take(usize::from(how >> 4) + 1) {
            // SAFETY: the byte lies in the region.
            unsafe { self.at.wrapping_add(i).write_volatile(input.byte()) };
        }
    }
}

impl Region {
    /// Takes the word of a lock, at the start of the region, from the living: who holds a lock is waited for, for ever.
    pub(crate) fn disown_lock(self) {
        let word = self.read(0);
        let owner = u32::try_from(word & u64::from(TID)).expect("it has 30 bits");
        if owner != thread_id() && !tid_is_dead(owner) {
            self.write(0, word & !u64::from(TID));
        }
    }

    /// Says of a lock, at the start of the region, that this thread holds it, which does not.
    pub(crate) fn forge_owner(self) {
        self.write(0, u64::from(thread_id()));
    }
}

/// Where the tickets in a message's table of handles lie, and the objects that they name: offsets.
pub(crate) fn tickets(message: &Block) -> Vec<(u64, u64)> {
    let table = message.offset() + message.len().next_multiple_of(8);
    let word = |offset: u64| Region::new(message.family(), offset, 8).map(|r| r.read(0));
    (0..u64::from(message.handles()))
        .filter_map(|i| {
            let ticket = word(table + 8 + 16 * i)?; // behind the family's id; a generation follows each
            Some((ticket, word(ticket)?))
        })
        .collect()
}

/// The reference that lies in the words from `at` on.
pub(crate) fn reference(region: Region, at: usize) -> BlockRef {
    BlockRef::from_words(core::array::from_fn(|i| region.read(at + i)))
}
