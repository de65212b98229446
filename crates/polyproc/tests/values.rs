//! Values and arrays that the workers of a pool share: given to them once, by the initializer.

use polyproc::{Array, Pool, PoolError, TaskError, Value};
use polyproc_testing::watchdog;
use std::sync::OnceLock;
use std::time::Duration;

polyproc::init_for_tests!();

type Shared = (Value<[u64; 4]>, Array<u32>);

static SHARED: OnceLock<Shared> = OnceLock::new();

fn take(shared: Shared) {
    assert!(SHARED.set(shared).is_ok(), "an initializer runs once in a process");
}

/// Counts, and says in the array how often each task was begun; task 50 ends its worker in the middle.
fn count(n: u64) -> u64 {
    let (sums, begun) = SHARED.get().expect("the initializer ran before");
    let guard = begun.lock();
    let i = usize::try_from(n).expect("a small number");
    guard.set(i, guard.get(i) + 1);
    drop(guard);
    let mut sums = sums.lock();
    sums[0] += n;
    if n == 50 {
        std::process::exit(7);
    }
    sums[1..].iter_mut().for_each(|sum| *sum += n);
    n
}

#[test]
fn a_worker_that_ends_in_the_middle_leaves_no_half_value() {
    watchdog(Duration::from_secs(60), || {
        let shared = (Value::new([0; 4]).unwrap(), Array::zeroed(100).unwrap());
        let pool = Pool::builder().workers(2).initializer(take, shared.clone()).build().unwrap();
        let answers: Vec<_> = pool.imap_unordered_chunked(count, 0..100, 1).unwrap().collect();
        let died = |answer: &Result<u64, PoolError>| {
            matches!(answer, Err(PoolError::Task(TaskError::WorkerDied { task: 50, .. })))
        };
        assert_eq!(answers.len(), 100);
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 99);
        assert!(answers.iter().any(died));
        let (sums, begun) = shared;
        assert_eq!(sums.get(), [(0..100).sum::<u64>() - 50; 4], "what the dead one had not published never was");
        assert_eq!(begun.to_vec(), [1; 100]);
    });
}
