//! What the guidelines of Python's `multiprocessing` warn of, and what simply works here:
//! `cargo run --example join_before_get`.
//!
//! There, a process that has put something large does not end before somebody takes it: "this deadlocks", say the
//! guidelines of a `join` before the `get`. Here an item lies in shared memory when `put` returns, and no thread of the
//! child has to feed a pipe.
//!
//! The guidelines' second advice holds here as well, and the compiler gives it: what children share is an argument of
//! theirs, never a global variable.

use polyproc::{Lock, Process, Queue};
use std::io::{self, Write};
use std::process::ExitCode;

/// Puts a million bytes and ends.
fn f(q: Queue<String>) -> polyproc::Result<()> {
    q.put("X".repeat(1_000_000))?;
    Ok(())
}

/// Prints a line in two steps that belong together.
fn g(lock: Lock, n: u32) -> io::Result<()> {
    let _guard = lock.lock();
    let mut out = io::stdout();
    write!(out, "child {n} has ")?;
    out.flush()?;
    writeln!(out, "the lock")
}

fn main() -> polyproc::Result<ExitCode> {
    polyproc::init(); // first line of main: the children do their work here

    let queue = Queue::bounded(1)?;
    let p = Process::spawn(f, (queue.clone(),))?;
    let status = p.join()?; // in Python, this deadlocks
    let obj = queue.get()?;
    println!("the child has ended with {status}, and its {} bytes are here", obj.len());

    let lock = Lock::new()?;
    let children = (0..10).map(|n| Process::spawn(g, (lock.clone(), n))).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        if !child.join()?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
