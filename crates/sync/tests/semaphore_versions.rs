//! A cell's version comes round: no permit arrives a second time (P8). No thread stalls between two instructions here.
#![cfg(not(polyproc_loom))]

use polyproc_sync::Semaphore;
use polyproc_sync::raw::RawSemaphore;
use polyproc_sys::{Deadline, atomic::AtomicU64};

/// The only permit is moved into the cell, its owner dies, others own it in turn, and then it is taken to be counted.
#[test]
fn a_permit_that_was_owned_often_is_not_doubled() {
    const DEAD: u32 = 9;
    let dead = |owner| owner == DEAD;
    let sized = RawSemaphore::<[AtomicU64; 1]>::new(1, 1);
    let s: &RawSemaphore = &sized;
    let _owes = s.announce();
    s.own(DEAD, dead, Deadline::PAST).unwrap(); // moved there when the cell had version 0; now 1
    for _ in 0..(1 << 19) - 1 {
        let owned = s.own(1, dead, Deadline::PAST).unwrap(); // the first of them is that of the dead
        s.give_back(owned);
    }
    // The cell has version 2^20 - 1, of which `word` knows 20 bits.
    for _ in 0..10 {
        assert!(s.acquire(dead, Deadline::PAST));
        assert_eq!(s.available(dead), 0, "somebody has the only permit");
        assert!(!s.acquire(dead, Deadline::PAST), "the permit was doubled");
        s.release(1).unwrap();
        assert_eq!(s.available(dead), 1);
        let owned = s.own(1, dead, Deadline::PAST).unwrap();
        assert_eq!(s.available(dead), 0);
        s.give_back(owned);
    }
}

#[test]
fn a_permit_of_a_handle_that_was_owned_often_is_not_doubled() {
    let s = Semaphore::bounded(1).unwrap();
    std::thread::scope(|scope| scope.spawn(|| core::mem::forget(s.acquire_owned().unwrap())).join().unwrap());
    for _ in 0..(1 << 19) - 1 {
        drop(s.acquire_owned().unwrap());
    }
    assert!(s.try_acquire());
    assert!(!s.try_acquire(), "the only permit was had twice");
}
