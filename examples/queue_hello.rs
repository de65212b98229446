//! A child sends a text to its parent through a queue: `cargo run --example queue_hello`.
//!
//! The first queue of many tutorials of Python's `multiprocessing`, this one of a Japanese one: it prints
//! `親プロセスが受信: データを送る`, "the parent received: I send data".

use polyproc::{Process, Queue};

fn worker(q: Queue<String>) -> polyproc::Result<()> {
    q.put("データを送る".to_owned())?;
    Ok(())
}

fn main() -> polyproc::Result<()> {
    polyproc::init(); // first line of main: the child does its work here

    let q = Queue::bounded(1)?;
    let p = Process::spawn(worker, (q.clone(),))?;
    println!("親プロセスが受信: {}", q.get()?);
    p.join()?;
    Ok(())
}
