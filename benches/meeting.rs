//! Events and barriers beside bare futexes and what std has for threads: `cargo bench -p polyproc-benches --bench meeting`.

use criterion::Criterion;
use polyproc::parts::sys::atomic::{AtomicU64, Ordering::Acquire};
use polyproc::{Barrier, Event};
use polyproc_benches::meeting::{Bare, BareMeeting, Monitor, meet, ping_pong};
use polyproc_benches::page::Line;
use polyproc_benches::rounds::{Rounds, times};
use std::hint::black_box;

fn main() {
    polyproc::init();
    let mut c = Criterion::default().configure_from_args();
    set_already(&mut c);
    by_turns(&mut c);
    together(&mut c);
    c.final_summary();
}

/// So many operations before anything is measured.
const CHECK: u64 = 1000;

fn event() -> Event {
    Event::new().expect("an event")
}

fn set_already(c: &mut Criterion) {
    let (word, set, alone) = (Line(AtomicU64::new(1)), event(), event());
    set.set();
    let mut g = Rounds::new("event/uncontended", CHECK);
    g.rival("floor: a load", |n| times(n, || assert_eq!(black_box(&word).0.load(Acquire), 1)));
    g.rival("wait for a set event", |n| times(n, || black_box(&set).wait()));
    g.rival("set a set event", |n| times(n, || black_box(&set).set()));
    g.rival("set and clear", |n| {
        times(n, || {
            black_box(&alone).set();
            alone.clear();
        })
    });
    g.measure(c);
}

fn by_turns(c: &mut Criterion) {
    let ours = [event(), event()];
    let bare = [Line(Bare::default()), Line(Bare::default())];
    let std = [Line(Monitor::default()), Line(Monitor::default())];
    let mut g = Rounds::new("event/ping-pong of threads", CHECK);
    g.rival("floor: futex", |n| ping_pong(&bare[0].0, &bare[1].0, n));
    g.rival("polyproc", |n| ping_pong(&ours[0], &ours[1], n));
    g.rival("std Mutex + Condvar", |n| ping_pong(&std[0].0, &std[1].0, n));
    g.measure(c);
    assert!(!ours[0].is_set() && !ours[1].is_set());
}

fn together(c: &mut Criterion) {
    let (ours, bare, std) = (Barrier::new(2).expect("a barrier"), BareMeeting::default(), std::sync::Barrier::new(2));
    let mut g = Rounds::new("barrier/two threads", CHECK);
    g.rival("floor: futex", |n| meet(&bare, n));
    g.rival("polyproc", |n| meet(&ours, n));
    g.rival("std Barrier", |n| meet(&std, n));
    g.measure(c);
    assert_eq!(ours.waiting(), 0);
}
