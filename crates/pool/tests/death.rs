//! What a pool does when workers die.

use polyproc_pool::{Pool, PoolError, TaskError};
use polyproc_testing::watchdog;
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);

fn kill_me() {
    let me = std::process::id().to_string();
    std::process::Command::new("kill").args(["-KILL", &me]).status().expect("there is a kill command");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_worker_costs_its_running_task_only() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let deadly = |n: u32| {
            if n == 17 {
                kill_me();
            }
            n
        };
        for chunk in [1, 10, 40] {
            let answers: Vec<_> = pool.imap_unordered_chunked(deadly, 0..40, chunk).unwrap().collect();
            assert_eq!(answers.len(), 40, "chunks of {chunk}: every task is answered once");
            let values: HashSet<u32> = answers.iter().filter_map(|a| a.as_ref().ok().copied()).collect();
            assert_eq!(values, (0..40).filter(|n| *n != 17).collect(), "chunks of {chunk}");
            match answers.iter().find_map(|a| a.as_ref().err()) {
                Some(PoolError::Task(TaskError::WorkerDied { task: 17, exit, .. })) => {
                    assert_eq!(exit.signal(), Some(9))
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pool.apply(|n: u8| n, 5).unwrap(), 5, "another took its place");
    });
}

#[test]
fn a_task_that_ends_its_process_is_told_with_the_exit_code() {
    watchdog(LIMIT, || {
        let pool = Pool::new(1).unwrap();
        match pool.apply(|code: i32| -> () { std::process::exit(code) }, 7) {
            Err(PoolError::Task(TaskError::WorkerDied { exit, .. })) => assert_eq!(exit.code(), Some(7)),
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.apply(|n: u8| n, 5).unwrap(), 5);
    });
}

#[test]
fn a_task_that_kills_its_worker_once_is_tried_again() {
    watchdog(LIMIT, || {
        let dir = std::env::temp_dir().join(format!("polyproc-pool-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let pool = Pool::builder().workers(2).retries(1).build().unwrap();
        let once = |path: String| {
            if std::fs::File::create_new(path).is_ok() {
                kill_me(); // the first time
            }
            "survived".to_owned()
        };
        let path = dir.join("tried").to_str().unwrap().to_owned();
        assert_eq!(pool.apply(once, path).unwrap(), "survived");
        std::fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn a_task_that_always_kills_its_worker_is_given_up_after_its_retries() {
    watchdog(LIMIT, || {
        let pool = Pool::builder().workers(1).retries(3).build().unwrap();
        match pool.apply(|()| kill_me(), ()) {
            Err(PoolError::Task(TaskError::WorkerDied { task: 0, .. })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.apply(|n: u8| n, 5).unwrap(), 5);
    });
}

#[test]
fn a_closed_pool_outlives_a_death() {
    watchdog(LIMIT, || {
        let pool = Pool::new(1).unwrap();
        let last = pool.apply_async(|()| kill_me(), ()).unwrap();
        let later: Vec<_> = (0..10).map(|n: u8| pool.apply_async(|n: u8| n, n).unwrap()).collect();
        pool.close();
        pool.join().unwrap();
        assert!(matches!(last.get(), Err(TaskError::WorkerDied { .. })));
        for (n, answer) in (0..).zip(later) {
            assert_eq!(answer.get().unwrap(), n);
        }
    });
}

#[test]
fn workers_that_end_before_their_first_task_end_the_pool() {
    watchdog(LIMIT, || {
        let ways: [fn(u8); 3] = [|_| std::process::abort(), |_| std::process::exit(0), |_| panic!("no database")];
        for way in ways {
            let pool = Pool::builder().workers(2).initializer(way, 0).build().unwrap();
            match pool.apply(|n: u8| n, 1) {
                Err(PoolError::Task(TaskError::NoWorkers { .. }) | PoolError::NoWorkers(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}
