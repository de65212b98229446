//! Queues: streams from one to another, a put and a get in one thread, round trips:
//! `cargo bench -p polyproc-benches --bench queue`.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use polyproc::Queue;
use polyproc_benches::queue::{CAPACITY, Item, Partner, Record, Stream, Trip, threads};
use std::hint::black_box;
use std::time::Duration;

fn main() {
    polyproc::init();
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let partner = Partner::start();
    streams(&mut c, &partner);
    pairs(&mut c);
    round_trips(&mut c, &partner);
    c.final_summary();
}

/// A stream of so many items or round trips is checked before anything is measured.
const CHECK: u64 = 3000;

fn custom(g: &mut BenchmarkGroup<'_, WallTime>, name: &str, run: impl Fn(u64) -> Duration) {
    let _ = run(CHECK);
    g.bench_function(name, |b| b.iter_custom(&run));
}

fn streams(c: &mut Criterion, partner: &Partner) {
    let mut g = c.benchmark_group("queue/stream of u64");
    g.throughput(Throughput::Elements(1));
    custom(&mut g, "polyproc, processes", |n| partner.stream(Stream::Numbers, n));
    custom(&mut g, "polyproc, threads", threads::polyproc::<u64>);
    custom(&mut g, "crossbeam_channel, threads", threads::crossbeam_channel::<u64>);
    custom(&mut g, "crossbeam ArrayQueue, threads, spins", threads::array_queue::<u64>);
    custom(&mut g, "rtrb, threads, spins", threads::rtrb::<u64>);
    custom(&mut g, "Unix pipe, processes", |n| partner.stream(Stream::Pipe, n));
    g.finish();

    let mut g = c.benchmark_group("queue/stream of 64 bytes");
    g.throughput(Throughput::Elements(1));
    custom(&mut g, "polyproc serde, processes", |n| partner.stream(Stream::Records, n));
    custom(&mut g, "polyproc Vec<u8>, processes", |n| partner.stream(Stream::Bytes, n));
    custom(&mut g, "polyproc serde, threads", threads::polyproc::<Record>);
    custom(&mut g, "crossbeam_channel [u8; 64], threads", threads::crossbeam_channel::<[u8; 64]>);
    custom(&mut g, "crossbeam_channel Vec<u8>, threads", threads::crossbeam_channel::<Vec<u8>>);
    custom(&mut g, "rtrb [u8; 64], threads, spins", threads::rtrb::<[u8; 64]>);
    g.finish();
}

/// A put and a get in one thread: what they cost where no cache line travels.
fn pairs(c: &mut Criterion) {
    let mut g = c.benchmark_group("queue/put + get");
    pair(&mut g, "polyproc u64", {
        let q = Queue::bounded(CAPACITY).expect("a queue");
        move |i: u64| {
            q.put(i).expect("put");
            q.get().expect("got")
        }
    });
    pair(&mut g, "crossbeam_channel u64", {
        let (tx, rx) = crossbeam_channel::bounded(CAPACITY);
        move |i: u64| {
            tx.send(i).expect("sent");
            rx.recv().expect("received")
        }
    });
    pair(&mut g, "crossbeam ArrayQueue u64", {
        let q = crossbeam_queue::ArrayQueue::new(CAPACITY);
        move |i: u64| {
            q.push(i).expect("room");
            q.pop().expect("an item")
        }
    });
    pair(&mut g, "polyproc serde 64 B", {
        let q = Queue::bounded(CAPACITY).expect("a queue");
        move |i: Record| {
            q.put(i).expect("put");
            q.get().expect("got")
        }
    });
    pair(&mut g, "crossbeam_channel [u8; 64]", {
        let (tx, rx) = crossbeam_channel::bounded(CAPACITY);
        move |i: [u8; 64]| {
            tx.send(i).expect("sent");
            rx.recv().expect("received")
        }
    });
    g.finish();
}

fn pair<I: Item>(g: &mut BenchmarkGroup<'_, WallTime>, name: &str, through: impl Fn(I) -> I) {
    for i in 0..CHECK {
        assert_eq!(through(I::of(i)).number(), i);
    }
    g.bench_function(name, |b| b.iter(|| through(black_box(I::of(7))).number()));
}

fn round_trips(c: &mut Criterion, partner: &Partner) {
    let mut g = c.benchmark_group("queue/round trip of u64, both awake");
    custom(&mut g, "polyproc, processes", |n| partner.round_trips(Trip::Queues, n, Duration::ZERO));
    custom(&mut g, "crossbeam_channel, threads", threads::crossbeam_round_trips);
    custom(&mut g, "floor: spin on a word, processes", |n| partner.round_trips(Trip::Spin, n, Duration::ZERO));
    custom(&mut g, "floor: futex, processes", |n| partner.round_trips(Trip::Futex, n, Duration::ZERO));
    g.finish();
}
