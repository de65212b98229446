//! The word of an owner cell: whether a permit is in it, and who has that.
//!
//! # State
//! | bits | name | meaning |
//! |---|---|---|
//! | 0..2 | phase | `EMPTY`: no permit; `FREE`: one that is to be had; `HELD`: one that the owner has |
//! | 2..32 | version | raised by every change, so that equal words mean an unchanged cell |
//! | 32..64 | owner | while `HELD`: a thread, as the caller numbers them |
//!
//! Who may change it, and what becomes of it when the owner dies: [`semaphore`](super::semaphore).

pub(crate) const EMPTY: u64 = 0; // the zero page is cells without permits
pub(crate) const FREE: u64 = 1;
pub(crate) const HELD: u64 = 2;
const PHASE: u64 = 3;
const VERSION_SHIFT: u32 = 2;
const ONE_VERSION: u64 = 1 << VERSION_SHIFT;
const VERSION: u64 = 0x3fff_ffff << VERSION_SHIFT;
const OWNER_SHIFT: u32 = 32;

/// A permit that somebody owns: what to give it back with.
///
/// ```
/// use polyproc_sync::raw::RawSemaphore;
/// use polyproc_sys::{Deadline, atomic::AtomicU64};
/// let sized = RawSemaphore::<[AtomicU64; 1]>::new(1, u32::MAX);
/// let semaphore: &RawSemaphore = &sized;
/// let _owes = semaphore.announce();
/// let owned = semaphore.own(1, |_| false, Deadline::PAST).unwrap();
/// semaphore.give_back(owned);
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Owned {
    pub(crate) at: usize,
    /// The cell while the permit is had (P3 of the semaphore).
    pub(crate) held: u64,
}

/// Why a permit was not got.
///
/// ```
/// use polyproc_sync::raw::semaphore::NotOwned;
/// assert_ne!(NotOwned::NoPermit, NotOwned::NoCell);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOwned {
    /// No permit was to be had until the deadline.
    NoPermit,
    /// There was one, but as many permits as there are cells have living owners.
    NoCell,
}

#[inline]
pub(crate) fn phase(cell: u64) -> u64 {
    cell & PHASE
}

/// The version, with bits of the owner above it.
pub(crate) fn version(cell: u64) -> u64 {
    cell >> VERSION_SHIFT
}

/// Whether the cell's permit is to be had.
pub(crate) fn is_free(cell: u64, dead: &impl Fn(u32) -> bool) -> bool {
    phase(cell) == FREE || (phase(cell) == HELD && dead((cell >> OWNER_SHIFT) as u32))
}

/// What comes after `cell`.
#[inline]
pub(crate) fn next(cell: u64, phase: u64, owner: u32) -> u64 {
    (cell.wrapping_add(ONE_VERSION) & VERSION) | phase | u64::from(owner) << OWNER_SHIFT
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_who_has_its_permit_and_changes_with_every_step() {
        let held = next(EMPTY, HELD, u32::MAX);
        assert!(!is_free(held, &|_| false) && is_free(held, &|owner| owner == u32::MAX));
        let free = next(held, FREE, 0);
        assert!(is_free(free, &|_| false));
        assert_eq!((phase(held), version(free)), (HELD, 2));
        let last = next(VERSION, FREE, 0); // the version wraps around and touches nothing else
        assert_eq!((phase(last), version(last)), (FREE, 0));
    }
}
