//! What the handle of a condition does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Message};
use polyproc_sync::{Condition, ConditionError, Lock, Lockable, RLock, RLockGuard, Semaphore};
use polyproc_sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc_testing::watchdog;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// A thread that waits, after it has said so under the lock, and says afterwards what came of it.
struct Waiter {
    thread: thread::JoinHandle<(bool, bool)>,
}

impl Waiter {
    fn start<L: Lockable + Send + Sync>(condition: &Condition<L>, timeout: Duration) -> Self
    where
        Condition<L>: Send,
    {
        let (sleeping, condition) = (Semaphore::new(0).unwrap(), condition.clone());
        let thread = thread::spawn({
            let sleeping = sleeping.clone();
            move || {
                let mut guard = condition.lock();
                sleeping.release().unwrap();
                let notified = condition.wait_timeout(&mut guard, timeout).unwrap();
                (notified, *L::recovered(&mut guard))
            }
        });
        sleeping.acquire();
        Self { thread }
    }

    /// Whether it was woken, and whether it was told of a death.
    fn end(self) -> (bool, bool) {
        self.thread.join().unwrap()
    }
}

const NOTIFIED: (bool, bool) = (true, false);
const TIMED_OUT: (bool, bool) = (false, false);

#[test]
fn smoke() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let waiter = Waiter::start(&condition, Duration::MAX);
        let guard = condition.lock();
        assert!(format!("{condition:?}").contains("waiting: 1"), "{condition:?}");
        assert_eq!(condition.notify(&guard).unwrap(), 1);
        assert_eq!(condition.notify(&guard).unwrap(), 0, "it is notified already");
        drop(guard);
        assert_eq!(waiter.end(), NOTIFIED);
        assert!(format!("{condition:?}").contains("owner: None, waiting: 0"), "{condition:?}");
    });
}

#[test]
fn as_many_are_notified_as_were_asked_for_the_oldest_first() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let order = Mutex::new(Vec::new());
        thread::scope(|s| {
            let (condition, order) = (&condition, &order);
            for n in 0..4 {
                let sleeping = Semaphore::new(0).unwrap();
                let told = sleeping.clone();
                s.spawn(move || {
                    let mut guard = condition.lock();
                    told.release().unwrap();
                    condition.wait(&mut guard).unwrap();
                    order.lock().unwrap().push(n);
                });
                sleeping.acquire();
            }
            for (n, expected, woken) in [(1, 1, 1), (2, 2, 3), (7, 1, 4), (1, 0, 4)] {
                assert_eq!(condition.notify_n(&condition.lock(), n).unwrap(), expected);
                while order.lock().unwrap().len() < woken {
                    thread::yield_now();
                }
            }
        });
        let order = order.into_inner().unwrap();
        assert!(matches!(order[..], [0, 1, 2, 3] | [0, 2, 1, 3]), "{order:?}");
    });
}

#[test]
fn a_timeout_lasts_as_long_as_it_says_and_the_late_do_not_count() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let start = Instant::now();
        let late = Waiter::start(&condition, Duration::from_millis(30));
        assert_eq!(late.end(), TIMED_OUT);
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert_eq!(condition.notify_all(&condition.lock()).unwrap(), 0);
        let mut guard = condition.lock();
        assert!(!condition.wait_timeout(&mut guard, Duration::ZERO).unwrap());
        let start = Instant::now();
        let ended = condition.wait_while_timeout(&mut guard, Duration::from_millis(30), || true).unwrap();
        assert!(!ended && start.elapsed() >= Duration::from_millis(30));
    });
}

#[test]
fn all_levels_are_given_up_and_taken_again() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let (outer, mut inner) = (condition.lock(), condition.lock());
        let notifier = thread::spawn({
            let condition = condition.clone();
            move || condition.notify(&condition.lock()).unwrap()
        });
        condition.wait(&mut inner).unwrap();
        assert_eq!(notifier.join().unwrap(), 1);
        drop(inner);
        assert!(format!("{condition:?}").contains("owner: Some"), "the outer level is held");
        drop(outer);
    });
}

