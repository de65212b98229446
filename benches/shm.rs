//! Shared memory beside the bare calls of C: `cargo bench -p polyproc-benches --bench shm`.

use criterion::Criterion;
use polyproc::SharedMemory;
use polyproc_benches::shm::{
    Bare, LEN, find, find_by_crate, make, make_by_crate, make_by_python, make_lock, make_unnamed, name, times,
};
use std::time::Duration;

fn main() {
    polyproc::init();
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    made(&mut c);
    found(&mut c);
    unnamed(&mut c);
    c.final_summary();
}

fn made(c: &mut Criterion) {
    let mut g = c.benchmark_group("shm/named, made and left");
    let mut time = |name: &str, run: &dyn Fn(u64) -> Duration| {
        g.bench_function(name, |b| b.iter_custom(run));
    };
    let (name, bare) = (name(), Bare::new(&name()));
    time("floor: shm_open + mmap + unlink", &|n| {
        times(n, || {
            bare.make();
            bare.unlink();
        })
    });
    time("polyproc", &|n| times(n, || make(&name)));
    time("shared_memory", &|n| times(n, || make_by_crate(&name)));
    if make_by_python(&name, 1).is_some() {
        time("Python", &|n| make_by_python(&name, n).expect("it was there before"));
    }
    g.finish();
}

fn found(c: &mut Criterion) {
    let mut g = c.benchmark_group("shm/named, found and left");
    let mut time = |name: &str, run: &dyn Fn(u64) -> Duration| {
        g.bench_function(name, |b| b.iter_custom(run));
    };
    let (name, bare) = (name(), Bare::new(&name()));
    let held = SharedMemory::create(&name, LEN).expect("memory");
    held.set(0, 7_u64).expect("a word");
    bare.make();
    time("floor: shm_open + mmap", &|n| times(n, || bare.find()));
    time("polyproc", &|n| times(n, || find(&name)));
    time("shared_memory", &|n| times(n, || find_by_crate(&name)));
    bare.unlink();
    g.finish();
}

fn unnamed(c: &mut Criterion) {
    let mut g = c.benchmark_group("shm/made and dropped");
    g.bench_function("polyproc, 4 KiB", |b| b.iter(make_unnamed));
    g.bench_function("polyproc Lock", |b| b.iter(make_lock));
    g.finish();
}
