//! The cells of a task board: each holds one task, who works at it, and what came of it so far.
//!
//! A queue of cell numbers tells workers where to look and another one tells the poster what is done; both are only
//! hints. The cells are the truth, so that a number that dies with a worker loses nothing: after the proof of a worker's
//! death the poster looks at all cells.
//!
//! # State
//! | bits of `state` | name | meaning |
//! |---|---|---|
//! | 0..2 | phase | `EMPTY`, `POSTED`, `RUNNING`, `DONE` |
//! | 2..32 | worker | while `RUNNING` and `DONE`: the number that the poster gave the worker; never used twice |
//! | 32..64 | turn | how often the cell was posted, modulo 2^32 |
//!
//! | phase | who may change the cell's words |
//! |---|---|
//! | `EMPTY`, `DONE` | the poster |
//! | `POSTED` | nobody; any worker may claim it |
//! | `RUNNING` | the worker named in the state; after the proof of its death the poster |
//!
//! `progress` counts the finished items of a task and says where their results lie:
//!
//! | bits | meaning |
//! |---|---|
//! | 0..2 | place: 0 in the cell itself, 1 and 2 in the block that the first, the second reference names |
//! | 2..32 | finished items |
//! | 32..64 | bytes of results |
//!
//! # Invariants
//! B1. A claim succeeds for one worker per turn (CAS), so a task runs once for each time it is posted.
//! B2. `progress` moves by single stores; results are written beyond what it counts, or to the place that it does not name.
//! B3. The poster takes a cell from a worker only when the worker's process is proven dead.
//!
//! # Memory ordering
//! T1. The release store of `POSTED` pairs with the acquire CAS of the claim: publishes the task.
//! T2. The release stores of `progress` and `DONE` pair with the poster's acquire loads: publish the results.
//!
//! # If a process dies
//! A worker before the claim: the task is still `POSTED`. From the claim on: the items that `progress` counts are finished,
//! the next one died with the worker, the others were not begun. After `DONE`: the task is finished. The results' block is
//! named by the cell before `progress` points to it, and freed by the sweep of the dead worker's memory if it never did.
//! The poster: its workers die with it.

use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Words of a cell.
pub const WIDTH: usize = 32;
/// Words of a task's head: what the poster wants to tell the worker about it.
pub const HEAD: usize = 4;
/// Words of a task's arguments: a message that lies in the cell, or the reference of its block.
pub const ARGS: usize = 7;
/// Words of a reference to a block.
pub const REF: usize = 4;
/// Bytes of results that fit the cell itself.
pub const INLINE: usize = 8 * 8;

const STATE: usize = 0;
const PROGRESS: usize = 1;
const HEAD_AT: usize = 2;
const ARGS_AT: usize = HEAD_AT + HEAD;
const REFS_AT: usize = ARGS_AT + ARGS;
const INLINE_AT: usize = REFS_AT + 2 * REF;
const _: () = assert!(INLINE_AT + INLINE / 8 <= WIDTH);

const EMPTY: u64 = 0; // the zero page is a board of empty cells
const POSTED: u64 = 1;
const RUNNING: u64 = 2;
const DONE: u64 = 3;
const PHASE: u64 = 3;
const WORKER_SHIFT: u32 = 2;
const WORKER: u64 = 0x3fff_ffff;
const TURN_SHIFT: u32 = 32;

/// Where the results of a task lie.
///
/// ```
/// use polyproc_queue::raw::board::Place;
/// assert_ne!(Place::Cell, Place::First);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the cell.
    Cell,
    /// In the block that the first reference names.
    First,
    /// In the block that the second reference names.
    Second,
}

/// How far a task has come.
///
/// ```
/// use polyproc_queue::raw::board::{Place, Progress};
/// let none = Progress { items: 0, bytes: 0, place: Place::Cell };
/// assert_eq!(Progress::from_word(none.to_word()), none);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Finished items.
    pub items: u32,
    /// Bytes of results.
    pub bytes: u32,
    /// Where they lie.
    pub place: Place,
}

