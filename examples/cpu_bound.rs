//! Work for the CPU alone, done serially, by threads, by processes and by a pool, side by side:
//! `cargo run --release --example cpu_bound`.
//!
//! In Python threads gain nothing here, since one lock is held around all of its code. Rust has no such lock: threads and
//! processes are as fast as each other, and what processes add is that one of them may die without the others.

mod number;
mod progress;

use clap::Parser;
use polyproc::{Pool, Process, Queue};
use progress::Progress;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Whatever went wrong, to be printed.
type Failure = Box<dyn std::error::Error>;

/// The most tasks: each is a process.
const MOST_TASKS: u64 = 256;
/// As many workers as a pool may have.
const MOST_WORKERS: usize = 1024;
/// The most numbers: their sum is a `u64`.
const MOST_NUMBERS: u64 = 4_000_000_000;

/// Does the same work serially, by threads, by processes and by a pool of processes, and compares the times.
#[derive(Debug, Parser)]
#[command(name = "cpu_bound", allow_negative_numbers = true)]
struct Options {
    /// How many tasks there are, 1 to 256: each is a thread, then a process, then a task of the pool
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = tasks)]
    tasks: usize,
    /// The numbers that a task adds up, 1 to 4000000000
    #[arg(long, value_name = "N", default_value_t = 50_000_000, value_parser = numbers)]
    numbers: u64,
    /// Worker processes of the pool, 1 to 1024 [default: as many as CPUs]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<usize>,
}

fn tasks(text: &str) -> Result<usize, String> {
    number::between(text, 1, MOST_TASKS).map(|n| usize::try_from(n).expect("it is 256 at most"))
}

fn numbers(text: &str) -> Result<u64, String> {
    number::between(text, 1, MOST_NUMBERS)
}

fn workers(text: &str) -> Result<usize, String> {
    number::between(text, 1, MOST_WORKERS as u64).map(|n| usize::try_from(n).expect("it is 1024 at most"))
}

/// Adds up the numbers below `n`, one after the other.
fn heavy_computation(n: u64) -> u64 {
    let mut sum = 0;
    for i in 0..n {
        sum = black_box(sum + i); // or the compiler would know the sum
    }
    sum
}

/// What a process of its own does.
fn send_sum(n: u64, sums: Queue<u64>) -> polyproc::Result<()> {
    sums.put(heavy_computation(n))?;
    Ok(())
}

fn main() -> ExitCode {
    polyproc::init(); // first line of main: processes and workers do their work here

    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "cpu_bound: {e}"); // nobody listens: the exit code tells
            ExitCode::FAILURE
        }
    }
}

/// A way to do the work: gives as many sums as there are tasks.
type Way = fn(&Options, Progress) -> Result<Vec<u64>, Failure>;

fn run(options: &Options) -> Result<(), Failure> {
    let ways: [(&str, Way); 4] =
        [("serial", serially), ("threads", by_threads), ("processes", by_processes), ("pool", by_pool)];
    let right = options.numbers * (options.numbers - 1) / 2;
    let mut times = Vec::new();
    for (name, way) in ways {
        let progress = Progress::new(name, "sums", options.tasks as u64);
        let begun = Instant::now();
        let sums = way(options, progress)?;
        times.push((name, begun.elapsed()));
        if sums != vec![right; options.tasks] {
            return Err(format!("{name}: the sums are {sums:?}, and each should be {right}").into());
        }
    }
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut out = io::stdout();
    writeln!(out, "{} tasks, each adds up the numbers below {}: {right}", options.tasks, options.numbers)?;
    writeln!(out, "{cpus} CPUs, {} workers in the pool", options.workers())?;
    writeln!(out)?;
    writeln!(out, "{:<10} {:>10} {:>9}", "way", "time", "speed-up")?;
    let serial = times[0].1;
    for (name, time) in times {
        let gain = serial.as_secs_f64() / time.as_secs_f64();
        writeln!(out, "{name:<10} {:>10} {gain:>9.2}", seconds(time))?;
    }
    Ok(())
}

impl Options {
    fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS))
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

fn serially(options: &Options, mut progress: Progress) -> Result<Vec<u64>, Failure> {
    let mut sums = Vec::new();
    for done in 1..=options.tasks {
        sums.push(heavy_computation(options.numbers));
        progress.show(1, done as u64);
    }
    Ok(sums)
}

fn by_threads(options: &Options, mut progress: Progress) -> Result<Vec<u64>, Failure> {
    thread::scope(|scope| {
        let (sender, sums) = mpsc::channel();
        for _ in 0..options.tasks {
            let sender = sender.clone();
            thread::Builder::new().spawn_scoped(scope, move || sender.send(heavy_computation(options.numbers)))?;
        }
        drop(sender); // the channel ends with the last thread
        Ok(sums.into_iter().zip(1..).inspect(|(_, done)| progress.show(1, *done)).map(|(sum, _)| sum).collect())
    })
}

fn by_processes(options: &Options, mut progress: Progress) -> Result<Vec<u64>, Failure> {
    let sums = Queue::bounded(options.tasks)?; // room for all, so that all can be joined first
    let spawn = |_| Process::spawn(send_sum, (options.numbers, sums.clone()));
    let children = (0..options.tasks).map(spawn).collect::<Result<Vec<_>, _>>()?;
    for (child, done) in children.iter().zip(1..) {
        let status = child.join()?;
        if !status.success() {
            return Err(format!("{} ended with {status}", child.name()).into());
        }
        progress.show(1, done);
    }
    Ok(std::iter::from_fn(|| sums.try_get().ok()).collect())
}

fn by_pool(options: &Options, mut progress: Progress) -> Result<Vec<u64>, Failure> {
    let pool = Pool::new(options.workers())?;
    let tasks = (0..options.tasks).map(|_| options.numbers);
    let mut sums = Vec::new();
    for sum in pool.imap_unordered(heavy_computation, tasks)? {
        sums.push(sum?);
        progress.show(1, sums.len() as u64);
    }
    Ok(sums)
}
