//! Locks with readers and writers: alone, and with readers that read at the same time:
//! `cargo bench -p polyproc-benches --bench rwlock`.

use criterion::Criterion;
use polyproc::RwLock;
use polyproc_benches::lock::{CasStore, Exclusive};
use polyproc_benches::page::Line;
use polyproc_benches::rounds::{Rounds, times};
use polyproc_benches::rwlock::{Readers, by_threads};

fn main() {
    polyproc_benches::begin();
    let mut c = Criterion::default().configure_from_args();
    alone(&mut c);
    together(&mut c);
    c.final_summary();
}

/// So many pairs before anything is measured.
const CHECK: u64 = 1000;

fn alone(c: &mut Criterion) {
    let (ours, floor) = (RwLock::new().expect("a lock"), Line::<CasStore>::default());
    let (parking, std) = (Line(parking_lot::RwLock::new(())), Line(std::sync::RwLock::new(())));
    let mut g = Rounds::new("rwlock/read", CHECK);
    g.rival("polyproc", |n| times(n, || drop(ours.read())));
    g.rival("floor: CAS + store", |n| times(n, || floor.0.exclusive(|| {})));
    g.rival("parking_lot (threads)", |n| times(n, || drop(parking.0.read())));
    g.rival("std (threads)", |n| times(n, || drop(std.0.read())));
    g.measure(c);
    let mut g = Rounds::new("rwlock/write", CHECK);
    g.rival("polyproc", |n| times(n, || drop(ours.write())));
    g.rival("parking_lot (threads)", |n| times(n, || drop(parking.0.write())));
    g.rival("std (threads)", |n| times(n, || drop(std.0.write())));
    g.measure(c);
}

fn together(c: &mut Criterion) {
    let ours = RwLock::new().expect("a lock");
    let (readers, ours) = (&Readers::start(2, &ours), &ours);
    let parking = &Line(parking_lot::RwLock::new(()));
    let mut g = Rounds::new("rwlock/readers at the same time", CHECK);
    g.rival("polyproc, 1 process", |n| readers.run(1, n));
    g.rival("polyproc, 2 processes", |n| readers.run(2, n));
    g.rival("polyproc, 2 threads", |n| by_threads(2, n, || drop(ours.read())));
    g.rival("parking_lot, 1 thread", |n| by_threads(1, n, || drop(parking.0.read())));
    g.rival("parking_lot, 2 threads", |n| by_threads(2, n, || drop(parking.0.read())));
    g.measure(c);
}
