//! What can go wrong with a pool as a whole, and with one of its tasks.

use polyproc_process::ProcessError;
use polyproc_queue::{BoardError, QueueError};
use polyproc_shm::MessageError;
use std::process::ExitStatus;

/// Why a task has no result. Each task is answered once: by its value or by one of these.
///
/// ```
/// use polyproc_pool::TaskError;
/// let e = TaskError::Panicked { task: 3, message: "no such file".into() };
/// assert_eq!(e.to_string(), "task 3 panicked: no such file");
/// assert_eq!(e.task(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker died while it ran the task, and the task was not to be tried again, or was tried often enough.
    #[error("task {task} was lost with worker process {pid} ({exit})")]
    WorkerDied {
        /// The task's number in its call.
        task: usize,
        /// The worker.
        pid: u32,
        /// How it ended: a signal as a rule, or an exit code if the task ended the process.
        exit: ExitStatus,
    },
    /// The function panicked; the worker goes on.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// The task's number in its call.
        task: usize,
        /// What the panic said.
        message: String,
    },
    /// The argument could not be decoded by the worker, or the result not encoded.
    #[error("task {task} could not be run: {why}")]
    NotRun {
        /// The task's number in its call.
        task: usize,
        /// What went wrong.
        why: String,
    },
    /// The pool was terminated, or dropped, before the task was finished.
    #[error("task {task} was not finished: the pool was terminated")]
    Terminated {
        /// The task's number in its call.
        task: usize,
    },
    /// No worker can be started any more.
    #[error("task {task} was not finished: {why}")]
    NoWorkers {
        /// The task's number in its call.
        task: usize,
        /// What became of the workers.
        why: String,
    },
}

impl TaskError {
    /// The task's number in its call: the position of its argument, from 0 on.
    ///
    /// ```
    /// assert_eq!(polyproc_pool::TaskError::Terminated { task: 5 }.task(), 5);
    /// ```
    #[must_use]
    pub fn task(&self) -> usize {
        match self {
            Self::WorkerDied { task, .. }
            | Self::Panicked { task, .. }
            | Self::NotRun { task, .. }
            | Self::Terminated { task }
            | Self::NoWorkers { task, .. } => *task,
        }
    }
}

/// Why a pool could not do what it was asked.
///
/// ```
/// use polyproc_pool::{Pool, PoolError};
/// assert!(matches!(Pool::new(0), Err(PoolError::Workers(0))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool has 1 to 1024 workers.
    #[error("a pool of {0} workers cannot be made: ask for 1 to 1024")]
    Workers(usize),
    /// A chunk holds at least one task.
    #[error("a chunk of 0 tasks cannot be run: ask for at least 1")]
    Chunk,
    /// The pool was closed or terminated: it takes no more tasks.
    #[error("the pool is closed: it takes no more tasks")]
    Closed,
    /// The pool is still open: close or terminate it before you join it.
    #[error("the pool is still open: close it or terminate it before you join it")]
    StillOpen,
    /// No worker can be started any more.
    #[error("the pool has no workers left: {0}")]
    NoWorkers(String),
    /// An argument could not be encoded, or there is no memory for it. Handles travel as arguments of the initializer.
    #[error(
        "argument {task} cannot be sent: {source} (handles do not travel with tasks: give them to Builder::initializer)"
    )]
    Argument {
        /// The argument's position.
        task: usize,
        /// Why.
        source: MessageError,
    },
    /// A task failed; where there are several, the first one.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A worker process, or a function for it, could not be had.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The pool's memory could not be had.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The pool's memory failed.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The operating system refused a thread or a pipe.
    #[error("the pool cannot watch its workers: {0}")]
    Watch(std::io::Error),
}
