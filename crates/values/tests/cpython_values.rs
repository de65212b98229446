//! CPython's own tests of `Value`, `Array` and shared ctypes, by their names (`_TestValue`, `_TestArray`, `_TestSharedCTypes`).
#![cfg(not(polyproc_loom))]

use bytemuck::{Pod, Zeroable};
use polyproc_process::Process;
use polyproc_sync::Lock;
use polyproc_sync::raw::RawLock;
use polyproc_sys::Deadline;
use polyproc_sys::atomic::AtomicU64;
use polyproc_testing::watchdog;
use polyproc_values::raw::{Elements, Journal, RawValue};
use polyproc_values::{Array, Value};
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);

/// The sequence of CPython's tests.
const SEQ: [i32; 10] = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];

#[test]
fn test_value() {
    type Codes = (Value<i32>, Value<f64>, Value<i16>, Value<i64>, Value<u8>);
    fn set((i, d, h, q, c): Codes) {
        i.set(24234);
        d.set(-4.25);
        h.set(234);
        q.set(1 << 34);
        c.set(b'y');
    }
    watchdog(LIMIT, || {
        let codes: Codes = (
            Value::new(4343).unwrap(),
            Value::new(3.625).unwrap(),
            Value::new(-232).unwrap(),
            Value::new(1 << 33).unwrap(),
            Value::new(b'x').unwrap(),
        );
        let get = |(i, d, h, q, c): &Codes| (i.get(), d.get(), h.get(), q.get(), c.get());
        assert_eq!(get(&codes), (4343, 3.625, -232, 1 << 33, b'x'));
        assert!(Process::spawn(set, (codes.clone(),)).unwrap().join().unwrap().success());
        assert_eq!(get(&codes), (24234, -4.25, 234, 1 << 34, b'y'));
    });
}

/// Without a lock there: that of whoever uses it.
#[test]
fn test_rawvalue() {
    let place: RawValue<[AtomicU64; 2]> = RawValue::new();
    let value: &RawValue = &place;
    for n in [4343, 24234] {
        value.write(|_| n);
        value.read(|_, word| assert_eq!(word, n));
    }
}

/// Python hands out the lock and the object; here the guard is both.
#[test]
fn test_getobj_getlock() {
    let own = Value::new(5_i32).unwrap();
    assert!(own.get_lock().is_none() && *own.lock() == 5);
    let lock = Lock::new().unwrap();
    let given = Value::with_lock(5_i32, &lock).unwrap();
    let guard = given.get_lock().expect("it was given one").lock();
    assert!(std::thread::scope(|s| s.spawn(|| lock.try_lock().is_none()).join().unwrap()), "the very lock");
    drop(guard);
    assert_eq!(*given.lock(), 5);
}

/// What the child of `test_array` does.
fn running_sum(arr: Array<i32>) {
    let guard = arr.lock();
    for i in 1..guard.len() {
        guard.set(i, guard.get(i) + guard.get(i - 1));
    }
}

#[test]
fn test_array() {
    watchdog(LIMIT, || {
        let mut seq = SEQ;
        let arr = Array::from_slice(&seq).unwrap();
        assert_eq!((arr.len(), arr.get(3)), (seq.len(), seq[3]));
        let mut part = [0; 5];
        arr.read(2..7, &mut part);
        assert_eq!(part, seq[2..7]);
        seq[4..8].copy_from_slice(&[1, 2, 3, 4]);
        arr.write(4..8, &[1, 2, 3, 4]);
        assert_eq!(arr.to_vec(), seq);
        for i in 1..seq.len() {
            seq[i] += seq[i - 1];
        }
        assert!(Process::spawn(running_sum, (arr.clone(),)).unwrap().join().unwrap().success());
        assert_eq!(arr.to_vec(), seq);
    });
}

#[test]
fn test_array_from_size() {
    const SIZE: usize = 10;
    // Zeroed also where memory is used again.
    for _ in 0..3 {
        let arr = Array::<i32>::zeroed(SIZE).unwrap();
        assert_eq!((arr.len(), arr.to_vec()), (SIZE, vec![0; SIZE]));
        arr.write(.., &core::array::from_fn::<_, SIZE, _>(|i| i32::try_from(i).unwrap()));
        assert!(arr.iter().eq(0..10));
    }
}

