//! The pool: what a user calls.

use crate::batch::{Batch, GivenUp};
use crate::crew::Crew;
use crate::desk::{CELLS, Chunk, Desk, State};
use crate::error::{PoolError, TaskError};
use crate::result::{AsyncResult, ImapUnordered};
use crate::worker;
use core::marker::PhantomData;
use polyproc_process::function::{self, FnRef};
use polyproc_process::{Process, ProcessError, items};
use polyproc_shm::{Family, Message, MessageError};
use polyproc_sys::{Deadline, spin};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Worker processes that run functions for whoever asks, like `multiprocessing.Pool`.
///
/// Functions are `fn` items or closures without captures of one argument; what they work on is their argument, several
/// values are a tuple. Arguments and results are serde types; handles (queues, locks) go to the workers once, as the
/// argument of an [initializer](Builder::initializer).
///
/// # When a process dies
/// A worker may be killed at any instruction: the tasks that it had finished are answered, the one that it ran is answered
/// [`TaskError::WorkerDied`], or tried again ([`Builder::retries`]), all others run elsewhere, and another worker takes its
/// place. Workers end at once when the pool's process ends, however that ends.
///
/// # Dropping
/// Dropping a pool terminates it: unfinished tasks are given up. [`Pool::close`] and [`Pool::join`] let them finish.
///
/// # Examples
/// ```
/// # polyproc_process::init_for_tests!();
/// use polyproc_pool::Pool;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { // a program calls polyproc::init() here
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(|x: u64| x * x, 0..5)?, [0, 1, 4, 9, 16]);
/// # Ok(()) }
/// ```
pub struct Pool {
    desk: Arc<Desk>,
    crew: Arc<Crew>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    workers: usize,
    retries: u32,
    /// The process that the pool belongs to: a forked child has no keeper and leaves the workers alone.
    pid: u32,
}

/// How a pool is to be ([`Pool::builder`]).
///
/// ```
/// # polyproc_process::init_for_tests!();
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = polyproc_pool::Pool::builder().workers(2).retries(3).build()?;
/// assert_eq!(pool.workers(), 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder<I = ()> {
    workers: usize,
    retries: u32,
    initializer: Option<(fn(I), I)>,
}

/// The most workers of a pool.
const MOST: usize = 1024;

impl Pool {
    /// A pool of `workers` processes.
    ///
    /// # Errors
    /// [`PoolError::Workers`] for 0 and for more than 1024 workers; [`PoolError::Process`] if `polyproc::init()` was not
    /// called first in `main`, or a process cannot be started.
    ///
    /// # Examples
    /// See [`Pool`].
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// A pool with settings: as many workers as CPUs, no retries, no initializer, unless told otherwise.
    ///
    /// See [`Builder`] for an example.
    pub fn builder() -> Builder {
        Builder { workers: spin::cpus() as usize, retries: 0, initializer: None }
    }

