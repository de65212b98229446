//! What a value does, within one process.
#![cfg(not(polyproc_loom))]

use bytemuck::{CheckedBitPattern, NoUninit, Pod, Zeroable};
use polyproc_shm::{Family, Kind, Message, Object, message};
use polyproc_sync::LockError;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use polyproc_testing::watchdog;
use polyproc_values::{Plain, Value, ValueError};
use serde::{Deserialize, Deserializer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn smoke() {
    let value = Value::new(1_u64).unwrap();
    value.set(2);
    assert_eq!(value.update(|v| core::mem::replace(v, 3)), 2);
    *value.lock() += 1;
    assert_eq!(value.get(), 4);
    assert_eq!(format!("{value:?}"), "Value(4)");
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Point {
    x: f64,
    y: f32,
    id: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum State {
    Idle = 1,
    Busy,
}

fn round_trip<T: Plain + PartialEq + core::fmt::Debug>(a: T, b: T) {
    let value = Value::new(a).unwrap();
    assert_eq!(value.get(), a);
    for _ in 0..2 {
        value.set(b);
        assert_eq!(value.get(), b);
        *value.lock() = a;
        assert_eq!(*value.lock(), a);
    }
}

#[test]
fn all_kinds_of_types_come_out_as_they_went_in() {
    round_trip((), ());
    round_trip(0_u8, 255);
    round_trip(i16::MIN, -1);
    round_trip([1_u8, 2, 3], [7; 3]);
    round_trip([1_u8; 13], [7; 13]);
    round_trip(f64::MAX, -0.5);
    round_trip(u128::MAX, 1 << 100);
    round_trip(true, false);
    round_trip('x', '\u{1F980}');
    round_trip(State::Idle, State::Busy);
    round_trip(Point { x: 1.0, y: 2.0, id: *b"abcd" }, Point { x: -1.0, y: 0.0, id: *b"wxyz" });
    round_trip([5_u64; 2037], core::array::from_fn(|i| i as u64)); // the largest
}

#[test]
fn what_is_too_large_is_refused() {
    let error = Value::new([0_u64; 2038]).unwrap_err();
    assert!(matches!(error, ValueError::TooLarge { size: 16304 }), "{error}");
}

#[test]
fn a_panic_rolls_back_and_gives_up_the_lock() {
    let value = Value::new([1, 2]).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        value.update(|v| {
            v[0] = 10;
            panic!("in the middle");
        })
    }));
    assert!(panicked.is_err());
    let guard = value.try_lock().expect("the lock is free");
    assert!(!guard.recovered(), "nobody died");
    assert_eq!(*guard, [1, 2]);
}

/// A guard that lives and dies inside of a destructor commits, also if that runs because of a panic.
#[test]
fn a_change_made_while_a_panic_unwinds_counts() {
    struct Counts<'a>(&'a Value<u32>);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            *self.0.lock() += 1;
        }
    }
    let value = Value::new(0).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _counts = Counts(&value);
        panic!("unwinding");
    }));
    assert!(panicked.is_err());
    assert_eq!(value.get(), 1);
}

#[test]
fn readers_see_the_old_value_until_the_guard_is_dropped() {
    let value = Value::new([1_u64; 4]).unwrap();
    let mut guard = value.lock();
    *guard = [2; 4];
    let other = value.clone();
    assert_eq!(std::thread::spawn(move || other.get()).join().unwrap(), [1; 4]);
    drop(guard);
    assert_eq!(value.get(), [2; 4]);
}

#[test]
fn a_lock_that_is_held_is_not_got() {
    let value = Value::new(1).unwrap();
    let guard = value.lock();
    assert!(matches!(value.lock_timeout(Duration::MAX), Err(LockError::Mine)));
    let set = catch_unwind(AssertUnwindSafe(|| value.set(2)));
    let text = *set.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("drop its guard before"), "{text}");
    let other = value.clone();
    let waiter = std::thread::spawn(move || {
        watchdog(LIMIT, || {
            let start = Instant::now();
            assert!(matches!(other.lock_timeout(Duration::from_millis(30)), Err(LockError::TimedOut)));
            assert!(start.elapsed() >= Duration::from_millis(30));
            assert!(other.try_lock().is_none());
        });
    });
    waiter.join().unwrap();
    drop(guard);
    assert_eq!(value.get(), 1);
    assert!(value.try_lock().is_some());
}

#[test]
fn a_thread_that_dies_with_the_lock_is_told_to_the_next_guard() {
    let value = Value::new([1_u64; 3]).unwrap();
    let other = value.clone();
    std::thread::spawn(move || {
        let mut guard = other.lock();
        *guard = [2; 3];
        core::mem::forget(guard);
    })
    .join()
    .unwrap();
    watchdog(LIMIT, || {
        assert_eq!(value.get(), [1; 3], "it was never published");
        value.set([3; 3]); // passes it on
        value.update(|v| v[0] = 4); // so does this
        let guard = value.lock();
        assert!(guard.recovered());
        assert_eq!(*guard, [4, 3, 3]);
    });
    assert!(!value.lock().recovered(), "it is told once");
}

