//! The slotring by itself: what its hints may and may not do.
#![cfg(not(polyproc_loom))]

use polyproc_queue::raw::Ring;
use polyproc_queue::raw::ring::{NotNow, Owner, Take};
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};

const ME: Owner = Owner::new(1, 1);

struct Bytes {
    head: AtomicU64,
    tail: AtomicU64,
    words: Vec<AtomicU64>,
}

impl Bytes {
    fn new(capacity: usize) -> Self {
        let words = (0..2 * capacity).map(|_| AtomicU64::new(0)).collect();
        Self { head: AtomicU64::new(0), tail: AtomicU64::new(0), words }
    }

    fn ring(&self) -> Ring<'_, 2> {
        Ring::new(&self.head, &self.tail, &self.words, self.words.len() / 2).unwrap()
    }
}

fn get(ring: Ring<'_, 2>) -> Result<u64, NotNow> {
    let mut out = [0];
    ring.get(&mut out, |_| false, |_, _| Take::Yes).map(|()| out[0])
}

/// A producer was off the CPU between its claim and its hint, and a consumer likewise, while others put 200,000 items.
#[test]
fn hints_that_fall_far_behind_are_caught_up_with() {
    const MANY: u64 = 200_000;
    let bytes = Bytes::new(1 << 18);
    let ring = bytes.ring();
    for n in 0..MANY {
        ring.put(ME, &[n]).unwrap();
    }
    bytes.tail.store(1, Relaxed);
    assert_eq!(ring.len(), MANY);
    ring.put(ME, &[MANY]).unwrap();
    for n in 0..MANY {
        assert_eq!(get(ring), Ok(n));
    }
    bytes.head.store(1, Relaxed);
    assert_eq!(ring.len(), 1);
    assert_eq!(get(ring), Ok(MANY));
    assert_eq!(get(ring), Err(NotNow::Blocked));
}

#[test]
fn turns_go_on_after_2_to_the_32() {
    let bytes = Bytes::new(2);
    let last = u64::from(u32::MAX) << 1; // the first position of the last turn
    bytes.head.store(last, Relaxed);
    bytes.tail.store(last, Relaxed);
    for slot in bytes.words.chunks(2) {
        slot[0].store(u64::from(u32::MAX) << 32, Relaxed);
    }
    let ring = bytes.ring();
    for n in 0..10 {
        ring.put(ME, &[n]).unwrap();
        ring.put(ME, &[n + 100]).unwrap();
        assert_eq!(ring.put(ME, &[0]), Err(NotNow::Blocked));
        assert_eq!((get(ring), get(ring)), (Ok(n), Ok(n + 100)));
    }
}

#[test]
fn scribbled_words_are_errors() {
    let bytes = Bytes::new(4);
    let ring = bytes.ring();
    for word in [u64::MAX, 3, 1 << 63, 0x7fff_ffff_0000_0002, 0xdead_beef] {
        for slot in bytes.words.chunks(2) {
            slot[0].store(word, Relaxed);
        }
        for hint in [0, 5, u64::MAX] {
            bytes.head.store(hint, Relaxed);
            bytes.tail.store(hint, Relaxed);
            let _ = (ring.put(ME, &[1]), get(ring), ring.len(), ring.has_room(), ring.has_message(|_| true));
        }
    }
}