    /// The number of workers.
    ///
    /// See [`Builder`] for an example.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The process ids of the workers that are alive; may be others by the time you look.
    ///
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(polyproc_pool::Pool::new(2)?.pids().len(), 2);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.crew.pids()
    }

    /// Runs `f(argument)` in a worker and returns its result.
    ///
    /// # Errors
    /// [`PoolError::Task`] if the task failed; [`PoolError::Closed`]; [`PoolError::Argument`].
    ///
    /// # Examples
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = polyproc_pool::Pool::new(1)?;
    /// assert_eq!(pool.apply(|(a, b): (String, u8)| a.repeat(b.into()), ("ab".to_owned(), 2))?, "abab");
    /// # Ok(()) }
    /// ```
    pub fn apply<A, R>(&self, f: fn(A) -> R, argument: A) -> Result<R, PoolError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        Ok(self.apply_async(f, argument)?.get()?)
    }

    /// Starts `f(argument)` in a worker; its answer can be asked for later. Blocks only while 512 chunks of tasks are on
    /// their way.
    ///
    /// # Errors
    /// [`PoolError::Closed`]; [`PoolError::Argument`] if the argument cannot be encoded.
    ///
    /// # Examples
    /// See [`AsyncResult`].
    pub fn apply_async<A, R>(&self, f: fn(A) -> R, argument: A) -> Result<AsyncResult<R>, PoolError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let batch = Arc::default();
        self.calls::<A, R>(f)?.post_some(&batch, &mut core::iter::once(argument), 0, 1)?;
        Ok(AsyncResult::new(Arc::clone(&self.desk), batch))
    }

    /// Runs `f` for each item and returns the results in the order of the items. The items are handed out in chunks, four
    /// for each worker.
    ///
    /// # Errors
    /// When all tasks have ended and some have failed, the failure of the first of them; as [`Pool::apply`].
    ///
    /// # Examples
    /// See [`Pool`].
    pub fn map<A, R>(&self, f: fn(A) -> R, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, PoolError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let items = items.into_iter();
        let (least, most) = items.size_hint();
        if Some(least) == most {
            return self.map_chunked(f, items, least.div_ceil(4 * self.workers).max(1));
        }
        let items: Vec<A> = items.collect();
        let chunk = items.len().div_ceil(4 * self.workers).max(1);
        self.map_chunked(f, items, chunk)
    }

    /// As [`Pool::map`], handing out `chunk` items at a time: few for tasks that take long, many for tiny ones.
    ///
    /// # Errors
    /// As [`Pool::map`]; [`PoolError::Chunk`] for 0.
    ///
    /// # Examples
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = polyproc_pool::Pool::new(2)?;
    /// assert_eq!(pool.map_chunked(|x: i32| -x, [1, 2, 3], 1)?, [-1, -2, -3]);
    /// # Ok(()) }
    /// ```
    pub fn map_chunked<A, R>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunk: usize,
    ) -> Result<Vec<R>, PoolError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let calls = self.calls::<A, R>(f)?;
        let chunk = checked(chunk)?;
        let batch = Arc::default();
        let mut items = items.into_iter();
        let mut started = 0;
        let mut sent = Ok(());
        loop {
            match calls.post_some(&batch, &mut items, started, chunk) {
                Ok(0) => break,
                Ok(n) => started += n,
                Err(e) => {
                    sent = Err(e);
                    break;
                }
            }
        }
        let mut results: Vec<Option<R>> = core::iter::repeat_with(|| None).take(started).collect();
        let mut failed: Option<TaskError> = None;
        let mut answered = 0;
        while answered < started {
            self.desk.wait_for(&batch, Deadline::NEVER);
            while let Some(part) = batch.take() {
                part.decode(|task, result| {
                    answered += 1;
                    match result {
                        Ok(result) => results[task] = Some(result),
                        Err(e) if failed.as_ref().is_none_or(|f| f.task() > task) => failed = Some(e),
                        Err(_) => {}
                    }
                });
            }
        }
        sent?;
        match failed {
            None => Ok(results.into_iter().flatten().collect()),
            Some(e) => Err(e.into()),
        }
    }

    /// Runs `f` for each item, one at a time, and gives the answers in the order in which they come.
    ///
    /// # Errors
    /// [`PoolError::Process`] if `f` cannot be sent. Failed tasks are items of the iterator; an argument that cannot be
    /// sent ends it with an error.
    ///
    /// # Examples
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = polyproc_pool::Pool::new(2)?;
    /// let mut all: Vec<u64> = pool.imap_unordered(|x: u64| x * x, 0..100)?.collect::<Result<_, _>>()?;
    /// all.sort();
    /// assert_eq!(all[99], 99 * 99);
    /// # Ok(()) }
    /// ```
    pub fn imap_unordered<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> Result<ImapUnordered<'_, A, R, I::IntoIter>, PoolError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        self.imap_unordered_chunked(f, items, 1)
    }

    /// As [`Pool::imap_unordered`], handing out `chunk` items at a time.
    ///
    /// # Errors
    /// As [`Pool::imap_unordered`]; [`PoolError::Chunk`] for 0.
    ///
    /// # Examples
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = polyproc_pool::Pool::new(2)?;
    /// assert_eq!(pool.imap_unordered_chunked(|x: u8| x, 0..100, 10)?.count(), 100);
    /// # Ok(()) }
    /// ```
    pub fn imap_unordered_chunked<A, R, I>(
        &self,
        f: fn(A) -> R,
        items: I,
        chunk: usize,
    ) -> Result<ImapUnordered<'_, A, R, I::IntoIter>, PoolError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        Ok(ImapUnordered {
            calls: self.calls(f)?,
            items: items.into_iter(),
            chunk: checked(chunk)?,
            batch: Arc::default(),
            answers: Vec::new(),
            started: 0,
            answered: 0,
            exhausted: false,
            error: None,
        })
    }

    /// Takes no more tasks; those on their way are finished, then the workers end. Does not wait.
    ///
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = polyproc_pool::Pool::new(1)?;
    /// let last = pool.apply_async(|x: u8| x, 7)?;
    /// pool.close();
    /// assert!(pool.apply(|x: u8| x, 8).is_err());
    /// pool.join()?;
    /// assert_eq!(last.get()?, 7);
    /// # Ok(()) }
    /// ```
    pub fn close(&self) {
        self.desk.set_state(State::Closed);
        self.crew.nudge();
    }

    /// Kills the workers; unfinished tasks are answered [`TaskError::Terminated`]. Does not wait.
    ///
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = polyproc_pool::Pool::new(1)?;
    /// let stuck = pool.apply_async(|()| -> u8 { loop { std::thread::park() } }, ())?;
    /// pool.terminate();
    /// pool.join()?;
    /// assert!(stuck.get().is_err());
    /// # Ok(()) }
    /// ```
    pub fn terminate(&self) {
        self.desk.set_state(State::Over(GivenUp::Terminated));
        self.crew.kill();
        self.crew.nudge();
    }

    /// Waits until all workers have ended and every task is answered; the pool must be closed or terminated.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`].
    ///
    /// # Examples
    /// See [`Pool::close`].
    pub fn join(&self) -> Result<(), PoolError> {
        if matches!(self.desk.state(), State::Open) {
            return Err(PoolError::StillOpen);
        }
        if self.pid == std::process::id() {
            let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(keeper) = keeper.take() {
                let _ = keeper.join(); // a panic of it was printed
            }
        }
        Ok(())
    }

    fn calls<A, R>(&self, f: fn(A) -> R) -> Result<Calls<'_, A, R>, PoolError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let family = Family::get().map_err(ProcessError::from)?;
        Ok(Calls { pool: self, function: items::enter_items(f)?, family, _types: PhantomData })
    }
}

