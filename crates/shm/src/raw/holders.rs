//! The holders lock: one robust lock for a family, under which cells and shared counts change.
//!
//! # State
//! | `word` | meaning | left by |
//! |---|---|---|
//! | 0 | free | `lock`: CAS to the thread's id |
//! | TID | that thread is inside | the owner clears it; the kernel, if it dies: `DIED` |
//! | `DIED` | the last owner died inside | `lock`: CAS to the thread's id; its guard says so |
//!
//! `WAITERS` beside any of them: somebody may sleep.
//!
//! # Invariants
//! L1. Nobody sleeps unless `WAITERS` is set. It outlives the release: who takes the lock over keeps it, and it is only
//!     cleared by an unlock whose wake found nobody. At worst an unlock makes one useless call.
//! L2. The word is named to the kernel from before it is taken until after it is given up and the wake-up sent.
//! L3. Everything that is done under the lock can be done again from the start.
//! L4. Nobody waits without end: a word that names a living thread for so many ticks is that of a stopped process, or was
//!     written by one that should not. The lock is not taken from it; who wants it is told so.
//!
//! # Memory ordering
//! M1. The CAS in `lock` (Acquire) pairs with the release in `unlock` (Release).
//!
//! # If a process dies
//! Inside: the kernel sets `DIED` and wakes one sleeper. Between the release and the wake, or woken and not yet inside: the
//! kernel passes the wake-up on if the lock is free; if somebody took it meanwhile, he has `WAITERS` (L1) and wakes the
//! next. What slips through (several deaths at once, old kernels) ends with the tick.

use polyproc_sys::atomic::Ordering::{Acquire, Relaxed, Release};
use polyproc_sys::futex::{self, Futex, Wait};
use polyproc_sys::robust::{DIED, TID, Thread, WAITERS};
use polyproc_sys::{Deadline, liveness, spin::Spin};

#[repr(C, align(64))]
pub(crate) struct RawHolders {
    word: Futex,
    _pad: [u32; 5],
    /// Links of the owner's robust list.
    _node: [u64; 2],
    _free: [u64; 3],
}
#[cfg(not(polyproc_loom))]
const _: () = assert!(size_of::<RawHolders>() == 64 && core::mem::offset_of!(RawHolders, _node) == 24);

/// The lock is held by this thread until the guard is dropped.
pub(crate) struct Inside {
    lock: &'static RawHolders,
    thread: Thread,
    /// The last owner died inside.
    pub(crate) died: bool,
}

/// Ticks that a thread waits for the same holder, 10 s: everything inside takes milliseconds.
const PATIENCE: u32 = 100;
/// The same for a holder that this process has given up on before.
const LITTLE: u32 = 2;
/// Looks at a word that somebody changes again and again.
const LOOKS: u32 = 1 << 24;

/// The holder, as the word names it, has not given up the lock for [`PATIENCE`] ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck(pub(crate) u32);

impl RawHolders {
    /// `known` is the holder that this process has given up on before, or 0.
    pub(crate) fn lock(&'static self, known: u32) -> Result<Inside, Stuck> {
        let thread = Thread::current();
        // SAFETY: a line of the family's memory, 40 bytes and more, which is mapped until the process ends; only the
        // owner of the word uses the node.
        let announced = unsafe { thread.announce_inner_lock(&raw const self.word) };
        debug_assert!(announced, "nothing inside takes it again");
        match self.word.compare_exchange(0, thread.id(), Acquire, Relaxed) {
            Ok(_) => Ok(Inside { lock: self, thread, died: false }),
            Err(_) => self.lock_contended(thread, known),
        }
    }

    #[cold]
    fn lock_contended(&'static self, thread: Thread, known: u32) -> Result<Inside, Stuck> {
        let (mut waited, mut spin, mut ticks) = (0, Spin::new(), 0);
        for _ in 0..LOOKS {
            let word = self.word.load(Relaxed);
            // Nothing under the lock takes it again: our own id in the word is a forgery, and no owner.
            if word & TID == 0 || word & TID == thread.id() {
                let new = thread.id() | word & WAITERS | waited; // L1
                if self.word.compare_exchange(word, new, Acquire, Relaxed).is_ok() {
                    return Ok(Inside { lock: self, thread, died: word & (DIED | TID) != 0 });
                }
                continue;
            }
            if spin.again() {
                continue;
            }
            if ticks >= if word & TID == known { LITTLE } else { PATIENCE } {
                break;
            }
            waited = WAITERS;
            if word & WAITERS == 0 && self.word.compare_exchange(word, word | WAITERS, Relaxed, Relaxed).is_err() {
                continue;
            }
            let end = self.word.wait(word | WAITERS, Deadline::after(futex::tick()));
            // A thread that died unseen by the kernel's walk (a foreign robust lock cleared the pending slot).
            if end == Wait::TimedOut && liveness::tid_is_dead(word & TID) {
                let _ = self.word.compare_exchange(word | WAITERS, WAITERS | DIED, Relaxed, Relaxed);
            }
            ticks += u32::from(end == Wait::TimedOut);
        }
        thread.done(); // L2
        Err(Stuck(self.word.load(Relaxed) & TID)) // L4
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let word = &raw const self.lock.word;
        if !self.thread.announces(word) {
            // SAFETY: announced in `lock`; this thread still owns it.
            unsafe { self.thread.recall(word) };
        }
        let mut keep = WAITERS;
        if std::thread::panicking() {
            self.lock.word.fetch_or(DIED, Relaxed); // what was begun is not finished: the next one counts anew
            keep |= DIED;
        }
        let old = self.lock.word.fetch_and(keep, Release); // SYNC(M1)
        if old & WAITERS != 0 && Futex::wake(word, 1) == 0 {
            let _ = self.lock.word.compare_exchange(WAITERS, 0, Relaxed, Relaxed); // L1
        }
        self.thread.done(); // L2
    }
}
