//! What the handle of a lock does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Message};
use polyproc_sync::raw::RawLock;
use polyproc_sync::raw::lock::{Locked, NotLocked};
use polyproc_sync::{Lock, LockError};
use polyproc_sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc_sys::{Deadline, futex, robust};
use polyproc_testing::watchdog;
use std::cell::UnsafeCell;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn smoke() {
    let lock = Lock::new().unwrap();
    let guard = lock.lock();
    assert!(!guard.recovered());
    assert!(lock.try_lock().is_none());
    assert!(format!("{lock:?}").contains(&robust::thread_id().to_string()));
    drop(guard);
    assert!(lock.try_lock().is_some());
}

#[test]
fn the_same_thread_is_told_instead_of_waiting_for_ever() {
    let (a, b) = (Lock::new().unwrap(), Lock::new().unwrap());
    let _a = a.lock();
    assert_eq!(a.lock_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    let _b = b.lock(); // `a` is linked now
    assert_eq!(a.lock_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    assert_eq!(b.lock_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
}

#[test]
fn a_lock_that_names_this_thread_by_mistake_is_taken_like_a_dead_holders() {
    let (lock, other) = (RawLock::new(), Lock::new().unwrap());
    let word = (&raw const lock).cast::<AtomicU32>(); // the first four bytes
    // SAFETY: a word of this frame, in which anybody may write.
    let word = unsafe { &*word };
    word.store(robust::thread_id(), Relaxed);
    // While it holds another one, this one may be that by another address.
    let guard = other.lock();
    // SAFETY: a lock of this frame.
    assert_eq!(unsafe { RawLock::lock(&raw const lock, Deadline::NEVER) }, Err(NotLocked::Mine));
    drop(guard);
    // SAFETY: as above.
    assert_eq!(unsafe { RawLock::lock(&raw const lock, Deadline::NEVER) }, Ok(Locked { recovered: true }));
    // SAFETY: as above.
    assert_eq!(unsafe { RawLock::lock(&raw const lock, Deadline::NEVER) }, Err(NotLocked::Mine));
    // SAFETY: held by this thread.
    unsafe { RawLock::unlock(&raw const lock, false) };
    assert_eq!(word.load(Relaxed), 0);
}

#[test]
fn a_timeout_lasts_as_long_as_it_says() {
    let lock = Lock::new().unwrap();
    let _held = lock.lock();
    watchdog(LIMIT, || {
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
fn a_dead_holder_is_told_of_until_it_is_made_consistent() {
    let lock = Lock::new().unwrap();
    std::thread::scope(|s| {
        s.spawn(|| std::mem::forget(lock.lock()));
    });
    while lock.try_lock().is_none() {} // the kernel marks the lock a moment after the thread was joined
    // That one took it as it was. Again, strictly:
    std::thread::scope(|s| {
        s.spawn(|| std::mem::forget(lock.lock()));
    });
    watchdog(LIMIT, || {
        drop(lock.lock_checked().unwrap_err().owner_died().unwrap());
        drop(lock.lock_checked().unwrap_err().owner_died().unwrap());
        let guard = lock.lock_checked().unwrap_err().owner_died().unwrap().make_consistent();
        assert!(guard.recovered());
        drop(guard);
        assert!(!lock.lock_checked().unwrap().recovered());
    });
}

#[test]
fn a_forgotten_guard_keeps_its_bytes() {
    let lock = Lock::new().unwrap();
    std::mem::forget(lock.lock());
    drop(lock);
    for _ in 0..100 {
        let fresh = Lock::new().unwrap();
        assert!(fresh.try_lock().is_some(), "a fresh lock has the bytes of one that is held");
    }
}

#[test]
fn many_locks_are_held_at_once_and_given_up_in_any_order() {
    watchdog(LIMIT, || {
        let locks: Vec<Lock> = (0..128).map(|_| Lock::new().unwrap()).collect();
        for step in [1, 3, 7, 127] {
            let mut guards: Vec<_> = locks.iter().take(120).map(|l| Some(l.lock())).collect();
            for i in 0..120 {
                guards[i * step % 120].take();
            }
            drop(guards);
            assert!(locks.iter().all(|l| l.try_lock().is_some()), "steps of {step}");
        }
    });
}

/// What cannot be held is refused when it is asked for, and what is held can be given up, in any order.
#[test]
fn one_lock_too_many_is_refused_and_the_others_are_given_up() {
    watchdog(LIMIT, || {
        let locks: Vec<Lock> = (0..130).map(|_| Lock::new().unwrap()).collect();
        let family = Family::get().unwrap();
        for step in [1, 3, 127] {
            let mut guards: Vec<_> = locks.iter().take(128).map(|l| Some(l.lock())).collect();
            for one_more in &locks[128..] {
                std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| drop(one_more.try_lock()))).unwrap_err();
            }
            // What takes a lock of the family's for a moment works all the same.
            drop(Message::encode(family, &locks[129]).unwrap().decode::<Lock>(family).unwrap());
            for i in 0..128 {
                guards[i * step % 128].take();
            }
            assert!(locks.iter().all(|l| l.try_lock().is_some()), "steps of {step}");
        }
        let all = || locks.iter().map(Lock::lock).collect::<Vec<_>>();
        std::panic::catch_unwind(core::panic::AssertUnwindSafe(all)).unwrap_err();
        assert!(locks.iter().all(|l| l.try_lock().is_some()), "a panic gives all up");
    });
}

struct Shared(UnsafeCell<[u64; 2]>);
// SAFETY: used under the lock only, which is what the test is about.
unsafe impl Sync for Shared {}

#[test]
fn stress_threads_exclude_each_other() {
    const N: u64 = 25_000;
    assert!(futex::tick() >= Duration::from_millis(1));
    let (lock, shared) = (Lock::new().unwrap(), Shared(UnsafeCell::new([0; 2])));
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let shared = &shared;
                    for _ in 0..N {
                        let _guard = lock.lock();
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