#[test]
fn who_notifies_and_then_waits_wakes_the_other() {
    fn by_turns<L: Lockable + Send + Sync>(lock: &L) {
        let conditions: [Condition<L>; 2] = [(); 2].map(|()| Condition::with_lock(lock).unwrap());
        let turn = AtomicU32::new(0);
        thread::scope(|s| {
            for me in [0, 1] {
                let (turn, mine, other) = (&turn, &conditions[me as usize], &conditions[1 - me as usize]);
                s.spawn(move || {
                    let mut guard = mine.lock();
                    for _ in 0..1_000 {
                        mine.wait_while(&mut guard, || turn.load(Relaxed) != me).unwrap();
                        turn.store(1 - me, Relaxed);
                        other.notify(&guard).unwrap();
                    }
                });
            }
        });
    }
    watchdog(LIMIT, || {
        by_turns(&Lock::new().unwrap());
        by_turns(&RLock::new().unwrap());
    });
}

#[test]
fn conditions_share_a_lock_and_keep_their_waiters_apart() {
    watchdog(LIMIT, || {
        let lock = Lock::new().unwrap();
        let [a, b] = [(); 2].map(|()| Condition::with_lock(&lock).unwrap());
        let (at_a, at_b) = (Waiter::start(&a, Duration::MAX), Waiter::start(&b, Duration::MAX));
        let guard = lock.lock();
        assert_eq!(a.notify_all(&guard).unwrap(), 1);
        drop(guard);
        assert_eq!(at_a.end(), NOTIFIED);
        assert_eq!(b.notify_all(&lock.lock()).unwrap(), 1);
        assert_eq!(at_b.end(), NOTIFIED);
    });
}

#[test]
fn the_guard_of_another_lock_is_an_error() {
    let (lock, other) = (Lock::new().unwrap(), Lock::new().unwrap());
    let condition = Condition::with_lock(&lock).unwrap();
    let mut guard = other.lock();
    assert!(matches!(condition.wait(&mut guard), Err(ConditionError::OtherLock)));
    assert!(matches!(condition.wait_while(&mut guard, || false), Err(ConditionError::OtherLock)));
    assert!(matches!(condition.notify(&guard), Err(ConditionError::OtherLock)));
    assert!(lock.try_lock().is_some() && other.try_lock().is_none());
}

/// Whoever holds the lock may have been about to notify: all that wait look for themselves, and are told.
#[test]
fn all_that_wait_return_when_a_holder_of_the_lock_has_died() {
    fn dies<L: Lockable + Send + Sync>(condition: &Condition<L>) {
        thread::scope(|s| s.spawn(|| std::mem::forget(condition.lock())).join().unwrap());
    }
    watchdog(LIMIT, || {
        let own = Condition::new().unwrap();
        let waiters = [(); 2].map(|()| Waiter::start(&own, Duration::MAX));
        dies(&own);
        assert_eq!(waiters.map(Waiter::end), [(true, true); 2]);
        let lock = Lock::new().unwrap();
        let [a, b] = [(); 2].map(|()| Condition::with_lock(&lock).unwrap());
        let waiters = [Waiter::start(&a, Duration::MAX), Waiter::start(&b, Duration::MAX)];
        dies(&a);
        drop(lock.lock()); // somebody takes it, and is told, and tells nobody
        assert_eq!(waiters.map(Waiter::end), [(true, true); 2]);
        assert!(!lock.lock().recovered());
        let guard = lock.lock();
        assert_eq!((a.notify_all(&guard).unwrap(), b.notify_all(&guard).unwrap()), (0, 0));
    });
}

