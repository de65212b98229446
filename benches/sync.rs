//! Locks that are taken again, events and barriers, and how fast who sleeps is woken: `cargo bench -p polyproc-benches --bench sync`.

use criterion::Criterion;
use polyproc::parts::sys::atomic::{AtomicU64, Ordering::Acquire};
use polyproc::{Barrier, Event, Lock, RLock};
use polyproc_benches::lock::uncontended;
use polyproc_benches::meeting::{Bare, BareMeeting, Monitor, meet, ping_pong};
use polyproc_benches::page::Line;
use polyproc_benches::rounds::{Rounds, times};
use polyproc_benches::wake::{Bed, Sleeper};
use std::hint::black_box;
use std::time::Duration;

fn main() {
    polyproc::init();
    let mut c = Criterion::default().configure_from_args();
    again(&mut c);
    set_already(&mut c);
    by_turns(&mut c);
    together(&mut c);
    wake_ups(&mut c);
    c.final_summary();
}

/// So many operations before anything is measured.
const CHECK: u64 = 1000;

fn again(c: &mut Criterion) {
    let (lock, rlock, parking) =
        (Lock::new().expect("a lock"), RLock::new().expect("a lock"), Line(parking_lot::ReentrantMutex::new(())));
    let mut g = Rounds::new("sync/lock that may be taken again", CHECK);
    g.rival("polyproc RLock", |n| uncontended(&rlock, n));
    g.rival("polyproc Lock", |n| uncontended(&lock, n));
    g.rival("parking_lot (threads)", |n| uncontended(&parking.0, n));
    g.measure(c);
    let mut g = Rounds::new("sync/lock that is taken again", CHECK);
    let (_held, _also) = (rlock.lock(), parking.0.lock());
    g.rival("polyproc RLock", |n| uncontended(&rlock, n));
    g.rival("parking_lot (threads)", |n| uncontended(&parking.0, n));
    g.measure(c);
}

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

/// The other process must be asleep: longer than anybody looks before he sleeps.
const PAUSE: Duration = Duration::from_micros(150);

fn wake_ups(c: &mut Criterion) {
    let sleeper = &Sleeper::start();
    let wake = |bed| move |n| sleeper.wake(bed, n, PAUSE);
    let mut g =
        Rounds::new("sync/wake-up of a process that sleeps", 30).run_for(Duration::from_micros(500)).best_of(20);
    g.rival("polyproc Event", wake(Bed::Event));
    g.rival("polyproc Barrier", wake(Bed::Barrier));
    g.rival("polyproc Condition", wake(Bed::Condition));
    g.rival("floor: futex", wake(Bed::Futex));
    g.measure(c);
}
