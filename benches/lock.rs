//! Locks that nobody else wants, and locks that two and four workers fight for:
//! `cargo bench -p polyproc-benches --bench lock`.

use criterion::Criterion;
use polyproc::Lock;
use polyproc_benches::contest::{Contest, Fighters, Which, between_threads, undisturbed};
use polyproc_benches::death::{Dying, recoveries};
use polyproc_benches::lock::{CasStore, Exclusive, Pthread, Raw, RawSync, uncontended};
use polyproc_benches::page::Line;
use polyproc_benches::rounds::{Evenness, Outcome, Rounds, times};
use std::hint::black_box;
use std::time::Duration;

fn main() {
    polyproc_benches::begin();
    let mut c = Criterion::default().configure_from_args();
    let mut even = Criterion::default().with_measurement(Evenness).configure_from_args();
    alone(&mut c);
    nested(&mut c);
    contended(&mut c, &mut even);
    recovery(&mut c);
    c.final_summary();
}

/// A lock is checked by so many additions before anything is measured.
const CHECK: u64 = 1000;

fn alone(c: &mut Criterion) {
    fn add<'a>(g: &mut Rounds<'a>, name: &'static str, lock: &'a (impl Exclusive + Sync)) {
        let mut checked = false;
        g.rival(name, move |n| {
            if !checked {
                let _ = between_threads(2, lock, n, 0);
                checked = true;
            }
            uncontended(lock, n)
        });
    }
    let (floor, raw) = (Line::<CasStore>::default(), Line::<Raw>::default());
    let (parking, std) = (Line::<parking_lot::Mutex<()>>::default(), Line::<std::sync::Mutex<()>>::default());
    let (normal, robust) = (Pthread::boxed(true, false), Pthread::boxed(true, true));
    let (ours, raw_sync) = (Lock::new().expect("a lock"), RawSync::leaked());
    let mut g = Rounds::new("lock/uncontended", CHECK);
    add(&mut g, "polyproc Lock", &ours);
    add(&mut g, "polyproc RawLock", &raw.0);
    add(&mut g, "floor: CAS + store", &floor.0);
    add(&mut g, "parking_lot (threads)", &parking.0);
    add(&mut g, "std (threads)", &std.0);
    add(&mut g, "glibc normal", &normal.0);
    add(&mut g, "glibc robust", &robust.0);
    add(&mut g, "raw_sync", &raw_sync);
    g.measure(c);
}

/// Two locks, one inside the other.
fn nested(c: &mut Criterion) {
    fn add<'a>(g: &mut Rounds<'a>, name: &'static str, locks: &'a [impl Exclusive; 2]) {
        g.rival(name, |n| times(n, || locks[0].exclusive(|| locks[1].exclusive(|| black_box(())))));
    }
    let ours = [(); 2].map(|()| Lock::new().expect("a lock"));
    let std = Box::new([(); 2].map(|()| std::sync::Mutex::new(())));
    let parking = Box::new([(); 2].map(|()| parking_lot::Mutex::new(())));
    let mut g = Rounds::new("lock/two nested", CHECK);
    add(&mut g, "polyproc Lock", &ours);
    add(&mut g, "std (threads)", &std);
    add(&mut g, "parking_lot (threads)", &parking);
    g.measure(c);
}

/// From the holder's death until the next has the lock.
fn recovery(c: &mut Criterion) {
    let ours = Dying::Polyproc(Lock::new().expect("a lock"));
    let mut g =
        Rounds::new("lock/from the holder's death to the next", 1).run_for(Duration::from_micros(200)).best_of(1);
    g.rival("polyproc", |n| recoveries(&ours, n));
    g.rival("glibc robust", |n| recoveries(&Dying::Robust, n));
    g.measure(c);
}

/// Steps of other work between two calls: about 100 ns.
const WORK: u32 = 100;

fn contended(c: &mut Criterion, even: &mut Criterion<Evenness>) {
    let fighters = &Fighters::start(4);
    let (ours, parking) = (Lock::new().expect("a lock"), Line::<parking_lot::Mutex<()>>::default());
    let std = Line::<std::sync::Mutex<()>>::default();
    // With more workers than CPUs, evenness is a matter of many turns of the scheduler.
    let (short, long) = (Duration::from_millis(15), Duration::from_millis(150));
    for (name, even_name, workers, run, work) in [
        ("lock/by 2, hammered", "lock evenness/by 2, hammered", 2, short, 0),
        ("lock/by 2, work between", "lock evenness/by 2, work between", 2, short, WORK),
        ("lock/by 4, hammered", "lock evenness/by 4, hammered", 4, long, 0),
        ("lock/by 4, work between", "lock evenness/by 4, work between", 4, long, WORK),
    ] {
        let between = |which| move |n| outcome(workers, || fighters.run(workers, which, n, work));
        let mut g = Rounds::new(name, CHECK).run_for(run).best_of(1);
        g.rival("polyproc, processes", between(Which::Polyproc));
        g.rival("glibc robust, processes", between(Which::Robust));
        g.rival("glibc normal, processes", between(Which::Normal));
        g.rival("raw_sync, processes", between(Which::RawSync));
        g.rival("polyproc, threads", |n| outcome(workers, || between_threads(workers, &ours, n, work)));
        g.rival("parking_lot, threads", |n| outcome(workers, || between_threads(workers, &parking.0, n, work)));
        g.rival("std, threads", |n| outcome(workers, || between_threads(workers, &std.0, n, work)));
        g.measure_both(c, Some((&mut *even, even_name)));
    }
}

fn outcome(workers: usize, contest: impl Fn() -> Contest) -> Outcome {
    let Contest { time, evenness, .. } = undisturbed(workers, contest);
    Outcome { time, evenness: Some(evenness) }
}
