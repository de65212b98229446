//! What an array does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Kind, Message, Object, ShmError, message};
use polyproc_sync::LockError;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use polyproc_testing::watchdog;
use polyproc_values::{Array, Plain};
use serde::{Deserialize, Deserializer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn smoke() {
    let array = Array::new(3, 7_u16).unwrap();
    array.set(1, 8);
    assert_eq!((array.len(), array.is_empty(), array.get(1)), (3, false, 8));
    array.write(1.., &[1, 2]);
    assert_eq!(array.to_vec(), [7, 1, 2]);
    assert!(array.iter().rev().eq([2, 1, 7]));
    assert_eq!(format!("{array:?}"), "Array { len: 3, .. }");
}

fn round_trip<T: Plain + PartialEq + core::fmt::Debug>(items: &[T]) {
    let array = Array::from_slice(items).unwrap();
    assert_eq!(array.to_vec(), items);
    assert!(array.iter().eq(items.iter().copied()));
    // Every element has its own place: turned round one by one, whole, and in parts.
    let back: Vec<T> = items.iter().rev().copied().collect();
    for (i, item) in back.iter().enumerate() {
        array.set(i, *item);
        assert_eq!(array.get(i), *item);
    }
    assert_eq!(array.to_vec(), back);
    array.write(.., items);
    for start in 0..items.len() {
        let mut part = back[start..].to_vec();
        array.read(start.., &mut part);
        assert_eq!(part, items[start..]);
        array.lock().write(start..=start, &back[start..=start]);
        array.lock().write(..start, &back[..start]);
        assert_eq!(array.lock().to_vec(), [&back[..=start], &items[start + 1..]].concat());
        array.write(.., items);
    }
    let ours = Array::new(items.len(), items[0]).unwrap();
    assert_eq!(ours.to_vec(), vec![items[0]; items.len()]);
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
fn all_kinds_of_elements_come_out_as_they_went_in() {
    round_trip(&[()]);
    round_trip(&core::array::from_fn::<u8, 21, _>(|i| i as u8 + 1));
    round_trip(&core::array::from_fn::<i16, 13, _>(|i| -(i as i16)));
    round_trip(&core::array::from_fn::<[u8; 3], 7, _>(|i| [i as u8, 2, 255]));
    round_trip(&core::array::from_fn::<f32, 9, _>(|i| i as f32));
    round_trip(&core::array::from_fn::<[u8; 6], 5, _>(|i| [i as u8; 6]));
    round_trip(&core::array::from_fn::<u64, 5, _>(|i| u64::MAX - i as u64));
    round_trip(&core::array::from_fn::<[u8; 9], 5, _>(|i| [i as u8; 9]));
    round_trip(&core::array::from_fn::<u128, 5, _>(|i| u128::MAX - i as u128));
    round_trip(&core::array::from_fn::<[u64; 50], 3, _>(|i| [i as u64; 50]));
    round_trip(&[true, false, true]);
    round_trip(&['x', '\u{1F980}']);
}

#[test]
fn an_array_may_be_empty() {
    let array = Array::<u64>::zeroed(0).unwrap();
    assert!(array.is_empty() && array.to_vec().is_empty() && array.iter().next().is_none());
    array.write(.., &[]);
    assert_eq!(arrive::<u64, u64>(&array).unwrap().len(), 0);
}

#[test]
fn memory_that_is_used_again_is_zeroed() {
    for len in [100, 10_000, 1_000_000] {
        drop(Array::new(len, u8::MAX).unwrap());
        assert!(Array::<u8>::zeroed(len).unwrap().iter().all(|n| n == 0));
    }
}

#[test]
fn what_is_out_of_bounds_panics_with_the_numbers() {
    fn text<R>(f: impl FnOnce() -> R) -> String {
        let panic = catch_unwind(AssertUnwindSafe(f)).map(|_| ()).unwrap_err();
        *panic.downcast::<String>().unwrap()
    }
    let narrow = Array::new(3, 0_u8).unwrap();
    let wide = Array::new(3, 0_u128).unwrap();
    let index = "index 3 is out of bounds: there are 3 elements";
    assert_eq!(text(|| narrow.get(3)), index);
    assert_eq!(text(|| wide.get(3)), index);
    assert_eq!(text(|| narrow.set(3, 1)), index);
    assert_eq!(text(|| wide.lock().set(3, 1)), index);
    assert_eq!(text(|| narrow.read(2..4, &mut [0; 2])), "range 2..4 is out of bounds: there are 3 elements");
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tried")]
    let backwards = text(|| narrow.write(2..1, &[]));
    assert_eq!(backwards, "range 2..1 is out of bounds: there are 3 elements");
    assert_eq!(
        text(|| wide.write(..=usize::MAX, &[])),
        format!("range 0..{} is out of bounds: there are 3 elements", usize::MAX)
    );
    assert_eq!(text(|| wide.write(.., &[1])), "range 0..3 and a slice of 1 elements have different lengths");
    assert_eq!((narrow.to_vec(), wide.to_vec()), (vec![0; 3], vec![0; 3]));
    assert!(narrow.try_lock().is_some() && wide.try_lock().is_some(), "the locks are free");
}

#[test]
fn what_finds_no_space_is_refused() {
    for len in [1 << 48, usize::MAX / 16, usize::MAX] {
        assert!(matches!(Array::<u8>::zeroed(len), Err(ShmError::NoAddressSpace { .. } | ShmError::NoSpace { .. })));
        assert!(matches!(Array::<u128>::zeroed(len), Err(ShmError::NoAddressSpace { .. } | ShmError::NoSpace { .. })));
    }
}

#[test]
fn nobody_stores_while_a_guard_lives() {
    let array = Array::new(2, 1_u32).unwrap();
    let guard = array.lock();
    assert!(matches!(array.lock_timeout(Duration::MAX), Err(LockError::Mine)));
    let other = array.clone();
    let setter = std::thread::spawn(move || watchdog(LIMIT, || other.set(0, 10)));
    for n in 0..1000 {
        guard.set(0, n);
        assert_eq!((guard.get(0), array.get(0)), (n, n), "it takes effect at once, and nobody comes in between");
    }
    drop(guard);
    setter.join().unwrap();
    assert_eq!(array.to_vec(), [10, 1]);
}

#[test]
fn a_thread_that_dies_with_the_lock_is_told_to_the_next_guard() {
    let array = Array::new(2, [1_u64; 3]).unwrap();
    let other = array.clone();
    std::thread::spawn(move || {
        let guard = other.lock();
        guard.set(0, [2; 3]);
        core::mem::forget(guard);
    })
    .join()
    .unwrap();
    watchdog(LIMIT, || {
        array.set(1, [3; 3]); // passes it on
        array.write(1.., &[[4; 3]]); // so does this
        let guard = array.lock();
        assert!(guard.recovered());
        assert_eq!(guard.to_vec(), [[2; 3], [4; 3]]);
    });
    assert!(!array.lock().recovered(), "it is told once");
}

/// A handle of anything that a message carries.
struct Handle<const KIND: u8>(Arc<Object>);

impl<'de, const KIND: u8> Deserialize<'de> for Handle<KIND> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::from_u8(KIND).unwrap(), 104, d).map(Self)
    }
}

