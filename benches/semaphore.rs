//! Semaphores that nobody else wants, and two threads that wake each other: `cargo bench -p polyproc-benches --bench semaphore`.

use criterion::Criterion;
use polyproc::Semaphore;
use polyproc_benches::page::Line;
use polyproc_benches::rounds::{Rounds, times};
use polyproc_benches::semaphore::{Counter, Monitor, Permits, Posix, pair, ping_pong};

fn main() {
    polyproc::init();
    let mut c = Criterion::default().configure_from_args();
    alone(&mut c);
    by_turns(&mut c);
    c.final_summary();
}

fn semaphore(permits: u32) -> Semaphore {
    Semaphore::new(permits).expect("a semaphore")
}

/// So many pairs before anything is measured.
const CHECK: u64 = 1000;

fn alone(c: &mut Criterion) {
    let (counter, monitor) = (Line(Counter::default()), Line(Monitor::default()));
    counter.0.give();
    monitor.0.give();
    let (counted, owned, posix) = (semaphore(1), semaphore(1), Posix::boxed(1));
    let mut g = Rounds::new("semaphore/uncontended", CHECK);
    g.rival("floor: CAS + add", |n| times(n, || pair(&counter.0)));
    g.rival("polyproc, counted", |n| times(n, || pair(&counted)));
    g.rival("polyproc, owned", |n| times(n, || drop(owned.acquire_owned().expect("a permit"))));
    g.rival("sem_t shared", |n| times(n, || pair(&posix.0)));
    g.rival("std Mutex + Condvar (threads)", |n| times(n, || pair(&monitor.0)));
    g.measure(c);
    assert_eq!((counted.available(), owned.available()), (1, 1), "no permit was lost or doubled");
}

fn by_turns(c: &mut Criterion) {
    let ours = [semaphore(0), semaphore(0)];
    let posix = [Posix::boxed(0), Posix::boxed(0)];
    let std = [Line(Monitor::default()), Line(Monitor::default())];
    let mut g = Rounds::new("semaphore/ping-pong of threads", CHECK);
    g.rival("polyproc, counted", |n| ping_pong(&ours[0], &ours[1], n));
    g.rival("sem_t shared", |n| ping_pong(&posix[0].0, &posix[1].0, n));
    g.rival("std Mutex + Condvar", |n| ping_pong(&std[0].0, &std[1].0, n));
    g.measure(c);
    assert_eq!((ours[0].available(), ours[1].available()), (0, 0), "no permit was lost or doubled");
}
