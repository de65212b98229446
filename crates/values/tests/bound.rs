//! Values and arrays that are bound to a lock.
#![cfg(not(polyproc_loom))]

use polyproc_process::Process;
use polyproc_shm::{Family, Kind, Message};
use polyproc_sync::{Lock, LockError};
use polyproc_testing::watchdog;
use polyproc_values::{Array, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);

/// One test at a time: some count blocks of the whole family.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn blocks() -> [u64; 5] {
    let stats = Family::get().unwrap().stats();
    [Kind::Lock, Kind::Value, Kind::Array, Kind::Data, Kind::Cell].map(|kind| stats.blocks(kind))
}

fn text<R>(f: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).map(|_| ()).unwrap_err();
    panic.downcast::<String>().map_or_else(|p| (*p.downcast::<&str>().unwrap()).to_owned(), |text| *text)
}

#[test]
fn smoke() {
    let _alone = alone();
    let before = blocks();
    let lock = Lock::new().unwrap();
    let (value, array) = (Value::with_lock(1_u64, &lock).unwrap(), Array::with_lock(2, 7_u8, &lock).unwrap());
    value.set(2);
    *value.lock() += 1;
    assert_eq!(value.fetch_add(1), 3);
    array.set(0, 9);
    array.lock().write(1.., &[8]);
    assert_eq!((value.get(), array.to_vec()), (4, vec![9, 8]));
    assert!(value.get_lock().is_some() && array.get_lock().is_some());
    drop((lock, value, array)); // in any order
    assert_eq!(blocks(), before);
}

#[test]
fn all_that_are_bound_to_a_lock_exclude_each_other() {
    let _alone = alone();
    let lock = Lock::new().unwrap();
    let (a, b) = (Value::with_lock(0, &lock).unwrap(), Value::with_lock(0, &lock).unwrap());
    let c = Array::with_lock(2, 0, &lock).unwrap();
    let free = |but: u32| {
        std::thread::scope(|s| {
            s.spawn(|| {
                assert_eq!(a.try_lock().is_some(), but == 0);
                assert_eq!(b.try_lock().is_some(), but == 0);
                assert_eq!(c.try_lock().is_some(), but == 0);
                assert_eq!(lock.try_lock().is_some(), but == 0);
            });
        });
    };
    free(0);
    let guard = a.lock();
    free(1);
    drop(guard);
    let guard = c.lock();
    free(1);
    drop(guard);
    let guard = lock.lock();
    free(1);
    drop(guard);
    free(0);
}

#[test]
fn a_second_guard_on_the_same_thread_is_refused_with_advice() {
    let _alone = alone();
    let lock = Lock::new().unwrap();
    let (a, b) = (Value::with_lock(0, &lock).unwrap(), Array::with_lock(1, 0, &lock).unwrap());
    let guard = a.lock();
    assert_eq!(b.lock_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    assert_eq!(a.lock_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    assert_eq!(lock.lock_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    for advice in [text(|| drop(b.lock())), text(|| b.set(0, 1)), text(|| a.set(1)), text(|| drop(lock.lock()))] {
        assert!(advice.contains("drop its guard before"), "{advice}");
    }
    drop(guard);
    assert!(b.try_lock().is_some());
}

#[test]
fn who_holds_the_lock_changes_several_together() {
    let _alone = alone();
    let lock = Lock::new().unwrap();
    let (a, b) = (Value::with_lock(10, &lock).unwrap(), Value::with_lock(0, &lock).unwrap());
    let c = Array::with_lock(1, [0_u64; 3], &lock).unwrap();
    let mut guard = lock.lock();
    *a.locked_by(&mut guard) -= 1;
    *b.locked_by(&mut guard) += 1;
    c.locked_by(&mut guard).update(0, |words| words[1] = 5);
    assert!(!b.locked_by(&mut guard).recovered());
    assert_eq!((a.get(), b.get(), c.get(0)), (9, 1, [0, 5, 0]), "each is published when its guard is dropped");
    assert!(
        std::thread::scope(|s| s.spawn(|| a.try_lock().is_none()).join().unwrap()),
        "the lock is held all the time"
    );
    drop(guard);
    assert!(a.try_lock().is_some());
}

#[test]
fn the_guard_of_another_lock_is_refused() {
    let _alone = alone();
    let (lock, other) = (Lock::new().unwrap(), Lock::new().unwrap());
    let value = Value::with_lock(1, &lock).unwrap();
    let (own, array) = (Value::new(1).unwrap(), Array::new(1, 1).unwrap());
    let mut guard = other.lock();
    for advice in [
        text(|| drop(value.locked_by(&mut guard))),
        text(|| drop(own.locked_by(&mut guard))),
        text(|| drop(array.locked_by(&mut guard))),
    ] {
        assert!(advice.contains("that of another lock"), "{advice}");
    }
    drop(guard);
    assert!(value.try_lock().is_some() && own.try_lock().is_some() && array.try_lock().is_some());
}

#[test]
fn a_panic_drops_the_change_and_the_lock_stays_with_its_guard() {
    let _alone = alone();
    let lock = Lock::new().unwrap();
    let value = Value::with_lock(1, &lock).unwrap();
    let mut guard = lock.lock();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        *value.locked_by(&mut guard) = 2;
        let mut copy = value.locked_by(&mut guard);
        *copy = 3;
        panic!("in the middle");
    }));
    assert!(panicked.is_err());
    assert!(std::thread::scope(|s| s.spawn(|| value.try_lock().is_none()).join().unwrap()));
    drop(guard);
    assert_eq!(value.get(), 2);
}

