//! Locks that are taken again, events, and how fast who sleeps is woken: `cargo bench -p polyproc-benches --bench sync`.

use criterion::Criterion;
use polyproc::parts::sys::atomic::{AtomicU32, Ordering::Acquire};
use polyproc::{Event, Lock, RLock};
use polyproc_benches::lock::uncontended;
use polyproc_benches::page::Line;
use polyproc_benches::rounds::{Rounds, times};
use polyproc_benches::wake::{Bed, Sleeper};
use std::hint::black_box;
use std::time::Duration;

fn main() {
    polyproc::init();
    let mut c = Criterion::default().configure_from_args();
    again(&mut c);
    set_events(&mut c);
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

fn set_events(c: &mut Criterion) {
    let (event, word) = (Event::new().expect("an event"), Line(AtomicU32::new(1)));
    event.set();
    let mut g = Rounds::new("sync/event that is set", CHECK);
    g.rival("polyproc wait", |n| times(n, || black_box(&event).wait()));
    g.rival("floor: a load", |n| times(n, || assert_eq!(black_box(&word.0).load(Acquire), 1)));
    g.measure(c);
}

/// The other process must be asleep: longer than anybody looks before he sleeps.
const PAUSE: Duration = Duration::from_micros(150);

fn wake_ups(c: &mut Criterion) {
    let sleeper = &Sleeper::start();
    let wake = |bed| move |n| sleeper.wake(bed, n, PAUSE);
    let mut g =
        Rounds::new("sync/wake-up of a process that sleeps", 30).run_for(Duration::from_micros(500)).best_of(20);
    g.rival("polyproc Event", wake(Bed::Event));
    g.rival("floor: futex", wake(Bed::Futex));
    g.measure(c);
}
