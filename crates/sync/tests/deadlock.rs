//! Threads that wait for each other: whoever has time limits is told, and nobody is told without need.
#![cfg(not(polyproc_loom))]

use polyproc_sync::deadlock::Chain;
use polyproc_sync::{CheckedError, Condition, Lock, LockError, Lockable, RLock, RwLock};
use polyproc_sys::atomic::{AtomicU32, Ordering::SeqCst};
use polyproc_sys::{futex, robust};
use polyproc_testing::watchdog;
use std::sync::Barrier;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn with_short_ticks(body: impl FnOnce() + Send) {
    futex::set_tick(Duration::from_millis(10));
    watchdog(LIMIT, body);
}

fn chain(error: LockError) -> Chain {
    match error {
        LockError::Deadlock { chain } => chain,
        other => panic!("a deadlock is told: {other}"),
    }
}

#[test]
fn two_that_take_two_locks_in_opposite_orders() {
    let (a, b, both) = (Lock::new().unwrap(), Lock::new().unwrap(), Barrier::new(2));
    let told = AtomicU32::new(0);
    with_short_ticks(|| {
        std::thread::scope(|s| {
            for (first, second) in [(&a, &b), (&b, &a)] {
                s.spawn(|| {
                    let held = first.lock();
                    both.wait();
                    match second.lock_timeout(Duration::MAX) {
                        Ok(_) => {} // the other one has backed off
                        Err(error) => {
                            let chain = chain(error);
                            let me = robust::thread_id();
                            assert_eq!((chain.links().len(), chain.links()[0].tid), (2, me));
                            assert!(chain.links().iter().all(|link| link.pid == std::process::id()));
                            assert_ne!(chain.links()[0].lock, chain.links()[1].lock);
                            told.fetch_add(1, SeqCst);
                        }
                    }
                    drop(held);
                });
            }
        });
    });
    assert!(told.into_inner() >= 1);
    assert!(a.try_lock().is_some() && b.try_lock().is_some());
}

/// Notified, the waiter wants the lock back from who waits for what the waiter has.
#[test]
fn the_end_of_a_wait_for_a_condition_is_a_wait_for_its_lock() {
    fn by<L: Lockable + Send + Sync>(lock: &L) {
        let (condition, other) = (Condition::with_lock(lock).unwrap(), Lock::new().unwrap());
        let ready = Barrier::new(2);
        std::thread::scope(|s| {
            s.spawn(|| {
                let (held, mut guard) = (other.lock(), condition.lock());
                ready.wait();
                condition.wait(&mut guard).unwrap();
                drop(held);
            });
            ready.wait();
            let guard = condition.lock();
            assert_eq!(condition.notify(&guard).unwrap(), 1);
            let chain = chain(other.lock_timeout(Duration::MAX).unwrap_err());
            assert_eq!(chain.links().len(), 2);
            drop(guard);
        });
    }
    with_short_ticks(|| {
        by(&Lock::new().unwrap());
        by(&RLock::new().unwrap());
    });
}

#[test]
fn checked_forms_tell_without_a_time_limit() {
    fn told<G>(locked: Result<G, CheckedError<G>>) -> bool {
        match locked {
            Ok(_) => false, // the other one has backed off
            Err(CheckedError::NotLocked(error)) => chain(error).links().len() == 2,
            Err(CheckedError::OwnerDied(_)) => panic!("nobody died"),
        }
    }
    let (a, b, both) = (RLock::new().unwrap(), RwLock::new().unwrap(), Barrier::new(2));
    with_short_ticks(|| {
        let told = std::thread::scope(|s| {
            let one = s.spawn(|| {
                let _held = a.lock();
                both.wait();
                told(b.write_checked())
            });
            let held = b.read();
            both.wait();
            let two = told(a.lock_checked());
            drop(held);
            one.join().unwrap() || two
        });
        assert!(told);
    });
}

#[test]
fn three_in_a_ring_of_which_one_has_a_time_limit() {
    let (locks, all) = ([(); 3].map(|()| Lock::new().unwrap()), Barrier::new(3));
    with_short_ticks(|| {
        std::thread::scope(|s| {
            for i in 0..3 {
                let (locks, all) = (&locks, &all);
                s.spawn(move || {
                    let held = locks[i].lock();
                    all.wait();
                    let next = &locks[(i + 1) % 3];
                    if i > 0 {
                        drop(next.lock()); // waits without end, and gets it
                    } else {
                        let chain = chain(next.lock_timeout(Duration::MAX).unwrap_err());
                        assert_eq!(chain.links().len(), 3);
                        let text = chain.to_string();
                        assert!(text.starts_with(&format!("deadlock: thread {}", robust::thread_id())), "{text}");
                        assert!(text.ends_with("in the same order"), "{text}");
                    }
                    drop(held);
                });
            }
        });
    });
}

