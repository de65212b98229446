//! Pools of two workers: `cargo bench -p polyproc-benches --bench pool`.

use criterion::{Criterion, Throughput};
use polyproc_benches::pool::{self, square};
use std::time::Duration;

fn main() {
    polyproc::init();
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    start(&mut c);
    work(&mut c);
    c.final_summary();
}

/// From nothing to the first result. The end of the pool is not counted.
fn start(c: &mut Criterion) {
    let mut g = c.benchmark_group("pool/start to first result");
    g.sample_size(10);
    g.bench_function("polyproc", |b| b.iter_custom(|n| (0..n).map(|_| pool::polyproc_start()).sum::<Duration>()));
    g.bench_function("rayon (threads)", |b| b.iter_custom(|n| (0..n).map(|_| pool::rayon_start()).sum::<Duration>()));
    g.finish();
}

fn work(c: &mut Criterion) {
    let (ours, rayon) = (pool::polyproc(), pool::rayon());

    let mut g = c.benchmark_group("pool/apply");
    g.bench_function("polyproc", |b| b.iter(|| ours.apply(square, 12).expect("a result")));
    g.bench_function("rayon (threads)", |b| b.iter(|| pool::rayon_apply(&rayon, 12)));
    g.finish();

    for (name, n, single) in [("pool/map 100,000", 100_000, false), ("pool/map 20,000, chunk 1", 20_000, true)] {
        let right: Vec<u64> = (0..n).map(square).collect();
        let our_map = || {
            let results = if single { ours.map_chunked(square, 0..n, 1) } else { ours.map(square, 0..n) };
            results.expect("results")
        };
        let rayons = || if single { pool::rayon_map_single(&rayon, n) } else { pool::rayon_map(&rayon, n) };
        assert_eq!(our_map(), right);
        assert_eq!(rayons(), right);
        let mut g = c.benchmark_group(name);
        g.throughput(Throughput::Elements(n));
        g.bench_function("polyproc", |b| b.iter(our_map));
        g.bench_function("rayon (threads)", |b| b.iter(rayons));
        g.bench_function("serial", |b| b.iter(|| (0..n).map(std::hint::black_box).map(square).collect::<Vec<_>>()));
        g.finish();
    }
}
