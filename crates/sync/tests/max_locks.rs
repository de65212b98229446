//! A thread that holds as many locks as it may goes on working, and gives them up in any order.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Message};
use polyproc_sync::{Lock, Semaphore};

#[test]
fn as_many_locks_as_there_may_be_are_given_up_in_any_order() {
    let semaphore = Semaphore::new(1).unwrap();
    let left = std::thread::scope(|s| {
        let thread = s.spawn(|| {
            let permit = semaphore.acquire_owned().unwrap(); // the thread is linked, too, from now on
            let locks: Vec<Lock> = (0..128).map(|_| Lock::new().unwrap()).collect();
            let mut guards: Vec<_> = locks.iter().map(Lock::lock).collect();
            semaphore.release().unwrap();
            semaphore.acquire();
            drop(permit);
            guards.drain(1..3).for_each(drop);
            guards.reverse();
            drop(guards);
            assert!(locks.iter().all(|lock| lock.try_lock().is_some()));
        });
        thread.join().unwrap();
        semaphore.available()
    });
    assert_eq!(left, 1);
}

/// A held lock makes way for the announcement of a release, or for a lock of the family's own, and counts all the same.
#[test]
fn one_lock_too_many_is_refused_whatever_was_done_between() {
    fn takes(between: impl Fn(&Lock)) {
        let locks: Vec<Lock> = (0..140).map(|_| Lock::new().unwrap()).collect();
        let mut guards = Vec::new();
        for lock in &locks {
            let Ok(guard) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lock.lock())) else { break };
            guards.push(guard);
            between(lock);
        }
        assert_eq!(guards.len(), 128);
        between(&locks[139]);
        drop(guards);
        between(&locks[139]);
        assert!(locks.iter().all(|lock| lock.try_lock().is_some()));
    }
    let releases = || {
        let semaphore = Semaphore::new(1).unwrap();
        drop(semaphore.acquire_owned().unwrap()); // the thread is linked, too, from now on
        takes(|_| semaphore.release().unwrap());
    };
    std::thread::spawn(releases).join().unwrap();
    let encodes = || {
        let family = Family::get().unwrap();
        takes(|lock| drop(Message::encode(family, lock).unwrap()));
    };
    std::thread::spawn(encodes).join().unwrap();
}

#[test]
fn one_lock_too_many_is_a_panic_that_leaves_the_others() {
    std::thread::spawn(|| {
        let locks: Vec<Lock> = (0..132).map(|_| Lock::new().unwrap()).collect();
        let mut guards = Vec::new();
        let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            locks.iter().for_each(|lock| guards.push(lock.lock()));
        }));
        assert!(all.is_err() && guards.len() >= 128);
        drop(guards);
        assert!(locks.iter().all(|lock| lock.try_lock().is_some()));
    })
    .join()
    .unwrap();
}
