//! What the handle of an event does, within one process and between two.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Message};
use polyproc_sync::{Event, Lock};
use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
use polyproc_testing::watchdog;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn smoke() {
    let event = Event::new().unwrap();
    assert_eq!(format!("{event:?}"), "Event { is_set: false, .. }");
    assert!(!event.wait_timeout(Duration::ZERO));
    event.set();
    event.wait();
    assert_eq!(format!("{event:?}"), "Event { is_set: true, .. }");
    event.clear();
    assert!(!event.is_set());
    assert!(!event.clone().wait_timeout(Duration::from_millis(1)));
}

#[test]
fn a_wait_lasts_as_long_as_its_time() {
    let (event, start) = (Event::new().unwrap(), Instant::now());
    assert!(!event.wait_timeout(Duration::from_millis(120))); // longer than a tick
    assert!(start.elapsed() >= Duration::from_millis(120));
}

#[test]
fn new_events_are_not_set_whatever_lay_there() {
    for _ in 0..5000 {
        let event = Event::new().unwrap();
        assert!(!event.is_set());
        event.set();
    }
}

#[test]
fn one_set_wakes_a_crowd() {
    watchdog(LIMIT, || {
        let (event, inside) = (Event::new().unwrap(), AtomicU64::new(0));
        std::thread::scope(|s| {
            for _ in 0..40 {
                s.spawn(|| {
                    inside.fetch_add(1, SeqCst);
                    event.wait();
                });
            }
            while inside.load(SeqCst) < 40 {
                std::thread::yield_now();
            }
            event.set();
        });
    });
}

/// Two that play ping and pong over two events that each clears: every round needs its wake-up.
#[test]
fn stress_ping_pong() {
    const N: usize = 25_000;
    watchdog(LIMIT, || {
        let (ping, pong) = (Event::new().unwrap(), Event::new().unwrap());
        let turn = |mine: &Event, other: &Event| {
            for _ in 0..N {
                mine.wait();
                mine.clear();
                other.set();
            }
        };
        std::thread::scope(|s| {
            s.spawn(|| turn(&ping, &pong));
            ping.set();
            turn(&pong, &ping);
        });
    });
}

/// Setters, clearers and waiters without any order; at last the event is set for good.
#[test]
fn stress_all_at_once() {
    const N: usize = 25_000;
    watchdog(LIMIT, || {
        let event = Event::new().unwrap();
        std::thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| (0..N / 10).for_each(|_| event.wait()));
            }
            let setters = [(); 2].map(|()| {
                s.spawn(|| {
                    for _ in 0..N {
                        event.set();
                        event.clear();
                    }
                })
            });
            setters.into_iter().for_each(|t| t.join().unwrap());
            event.set();
        });
    });
}

#[test]
fn a_lock_is_held_across_waits_and_sets() {
    watchdog(LIMIT, || {
        let (lock, event, done) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
        std::thread::scope(|s| {
            s.spawn(|| {
                let _held = lock.lock();
                event.wait();
                done.set();
                event.clear();
            });
            event.set();
            done.wait();
        });
        assert!(!lock.lock().recovered());
    });
}

#[test]
fn a_handle_travels_and_other_kinds_are_refused() {
    let (family, event) = (Family::get().unwrap(), Event::new().unwrap());
    let arrived = Message::encode(family, &event).unwrap().decode::<Event>(family).unwrap();
    arrived.set();
    assert!(event.is_set());
    assert!(Message::encode(family, &event).unwrap().decode::<Lock>(family).is_err());
}
