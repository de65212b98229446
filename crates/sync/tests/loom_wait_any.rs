//! Loom models of waiting for several things (W1, W2): the waiter is woken by whichever becomes ready, and whoever waits
//! for one of them alone is not stranded by it.
//!
//! In models one who waits for several is woken before all others. A lost wake-up shows as a deadlock. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use loom::thread::{self, JoinHandle};
use polyproc_sync::raw::gate::{Armed, Side};
use polyproc_sync::raw::{RawEvent, RawGate};
use polyproc_sync::{Waitable, wait_any};
use polyproc_sys::Deadline;
use polyproc_sys::futex::Watch;

/// A queue of one item.
struct Slot {
    gate: RawGate,
    full: AtomicU32,
}

impl Slot {
    fn new(full: u32) -> Self {
        Self { gate: RawGate::new(), full: AtomicU32::new(full) }
    }

    fn change(&self, from: u32) -> bool {
        self.full.compare_exchange(from, 1 - from, SeqCst, Relaxed).is_ok()
    }

    fn settle(&self) {
        self.gate.ring(if self.full.load(Relaxed) == 1 { Side::Takers } else { Side::Givers });
    }

    fn get(&self) {
        let _owes = self.gate.announce();
        if !self.change(1) {
            assert!(self.gate.wait(Side::Takers, Deadline::NEVER, || self.change(1), || self.settle()));
        }
        self.gate.ring(Side::Givers);
    }

    fn put(&self) {
        let _owes = self.gate.announce();
        if !self.change(0) {
            assert!(self.gate.wait(Side::Givers, Deadline::NEVER, || self.change(0), || self.settle()));
        }
        self.gate.ring(Side::Takers);
    }
}

impl Waitable for Slot {
    fn is_ready(&self) -> bool {
        self.full.load(Relaxed) == 1
    }

    fn arm(&self, _: Option<u64>, woken: bool) -> Armed {
        self.gate.arm(Side::Takers, woken, || self.is_ready(), || self.settle())
    }

    fn watch(&self, word: u64) -> Watch<'_> {
        self.gate.watch(word)
    }
}

struct Set(RawEvent);

impl Waitable for Set {
    fn is_ready(&self) -> bool {
        self.0.is_set()
    }

    fn arm(&self, before: Option<u64>, _: bool) -> Armed {
        match before {
            Some(counted) if self.0.is_over(counted) => Armed::Ready,
            Some(counted) => Armed::Asleep(counted),
            None => self.0.arm().map_or(Armed::Ready, Armed::Asleep),
        }
    }

    fn watch(&self, counted: u64) -> Watch<'_> {
        self.0.watch(counted)
    }

    fn disarm(&self, counted: u64) -> bool {
        self.0.disarm(counted)
    }
}

struct Shared {
    a: Slot,
    b: Slot,
    event: Set,
}

fn check(bound: usize, full: u32, model: impl Fn(Arc<Shared>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        model(Arc::new(Shared { a: Slot::new(0), b: Slot::new(full), event: Set(RawEvent::new()) }));
    });
}

fn spawn(shared: &Arc<Shared>, body: impl FnOnce(&Shared) + 'static) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for t in threads {
        t.join().expect("a thread of the model ended well");
    }
}

#[test]
fn either_of_two_gates_wakes_the_waiter() {
    for first in [true, false] {
        check(3, 0, move |shared| {
            let waiter = spawn(&shared, move |s| {
                assert_eq!(wait_any(&[&s.a, &s.b], Deadline::NEVER), [usize::from(!first)]);
            });
            if first { &shared.a } else { &shared.b }.put();
            join([waiter]);
        });
    }
}

/// The waiter may consume the wake-up of the one that takes, or set the mark on which he falls asleep.
#[test]
fn a_blocking_taker_gets_the_item_beside_a_waiter() {
    check(2, 0, |shared| {
        let waiter = spawn(&shared, |s| {
            let _ = wait_any(&[&s.b, &s.a], Deadline::NEVER);
        });
        let poster = spawn(&shared, |s| {
            s.b.put();
            s.a.put();
        });
        shared.b.get();
        join([waiter, poster]);
    });
}

/// The slot is full: a giver sleeps, and the one that makes room may wake the waiter instead.
#[test]
fn a_blocking_giver_gets_room_beside_a_waiter() {
    check(2, 1, |shared| {
        let giver = spawn(&shared, |s| s.b.put());
        let waiter = spawn(&shared, |s| {
            let _ = wait_any(&[&s.event, &s.b], Deadline::NEVER);
        });
        shared.b.get();
        join([giver, waiter]);
    });
}

#[test]
fn an_event_or_a_gate_wakes_the_waiter() {
    for event in [true, false] {
        check(3, 0, move |shared| {
            let waiter = spawn(&shared, move |s| {
                assert_eq!(wait_any(&[&s.event, &s.a], Deadline::NEVER), [usize::from(!event)]);
            });
            if event {
                shared.event.0.set();
            } else {
                shared.a.put();
            }
            join([waiter]);
        });
    }
}

/// Whoever is counted is told, although the event is cleared at once.
#[test]
fn a_pulse_reaches_the_waiter() {
    check(3, 0, |shared| {
        let waiter = spawn(&shared, |s| assert_eq!(wait_any(&[&s.a, &s.event], Deadline::NEVER), [1]));
        while !shared.event.0.has_sleepers() {
            thread::yield_now();
        }
        shared.event.0.set();
        shared.event.0.clear();
        join([waiter]);
    });
}
