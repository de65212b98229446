//! Loom models of values and of wide elements: readers get an old or a new one, never half (V1–V3, E1–E3, R2, A2), and with
//! a new one what its writer did before (R1, A1).
//!
//! What loom cannot see: death (the kill harness). Narrow elements are one atomic each. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_sync::raw::RawLock;
use polyproc_sys::Deadline;
use polyproc_sys::atomic::AtomicU64;
use polyproc_values::raw::{Elements, Journal, RawValue};

/// A value of two words, and what its first writer does before: seen by whoever sees his value.
struct Shared {
    value: RawValue<[AtomicU64; 4]>,
    before: UnsafeCell<u64>,
}

// SAFETY: `before` is written once, before the value is, and read by those who have seen that; loom checks it.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

fn shared() -> Arc<Shared> {
    Arc::new(Shared { value: RawValue::new(), before: UnsafeCell::new(0) })
}

fn check(bound: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Writes `n` as both words.
fn write(value: &RawValue, n: u64) {
    value.write(|_| n);
}

/// Both words of a value are the same.
fn read(value: &RawValue) -> u64 {
    let mut words = [0; 2];
    value.read(|i, word| words[i] = word);
    assert_eq!(words[0], words[1], "torn");
    words[0]
}

#[test]
fn one_writer_twice_and_a_reader() {
    check(3, || {
        let s = shared();
        let writer = {
            let s = Arc::clone(&s);
            thread::spawn(move || (1..=2).for_each(|n| write(&s.value, n)))
        };
        let (first, second) = (read(&s.value), read(&s.value));
        assert!(first <= second, "back in time");
        writer.join().expect("the writer ended well");
        assert_eq!(read(&s.value), 2);
    });
}

#[test]
fn a_new_value_brings_what_was_done_before() {
    check(3, || {
        let s = shared();
        let writer = {
            let s = Arc::clone(&s);
            thread::spawn(move || {
                // SAFETY: nobody reads it before he has seen the value.
                s.before.with_mut(|p| unsafe { *p = 7 });
                write(&s.value, 1);
            })
        };
        if read(&s.value) == 1 {
            // SAFETY: written before the value was.
            s.before.with(|p| assert_eq!(unsafe { *p }, 7));
        }
        writer.join().expect("the writer ended well");
    });
}

/// The version that makes a copy the other one is stored by one writer, and the copy written over by the next. The reader
/// is a thread of its own: as the main one, loom's bounded search passes by the broken twin.
#[test]
fn two_writers_under_the_lock_and_a_reader() {
    fn add(s: &Shared) {
        // SAFETY: the lock lives in the Arc of the caller.
        unsafe { RawLock::lock((&s.value as &RawValue).lock(), Deadline::NEVER) }.expect("nobody holds it for ever");
        write(&s.value, read(&s.value) + 1);
        // SAFETY: held by this thread.
        unsafe { RawLock::unlock((&s.value as &RawValue).lock(), false) };
    }
    check(2, || {
        let s = shared();
        let reader = {
            let s = Arc::clone(&s);
            thread::spawn(move || assert!(read(&s.value) <= 2))
        };
        let writer = {
            let s = Arc::clone(&s);
            thread::spawn(move || add(&s))
        };
        add(&s);
        writer.join().expect("a writer ended well");
        reader.join().expect("the reader ended well");
        assert_eq!(read(&s.value), 2);
    });
}

/// Two elements of two words, and the spare.
struct Array {
    journal: Journal,
    words: [AtomicU64; 6],
    before: UnsafeCell<u64>,
}

// SAFETY: as for `Shared`.
unsafe impl Sync for Array {}
// SAFETY: as for `Shared`.
unsafe impl Send for Array {}

impl Array {
    fn new() -> Arc<Self> {
        let words = core::array::from_fn(|_| AtomicU64::new(0));
        Arc::new(Self { journal: Journal::new(), words, before: UnsafeCell::new(0) })
    }

    fn elements(&self) -> Elements<'_> {
        Elements::new(&self.journal, &self.words, 2, 16).expect("six words")
    }

    fn set(&self, i: usize, n: u64) {
        self.elements().store(i, |_| n);
    }

    fn get(&self, i: usize) -> u64 {
        let mut words = [0; 2];
        self.elements().load(i, |k, word| words[k] = word);
        assert_eq!(words[0], words[1], "torn");
        words[0]
    }
}

#[test]
fn one_element_twice_and_a_reader() {
    check(2, || {
        let array = Array::new();
        let writer = {
            let array = Arc::clone(&array);
            thread::spawn(move || (1..=2).for_each(|n| array.set(0, n)))
        };
        let (first, second) = (array.get(0), array.get(0));
        assert!(first <= second, "back in time");
        writer.join().expect("the writer ended well");
        assert_eq!((array.get(0), array.get(1)), (2, 0));
    });
}

#[test]
fn two_elements_and_a_reader() {
    check(2, || {
        let array = Array::new();
        let writer = {
            let array = Arc::clone(&array);
            thread::spawn(move || {
                array.set(0, 1);
                array.set(1, 5);
            })
        };
        let (one, zero) = (array.get(1), array.get(0));
        assert!(one == 0 || (one, zero) == (5, 1), "out of order: {one} {zero}");
        writer.join().expect("the writer ended well");
        assert_eq!((array.get(0), array.get(1)), (1, 5));
    });
}

#[test]
fn a_new_element_brings_what_was_done_before() {
    check(3, || {
        let array = Array::new();
        let writer = {
            let array = Arc::clone(&array);
            thread::spawn(move || {
                // SAFETY: nobody reads it before he has seen the element.
                array.before.with_mut(|p| unsafe { *p = 7 });
                array.set(0, 1);
            })
        };
        if array.get(0) == 1 {
            // SAFETY: written before the element was.
            array.before.with(|p| assert_eq!(unsafe { *p }, 7));
        }
        writer.join().expect("the writer ended well");
    });
}
