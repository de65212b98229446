//! Loom models of the event: whoever was counted when it was set returns (E1, E2), and what came before a set is seen
//! after a wait (S1, S2).
//!
//! A lost wake-up shows as a deadlock. What loom cannot see is as in `loom_lock.rs`. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use loom::thread::{self, JoinHandle};
use polyproc_sync::raw::RawEvent;
use polyproc_sys::Deadline;

struct Shared {
    event: RawEvent,
    data: AtomicU32,
}

fn check(bound: usize, model: impl Fn(Arc<Shared>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || model(Arc::new(Shared { event: RawEvent::new(), data: AtomicU32::new(0) })));
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

fn wait(shared: &Shared) {
    assert!(shared.event.wait(Deadline::NEVER));
}

fn publish(shared: &Shared) {
    shared.data.store(1, Relaxed);
    shared.event.set();
}

#[test]
fn a_waiter_sees_what_came_before_the_set() {
    check(4, |shared| {
        let waiter = spawn(&shared, |s| {
            wait(s);
            assert_eq!(s.data.load(Relaxed), 1);
        });
        publish(&shared);
        join([waiter]);
    });
}

#[test]
fn two_waiters_and_one_set() {
    check(3, |shared| {
        let waiters = [(); 2].map(|()| spawn(&shared, wait));
        shared.event.set();
        join(waiters);
    });
}

#[test]
fn one_waiter_and_two_setters() {
    check(3, |shared| {
        let threads = [spawn(&shared, wait), spawn(&shared, |s| s.event.set())];
        shared.event.set();
        join(threads);
    });
}

/// Whoever is counted returns, although the event is cleared at once.
#[test]
fn a_pulse_reaches_the_counted() {
    check(3, |shared| {
        let waiter = spawn(&shared, |s| {
            wait(s);
            assert_eq!(s.data.load(Relaxed), 1);
        });
        while !shared.event.has_sleepers() {
            thread::yield_now();
        }
        publish(&shared);
        shared.event.clear();
        assert!(!shared.event.is_set());
        join([waiter]);
    });
}

/// The waiter may be counted in any of three epochs.
#[test]
fn two_pulses_and_a_set() {
    check(3, |shared| {
        let waiter = spawn(&shared, wait);
        for _ in 0..2 {
            shared.event.set();
            shared.event.clear();
        }
        shared.event.set();
        join([waiter]);
    });
}

#[test]
fn two_waiters_a_pulse_and_a_set() {
    check(2, |shared| {
        let waiters = [(); 2].map(|()| spawn(&shared, wait));
        shared.event.set();
        shared.event.clear();
        shared.event.set();
        join(waiters);
    });
}

/// Ping and pong over one event, cleared by who waits: the setter is still at its wake-up when the next epoch begins.
#[test]
fn a_slow_setter_and_the_next_round() {
    check(3, |shared| {
        let waiter = spawn(&shared, |s| {
            for round in 1..=2 {
                wait(s);
                s.event.clear();
                s.data.store(round, Relaxed);
            }
        });
        shared.event.set();
        while shared.data.load(Relaxed) == 0 {
            thread::yield_now();
        }
        shared.event.set();
        join([waiter]);
    });
}

/// The pattern of a consumer: clear, look, wait. A set of an event that was set before must not be missed (S2).
#[test]
fn a_set_of_a_set_event_meets_a_clear() {
    for setter_first in [true, false] {
        check(4, move |shared| {
            let consume = |s: &Shared| {
                s.event.clear();
                if s.data.load(Relaxed) == 0 {
                    wait(s);
                    assert_eq!(s.data.load(Relaxed), 1);
                }
            };
            shared.event.set();
            if setter_first {
                let other = spawn(&shared, consume);
                publish(&shared);
                join([other]);
            } else {
                let other = spawn(&shared, publish);
                consume(&shared);
                join([other]);
            }
        });
    }
}
