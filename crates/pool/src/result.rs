//! The answer of one task that is still on its way.

use crate::batch::Batch;
use crate::desk::Desk;
use crate::error::{PoolError, TaskError};
use core::marker::PhantomData;
use core::time::Duration;
use polyproc_sys::Deadline;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The answer of a task that [`Pool::apply_async`](crate::Pool::apply_async) started.
///
/// Dropped, the task runs all the same and its answer is forgotten. It may outlive the pool: a task that was not finished
/// when the pool ended has the answer [`TaskError::Terminated`].
///
/// ```
/// # polyproc_process::init_for_tests!();
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = polyproc_pool::Pool::new(1)?;
/// let later = pool.apply_async(|x: u64| x + 1, 41)?;
/// assert_eq!(later.get()?, 42);
/// # Ok(()) }
/// ```
#[must_use = "the answer is forgotten if nobody asks for it"]
pub struct AsyncResult<R> {
    desk: Arc<Desk>,
    batch: Arc<Batch>,
    _result: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned + 'static> AsyncResult<R> {
    pub(crate) fn new(desk: Arc<Desk>, batch: Arc<Batch>) -> Self {
        Self { desk, batch, _result: PhantomData }
    }

    /// Whether the answer is there; once it is, it stays.
    ///
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = polyproc_pool::Pool::new(1)?;
    /// let later = pool.apply_async(|x: u64| x + 1, 41)?;
    /// later.wait(std::time::Duration::MAX);
    /// assert!(later.ready());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn ready(&self) -> bool {
        self.desk.wait_for(&self.batch, Deadline::PAST)
    }

    /// Sleeps until the answer is there, for `timeout` at most; says whether it is.
    ///
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pool = polyproc_pool::Pool::new(1)?;
    /// assert!(pool.apply_async(|x: u64| x + 1, 41)?.wait(std::time::Duration::MAX));
    /// # Ok(()) }
    /// ```
    pub fn wait(&self, timeout: Duration) -> bool {
        self.desk.wait_for(&self.batch, Deadline::after(timeout))
    }

    /// The answer; sleeps until it is there.
    ///
    /// # Errors
    /// [`TaskError`]: what became of the task instead.
    ///
    /// # Examples
    /// See [`AsyncResult`].
    pub fn get(self) -> Result<R, TaskError> {
        self.desk.wait_for(&self.batch, Deadline::NEVER);
        self.decode()
    }

    /// The answer; sleeps for `timeout` at most, and gives the handle back if the answer is not there then.
    ///
    /// # Errors
    /// `Err(self)` when the time is up.
    ///
    /// # Examples
    /// ```
    /// # polyproc_process::init_for_tests!();
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// # let pool = polyproc_pool::Pool::new(1)?;
    /// let later = pool.apply_async(|x: u64| x + 1, 41)?;
    /// let answer = later.get_timeout(Duration::MAX).ok().expect("for ever is long enough");
    /// assert_eq!(answer?, 42);
    /// # Ok(()) }
    /// ```
    pub fn get_timeout(self, timeout: Duration) -> Result<Result<R, TaskError>, Self> {
        if self.desk.wait_for(&self.batch, Deadline::after(timeout)) { Ok(self.decode()) } else { Err(self) }
    }

    fn decode(self) -> Result<R, TaskError> {
        let mut answer = None;
        if let Some(part) = self.batch.take() {
            part.decode(|_, result| answer = Some(result));
        }
        answer.unwrap_or_else(|| Err(TaskError::NotRun { task: 0, why: "its answer is missing".to_owned() }))
    }
}

impl<R> core::fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.batch.has_any()).finish_non_exhaustive()
    }
}

/// Answers of many tasks, in the order in which they come ([`Pool::imap_unordered`](crate::Pool::imap_unordered)).
///
/// Arguments are taken from the iterator as workers need them, some tens of chunks ahead; dropped, it takes no more, and
/// the answers on their way are forgotten.
#[must_use = "iterators are lazy: most tasks start only as answers are taken"]
pub struct ImapUnordered<'a, A, R, I> {
    pub(crate) calls: crate::pool::Calls<'a, A, R>,
    pub(crate) items: I,
    pub(crate) chunk: usize,
    pub(crate) batch: Arc<Batch>,
    /// Answers that have come, the last one first.
    pub(crate) answers: Vec<Result<R, TaskError>>,
    /// Tasks that were taken from `items`.
    pub(crate) started: usize,
    /// … and answered.
    pub(crate) answered: usize,
    /// `items` is exhausted, or could not be sent.
    pub(crate) exhausted: bool,
    /// Why an argument could not be sent; told once.
    pub(crate) error: Option<PoolError>,
}

impl<A, R, I> Iterator for ImapUnordered<'_, A, R, I>
where
    A: serde::Serialize + DeserializeOwned + 'static,
    R: serde::Serialize + DeserializeOwned + 'static,
    I: Iterator<Item = A>,
{
    type Item = Result<R, PoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(answer) = self.answers.pop() {
                return Some(answer.map_err(PoolError::from));
            }
            while !self.exhausted && self.started - self.answered < self.calls.ahead() * self.chunk {
                match self.calls.post_some(&self.batch, &mut self.items, self.started, self.chunk) {
                    Ok(0) => self.exhausted = true,
                    Ok(n) => self.started += n,
                    Err(e) => {
                        self.exhausted = true;
                        self.error = Some(e);
                    }
                }
            }
            if self.answered == self.started {
                return self.error.take().map(Err);
            }
            self.calls.desk().wait_for(&self.batch, Deadline::NEVER);
            while let Some(part) = self.batch.take() {
                part.decode(|_, answer| {
                    self.answered += 1;
                    self.answers.push(answer);
                });
            }
            self.answers.reverse();
        }
    }
}

impl<A, R, I> core::fmt::Debug for ImapUnordered<'_, A, R, I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("started", &self.started)
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}
