//! Handles that go while their lock is held by a thread of this process.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Kind, Message};
use polyproc_sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc_values::{Array, Value};
use std::sync::Mutex;

static ALONE: Mutex<()> = Mutex::new(());

fn again<T: serde::Serialize + serde::de::DeserializeOwned + 'static>(t: &T) -> T {
    let family = Family::get().unwrap();
    Message::encode(family, t).unwrap().decode(family).unwrap()
}

fn blocks() -> [u64; 4] {
    let stats = Family::get().unwrap().stats();
    [Kind::Value, Kind::Array, Kind::Data, Kind::Cell].map(|kind| stats.blocks(kind))
}

/// No guard is forgotten here.
#[test]
fn a_handle_that_came_again_and_goes_while_another_one_is_locked_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = blocks();
    let (value, array) = (Value::new(1_u64).unwrap(), Array::new(8, 1_u64).unwrap());
    let guards = (value.lock(), array.lock());
    for _ in 0..100 {
        drop((again(&value), again(&array)));
    }
    drop(guards);
    drop((value, array));
    assert_eq!(blocks(), before);
}

/// The bytes of a value whose guard was forgotten must not become another's before that thread has ended.
#[test]
fn two_last_handles_that_go_at_once_keep_a_held_lock() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = blocks();
    let mut lost = 0;
    for _ in 0..1000 {
        drop(Value::new(1).unwrap()); // what was kept before goes now, if it may
        let there = blocks()[0];
        let value = Value::new(1_u64).unwrap();
        let other = value.clone();
        let gate = AtomicU32::new(0);
        let meet = |n| {
            gate.fetch_add(1, Relaxed);
            while gate.load(Relaxed) < n {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|s| {
            let holder = s.spawn(|| {
                core::mem::forget(other.lock());
                meet(2);
                drop(other);
                meet(4); // both are gone, and this thread, which holds the lock, lives
                blocks()[0]
            });
            meet(2);
            drop(value);
            meet(4);
            lost += u32::from(holder.join().unwrap() == there);
        });
    }
    assert_eq!(lost, 0, "of 1000 held locks, their bytes were freed");
    drop(Value::new(1).unwrap()); // when the next one goes
    assert_eq!(blocks(), before, "what was kept comes back when the threads have ended");
}