#[test]
fn a_writer_waits_for_a_reader_who_waits_for_the_writer() {
    let (rw, lock, both) = (RwLock::new().unwrap(), Lock::new().unwrap(), Barrier::new(2));
    for writer_is_told in [true, false] {
        with_short_ticks(|| {
            std::thread::scope(|s| {
                s.spawn(|| {
                    let held = rw.read();
                    both.wait();
                    if writer_is_told {
                        drop(lock.lock());
                    } else {
                        assert_eq!(chain(lock.lock_timeout(Duration::MAX).unwrap_err()).links().len(), 2);
                    }
                    drop(held);
                });
                s.spawn(|| {
                    let held = lock.lock();
                    both.wait();
                    if writer_is_told {
                        let chain = chain(rw.write_timeout(Duration::MAX).unwrap_err());
                        assert!(chain.links()[0].for_readers && !chain.links()[1].for_readers);
                    } else {
                        drop(rw.write());
                    }
                    drop(held);
                });
            });
        });
        assert!(rw.try_write().is_some() && lock.try_lock().is_some());
    }
}

#[test]
fn two_writers_with_an_rlock_between_them() {
    let (rw, rlock, both) = (RwLock::new().unwrap(), RLock::new().unwrap(), Barrier::new(2));
    with_short_ticks(|| {
        std::thread::scope(|s| {
            s.spawn(|| {
                let held = rw.write();
                both.wait();
                drop(rlock.lock());
                drop(held);
            });
            s.spawn(|| {
                let held = (rlock.lock(), rlock.lock());
                both.wait();
                assert_eq!(chain(rw.read_timeout(Duration::MAX).unwrap_err()).links().len(), 2);
                drop(held);
            });
        });
    });
}

/// A ring that is closed for good is in polyproc's tests, where one of it can be killed.
#[test]
fn debug_tells_who_waits() {
    let (a, b, tid) = (Lock::new().unwrap(), Lock::new().unwrap(), AtomicU32::new(0));
    with_short_ticks(|| {
        std::thread::scope(|s| {
            let held = b.lock();
            s.spawn(|| {
                tid.store(robust::thread_id(), SeqCst);
                let held = a.lock();
                drop(b.lock());
                drop(held);
            });
            while !format!("{b:?}").contains(&format!("waiters: [{}]", tid.load(SeqCst))) {
                std::thread::yield_now();
            }
            assert!(!format!("{b:?}").contains("deadlock"));
            drop(held);
        });
    });
}

/// Who holds a lock and does not wait for one is no part of a deadlock, however long that lasts; nor is who waits for himself.
#[test]
fn a_long_wait_is_no_deadlock() {
    let (a, b, c, both) = (Lock::new().unwrap(), Lock::new().unwrap(), RwLock::new().unwrap(), Barrier::new(2));
    with_short_ticks(|| {
        std::thread::scope(|s| {
            let (held, reads) = (a.lock(), c.read());
            s.spawn(|| {
                let _b = b.lock();
                both.wait();
                assert_eq!(a.lock_timeout(Duration::from_millis(60)).unwrap_err(), LockError::TimedOut);
                assert_eq!(c.write_timeout(Duration::from_millis(60)).unwrap_err(), LockError::TimedOut);
                assert_eq!(b.lock_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
                both.wait();
            });
            both.wait();
            both.wait();
            drop((held, reads));
        });
    });
}

#[test]
fn stress_locks_that_all_take_in_one_order_are_no_deadlock() {
    const N: u64 = 10_000;
    let locks = [(); 6].map(|()| Lock::new().unwrap());
    let rws = [(); 3].map(|()| RwLock::new().unwrap());
    futex::set_tick(Duration::from_millis(1)); // many looks
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for thread in 0..4_u64 {
                let (locks, rws) = (&locks, &rws);
                s.spawn(move || {
                    let mut random = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                    for round in 0..N / 4 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let mut guards = Vec::new();
                        let mut readers = Vec::new();
                        let mut writers = Vec::new();
                        for (i, lock) in locks.iter().enumerate() {
                            if random >> i & 1 == 1 {
                                guards.push(lock.lock_timeout(Duration::MAX).unwrap());
                            }
                        }
                        for (i, rw) in rws.iter().enumerate() {
                            match random >> (8 + 2 * i) & 3 {
                                0 | 1 => readers.push(rw.read_timeout(Duration::MAX).unwrap()),
                                2 => writers.push(rw.write_timeout(Duration::MAX).unwrap()),
                                _ => {}
                            }
                        }
                        if round % 64 == thread {
                            std::thread::sleep(Duration::from_millis(2)); // so that others see ticks
                        }
                    }
                });
            }
        });
    });
}
