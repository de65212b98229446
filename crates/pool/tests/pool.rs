//! What a pool does while nobody dies.

use polyproc_pool::{Pool, PoolError, TaskError};
use polyproc_shm::Buffer;
use polyproc_testing::watchdog;
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);

fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn smoke() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(square, 0..10).unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
        assert_eq!(pool.apply(square, 12).unwrap(), 144);
    });
}

#[test]
fn buffers_are_arguments_and_results() {
    watchdog(LIMIT, || {
        let pool = Pool::new(1).unwrap();
        let double = |mut buffer: Buffer| {
            buffer.iter_mut().for_each(|byte| *byte *= 2);
            buffer
        };
        for len in [0, 3, 100_000] {
            let doubled = pool.apply(double, Buffer::copy_of(&vec![4; len]).unwrap()).unwrap();
            assert_eq!(*doubled, vec![8; len]);
        }
    });
}

#[test]
fn map_keeps_the_order_for_every_chunk_size() {
    watchdog(LIMIT, || {
        let pool = Pool::new(3).unwrap();
        let expected: Vec<u64> = (0..1000).map(square).collect();
        for chunk in [1, 2, 7, 999, 1000, 5000] {
            assert_eq!(pool.map_chunked(square, 0..1000, chunk).unwrap(), expected, "chunks of {chunk}");
        }
        assert_eq!(pool.map(square, (0..1000).filter(|_| true)).unwrap(), expected, "an iterator of unknown length");
        assert_eq!(pool.map(square, []).unwrap(), [0_u64; 0]);
    });
}

#[test]
fn more_chunks_than_cells_are_answered() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let sum: u64 = pool.map_chunked(square, 0..5000, 1).unwrap().iter().sum();
        assert_eq!(sum, (0..5000).map(square).sum());
        let later: Vec<_> = (0..2000).map(|n| pool.apply_async(square, n).unwrap()).collect();
        for (n, answer) in (0..).zip(later) {
            assert_eq!(answer.get().unwrap(), square(n));
        }
    });
}

#[test]
fn all_kinds_of_values_travel() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.apply(|s: String| s.to_uppercase(), "abc".to_owned()).unwrap(), "ABC");
        assert_eq!(pool.apply(|(a, b): (i32, f64)| Some(f64::from(a) * b), (2, 1.5)).unwrap(), Some(3.0));
        assert_eq!(pool.apply(|()| 'x', ()).unwrap(), 'x');
        let big: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        assert_eq!(pool.apply(|v: Vec<u8>| v, big.clone()).unwrap(), big);
        let texts: Vec<String> = (0..100).map(|n| "x".repeat(n * 50)).collect();
        assert_eq!(pool.map(|s: String| s, texts.clone()).unwrap(), texts);
    });
}

#[test]
fn a_panic_is_its_tasks_only() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let picky = |x: u32| {
            assert_ne!(x, 5, "five is bad");
            x
        };
        let answers: Vec<_> = pool.imap_unordered(picky, 0..10).unwrap().collect();
        assert_eq!(answers.len(), 10);
        let failed: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        let [PoolError::Task(TaskError::Panicked { task: 5, message })] = &failed[..] else { panic!("{failed:?}") };
        assert!(message.contains("five is bad"), "{message}");
        match pool.map(picky, 0..10) {
            Err(PoolError::Task(e)) => assert_eq!(e.task(), 5),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn imap_unordered_takes_items_as_it_goes() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let mut taken = 0;
        let items = (0..).inspect(|_| taken += 1);
        assert_eq!(pool.imap_unordered(square, items).unwrap().take(10).count(), 10);
        assert!(taken < 1000, "an endless iterator is not used up");
    });
}

#[test]
fn bad_numbers_are_refused() {
    assert!(matches!(Pool::new(0), Err(PoolError::Workers(0))));
    assert!(matches!(Pool::new(5000), Err(PoolError::Workers(5000))));
    watchdog(LIMIT, || {
        let pool = Pool::new(1).unwrap();
        assert!(matches!(pool.map_chunked(square, 0..3, 0), Err(PoolError::Chunk)));
        assert!(matches!(pool.imap_unordered_chunked(square, 0..3, 0), Err(PoolError::Chunk)));
        assert!(matches!(pool.join(), Err(PoolError::StillOpen)));
    });
}

#[test]
fn a_closed_pool_finishes_what_it_has() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let later: Vec<_> = (0..100).map(|n| pool.apply_async(square, n).unwrap()).collect();
        pool.close();
        assert!(matches!(pool.apply(square, 1), Err(PoolError::Closed)));
        pool.join().unwrap();
        assert!(pool.pids().is_empty());
        for (n, answer) in (0..).zip(later) {
            assert_eq!(answer.get().unwrap(), square(n));
        }
    });
}

#[test]
fn a_terminated_pool_answers_what_it_did_not_finish() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let forever = |()| -> u8 {
            loop {
                std::thread::park();
            }
        };
        let mut stuck: Vec<_> = (0..10).map(|_| pool.apply_async(forever, ()).unwrap()).collect();
        assert!(!stuck[0].wait(Duration::from_millis(20)));
        pool.terminate();
        pool.join().unwrap();
        assert_eq!(stuck.remove(0).get(), Err(TaskError::Terminated { task: 0 }));
    });
}

#[test]
fn answers_outlive_the_pool() {
    watchdog(LIMIT, || {
        let pool = Pool::new(1).unwrap();
        let done = pool.apply_async(square, 3).unwrap();
        assert!(done.wait(Duration::MAX));
        drop(pool);
        assert_eq!(done.get().unwrap(), 9);
    });
}

#[test]
fn several_threads_share_a_pool() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        std::thread::scope(|s| {
            for t in 0..4_u64 {
                let pool = &pool;
                s.spawn(move || {
                    for n in 0..200 {
                        assert_eq!(pool.apply(square, t * 1000 + n).unwrap(), square(t * 1000 + n));
                    }
                });
            }
        });
    });
}

#[test]
fn an_initializer_that_fails_ends_the_pool_with_its_reason() {
    watchdog(LIMIT, || {
        let pool = Pool::builder().workers(2).initializer(|()| panic!("no database"), ()).build().unwrap();
        match pool.apply(square, 1) {
            Err(PoolError::Task(TaskError::NoWorkers { .. }) | PoolError::NoWorkers(_)) => {}
            other => panic!("{other:?}"),
        }
    });
}
