//! A large array of numbers that several processes add up without copying it to them:
//! `cargo run --release --example big_array`.
//!
//! The array lies in the memory that all processes share: what travels to a child is its handle, some bytes. Each child adds
//! up a range of its own, in blocks that it reads into a small buffer, and leaves its sum in another array.

mod number;
mod progress;

use clap::Parser;
use polyproc::{Array, Process};
use progress::Progress;
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Whatever went wrong, to be printed.
type Failure = Box<dyn std::error::Error>;

/// The most numbers: 8 GB.
const MOST_NUMBERS: u64 = 1_000_000_000;
const MOST_WORKERS: u64 = 256;
/// Numbers that are read at once: they stay in the fastest cache.
const BLOCK: usize = 2048;

/// Adds up a large array of numbers by several processes that share it, and compares the times.
#[derive(Debug, Parser)]
#[command(name = "big_array", allow_negative_numbers = true)]
struct Options {
    /// How many numbers the array has, of 8 bytes each, 1 to 1000000000
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = numbers)]
    numbers: usize,
    /// How often they are added up, 1 to 1000: in the first round a process pays for its first touch of each page
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = rounds)]
    rounds: usize,
    /// Processes that add, 1 to 256 [default: as many as CPUs]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<usize>,
}

fn numbers(text: &str) -> Result<usize, String> {
    number::between(text, 1, MOST_NUMBERS).map(|n| usize::try_from(n).expect("addresses have 64 bits"))
}

fn rounds(text: &str) -> Result<usize, String> {
    number::between(text, 1, 1000).map(|n| usize::try_from(n).expect("it is 1000 at most"))
}

fn workers(text: &str) -> Result<usize, String> {
    number::between(text, 1, MOST_WORKERS).map(|n| usize::try_from(n).expect("it is 256 at most"))
}

/// Number `i` of the array. Whole numbers below 2^53 are added without an error, in whatever order.
fn item(i: usize) -> f64 {
    (i % 1000) as f64
}

/// What the sum should be.
fn right(n: usize) -> f64 {
    let (rounds, rest) = (n / 1000, n % 1000);
    (rounds * 499_500 + rest * rest.saturating_sub(1) / 2) as f64
}

/// Adds up a range of the array, so many times.
fn sum(array: &Array<f64>, range: Range<usize>, rounds: usize) -> f64 {
    let mut block = [0.0; BLOCK];
    let mut sum = 0.0;
    for start in (0..rounds).flat_map(|_| range.clone().step_by(BLOCK)) {
        let here = start..range.end.min(start + BLOCK);
        let block = &mut block[..here.len()];
        array.read(here, block);
        sum += block.iter().sum::<f64>();
    }
    sum
}

/// What child `i` of `n` does, for its part of the array.
fn add_part(array: Array<f64>, sums: Array<f64>, rounds: usize, (i, n): (usize, usize)) {
    let part = |i: usize| array.len() / n * i + (array.len() % n).min(i);
    sums.set(i, sum(&array, part(i)..part(i + 1), rounds));
}

fn main() -> ExitCode {
    polyproc::init(); // first line of main: processes do their work here

    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "big_array: {e}"); // nobody listens: the exit code tells
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let (n, rounds) = (options.numbers, options.rounds);
    let array = fill(n)?;

    let begun = Instant::now();
    let serial = sum(&array, 0..n, rounds);
    let alone = begun.elapsed();

    let workers = options.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(256));
    let begun = Instant::now();
    let parallel = in_parallel(&array, rounds, workers)?;
    let together = begun.elapsed();

    let mut out = io::stdout();
    writeln!(out, "{n} numbers, {} MB in shared memory", (n * 8).div_ceil(1_000_000))?;
    writeln!(out, "sum of {rounds} rounds: {parallel}")?;
    writeln!(out, "serial time: {} in the main process alone", seconds(alone))?;
    writeln!(out, "time: {} with {workers} processes, their start included", seconds(together))?;
    writeln!(out, "speed-up: {:.2}", alone.as_secs_f64() / together.as_secs_f64())?;
    let right = right(n) * rounds as f64;
    if serial != right || parallel != right {
        return Err(format!("the sums are {serial} and {parallel}, and should be {right}").into());
    }
    Ok(())
}

/// Makes the array, block by block.
fn fill(n: usize) -> Result<Array<f64>, Failure> {
    let array = Array::zeroed(n).map_err(|e| format!("{n} numbers cannot be had: {e}; give --numbers less"))?;
    let mut progress = Progress::new("filling", "numbers", n as u64);
    let guard = array.lock();
    for start in (0..n).step_by(1 << 16) {
        let range = start..n.min(start + (1 << 16));
        let block: Vec<f64> = range.clone().map(item).collect();
        guard.write(range.clone(), &block);
        progress.show(range.len() as u64, range.end as u64);
    }
    drop(guard);
    Ok(array)
}

/// Lets a process add up each part.
fn in_parallel(array: &Array<f64>, rounds: usize, workers: usize) -> Result<f64, Failure> {
    let sums = Array::zeroed(workers)?;
    let spawn = |i| Process::spawn(add_part, (array.clone(), sums.clone(), rounds, (i, workers)));
    let children = (0..workers).map(spawn).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        let status = child.join()?;
        if !status.success() {
            return Err(format!("{} ended with {status}", child.name()).into());
        }
    }
    Ok(sums.iter().sum())
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