impl Progress {
    /// The word that says so; of `items`, 30 bits count.
    ///
    /// ```
    /// use polyproc_queue::raw::board::{Place, Progress};
    /// assert_eq!(Progress { items: 0, bytes: 0, place: Place::Cell }.to_word(), 0);
    /// ```
    #[must_use]
    pub fn to_word(self) -> u64 {
        let place = match self.place {
            Place::Cell => 0,
            Place::First => 1,
            Place::Second => 2,
        };
        place | u64::from(self.items & 0x3fff_ffff) << 2 | u64::from(self.bytes) << 32
    }

    /// What a word says.
    ///
    /// ```
    /// use polyproc_queue::raw::board::Progress;
    /// assert_eq!(Progress::from_word(3 << 2).items, 3);
    /// ```
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        let place = match word & 3 {
            0 => Place::Cell,
            1 => Place::First,
            _ => Place::Second,
        };
        Self { items: cut(word >> 2) & 0x3fff_ffff, bytes: cut(word >> 32), place }
    }
}

/// What a look at a cell finds.
///
/// ```
/// use polyproc_queue::raw::board::Phase;
/// assert_ne!(Phase::Posted, Phase::Empty);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No task.
    Empty,
    /// A task that no worker has claimed.
    Posted,
    /// A task that the worker of this number works at.
    Running(u32),
    /// A task that the worker of this number has finished.
    Done(u32),
}

/// One cell as one process sees it.
///
/// ```
/// use polyproc_queue::raw::board::{Cell, Phase, WIDTH};
/// use polyproc_sys::atomic::AtomicU64;
/// let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
/// let cell = Cell::new(&words).unwrap();
/// cell.post(1, &[0; 4], &[0; 7]);
/// assert!(cell.claim(1, 77));
/// assert!(!cell.claim(1, 78)); // taken
/// cell.done(1, 77);
/// assert_eq!(cell.look(), (1, Phase::Done(77)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a>(&'a [AtomicU64]);

