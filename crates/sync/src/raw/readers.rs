//! The cells of the readers of an [`rwlock`](super::rwlock): who reads, each thread in a line of its own if there is room.
//!
//! # State
//! | bits of a cell | name | meaning |
//! |---|---|---|
//! | 0..32 | depth | how many read locks the owner has by this cell; a cell that is 0 is free |
//! | 32..64 | owner | a thread, as the caller numbers them |
//!
//! Who may change a cell, and what becomes of it when its owner dies: [`rwlock`](super::rwlock).

use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Cells of a line of 64 bytes.
#[cfg(not(polyproc_loom))]
const CELLS: usize = 8;
#[cfg(polyproc_loom)]
const CELLS: usize = 1; // a model counts each look at a cell

/// Who a number stands for.
///
/// ```
/// use polyproc_sync::raw::rwlock::Who;
/// assert_ne!(Who::Dead, Who::Other);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The calling thread.
    Me,
    /// A thread that has not ended, as far as anybody knows.
    Other,
    /// A thread that has ended for good.
    Dead,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Line([AtomicU64; CELLS]);

#[derive(Debug)]
#[repr(C)]
pub(super) struct Readers<const LINES: usize>([Line; LINES]);

impl<const LINES: usize> Readers<LINES> {
    pub(super) const COUNT: usize = LINES * CELLS;

    pub(super) fn new() -> Self {
        Self(core::array::from_fn(|_| Line(core::array::from_fn(|_| AtomicU64::new(0)))))
    }

    pub(super) fn clear(&self) {
        self.all().for_each(|cell| cell.store(0, Relaxed));
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.0.iter().flat_map(|line| &line.0)
    }

    pub(super) fn cell(&self, at: usize) -> &AtomicU64 {
        &self.0[at / CELLS].0[at % CELLS]
    }

    /// The cell that `me` takes if it is free: threads that are numbered one after the other share no line.
    #[inline]
    pub(super) fn home(me: u32) -> usize {
        (me as usize & 0xffff) % LINES * CELLS
    }

    /// All cells, in the order in which `me` looks for a free one: the first ones of all lines, then the second ones.
    pub(super) fn places(me: u32) -> impl Iterator<Item = usize> {
        let line = Self::home(me) / CELLS;
        (0..Self::COUNT).map(move |k| (line + k) % LINES * CELLS + k / LINES)
    }

    /// Counts one more read lock of `me` in the cell that has some already; says where.
    pub(super) fn nest(&self, me: u32) -> Option<usize> {
        Self::places(me).find(|&at| {
            let seen = self.cell(at).load(Relaxed);
            let mine = seen != 0 && owner(seen) == me && depth(seen) < u32::MAX;
            if mine {
                self.cell(at).store(seen + 1, Relaxed); // its owner alone changes a cell
            }
            mine
        })
    }

    /// Takes a free cell, or a dead thread's, whatever writers want; says where.
    pub(super) fn take(&self, me: u32, who: &impl Fn(u32) -> Who) -> Option<usize> {
        Self::places(me).find(|&at| {
            let seen = self.cell(at).load(Relaxed);
            is_free(seen, who) && self.cell(at).compare_exchange(seen, first(me), AcqRel, Relaxed).is_ok()
        })
    }

    /// The owners of all cells that have one.
    pub(super) fn owners(&self) -> impl Iterator<Item = u32> {
        self.all().map(|cell| cell.load(Acquire)).filter(|&seen| seen != 0).map(owner)
    }

    /// How many cells have an owner of whom `who` says `what`.
    pub(super) fn count(&self, who: &impl Fn(u32) -> Who, what: impl Fn(Who) -> bool) -> usize {
        self.owners().filter(|&owner| what(who(owner))).count()
    }
}

/// A cell by which `me` has one read lock.
#[inline]
pub(super) fn first(me: u32) -> u64 {
    u64::from(me) << 32 | 1
}

pub(super) fn owner(cell: u64) -> u32 {
    (cell >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is cut out on purpose")]
#[inline]
pub(super) fn depth(cell: u64) -> u32 {
    cell as u32
}

pub(super) fn is_free(cell: u64, who: &impl Fn(u32) -> Who) -> bool {
    cell == 0 || who(owner(cell)) == Who::Dead
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_thread_looks_at_every_cell_and_first_at_one_of_each_line() {
        type R = Readers<15>;
        for me in [0, 1, 14, 15, 4095, 0x7_0003, u32::MAX] {
            let places: Vec<_> = R::places(me).collect();
            assert_eq!(places[0], R::home(me));
            assert!(places[..15].iter().all(|at| at % CELLS == 0));
            let mut all = places.clone();
            all.sort_unstable();
            assert_eq!(all, (0..R::COUNT).collect::<Vec<_>>());
        }
        let homes: std::collections::BTreeSet<_> = (40..55).map(R::home).collect();
        assert_eq!(homes.len(), 15);
    }

    #[test]
    fn a_cell_of_the_living_is_not_taken_and_one_of_the_dead_is() {
        let readers = Readers::<1>::new();
        let who = |owner| if owner == 9 { Who::Dead } else { Who::Other };
        for me in 0..7 {
            assert!(readers.take(me, &who).is_some());
        }
        assert_eq!(readers.nest(3), Some(3));
        assert_eq!(depth(readers.cell(3).load(Relaxed)), 2);
        assert_eq!(readers.take(9, &who), Some(7));
        assert_eq!(readers.count(&who, |w| w == Who::Other), 7);
        assert_eq!(readers.take(10, &who), Some(7));
        assert_eq!(readers.take(11, &who), None);
        assert_eq!(readers.nest(11), None);
    }
}