/// As `test_array`, in memory and under a lock of one's own.
#[test]
fn test_rawarray() {
    let (lock, journal) = (RawLock::new(), Journal::new());
    let words: [AtomicU64; 5] = core::array::from_fn(|_| AtomicU64::new(0));
    let arr = Elements::new(&journal, &words, 10, Elements::stride(size_of::<i32>())).unwrap();
    // SAFETY: a lock of this frame, given up before its end.
    unsafe { RawLock::lock(&raw const lock, Deadline::NEVER) }.unwrap();
    for (i, n) in SEQ.iter().enumerate() {
        arr.store(i, |_| u64::from(n.unsigned_abs()));
    }
    // SAFETY: held by this thread.
    unsafe { RawLock::unlock(&raw const lock, false) };
    for (i, n) in SEQ.iter().enumerate() {
        arr.load(i, |_, word| assert_eq!(word & 0xffff_ffff, u64::from(n.unsigned_abs())));
    }
}

#[test]
fn test_getobj_getlock_obj() {
    let own = Array::from_iter(0..10).unwrap();
    assert!(own.get_lock().is_none());
    let lock = Lock::new().unwrap();
    let given = Array::with_lock(10, 7, &lock).unwrap();
    let guard = given.get_lock().expect("it was given one").lock();
    assert!(std::thread::scope(|s| s.spawn(|| given.try_lock().is_none()).join().unwrap()));
    drop(guard);
    assert_eq!(given.lock().get(9), 7);
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Foo {
    y: f64,
    z: i64,
    x: i32,
    _no_gap: i32,
}

type Shared = (Value<i32>, Value<f64>, Value<i64>, Value<Foo>, Array<f64>, Array<u8>);

fn double((x, y, z, record, arr, string): Shared) {
    x.update(|x| *x *= 2);
    y.update(|y| *y *= 2.0);
    z.update(|z| *z *= 2);
    let mut record = record.lock();
    record.x *= 2;
    record.y *= 2.0;
    let guard = arr.lock();
    (0..guard.len()).for_each(|i| guard.update(i, |x| *x *= 2.0));
    let text = string.to_vec();
    string.write(5..10, &text[..5]);
}

fn sharedctypes(lock: Option<&Lock>) {
    let record = Foo { x: 3, y: 2.0, z: 1 << 33, _no_gap: 0 };
    let shared: Shared = match lock {
        None => (
            Value::new(7).unwrap(),
            Value::new(1.0 / 3.0).unwrap(),
            Value::new(1 << 33).unwrap(),
            Value::new(record).unwrap(),
            Array::zeroed(10).unwrap(),
            Array::zeroed(20).unwrap(),
        ),
        Some(lock) => (
            Value::with_lock(7, lock).unwrap(),
            Value::with_lock(1.0 / 3.0, lock).unwrap(),
            Value::with_lock(1 << 33, lock).unwrap(),
            Value::new(record).unwrap(), // it is held beside another one
            Array::with_lock(10, 0.0, lock).unwrap(),
            Array::new(20, 0).unwrap(),
        ),
    };
    let (x, y, z, record, arr, string) = &shared;
    arr.write(.., &core::array::from_fn::<_, 10, _>(|i| i as f64));
    string.write(..5, b"hello");
    assert!(Process::spawn(double, (shared.clone(),)).unwrap().join().unwrap().success());
    assert_eq!((x.get(), y.get(), z.get()), (14, 2.0 / 3.0, 1 << 34));
    assert_eq!((record.get().x, record.get().y), (6, 4.0));
    assert!(arr.iter().zip(0..).all(|(x, i)| x == f64::from(2 * i)));
    assert_eq!(string.to_vec()[..10], *b"hellohello");
}

#[test]
fn test_sharedctypes() {
    watchdog(LIMIT, || sharedctypes(None));
}

#[test]
fn test_synchronize() {
    watchdog(LIMIT, || sharedctypes(Some(&Lock::new().unwrap())));
}

#[test]
fn test_copy() {
    let record = Value::new(Foo { x: 2, y: 5.0, z: 1 << 33, _no_gap: 0 }).unwrap();
    let copy = Value::new(record.get()).unwrap();
    record.set(Foo::zeroed());
    assert_eq!(copy.get(), Foo { x: 2, y: 5.0, z: 1 << 33, _no_gap: 0 });
}
