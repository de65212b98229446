//! Locks in the destructors of thread-locals, when other thread-locals are gone already, and last handles in forked children.
#![cfg(not(polyproc_loom))]

use polyproc_sync::Lock;
use polyproc_sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc_sys::{fork, futex};
use polyproc_testing::watchdog;
use std::cell::RefCell;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

struct LocksAtTheEnd(Lock, Lock);

impl Drop for LocksAtTheEnd {
    fn drop(&mut self) {
        drop(self.0.lock()); // for longer than a tick, without a time limit and …
        drop(self.1.lock_timeout(Duration::MAX)); // … with one
    }
}

thread_local! {
    static LAST: RefCell<Option<LocksAtTheEnd>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_waits_for_locks_while_its_thread_locals_go() {
    futex::set_tick(Duration::from_millis(5));
    let locks = [(); 3].map(|()| Lock::new().unwrap());
    watchdog(LIMIT, || {
        let held = locks.each_ref().map(Lock::lock);
        let [first, second, third] = locks.clone();
        let thread = std::thread::spawn(move || {
            LAST.set(Some(LocksAtTheEnd(first, second)));
            // What looks on while a thread waits has thread-locals of its own, which go before `LAST`.
            assert!(third.lock_timeout(Duration::from_millis(30)).is_err());
        });
        for (guard, lock) in held.into_iter().zip(&locks).take(2) {
            while !format!("{lock:?}").contains("waiters") {
                std::thread::yield_now();
            }
            drop(guard);
        }
        thread.join().unwrap();
    });
}

/// The last handle of a lock that this thread holds: the process keeps the object.
fn drop_a_held_lock() {
    let lock = Lock::new().unwrap();
    std::mem::forget(lock.lock());
    drop(lock);
}

/// Whatever the parent's other thread was at when it forked, and although the child has threads of its own.
#[test]
fn a_forked_child_drops_last_handles() {
    let stop = AtomicU32::new(0);
    drop(Lock::new().unwrap()); // the process has a family
    std::thread::scope(|s| {
        s.spawn(|| {
            (0..60).for_each(|_| drop_a_held_lock());
            while stop.load(Relaxed) == 0 {
                drop(Lock::new().unwrap()); // looks through what is kept
            }
        });
        let ends: Vec<_> = (0..20)
            .map(|_| {
                fork::wait_child(fork::spawn_child(|| {
                    std::thread::spawn(|| {
                        std::thread::sleep(LIMIT);
                        std::process::abort() // it hangs
                    });
                    drop_a_held_lock();
                    0
                }))
            })
            .collect();
        stop.store(1, Relaxed);
        assert_eq!(ends, [0; 20]);
    });
}
