//! CPython's own tests of locks and semaphores, by their names (`_TestLock`, `_TestSemaphore`).
//!
//! What is a second release there does not compile here where guards release; where it can be written it is an error.
#![cfg(not(polyproc_loom))]

use polyproc_process::Process;
use polyproc_sync::{AcquireError, Lock, RLock, Semaphore};
use polyproc_testing::watchdog;
use std::time::{Duration, Instant};

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a function that panics where it finds something wrong, in another process.
fn in_child<A>(function: fn(A), argument: A)
where
    A: serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    assert!(Process::spawn(function, (argument,)).unwrap().join().unwrap().success());
}

#[test]
fn test_lock() {
    watchdog(LIMIT, || {
        let lock = Lock::new().unwrap();
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        in_child(|lock: Lock| assert!(lock.try_lock().is_none()), lock.clone());
        drop(guard);
        in_child(|lock: Lock| assert!(lock.try_lock().is_some()), lock.clone());
        assert!(lock.try_lock().is_some());
    });
}

#[test]
fn test_rlock() {
    watchdog(LIMIT, || {
        let lock = RLock::new().unwrap();
        let mut guards: Vec<_> = (0..3).map(|_| lock.lock()).collect();
        while let Some(guard) = guards.pop() {
            in_child(|lock: RLock| assert!(lock.try_lock().is_none()), lock.clone());
            drop(guard);
        }
        in_child(|lock: RLock| assert!(lock.try_lock().is_some()), lock.clone());
    });
}

#[test]
fn test_lock_context() {
    let lock = Lock::new().unwrap();
    {
        let _guard = lock.lock();
    }
    assert!(lock.try_lock().is_some());
}

fn two_permits(semaphore: &Semaphore) {
    assert_eq!(semaphore.available(), 2);
    semaphore.acquire();
    assert_eq!(semaphore.available(), 1);
    semaphore.acquire();
    assert_eq!(semaphore.available(), 0);
    assert!(!semaphore.try_acquire());
    assert_eq!(semaphore.available(), 0);
    semaphore.release().unwrap();
    assert_eq!(semaphore.available(), 1);
    semaphore.release().unwrap();
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn test_semaphore() {
    watchdog(LIMIT, || {
        let semaphore = Semaphore::new(2).unwrap();
        two_permits(&semaphore);
        in_child(|semaphore: Semaphore| two_permits(&semaphore), semaphore.clone());
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), 3);
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), 4);
    });
}

#[test]
fn test_bounded_semaphore() {
    watchdog(LIMIT, || {
        let semaphore = Semaphore::bounded(2).unwrap();
        two_permits(&semaphore);
        in_child(|semaphore: Semaphore| two_permits(&semaphore), semaphore.clone());
        assert!(semaphore.release().is_err());
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn test_timeout() {
    watchdog(LIMIT, || {
        let semaphore = Semaphore::new(0).unwrap();
        assert!(!semaphore.try_acquire());
        for timeout in [Duration::ZERO, Duration::from_millis(82), Duration::from_millis(35)] {
            let start = Instant::now();
            assert!(matches!(semaphore.acquire_timeout(timeout), Err(AcquireError::TimedOut)));
            assert!(start.elapsed() >= timeout);
        }
    });
}
