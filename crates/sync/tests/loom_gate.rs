//! Loom models of the gate: whoever waits for a state that comes is woken (G1, G2, M1, G4).
//!
//! A lost wake-up shows as a deadlock. What loom cannot see is as in `loom_lock.rs`. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use loom::thread;
use polyproc_sync::raw::{RawGate, gate::Side};
use polyproc_sys::Deadline;

struct Permits {
    gate: RawGate,
    free: AtomicU32,
}

fn acquire(p: &Permits) {
    let take = || p.free.fetch_update(SeqCst, Relaxed, |n| n.checked_sub(1)).is_ok();
    let _owes = p.gate.announce();
    if !take() {
        let settle = || {
            if p.free.load(Relaxed) > 0 {
                p.gate.ring(Side::Takers); // G4
            }
        };
        assert!(p.gate.wait(Side::Takers, Deadline::NEVER, take, settle));
    }
}

fn release(p: &Permits) {
    let _owes = p.gate.announce();
    p.free.fetch_add(1, SeqCst);
    p.gate.ring(Side::Takers);
}

fn model(acquirers: usize, releasers: usize, each: usize, bound: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        let p = Arc::new(Permits { gate: RawGate::new(), free: AtomicU32::new(0) });
        let mut threads = Vec::new();
        for _ in 0..acquirers {
            let p = Arc::clone(&p);
            threads.push(thread::spawn(move || (0..each).for_each(|_| acquire(&p))));
        }
        for _ in 1..releasers {
            let p = Arc::clone(&p);
            threads.push(thread::spawn(move || (0..each).for_each(|_| release(&p))));
        }
        (0..each).for_each(|_| release(&p));
        for t in threads {
            t.join().expect("a thread of the model ended well");
        }
        assert_eq!(p.free.load(Relaxed), 0);
    });
}

#[test]
fn one_waiter_one_poster() {
    model(1, 1, 1, 4);
}

#[test]
fn one_waiter_one_poster_two_rounds() {
    model(1, 1, 2, 3);
}

#[test]
fn two_waiters_two_posters() {
    model(2, 2, 1, 2);
}
