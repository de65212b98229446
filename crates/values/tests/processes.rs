//! Values and arrays between real processes, and what is left when they are killed.
#![cfg(not(polyproc_loom))]

use polyproc_process::Process;
use polyproc_queue::Queue;
use polyproc_shm::{Family, Kind};
use polyproc_testing::watchdog;
use polyproc_values::{Array, Value};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(120);

/// One test at a time: they count blocks of the whole family.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn blocks() -> [u64; 3] {
    let stats = Family::get().unwrap().stats();
    [Kind::Value, Kind::Array, Kind::Data].map(|kind| stats.blocks(kind))
}

fn for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn processes_count_together_and_nobody_sees_half_a_value() {
    const N: u64 = 10_000;
    const PROCESSES: u64 = 3;
    fn count(total: Value<[u64; 8]>, each: Array<u32>, pair: Array<[u64; 2]>, done: Value<u64>, i: usize) {
        for n in 0..N {
            total.update(|t| t.iter_mut().for_each(|word| *word += 1));
            each.set(i, u32::try_from(n + 1).unwrap());
            let guard = pair.lock();
            guard.set(0, guard.get(0).map(|n| n + 1));
        }
        done.update(|d| *d += 1);
    }
    let _alone = alone();
    watchdog(LIMIT, || {
        let total = Value::new([0_u64; 8]).unwrap();
        let (each, pair) = (Array::zeroed(3).unwrap(), Array::zeroed(1).unwrap());
        let done = Value::new(0).unwrap();
        let children: Vec<_> = (0..3_usize)
            .map(|i| Process::spawn(count, (total.clone(), each.clone(), pair.clone(), done.clone(), i)).unwrap())
            .collect();
        while done.get() < PROCESSES {
            let (now, [a, b]) = (total.get(), pair.get(0));
            assert!(now.iter().all(|word| *word == now[0]) && a == b, "torn: {now:?} {a} {b}");
            assert!(each.iter().all(|n| u64::from(n) <= N));
        }
        assert!(children.into_iter().all(|child| child.join().unwrap().success()));
        assert_eq!(total.get(), [PROCESSES * N; 8]);
        assert_eq!((each.to_vec(), pair.get(0)), (vec![u32::try_from(N).unwrap(); 3], [PROCESSES * N; 2]));
    });
}

/// Each child says after each addition that it has made it: a kill may come in between.
#[test]
fn counters_of_killed_processes_are_exact_up_to_one_for_each_kill() {
    const CHILDREN: usize = 3;
    fn count(total: Value<u64>, made: Array<u64>, i: usize) {
        loop {
            total.fetch_add(1);
            made.update(i, |n| *n += 1);
        }
    }
    let _alone = alone();
    let mut random = u64::from(std::process::id()); // anything
    watchdog(LIMIT, || {
        for round in 0..10 {
            let (total, made) = (Value::new(0).unwrap(), Array::zeroed(CHILDREN).unwrap());
            let children: Vec<_> =
                (0..CHILDREN).map(|i| Process::spawn(count, (total.clone(), made.clone(), i)).unwrap()).collect();
            for (i, child) in children.iter().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let until = made.get(i) + 1 + random % 300;
                while made.get(i) < until {
                    std::thread::yield_now();
                }
                child.kill().unwrap();
                child.join().unwrap();
            }
            let (total, made) = (total.get(), made.iter().sum::<u64>());
            assert!((made..=made + CHILDREN as u64).contains(&total), "round {round}: {total} counted, {made} made");
        }
    });
}

#[test]
fn a_killed_holder_leaves_the_old_value_and_a_free_lock() {
    fn hold(value: Value<[u64; 3]>, array: Array<u64>, ready: Value<bool>) {
        let mut guard = value.lock();
        *guard = [2; 3];
        let elements = array.lock();
        elements.set(0, 2);
        ready.set(true);
        for_ever();
    }
    let _alone = alone();
    watchdog(LIMIT, || {
        let before = blocks();
        let (value, array) = (Value::new([1_u64; 3]).unwrap(), Array::new(2, 1_u64).unwrap());
        let ready = Value::new(false).unwrap();
        let child = Process::spawn(hold, (value.clone(), array.clone(), ready.clone())).unwrap();
        while !ready.get() {
            std::thread::yield_now();
        }
        assert!(value.try_lock().is_none() && array.try_lock().is_none());
        assert_eq!(value.get(), [1; 3], "readers wait for nobody");
        child.kill().unwrap();
        child.join().unwrap();
        let (guard, elements) = (value.lock(), array.lock());
        assert!(guard.recovered() && elements.recovered());
        assert_eq!((*guard, elements.to_vec()), ([1; 3], vec![2, 1]));
        drop((guard, elements));
        drop((value, array, ready));
        assert_eq!(blocks(), before);
    });
}

#[test]
fn handles_travel_in_items_and_outlive_their_maker() {
    type Item = (Value<f64>, Array<u64>, Array<[u32; 4]>);
    fn make(q: Queue<Item>) {
        let value = Value::new(0.5).unwrap();
        let large = Array::from_iter(0..100_000).unwrap();
        q.put((value, large, Array::new(3, [1, 2, 3, 4]).unwrap())).unwrap();
        for_ever();
    }
    let _alone = alone();
    watchdog(LIMIT, || {
        let before = blocks();
        let q = Queue::bounded(1).unwrap();
        let child = Process::spawn(make, (q.clone(),)).unwrap();
        let (value, large, wide) = q.get().unwrap();
        child.kill().unwrap();
        child.join().unwrap();
        // What comes back is used again at once: it must not be the array's.
        let others: Vec<_> = (0..10).map(|_| Array::new(100_000, u64::MAX).unwrap()).collect();
        assert_eq!(value.get(), 0.5);
        assert!(large.iter().eq(0..100_000));
        assert_eq!(wide.to_vec(), [[1, 2, 3, 4]; 3]);
        drop((others, value, large, wide, q));
        assert_eq!(blocks(), before);
    });
}

/// Arrays of a process that is killed: those of its own come back, the others when the last handle goes.
#[test]
fn a_thousand_arrays_of_a_killed_process_come_back() {
    fn hoard(given: Array<u64>, made: Value<u32>) {
        let arrays: Vec<_> = (0..1000).map(|n| Array::new(n * 10, n).unwrap()).collect();
        let values: Vec<_> = arrays.iter().map(|a| Value::new(a.len()).unwrap()).collect();
        made.set(u32::try_from(values.len()).unwrap());
        let _given = given;
        for_ever();
    }
    let _alone = alone();
    watchdog(LIMIT, || {
        let before = blocks();
        let (given, made) = (Array::new(20_000, 7_u64).unwrap(), Value::new(0).unwrap());
        let child = Process::spawn(hoard, (given.clone(), made.clone())).unwrap();
        while made.get() < 1000 {
            std::thread::yield_now();
        }
        let [values, arrays, data] = blocks();
        assert!(values >= before[0] + 1001 && arrays == before[1] + 1001 && data >= before[2] + 1001);
        drop(given); // the child holds it alone from here on
        assert_eq!(blocks()[1], arrays);
        child.kill().unwrap();
        child.join().unwrap();
        drop(made);
        assert_eq!(blocks(), before, "{:?}", Family::get().unwrap().stats());
    });
}

#[test]
fn dropped_handles_leave_nothing() {
    let _alone = alone();
    let before = blocks();
    for n in 0..100 {
        let (value, array) = (Value::new(n).unwrap(), Array::new(n * 100, [n; 2]).unwrap());
        drop((value.clone(), array.clone(), value, array));
    }
    assert_eq!(blocks(), before);
}
