//! The handle of a task board: what a process pool is built on. The bytes of a cell are [`raw::board`](crate::raw::board).

use crate::contents;
use crate::error::{BoardError, QueueError, SCRIBBLED};
use crate::job::Job;
use crate::payload::{is_dead, owner};
use crate::raw::board::{ARGS, Cell, HEAD, INLINE, Phase, Place, WIDTH};
use crate::raw::queue::{IN_BLOCK, Line};
use crate::raw::ring::{NotNow, Ring, Take};
use polyproc_shm::{Block, BlockRef, Family, Kind, Message, Object, ShmError, message};
use polyproc_sync::raw::RawGate;
use polyproc_sync::raw::gate::Side;
use polyproc_sys::Deadline;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use polyproc_sys::spin::Spin;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Tasks in numbered cells: one process, the poster, fills them; workers take, work, and leave results.
///
/// Unlike the items of a queue, a task is never lost with the process that took it: the cell says which worker runs it and
/// how many of its items are finished. The poster gives each worker a number, never twice; when a worker is *proven* dead
/// (its process was waited for) the poster calls [`Board::bury`], which says what became of the tasks it ran.
///
/// A task is a head of four words, whose meaning is the poster's and the worker's, a message of arguments, which stays the
/// poster's, and a number of items, each of which leaves some bytes as its result.
///
/// # Examples
/// ```
/// use polyproc_queue::Board;
/// use polyproc_shm::{Family, Message};
/// use polyproc_sys::Deadline;
///
/// let board = Board::new(8)?;
/// let args = Message::encode(Family::get()?, &20_u64)?;
/// board.post(3, 1, [2, 0, 0, 0], &args)?;
///
/// // A worker, in another process as a rule:
/// let mut job = board.take(77, Deadline::NEVER)?.unwrap();
/// let n = u64::from_le_bytes(job.args()?.try_into().unwrap());
/// job.push(&(n * job.head()[0]).to_le_bytes())?;
/// job.finish()?;
///
/// // The poster:
/// assert_eq!(board.finished(), Some((3, 1)));
/// let results = board.collect(3, 2)?;
/// assert_eq!((results.items, results.bytes), (1, 40_u64.to_le_bytes().to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Board {
    object: Arc<Object>,
    parts: Parts,
}

/// What the items of a task have left.
///
/// ```
/// let none = polyproc_queue::Results::default();
/// assert_eq!(none.items, 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Finished items.
    pub items: u32,
    /// Their results, one behind the other.
    pub bytes: Vec<u8>,
}

/// The bytes of a board, without its cells.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct RawBoard {
    tasks_tail: Line,
    tasks_head: Line,
    done_tail: Line,
    done_head: Line,
    tasks_gate: RawGate,
    _pad: [u64; 6],
    done_gate: RawGate,
    _pad2: [u64; 6],
    /// The number of cells; written once, as `words`.
    cells: AtomicU64,
    /// 1 when no task will be posted any more.
    closed: AtomicU64,
    words: [AtomicU64; 4],
    /// How many workers have come as far as asking for a task.
    arrivals: AtomicU64,
}

const _: () = assert!(size_of::<RawBoard>() == 448);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    raw: &'static RawBoard,
    pub(crate) cells: &'static [AtomicU64],
    /// Numbers of cells that were posted; only hints, as `done`.
    tasks: Ring<'static, HINT>,
    done: Ring<'static, HINT>,
    pub(crate) words: BlockRef,
}

/// Slots of the two rings for each cell: hints of earlier turns may still be in the way.
const HINTS: usize = 4;
const HINT: usize = 2; // words of a slot
const WORDS: usize = WIDTH + 2 * HINTS * HINT; // of a cell with its share of the rings
const MOST: u64 = 1 << 16;

impl RawBoard {
    pub(crate) fn at(family: &'static Family, offset: u64) -> Result<Option<Parts>, ShmError> {
        let raw = family.at(offset, size_of::<Self>() as u64)?.cast::<Self>();
        if !raw.is_aligned() {
            return Ok(None);
        }
        // SAFETY: so many bytes from there on are mapped, for ever; they are aligned; every field is an atomic or unused.
        let raw: &'static Self = unsafe { &*raw };
        let cells = raw.cells.load(Relaxed);
        let words = BlockRef::from_words(core::array::from_fn(|i| raw.words[i].load(Relaxed)));
        if cells > MOST || words.len != cells * WORDS as u64 * 8 {
            return Ok(None);
        }
        let first = family.at(words.offset, words.len)?.cast::<AtomicU64>();
        let Some(cells) = usize::try_from(cells).ok().filter(|n| n.is_power_of_two() && first.is_aligned()) else {
            return Ok(None);
        };
        // SAFETY: so many bytes from there on are mapped, for ever, and aligned; any bits are an atomic.
        let all: &'static [AtomicU64] = unsafe { core::slice::from_raw_parts(first, cells * WORDS) };
        let (cell_words, rings) = all.split_at(cells * WIDTH);
        let (tasks, done) = rings.split_at(cells * HINTS * HINT);
        let tasks = Ring::new(&raw.tasks_head.0, &raw.tasks_tail.0, tasks, cells * HINTS);
        let done = Ring::new(&raw.done_head.0, &raw.done_tail.0, done, cells * HINTS);
        Ok(tasks.zip(done).map(|(tasks, done)| Parts { raw, cells: cell_words, tasks, done, words }))
    }
}