/// The words of an array's header: 5 and 6 are the journal, 7 the length, 8 the type, 9 to 12 the elements' block.
fn header_of<T: Plain>(array: &Array<T>) -> Header {
    let family = Family::get().unwrap();
    let message = Message::encode(family, array).unwrap();
    let (handle, None::<()>) = message.decode::<(Handle<{ Kind::Array as u8 }>, _)>(family).unwrap() else {
        panic!("it is bound to a lock")
    };
    Header(handle.0)
}

struct Header(Arc<Object>);

impl Header {
    fn word(&self, i: usize) -> &AtomicU64 {
        assert!(i < 13);
        // SAFETY: the object has at least 104 bytes, aligned, and is kept by `self`; they are atomics for everybody.
        unsafe { &*self.0.as_ptr().cast::<AtomicU64>().wrapping_add(i) }
    }

    /// A word of the elements' block.
    fn data(&self, i: u64) -> &AtomicU64 {
        let place = self.0.family().at(self.word(9).load(Relaxed) + i * 8, 8).unwrap();
        // SAFETY: checked by `at`; the elements are atomics for everybody.
        unsafe { &*place.cast() }
    }
}

fn arrive<T: Plain, U: Plain>(array: &Array<T>) -> Result<Array<U>, String> {
    let family = Family::get().unwrap();
    Message::encode(family, array).unwrap().decode(family).map_err(|e| e.to_string())
}

#[test]
fn an_array_of_another_type_is_refused() {
    let array = Array::new(4, 1_u64).unwrap();
    assert_eq!(arrive::<u64, u64>(&array).unwrap().to_vec(), [1; 4]);
    let text = arrive::<u64, f64>(&array).unwrap_err();
    assert!(text.contains("no value of type polyproc_values::array::Array<f64>"), "{text}");
}

