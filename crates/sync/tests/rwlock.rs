//! What the handle of a lock with readers and writers does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_sync::{LockError, RwLock};
use polyproc_sys::atomic::{AtomicU32, Ordering::SeqCst};
use polyproc_sys::robust;
use polyproc_testing::watchdog;
use std::cell::UnsafeCell;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn smoke() {
    let lock = RwLock::new().unwrap();
    let (one, two) = (lock.read(), lock.try_read().unwrap());
    assert!(format!("{lock:?}").starts_with("RwLock { writer: None, readers: 1, "));
    assert!(lock.try_write().is_none());
    drop((one, two));
    let writer = lock.write();
    assert!(!writer.recovered());
    assert!(lock.try_read().is_none() && lock.try_write().is_none());
    assert!(format!("{lock:?}").contains(&robust::thread_id().to_string()));
    drop(writer);
    assert!(format!("{lock:?}").starts_with("RwLock { writer: None, readers: 0, "));
    assert!(lock.try_read().is_some());
}

#[test]
fn the_same_thread_is_told_instead_of_waiting_for_ever() {
    let (a, b) = (RwLock::new().unwrap(), RwLock::new().unwrap());
    let reads = a.read();
    assert_eq!(a.write_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    let writes = b.write();
    assert_eq!(a.write_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    assert_eq!(b.write_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    assert_eq!(b.read_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    drop(reads);
    assert_eq!(b.read_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    drop(writes);
    assert!(a.try_write().is_some() && b.try_write().is_some());
}

/// Each asks while the other reads, so one of them comes to the other's cell before its own.
#[test]
fn a_reader_is_told_whoever_else_reads() {
    let (lock, meet) = (RwLock::new().unwrap(), Barrier::new(2));
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for me in 0..2 {
                let (lock, meet) = (&lock, &meet);
                s.spawn(move || {
                    let _reads = lock.read();
                    for turn in 0..2 {
                        meet.wait();
                        if turn == me {
                            assert_eq!(lock.write_timeout(Duration::ZERO).unwrap_err(), LockError::Mine);
                            assert_eq!(lock.write_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
                        }
                    }
                    meet.wait();
                });
            }
        });
    });
    assert!(lock.try_write().is_some());
}

/// Waits until somebody wants to write.
fn until_wanted(lock: &RwLock) {
    std::thread::scope(|s| {
        s.spawn(|| while lock.try_read().is_some() {});
    });
}

#[test]
fn a_writer_who_waits_keeps_new_readers_out_but_none_that_reads_already() {
    let lock = RwLock::new().unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            let first = lock.read();
            let writer = s.spawn(|| drop(lock.write()));
            until_wanted(&lock);
            let second = lock.read(); // nested: no deadlock with the writer
            let third = lock.read_timeout(Duration::MAX).unwrap();
            assert_eq!(lock.write_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
            drop(first);
            until_wanted(&lock);
            drop(third);
            until_wanted(&lock);
            drop(second);
            writer.join().unwrap();
        });
    });
    assert!(lock.try_read().is_some());
}

#[test]
fn a_writer_whose_time_is_up_lets_readers_in() {
    let lock = RwLock::new().unwrap();
    let _reads = lock.read();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            s.spawn(|| {
                let start = Instant::now();
                assert_eq!(lock.write_timeout(Duration::from_millis(30)).unwrap_err(), LockError::TimedOut);
                assert!(start.elapsed() >= Duration::from_millis(30));
                assert!(lock.try_read().is_some());
            });
        });
    });
}

#[test]
fn a_timeout_lasts_as_long_as_it_says() {
    let lock = RwLock::new().unwrap();
    let _writes = lock.write();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            s.spawn(|| {
                let start = Instant::now();
                assert_eq!(lock.read_timeout(Duration::from_millis(30)).unwrap_err(), LockError::TimedOut);
                assert_eq!(lock.write_timeout(Duration::from_millis(30)).unwrap_err(), LockError::TimedOut);
                assert!(start.elapsed() >= Duration::from_millis(60));
            });
        });
    });
}

/// Ends a thread that has the lock to write.
fn a_writer_dies(lock: &RwLock) {
    std::thread::scope(|s| {
        s.spawn(|| std::mem::forget(lock.write()));
    });
}

