//! The command line, and the chunks that follow from it.

use crate::list::List;
use crate::number::between;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::path::PathBuf;
use std::thread;

/// As many workers as a pool may have.
const MOST_WORKERS: usize = 1024;
/// The largest chunk: its primes travel in one message.
const MOST_NUMBERS: u64 = 10_000_000;

/// Finds the primes of a range with a pool of worker processes.
///
/// The workers send what they find through a queue while they search. Killing them does not change the result.
#[derive(Debug, Parser)]
#[command(name = "primes", allow_negative_numbers = true)]
pub(crate) struct Options {
    /// The first number of the range
    #[arg(value_parser = number, default_value_t = 1, requires = "end")]
    pub(crate) start: u64,
    /// The last number of the range
    #[arg(value_parser = number, default_value_t = 100_000)]
    pub(crate) end: u64,
    /// Worker processes, 1 to 1024 [default: as many as CPUs]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<usize>,
    /// Numbers to be searched in one go, 1 to 10000000 [default: some ten milliseconds of work]
    #[arg(long, value_name = "N", value_parser = chunk)]
    chunk: Option<u64>,
    /// Writes all primes to this file, one on each line
    #[arg(long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// Does not measure how long the main process takes alone
    #[arg(long)]
    pub(crate) no_serial: bool,
}

impl Options {
    /// What the user asked for; ends the program with exit code 2 if that is nothing that can be done.
    pub(crate) fn from_command_line() -> Self {
        let options = Self::parse();
        if options.start > options.end {
            let Self { start, end, .. } = options;
            refuse(
                ErrorKind::ValueValidation,
                &format!("the range {start} to {end} is empty: give the smaller number first"),
            );
        }
        options
    }

    /// The list if one is wanted; ends the program with exit code 2 if it cannot be written.
    pub(crate) fn open_list(&self) -> Option<List> {
        let path = self.list.as_ref()?;
        match List::create(path) {
            Ok(list) => Some(list),
            Err(e) => {
                refuse(ErrorKind::Io, &format!("'{}' cannot be written: {e}; give --list another name", path.display()))
            }
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS))
    }

    /// How many numbers the range has.
    pub(crate) fn numbers(&self) -> u64 {
        (self.end - self.start).saturating_add(1) // only for showing: all 2^64 are one too many
    }

    /// Numbers in a chunk. If nothing else is asked for, many chunks for each worker, of some ten milliseconds at most, so
    /// that all workers end together, the bar moves, and little is lost with a worker.
    fn chunk(&self) -> u64 {
        self.chunk.unwrap_or_else(|| {
            let dear = (500_000_000 / self.end.isqrt().max(1)).clamp(1, 1 << 16); // a prime costs isqrt(n) / 3 divisions
            (self.numbers() / (64 * self.workers() as u64)).clamp(dear.min(1000), dear)
        })
    }

    /// The number of the last chunk.
    pub(crate) fn last_chunk(&self) -> u64 {
        (self.end - self.start) / self.chunk()
    }

    /// The chunks: number, first and last element.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        (0..=self.last_chunk()).map(|chunk| {
            let (first, last) = self.bounds(chunk);
            (chunk, first, last)
        })
    }

    /// How many numbers a chunk has.
    pub(crate) fn numbers_in(&self, chunk: u64) -> u64 {
        let (first, last) = self.bounds(chunk);
        last - first + 1
    }

    fn bounds(&self, chunk: u64) -> (u64, u64) {
        let first = self.start + chunk * self.chunk(); // at most `end`
        (first, first.saturating_add(self.chunk() - 1).min(self.end))
    }
}

fn number(text: &str) -> Result<u64, String> {
    between(text, 0, u64::MAX)
}

fn workers(text: &str) -> Result<usize, String> {
    between(text, 1, MOST_WORKERS as u64).map(|n| usize::try_from(n).expect("it is 1024 at most"))
}

fn chunk(text: &str) -> Result<u64, String> {
    between(text, 1, MOST_NUMBERS)
}

fn refuse(kind: ErrorKind, text: &str) -> ! {
    Options::command().error(kind, text).exit()
}
