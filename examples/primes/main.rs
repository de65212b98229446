//! Finds the primes of a range with a pool of processes: `cargo run --release --example primes -- 1 100000`.
//!
//! The range is cut into chunks, each a task of the pool. A worker puts what it finds in a chunk into a queue at once, with
//! the chunk's number; the main process counts and shows what comes while it comes.
//!
//! # If a worker dies
//! The pool starts another one and tries the chunk again. If the worker had put its primes already, they come twice:
//! [`Tally`] drops the repeated chunk. So `kill -9` of workers changes nothing in the result.

mod list;
#[path = "../number.rs"]
mod number;
mod numbers;
mod options;
#[path = "../progress.rs"]
mod progress;
mod tally;

use options::Options;
use polyproc::{GetError, Pool, Queue};
use progress::Progress;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use tally::Tally;

/// What comes through the queue: a chunk's number and its primes, or `None` after the last one.
type Found = Option<(u64, Vec<u64>)>;
/// Whatever went wrong, to be printed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How often a chunk whose worker was killed is tried again.
const RETRIES: u32 = 1000;
/// How many chunks may lie in the queue before the workers wait for the main process.
const ROOM: usize = 64;
/// How long the main process waits for a message before it looks whether any can come.
const PATIENCE: Duration = Duration::from_secs(1);
/// Work that one process does before several have started is not worth sharing.
const LITTLE: Duration = Duration::from_millis(50);

/// The queue, in a worker.
static QUEUE: OnceLock<Queue<Found>> = OnceLock::new();

/// What a worker does first.
fn hand_over(queue: Queue<Found>) {
    QUEUE.get_or_init(|| queue);
}

/// A worker's task: the primes of the chunk `first..=last` go into the queue.
fn search((chunk, first, last): (u64, u64, u64)) -> Result<(), String> {
    let queue = QUEUE.get().ok_or("the worker has no queue")?;
    queue.put(Some((chunk, numbers::primes(first, last)))).map_err(|e| format!("chunk {chunk} was not sent: {e}"))
}

fn main() -> ExitCode {
    polyproc::init(); // first line of main: the workers do their work here

    match run(&Options::from_command_line()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "primes: {e}"); // nobody listens: the exit code tells
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let list = options.open_list();

    let begun = Instant::now();
    let tally = in_parallel(options, Tally::new(list))?;
    let parallel = begun.elapsed();

    let (count, last) = tally.finish()?;
    let mut out = io::stdout();
    writeln!(out, "primes from {} to {}: {count}", options.start, options.end)?;
    if !last.is_empty() {
        let last: Vec<String> = last.iter().map(u64::to_string).collect();
        writeln!(out, "the last of them: {}", last.join(" "))?;
    }
    if let Some(path) = &options.list {
        writeln!(out, "all of them: {}", path.display())?;
    }
    writeln!(out, "time: {} with {} worker processes, their start included", seconds(parallel), options.workers())?;
    if options.no_serial {
        return Ok(());
    }

    let begun = Instant::now();
    let again = alone(options);
    let serial = begun.elapsed();
    if again != count {
        return Err(format!("the serial count is {again}: one of the two is wrong").into());
    }
    writeln!(out, "serial time: {} in the main process alone", seconds(serial))?;
    writeln!(out, "speed-up: {:.2}", serial.as_secs_f64() / parallel.as_secs_f64())?;
    if serial < LITTLE {
        writeln!(out, "so little work is done before processes have started: try 1 30000000")?;
    }
    Ok(())
}

/// Counts the primes in this process, chunk by chunk as the workers do.
fn alone(options: &Options) -> u64 {
    let mut progress = Progress::new("serial", "primes", options.numbers());
    let mut count = 0;
    for (chunk, first, last) in options.chunks() {
        count += numbers::primes(first, last).len() as u64;
        progress.show(options.numbers_in(chunk), count);
    }
    count
}

/// Lets a pool search all chunks, and takes in what its workers find while they search.
fn in_parallel(options: &Options, mut tally: Tally) -> Result<Tally, Failure> {
    let queue = Queue::bounded(ROOM)?;
    let pool = Pool::builder()
        .workers(options.workers())
        .retries(RETRIES)
        .initializer(hand_over, queue.clone())
        .build()
        .map_err(|e| format!("{} worker processes cannot be started: {e}", options.workers()))?;

    // Two threads: the queue has to be emptied while answers are waited for, or workers would wait for room in it.
    thread::scope(|scope| {
        let answers = scope.spawn(|| {
            let answered = ask(&pool, options);
            queue.put(None)?; // the last message: each chunk was put before its task was answered
            answered
        });
        let taken = take_in(&queue, options, &mut tally, || answers.is_finished());
        if taken.is_err() {
            pool.terminate(); // then all tasks are answered
            while !matches!(queue.get_timeout(PATIENCE), Ok(None)) && !answers.is_finished() {} // make room
        }
        let answered = answers.join().unwrap_or_else(|_| Err("the thread that takes the answers panicked".into()));
        taken.and(answered)
    })?;
    if tally.is_complete(options.last_chunk()) { Ok(tally) } else { Err("a chunk is missing".into()) }
}

/// Has all chunks searched.
fn ask(pool: &Pool, options: &Options) -> Result<(), Failure> {
    for answer in pool.imap_unordered(search, options.chunks())? {
        answer??;
    }
    Ok(())
}

/// Counts what comes through the queue until nothing more comes.
fn take_in(
    queue: &Queue<Found>,
    options: &Options,
    tally: &mut Tally,
    is_over: impl Fn() -> bool,
) -> Result<(), Failure> {
    let mut progress = Progress::new("parallel", "primes", options.numbers());
    loop {
        match queue.get_timeout(PATIENCE) {
            Ok(Some((chunk, primes))) => {
                if tally.add(chunk, primes)? {
                    progress.show(options.numbers_in(chunk), tally.count());
                }
            }
            Ok(None) => return Ok(()),
            Err(GetError::TimedOut) if is_over() && queue.is_empty() => return Ok(()), // it could not put its `None`
            Err(GetError::TimedOut) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
