//! The thread that tells those who sleep for children that one has ended: futexes and descriptors are not waited for by
//! one call.
//!
//! It runs while anybody waits, and has ended when the last one goes on. It polls the children's pidfds, and is called by a byte in a pipe: a pipe for each change, so
//! that no caller blocks. A fork of this process has none, and starts its own.

use crate::child::Child;
use polyproc_sys::per_process::PerProcess;
use polyproc_sys::{Deadline, poll};
use std::io::{PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

static KEEPER: PerProcess<Keeper> = PerProcess::new();

#[derive(Default)]
struct Keeper {
    /// One for each wait; those that have ended leave.
    watched: Vec<Arc<Child>>,
    /// The thread, while there is one to be had.
    thread: Option<JoinHandle<()>>,
    /// Which one it is: an earlier one ends when it sees that.
    turn: u64,
    /// What calls the thread; `None` if it was called already, or has no pipe.
    bell: Option<PipeWriter>,
}

impl Keeper {
    fn call(&mut self) {
        if let Some(mut bell) = self.bell.take() {
            let _ = bell.write_all(&[1]); // the only byte of an empty pipe; fails only if the thread has gone
        }
    }
}

/// How long the thread polls at most where it has no pipe, or the kernel refuses to poll.
const SLICE: Duration = Duration::from_millis(1);

/// Has the end of `child` told. If there is no thread to be had, it is found at the tick.
pub(crate) fn watch(child: &Arc<Child>) {
    let mut keeper = KEEPER.lock();
    keeper.watched.push(Arc::clone(child));
    if keeper.thread.is_some() {
        keeper.call();
    } else {
        let (name, turn) = ("polyproc-keeper".to_owned(), keeper.turn);
        keeper.thread = std::thread::Builder::new().name(name).stack_size(128 << 10).spawn(move || run(turn)).ok();
    }
}

/// Undoes one [`watch`].
pub(crate) fn forget(child: &Arc<Child>) {
    let mut keeper = KEEPER.lock();
    let found = keeper.watched.iter().position(|c| Arc::ptr_eq(c, child));
    let gone = found.map(|at| keeper.watched.swap_remove(at));
    let mut last = None;
    if keeper.watched.is_empty() {
        last = keeper.thread.take();
        keeper.turn += 1;
        keeper.call();
    }
    drop(keeper);
    drop(gone);
    if let Some(thread) = last {
        let _ = thread.join(); // it was called, and holds no lock: it does not take long
    }
}

fn run(turn: u64) {
    while let Some((children, reader)) = next_round(turn) {
        let mut fds: Vec<_> = children.iter().map(|child| child.sentinel()).collect();
        fds.extend(reader.as_ref().map(AsFd::as_fd));
        let until = if reader.is_some() { Deadline::NEVER } else { Deadline::after(SLICE) };
        let Ok(ready) = poll::readable(&fds, until) else {
            std::thread::sleep(SLICE);
            children.iter().filter(|child| child.has_ended()).for_each(tell);
            continue;
        };
        children.iter().zip(ready).filter(|(_, ended)| *ended).for_each(|(child, _)| tell(child));
    }
}

type Round = (Vec<Arc<Child>>, Option<std::io::PipeReader>);

/// Whom to watch until the bell rings; `None` if nobody has waited since.
fn next_round(turn: u64) -> Option<Round> {
    let mut keeper = KEEPER.lock();
    if keeper.turn != turn {
        return None; // the bell is another's
    }
    let (reader, writer) = std::io::pipe().ok().unzip();
    keeper.bell = writer;
    Some((keeper.watched.clone(), reader))
}

fn tell(child: &Arc<Child>) {
    child.tell_end();
    KEEPER.lock().watched.retain(|c| !Arc::ptr_eq(c, child));
}