fn checked(chunk: usize) -> Result<usize, PoolError> {
    if chunk == 0 { Err(PoolError::Chunk) } else { Ok(chunk.min(u32::MAX as usize)) }
}

/// A function of a pool, ready to be called.
pub(crate) struct Calls<'a, A, R> {
    pool: &'a Pool,
    function: FnRef,
    family: &'static Family,
    _types: PhantomData<fn(A) -> R>,
}

impl<A: Serialize + DeserializeOwned + 'static, R> Calls<'_, A, R> {
    /// Posts the next `most` items; how many there were.
    pub(crate) fn post_some(
        &self,
        batch: &Arc<Batch>,
        items: &mut impl Iterator<Item = A>,
        first: usize,
        most: usize,
    ) -> Result<usize, PoolError> {
        let mut bytes = Vec::new();
        let mut count = 0_u32;
        for item in items.take(most) {
            let at = first + count as usize;
            items::push(&item, &mut bytes).map_err(|source| PoolError::Argument { task: at, source })?;
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let failed = |source: MessageError| PoolError::Argument { task: first, source };
        let args = Message::from_bytes(self.family, &bytes).map_err(failed)?;
        let (batch, retries) = (Arc::clone(batch), self.pool.retries);
        self.pool.desk.post(Chunk { batch, function: self.function, args, first, count, retries })?;
        Ok(count as usize)
    }

    /// Chunks to be on their way at once, so that workers need not wait for whoever takes the answers.
    pub(crate) fn ahead(&self) -> usize {
        (8 * self.pool.workers).clamp(32, CELLS / 2)
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.pool.desk
    }
}

impl<I> Builder<I> {
    /// How many worker processes: 1 to 1024.
    ///
    /// See [`Builder`] for an example.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How often a task whose worker died is tried again, before it is answered [`TaskError::WorkerDied`]: 0 unless told
    /// otherwise, since a task that was tried again may have done half of its work before.
    ///
    /// See [`Builder`] for an example.
    pub fn retries(mut self, times: u32) -> Self {
        self.retries = times;
        self
    }

    /// Calls `f(argument)` in every worker before its first task: to hand it queues, locks, and whatever it needs once.
    ///
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// use std::sync::OnceLock;
    /// static BASE: OnceLock<u64> = OnceLock::new();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = polyproc_pool::Pool::builder().workers(1).initializer(|base| BASE.set(base).unwrap(), 100).build()?;
    /// assert_eq!(pool.apply(|x: u64| BASE.get().unwrap() + x, 1)?, 101);
    /// # Ok(()) }
    /// ```
    pub fn initializer<J>(self, f: fn(J), argument: J) -> Builder<J> {
        Builder { workers: self.workers, retries: self.retries, initializer: Some((f, argument)) }
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// As [`Pool::new`].
    ///
    /// # Examples
    /// See [`Builder`].
    pub fn build(self) -> Result<Pool, PoolError>
    where
        I: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let workers = self.workers;
        if workers == 0 || workers > MOST {
            return Err(PoolError::Workers(workers));
        }
        let initializer = match self.initializer {
            Some((f, argument)) => Some((function::enter(f)?.to_words(), argument)),
            None => None,
        };
        let desk = Arc::new(Desk::new()?);
        let board = desk.board.clone();
        let start = move |number: u32| {
            let name = format!("PoolWorker-{number}");
            Process::builder().name(name).spawn(worker::work::<I>, (board.clone(), number, initializer.clone()))
        };
        let (crew, keeper) = Crew::new(Arc::clone(&desk), workers, Box::new(start))?;
        let (keeper, pid) = (Mutex::new(Some(keeper)), std::process::id());
        Ok(Pool { desk, crew, keeper, workers, retries: self.retries, pid })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            self.terminate();
            let _ = self.join(); // it is not open
        }
    }
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers).field("retries", &self.retries).finish_non_exhaustive()
    }
}
