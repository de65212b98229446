//! Chunks of arrays: who may claim them, and what their owners, their neighbours and the lock's holder do to each other.
#![cfg(not(polyproc_loom))]

use polyproc_process::Process;
use polyproc_shm::{Family, Kind, Message};
use polyproc_testing::watchdog;
use polyproc_values::{Array, ClaimError, CutError, Plain, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(120);

/// One test at a time: some count blocks of the whole family.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned + 'static>(t: &T) -> T {
    let family = Family::get().unwrap();
    Message::encode(family, t).unwrap().decode(family).unwrap()
}

#[test]
fn smoke() {
    let _alone = alone();
    let array = Array::from_iter(0..10_u32).unwrap();
    let chunks = array.chunks(4).unwrap();
    assert_eq!((chunks.len(), chunks.range(0), chunks.range(2)), (3, 0..4, 8..10));
    let (first, last) = (chunks.claim(0).unwrap(), chunks.claim(2).unwrap());
    assert_eq!((first.len(), last.len(), last.get(1)), (4, 2, 9));
    first.write(1..3, &[70, 71]);
    last.fill(.., 5);
    last.set(0, 6);
    assert!(first.iter().eq([0, 70, 71, 3]) && !first.recovered());
    assert_eq!(array.to_vec(), [0, 70, 71, 3, 4, 5, 6, 7, 6, 5]);
    assert_eq!(
        format!("{chunks:?} {last:?}"),
        "Chunks { len: 3, elements: 4, .. } ChunkGuard { range: 8..10, recovered: false, .. }"
    );
}

fn fill_by_chunks<T: Plain + PartialEq + core::fmt::Debug>(of: impl Fn(usize) -> T) {
    for (len, cut) in [(1, 1), (7, 3), (16, 5), (64, 8), (65, 64), (10, 100)] {
        let array = Array::new(len, of(0)).unwrap();
        let chunks = array.chunks(cut).unwrap();
        for i in 0..chunks.len() {
            let chunk = chunks.claim(i).unwrap();
            let items: Vec<T> = chunk.range().map(&of).collect();
            if i % 2 == 0 {
                chunk.write(.., &items);
            } else {
                items.iter().enumerate().for_each(|(k, item)| chunk.set(k, *item));
            }
            let mut copy = vec![of(0); items.len()];
            chunk.read(.., &mut copy);
            assert_eq!(copy, items);
        }
        assert_eq!(array.to_vec(), (0..len).map(&of).collect::<Vec<_>>(), "{len} {cut}");
    }
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
fn chunks_of_all_kinds_of_elements_cover_the_array() {
    let _alone = alone();
    fill_by_chunks(|i| i as u8);
    fill_by_chunks(|i| i as i16);
    fill_by_chunks(|i| [i as u8, 1, 2]);
    fill_by_chunks(|i| i as f32);
    fill_by_chunks(|i| i as u64);
    fill_by_chunks(|i| [i as u8; 9]);
    fill_by_chunks(|i| [i as u64; 5]);
    fill_by_chunks(|i| i % 3 == 0);
}

#[test]
fn a_chunk_has_one_owner_in_all_handles() {
    let _alone = alone();
    let array = Array::new(10, 0_u8).unwrap();
    let (chunks, others) = (array.chunks(5).unwrap(), again(&array).chunks(5).unwrap());
    let mine = chunks.claim(0).unwrap();
    assert!(matches!(others.claim(0), Err(ClaimError::Mine { chunk: 0 })));
    std::thread::scope(|s| {
        s.spawn(|| {
            assert!(matches!(others.claim(0), Err(ClaimError::Claimed { chunk: 0 })));
            assert!(others.claim(1).is_ok(), "the other one is free");
        });
    });
    drop(mine);
    assert!(!others.claim(0).unwrap().recovered());
}

#[test]
fn an_array_is_cut_once() {
    let _alone = alone();
    let array = Array::new(10, 0_u8).unwrap();
    let chunks = array.chunks(3).unwrap();
    assert!(matches!(again(&array).chunks(4), Err(CutError::CutBefore { have: 3, want: 4 })));
    assert_eq!(array.chunks(3).unwrap().len(), chunks.len());
    assert!(Array::new(0, 0_u8).unwrap().chunks(3).unwrap().is_empty());
    assert_eq!(Array::new(3, 0_u8).unwrap().chunks(usize::MAX).unwrap().range(0), 0..3);
}

#[test]
fn what_is_out_of_bounds_panics() {
    let _alone = alone();
    fn text<R>(f: impl FnOnce() -> R) -> String {
        let panic = catch_unwind(AssertUnwindSafe(f)).map(|_| ()).unwrap_err();
        panic.downcast::<String>().map_or_else(|p| (*p.downcast::<&str>().unwrap()).to_owned(), |text| *text)
    }
    let array = Array::new(10, 0_u8).unwrap();
    let chunks = array.chunks(4).unwrap();
    assert_eq!(text(|| drop(chunks.claim(3))), "chunk 3 is out of bounds: there are 3");
    let last = chunks.claim(2).unwrap();
    assert_eq!(text(|| last.set(2, 1)), "range 2..3 is out of bounds: there are 2 elements");
    assert_eq!(
        text(|| last.get(usize::MAX)),
        format!("range {0}..{0} is out of bounds: there are 2 elements", usize::MAX)
    );
    assert_eq!(text(|| last.write(.., &[1])), "range 8..10 and a slice of 1 elements have different lengths");
    assert_eq!(text(|| drop(array.chunks(0))), "a chunk has at least one element");
    assert_eq!(array.to_vec(), [0; 10]);
}

#[test]
fn a_thread_that_ends_with_a_chunk_leaves_it_to_the_next_one() {
    let _alone = alone();
    let array = Array::new(8, 0_u16).unwrap();
    let chunks = array.chunks(4).unwrap();
    std::thread::scope(|s| {
        s.spawn(|| {
            let chunk = chunks.claim(1).unwrap();
            chunk.set(0, 1);
            core::mem::forget(chunk);
        });
    });
    watchdog(LIMIT, || {
        let chunk = loop {
            match chunks.claim(1) {
                Ok(chunk) => break chunk,
                Err(ClaimError::Claimed { .. }) => std::thread::yield_now(), // it ends
                Err(e) => panic!("{e}"),
            }
        };
        assert!(chunk.recovered());
        assert_eq!(chunk.get(0), 1);
    });
    assert!(!chunks.claim(1).unwrap().recovered(), "it is told once");
}

/// Boundaries of chunks in the middle of words, and a holder of the lock who stores to chunks that nobody claims.
#[test]
fn stress_owners_do_not_undo_what_their_neighbours_do() {
    let _alone = alone();
    const N: u8 = 200;
    let array = Array::new(40, 0_u8).unwrap();
    let chunks = array.chunks(5).unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for i in 0..4 {
                let (chunks, array) = (&chunks, &array);
                s.spawn(move || {
                    let chunk = chunks.claim(2 * i).unwrap();
                    for n in 1..=N {
                        match n % 3 {
                            0 => chunk.fill(.., n),
                            1 => chunk.write(.., &[n; 5]),
                            _ => (0..5).for_each(|k| chunk.set(k, n)),
                        }
                        assert!(chunk.iter().eq([n; 5]), "{:?}", array.to_vec());
                    }
                });
            }
            s.spawn(|| {
                for n in 1..=N {
                    for i in [1, 3, 5, 7] {
                        let range = chunks.range(i);
                        array.lock().fill(range.clone(), n);
                        assert!(range.map(|i| array.get(i)).eq([n; 5]), "{:?}", array.to_vec());
                        array.set(5, n);
                    }
                }
            });
        });
    });
    assert_eq!(array.to_vec(), [N; 40]);
}