fn arrive<T: serde::Serialize + 'static, U: serde::de::DeserializeOwned + 'static>(t: &T) -> Result<U, String> {
    let family = Family::get().unwrap();
    Message::encode(family, t).unwrap().decode(family).map_err(|e| e.to_string())
}

#[test]
fn handles_travel_with_their_lock() {
    let _alone = alone();
    let before = blocks();
    let lock = Lock::new().unwrap();
    let made = (Value::with_lock(1_u8, &lock).unwrap(), Array::with_lock(1, 7_u64, &lock).unwrap());
    let (value, array): (Value<u8>, Array<u64>) = arrive(&made).unwrap();
    let guard = lock.lock();
    std::thread::scope(|s| {
        s.spawn(|| assert!(value.try_lock().is_none() && array.try_lock().is_none()));
    });
    drop(guard);
    drop((lock, made)); // those that arrived keep it alive
    let again = arrive::<_, Value<u8>>(&value).unwrap();
    let guard = again.lock();
    std::thread::scope(|s| {
        s.spawn(|| assert!(value.try_lock().is_none() && array.try_lock().is_none()));
    });
    drop(guard);
    assert!(arrive::<_, Value<i8>>(&value).is_err(), "it is of another type");
    drop((value, array, again));
    assert_eq!(blocks(), before);
}

#[test]
fn processes_change_what_is_bound_to_one_lock_together() {
    let _alone = alone();
    const N: u64 = 2_000;
    fn work(lock: Lock, a: Value<u64>, b: Array<u64>) {
        for _ in 0..N {
            let mut guard = lock.lock();
            *a.locked_by(&mut guard) += 1;
            b.locked_by(&mut guard).update(0, |n| *n += 1);
            drop(guard);
            *a.lock() += 1;
            b.update(0, |n| *n += 1);
        }
    }
    watchdog(LIMIT, || {
        let lock = Lock::new().unwrap();
        let (a, b) = (Value::with_lock(0, &lock).unwrap(), Array::with_lock(1, 0, &lock).unwrap());
        let children = [(); 2].map(|()| Process::spawn(work, (lock.clone(), a.clone(), b.clone())).unwrap());
        let mut guard = lock.lock();
        let one = *a.locked_by(&mut guard);
        assert!(one <= 4 * N && b.locked_by(&mut guard).get(0) <= 4 * N);
        drop(guard);
        assert!(children.iter().all(|child| child.join().unwrap().success()));
        assert_eq!((a.get(), b.get(0)), (4 * N, 4 * N));
    });
}

#[test]
fn a_death_with_the_lock_is_told_whatever_it_was_taken_for() {
    let _alone = alone();
    fn hold(value: Value<u64>, ready: Value<bool>) {
        let mut guard = value.lock();
        *guard = 2;
        ready.set(true);
        loop {
            std::thread::park();
        }
    }
    watchdog(LIMIT, || {
        let lock = Lock::new().unwrap();
        let (value, array) = (Value::with_lock(1, &lock).unwrap(), Array::with_lock(1, 1, &lock).unwrap());
        let ready = Value::new(false).unwrap();
        let child = Process::spawn(hold, (value.clone(), ready.clone())).unwrap();
        while !ready.get() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.join().unwrap();
        array.set(0, 2); // passes it on
        let mut guard = lock.lock();
        assert!(guard.recovered());
        assert!(array.locked_by(&mut guard).recovered() && value.locked_by(&mut guard).recovered());
        drop(guard);
        assert!(!value.lock().recovered(), "it is told once");
        assert_eq!(value.get(), 1);
    });
}
