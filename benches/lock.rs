//! Locks that nobody else wants, and locks that two workers fight for: `cargo bench -p polyproc-benches --bench lock`.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use polyproc_benches::lock::{
    CasStore, Contest, Exclusive, Fighters, Pthread, Raw, Which, between_threads, uncontended,
};
use polyproc_benches::page::Line;
use std::time::Duration;

fn main() {
    polyproc::init();
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    alone(&mut c);
    contended(&mut c);
    c.final_summary();
}

fn alone(c: &mut Criterion) {
    let mut g = c.benchmark_group("lock/uncontended");
    pair(&mut g, "floor: CAS + store", &Line::<CasStore>::default().0);
    pair(&mut g, "polyproc Lock", &polyproc::Lock::new().expect("a lock"));
    pair(&mut g, "polyproc RawLock", &Line::<Raw>::default().0);
    pair(&mut g, "parking_lot (threads)", &Line::<parking_lot::Mutex<()>>::default().0);
    pair(&mut g, "std (threads)", &Line::<std::sync::Mutex<()>>::default().0);
    pair(&mut g, "pthread shared", &Pthread::boxed(true, false).0);
    pair(&mut g, "pthread shared robust", &Pthread::boxed(true, true).0);
    #[cfg(feature = "raw_sync")]
    pair(&mut g, "raw_sync", &polyproc_benches::lock::RawSync::default());
    g.finish();
}

fn pair(g: &mut BenchmarkGroup<'_, WallTime>, name: &str, lock: &(impl Exclusive + Sync)) {
    let _ = between_threads(lock, 1000, 0); // checks that it excludes
    g.bench_function(name, |b| b.iter_custom(|n| uncontended(lock, n)));
}

/// Steps of other work between two calls: about 100 ns.
const WORK: u32 = 100;

fn contended(c: &mut Criterion) {
    let fighters = Fighters::start();
    for (name, work) in [("lock/contended by 2", 0), ("lock/contended by 2, work between", WORK)] {
        let mut g = c.benchmark_group(name);
        g.throughput(Throughput::Elements(1));
        fight(&mut g, "polyproc, processes", |n| fighters.run(Which::Polyproc, n, work));
        fight(&mut g, "pthread robust, processes", |n| fighters.run(Which::Robust, n, work));
        let lock = polyproc::Lock::new().expect("a lock");
        fight(&mut g, "polyproc, threads", |n| between_threads(&lock, n, work));
        let lock = Line::<parking_lot::Mutex<()>>::default();
        fight(&mut g, "parking_lot, threads", |n| between_threads(&lock.0, n, work));
        let lock = Line::<std::sync::Mutex<()>>::default();
        fight(&mut g, "std, threads", |n| between_threads(&lock.0, n, work));
        g.finish();
    }
}

/// Both workers together until the counter is at `n`, and how even they came off in the larger half of the runs.
fn fight(g: &mut BenchmarkGroup<'_, WallTime>, name: &str, run: impl Fn(u64) -> Contest) {
    let _ = run(1000); // checks that it excludes
    let mut contests: Vec<(u64, f64)> = Vec::new();
    g.bench_function(name, |b| {
        b.iter_custom(|n| {
            let contest = run(n);
            contests.push((n, contest.fairness()));
            contest.time
        });
    });
    contests.sort_by_key(|c| c.0);
    let mut fairness: Vec<f64> = contests[contests.len() / 2..].iter().map(|c| c.1).collect();
    fairness.sort_by(f64::total_cmp);
    if let Some(median) = fairness.get(fairness.len() / 2) {
        println!("{name}: slower worker / faster worker = {median:.2}");
    }
}
