//! Pools of two workers, and the start of a process: `cargo bench -p polyproc-benches --bench pool`.

use criterion::Criterion;
use polyproc_benches::pool::{self, WORKERS, same, square, timed};
use polyproc_benches::queue::{messages, number_of};
use polyproc_benches::rounds::Rounds;
use std::time::{Duration, Instant};

fn main() {
    polyproc_benches::begin();
    let mut c = Criterion::default().configure_from_args();
    start(&mut c);
    process(&mut c);
    let (ours, rayon, procspawn) = (pool::polyproc(), pool::rayon(), pool::procspawn());
    apply(&mut c, &ours, &rayon, &procspawn);
    maps(&mut c, &ours, &rayon, &procspawn);
    large(&mut c, &ours, &rayon, &procspawn);
    c.final_summary();
}

/// From nothing to the first result.
fn start(c: &mut Criterion) {
    let mut g = Rounds::new("pool/start to first result", 1).best_of(3);
    g.rival("polyproc", |n| pool::starts(n, pool::polyproc));
    g.rival("rayon (threads)", |n| pool::starts(n, pool::rayon));
    g.rival("procspawn", |n| pool::starts(n, pool::procspawn));
    g.measure(c);
}

fn process(c: &mut Criterion) {
    let mut g = Rounds::new("pool/spawn and join of a process", 1).best_of(5);
    g.rival("polyproc", |n| timed(n, |_| pool::polyproc_process()));
    g.rival("floor: posix_spawn", |n| timed(n, |_| pool::bare_process()));
    g.measure(c);
}

fn apply(c: &mut Criterion, ours: &polyproc::Pool, rayon: &rayon::ThreadPool, procspawn: &procspawn::Pool) {
    let mut g = Rounds::new("pool/apply", 30).run_for(Duration::from_millis(1));
    g.rival("polyproc", |n| timed(n, |x| assert_eq!(ours.apply(square, x).expect("a result"), square(x))));
    g.rival("rayon (threads)", |n| timed(n, |x| assert_eq!(pool::rayon_apply(rayon, x), square(x))));
    g.rival("procspawn", |n| timed(n, |x| assert_eq!(pool::procspawn_apply(procspawn, x), square(x))));
    g.measure(c);
}

fn maps(c: &mut Criterion, ours: &polyproc::Pool, rayon: &rayon::ThreadPool, procspawn: &procspawn::Pool) {
    const N: u64 = 100_000;
    let right: Vec<u64> = (0..N).map(square).collect();
    let right = &right;
    let mapped = |f: &dyn Fn() -> Vec<u64>, items: u64, n: u64| {
        let mut results = Vec::new();
        let time = timed(n, |_| results = f());
        assert!(results.len() as u64 == items && right.starts_with(&results), "the squares");
        time
    };

    let mut g = Rounds::new("pool/map of 100,000 squares", 1).elements(N);
    g.rival("polyproc", |n| mapped(&|| ours.map(square, 0..N).expect("results"), N, n));
    g.rival("rayon (threads)", |n| mapped(&|| pool::rayon_map(rayon, N), N, n));
    g.rival("procspawn", |n| mapped(&|| pool::procspawn_map(procspawn, N, 12_500), N, n));
    g.rival("serial", |n| mapped(&|| (0..N).map(std::hint::black_box).map(square).collect(), N, n));
    g.measure(c);

    const SINGLE: u64 = 5_000;
    let mut g = Rounds::new("pool/map of 5,000 squares, chunk 1", 1).elements(SINGLE).best_of(2);
    g.rival("polyproc", |n| mapped(&|| ours.map_chunked(square, 0..SINGLE, 1).expect("results"), SINGLE, n));
    g.rival("rayon (threads)", |n| mapped(&|| pool::rayon_map_single(rayon, SINGLE), SINGLE, n));
    g.rival("procspawn", |n| mapped(&|| pool::procspawn_map(procspawn, SINGLE, 1), SINGLE, n));
    if pool::python_map_single(10).is_some() {
        g.rival("mp.Pool", |n| {
            (0..n).map(|_| pool::python_map_single(SINGLE).expect("it ran a moment ago")).sum::<Duration>()
        });
    }
    g.measure(c);
}

/// 1 MiB in and out; several tasks at once, each of them handed out alone.
fn large(c: &mut Criterion, ours: &polyproc::Pool, rayon: &rayon::ThreadPool, procspawn: &procspawn::Pool) {
    const SIZE: usize = 1 << 20;
    const TASKS: u64 = 8;
    let back = |n: u64, f: &dyn Fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>| -> Duration {
        let once = |_| {
            let (messages, mut results) = (messages(SIZE, TASKS), Vec::new());
            let start = Instant::now();
            results.extend(f(messages));
            let time = start.elapsed();
            let numbers = results.iter().map(|m| number_of(m, SIZE));
            assert!(numbers.eq(0..TASKS), "the messages, in their order");
            time
        };
        (0..n).map(once).sum()
    };
    let mut g = Rounds::new("pool/1 MiB in and out", 1).elements(TASKS).best_of(4);
    g.rival("polyproc", |n| back(n, &|m| ours.map_chunked(same, m, 1).expect("results")));
    g.rival("rayon (threads), copies", |n| back(n, &|m| pool::rayon_messages(rayon, &m)));
    g.rival("procspawn", |n| back(n, &|m| pool::procspawn_messages(procspawn, m)));
    g.measure(c);
    assert_eq!(ours.workers(), WORKERS);
}
