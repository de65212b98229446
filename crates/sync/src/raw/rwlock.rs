//! The bytes of a lock with readers and writers: who writes, who reads, and the gate of the writer who waits for readers.
//!
//! A reader enters a cell that names him and looks whether a writer has or wants the lock; a writer takes the inner lock,
//! says that he wants it, and waits until no cell names a living thread. So readers share no line that any of them writes.
//!
//! # State
//! | bit of `state` | name | meaning | changed by |
//! |---|---|---|---|
//! | 0 | `WANTED` | a writer waits for the readers: no new ones | the holder of `writer` |
//! | 1 | `WRITING` | a writer has the lock | as above |
//! | 2 | `DIRTY` | a writer died while he had it, and nobody has repaired since | as above |
//!
//! | word | meaning |
//! |---|---|
//! | `writer` | a robust lock: held by whoever writes, waits for readers, enters behind a writer, or reads without a cell |
//! | `alone` | how many read locks the holder of `writer` has who reads without a cell |
//! | `gate` | where the holder of `writer` sleeps until readers are gone |
//!
//! The cells: `raw/readers.rs`.
//!
//! # Transitions
//! ```text
//! read       announce the gate; cell 0, dead -> me; state has no WANTED, WRITING: done. Else cell -> 0, ring, and
//! … behind   lock writer; repair; cell -> me; unlock writer; announce the gate
//! … alone    lock writer; repair; alone = 1                                   no cell is to be had
//! … nested   depth += 1, alone += 1                                           whatever writers want
//! read ends  depth -= 1, at the last: cell -> 0, ring; alone -= 1, at the last: unlock writer
//! write      lock writer; repair; state = WANTED; each cell: 0, dead -> 0, or sleep; state = WRITING
//! write ends state = 0 or DIRTY; unlock writer
//! repair     state WRITING -> DIRTY, WANTED -> 0, alone -> 0: what the last holder left when he died
//! ```
//!
//! # Invariants
//! W1. Only the holder of `writer` changes `state` and `alone`, and only he sleeps at the gate: one thread at most.
//! W2. While `state` has `WRITING` and its writer lives, no cell names a living thread that has entered for good.
//! W3. A cell is changed by its owner alone, and by anybody once he is dead.
//! W4. A writer looks at each cell until he finds it free, and need not look at it again: whoever enters it later sees
//!     `WANTED` and leaves.
//! W5. Whoever frees a cell rings, and the kernel in place of a reader who dies: from before he enters until after the
//!     ring he has the gate announced, but where the section on deaths says so.
//!
//! # Memory ordering
//! X1. A writer's last store to `state` (Release) pairs with the load of `state` in `try_enter` (SeqCst): what he wrote is
//!     visible to readers. Who enters behind him has it from the inner lock (L1), and so has the next writer.
//! X2. The store of 0 to a cell (Release) pairs with a writer's load of it (SeqCst), and with the CAS of the next reader
//!     there, who hands it on: what readers did comes before what the writer does.
//! X3. A reader changes his cell, then loads `state`; a writer stores `WANTED`, then loads the cells. All four accesses are
//!     SeqCst, so one of the two comes second in their total order and sees the other. Not a fence, which costs a reader
//!     as much again as his CAS where that is one already. Loom takes SeqCst accesses for AcqRel ones: models fence.
//! X4. The compiler must not move what a writer writes before the store of `WRITING`: [`asym::light`]. The kernel runs
//!     after all that the dead thread has done.
//! The gate's orders (M1) are between the store to a cell and the ring.
//!
//! # If a process dies
//! A writer: the kernel gives `writer` to the next (raw/lock.rs), who finds `WRITING` and tells of it by `DIRTY` to
//! every reader, until a writer repairs; or `WANTED`, which tells of nothing. `WRITING` is stored before the writer's call
//! returns, so that a death there is told of, too. Killed behind his last store to `state`: nothing to tell.
//! A reader: his cell is free as soon as `who` says that he is dead. The kernel wakes the writer at the gate, to whom `who`
//! says so: it marks the dead thread's life word before it looks at the announced one. Who dies between the store to his
//! cell and the ring: likewise. A lone reader: as a holder of a lock. Who holds `writer` to enter: likewise.
//! The writer at the gate needs no announcement there, against G3: a wake-up that he consumed concerns nobody else (W1), and
//! the next holder of `writer` looks at the cells before he sleeps.
//! One thread announces one word only. It is left to the tick if a reader dies who has taken or given up a lock or another
//! permit or read lock since he entered; or who dies in the few instructions between a writer's look and his sleep, or,
//! entering behind a writer, between giving up `writer` and announcing the gate.