/// What a process makes that writes where it should not.
#[test]
fn scribbles_are_refused_or_read_as_something() {
    let array = Array::from_slice(&['a', 'b', 'c']).unwrap();
    let header = header_of(&array);
    header.data(0).store(u64::MAX, Relaxed);
    assert_eq!(array.to_vec(), ['a', 'a', 'c'], "what is no char reads as the first one was");
    let arrived = arrive::<char, char>(&array).unwrap();
    assert_eq!(arrived.to_vec(), ['c'; 3], "for this handle, the first that there was");
    header.data(1).store(u64::MAX, Relaxed);
    assert!(arrive::<char, char>(&array).is_err(), "no element is a char");
    array.set(1, 'x');
    assert_eq!(array.to_vec(), ['a', 'x', 'a']);

    for i in [7, 9, 10] {
        let word = header.word(i).load(Relaxed);
        for wrong in [0, 1, word + 1, word + 8, 1 << 40, u64::MAX] {
            header.word(i).store(wrong, Relaxed);
            // A block that lies elsewhere in the family's memory is garbage, not more.
            drop(arrive::<char, char>(&array).map(|a| a.to_vec()));
        }
        header.word(i).store(word, Relaxed);
        assert_eq!(array.get(1), 'x', "this handle has its own copy of what was written there");
    }
}

/// What a writer of a wide element leaves that is killed in the middle, and what others make of any journal.
#[test]
fn a_journal_is_followed_and_repaired() {
    let array = Array::from_slice(&[[1_u64; 2], [2; 2]]).unwrap();
    let header = header_of(&array);
    let journal = |version, index| {
        header.word(5).store(version, Relaxed);
        header.word(6).store(index, Relaxed);
    };
    // Killed while it wrote the place of element 1: words 2 and 3; the spare is 4 and 5.
    for (i, word) in [(2, 9), (4, 9), (5, 9)] {
        header.data(i).store(word, Relaxed);
    }
    journal(1, 1);
    assert_eq!(array.to_vec(), [[1; 2], [9; 2]], "readers take the spare");
    assert_eq!(header.data(3).load(Relaxed), 2);
    assert_eq!(array.lock().to_vec(), [[1; 2], [9; 2]]);
    assert_eq!((header.data(3).load(Relaxed), header.word(5).load(Relaxed)), (9, 2), "the next holder repairs");
    for index in [2, 3, 1 << 40, u64::MAX] {
        journal(3, index);
        assert_eq!(array.to_vec(), [[1; 2], [9; 2]]);
        array.set(0, [1; 2]);
        assert_eq!(array.to_vec(), [[1; 2], [9; 2]], "there is no such element");
    }
}

fn stress<const WORDS: usize>() {
    const N: u64 = 5_000;
    let array = Array::new(3, [0_u64; WORDS]).unwrap();
    let done = AtomicU64::new(0);
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            let readers = [(); 2].map(|()| {
                s.spawn(|| {
                    let mut last = [0; 3];
                    while done.load(Relaxed) == 0 {
                        for (element, last) in array.iter().zip(&mut last) {
                            assert!(element.iter().all(|n| *n == element[0]), "torn: {element:?}");
                            assert!(element[0] >= *last, "back in time");
                            *last = element[0];
                        }
                    }
                })
            });
            let writers = [(); 2].map(|()| {
                s.spawn(|| {
                    for _ in 0..N {
                        let guard = array.lock();
                        (0..3).for_each(|i| guard.set(i, guard.get(i).map(|n| n + 1)));
                    }
                })
            });
            writers.into_iter().for_each(|w| w.join().unwrap());
            done.store(1, Relaxed);
            readers.into_iter().for_each(|r| r.join().unwrap());
        });
    });
    assert_eq!(array.to_vec(), [[2 * N; WORDS]; 3]);
}

#[test]
fn stress_elements_are_never_torn_and_no_change_is_lost() {
    stress::<1>();
    stress::<2>();
    stress::<20>();
}

/// Neighbours in one word, set by threads that hold no guard.
#[test]
fn stress_neighbours_do_not_undo_each_other() {
    const N: u8 = 100;
    let array = Array::new(8, 0_u8).unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for i in 0..4 {
                let array = &array;
                s.spawn(move || {
                    for n in 1..=N {
                        array.set(i, n);
                        assert_eq!(array.get(i), n);
                    }
                });
            }
        });
    });
    assert_eq!(array.to_vec(), [N, N, N, N, 0, 0, 0, 0]);
}
