//! A child process that takes orders: it sleeps between them, so that it does not disturb what else is measured.

use core::fmt::Debug;
use core::time::Duration;
use polyproc::{Function, GetError, Process, Queue};
use serde::{Serialize, de::DeserializeOwned};
use std::process::Termination;

/// What a helper gets its orders from; `None` ends it.
pub type Orders<O> = Queue<Option<O>>;

/// A child process with two queues: orders there, answers back. It ends when this is dropped.
#[derive(Debug)]
pub struct Helper<O: Serialize + DeserializeOwned + 'static, A> {
    orders: Orders<O>,
    answers: Queue<A>,
    child: Process,
}

impl<O: Serialize + DeserializeOwned + Debug + 'static, A: Serialize + DeserializeOwned + Debug + 'static>
    Helper<O, A>
{
    /// Starts a process that runs `f` with its orders, its answers and `extra`.
    ///
    /// # Panics
    /// If it cannot be started: `polyproc::init()` must be the first line of `main`.
    pub fn start<F, X>(f: F, extra: X) -> Self
    where
        F: Function<(Orders<O>, Queue<A>, X)>,
        F::Output: Termination,
        X: Serialize + DeserializeOwned + 'static,
    {
        let (orders, answers) = (Queue::bounded(4).expect("a queue"), Queue::bounded(4).expect("a queue"));
        let child = Process::spawn(f, (orders.clone(), answers.clone(), extra)).expect("a child process");
        Self { orders, answers, child }
    }

    /// Gives an order.
    ///
    /// # Panics
    /// If the queue cannot be used.
    pub fn order(&self, order: O) {
        self.orders.put(Some(order)).expect("an order is put");
    }

    /// The answer to the oldest order that was not answered yet.
    ///
    /// # Panics
    /// If the helper died, as it does when its own checks fail.
    #[must_use]
    pub fn answer(&self) -> A {
        loop {
            match self.answers.get_timeout(Duration::from_secs(1)) {
                Ok(answer) => return answer,
                Err(GetError::TimedOut) => assert!(self.child.is_alive(), "a helper process died"),
                Err(e) => panic!("no answer from a helper: {e}"),
            }
        }
    }
}

impl<O: Serialize + DeserializeOwned + 'static, A> Drop for Helper<O, A> {
    fn drop(&mut self) {
        let _ = self.orders.put_timeout(None, Duration::from_secs(1));
        if !matches!(self.child.join_timeout(Duration::from_secs(5)), Ok(Some(_))) {
            let _ = self.child.kill();
        }
    }
}
