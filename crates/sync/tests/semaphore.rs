//! What the handle of a semaphore does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_sync::{AcquireError, Semaphore};
use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
use polyproc_testing::watchdog;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn smoke() {
    let semaphore = Semaphore::new(2).unwrap();
    semaphore.acquire();
    let permit = semaphore.acquire_owned().unwrap();
    assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 0, .. }");
    assert!(!semaphore.try_acquire());
    assert!(matches!(semaphore.try_acquire_owned(), Err(AcquireError::TimedOut)));
    semaphore.release().unwrap();
    drop(permit);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_counted_permit_becomes_an_owned_one_and_back() {
    let semaphore = Semaphore::new(3).unwrap();
    for _ in 0..10 {
        let permits = [(); 3].map(|()| semaphore.try_acquire_owned().unwrap());
        assert!(!semaphore.try_acquire());
        drop(permits);
        for _ in 0..3 {
            assert!(semaphore.try_acquire());
        }
        assert!(semaphore.try_acquire_owned().is_err());
        semaphore.release_n(3).unwrap();
    }
}

#[test]
fn permits_are_given_back_in_any_order_while_others_are_held() {
    let (a, b) = (Semaphore::new(2).unwrap(), Semaphore::new(1).unwrap());
    let (first, other, second) = (a.acquire_owned(), b.acquire_owned(), a.acquire_owned());
    drop(first);
    drop(other);
    assert_eq!((a.available(), b.available()), (1, 1));
    drop(second);
    assert_eq!((a.available(), b.available()), (2, 1));
}

#[test]
fn a_release_too_many_is_an_error_and_adds_nothing() {
    let semaphore = Semaphore::bounded(2).unwrap();
    assert_eq!(semaphore.release().unwrap_err().limit, 2);
    let permit = semaphore.acquire_owned().unwrap(); // it counts although somebody has it
    assert_eq!(semaphore.release().unwrap_err().limit, 2);
    semaphore.acquire();
    assert!(semaphore.release_n(2).is_err());
    semaphore.release().unwrap();
    drop(permit);
    assert!(semaphore.release().is_err());
    assert_eq!(semaphore.available(), 2);

    let semaphore = Semaphore::new(u32::MAX).unwrap();
    assert_eq!(semaphore.release().unwrap_err().limit, u32::MAX);
    semaphore.acquire();
    semaphore.release().unwrap();
    semaphore.release_n(0).unwrap();
    assert_eq!(semaphore.available(), u64::from(u32::MAX));
}

#[test]
fn more_owners_than_there_is_room_for_are_an_error() {
    let semaphore = Semaphore::new(0).unwrap();
    semaphore.release_n(10).unwrap();
    let mut permits = Vec::new();
    let limit = loop {
        match semaphore.try_acquire_owned() {
            Ok(permit) => permits.push(permit),
            Err(AcquireError::NoRoom { limit }) => break limit,
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(permits.len(), limit);
    assert!(limit >= 4 && semaphore.available() == 10 - limit as u64);
    let text = semaphore.acquire_owned().unwrap_err().to_string();
    assert!(text.starts_with(&format!("{limit} permits have owners")) && text.contains("with more permits"), "{text}");
    permits.pop();
    assert!(semaphore.try_acquire_owned().is_ok());
}

#[test]
fn as_many_can_be_owned_as_there_are_permits() {
    for n in [1, 4, 5, 100, 1000, 4076] {
        let semaphore = Semaphore::new(n).unwrap();
        let permits: Vec<_> = (0..n).map(|_| semaphore.try_acquire_owned().unwrap()).collect();
        assert!(matches!(semaphore.try_acquire_owned(), Err(AcquireError::TimedOut)));
        drop(permits);
        assert_eq!(semaphore.available(), u64::from(n));
    }
}

#[test]
fn a_timeout_lasts_as_long_as_it_says() {
    let semaphore = Semaphore::new(0).unwrap();
    let time = Duration::from_millis(30);
    watchdog(LIMIT, || {
        let start = Instant::now();
        assert!(matches!(semaphore.acquire_timeout(time), Err(AcquireError::TimedOut)));
        assert!(matches!(semaphore.acquire_owned_timeout(time), Err(AcquireError::TimedOut)));
        assert!(start.elapsed() >= 2 * time);
    });
}

#[test]
fn anybody_may_release() {
    let semaphore = Semaphore::new(0).unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| semaphore.acquire());
                s.spawn(|| drop(semaphore.acquire_owned().unwrap()));
            }
            semaphore.release_n(4).unwrap();
        });
    });
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_permit_comes_back_from_a_thread_that_ended_with_it() {
    let semaphore = Semaphore::new(2).unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            let both = || std::mem::forget([semaphore.acquire_owned(), semaphore.acquire_owned()]);
            s.spawn(both).join().unwrap();
            let waiters = [s.spawn(|| semaphore.acquire()), s.spawn(|| semaphore.acquire())];
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    });
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn a_forgotten_permit_is_not_one_of_the_next_semaphore() {
    for _ in 0..100 {
        let semaphore = Semaphore::new(3).unwrap();
        assert_eq!(semaphore.available(), 3, "a fresh semaphore has what an earlier one left in its bytes");
        semaphore.acquire();
        std::mem::forget(semaphore.acquire_owned());
    }
}

#[test]
fn stress_there_are_never_more_than_the_permits() {
    const N: u64 = 10_000;
    const PERMITS: u64 = 2;
    let semaphore = Semaphore::bounded(u32::try_from(PERMITS).unwrap()).unwrap();
    let inside = AtomicU64::new(0);
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for thread in 0..4 {
                let (semaphore, inside) = (&semaphore, &inside);
                s.spawn(move || {
                    let visit = || {
                        assert!(inside.fetch_add(1, SeqCst) < PERMITS);
                        inside.fetch_sub(1, SeqCst);
                    };
                    for round in 0..N {
                        if (thread + round / 100).is_multiple_of(2) {
                            let _permit = semaphore.acquire_owned().unwrap();
                            visit();
                        } else {
                            semaphore.acquire();
                            visit();
                            semaphore.release().unwrap();
                        }
                    }
                });
            }
        });
    });
    assert_eq!(semaphore.available(), PERMITS);
}