/// The lock of a condition, whose holder has died; this thread holds it, has been told, and has not repaired what it protects.
fn left_unrepaired(condition: &Condition, lock: &RLock, body: impl FnOnce(&mut RLockGuard<'_>)) {
    thread::scope(|s| s.spawn(|| std::mem::forget(condition.lock())).join().unwrap());
    let mut outer = lock.lock();
    assert!(outer.recovered());
    drop(lock.lock_checked().unwrap_err().owner_died().unwrap());
    body(&mut outer);
}

#[test]
fn a_wait_does_not_forget_that_its_lock_is_unrepaired_and_takes_its_own_release_for_no_death() {
    watchdog(LIMIT, || {
        let lock = RLock::new().unwrap();
        let condition = Condition::with_lock(&lock).unwrap();
        left_unrepaired(&condition, &lock, |outer| {
            for _ in 0..2 {
                let (start, time) = (Instant::now(), Duration::from_millis(250)); // longer than a tick
                assert!(!condition.wait_timeout(outer, time).unwrap(), "nobody notified, and nobody died");
                assert!(start.elapsed() >= time && outer.recovered());
                assert!(lock.lock_checked().unwrap_err().owner_died().is_some());
            }
        });
        let died = lock.lock_checked().unwrap_err().owner_died().unwrap();
        drop(died.make_consistent());
        assert!(lock.lock_checked().is_ok());
    });
}

#[test]
fn who_comes_while_an_unrepaired_lock_is_waited_with_is_told_and_what_he_repairs_is_repaired() {
    watchdog(LIMIT, || {
        for repairs in [false, true] {
            let lock = RLock::new().unwrap();
            let condition = Condition::with_lock(&lock).unwrap();
            left_unrepaired(&condition, &lock, |outer| {
                thread::scope(|s| {
                    s.spawn(|| {
                        let died = lock.lock_checked().unwrap_err().owner_died().unwrap();
                        if repairs {
                            assert_eq!(condition.notify(&died.make_consistent()).unwrap(), 1);
                        } else {
                            drop(died);
                            // For this one it is as if another holder had died: the waiter returns by itself.
                        }
                    });
                    assert!(condition.wait_timeout(outer, Duration::MAX).unwrap());
                });
                assert!(outer.recovered(), "what a guard has said it goes on to say");
            });
            assert_eq!(lock.lock_checked().is_err(), !repairs);
        }
    });
}

#[test]
fn what_others_left_unrepaired_a_wait_takes_as_it_is() {
    fn told_once<L: Lockable + Send + Sync>(
        condition: &Condition<L>,
        leave: impl FnOnce() + Send,
        is_told: impl Fn() -> bool,
    ) {
        let waiter = Waiter::start(condition, Duration::MAX);
        thread::scope(|s| s.spawn(|| std::mem::forget(condition.lock())).join().unwrap());
        leave(); // or it comes too late
        assert_eq!(waiter.end(), (true, true));
        assert!(!is_told());
    }
    watchdog(LIMIT, || {
        let lock = Lock::new().unwrap();
        told_once(&Condition::with_lock(&lock).unwrap(), || drop(lock.lock_checked()), || lock.lock_checked().is_err());
        let lock = RLock::new().unwrap();
        told_once(&Condition::with_lock(&lock).unwrap(), || drop(lock.lock_checked()), || lock.lock_checked().is_err());
    });
}

#[test]
fn a_wait_for_a_state_says_of_any_death_in_between() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let (sleeping, ready) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
        thread::scope(|s| {
            let waiter = s.spawn(|| {
                let mut guard = condition.lock();
                condition
                    .wait_while(&mut guard, || {
                        let waits = !ready.try_acquire();
                        sleeping.release().unwrap(); // what is made ready from here on, it sees the next time
                        waits
                    })
                    .unwrap();
                guard.recovered()
            });
            sleeping.acquire();
            s.spawn(|| std::mem::forget(condition.lock())).join().unwrap();
            sleeping.acquire(); // it has looked again, and waits again
            ready.release().unwrap();
            assert_eq!(condition.notify(&condition.lock()).unwrap(), 1);
            assert!(waiter.join().unwrap());
        });
    });
}

