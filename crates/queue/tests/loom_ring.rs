//! Loom models of the slotring: every message comes out once, whole, in the order of its producer (S1–S5, Q1, Q2).
//!
//! Covered: wrap-around, full, empty, two producers, two consumers. What loom cannot see: sleeping (the gate has its own
//! models) and death (the kill harness). Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::sync::Arc;
use loom::thread;
use polyproc_queue::raw::Ring;
use polyproc_queue::raw::ring::{NotNow, Owner, Take, Unchecked};
use polyproc_sys::atomic::AtomicU64;

struct Shared {
    head: AtomicU64,
    tail: AtomicU64,
    words: Vec<AtomicU64>,
    capacity: usize,
}

impl Shared {
    fn new(capacity: usize) -> Arc<Self> {
        let words = (0..capacity * 3).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { head: AtomicU64::new(0), tail: AtomicU64::new(0), words, capacity })
    }

    fn ring(&self) -> Ring<'_, 3> {
        Ring::new(&self.head, &self.tail, &self.words, self.capacity).expect("slots of three words")
    }
}

/// Puts `n`, `n + 1`, …; each payload says its number twice, so that a torn one shows.
fn put(s: &Shared, owner: u16, first: u64, count: u64) -> u64 {
    let mut done = 0;
    for n in first..first + count {
        match s.ring().put(Owner::new(owner, 1), &[n, !n]) {
            Ok(()) => done += 1,
            Err(e) => {
                assert_eq!(e, NotNow::Blocked, "Q3"); // full: the models do not wait
                break;
            }
        }
    }
    done
}

fn get(s: &Shared, most: usize) -> Vec<u64> {
    let mut out = Vec::new();
    for _ in 0..most {
        let mut payload = [0; 2];
        let take = |payload: &[u64; 2], read: Unchecked<'_>| {
            assert!(!read.is_whole() || payload[0] == !payload[1], "torn, and said to be whole");
            Take::Yes
        };
        if let Err(e) = s.ring().get(&mut payload, |_| false, take) {
            assert_eq!(e, NotNow::Blocked, "Q3");
            break;
        }
        assert_eq!(payload[0], !payload[1], "torn");
        out.push(payload[0]);
    }
    out
}

fn check(bound: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(model);
}

#[test]
fn one_to_one_wraps_around() {
    check(3, || {
        let s = Shared::new(2);
        let consumer = {
            let s = Arc::clone(&s);
            thread::spawn(move || get(&s, 3))
        };
        let count = put(&s, 1, 10, 3);
        let mut got = consumer.join().expect("the consumer ended well");
        got.extend(get(&s, 3));
        assert_eq!(got, (10..10 + count).collect::<Vec<_>>());
    });
}

#[test]
fn two_producers() {
    check(3, || {
        let s = Shared::new(2);
        let producer = {
            let s = Arc::clone(&s);
            thread::spawn(move || put(&s, 1, 10, 1))
        };
        let mine = put(&s, 2, 20, 2);
        let theirs = producer.join().expect("the producer ended well");
        let got = get(&s, 4);
        assert_eq!(mine + theirs, 2, "a ring of two takes two of the three");
        assert_eq!(got.len(), 2);
        let of_mine: Vec<_> = got.iter().copied().filter(|n| *n >= 20).collect();
        assert_eq!(of_mine, (20..20 + mine).collect::<Vec<_>>());
    });
}

#[test]
fn two_consumers() {
    check(3, || {
        let s = Shared::new(2);
        assert_eq!(put(&s, 1, 10, 2), 2);
        let consumer = {
            let s = Arc::clone(&s);
            thread::spawn(move || get(&s, 2))
        };
        let mine = get(&s, 2);
        let theirs = consumer.join().expect("the consumer ended well");
        assert!(mine.is_sorted() && theirs.is_sorted());
        let mut all = [mine, theirs].concat();
        all.sort_unstable();
        assert_eq!(all, [10, 11]);
    });
}

#[test]
fn two_producers_and_a_consumer_in_one_slot() {
    check(2, || {
        let s = Shared::new(1);
        let producer = {
            let s = Arc::clone(&s);
            thread::spawn(move || put(&s, 1, 10, 1))
        };
        let consumer = {
            let s = Arc::clone(&s);
            thread::spawn(move || get(&s, 2))
        };
        let mut count = put(&s, 2, 20, 1);
        count += producer.join().expect("a producer ended well");
        let mut got = consumer.join().expect("the consumer ended well");
        got.extend(get(&s, 2));
        assert_eq!(got.len() as u64, count);
    });
}

/// Three threads, of which only one puts: loom remembers an object's last access alone, so that a thread that has looked
/// at a word before it changes it hides the looks of the others.
#[test]
fn a_slot_is_read_while_another_takes_it_and_a_third_fills_it() {
    check(3, || {
        let s = Shared::new(1);
        assert_eq!(put(&s, 1, 10, 1), 1);
        let consumer = {
            let s = Arc::clone(&s);
            thread::spawn(move || get(&s, 1).len())
        };
        let producer = {
            let s = Arc::clone(&s);
            thread::spawn(move || put(&s, 1, 20, 1))
        };
        let mine = get(&s, 1).len();
        let theirs = consumer.join().expect("the consumer ended well");
        let count = 1 + producer.join().expect("the producer ended well");
        assert_eq!((mine + theirs + get(&s, 1).len()) as u64, count);
    });
}
