//! The bytes of a semaphore: permits that are counted, permits that have an owner, and the gate of those who wait for one.
//!
//! A permit that is to be had lies in the count or in a *cell*. Counted permits are taken out of the count and put into it
//! by anybody. Owned ones stay in a cell that names their owner while he has them, and in the same cell when he has given
//! them back: so one look says who has what, and a dead owner's permit is to be had like any other.
//!
//! # State
//! | bits of `word` | name | meaning |
//! |---|---|---|
//! | 0..32 | count | permits that are to be had, those in cells left out |
//! | 32..44 | place | 1 + the cell into which a permit was moved last; 0: none ever was |
//! | 44..64 | version | that of the cell, modulo 2^20, when it was still `EMPTY` |
//!
//! The cells: `raw/cell.rs`.
//!
//! # Transitions
//! ```text
//! acquire    count -= 1; or FREE, HELD(dead) -> EMPTY                          one RMW
//! release    count += n                                                        one RMW
//! own        FREE, HELD(dead) -> HELD(me)                                      one RMW
//! give back  HELD(me) -> FREE                                                  one store
//! move       count -= 1 and (place, version) = an EMPTY cell; that cell EMPTY -> HELD(me), or -> FREE by whoever looks
//! ```
//! A permit is *arriving* while the cell at `place` is still `EMPTY` with that `version`: it is to be had, and anybody
//! finishes the move.
//!
//! # Invariants
//! P1. Permits that are to be had = count + `FREE` cells + cells `HELD` by the dead + the arriving one. Only `acquire` and
//!     `release` change that sum and the number of those that are had.
//! P2. A cell leaves `EMPTY` only by a move, and a move starts only when the one before it has ended: until then `word`
//!     names it.
//! P3. A `HELD` cell is changed by its owner alone, and by anybody once he is dead.
//! P4. Whoever adds a permit rings; whoever looks in vain looked at every place while (place, version) stayed the same, so
//!     that a permit that went past him must have been added behind him, with a ring: he may fail although there was
//!     always one to be had, but he does not sleep on it.
//! P5. `own` runs under an announcement of the gate, which stays while the permit is had.
//! P8. A cell that `word` names never becomes `EMPTY` with the version that `word` has: no permit arrives twice, however
//!     often the cell was used since the move.
//!
//! # Memory ordering
//! P6. What came before a release or a giving back is visible to whoever takes the permit: release on the way in, acquire
//!     on the way out, and moves are both.
//! P7. Whoever changes a cell releases what he did before, and whoever sees the change acquires it, also by a CAS that
//!     fails: the look at `word` that P4 asks for comes after it.
//! The gate's orders (M1) are between the store that adds a permit and the ring.
//!
//! # If a process dies
//! Counted permits that it has are lost, as with `sem_t`: one if it dies in `acquire` after the RMW. Owned ones are to be
//! had again as soon as the registry says that the thread is dead. If the gate is what the thread has announced, the kernel
//! wakes a sleeper, who finds the permit and wakes the next if there are more (G4); else the sleeper finds it at the tick.
//! One thread announces one word only: it is left to the tick if the holder has, since, taken or given up a lock, or taken
//! or given back another permit; and if he dies in the few instructions between a waiter's look and his sleep.
//! In a move: the permit is arriving. In `release` or giving back, before the store: nothing happened; after it: the
//! kernel wakes a sleeper. A sleeper, asleep or woken: see the gate.
//!
//! A version repeats after 2^20 changes (2^30 in a cell): a thread that stalls for so long between two instructions of a
//! move, and finds everything as it was by chance, may lose or double a permit.

use super::cell::{EMPTY, FREE, HELD, is_free, next, phase, version};
pub use super::cell::{NotOwned, Owned};
use super::gate::{RawGate, Side};
use polyproc_sys::Deadline;
use polyproc_sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use polyproc_sys::robust::Announced;
use polyproc_sys::spin::Spin;

const COUNT: u64 = 0xffff_ffff;
const PLACE_SHIFT: u32 = 32;
const PLACE: u64 = 0xfff << PLACE_SHIFT;
const MOVED_SHIFT: u32 = 44;
const MOVED: u64 = 0xf_ffff; // the bits of a cell's version that `word` has, unshifted

