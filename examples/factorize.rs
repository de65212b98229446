//! The divisors of some numbers, found one after the other, by a process for each, and by a pool:
//! `cargo run --release --example factorize`.
//!
//! As in the tutorial that it comes from, every number up to the number itself is tried: it is to take long.

mod number;
mod progress;

use clap::Parser;
use polyproc::{Pool, Process, Queue};
use progress::Progress;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Whatever went wrong, to be printed.
type Failure = Box<dyn std::error::Error>;

/// The most numbers at a time: each has a process of its own.
const MOST: usize = 256;

/// Finds all divisors of some numbers: serially, by a process for each of them, and by a pool.
#[derive(Debug, Parser)]
#[command(name = "factorize", allow_negative_numbers = true)]
struct Options {
    /// The numbers, each from 1 to 100000000000, at most 256 of them
    #[arg(default_values_t = [53_541_233, 21_235_343, 11_421_443, 5_423_123], value_parser = number, num_args = 1..=MOST)]
    numbers: Vec<u64>,
}

fn number(text: &str) -> Result<u64, String> {
    number::between(text, 1, 100_000_000_000)
}

/// All divisors of a number.
fn factorize(number: u64) -> Vec<u64> {
    (1..=number).filter(|i| black_box(number).is_multiple_of(*i)).collect()
}

/// What a process of its own does for the number at `place`.
fn send_factors(place: usize, number: u64, results: Queue<(usize, Vec<u64>)>) -> polyproc::Result<()> {
    results.put((place, factorize(number)))?;
    Ok(())
}

fn main() -> ExitCode {
    polyproc::init(); // first line of main: processes and workers do their work here

    match run(&Options::parse().numbers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "factorize: {e}"); // nobody listens: the exit code tells
            ExitCode::FAILURE
        }
    }
}

fn run(numbers: &[u64]) -> Result<(), Failure> {
    let (lists, serial) = timed(|| serially(numbers))?;
    let (by_processes, processes) = timed(|| by_processes(numbers))?;
    let (by_pool, pool) = timed(|| by_pool(numbers))?;
    if by_processes != lists || by_pool != lists {
        return Err("the three ways found different divisors: one of them is wrong".into());
    }
    let mut out = io::stdout();
    for list in &lists {
        writeln!(out, "{list:?}")?;
    }
    writeln!(out, "serial:    took {:.3} seconds", serial.as_secs_f64())?;
    writeln!(out, "processes: took {:.3} seconds, {} of them", processes.as_secs_f64(), numbers.len())?;
    writeln!(out, "pool:      took {:.3} seconds, {} workers", pool.as_secs_f64(), numbers.len())?;
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Duration), Failure> {
    let begun = Instant::now();
    Ok((work()?, begun.elapsed()))
}

fn serially(numbers: &[u64]) -> Result<Vec<Vec<u64>>, Failure> {
    let mut progress = Progress::new("serial", "lists", numbers.iter().sum());
    let mut lists = Vec::new();
    for number in numbers {
        lists.push(factorize(*number));
        progress.show(*number, lists.len() as u64);
    }
    Ok(lists)
}

/// In Python's program the lists stay in the processes that found them; here they come back through a queue.
fn by_processes(numbers: &[u64]) -> Result<Vec<Vec<u64>>, Failure> {
    let mut progress = Progress::new("processes", "lists", numbers.iter().sum());
    let results = Queue::bounded(numbers.len())?; // room for all, so that all can be joined first
    let spawn = |(place, number)| Process::spawn(send_factors, (place, number, results.clone()));
    let children = numbers.iter().copied().enumerate().map(spawn).collect::<Result<Vec<_>, _>>()?;
    for ((child, number), done) in children.iter().zip(numbers).zip(1..) {
        let status = child.join()?;
        if !status.success() {
            return Err(format!("the process for {number} ended with {status}").into());
        }
        progress.show(*number, done);
    }
    let mut lists = vec![Vec::new(); numbers.len()];
    while let Ok((place, list)) = results.try_get() {
        lists[place] = list;
    }
    Ok(lists)
}

fn by_pool(numbers: &[u64]) -> Result<Vec<Vec<u64>>, Failure> {
    let _progress = Progress::new("pool", "lists", numbers.iter().sum()); // `map` answers when all is done
    let pool = Pool::new(numbers.len())?;
    Ok(pool.map(factorize, numbers.iter().copied())?)
}
