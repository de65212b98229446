//! The bytes of a condition: a cell for each thread that waits, in which the notifier says that its wait is over.
//!
//! Everything but the sleep itself happens under the lock that the condition is used with, so nothing here is a race: what
//! must be right is what a death leaves at each point.
//!
//! # State
//! | `word` of a cell | meaning | left by |
//! |---|---|---|
//! | `FREE` | nobody's | `wait` |
//! | `WAITING` | its owner waits | its owner, `notify`; anybody if the owner is dead |
//! | `NOTIFIED` | its owner may return | its owner; anybody who has passed it on if the owner is dead |
//!
//! `owner` and `ticket` say whose it is and since when; they mean something while the word is not `FREE`. Cells from `used`
//! on are `FREE`.
//!
//! # Transitions
//! ```text
//! wait      ticket, owner, used; FREE -> WAITING; give the lock up, sleep on the word, take the lock; -> FREE
//! notify    the oldest whose owner lives: announce; WAITING -> NOTIFIED; its word is to be woken when the lock is given up
//! pass on   NOTIFIED(dead): notify one, and wake it; then -> FREE
//! ```
//!
//! # Invariants
//! C1. All is changed under the lock. Words, owners and tickets are looked at without it by those who sleep; what they see
//!     is a reason to take the lock and look again, nothing else.
//! C2. A cell is `WAITING` before its owner gives the lock up, until the owner is notified or has the lock again: whoever
//!     holds the lock sees exactly those who wait.
//! C3. A notification lies in its cell until its owner, with the lock, takes it out, or until somebody who found him dead
//!     has passed it on. A kill between the two costs a notification too many, never one too few.
//! C4. From before a word becomes `NOTIFIED` until the lock is given up, or another word is notified, the kernel knows of the
//!     word ([`robust::announce`]). Its TID bits are 0. It is woken after that: whoever is woken earlier finds the lock held.
//! C5. A waiter that misses a change since its notifier died sees that a holder of the lock has died ([`RawLock::deaths`]),
//!     at the next tick, and returns. What it counted itself, by giving the lock up unrepaired, is none to it; it is to others.
//!
//! # Memory ordering
//! The lock's (L1). A sleeper that sees `NOTIFIED` takes the lock before it believes it.
//!
//! # If a process dies
//! A waiter: until it is notified, its cell counts for nothing, and anybody may have it. Once it is notified: whoever comes
//! to wait or to notify passes the notification on, or a sleeper that sees it at the tick ([`polyproc_sys::futex::tick`]);
//! the kernel cannot, as nobody else sleeps on that word. A notifier before it gives up the lock: the kernel wakes the one
//! that was notified last (C4). Between that and the wake-up, or when several were notified: the sleeper finds at the tick that
//! it is notified. One that holds the lock, in here or elsewhere: the lock tells the next holder, and the sleepers see it at the tick
//! (C5): each of them returns, and is told. A stopped waiter keeps its notification.

use super::lock::RawLock;
use polyproc_sys::Deadline;
use polyproc_sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};
use polyproc_sys::futex::{self, Futex, Wait};
use polyproc_sys::robust;

const FREE: u32 = 0; // the zero page is a condition that nobody waits for
const WAITING: u32 = 1 << 31;
const NOTIFIED: u32 = 1 << 30;

/// A thread that waits; see the module's `# State`.
///
/// ```
/// let cell = polyproc_sync::raw::condition::Cell::default();
/// assert_eq!(size_of_val(&cell), 16);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Cell {
    word: Futex,
    owner: AtomicU32,
    ticket: AtomicU64,
}

impl Default for Cell {
    fn default() -> Self {
        Self { word: Futex::new(FREE), owner: AtomicU32::new(0), ticket: AtomicU64::new(0) }
    }
}