use super::gate::{RawGate, Side};
use super::lock::{Locked, NotLocked, RawLock, Watch};
pub use super::readers::Who;
use super::readers::{Readers, depth, first, is_free, owner};
use super::reading::{ALONE, lock_writer, total_order};
pub use super::reading::{Awaited, Reading};
use polyproc_sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed, Release, SeqCst},
};
use polyproc_sys::spin::Spin;
use polyproc_sys::{Deadline, asym, futex};

const WANTED: u32 = 1;
const WRITING: u32 = 1 << 1;
const DIRTY: u32 = 1 << 2;

/// The bytes of a lock with readers and writers: 1024 of them, for 120 readers at the same time, of whom 15 have a cache line
/// of their own; zeroed bytes are a free lock.
///
/// Threads have numbers, and `who` says of one whether it has ended for good, and whether it is the calling one. A reader
/// beyond the 120th, or one without a number, holds up writers as others do, and other such readers, too.
///
/// ```
/// use polyproc_sync::raw::{RawRwLock, lock::NotLocked, rwlock::Who};
/// use polyproc_sys::Deadline;
/// let lock = <RawRwLock>::new(); // on the stack: for threads of this process
/// let who = |owner| if owner == 7 { Who::Me } else { Who::Other };
/// // SAFETY: `lock` lives until the end, and nothing else uses its bytes.
/// let reading = unsafe { RawRwLock::read(&raw const lock, Some(7), who, Deadline::NEVER) }.unwrap();
/// // SAFETY: as above.
/// assert_eq!(unsafe { RawRwLock::write(&raw const lock, who, Deadline::NEVER) }, Err(NotLocked::Mine));
/// // SAFETY: as above; this thread reads.
/// unsafe { RawRwLock::unlock_read(&raw const lock, reading) };
/// // SAFETY: as above.
/// assert!(unsafe { RawRwLock::write(&raw const lock, who, Deadline::NEVER) }.is_ok());
/// // SAFETY: as above; this thread writes.
/// unsafe { RawRwLock::unlock_write(&raw const lock, false) };
/// ```
#[derive(Debug)]
#[repr(C, align(64))]
pub struct RawRwLock<const LINES: usize = 15> {
    /// See `# State`.
    writer: RawLock,
    /// See `# State`.
    state: AtomicU32,
    /// See `# State`.
    alone: AtomicU32,
    /// See `# State`.
    gate: RawGate,
    readers: Readers<LINES>,
}

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(
    size_of::<RawRwLock>() == 1024 && core::mem::offset_of!(RawRwLock, writer) == 0 && align_of::<RawRwLock>() == 64
);