/// The bytes of a semaphore: 32, and 8 for each permit that can have an owner at the same time.
///
/// Owners are numbers whose lower 16 bits differ between threads; `dead` says of one whether it has ended for good.
///
/// ```
/// use polyproc_sync::raw::RawSemaphore;
/// use polyproc_sys::{Deadline, atomic::AtomicU64};
/// let sized = RawSemaphore::<[AtomicU64; 4]>::new(2, u32::MAX);
/// let semaphore: &RawSemaphore = &sized;
/// let nobody_died = |_| false;
/// assert!(semaphore.acquire(nobody_died, Deadline::NEVER));
/// let _owes = semaphore.announce();
/// let _owned = semaphore.own(7, nobody_died, Deadline::NEVER).unwrap();
/// assert!(!semaphore.acquire(nobody_died, Deadline::PAST));
/// assert!(semaphore.acquire(|owner| owner == 7, Deadline::PAST)); // the owner died
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct RawSemaphore<C: ?Sized = [AtomicU64]> {
    /// See `# State`.
    word: AtomicU64,
    /// `release` adds no permit beyond so many; `u32::MAX`: only what `word` can count is a bound.
    bound: AtomicU32,
    spare: AtomicU32,
    pub(crate) gate: RawGate,
    /// See `# State`.
    cells: C,
}

/// Bytes before the first cell.
pub const HEADER: usize = 32;
/// Cells that a semaphore has at most; further bytes are not used.
pub const MOST_CELLS: usize = 4076;

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(
    size_of::<RawSemaphore<[AtomicU64; 1]>>() == HEADER + 8
        && core::mem::offset_of!(RawSemaphore<[AtomicU64; 1]>, cells) == HEADER
);

impl<const N: usize> RawSemaphore<[AtomicU64; N]> {
    /// A semaphore with `permits` permits, of which `N` can have owners; `release` lets there be no more than `bound`.
    ///
    /// ```
    /// use polyproc_sync::raw::RawSemaphore;
    /// use polyproc_sys::atomic::AtomicU64;
    /// let semaphore = RawSemaphore::<[AtomicU64; 4]>::new(3, u32::MAX);
    /// assert_eq!((&semaphore as &RawSemaphore).available(|_| false), 3);
    /// ```
    #[must_use]
    pub fn new(permits: u32, bound: u32) -> Self {
        Self {
            word: AtomicU64::new(u64::from(permits)),
            bound: AtomicU32::new(bound),
            spare: AtomicU32::new(0),
            gate: RawGate::new(),
            cells: core::array::from_fn(|_| AtomicU64::new(EMPTY)),
        }
    }
}

impl RawSemaphore {
    /// The semaphore that fills `len` bytes from `first` on, 32 at least, aligned to 8; nothing is read or written.
    ///
    /// ```
    /// use polyproc_sync::raw::RawSemaphore;
    /// use polyproc_sys::atomic::AtomicU64;
    /// let bytes: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect(); // zero: no permit
    /// // SAFETY: 64 aligned bytes that live until the end, used as a semaphore only.
    /// let semaphore = unsafe { &*RawSemaphore::at(bytes.as_ptr().cast(), 64) };
    /// semaphore.reset(1, u32::MAX);
    /// assert_eq!((semaphore.cells(), semaphore.available(|_| false)), (4, 1));
    /// ```
    #[must_use]
    pub fn at(first: *const u8, len: usize) -> *const Self {
        let cells = (len.saturating_sub(HEADER) / size_of::<u64>()).min(MOST_CELLS);
        core::ptr::slice_from_raw_parts(first.cast::<AtomicU64>(), cells) as *const Self
    }

    /// Makes it a new semaphore; to be called before anybody else knows it.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// let sized = RawSemaphore::<[AtomicU64; 1]>::new(1, 1);
    /// let semaphore: &RawSemaphore = &sized;
    /// semaphore.reset(5, 5);
    /// assert_eq!(semaphore.available(|_| false), 5);
    /// ```
    pub fn reset(&self, permits: u32, bound: u32) {
        self.cells.iter().for_each(|cell| cell.store(EMPTY, Relaxed));
        self.bound.store(bound, Relaxed);
        self.word.store(u64::from(permits), Release);
    }