/// The bytes of a condition: 16, and 16 for each thread that can wait at the same time. Zeroed bytes are one for which
/// nobody waits.
///
/// Owners are numbers, another one for each thread; `dead` says of one whether it has ended for good.
///
/// ```
/// use polyproc_sync::raw::condition::{Cell, Hold, RawCondition, Waited};
/// use polyproc_sync::raw::RawLock;
/// use polyproc_sys::Deadline;
///
/// struct Held<'a>(&'a RawLock);
/// impl Hold for Held<'_> {
///     fn lock(&self) -> &RawLock {
///         self.0
///     }
///     unsafe fn release(&mut self) -> u32 {
///         // SAFETY: the caller's duty is the same.
///         unsafe { RawLock::unlock(self.0, false) };
///         1
///     }
///     unsafe fn retake(&mut self, _: u32, _: u64) {
///         // SAFETY: a lock that outlives this.
///         unsafe { RawLock::lock(self.0, Deadline::NEVER) }.unwrap();
///     }
/// }
///
/// let (lock, sized) = (RawLock::new(), RawCondition::<[Cell; 4]>::new());
/// let condition: &RawCondition = &sized;
/// let mut held = Held(&lock);
/// // SAFETY: a lock of this frame.
/// unsafe { held.retake(1, 0) };
/// assert_eq!(condition.notify(1, |_| false, |_| ()), 0); // nobody waits
/// // SAFETY: this thread holds the lock.
/// let waited = unsafe { condition.wait(&mut held, 7, |_| false, Deadline::PAST) };
/// assert_eq!(waited, Some(Waited::TimedOut));
/// // SAFETY: as above.
/// unsafe { held.release() };
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct RawCondition<C: ?Sized = [Cell]> {
    /// That of the next who waits.
    tickets: AtomicU64,
    /// See `# State`.
    used: AtomicU32,
    spare: AtomicU32,
    cells: C,
}

/// Bytes before the first cell.
pub const HEADER: usize = 16;

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(size_of::<RawCondition<[Cell; 1]>>() == HEADER + 16 && size_of::<Cell>() == 16);

/// A thread's hold on the lock that a condition is used with: how [`RawCondition::wait`] gives it up and takes it again.
///
/// For an example see [`RawCondition`].
pub trait Hold {
    /// The lock.
    fn lock(&self) -> &RawLock;

    /// Whether [`release`](Hold::release) would give the lock up unrepaired, which counts as a death.
    fn is_unrepaired(&self) -> bool {
        false
    }

    /// Gives the lock up, all levels of it; says how it was held, for [`retake`](Hold::retake).
    ///
    /// # Safety
    /// * The calling thread holds the lock.
    unsafe fn release(&mut self) -> u32;

    /// Takes the lock again, as it was held (`how`). If the lock counts other [`deaths`](RawLock::deaths) then, a holder has
    /// died meanwhile, and the user is to be told.
    ///
    /// # Safety
    /// * The lock is mapped, and the calling thread does not hold it.
    unsafe fn retake(&mut self, how: u32, deaths: u64);
}

/// How a wait ended.
///
/// ```
/// use polyproc_sync::raw::condition::Waited;
/// assert_ne!(Waited::Notified, Waited::TimedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Somebody notified this thread.
    Notified,
    /// Nobody did, but a holder of the lock has died: he may have been about to.
    OwnerDied,
    /// The deadline came.
    TimedOut,
}

impl<const N: usize> RawCondition<[Cell; N]> {
    /// A condition that `N` threads can wait for at the same time.
    ///
    /// ```
    /// use polyproc_sync::raw::condition::{Cell, RawCondition};
    /// let condition = RawCondition::<[Cell; 2]>::new();
    /// assert_eq!((&condition as &RawCondition).cells(), 2);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            tickets: AtomicU64::new(0),
            used: AtomicU32::new(0),
            spare: AtomicU32::new(0),
            cells: core::array::from_fn(|_| Cell::default()),
        }
    }
}

impl<const N: usize> Default for RawCondition<[Cell; N]> {
    fn default() -> Self {
        Self::new()
    }
}

impl RawCondition {
    /// The condition that fills `len` bytes from `first` on, 16 at least, aligned to 8; nothing is read or written.
    ///
    /// ```
    /// use polyproc_sync::raw::RawCondition;
    /// use polyproc_sys::atomic::AtomicU64;
    /// let bytes: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
    /// // SAFETY: 64 aligned bytes, all zero, that live until the end and are used as a condition only.
    /// let condition = unsafe { &*RawCondition::at(bytes.as_ptr().cast(), 64) };
    /// assert_eq!((condition.cells(), condition.waiting()), (3, 0));
    /// ```
    #[must_use]
    pub fn at(first: *const u8, len: usize) -> *const Self {
        let cells = len.saturating_sub(HEADER) / size_of::<Cell>();
        core::ptr::slice_from_raw_parts(first.cast::<Cell>(), cells) as *const Self
    }

