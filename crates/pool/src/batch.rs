//! The answers of one call, as they come in: bytes until somebody decodes them.

use crate::error::TaskError;
use crate::worker::{Failure, take_result};
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What came of some consecutive tasks of a call.
#[derive(Debug)]
pub(crate) struct Part {
    /// The first of them.
    pub(crate) first: usize,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// Results of so many tasks, one behind the other.
    Results { tasks: usize, bytes: Vec<u8> },
    /// The one task died with its worker.
    Died { pid: u32, exit: ExitStatus },
    /// So many tasks were given up.
    GivenUp { tasks: usize, why: GivenUp },
}

/// Why tasks were given up.
#[derive(Clone, Debug)]
pub(crate) enum GivenUp {
    Terminated,
    NoWorkers(String),
    Damaged(String),
}

/// The answers of one call that have come in and were not asked for yet.
#[derive(Debug, Default)]
pub(crate) struct Batch(Mutex<VecDeque<Part>>);

impl Batch {
    pub(crate) fn add(&self, first: usize, answer: Answer) {
        self.lock().push_back(Part { first, answer });
    }

    pub(crate) fn take(&self) -> Option<Part> {
        self.lock().pop_front()
    }

    pub(crate) fn has_any(&self) -> bool {
        !self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Decodes the answers, one for each task, with the task's number.
    pub(crate) fn decode<R: DeserializeOwned + 'static>(self, mut each: impl FnMut(usize, Result<R, TaskError>)) {
        let first = self.first;
        match self.answer {
            Answer::Results { tasks, bytes } => {
                let mut rest = &bytes[..];
                for task in first..first + tasks {
                    each(
                        task,
                        take_result(&mut rest).map_err(|failure| match failure {
                            Failure::Panicked(message) => TaskError::Panicked { task, message },
                            Failure::NotRun(why) => TaskError::NotRun { task, why },
                        }),
                    );
                }
            }
            Answer::Died { pid, exit } => each(first, Err(TaskError::WorkerDied { task: first, pid, exit })),
            Answer::GivenUp { tasks, why } => {
                for task in first..first + tasks {
                    each(
                        task,
                        Err(match &why {
                            GivenUp::Terminated => TaskError::Terminated { task },
                            GivenUp::NoWorkers(why) => TaskError::NoWorkers { task, why: why.clone() },
                            GivenUp::Damaged(why) => TaskError::NotRun { task, why: why.clone() },
                        }),
                    );
                }
            }
        }
    }
}
