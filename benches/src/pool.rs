//! The pools: ours, rayon's, and Python's if there is one.

use core::time::Duration;
use polyproc::Pool;
use rayon::prelude::*;
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

/// Our pool.
///
/// # Panics
/// If it cannot be started: `polyproc::init()` must be the first line of `main`.
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

/// One task, from a thread outside of the pool, and its result.
#[must_use]
pub fn rayon_apply(pool: &rayon::ThreadPool, x: u64) -> u64 {
    pool.install(|| square(x))
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

/// From nothing to the first result of our pool; its end is not counted.
///
/// # Panics
/// As [`polyproc()`].
#[must_use]
pub fn polyproc_start() -> Duration {
    let start = Instant::now();
    let _pool = polyproc();
    start.elapsed()
}

/// The same of rayon.
#[must_use]
pub fn rayon_start() -> Duration {
    let start = Instant::now();
    let _pool = rayon();
    start.elapsed()
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
