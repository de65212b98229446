//! The operations of std's atomics on values.
#![cfg(not(polyproc_loom))]

use polyproc_testing::watchdog;
use polyproc_values::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// The expected results are those of std's atomics, which the check of our own rules keeps out of here.
macro_rules! as_std {
    ($($name:ident: $t:ty;)*) => { $(
        #[test]
        fn $name() {
            let numbers = [0, 1, 2, <$t>::MAX, <$t>::MIN, 0x55, <$t>::MAX / 3];
            for (start, n) in numbers.iter().flat_map(|start| numbers.map(|n| (*start, n))) {
                let after = |f: &dyn Fn(&Value<$t>) -> $t| {
                    let value = Value::new(start).unwrap();
                    assert_eq!(f(&value), start, "what it was");
                    value.get()
                };
                assert_eq!(after(&|v| v.fetch_add(n)), start.wrapping_add(n));
                assert_eq!(after(&|v| v.fetch_sub(n)), start.wrapping_sub(n));
                assert_eq!(after(&|v| v.fetch_and(n)), start & n);
                assert_eq!(after(&|v| v.fetch_or(n)), start | n);
                assert_eq!(after(&|v| v.fetch_xor(n)), start ^ n);
                assert_eq!(after(&|v| v.fetch_max(n)), start.max(n));
                assert_eq!(after(&|v| v.fetch_min(n)), start.min(n));
                assert_eq!(after(&|v| v.swap(n)), n);
                let value = Value::new(start).unwrap();
                assert_eq!(value.compare_exchange(n, 1), if start == n { Ok(n) } else { Err(start) });
                assert_eq!(value.get(), if start == n { 1 } else { start });
            }
        }
    )* };
}

as_std! {
    u8_changes_as_an_atomic_does: u8;
    u16_changes_as_an_atomic_does: u16;
    u32_changes_as_an_atomic_does: u32;
    u64_changes_as_an_atomic_does: u64;
    usize_changes_as_an_atomic_does: usize;
    i8_changes_as_an_atomic_does: i8;
    i16_changes_as_an_atomic_does: i16;
    i32_changes_as_an_atomic_does: i32;
    i64_changes_as_an_atomic_does: i64;
    isize_changes_as_an_atomic_does: isize;
}

#[test]
fn bool_changes_as_an_atomic_does() {
    for (start, n) in [(false, false), (false, true), (true, false), (true, true)] {
        let after = |f: &dyn Fn(&Value<bool>) -> bool| {
            let value = Value::new(start).unwrap();
            assert_eq!(f(&value), start, "what it was");
            value.get()
        };
        assert_eq!(after(&|v| v.fetch_and(n)), start & n);
        assert_eq!(after(&|v| v.fetch_or(n)), start | n);
        assert_eq!(after(&|v| v.fetch_xor(n)), start ^ n);
        assert_eq!(after(&|v| v.swap(n)), n);
    }
}

#[test]
fn types_that_are_no_numbers_can_be_exchanged() {
    let value = Value::new([1.0, 2.0]).unwrap();
    assert_eq!(value.swap([3.0, 4.0]), [1.0, 2.0]);
    assert_eq!(value.compare_exchange([3.0, 4.0], [0.0; 2]), Ok([3.0, 4.0]));
    assert_eq!(value.compare_exchange([3.0, 4.0], [1.0; 2]), Err([0.0; 2]));
    let value = Value::new(f64::NAN).unwrap();
    assert!(value.compare_exchange(f64::NAN, 1.0).is_err(), "it is not equal to itself");
}

#[test]
fn a_comparison_in_vain_does_not_wait_for_the_lock() {
    let value = Value::new(1).unwrap();
    let guard = value.lock();
    assert_eq!(value.compare_exchange(2, 3), Err(1), "nor is it refused because this thread holds it");
    let added = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| value.fetch_add(1)));
    assert!(added.is_err(), "what must change the value is");
    drop(guard);
    assert_eq!(value.get(), 1);
}

/// Guards, updates, sets and all the rest, at the same time: each adds one.
#[test]
fn stress_no_way_to_change_a_value_loses_what_another_did() {
    const N: u64 = 5_000;
    fn exchange(value: &Value<u64>) {
        let mut now = value.get();
        while let Err(other) = value.compare_exchange(now, now + 1) {
            now = other;
        }
    }
    let ways: [fn(&Value<u64>); 5] = [
        |value| assert!(value.fetch_add(1) < 5 * N),
        |value| assert!(value.fetch_sub(u64::MAX) < 5 * N),
        |value| *value.lock() += 1,
        |value| value.update(|n| *n += 1),
        exchange,
    ];
    let value = Value::new(0_u64).unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for way in ways {
                let value = &value;
                s.spawn(move || (0..N).for_each(|_| way(value)));
            }
        });
    });
    assert_eq!(value.get(), N * ways.len() as u64);
}