#[test]
fn more_waiters_than_there_is_room_for_are_an_error() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let waiters: Vec<_> = (0..512).map(|_| Waiter::start(&condition, Duration::MAX)).collect();
        let mut guard = condition.lock();
        let e = condition.wait(&mut guard).unwrap_err();
        assert!(matches!(e, ConditionError::NoRoom { limit: 512 }), "{e}");
        assert_eq!(condition.notify_all(&guard).unwrap(), 512);
        drop(guard);
        assert!(waiters.into_iter().all(|waiter| waiter.end() == NOTIFIED));
    });
}

#[test]
fn a_handle_travels_with_its_lock() {
    let family = Family::get().unwrap();
    let own = Condition::new().unwrap();
    let copy = Message::encode(family, &own).unwrap().decode::<Condition>(family).unwrap();
    assert_eq!(copy.notify(&own.lock()).unwrap(), 0);
    assert!(Message::encode(family, &own).unwrap().decode::<Condition<Lock>>(family).is_err());
    let lock = Lock::new().unwrap();
    let bound = Condition::with_lock(&lock).unwrap();
    let copy = Message::encode(family, &bound).unwrap().decode::<Condition<Lock>>(family).unwrap();
    assert_eq!(copy.notify(&lock.lock()).unwrap(), 0);
    assert!(Message::encode(family, &bound).unwrap().decode::<Condition<RLock>>(family).is_err());
    let shared = RLock::new().unwrap();
    let bound = Condition::with_lock(&shared).unwrap();
    let copy = Message::encode(family, &bound).unwrap().decode::<Condition>(family).unwrap();
    assert_eq!(copy.notify(&shared.lock()).unwrap(), 0);
}

#[test]
fn a_condition_with_a_name_is_one_whoever_opened_it() {
    watchdog(LIMIT, || {
        let name = format!("condition-twice-{}", std::process::id());
        let (first, second) = (Condition::create(&name).unwrap(), Condition::open(&name).unwrap());
        let waiter = Waiter::start(&first, Duration::MAX);
        assert_eq!(second.notify(&second.lock()).unwrap(), 1);
        assert_eq!(waiter.end(), NOTIFIED);
        // By two addresses in one thread: given up by one, and taken again by it.
        let (_outer, mut inner) = (first.lock(), second.lock());
        assert!(!first.wait_timeout(&mut inner, Duration::from_millis(1)).unwrap());
        assert!(!second.wait_timeout(&mut inner, Duration::from_millis(1)).unwrap());
    });
}

/// A buffer of one place: no number is lost or doubled, whoever waits for what.
#[test]
fn stress_a_place_that_is_filled_and_emptied() {
    const N: u64 = 3_000;
    const THREADS: u64 = 3;
    watchdog(LIMIT, || {
        let lock = Lock::new().unwrap();
        let [filled, emptied] = [(); 2].map(|()| Condition::with_lock(&lock).unwrap());
        let (place, sum) = (Mutex::new(None::<u64>), Mutex::new(0));
        thread::scope(|s| {
            for _ in 0..THREADS {
                s.spawn(|| {
                    for n in 1..=N {
                        let mut guard = lock.lock();
                        emptied.wait_while(&mut guard, || place.lock().unwrap().is_some()).unwrap();
                        *place.lock().unwrap() = Some(n);
                        filled.notify(&guard).unwrap();
                    }
                });
                s.spawn(|| {
                    for _ in 1..=N {
                        let mut guard = lock.lock();
                        filled.wait_while(&mut guard, || place.lock().unwrap().is_none()).unwrap();
                        *sum.lock().unwrap() += place.lock().unwrap().take().unwrap();
                        emptied.notify(&guard).unwrap();
                    }
                });
            }
        });
        assert_eq!(sum.into_inner().unwrap(), THREADS * N * (N + 1) / 2);
    });
}
