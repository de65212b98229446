//! Wake-ups of a pool's callers and workers without the help of the tick, which is a minute here.

use polyproc_pool::Pool;
use polyproc_testing::watchdog;
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(50);

/// For this process and, through the environment, for its children.
fn long_tick() {
    polyproc_sys::futex::set_tick(Duration::from_secs(60));
    // SAFETY: the tests of this file run one after the other (see the only test), and no thread reads the environment.
    unsafe { std::env::set_var("POLYPROC_TICK_MS", "60000") };
}

#[test]
fn nobody_waits_for_the_tick() {
    long_tick();
    // Workers between their last look and their sleep when the pool is closed.
    for _ in 0..40 {
        watchdog(LIMIT, || {
            let pool = Pool::new(6).unwrap();
            assert_eq!(pool.map_chunked(|x: u64| x, 0..48, 1).unwrap().len(), 48);
            pool.close();
            pool.join().unwrap();
        });
    }
    // Several callers, each waiting for an answer of its own.
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let barrier = std::sync::Barrier::new(6);
        std::thread::scope(|s| {
            for i in 0..6_u64 {
                let (pool, barrier) = (&pool, &barrier);
                s.spawn(move || {
                    for round in 0..2000 {
                        barrier.wait();
                        assert_eq!(pool.apply(|x: u64| x + 1, i + round).unwrap(), i + round + 1);
                    }
                });
            }
        });
    });
}
