//! Semaphores that nobody else wants, and two threads that wake each other: `cargo bench -p polyproc-benches --bench semaphore`.

use criterion::Criterion;
use polyproc::Semaphore;
use polyproc_benches::page::Line;
use polyproc_benches::semaphore::{Counter, Monitor, Permits, Posix, pair, ping_pong, uncontended};
use std::time::Duration;

fn main() {
    polyproc::init();
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    alone(&mut c);
    by_turns(&mut c);
    c.final_summary();
}

fn semaphore(permits: u32) -> Semaphore {
    Semaphore::new(permits).expect("a semaphore")
}

fn alone(c: &mut Criterion) {
    let mut g = c.benchmark_group("semaphore/uncontended");
    let mut alone = |name: &str, run: &dyn Fn(u64) -> Duration| {
        g.bench_function(name, |b| b.iter_custom(run));
    };
    let (counter, monitor) = (Line(Counter::default()), Line(Monitor::default()));
    counter.0.give();
    monitor.0.give();
    let (counted, owned, posix) = (semaphore(1), semaphore(1), Posix::boxed(1));
    alone("floor: CAS + add", &|n| uncontended(|| pair(&counter.0), n));
    alone("polyproc, counted", &|n| uncontended(|| pair(&counted), n));
    alone("polyproc, owned", &|n| uncontended(|| drop(owned.acquire_owned().expect("a permit")), n));
    alone("sem_t shared", &|n| uncontended(|| pair(&posix.0), n));
    alone("std Mutex + Condvar (threads)", &|n| uncontended(|| pair(&monitor.0), n));
    assert_eq!((counted.available(), owned.available()), (1, 1), "no permit was lost or doubled");
    g.finish();
}

fn by_turns(c: &mut Criterion) {
    let mut g = c.benchmark_group("semaphore/ping-pong of threads");
    let mut turns = |name: &str, run: &dyn Fn(u64) -> Duration| {
        g.bench_function(name, |b| b.iter_custom(run));
    };
    let ours = [semaphore(0), semaphore(0)];
    let posix = [Posix::boxed(0), Posix::boxed(0)];
    let std = [Line(Monitor::default()), Line(Monitor::default())];
    turns("polyproc, counted", &|n| ping_pong(&ours[0], &ours[1], n));
    turns("sem_t shared", &|n| ping_pong(&posix[0].0, &posix[1].0, n));
    turns("std Mutex + Condvar", &|n| ping_pong(&std[0].0, &std[1].0, n));
    assert_eq!((ours[0].available(), ours[1].available()), (0, 0), "no permit was lost or doubled");
    g.finish();
}