    /// Makes it a new condition; to be called before anybody else knows it.
    ///
    /// ```
    /// use polyproc_sync::raw::condition::{Cell, RawCondition};
    /// let condition = RawCondition::<[Cell; 2]>::new();
    /// (&condition as &RawCondition).reset();
    /// ```
    pub fn reset(&self) {
        self.cells.iter().for_each(|cell| cell.word.store(FREE, Relaxed));
        self.tickets.store(0, Relaxed);
        self.used.store(0, Release);
    }

    /// How many threads can wait at the same time.
    ///
    /// ```
    /// use polyproc_sync::raw::condition::{Cell, RawCondition};
    /// assert_eq!((&RawCondition::<[Cell; 2]>::new() as &RawCondition).cells(), 2);
    /// ```
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// How many threads wait and are not notified, the dead among them; may be wrong by the time you look.
    ///
    /// ```
    /// use polyproc_sync::raw::condition::{Cell, RawCondition};
    /// assert_eq!((&RawCondition::<[Cell; 2]>::new() as &RawCondition).waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.in_use().filter(|cell| cell.word.load(Relaxed) == WAITING).count()
    }

    /// Gives the lock up, sleeps until somebody notifies the calling thread, a holder of the lock has died, or `deadline`
    /// comes, and takes the lock again. `None`, and nothing done, if there is no cell left.
    ///
    /// # Safety
    /// * The calling thread holds the lock of `hold`, and everybody uses this condition with that lock. `me` is its number.
    ///
    /// # Examples
    /// See [`RawCondition`].
    pub unsafe fn wait(
        &self,
        hold: &mut impl Hold,
        me: u32,
        dead: impl Fn(u32) -> bool,
        deadline: Deadline,
    ) -> Option<Waited> {
        self.pass_on(&dead);
        let cell = self.enter(me, &dead)?;
        let mut deaths = hold.lock().deaths();
        loop {
            deaths = deaths.wrapping_add(u64::from(hold.is_unrepaired())); // C5
            // SAFETY: held, by the caller's duty, or since the last round.
            let how = unsafe { hold.release() };
            let must_pass_on = self.sleep(&cell.word, hold.lock(), deaths, &dead, deadline);
            // SAFETY: given up just now, and mapped since the caller held it.
            unsafe { hold.retake(how, deaths) };
            if must_pass_on {
                self.pass_on(&dead);
            }
            let waited = if cell.word.load(Relaxed) != WAITING {
                Waited::Notified
            } else if hold.lock().deaths() != deaths {
                Waited::OwnerDied
            } else if deadline.is_past() {
                Waited::TimedOut
            } else {
                continue; // looked for the dead
            };
            self.free(cell);
            return Some(waited);
        }
    }

    /// Notifies the `n` threads that have waited longest, or all there are, and says how many. To be called by the holder of
    /// the lock; never blocks. `owe` is told of each word that is to be woken, better when the lock was given up than now.
    ///
    /// The last of them stays announced to the kernel until the thread takes or gives up a lock.
    ///
    /// ```
    /// use polyproc_sync::raw::condition::{Cell, RawCondition};
    /// let condition = RawCondition::<[Cell; 2]>::new();
    /// let mut owed = Vec::new();
    /// assert_eq!((&condition as &RawCondition).notify(u32::MAX, |_| false, |word| owed.push(word)), 0); // nobody waits
    /// assert!(owed.is_empty());
    /// ```
    pub fn notify(&self, n: u32, dead: impl Fn(u32) -> bool, mut owe: impl FnMut(*const Futex)) -> u32 {
        self.pass_on(&dead);
        self.tell(n, &dead, &mut owe)
    }

    /// The cells that may not be `FREE`.
    fn in_use(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().take(self.used.load(Relaxed) as usize)
    }

    fn tell(&self, n: u32, dead: &impl Fn(u32) -> bool, owe: &mut impl FnMut(*const Futex)) -> u32 {
        let waiting = || self.in_use().filter(|cell| cell.word.load(Relaxed) == WAITING);
        let ticket = |cell: &&Cell| cell.ticket.load(Relaxed);
        let mut told = 0;
        if n == 1 {
            // As often as there are cells at most, whatever others write.
            for _ in 0..self.cells.len() {
                let Some(oldest) = waiting().min_by_key(ticket) else { break };
                if self.tell_one(oldest, dead, owe) {
                    return 1;
                }
            }
        } else {
            let mut oldest: Vec<_> = waiting().map(|cell| (ticket(&cell), cell)).collect();
            oldest.sort_unstable_by_key(|&(ticket, _)| ticket);
            for (_, cell) in oldest {
                if told == n {
                    break;
                }
                told += u32::from(self.tell_one(cell, dead, owe));
            }
        }
        told
    }

    /// `false` if there is nobody any more to be told.
    fn tell_one(&self, oldest: &Cell, dead: &impl Fn(u32) -> bool, owe: &mut impl FnMut(*const Futex)) -> bool {
        if dead(oldest.owner.load(Relaxed)) {
            self.free(oldest);
            return false;
        }
        core::mem::forget(robust::announce(&raw const *oldest.word)); // C4
        oldest.word.swap(NOTIFIED, Release); // not a store: loom does not order one against the sleeper's look
        owe(&raw const oldest.word);
        true
    }

    /// C3: lets others have what the dead were told and did not live to see.
    fn pass_on(&self, dead: &impl Fn(u32) -> bool) {
        for cell in self.in_use().filter(|cell| is_of_the_dead(cell, dead)) {
            self.tell(1, dead, &mut wake);
            self.free(cell);
        }
    }

    /// C2: a cell that says since now that `me` waits.
    fn enter(&self, me: u32, dead: &impl Fn(u32) -> bool) -> Option<&Cell> {
        let used = self.used.load(Relaxed);
        let free = self.in_use().find(|cell| cell.word.load(Relaxed) == FREE);
        let fresh = || {
            let cell = self.cells.get(used as usize)?;
            self.used.store(used + 1, Release);
            Some(cell)
        };
        let left = || {
            let cell = self.in_use().find(|cell| dead(cell.owner.load(Relaxed)))?;
            if cell.word.load(Relaxed) == NOTIFIED {
                self.tell(1, dead, &mut wake); // C3: its owner has died since `pass_on` looked
            }
            Some(cell)
        };
        let cell = free.or_else(fresh).or_else(left)?;
        let ticket = self.tickets.load(Relaxed);
        self.tickets.store(ticket.wrapping_add(1), Relaxed);
        cell.word.store(FREE, Release);
        cell.ticket.store(ticket, Relaxed);
        cell.owner.store(me, Relaxed);
        cell.word.store(WAITING, Release);
        Some(cell)
    }

    /// Sleeps without the lock until there is a reason to take it; `true` if the reason is a notification of the dead.
    fn sleep(
        &self,
        word: &Futex,
        lock: &RawLock,
        deaths: u64,
        dead: &impl Fn(u32) -> bool,
        deadline: Deadline,
    ) -> bool {
        while word.load(Relaxed) == WAITING && !deadline.is_past() {
            let until = deadline.earlier(Deadline::after(futex::tick()));
            if word.wait(WAITING, until) == Wait::TimedOut {
                lock.rob_the_dead();
                let must_pass_on = self.in_use().any(|cell| is_of_the_dead(cell, dead));
                if must_pass_on || lock.deaths() != deaths {
                    return must_pass_on; // C5
                }
            }
        }
        false
    }

    fn free(&self, cell: &Cell) {
        cell.word.store(FREE, Release);
        let mut used = self.used.load(Relaxed).min(u32::try_from(self.cells.len()).unwrap_or(u32::MAX));
        while used > 0 && self.cells[used as usize - 1].word.load(Relaxed) == FREE {
            used -= 1;
        }
        self.used.store(used, Relaxed);
    }
}

fn wake(word: *const Futex) {
    Futex::wake(word, 1);
}

/// Whether the cell has a notification that nobody will take out.
fn is_of_the_dead(cell: &Cell, dead: &impl Fn(u32) -> bool) -> bool {
    cell.word.load(Relaxed) == NOTIFIED && dead(cell.owner.load(Relaxed))
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests;