    /// How many permits can have owners at the same time.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// let semaphore = RawSemaphore::<[_; 4]>::new(0, u32::MAX);
    /// assert_eq!((&semaphore as &RawSemaphore).cells(), 4);
    /// ```
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// How many permits are to be had (P1); may be wrong by the time you look.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// let semaphore = RawSemaphore::<[AtomicU64; 1]>::new(2, u32::MAX);
    /// assert_eq!((&semaphore as &RawSemaphore).available(|_| false), 2);
    /// ```
    #[must_use]
    pub fn available(&self, dead: impl Fn(u32) -> bool) -> u64 {
        let word = self.word.load(Acquire);
        if word & PLACE == 0 {
            return word & COUNT; // no permit was ever in a cell
        }
        let in_cells = self.cells.iter().enumerate().filter(|(i, cell)| {
            let seen = cell.load(Relaxed);
            is_free(seen, &dead) || (place(word) == Some(*i) && arrives(word, seen))
        });
        (word & COUNT) + in_cells.count() as u64
    }

    /// Tells the kernel that this thread owes a wake-up here, or owns a permit, until the announcement is dropped (P5).
    ///
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// let semaphore = RawSemaphore::<[_; 1]>::new(2, u32::MAX);
    /// let _owes = (&semaphore as &RawSemaphore).announce();
    /// ```
    #[inline]
    pub fn announce(&self) -> Announced {
        self.gate.announce()
    }

    /// Takes a permit that nobody will own; sleeps until `deadline` at most, and says whether it got one.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// # use polyproc_sys::{Deadline, atomic::AtomicU64};
    /// let semaphore = RawSemaphore::<[AtomicU64; 1]>::new(1, u32::MAX);
    /// assert!((&semaphore as &RawSemaphore).acquire(|_| false, Deadline::PAST));
    /// assert!(!(&semaphore as &RawSemaphore).acquire(|_| false, Deadline::PAST));
    /// ```
    #[inline]
    pub fn acquire(&self, dead: impl Fn(u32) -> bool, deadline: Deadline) -> bool {
        self.try_acquire(&dead) || self.wait(&dead, deadline, || self.try_acquire(&dead))
    }

    #[inline]
    fn try_acquire(&self, dead: &impl Fn(u32) -> bool) -> bool {
        let word = self.word.load(Relaxed);
        // SYNC(P6)
        word & COUNT != 0 && self.word.compare_exchange(word, word - 1, Acquire, Relaxed).is_ok() || self.take(dead)
    }

    #[cold]
    fn take(&self, dead: &impl Fn(u32) -> bool) -> bool {
        loop {
            let word = self.word.load(Acquire);
            if word & COUNT != 0 {
                if self.word.compare_exchange(word, word - 1, Acquire, Relaxed).is_ok() {
                    return true;
                }
                continue;
            }
            if word & PLACE == 0 {
                return false; // no permit was ever in a cell
            }
            self.finish_move(word);
            for (at, cell) in self.cells.iter().enumerate() {
                let seen = cell.load(Acquire);
                if is_free(seen, dead) && self.empty(at, seen) {
                    return true;
                }
            }
            if self.word.load(Acquire) == word {
                return false; // P4
            }
        }
    }

    /// Takes the permit out of the cell `at`, which was `seen` to be free.
    fn empty(&self, at: usize, seen: u64) -> bool {
        let mut empty = next(seen, EMPTY, 0);
        // P8. Not before `seen` was loaded: a later move into this cell finds it changed, and so does the CAS.
        let word = self.word.load(Acquire);
        if place(word) == Some(at) && arrives(word, empty) {
            empty = next(empty, EMPTY, 0);
        }
        self.cells[at].compare_exchange(seen, empty, AcqRel, Acquire).is_ok() // SYNC(P6)
    }

    /// Adds `n` permits and wakes a sleeper if there are any, who wakes the next.
    ///
    /// # Errors
    /// The bound, if there would be more permits than that; nothing was added.
    ///
    /// # Examples
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// # use polyproc_sys::atomic::AtomicU64;
    /// let sized = RawSemaphore::<[AtomicU64; 1]>::new(0, 2);
    /// let semaphore: &RawSemaphore = &sized;
    /// assert_eq!(semaphore.release(2), Ok(()));
    /// assert_eq!(semaphore.release(1), Err(2));
    /// ```
    #[inline]
    pub fn release(&self, n: u32) -> Result<(), u32> {
        let _owes = self.announce();
        let word = self.word.load(Relaxed);
        let is_easy = self.bound.load(Relaxed) == u32::MAX && (word & COUNT) + u64::from(n) <= COUNT;
        if is_easy && self.add(word, n) { Ok(()) } else { self.add_within_bound(n) }
    }