impl<'a> Cell<'a> {
    /// The cell in `words`; `None` unless there are [`WIDTH`] of them.
    ///
    /// ```
    /// assert!(polyproc_queue::raw::board::Cell::new(&[]).is_none());
    /// ```
    #[must_use]
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() == WIDTH).then_some(Self(words))
    }

    /// The turn and the phase of the cell.
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, Phase, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// assert_eq!(Cell::new(&words).unwrap().look(), (0, Phase::Empty));
    /// ```
    #[must_use]
    pub fn look(self) -> (u32, Phase) {
        let state = self.0[STATE].load(Acquire); // SYNC(T2)
        let worker = cut((state >> WORKER_SHIFT) & WORKER);
        let phase = match state & PHASE {
            EMPTY => Phase::Empty,
            POSTED => Phase::Posted,
            RUNNING => Phase::Running(worker),
            _ => Phase::Done(worker),
        };
        (cut(state >> TURN_SHIFT), phase)
    }

    /// The poster's: fills the cell, which no worker works at, with a task, in turn `turn`.
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, Phase, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// # let cell = Cell::new(&words).unwrap();
    /// cell.post(3, &[1, 2, 3, 4], &[5; 7]);
    /// assert_eq!(cell.look(), (3, Phase::Posted));
    /// ```
    pub fn post(self, turn: u32, head: &[u64; HEAD], args: &[u64; ARGS]) {
        self.0[PROGRESS].store(0, Relaxed);
        for (to, from) in self.0[HEAD_AT..].iter().zip(head.iter().chain(args)) {
            to.store(*from, Relaxed);
        }
        for r in &self.0[REFS_AT..INLINE_AT] {
            r.store(0, Relaxed);
        }
        self.0[STATE].store(u64::from(turn) << TURN_SHIFT | POSTED, Release); // SYNC(T1)
    }

    /// A worker's: takes the task of `turn` if nobody has (B1).
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// # let cell = Cell::new(&words).unwrap();
    /// assert!(!cell.claim(0, 1)); // nothing is posted
    /// ```
    #[must_use]
    pub fn claim(self, turn: u32, worker: u32) -> bool {
        let turn = u64::from(turn) << TURN_SHIFT;
        let running = turn | u64::from(worker) << WORKER_SHIFT | RUNNING;
        self.0[STATE].compare_exchange(turn | POSTED, running, AcqRel, Relaxed).is_ok() // SYNC(T1)
    }

    /// The head and the arguments of the task.
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// # let cell = Cell::new(&words).unwrap();
    /// cell.post(1, &[9; 4], &[8; 7]);
    /// assert_eq!(cell.task(), ([9; 4], [8; 7]));
    /// ```
    #[must_use]
    pub fn task(self) -> ([u64; HEAD], [u64; ARGS]) {
        let at = |i: usize| self.0[i].load(Relaxed);
        (core::array::from_fn(|i| at(HEAD_AT + i)), core::array::from_fn(|i| at(ARGS_AT + i)))
    }

    /// How far the task has come.
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// assert_eq!(Cell::new(&words).unwrap().progress().items, 0);
    /// ```
    #[must_use]
    pub fn progress(self) -> Progress {
        Progress::from_word(self.0[PROGRESS].load(Acquire)) // SYNC(T2)
    }

    /// The worker's: says how far it has come; what it says must have been written before (B2).
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, Place, Progress, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// # let cell = Cell::new(&words).unwrap();
    /// cell.set_progress(Progress { items: 1, bytes: 8, place: Place::Cell });
    /// assert_eq!(cell.progress().items, 1);
    /// ```
    pub fn set_progress(self, progress: Progress) {
        self.0[PROGRESS].store(progress.to_word(), Release); // SYNC(T2)
    }

    /// The words in which results up to [`INLINE`] bytes lie.
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, INLINE, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// assert_eq!(Cell::new(&words).unwrap().inline().len() * 8, INLINE);
    /// ```
    #[must_use]
    pub fn inline(self) -> &'a [AtomicU64] {
        &self.0[INLINE_AT..INLINE_AT + INLINE / 8]
    }

    /// The reference at `place`; zeros for [`Place::Cell`].
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, Place, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// assert_eq!(Cell::new(&words).unwrap().reference(Place::First), [0; 4]);
    /// ```
    #[must_use]
    pub fn reference(self, place: Place) -> [u64; REF] {
        self.reference_words(place).map_or([0; REF], |words| core::array::from_fn(|i| words[i].load(Relaxed)))
    }

    /// The worker's: names a block at `place`, which `progress` does not point to (B2).
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, Place, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// # let cell = Cell::new(&words).unwrap();
    /// cell.set_reference(Place::Second, [1; 4]);
    /// assert_eq!(cell.reference(Place::Second), [1; 4]);
    /// ```
    pub fn set_reference(self, place: Place, reference: [u64; REF]) {
        for (to, from) in self.reference_words(place).into_iter().flatten().zip(reference) {
            to.store(from, Relaxed);
        }
    }

    fn reference_words(self, place: Place) -> Option<&'a [AtomicU64]> {
        let at = match place {
            Place::Cell => return None,
            Place::First => REFS_AT,
            Place::Second => REFS_AT + REF,
        };
        Some(&self.0[at..at + REF])
    }

    /// The worker's: the task is finished.
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, Phase, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// # let cell = Cell::new(&words).unwrap();
    /// cell.done(0, 4);
    /// assert_eq!(cell.look().1, Phase::Done(4));
    /// ```
    pub fn done(self, turn: u32, worker: u32) {
        let state = u64::from(turn) << TURN_SHIFT | u64::from(worker) << WORKER_SHIFT | DONE;
        self.0[STATE].store(state, Release); // SYNC(T2)
    }

    /// The poster's: empties the cell, whose results it has (B3).
    ///
    /// ```
    /// # use polyproc_queue::raw::board::{Cell, Phase, WIDTH};
    /// # use polyproc_sys::atomic::AtomicU64;
    /// # let words: Vec<AtomicU64> = (0..WIDTH).map(|_| AtomicU64::new(0)).collect();
    /// # let cell = Cell::new(&words).unwrap();
    /// cell.clear(5);
    /// assert_eq!(cell.look(), (5, Phase::Empty));
    /// ```
    pub fn clear(self, turn: u32) {
        self.0[STATE].store(u64::from(turn) << TURN_SHIFT | EMPTY, Release);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
fn cut(word: u64) -> u32 {
    word as u32
}