#[test]
fn a_dead_writer_is_told_of_to_readers_until_a_writer_has_come() {
    let lock = RwLock::new().unwrap();
    watchdog(LIMIT, || {
        a_writer_dies(&lock);
        for _ in 0..3 {
            assert!(lock.read().recovered()); // waits for the kernel's mark, a moment after the thread was joined
            assert!(lock.read_checked().unwrap_err().owner_died().unwrap().into_guard().recovered());
        }
        assert!(lock.write().recovered());
        assert!(!lock.read().recovered() && lock.read_checked().is_ok());
    });
}

#[test]
fn a_dead_writer_is_told_of_until_it_is_made_consistent() {
    let lock = RwLock::new().unwrap();
    watchdog(LIMIT, || {
        a_writer_dies(&lock);
        drop(lock.write_checked().unwrap_err().owner_died().unwrap());
        drop(lock.write_checked().unwrap_err().owner_died().unwrap());
        assert!(lock.read().recovered());
        let guard = lock.write_checked().unwrap_err().owner_died().unwrap().make_consistent();
        assert!(guard.recovered());
        drop(guard);
        assert!(!lock.write_checked().unwrap().recovered());
    });
}

#[test]
fn threads_that_ended_as_readers_are_in_nobodys_way() {
    let lock = RwLock::new().unwrap();
    watchdog(LIMIT, || {
        for _ in 0..3 {
            std::thread::scope(|s| {
                for _ in 0..50 {
                    s.spawn(|| std::mem::forget((lock.read(), lock.read())));
                }
            });
            assert!(!lock.write().recovered());
        }
        assert!(format!("{lock:?}").starts_with("RwLock { writer: None, readers: 0, "));
    });
}

#[test]
fn a_forgotten_guard_is_not_one_of_the_next_lock() {
    for write in [false, true] {
        let lock = RwLock::new().unwrap();
        if write {
            std::mem::forget(lock.write())
        } else {
            std::mem::forget(lock.read())
        }
        drop(lock);
        for _ in 0..100 {
            let fresh = RwLock::new().unwrap();
            assert!(fresh.try_write().is_some_and(|guard| !guard.recovered()), "a fresh lock has what another left");
        }
    }
}

/// 120 have cells; the others read one at a time, and as often as they like.
#[test]
fn more_readers_than_there_are_cells_read_one_at_a_time() {
    let lock = RwLock::new().unwrap();
    let (entered, leave, late) = (Barrier::new(121), Barrier::new(121), AtomicU32::new(0));
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for _ in 0..120 {
                s.spawn(|| {
                    let guard = lock.read();
                    entered.wait();
                    leave.wait();
                    drop(guard);
                });
            }
            entered.wait();
            for _ in 0..3 {
                s.spawn(|| {
                    let one = lock.read();
                    let two = lock.read();
                    assert_eq!(late.fetch_add(1, SeqCst), 0);
                    assert_eq!(lock.write_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
                    drop(one);
                    assert_eq!(late.fetch_sub(1, SeqCst), 1);
                    drop(two);
                })
                .join()
                .unwrap();
            }
            let alone = lock.read();
            s.spawn(|| assert!(lock.try_read().is_none() && lock.try_write().is_none())).join().unwrap();
            leave.wait();
            drop(alone);
            drop(lock.write());
        });
    });
}

struct Shared(UnsafeCell<[u64; 2]>);
// SAFETY: used under the lock only, which is what the test is about.
unsafe impl Sync for Shared {}

#[test]
fn stress_writers_are_alone() {
    const N: u64 = 10_000;
    let (lock, shared) = (RwLock::new().unwrap(), Shared(UnsafeCell::new([0; 2])));
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for thread in 0..4 {
                let (lock, shared) = (&lock, &shared);
                s.spawn(move || {
                    for round in 0..N {
                        if (thread + round).is_multiple_of(4) {
                            let _guard = lock.write();
                            // SAFETY: under the lock, alone.
                            let [a, b] = unsafe { *shared.0.get() };
                            assert_eq!(a, b);
                            // SAFETY: as above.
                            unsafe { *shared.0.get() = [a + 1, b + 1] };
                        } else {
                            let _guard = lock.read();
                            // SAFETY: under the lock, beside other readers.
                            let [a, b] = unsafe { *shared.0.get() };
                            assert_eq!(a, b);
                        }
                    }
                });
            }
        });
    });
    assert_eq!(shared.0.into_inner(), [N, N]);
}
