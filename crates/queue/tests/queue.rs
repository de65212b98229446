//! What a queue does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_queue::{GetError, PutError, Queue, QueueError};
use polyproc_shm::Buffer;
use polyproc_sync::Lock;
use polyproc_testing::watchdog;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn smoke() {
    let q = Queue::bounded(2).unwrap();
    q.put(1_u64).unwrap();
    q.put(2).unwrap();
    assert!(matches!(q.try_put(3), Err(PutError::Full(3))));
    assert_eq!((q.get().unwrap(), q.get().unwrap()), (1, 2));
    assert!(matches!(q.try_get(), Err(GetError::Empty)));
}

#[test]
fn bad_capacities_are_refused() {
    assert!(matches!(Queue::<u8>::bounded(0), Err(QueueError::Capacity(0))));
    assert!(matches!(Queue::<u8>::bounded(usize::MAX), Err(QueueError::Capacity(_))));
    assert!(matches!(Queue::<u8>::bounded((1 << 24) + 1), Err(QueueError::Capacity(_))));
    assert_eq!(Queue::<u8>::bounded(5).unwrap().capacity(), 8);
}

fn round_trip<T>(items: Vec<T>)
where
    T: serde::Serialize + serde::de::DeserializeOwned + Clone + PartialEq + core::fmt::Debug + 'static,
{
    let q = Queue::bounded(items.len()).unwrap();
    for item in &items {
        q.put(item.clone()).unwrap();
    }
    assert_eq!(q.len(), items.len());
    for item in items {
        assert_eq!(q.get().unwrap(), item);
    }
    assert!(q.is_empty());
}

#[test]
fn all_kinds_of_items_come_out_as_they_went_in() {
    round_trip(vec![0_u8, 255]);
    round_trip(vec![i64::MIN, -1, i64::MAX]);
    round_trip(vec![u128::MAX, 1 << 100]);
    round_trip(vec![1.5_f64, f64::INFINITY]);
    round_trip(vec![true, false]);
    round_trip(vec!['x', '\u{1F980}']);
    round_trip(vec![(); 3]);
    round_trip(vec![Some((1, "one".to_owned())), None]);
    round_trip([0, 1, 47, 48, 49, 500, 5000, 40_000, 70_000, 1 << 20].map(|n| vec![7_u8; n]).to_vec());
    round_trip([0, 1, 47, 48, 49, 5000].map(|n| "é".repeat(n)).to_vec());
    round_trip([0, 1, 11, 12, 13, 5000].map(|n| (n, vec![n; n as usize])).to_vec());
}

#[test]
fn buffers_are_not_copied() {
    let q = Queue::bounded(1).unwrap();
    for len in [0, 1, 48, 49, 40_000, 1 << 20] {
        let mut buffer = Buffer::zeroed(len).unwrap();
        buffer.fill(3);
        let at = buffer.as_ptr();
        q.put(buffer).unwrap();
        let PutError::Full(mine) = q.try_put(Buffer::copy_of(b"mine").unwrap()).unwrap_err() else {
            panic!("there is room")
        };
        assert_eq!(*mine, *b"mine", "handed back whole");
        let mut arrived = q.get().unwrap();
        assert_eq!((arrived.as_ptr(), arrived.len()), (at, len));
        assert!(arrived.iter().all(|b| *b == 3));
        arrived.truncate(len / 2);
        q.put(arrived).unwrap();
        assert_eq!(q.get().unwrap().len(), len / 2);
    }
    // Inside of something else its bytes are copied.
    let pairs = Queue::bounded(1).unwrap();
    pairs.put((7, Buffer::copy_of(&[9; 1000]).unwrap())).unwrap();
    let (n, buffer): (i32, Buffer) = pairs.get().unwrap();
    assert_eq!((n, &*buffer), (7, &[9; 1000][..]));
}

#[test]
fn handles_travel_in_items() {
    let (q, inner, lock) = (Queue::bounded(2).unwrap(), Queue::bounded(2).unwrap(), Lock::new().unwrap());
    q.put((inner.clone(), lock.clone(), "both".to_owned())).unwrap();
    inner.put(5_u32).unwrap();
    let held = lock.lock();
    let (inner2, lock2, text): (Queue<u32>, Lock, String) = q.get().unwrap();
    assert_eq!((inner2.get().unwrap(), text.as_str()), (5, "both"));
    assert!(lock2.try_lock().is_none(), "it is the same lock");
    drop(held);
    assert!(lock2.try_lock().is_some());
}

#[test]
fn timeouts_last_as_long_as_they_say() {
    let q = Queue::bounded(1).unwrap();
    watchdog(LIMIT, || {
        let start = Instant::now();
        assert!(matches!(q.get_timeout(Duration::from_millis(30)), Err(GetError::TimedOut)));
        q.put(1_u8).unwrap();
        assert!(matches!(q.put_timeout(2, Duration::from_millis(30)), Err(PutError::TimedOut(2))));
        assert!(start.elapsed() >= Duration::from_millis(60));
    });
}

/// Every item comes out once, in the order of its producer, whatever the numbers of both sides.
fn stress(producers: u64, consumers: usize, capacity: usize, each: u64) {
    let q = Queue::bounded(capacity).unwrap();
    let mut seen: Vec<(u64, u64)> = watchdog(LIMIT, || {
        std::thread::scope(|s| {
            let consumers: Vec<_> = (0..consumers)
                .map(|_| {
                    s.spawn(|| {
                        let got: Vec<(u64, u64)> = core::iter::from_fn(|| q.get().unwrap()).collect();
                        for p in 0..producers {
                            assert!(got.iter().filter(|(from, _)| *from == p).is_sorted(), "out of order");
                        }
                        got
                    })
                })
                .collect();
            std::thread::scope(|s| {
                for p in 0..producers {
                    let q = &q;
                    s.spawn(move || (0..each).for_each(|n| q.put(Some((p, n))).unwrap()));
                }
            });
            consumers.iter().for_each(|_| q.put(None).unwrap());
            consumers.into_iter().flat_map(|c| c.join().unwrap()).collect()
        })
    });
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as u64, producers * each, "lost or doubled");
}

#[test]
fn stress_one_to_one() {
    stress(1, 1, 64, 100_000);
}

#[test]
fn stress_one_slot() {
    stress(2, 2, 1, 5_000);
}

#[test]
fn stress_many_to_many() {
    stress(4, 4, 16, 25_000);
}
