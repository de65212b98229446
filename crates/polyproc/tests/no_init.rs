//! A program that forgot `polyproc::init()`, or calls it too late: errors that say so, and never a fork bomb. (This test
//! binary has no `init_for_tests!`; `polyproc-process` has more of such tests.)

use polyproc::{NotStarted, Pool, PoolError, Process, ProcessError, Queue, TaskError};
use polyproc_testing::watchdog;
use std::time::Duration;

/// One test, because children that do not call `init()` run all tests of this file.
#[test]
fn a_forgotten_init_is_an_error_on_both_sides() {
    if std::env::var_os(polyproc::parts::shm::BOOT_ENV).is_some() {
        // In a child: it has come to `main` and beyond, and still may not start anything.
        assert!(matches!(Process::spawn(|| {}, ()), Err(ProcessError::NotInitialised)));
        for error in [Pool::new(1).unwrap_err().to_string(), Queue::<u8>::bounded(1).unwrap_err().to_string()] {
            assert!(error.contains("call polyproc::init() first in main"), "{error}");
        }
        std::process::exit(77);
    }
    watchdog(Duration::from_secs(60), || {
        let error = Process::spawn(|| {}, ()).unwrap_err();
        assert!(matches!(error, ProcessError::NotInitialised), "{error:?}");
        assert!(error.to_string().contains("put polyproc::init() first in main"), "{error}");
        let error = Pool::new(2).unwrap_err();
        assert!(matches!(error, PoolError::Process(ProcessError::NotInitialised)), "{error:?}");
        assert!(error.to_string().contains("put polyproc::init() first in main"), "{error}");

        polyproc::init(); // too late for the children, which do not come here
        let error = Process::spawn(|| {}, ()).unwrap().join().unwrap_err();
        let ProcessError::ChildDidNotStart { why: NotStarted::Ended, status, .. } = error else { panic!("{error:?}") };
        assert_eq!(status.and_then(|s| s.code()), Some(77));
        assert!(error.to_string().contains("init(), which belongs first in main"), "{error}");

        // A pool's workers start beside each other: what keeps them is told by the tasks.
        let pool = Pool::new(2).unwrap();
        let error = pool.apply(|x: u64| x, 1).unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, PoolError::Task(TaskError::NoWorkers { .. }) | PoolError::NoWorkers(_)), "{error:?}");
        assert!(told.contains("init(), which belongs first in main"), "{told}");
        let error = pool.apply(|x: u64| x, 1).unwrap_err();
        assert!(matches!(error, PoolError::NoWorkers(_)), "{error:?}");
        assert!(error.to_string().contains("init(), which belongs first in main"), "{error}");
    });
}