impl<const LINES: usize> RawRwLock<LINES> {
    /// A free lock.
    ///
    /// ```
    /// use polyproc_sync::raw::{RawRwLock, rwlock::Who};
    /// assert_eq!(<RawRwLock>::new().readers(|_| Who::Other), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            writer: RawLock::new(),
            state: AtomicU32::new(0),
            alone: AtomicU32::new(0),
            gate: RawGate::new(),
            readers: Readers::new(),
        }
    }

    /// Makes it a new lock, whose bytes were one before that nobody holds to write; to be called before anybody knows it.
    ///
    /// ```
    /// use polyproc_sync::raw::{RawRwLock, rwlock::Who};
    /// let lock = <RawRwLock>::new();
    /// // SAFETY: a lock of this frame.
    /// core::mem::forget(unsafe { RawRwLock::read(&raw const lock, Some(1), |_| Who::Other, polyproc_sys::Deadline::PAST) });
    /// lock.reset();
    /// assert_eq!(lock.readers(|_| Who::Other), 0);
    /// ```
    pub fn reset(&self) {
        self.readers.clear();
        self.alone.store(0, Relaxed);
        self.state.store(0, Release);
    }

    /// The thread id of the writer; `None` while there is none, or he still waits. May be wrong by the time you look.
    ///
    /// ```
    /// assert_eq!(<polyproc_sync::raw::RawRwLock>::new().writer(), None);
    /// ```
    #[must_use]
    pub fn writer(&self) -> Option<u32> {
        if self.state.load(Relaxed) & WRITING == 0 { None } else { self.writer.owner() }
    }

    /// How many living threads have read locks; may be wrong by the time you look.
    ///
    /// ```
    /// use polyproc_sync::raw::{RawRwLock, rwlock::Who};
    /// assert_eq!(<RawRwLock>::new().readers(|_| Who::Other), 0);
    /// ```
    #[must_use]
    pub fn readers(&self, who: impl Fn(u32) -> Who) -> usize {
        let alone = self.alone.load(Relaxed) != 0 && self.writer.owner().is_some();
        self.readers.count(&who, |who| who != Who::Dead) + usize::from(alone)
    }

    /// The readers' numbers, the dead ones' too.
    #[cfg(not(polyproc_loom))] // models have no deadlocks
    pub(crate) fn reader_words(&self) -> impl Iterator<Item = u32> {
        self.readers.owners()
    }

    /// Takes a read lock for `me`, sleeping until `deadline` at most.
    ///
    /// A thread that has one already gets another one, whatever writers want.
    ///
    /// # Errors
    /// [`NotLocked::TimedOut`] when the deadline came; [`NotLocked::Mine`] if this thread writes, or reads by another number
    /// while a writer waits.
    ///
    /// # Panics
    /// If this thread holds 128 locks already and has to wait for a writer.
    ///
    /// # Safety
    /// * `this` points to a `RawRwLock` that stays mapped until it is unlocked, and whose bytes are never used for anything
    ///   but such locks while any thread may still be inside a call.
    ///
    /// # Examples
    /// As of [`RawRwLock`].
    #[inline]
    pub unsafe fn read(
        this: *const Self,
        me: Option<u32>,
        who: impl Fn(u32) -> Who,
        deadline: Deadline,
    ) -> Result<Reading, NotLocked> {
        // SAFETY: the caller's duty is the same.
        unsafe { Self::read_watched(this, me, who, deadline, || ()) }
    }

    /// [`RawRwLock::read`] with somebody who looks on if it takes long.
    ///
    /// # Safety
    /// * As for [`RawRwLock::read`].
    #[doc(hidden)]
    #[inline]
    pub unsafe fn read_watched<W: Watch>(
        this: *const Self,
        me: Option<u32>,
        who: impl Fn(u32) -> Who,
        deadline: Deadline,
        watch: impl FnOnce() -> W,
    ) -> Result<Reading, NotLocked> {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        if let Some(me) = me {
            let announced = lock.gate.announce(); // W5
            let home = Readers::<LINES>::home(me);
            if let Some(state) = lock.try_enter(home, 0, me) {
                return Ok(Reading::new(home, state & DIRTY != 0, Some(announced)));
            }
            if let Some((at, state)) = lock.enter_elsewhere(me, &who)? {
                return Ok(Reading::new(at, state & DIRTY != 0, Some(announced)));
            }
        }
        lock.read_behind(me, &who, deadline, watch)
    }

    /// Enters the cell `at`, which was `seen` to be free, unless a writer has or wants the lock; the state if it did.
    #[inline]
    fn try_enter(&self, at: usize, seen: u64, me: u32) -> Option<u32> {
        let cell = self.readers.cell(at);
        if cell.compare_exchange(seen, first(me), SeqCst, Relaxed).is_err() {
            return None;
        }
        total_order();
        let state = self.state.load(SeqCst); // SYNC(X1, X3)
        if state & (WANTED | WRITING) == 0 {
            return Some(state);
        }
        self.leave(cell);
        None
    }

    /// Frees a cell of this thread's.
    #[inline]
    fn leave(&self, cell: &AtomicU64) {
        cell.store(0, Release); // SYNC(X2)
        self.gate.ring(Side::Takers); // W5
    }

    /// Where the home cell is not to be had: in any other, and if a writer is there, in the one that this thread has.
    #[cold]
    fn enter_elsewhere(&self, me: u32, who: &impl Fn(u32) -> Who) -> Result<Option<(usize, u32)>, NotLocked> {
        for at in Readers::<LINES>::places(me) {
            if self.state.load(Relaxed) & (WANTED | WRITING) != 0 {
                break;
            }
            let seen = self.readers.cell(at).load(Relaxed);
            if seen != 0 && owner(seen) == me {
                break;
            }
            if let Some(state) = is_free(seen, who).then(|| self.try_enter(at, seen, me)).flatten() {
                return Ok(Some((at, state)));
            }
        }
        if let Some(at) = self.readers.nest(me) {
            return Ok(Some((at, self.state.load(Relaxed))));
        }
        if self.reads(who) { Err(NotLocked::Mine) } else { Ok(None) }
    }

    /// Whether this thread is named by a cell.
    fn reads(&self, who: &impl Fn(u32) -> Who) -> bool {
        self.readers.count(who, |who| who == Who::Me) > 0
    }

    /// Waits for the writer, and enters before the next one can come.
    #[cold]
    fn read_behind<W: Watch>(
        &self,
        me: Option<u32>,
        who: &impl Fn(u32) -> Who,
        deadline: Deadline,
        watch: impl FnOnce() -> W,
    ) -> Result<Reading, NotLocked> {
        // SAFETY: mapped, and the bytes of a lock, by the duty of `read`'s caller.
        match unsafe { lock_writer(&raw const self.writer, deadline, watch) } {
            Ok(_) => {}
            Err(NotLocked::Mine) if self.alone.load(Relaxed) != 0 => {
                self.alone.fetch_add(1, Relaxed);
                return Ok(Reading::new(ALONE, self.state.load(Relaxed) & DIRTY != 0, None));
            }
            Err(e) => return Err(e),
        }
        let state = self.repaired();
        self.state.store(state, Release);
        if let Some(at) = me.and_then(|me| self.readers.take(me, who)) {
            // SAFETY: as above; locked by this thread.
            unsafe { RawLock::unlock(&raw const self.writer, false) };
            return Ok(Reading::new(at, state & DIRTY != 0, Some(self.gate.announce())));
        }
        self.alone.store(1, Relaxed);
        Ok(Reading::new(ALONE, state & DIRTY != 0, None))
    }

    /// The state without what a dead holder of `writer` left; to be called by the next one, who stores it.
    fn repaired(&self) -> u32 {
        self.alone.store(0, Relaxed);
        let state = self.state.load(Relaxed);
        if state & WRITING == 0 { state & DIRTY } else { DIRTY }
    }

    /// Gives a read lock up, and wakes the writer if he waits for it.
    ///
    /// # Safety
    /// * As for [`RawRwLock::read`], of which `reading` came for this lock, on this thread.
    ///
    /// # Examples
    /// As of [`RawRwLock`].
    #[inline]
    pub unsafe fn unlock_read(this: *const Self, reading: Reading) {
        // SAFETY: mapped by the caller's duty; the bytes remain those of a lock even after the store below.
        let lock = unsafe { &*this };
        if reading.at == ALONE {
            if lock.alone.fetch_sub(1, Relaxed) == 1 {
                // SAFETY: as above; a thread that reads alone holds it.
                unsafe { RawLock::unlock(&raw const lock.writer, false) };
            }
            return;
        }
        let cell = lock.readers.cell(reading.at);
        let seen = cell.load(Relaxed);
        if depth(seen) > 1 {
            cell.store(seen - 1, Relaxed);
        } else {
            let _owes = lock.gate.announce(); // another word's announcement may have taken the place of this one's
            lock.leave(cell);
        }
    }

    /// Takes the lock to write, sleeping until `deadline` at most; `recovered` tells that a writer died and nobody has
    /// repaired since.
    ///
    /// # Errors
    /// [`NotLocked::TimedOut`] when the deadline came, [`NotLocked::Mine`] if this thread reads or writes.
    ///
    /// # Panics
    /// If this thread holds 128 locks already.
    ///
    /// # Safety
    /// * As for [`RawRwLock::read`].
    ///
    /// # Examples
    /// As of [`RawRwLock`].
    pub unsafe fn write(this: *const Self, who: impl Fn(u32) -> Who, deadline: Deadline) -> Result<Locked, NotLocked> {
        // SAFETY: the caller's duty is the same.
        unsafe { Self::write_watched(this, who, deadline, |_| ()) }
    }

    /// [`RawRwLock::write`] with somebody who looks on if it takes long.
    ///
    /// # Safety
    /// * As for [`RawRwLock::read`].
    #[doc(hidden)]
    pub unsafe fn write_watched<W: Watch>(
        this: *const Self,
        who: impl Fn(u32) -> Who,
        deadline: Deadline,
        watch: impl Fn(Awaited) -> W,
    ) -> Result<Locked, NotLocked> {
        // SAFETY: mapped by the caller's duty.
        let lock = unsafe { &*this };
        let writer = &raw const lock.writer;
        // SAFETY: mapped, and the bytes of a lock, by the caller's duty.
        match unsafe { RawLock::try_lock(writer) } {
            Ok(_) => {}
            Err(NotLocked::TimedOut) => {
                if lock.reads(&who) {
                    return Err(NotLocked::Mine); // whoever holds `writer` may wait for this very thread
                }
                // SAFETY: as above.
                unsafe { lock_writer(writer, deadline, || watch(Awaited::Holder)) }?;
            }
            Err(e) => return Err(e),
        }
        let state = lock.repaired();
        lock.state.swap(WANTED | state, SeqCst); // SYNC(X3)
        total_order();
        let drained = lock.drain(&who, deadline, || watch(Awaited::Readers));
        if let Err(e) = drained {
            lock.state.store(state, Release);
            // SAFETY: as above; locked by this thread.
            unsafe { RawLock::unlock(writer, false) };
            return Err(e);
        }
        lock.state.store(WRITING | state, Relaxed);
        asym::light(); // SYNC(X4)
        Ok(Locked { recovered: state & DIRTY != 0 })
    }

    /// Waits until no living thread is in a cell (W4).
    fn drain<W: Watch>(
        &self,
        who: &impl Fn(u32) -> Who,
        deadline: Deadline,
        watch: impl FnOnce() -> W,
    ) -> Result<(), NotLocked> {
        let mut at = 0;
        let mut look = || {
            while at < Readers::<LINES>::COUNT {
                let cell = self.readers.cell(at);
                let seen = cell.load(SeqCst); // SYNC(X2, X3)
                if seen == 0 {
                    at += 1;
                    continue;
                }
                match who(owner(seen)) {
                    Who::Dead => drop(cell.compare_exchange(seen, 0, AcqRel, Relaxed)),
                    Who::Other => return None,
                    Who::Me => return Some(Err(NotLocked::Mine)),
                }
            }
            Some(Ok(()))
        };
        if let Some(done) = look() {
            return done;
        }
        if self.reads(who) {
            return Err(NotLocked::Mine); // behind the cell of another
        }
        if deadline.is_past() {
            return Err(NotLocked::TimedOut);
        }
        let mut spin = Spin::new();
        while spin.again() {
            if let Some(done) = look() {
                return done;
            }
        }
        let (mut watch, mut done, mut tick) = (watch(), None, Deadline::after(futex::tick()));
        self.gate.wait(
            Side::Takers,
            deadline,
            || {
                done = look();
                if done.is_none() && tick.is_past() {
                    tick = Deadline::after(futex::tick());
                    done = watch.tick().then_some(Err(NotLocked::GivenUp));
                }
                done.is_some()
            },
            || {},
        );
        done.unwrap_or(Err(NotLocked::TimedOut))
    }

    /// Gives the lock up after writing; `unrepaired` tells all that come next that a writer died.
    ///
    /// # Safety
    /// * As for [`RawRwLock::read`], and the calling thread has the lock to write.
    ///
    /// # Examples
    /// As of [`RawRwLock`].
    #[inline]
    pub unsafe fn unlock_write(this: *const Self, unrepaired: bool) {
        // SAFETY: mapped by the caller's duty; the bytes remain those of a lock even after the store below.
        let lock = unsafe { &*this };
        lock.state.store(if unrepaired { DIRTY } else { 0 }, Release); // SYNC(X1)
        // SAFETY: as above; whoever writes holds it.
        unsafe { RawLock::unlock(&raw const lock.writer, false) };
    }
}

impl<const LINES: usize> Default for RawRwLock<LINES> {
    fn default() -> Self {
        Self::new()
    }
}
