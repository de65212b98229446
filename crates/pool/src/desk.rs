//! The poster's side of the board: which cell holds which tasks of which call, and what becomes of them.
//!
//! Of the threads that wait for answers one, the leader, sleeps on the board's gate, takes in whatever comes, also for
//! others, and tells them; the followers sleep until it does, or until it leaves and one of them leads. So there is no
//! thread between a worker and a single caller.

use crate::batch::{Answer, Batch, GivenUp};
use crate::error::PoolError;
use crate::worker::head;
use polyproc_process::function::FnRef;
use polyproc_queue::raw::board::Phase;
use polyproc_queue::{Board, BoardError};
use polyproc_shm::Message;
use polyproc_sys::Deadline;
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Cells of a pool's board: as many chunks of tasks are on their way at once.
pub(crate) const CELLS: usize = 512;

/// A chunk of tasks to be run.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) batch: Arc<Batch>,
    pub(crate) function: FnRef,
    /// The arguments, one behind the other.
    pub(crate) args: Message,
    /// The number of the first task.
    pub(crate) first: usize,
    /// Tasks in it.
    pub(crate) count: u32,
    /// How often a task whose worker died is tried again.
    pub(crate) retries: u32,
}

#[derive(Debug)]
struct Posted {
    chunk: Chunk,
    turn: u32,
    /// Tasks of the chunk that need not be run any more.
    start: u32,
    /// How often the task at `start` has been tried before.
    tried: u32,
}

#[derive(Debug)]
struct Table {
    cells: Vec<Option<Posted>>,
    /// The next turn of each cell.
    turns: Vec<u32>,
    free: Vec<u32>,
    state: State,
}

/// Whether the pool takes tasks.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Open,
    Closed,
    Over(GivenUp),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) board: Board,
    table: Mutex<Table>,
    lead: Mutex<Lead>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Lead {
    /// Some thread leads.
    taken: bool,
    /// How often there was something to look at.
    round: u64,
    /// Threads that wait for the next round.
    followers: u32,
}

impl Desk {
    pub(crate) fn new() -> Result<Self, PoolError> {
        let board = Board::new(CELLS)?;
        let cells = board.cells();
        let table = Table {
            cells: (0..cells).map(|_| None).collect(),
            turns: vec![1; cells as usize],
            free: (0..cells).rev().collect(),
            state: State::Open,
        };
        Ok(Self { board, table: Mutex::new(table), lead: Mutex::default(), news: Condvar::new() })
    }

    /// Posts a chunk; sleeps while all cells are taken.
    pub(crate) fn post(&self, chunk: Chunk) -> Result<(), PoolError> {
        let mut chunk = Some(chunk);
        let mut posted = Ok(());
        self.wait(Deadline::NEVER, |table| {
            posted = match &table.state {
                State::Open => Ok(()),
                State::Closed | State::Over(GivenUp::Terminated) => Err(PoolError::Closed),
                State::Over(GivenUp::NoWorkers(why) | GivenUp::Damaged(why)) => Err(PoolError::NoWorkers(why.clone())),
            };
            if posted.is_err() {
                return true;
            }
            let Some(cell) = table.free.pop() else { return false };
            let chunk = chunk.take().expect("posted once");
            posted = self.put(table, cell, Posted { chunk, turn: 0, start: 0, tried: 0 }).map_err(PoolError::from);
            true
        });
        posted
    }

    /// Puts tasks into a free cell.
    fn put(&self, table: &mut Table, cell: u32, mut posted: Posted) -> Result<(), BoardError> {
        let turn = &mut table.turns[cell as usize];
        posted.turn = *turn;
        *turn = turn.wrapping_add(1);
        let Chunk { function, args, count, .. } = &posted.chunk;
        let told = self.board.post(cell, posted.turn, head(*function, posted.start, *count), args);
        table.cells[cell as usize] = Some(posted);
        if told.is_err() {
            self.give_up(table, cell, &GivenUp::Damaged("the board cannot be used".to_owned()));
        }
        told
    }

    /// Sleeps until `ready`, which sees the table after all answers were taken in, says `true`; or until the deadline.
    fn wait(&self, deadline: Deadline, mut ready: impl FnMut(&mut Table) -> bool) -> bool {
        let mut look = || {
            let mut table = self.lock();
            let taken = self.take_in(&mut table);
            let ready = ready(&mut table);
            drop(table);
            if taken > 0 {
                self.tell_followers(); // one of them may have been another's
            }
            ready
        };
        loop {
            let mut lead = lock(&self.lead);
            if !lead.taken {
                lead.taken = true;
                drop(lead);
                let ready = self.board.wait(deadline, look);
                lock(&self.lead).taken = false;
                self.tell_followers(); // one of them leads now
                return ready;
            }
            let round = lead.round;
            drop(lead);
            if look() {
                return true;
            }
            if deadline.is_past() {
                return false;
            }
            let mut lead = lock(&self.lead);
            lead.followers += 1;
            let old = |lead: &mut Lead| lead.taken && lead.round == round;
            match deadline.remaining() {
                None => drop(self.news.wait_while(lead, old)),
                Some(left) => drop(self.news.wait_timeout_while(lead, left, old)),
            }
            lock(&self.lead).followers -= 1;
        }
    }