#[test]
fn stress_a_chunk_is_never_claimed_by_two() {
    let _alone = alone();
    const N: u32 = 20_000;
    let array = Array::new(2, 0_u64).unwrap();
    let chunks = array.chunks(1).unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let mut done = 0;
                    while done < N {
                        if let Ok(chunk) = chunks.claim(1) {
                            chunk.set(0, chunk.get(0) + 1);
                            done += 1;
                        }
                    }
                });
            }
        });
    });
    assert_eq!(array.to_vec(), [0, 3 * u64::from(N)]);
}

#[test]
fn what_an_array_with_chunks_owns_is_freed_with_it() {
    let _alone = alone();
    let blocks = || Family::get().unwrap().stats().blocks(Kind::Data);
    let before = blocks();
    let array = Array::new(1000, 0_u8).unwrap();
    let chunks = array.chunks(10).unwrap();
    assert_eq!(blocks(), before + 2);
    core::mem::forget(chunks.claim(1).unwrap());
    drop(array);
    assert_eq!(blocks(), before + 2, "chunks keep their array");
    drop(chunks);
    assert_eq!(blocks(), before);
}

/// Workers claim what is free until all is done; some are killed with a chunk in hand.
#[test]
fn killed_workers_leave_chunks_that_others_finish() {
    let _alone = alone();
    const CHUNKS: usize = 40;
    const LEN: usize = 37; // ends within words
    fn work(array: Array<u8>, done: Array<bool>, at: Value<u64>, victim: bool) {
        let chunks = array.chunks(LEN).unwrap();
        for i in (0..CHUNKS).cycle() {
            if done.iter().all(|done| done) {
                return;
            }
            if done.get(i) {
                continue;
            }
            let Ok(chunk) = chunks.claim(i) else { continue };
            let n = u8::try_from(i).unwrap() + 1;
            chunk.fill(..LEN / 2, n);
            if victim {
                at.fetch_add(1);
                loop {
                    std::thread::park();
                }
            }
            chunk.fill(LEN / 2.., n);
            drop(chunk);
            done.set(i, true);
        }
    }
    watchdog(LIMIT, || {
        let before = Family::get().unwrap().stats().blocks(Kind::Data);
        let array = Array::new(CHUNKS * LEN, 0_u8).unwrap();
        let (done, at) = (Array::new(CHUNKS, false).unwrap(), Value::new(0_u64).unwrap());
        let spawn = |victim| Process::spawn(work, (array.clone(), done.clone(), at.clone(), victim)).unwrap();
        let victims = [true; 2].map(spawn);
        while at.get() < 2 {
            std::thread::yield_now();
        }
        for victim in victims {
            victim.kill().unwrap();
            victim.join().unwrap();
        }
        let chunks = array.chunks(LEN).unwrap();
        let left = (0..CHUNKS).filter(|i| chunks.claim(*i).unwrap().recovered()).count();
        assert_eq!(left, 2, "what the dead had is told once, and free");
        let workers = [false; 2].map(spawn);
        assert!(workers.iter().all(|worker| worker.join().unwrap().success()));
        assert!(array.iter().zip(0..).all(|(n, k)| usize::from(n) == k / LEN + 1));
        drop((array, done, chunks, at));
        assert_eq!(Family::get().unwrap().stats().blocks(Kind::Data), before);
    });
}