impl Parts {
    fn cell(&self, i: u32) -> Option<Cell<'static>> {
        self.cells.chunks_exact(WIDTH).nth(i as usize).and_then(Cell::new)
    }
}

impl Board {
    /// A board of `cells` empty cells, rounded up to a power of two; about 400 bytes each.
    ///
    /// # Errors
    /// [`QueueError::Cells`] for 0 and for more than 65,536 cells; [`QueueError::Shm`] if there is no memory.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_queue::Board::new(5)?.cells(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(cells: usize) -> Result<Self, QueueError> {
        let n = (cells > 0).then(|| cells.checked_next_power_of_two()).flatten().map(|n| n as u64);
        let n = n.filter(|n| *n <= MOST).ok_or(QueueError::Cells(cells))?;
        contents::register_board();
        let family = Family::get()?;
        let words = family.alloc(n * WORDS as u64 * 8, Kind::Data)?;
        // SAFETY: the block has `len` bytes and is this process's own.
        unsafe { words.as_ptr().write_bytes(0, usize::try_from(words.len()).unwrap_or(0)) };
        let object = Object::create(family, size_of::<RawBoard>() as u64, Kind::Board)?;
        // SAFETY: the object has as many bytes, all zero, mapped for ever and aligned; every field is an atomic or unused.
        let raw = unsafe { &*object.as_ptr().cast::<RawBoard>() };
        raw.cells.store(n, Relaxed);
        for (to, from) in raw.words.iter().zip(words.into_ref().to_words()) {
            to.store(from, Relaxed);
        }
        let gone = ShmError::ObjectGone { offset: object.offset() };
        Ok(Self::of(Arc::new(object)).filter(|board| u64::from(board.cells()) == n).ok_or(gone)?)
    }

    fn of(object: Arc<Object>) -> Option<Self> {
        let parts = RawBoard::at(object.family(), object.offset()).ok().flatten()?;
        Some(Self { object, parts })
    }

    /// The number of cells.
    ///
    /// ```
    /// assert_eq!(polyproc_queue::Board::new(8)?.cells(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most 65,536")]
    pub fn cells(&self) -> u32 {
        (self.parts.cells.len() / WIDTH) as u32
    }

    /// The poster's: puts a task into an empty cell, in a turn that the cell has not had, and tells a worker.
    ///
    /// The arguments' block must live until the cell was collected.
    ///
    /// # Errors
    /// [`BoardError`] if this thread cannot join the family.
    ///
    /// # Panics
    /// If the board has no such cell.
    ///
    /// # Examples
    /// See [`Board`].
    pub fn post(&self, cell: u32, turn: u32, head: [u64; HEAD], args: &Message) -> Result<(), BoardError> {
        let args: [u64; ARGS] = match args {
            Message::Inline { words: [a, b, c, d, e, f], len } => [u64::from(*len), *a, *b, *c, *d, *e, *f],
            Message::Block(block) => {
                let [a, b, c, d] = block.ref_().to_words();
                [IN_BLOCK, a, b, c, d, 0, 0]
            }
        };
        self.parts.cell(cell).expect("the board has the cell").post(turn, &head, &args);
        self.hint(cell, turn)
    }

    /// Tells a worker to look at a cell.
    fn hint(&self, cell: u32, turn: u32) -> Result<(), BoardError> {
        let me = owner(self.object.family().participant()?);
        let _owes = self.parts.raw.tasks_gate.announce();
        // It is full only if it holds a hint for every posted cell, and many that are out of date.
        let _ = self.parts.tasks.put(me, &[u64::from(cell) | u64::from(turn) << 32]);
        self.parts.raw.tasks_gate.ring(Side::Takers);
        Ok(())
    }

    /// The poster's: a cell and its turn that a worker has finished, if there is one. Each is told once, or, if the worker
    /// died at the wrong moment, found by [`Board::bury`].
    ///
    /// ```
    /// assert_eq!(polyproc_queue::Board::new(8)?.finished(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn finished(&self) -> Option<(u32, u32)> {
        let mut word = [0];
        let _owes = self.parts.raw.done_gate.announce();
        self.parts.done.get(&mut word, is_dead(self.object.family()), |_, _| Take::Yes).ok().map(|()| split(word[0]))
    }

    /// The poster's: sleeps until `ready` says `true`, or until `deadline`; looks whenever a worker has finished a task and
    /// whenever [`Board::wake_posters`] is called. One thread at a time: of several that wait for different answers, the
    /// wrong one may be woken.
    ///
    /// ```
    /// use polyproc_sys::Deadline;
    /// let board = polyproc_queue::Board::new(8)?;
    /// assert!(!board.wait(Deadline::PAST, || false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self, deadline: Deadline, mut ready: impl FnMut() -> bool) -> bool {
        let mut spin = Spin::new();
        loop {
            if ready() {
                return true;
            }
            if deadline.is_past() {
                return false;
            }
            if !spin.again() {
                break;
            }
        }
        let gate = &self.parts.raw.done_gate;
        let _owes = gate.announce();
        gate.wait(Side::Takers, deadline, ready, || {
            if self.parts.done.has_message(is_dead(self.object.family())) {
                gate.ring(Side::Takers);
            }
        })
    }

    /// Lets every thread that is in [`Board::wait`] look.
    ///
    /// ```
    /// polyproc_queue::Board::new(8)?.wake_posters();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wake_posters(&self) {
        let gate = &self.parts.raw.done_gate;
        let _owes = gate.announce();
        gate.ring_all(Side::Takers);
    }

    /// The turn and the phase of a cell; `None` if the board has no such cell.
    ///
    /// ```
    /// use polyproc_queue::{Board, raw::board::Phase};
    /// assert_eq!(Board::new(8)?.look(0), Some((0, Phase::Empty)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn look(&self, cell: u32) -> Option<(u32, Phase)> {
        self.parts.cell(cell).map(Cell::look)
    }

    /// The poster's: takes the results of a cell that is done, or that a buried worker left, and empties it for `next_turn`.
    ///
    /// # Errors
    /// [`BoardError`] if the results' block is not what the cell says: somebody scribbled over it.
    ///
    /// # Panics
    /// If the board has no such cell. See [`Board`] for an example.
    pub fn collect(&self, cell: u32, next_turn: u32) -> Result<Results, BoardError> {
        let cell = self.parts.cell(cell).expect("the board has the cell");
        let progress = cell.progress();
        let results = match progress.place {
            Place::Cell => {
                let bytes: Vec<u8> = cell.inline().iter().flat_map(|w| w.load(Relaxed).to_le_bytes()).collect();
                Ok(bytes[..(progress.bytes as usize).min(INLINE)].to_vec())
            }
            place => self
                .object
                .family()
                .claim(BlockRef::from_words(cell.reference(place)))
                .map(|b| copy_out(&b, progress.bytes)),
        };
        cell.clear(next_turn);
        Ok(Results { items: progress.items, bytes: results? })
    }

    /// The poster's: after the proof of the death of `worker`, finds the cells that it ran or had finished, with their
    /// turns, and tells the workers again of every cell that is still posted.
    ///
    /// Call [`Board::collect`] for each of them: the items that count are finished, the next one died with the worker unless
    /// the cell is done, the others were not begun.
    ///
    /// # Errors
    /// [`BoardError`] if this thread cannot join the family.
    ///
    /// # Examples
    /// ```
    /// use polyproc_queue::{Board, raw::board::Phase};
    /// use polyproc_shm::{Family, Message};
    /// use polyproc_sys::Deadline;
    /// let board = Board::new(8)?;
    /// board.post(3, 1, [0; 4], &Message::encode(Family::get()?, &())?)?;
    /// let mut job = board.take(77, Deadline::NEVER)?.unwrap();
    /// job.push(b"first")?;
    /// std::mem::forget(job); // worker 77 dies
    /// assert_eq!(board.bury(77)?, [(3, 1, Phase::Running(77))]);
    /// assert_eq!(board.collect(3, 2)?.items, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bury(&self, worker: u32) -> Result<Vec<(u32, u32, Phase)>, BoardError> {
        let mut word = [0];
        while self.parts.tasks.get(&mut word, is_dead(self.object.family()), |_, _| Take::Yes).is_ok() {}
        let mut found = Vec::new();
        for i in 0..self.cells() {
            match self.look(i) {
                Some((turn, Phase::Posted)) => self.hint(i, turn)?,
                Some((turn, phase @ (Phase::Running(w) | Phase::Done(w)))) if w == worker => {
                    found.push((i, turn, phase))
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The poster's: no task will be posted any more; workers that find none leave.
    ///
    /// ```
    /// let board = polyproc_queue::Board::new(8)?;
    /// board.close();
    /// assert!(board.take(1, polyproc_sys::Deadline::NEVER)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        let gate = &self.parts.raw.tasks_gate;
        let _owes = gate.announce();
        self.parts.raw.closed.store(1, Release);
        gate.ring_all(Side::Takers);
    }

    /// A worker's: says that it is ready for its first task.
    ///
    /// ```
    /// let board = polyproc_queue::Board::new(8)?;
    /// board.arrive();
    /// assert_eq!(board.arrivals(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn arrive(&self) {
        self.parts.raw.arrivals.fetch_add(1, Release);
    }

    /// How many workers have arrived so far, the dead among them: tells workers that die at work from workers that
    /// cannot even start.
    ///
    /// See [`Board::arrive`] for an example.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.parts.raw.arrivals.load(Acquire)
    }

    /// A worker's: takes a task, sleeping until `deadline` at most; `None` when the time is up, or when the board is closed
    /// and no task is posted. `worker` is the number that the poster gave this worker, below 2^30.
    ///
    /// # Errors
    /// [`BoardError`] if the board was scribbled over.
    ///
    /// # Examples
    /// See [`Board`].
    pub fn take(&self, worker: u32, deadline: Deadline) -> Result<Option<Job<'_>>, BoardError> {
        let mut spin = Spin::new();
        let mut found = Ok(None);
        let mut look = || {
            found = self.claim_next(worker);
            !matches!(found, Ok(None)) || self.parts.raw.closed.load(Acquire) != 0
        };
        let gate = &self.parts.raw.tasks_gate;
        let _may_consume_a_wake = gate.announce();
        while !look() && !deadline.is_past() {
            if !spin.again() {
                let settle = || {
                    // Closing is for all of them: each passes it on.
                    let closed = self.parts.raw.closed.load(Acquire) != 0;
                    if closed || self.parts.tasks.has_message(is_dead(self.object.family())) {
                        gate.ring(Side::Takers);
                    }
                };
                gate.wait(Side::Takers, deadline, look, settle);
                break;
            }
        }
        found.map(|found| {
            found.map(|(number, turn)| {
                let cell = self.parts.cell(number).expect("it was claimed");
                Job::new(self, cell, [number, turn, worker])
            })
        })
    }

    /// A worker's: marks its cell as done and tells the poster.
    pub(crate) fn tell_done(&self, cell: Cell<'static>, [number, turn, worker]: [u32; 3]) -> Result<(), BoardError> {
        let me = owner(self.family().participant()?);
        let _owes = self.parts.raw.done_gate.announce();
        cell.done(turn, worker);
        // There is room: every cell has at most one hint of this turn, and the poster reads those of earlier ones first.
        let _ = self.parts.done.put(me, &[u64::from(number) | u64::from(turn) << 32]);
        self.parts.raw.done_gate.ring(Side::Takers);
        Ok(())
    }

    pub(crate) fn family(&self) -> &'static Family {
        self.object.family()
    }

    fn claim_next(&self, worker: u32) -> Result<Option<(u32, u32)>, BoardError> {
        let mut word = [0];
        loop {
            match self.parts.tasks.get(&mut word, is_dead(self.object.family()), |_, _| Take::Yes) {
                Ok(()) => {
                    let (number, turn) = split(word[0]);
                    if self.parts.cell(number).is_some_and(|cell| cell.claim(turn, worker)) {
                        return Ok(Some((number, turn)));
                    } // else a hint that is out of date
                }
                Err(NotNow::Blocked) => return Ok(None),
                Err(NotNow::Scribbled) => return Err(BoardError::Broken),
            }
        }
    }
}

fn copy_out(block: &Block, len: u32) -> Vec<u8> {
    let len = u64::from(len).min(block.capacity());
    let len = usize::try_from(len).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len);
    // SAFETY: the block, which is this process's own, has `len` bytes, and `bytes` has room for them.
    unsafe { block.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
    // SAFETY: so many bytes were just written.
    unsafe { bytes.set_len(len) };
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are meant")]
fn split(hint: u64) -> (u32, u32) {
    (hint as u32, (hint >> 32) as u32)
}

impl core::fmt::Debug for Board {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Board").field("cells", &self.cells()).finish_non_exhaustive()
    }
}

impl Serialize for Board {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for Board {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        contents::register_board();
        Self::of(message::deserialize_handle(Kind::Board, size_of::<RawBoard>() as u64, deserializer)?)
            .ok_or_else(|| message::refuse_handle::<Self, _>(SCRIBBLED))
    }
}
