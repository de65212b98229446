//! 10,000 tasks while a random worker is killed every 20 ms: every task is answered once, and nothing is left behind.

use polyproc_pool::{Pool, PoolError, TaskError};
use polyproc_shm::{Family, Kind};
use polyproc_testing::{LeakCheck, watchdog};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

polyproc_process::init_for_tests!();

const TASKS: u64 = 10_000;
const PACE: Duration = Duration::from_millis(20);

/// Some 30 µs of work, so that kills find workers at work.
fn work(n: u64) -> u64 {
    let mut x = n;
    for _ in 0..40_000 {
        x = std::hint::black_box(x.rotate_left(1) ^ n);
    }
    std::hint::black_box(x);
    n * 3
}

/// Kills a worker at each beat until told to stop; how many it killed.
fn killer(pool: &Pool, stop: &Receiver<()>) -> usize {
    let (mut seed, mut killed) = (1_usize, 0);
    while stop.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
        let pids = pool.pids();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if let Some(pid) = pids.get((seed >> 33) % pids.len().max(1)) {
            let done = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            killed += usize::from(done.is_ok_and(|s| s.success()));
        }
    }
    killed
}

/// How often each value was answered, how many tasks died, how many workers were killed.
fn run(retries: u32, chunk: usize) -> (HashMap<u64, usize>, usize, usize) {
    let pool = Pool::builder().workers(2).retries(retries).build().unwrap();
    let mut values = HashMap::new();
    let mut died = 0;
    let (stop, stopped) = channel();
    let killed = Mutex::new(0);
    std::thread::scope(|s| {
        let (pool, killed) = (&pool, &killed);
        s.spawn(move || *killed.lock().unwrap() = killer(pool, &stopped));
        for answer in pool.imap_unordered_chunked(work, 0..TASKS, chunk).unwrap() {
            match answer {
                Ok(value) => *values.entry(value).or_insert(0) += 1,
                Err(PoolError::Task(TaskError::WorkerDied { task, .. })) => {
                    died += 1;
                    *values.entry(task as u64 * 3).or_insert(0) += 1;
                }
                Err(e) => panic!("{e}"),
            }
        }
        stop.send(()).unwrap();
    });
    pool.close();
    pool.join().unwrap();
    (values, died, killed.into_inner().unwrap())
}

#[test]
fn every_task_is_answered_once_and_nothing_is_left() {
    watchdog(Duration::from_secs(240), || {
        drop(Pool::new(1).unwrap()); // what a process needs once
        let family = Family::get().unwrap();
        let before = family.stats();
        let leaks = LeakCheck::start();
        for (retries, chunk) in [(0, 1), (0, 50), (1000, 1), (1000, 50)] {
            let (values, died, killed) = run(retries, chunk);
            assert_eq!(values.len() as u64, TASKS);
            assert!(values.values().all(|n| *n == 1), "answered once");
            assert!(died <= killed, "{died} tasks died with {killed} workers");
            assert!(retries == 0 || died == 0);
            println!("retries {retries}, chunks of {chunk}: {killed} workers killed, {died} tasks died with them");
        }
        leaks.finish().unwrap();
        family.reap();
        let after = family.stats();
        for kind in [Kind::Data, Kind::Cell, Kind::Board, Kind::Control, Kind::Queue, Kind::Lock] {
            assert_eq!(after.blocks(kind), before.blocks(kind), "blocks of {kind:?}");
        }
    });
}
