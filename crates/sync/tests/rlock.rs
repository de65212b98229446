//! What the handle of a lock that its holder may take again does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Message};
use polyproc_sync::{Lock, LockError, RLock};
use polyproc_sys::robust;
use polyproc_testing::watchdog;
use std::cell::UnsafeCell;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Whether another thread gets the lock at once.
fn is_free(lock: &RLock) -> bool {
    std::thread::scope(|s| s.spawn(|| lock.try_lock().is_some()).join().unwrap())
}

/// A thread takes the lock so often and ends with it.
fn dies_holding(lock: &RLock, levels: u32) {
    std::thread::scope(|s| {
        s.spawn(|| (0..levels).for_each(|_| std::mem::forget(lock.lock())));
    });
    while format!("{lock:?}").contains("Some") {} // the kernel marks the lock a moment after the thread was joined
}

#[test]
fn smoke() {
    let lock = RLock::new().unwrap();
    let guards = [(); 3].map(|()| lock.lock());
    assert!(!is_free(&lock));
    assert!(guards.iter().all(|g| !g.recovered()));
    let text = format!("{lock:?}");
    assert!(text.contains(&robust::thread_id().to_string()) && text.contains("levels: 3"), "{text}");
    drop(guards);
    assert!(is_free(&lock));
    assert!(format!("{lock:?}").contains("owner: None, levels: 0"));
}

#[test]
fn others_get_it_when_the_last_guard_is_gone_in_whatever_order() {
    let (lock, other) = (RLock::new().unwrap(), Lock::new().unwrap());
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut guards = [Some(lock.lock()), Some(lock.lock()), None];
        let between = other.lock(); // the lock goes into the list
        guards[2] = Some(lock.lock());
        let mut between = Some(between);
        for (n, at) in order.into_iter().enumerate() {
            assert!(!is_free(&lock));
            guards[at] = None;
            if n == 1 {
                between = None;
            }
        }
        assert!(between.is_none() && is_free(&lock));
    }
}

#[test]
fn a_timeout_lasts_as_long_as_it_says_for_others_and_no_time_for_the_holder() {
    let lock = RLock::new().unwrap();
    let _held = lock.lock();
    watchdog(LIMIT, || {
        assert!(lock.lock_timeout(Duration::ZERO).is_ok());
        std::thread::scope(|s| {
            s.spawn(|| {
                let start = Instant::now();
                assert_eq!(lock.lock_timeout(Duration::from_millis(30)).unwrap_err(), LockError::TimedOut);
                assert!(start.elapsed() >= Duration::from_millis(30));
            });
        });
    });
}

#[test]
fn all_guards_of_a_hold_tell_of_a_dead_holder_and_the_next_hold_does_not() {
    let lock = RLock::new().unwrap();
    watchdog(LIMIT, || {
        dies_holding(&lock, 3);
        let (outer, inner) = (lock.lock(), lock.lock());
        assert!(outer.recovered() && inner.recovered());
        drop(outer);
        assert!(!is_free(&lock), "what the dead one took does not count, what this one took does");
        drop(inner);
        assert!(is_free(&lock));
        assert!(!lock.lock().recovered());
    });
}

#[test]
fn a_dead_holder_is_told_of_until_it_is_made_consistent() {
    let lock = RLock::new().unwrap();
    watchdog(LIMIT, || {
        dies_holding(&lock, 2);
        drop(lock.lock_checked().unwrap_err().owner_died().unwrap());
        let outer = lock.lock_checked().unwrap_err().owner_died().unwrap();
        let inner = lock.lock_checked().unwrap_err().owner_died().unwrap();
        drop(outer);
        let inner = inner.make_consistent();
        assert!(inner.recovered());
        assert!(!lock.lock_checked().unwrap().recovered());
        drop(inner);
        assert!(!lock.lock_checked().unwrap().recovered());
    });
}

/// Each opening may be another address of the same bytes, and the kernel is told one.
#[test]
fn a_name_opened_twice_is_one_lock_whichever_guard_goes_last() {
    let name = format!("rlock-twice-{}", std::process::id());
    let (first, second) = (RLock::create(&name).unwrap(), RLock::open(&name).unwrap());
    let other = Lock::new().unwrap();
    watchdog(LIMIT, || {
        for _ in 0..200 {
            // More rounds than a thread may hold locks: none stays in its list.
            let (outer, inner) = (first.lock(), second.lock());
            let between = other.lock();
            drop(outer);
            assert!(first.try_lock().is_some());
            drop(inner);
            drop(between);
        }
        assert!(is_free(&first) && is_free(&second));
        assert!(!robust::Thread::current().has_linked());
    });
}

#[test]
fn a_thread_that_holds_all_that_it_can_may_take_one_of_them_again() {
    let (lock, others): (_, Vec<Lock>) = (RLock::new().unwrap(), (0..127).map(|_| Lock::new().unwrap()).collect());
    let first = lock.lock();
    let held: Vec<_> = others.iter().map(Lock::lock).collect();
    let again = lock.lock();
    drop(first);
    drop(held);
    assert!(!is_free(&lock));
    drop(again);
    assert!(is_free(&lock));
}

#[test]
fn a_handle_travels_and_a_forgotten_guard_keeps_its_bytes() {
    let family = Family::get().unwrap();
    let lock = RLock::new().unwrap();
    let copy = Message::encode(family, &lock).unwrap().decode::<RLock>(family).unwrap();
    let guard = lock.lock();
    assert!(!is_free(&copy));
    drop(copy.lock());
    std::mem::forget(guard);
    drop((lock, copy));
    for _ in 0..100 {
        assert!(is_free(&RLock::new().unwrap()), "a fresh lock has the bytes of one that is held");
    }
}

struct Shared(UnsafeCell<[u64; 2]>);
// SAFETY: used under the lock only, which is what the test is about.
unsafe impl Sync for Shared {}

#[test]
fn stress_threads_exclude_each_other() {
    const N: u64 = 25_000;
    let (lock, shared) = (RLock::new().unwrap(), Shared(UnsafeCell::new([0; 2])));
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let shared = &shared;
                    for _ in 0..N {
                        let _outer = lock.lock();
                        drop(lock.lock());
                        // SAFETY: under the lock.
                        let [a, b] = unsafe { *shared.0.get() };
                        assert_eq!(a, b);
                        // SAFETY: under the lock.
                        unsafe { *shared.0.get() = [a + 1, b + 1] };
                    }
                });
            }
        });
    });
    assert_eq!(shared.0.into_inner(), [4 * N, 4 * N]);
}