    /// Adds `n` permits to `word` if nobody has changed it.
    #[inline]
    fn add(&self, word: u64, n: u32) -> bool {
        let added = self.word.compare_exchange(word, word + u64::from(n), AcqRel, Relaxed).is_ok(); // SYNC(P6)
        if added {
            self.gate.ring(Side::Takers); // P4
        }
        added
    }

    #[cold]
    fn add_within_bound(&self, n: u32) -> Result<(), u32> {
        loop {
            let word = self.word.load(Acquire);
            let bound = self.bound.load(Relaxed);
            let others = if bound == u32::MAX || word & PLACE == 0 { 0 } else { self.in_cells(word) };
            if (word & COUNT) + u64::from(n) + others <= u64::from(bound) {
                if self.add(word, n) {
                    return Ok(());
                }
            } else if self.word.load(Relaxed) == word {
                return Err(bound);
            }
        }
    }

    /// Permits in cells, had or to be had; none twice if `word` stays the same meanwhile, as permits come only by a move.
    #[cold]
    fn in_cells(&self, word: u64) -> u64 {
        self.finish_move(word);
        self.cells.iter().filter(|cell| phase(cell.load(Acquire)) != EMPTY).count() as u64
    }

    /// Takes a permit for `me`; sleeps until `deadline` at most. To be called under an announcement that lasts until the
    /// permit was given back (P5).
    ///
    /// # Errors
    /// [`NotOwned`]
    ///
    /// # Examples
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// # use polyproc_sys::{Deadline, atomic::AtomicU64};
    /// let sized = RawSemaphore::<[AtomicU64; 1]>::new(1, u32::MAX);
    /// let semaphore: &RawSemaphore = &sized;
    /// let _owes = semaphore.announce();
    /// let _owned = semaphore.own(1, |_| false, Deadline::NEVER).unwrap();
    /// assert!(semaphore.own(2, |_| false, Deadline::PAST).is_err());
    /// assert!(semaphore.own(2, |owner| owner == 1, Deadline::PAST).is_ok()); // it died
    /// ```
    #[inline]
    pub fn own(&self, me: u32, dead: impl Fn(u32) -> bool, deadline: Deadline) -> Result<Owned, NotOwned> {
        let mut got = self.try_own(me, &dead);
        if got == Err(NotOwned::NoPermit) {
            self.wait(&dead, deadline, || {
                got = self.try_own(me, &dead);
                got != Err(NotOwned::NoPermit)
            });
        }
        got
    }

    #[inline]
    fn try_own(&self, me: u32, dead: &impl Fn(u32) -> bool) -> Result<Owned, NotOwned> {
        let first = self.first(me);
        if let Some(cell) = self.cells.get(first) {
            let seen = cell.load(Relaxed);
            if phase(seen) == FREE {
                let held = next(seen, HELD, me);
                // SYNC(P6)
                if cell.compare_exchange(seen, held, AcqRel, Relaxed).is_ok() {
                    return Ok(Owned { at: first, held });
                }
            }
        }
        self.take_for(me, first, dead)
    }

    /// Where `me` looks first: threads shall not meet at one cell.
    #[inline]
    fn first(&self, me: u32) -> usize {
        ((me.wrapping_mul(0x9e37) & 0xffff) as usize * self.cells.len()) >> 16
    }

    #[cold]
    fn take_for(&self, me: u32, first: usize, dead: &impl Fn(u32) -> bool) -> Result<Owned, NotOwned> {
        loop {
            let word = self.word.load(Acquire);
            self.finish_move(word);
            let owned = (first..self.cells.len()).chain(0..first).find_map(|at| self.take_at(at, me, dead));
            if let Some(owned) = owned {
                return Ok(owned);
            }
            let now = self.word.load(Acquire);
            if now & COUNT == 0 {
                if now == word {
                    return Err(NotOwned::NoPermit); // P4
                }
            } else if self.is_full(dead) {
                return Err(NotOwned::NoCell);
            }
        }
    }