#[test]
fn a_forgotten_guard_keeps_the_bytes() {
    let before = Family::get().unwrap().stats().blocks(Kind::Value);
    let value = Value::new(1_u8).unwrap();
    core::mem::forget(value.lock());
    drop(value);
    assert!(Family::get().unwrap().stats().blocks(Kind::Value) > before);
    drop(Value::new(1_u8).unwrap().lock()); // this thread's list of locks is well
}

/// A handle of anything that a message carries.
struct Handle<const KIND: u8>(Arc<Object>);

impl<'de, const KIND: u8> Deserialize<'de> for Handle<KIND> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::from_u8(KIND).unwrap(), 48, d).map(Self)
    }
}

fn object_of<T: Plain>(value: &Value<T>) -> Arc<Object> {
    let family = Family::get().unwrap();
    let message = Message::encode(family, value).unwrap();
    let (handle, None::<()>) = message.decode::<(Handle<{ Kind::Value as u8 }>, _)>(family).unwrap() else {
        panic!("it is bound to a lock")
    };
    handle.0
}

fn arrive<T: Plain, U: Plain>(value: &Value<T>) -> Result<Value<U>, String> {
    let family = Family::get().unwrap();
    Message::encode(family, value).unwrap().decode(family).map_err(|e| e.to_string())
}

#[test]
fn a_value_of_another_type_is_refused() {
    let value = Value::new(1_u64).unwrap();
    assert_eq!(arrive::<u64, u64>(&value).unwrap().get(), 1);
    let text = arrive::<u64, f64>(&value).unwrap_err();
    assert!(text.contains("no value of type polyproc_values::value::Value<f64>"), "{text}");
    assert!(arrive::<u64, [u64; 100]>(&value).is_err(), "it is too small for that");
}

/// Bytes that are no value of the type, as a process makes them that writes where it should not.
#[test]
fn bytes_that_are_no_value_never_come_out() {
    let value = Value::new('x').unwrap();
    value.set('y');
    let object = object_of(&value);
    for word in 6..8 {
        // SAFETY: the two copies of a value of one word: bytes 48 to 64 of an object of 64.
        unsafe { object.as_ptr().cast::<u64>().wrapping_add(word).write(0xffff_ffff) };
    }
    assert_eq!(value.get(), 'x', "the one that the handle was made with");
    assert!(arrive::<char, char>(&value).is_err());
    assert_eq!(*value.lock(), 'x');
    value.set('z');
    assert_eq!(value.get(), 'z');
    assert_eq!(arrive::<char, char>(&value).unwrap().get(), 'z');
}

/// What a writer did before is seen by whoever sees the new value.
#[test]
fn stress_a_new_value_brings_what_was_done_before() {
    const N: u64 = 25_000;
    let value = Value::new(0_u64).unwrap();
    let before = AtomicU64::new(0);
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            s.spawn(|| {
                for n in 1..=N {
                    before.store(n, Relaxed);
                    value.set(n);
                }
            });
            let mut seen = 0;
            while seen < N {
                let now = value.get();
                assert!(before.load(Relaxed) >= now && now >= seen);
                seen = now;
            }
        });
    });
}

#[test]
fn stress_values_are_never_torn_and_no_change_is_lost() {
    const N: u64 = 5_000;
    const WORDS: usize = 64;
    let value = Value::new([0_u64; WORDS]).unwrap();
    let done = AtomicU64::new(0);
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            let readers = [(); 2].map(|()| {
                s.spawn(|| {
                    let mut last = 0;
                    while done.load(Relaxed) == 0 {
                        let now = value.get();
                        assert!(now.iter().all(|n| *n == now[0]), "torn: {now:?}");
                        assert!(now[0] >= last, "back in time");
                        last = now[0];
                    }
                })
            });
            let writers = [(); 2].map(|()| {
                s.spawn(|| {
                    for _ in 0..N {
                        value.update(|v| v.iter_mut().for_each(|n| *n += 1));
                    }
                })
            });
            writers.into_iter().for_each(|w| w.join().unwrap());
            done.store(1, Relaxed);
            readers.into_iter().for_each(|r| r.join().unwrap());
        });
    });
    assert_eq!(value.get(), [2 * N; WORDS]);
}

/// The panic begins under the lock while another one unwinds already.
#[test]
fn a_panic_in_an_update_drops_the_change_even_in_a_destructor() {
    struct Updates<'a>(&'a Value<u64>);
    impl Drop for Updates<'_> {
        fn drop(&mut self) {
            let update = || {
                self.0.update(|n| {
                    *n = 99;
                    assert_eq!(*n, 1, "inner");
                });
            };
            let _ = std::panic::catch_unwind(core::panic::AssertUnwindSafe(update));
        }
    }
    let value = Value::new(1_u64).unwrap();
    let outer = || {
        let _updates = Updates(&value);
        panic!("outer");
    };
    let _ = std::panic::catch_unwind(core::panic::AssertUnwindSafe(outer));
    assert_eq!(value.get(), 1);
    assert!(value.try_lock().is_some());
}
