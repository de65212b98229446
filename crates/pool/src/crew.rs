//! The workers of a pool, and the thread that watches them: it buries the dead and starts others in their place.
//!
//! The thread sleeps in `poll` on the workers' pidfds; it takes no part in the tasks.

use crate::batch::GivenUp;
use crate::desk::{Desk, State};
use crate::error::PoolError;
use polyproc_process::{Process, ProcessError};
use polyproc_sys::{Deadline, poll};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Starts the worker of a number.
pub(crate) type Start = Box<dyn Fn(u32) -> Result<Process, ProcessError> + Send + Sync>;

/// Workers in a row that may end without that any has come as far as asking for a task: then there will be none.
const MISFIRES: usize = 16;
/// How often a worker that has not started yet, or that could not be started, is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Worker {
    number: u32,
    process: Process,
}

/// See the module.
pub(crate) struct Crew {
    desk: Arc<Desk>,
    start: Start,
    size: usize,
    workers: Mutex<Workers>,
    nudge: PipeWriter,
    nudged: PipeReader,
}

#[derive(Debug, Default)]
struct Workers {
    alive: Vec<Arc<Worker>>,
    /// The number of the last worker; numbers are never used twice.
    last: u32,
}

impl Crew {
    /// Starts the workers and the thread that watches them.
    pub(crate) fn new(desk: Arc<Desk>, size: usize, start: Start) -> Result<(Arc<Self>, JoinHandle<()>), PoolError> {
        let (nudged, nudge) = std::io::pipe().map_err(PoolError::Watch)?;
        let crew = Arc::new(Self { desk, start, size, workers: Mutex::default(), nudge, nudged });
        for _ in 0..size {
            if let Err(e) = crew.hire() {
                crew.dismiss();
                return Err(e.into());
            }
        }
        let keeper = Arc::clone(&crew);
        let keeper = std::thread::Builder::new().name("pool-keeper".to_owned()).spawn(move || keeper.keep());
        match keeper {
            Ok(keeper) => Ok((crew, keeper)),
            Err(e) => {
                crew.dismiss();
                Err(PoolError::Watch(e))
            }
        }
    }

    /// Lets the keeper look at the pool's state.
    pub(crate) fn nudge(&self) {
        let _ = (&self.nudge).write(&[0]); // the reader lives as long as the writer
    }

    /// Kills all workers.
    pub(crate) fn kill(&self) {
        for worker in &self.lock().alive {
            let _ = worker.process.kill(); // dead already
        }
    }

    /// Kills all workers and waits for them, where no keeper does.
    fn dismiss(&self) {
        self.kill();
        for worker in core::mem::take(&mut self.lock().alive) {
            let _ = worker.process.join(); // how it ended is no matter
        }
    }

    /// The process ids of the workers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.lock().alive.iter().map(|w| w.process.pid()).collect()
    }

    fn hire(&self) -> Result<(), ProcessError> {
        let mut workers = self.lock();
        let number = workers.last + 1;
        let process = (self.start)(number)?;
        workers.last = number;
        workers.alive.push(Arc::new(Worker { number, process }));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keeper's life.
    fn keep(&self) {
        let (mut misfires, mut arrivals) = (0, 0);
        let mut failed = None; // why the last worker could not be had
        let mut starting = true;
        loop {
            let alive = self.lock().alive.clone();
            let deadline = if core::mem::take(&mut starting) { Deadline::after(LOOK) } else { Deadline::NEVER };
            let fds: Vec<BorrowedFd<'_>> =
                core::iter::once(self.nudged.as_fd()).chain(alive.iter().map(|w| w.process.sentinel())).collect();
            let ended = match poll::readable(&fds, deadline) {
                Ok(ended) => ended,
                Err(_) => {
                    // No memory, or more descriptors than this process may have by now: look one by one.
                    std::thread::sleep(LOOK);
                    starting = true;
                    core::iter::once(false).chain(alive.iter().map(|w| !w.process.is_alive())).collect()
                }
            };
            drop(fds);
            if ended[0] {
                let _ = (&self.nudged).read(&mut [0; 64]);
            }
            let mut died = 0;
            for (worker, _) in alive.iter().zip(&ended[1..]).filter(|(_, ended)| **ended) {
                let (exit, why) = last_words(&worker.process);
                self.lock().alive.retain(|w| w.number != worker.number);
                if let Err(e) = self.desk.bury(worker.number, worker.process.pid(), exit) {
                    self.give_up(Some(e.to_string()));
                }
                died += usize::from(!exit.success());
                let now = self.desk.board.arrivals();
                misfires = if now > arrivals { 0 } else { misfires + 1 };
                arrivals = now;
                failed = Some(why);
            }
            // A child that does not come to `init` in time is killed when somebody looks at it.
            starting |= alive.iter().any(|w| matches!(w.process.started(Duration::ZERO), Ok(false)));

            let wanted = match self.desk.state() {
                State::Open if misfires >= MISFIRES => {
                    self.give_up(failed.clone());
                    0
                }
                State::Open => self.size,
                State::Closed if self.desk.is_idle() => 0,
                State::Closed => (self.lock().alive.len() + died).clamp(1, self.size),
                State::Over(_) => {
                    self.kill();
                    0
                }
            };
            while self.lock().alive.len() < wanted {
                if let Err(e) = self.hire() {
                    if self.lock().alive.is_empty() {
                        self.give_up(Some(e.to_string()));
                    }
                    starting = true; // try again
                    break;
                }
                starting = true;
            }
            let over = match self.desk.state() {
                State::Open => None,
                State::Closed if self.desk.is_idle() => Some(GivenUp::Terminated),
                State::Closed => None,
                State::Over(why) => Some(why),
            };
            if let Some(why) = over.filter(|_| self.lock().alive.is_empty()) {
                self.desk.give_up_all(&why);
                return;
            }
        }
    }

    fn give_up(&self, why: Option<String>) {
        let why = why.unwrap_or_else(|| "none could be started".to_owned());
        self.desk.set_state(State::Over(GivenUp::NoWorkers(why)));
        self.kill();
    }
}

/// How a worker that has ended, ended.
fn last_words(process: &Process) -> (ExitStatus, String) {
    const UNKNOWN: i32 = 0xff00; // exit code 255, as `wait` would tell it
    match process.join() {
        Ok(exit) => (exit, format!("the last one ended by itself: {exit}")),
        Err(e) => {
            let exit = match &e {
                ProcessError::ChildDidNotStart { status: Some(exit), .. } if !exit.success() => *exit,
                _ => ExitStatus::from_raw(UNKNOWN),
            };
            (exit, e.to_string())
        }
    }
}

impl core::fmt::Debug for Crew {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Crew").field("size", &self.size).field("pids", &self.pids()).finish_non_exhaustive()
    }
}