    /// Takes the permit of one cell, or moves one there.
    fn take_at(&self, at: usize, me: u32, dead: &impl Fn(u32) -> bool) -> Option<Owned> {
        let cell = &self.cells[at];
        let seen = cell.load(Acquire);
        let mine = if phase(seen) == EMPTY { self.start_move(at, seen) } else { is_free(seen, dead) };
        let held = next(seen, HELD, me);
        // SYNC(P6). If it fails after a move, somebody finished that: the permit is found in the next round.
        (mine && cell.compare_exchange(seen, held, AcqRel, Acquire).is_ok()).then_some(Owned { at, held })
    }

    /// Moves a permit from the count to the cell `at`, which was `seen` to be `EMPTY`; the caller finishes the move.
    fn start_move(&self, at: usize, seen: u64) -> bool {
        let word = self.word.load(Acquire);
        if word & COUNT == 0 {
            return false;
        }
        self.finish_move(word); // P2
        if self.cells[at].load(Acquire) != seen {
            return false;
        }
        let moved = (version(seen) & MOVED) << MOVED_SHIFT | (at as u64 + 1) << PLACE_SHIFT;
        self.word.compare_exchange(word, ((word & COUNT) - 1) | moved, AcqRel, Relaxed).is_ok()
    }

    /// If a permit arrives: makes it `FREE`. The second look at `word` proves that `seen`, which has more bits of the
    /// version, is the cell into which it is moved.
    fn finish_move(&self, word: u64) {
        let Some(cell) = place(word).and_then(|at| self.cells.get(at)) else { return };
        let seen = cell.load(Acquire);
        if arrives(word, seen) && self.word.load(Acquire) & !COUNT == word & !COUNT {
            // SYNC(P6). If it fails somebody else has finished.
            let _ = cell.compare_exchange(seen, next(seen, FREE, 0), AcqRel, Relaxed);
        }
    }

    /// Whether, at one moment, every cell was had by the living while there was a permit in the count.
    #[cold]
    fn is_full(&self, dead: &impl Fn(u32) -> bool) -> bool {
        // Versions make equal words mean that nothing changed between the two looks.
        let look = || {
            self.cells.iter().try_fold(0_u64, |sum, cell| {
                let seen = cell.load(Acquire);
                let had = phase(seen) != EMPTY && !is_free(seen, dead);
                had.then(|| sum.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seen)
            })
        };
        let before = look();
        before.is_some() && self.word.load(Acquire) & COUNT != 0 && before == look()
    }

    /// Gives an owned permit back and wakes a sleeper if there are any.
    ///
    /// ```
    /// # use polyproc_sync::raw::RawSemaphore;
    /// # use polyproc_sys::{Deadline, atomic::AtomicU64};
    /// let sized = RawSemaphore::<[AtomicU64; 1]>::new(1, u32::MAX);
    /// let semaphore: &RawSemaphore = &sized;
    /// let _owes = semaphore.announce();
    /// let owned = semaphore.own(1, |_| false, Deadline::PAST).unwrap();
    /// semaphore.give_back(owned);
    /// assert_eq!(semaphore.available(|_| false), 1);
    /// ```
    #[inline]
    pub fn give_back(&self, owned: Owned) {
        let _owes = self.announce(); // another permit's announcement may have taken the place of this one's
        let Some(cell) = self.cells.get(owned.at) else { return }; // of another semaphore
        cell.store(next(owned.held, FREE, 0), Release); // SYNC(P6), P3
        self.gate.ring(Side::Takers); // P4
    }

    /// Spins a little, then sleeps until `take` says `true` or `deadline` comes.
    #[cold]
    fn wait(&self, dead: &impl Fn(u32) -> bool, deadline: Deadline, mut take: impl FnMut() -> bool) -> bool {
        if deadline.is_past() {
            return false;
        }
        let mut spin = Spin::new();
        while spin.again() {
            if take() {
                return true;
            }
        }
        let _owes = self.announce();
        let settle = || {
            if self.available(dead) > 0 {
                self.gate.ring(Side::Takers); // G4
            }
        };
        self.gate.wait(Side::Takers, deadline, take, settle)
    }
}

/// The cell into which a permit was moved last.
fn place(word: u64) -> Option<usize> {
    usize::try_from((word & PLACE) >> PLACE_SHIFT).ok()?.checked_sub(1)
}

/// Whether the move that `word` names has not ended, the cell at its place being `seen`.
fn arrives(word: u64, seen: u64) -> bool {
    phase(seen) == EMPTY && version(seen) & MOVED == word >> MOVED_SHIFT
}
