//! The pools of two workers: ours, rayon's (threads), procspawn's, and Python's if there is one; and the start of a process.

use core::time::Duration;
use polyproc::{Pool, Process};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::process::Command;
use std::time::Instant;

/// Workers of every pool.
pub const WORKERS: usize = 2;

/// The task: next to nothing, but a call, as in every pool: inlined into rayon's loop it would be vectorised.
#[must_use]
#[inline(never)]
pub fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// The task of large messages: hands back what it got.
#[must_use]
pub fn same(message: Vec<u8>) -> Vec<u8> {
    message
}

/// The time of `n` calls.
pub fn timed(n: u64, mut f: impl FnMut(u64)) -> Duration {
    let start = Instant::now();
    (0..n).for_each(&mut f);
    start.elapsed()
}

/// Our pool.
///
/// # Panics
/// If it cannot be started: [`begin`](crate::begin) must be the first line of `main`.
#[must_use]
pub fn polyproc() -> Pool {
    let pool = Pool::new(WORKERS).expect("a pool");
    assert_eq!(pool.apply(square, 12).expect("a result"), 144);
    pool
}

/// rayon's.
///
/// # Panics
/// If there are no threads to be had.
#[must_use]
pub fn rayon() -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("a pool");
    assert_eq!(rayon_apply(&pool, 12), 144);
    pool
}

/// procspawn's.
///
/// # Panics
/// As [`polyproc()`].
#[must_use]
pub fn procspawn() -> procspawn::Pool {
    let pool = procspawn::Pool::new(WORKERS).expect("a pool");
    assert_eq!(procspawn_apply(&pool, 12), 144);
    pool
}

/// One task, from a thread outside of the pool, and its result.
#[must_use]
pub fn rayon_apply(pool: &rayon::ThreadPool, x: u64) -> u64 {
    pool.install(|| square(x))
}

/// The same by procspawn.
///
/// # Panics
/// If the worker dies.
#[must_use]
pub fn procspawn_apply(pool: &procspawn::Pool, x: u64) -> u64 {
    pool.spawn(x, square).join().expect("a result")
}

/// `n` squares, in one vector.
///
/// # Panics
/// If `n` is too large for this machine.
#[must_use]
pub fn rayon_map(pool: &rayon::ThreadPool, n: u64) -> Vec<u64> {
    let n = usize::try_from(n).expect("so many fit"); // rayon knows where the results go only for `usize`
    pool.install(|| (0..n).into_par_iter().map(|x| square(x as u64)).collect())
}

/// `n` squares, each handed out alone.
///
/// # Panics
/// As [`rayon_map`].
#[must_use]
pub fn rayon_map_single(pool: &rayon::ThreadPool, n: u64) -> Vec<u64> {
    let n = usize::try_from(n).expect("so many fit");
    pool.install(|| (0..n).into_par_iter().with_max_len(1).map(|x| square(x as u64)).collect())
}

/// A copy of each message, handed out alone.
#[must_use]
pub fn rayon_messages(pool: &rayon::ThreadPool, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    pool.install(|| messages.par_iter().with_max_len(1).cloned().collect())
}

/// `n` squares by calls of procspawn, which has no map: calls of `chunk` items each, 32 under way.
///
/// # Panics
/// If a worker dies.
#[must_use]
pub fn procspawn_map(pool: &procspawn::Pool, n: u64, chunk: usize) -> Vec<u64> {
    let items: Vec<u64> = (0..n).collect();
    let calls = items.chunks(chunk).map(<[u64]>::to_vec);
    procspawn_calls(pool, calls, |items| items.into_iter().map(square).collect(), 32).concat()
}

/// The same messages back, by calls of procspawn. With more calls under way than workers it deadlocks: it sends arguments
/// before a worker takes them.
///
/// # Panics
/// If a worker dies.
#[must_use]
pub fn procspawn_messages(pool: &procspawn::Pool, messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    procspawn_calls(pool, messages.into_iter(), same, WORKERS)
}

fn procspawn_calls<T>(pool: &procspawn::Pool, calls: impl Iterator<Item = T>, f: fn(T) -> T, most: usize) -> Vec<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let (mut results, mut under_way) = (Vec::new(), VecDeque::new());
    for call in calls {
        if under_way.len() == most {
            results.extend(under_way.pop_front().map(|call: procspawn::JoinHandle<T>| call.join().expect("a result")));
        }
        under_way.push_back(pool.spawn(call, f));
    }
    results.extend(under_way.into_iter().map(|call| call.join().expect("a result")));
    results
}

/// From nothing to the first result of a pool, `n` times; its end is not counted.
#[must_use]
pub fn starts<P>(n: u64, pool: impl Fn() -> P) -> Duration {
    let start = || {
        let start = Instant::now();
        let pool = pool();
        (start.elapsed(), pool).0
    };
    (0..n).map(|_| start()).sum()
}

/// A process of ours that does nothing, from its start to its end.
///
/// # Panics
/// If it cannot be started, or fails.
pub fn polyproc_process() {
    let child = Process::spawn(|()| (), ((),)).expect("a child process");
    assert!(child.join().expect("joined").success(), "it ends well");
}

/// What tells this program to end at once.
const END: &str = "--end-at-once";

/// Ends this process if it was started by [`bare_process`].
pub(crate) fn end_if_told() {
    if std::env::args_os().nth(1).is_some_and(|a| a == END) {
        std::process::exit(0);
    }
}

/// The floor: the same program by the standard library's `Command` (which is `posix_spawn`), told to end at once.
///
/// # Panics
/// If it cannot be started, or fails.
pub fn bare_process() {
    assert!(Command::new("/proc/self/exe").arg(END).status().expect("a child process").success(), "it ends well");
}

/// How long Python's `multiprocessing.Pool` takes for `n` squares with a chunk of 1; `None` without Python.
#[must_use]
pub fn python_map_single(n: u64) -> Option<Duration> {
    const PROGRAM: &str = "\
import sys, time, multiprocessing as mp
def square(x): return x * x
if __name__ == '__main__':
    n = int(sys.argv[1])
    with mp.get_context('fork').Pool(2) as pool:
        pool.map(square, range(10), chunksize=1)
        start = time.perf_counter()
        assert pool.map(square, range(n), chunksize=1) == [x * x for x in range(n)]
        print(time.perf_counter() - start)
";
    let out = Command::new("python3").args(["-c", PROGRAM, &n.to_string()]).output().ok()?;
    let seconds: f64 = String::from_utf8(out.stdout).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs_f64(seconds))
}