    fn tell_followers(&self) {
        let mut lead = lock(&self.lead);
        lead.round = lead.round.wrapping_add(1);
        if lead.followers > 0 {
            self.news.notify_all(); // a system call
        }
    }

    /// Lets every thread that waits look.
    fn tell_all(&self) {
        self.tell_followers();
        self.board.wake_posters();
    }

    /// Sleeps until a call has an answer, or until the deadline.
    pub(crate) fn wait_for(&self, batch: &Batch, deadline: Deadline) -> bool {
        batch.has_any() || self.wait(deadline, |_| batch.has_any())
    }

    /// Takes in what the workers have finished.
    fn take_in(&self, table: &mut Table) -> u32 {
        let mut taken = 0;
        while let Some((cell, turn)) = self.board.finished() {
            let current = table.cells.get(cell as usize).and_then(Option::as_ref).is_some_and(|p| p.turn == turn);
            if current && matches!(self.board.look(cell), Some((t, Phase::Done(_))) if t == turn) {
                self.collect(table, cell, None);
                taken += 1;
            }
        }
        taken
    }

    /// Takes the results of a cell. If the worker `died`, the task it was at is tried again or answered so, and the rest of
    /// the chunk is posted again.
    fn collect(&self, table: &mut Table, cell: u32, died: Option<(u32, ExitStatus)>) {
        let Some(mut posted) = table.cells[cell as usize].take() else { return };
        let Chunk { batch, first, count, retries, .. } = &posted.chunk;
        match self.board.collect(cell, table.turns[cell as usize]) {
            Ok(results) => {
                let tasks = results.items.min(*count - posted.start);
                if tasks > 0 {
                    let answer = Answer::Results { tasks: tasks as usize, bytes: results.bytes };
                    batch.add(first + posted.start as usize, answer);
                    posted.start += tasks;
                    posted.tried = 0;
                }
            }
            Err(e) => {
                let tasks = (*count - posted.start) as usize;
                let why = GivenUp::Damaged(e.to_string());
                batch.add(first + posted.start as usize, Answer::GivenUp { tasks, why });
                posted.start = *count;
            }
        }
        if posted.start < *count {
            match died {
                Some(_) if posted.tried < *retries => posted.tried += 1,
                Some((pid, exit)) => {
                    batch.add(first + posted.start as usize, Answer::Died { pid, exit });
                    posted.start += 1;
                    posted.tried = 0;
                }
                None => {
                    let tasks = (*count - posted.start) as usize;
                    let why = GivenUp::Damaged("its worker lost count".to_owned());
                    batch.add(first + posted.start as usize, Answer::GivenUp { tasks, why });
                    posted.start = *count;
                }
            }
        }
        if posted.start < posted.chunk.count {
            let _ = self.put(table, cell, posted); // an error has been answered
        } else {
            table.free.push(cell);
        }
    }

    /// After the proof of a worker's death: what it was at is answered or tried again. Says whether it ever did anything
    /// that was not taken in before.
    pub(crate) fn bury(&self, worker: u32, pid: u32, exit: ExitStatus) -> Result<bool, BoardError> {
        let mut table = self.lock();
        self.take_in(&mut table);
        if let State::Over(_) = table.state {
            return Ok(false); // all that is left will be given up
        }
        let found = self.board.bury(worker)?;
        for (cell, turn, phase) in &found {
            if table.cells[*cell as usize].as_ref().is_some_and(|p| p.turn == *turn) {
                let died = matches!(phase, Phase::Running(_)).then_some((pid, exit));
                self.collect(&mut table, *cell, died);
            }
        }
        drop(table);
        self.tell_all();
        Ok(!found.is_empty())
    }

    /// Changes the state: a pool never opens again.
    pub(crate) fn set_state(&self, state: State) {
        let mut table = self.lock();
        if let (State::Over(_), _) | (State::Closed, State::Open | State::Closed) = (&table.state, &state) {
            return;
        }
        table.state = state;
        drop(table);
        self.board.close();
        self.tell_all();
    }

    pub(crate) fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Tasks that are on their way.
    pub(crate) fn is_idle(&self) -> bool {
        let mut table = self.lock();
        self.take_in(&mut table);
        table.cells.iter().all(Option::is_none)
    }

    /// Answers everything that is still on its way, when no worker is alive any more.
    pub(crate) fn give_up_all(&self, why: &GivenUp) {
        let mut table = self.lock();
        self.take_in(&mut table);
        for cell in 0..self.board.cells() {
            self.give_up(&mut table, cell, why);
        }
        drop(table);
        self.tell_all();
    }

    fn give_up(&self, table: &mut Table, cell: u32, why: &GivenUp) {
        if let Some(Posted { chunk, start, .. }) = table.cells[cell as usize].take() {
            let _ = self.board.collect(cell, table.turns[cell as usize]); // frees what it names
            let tasks = (chunk.count - start) as usize;
            chunk.batch.add(chunk.first + start as usize, Answer::GivenUp { tasks, why: why.clone() });
            table.free.push(cell);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
