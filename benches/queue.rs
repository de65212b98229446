//! Queues: streams from one to another, round trips, large messages, and a put and a get in one thread:
//! `cargo bench -p polyproc-benches --bench queue`.

use criterion::Criterion;
use polyproc::Queue;
use polyproc_benches::partner::{Partner, Stream, Trip};
use polyproc_benches::pool::timed;
use polyproc_benches::queue::{CAPACITY, Item, Record, copy_in_and_out, threads};
use polyproc_benches::rounds::Rounds;
use std::hint::black_box;
use std::time::Duration;

fn main() {
    polyproc_benches::begin();
    let mut c = Criterion::default().configure_from_args();
    let partner = Partner::start();
    streams(&mut c, &partner);
    round_trips(&mut c, &partner);
    large(&mut c, &partner);
    pairs(&mut c);
    c.final_summary();
}

/// A stream of so many items, or so many round trips, is checked before anything is measured.
const CHECK: u64 = 3000;

fn streams(c: &mut Criterion, partner: &Partner) {
    let between = |what| move |n| partner.stream(what, n);

    let mut g = Rounds::new("queue/stream of u64", CHECK);
    g.rival("polyproc, processes", between(Stream::Numbers));
    g.rival("polyproc, threads", threads::polyproc::<u64>);
    g.rival("crossbeam-channel, threads", threads::crossbeam_channel::<u64>);
    g.rival("crossbeam ArrayQueue, threads, spins", threads::array_queue::<u64>);
    g.rival("rtrb, threads, spins", threads::rtrb::<u64>);
    g.rival("pipe, processes", between(Stream::Pipe(8)));
    g.measure(c);

    let mut g = Rounds::new("queue/stream of 64 bytes", CHECK);
    g.rival("polyproc [u64; 8], processes", between(Stream::Arrays));
    g.rival("polyproc (u64, String), processes", between(Stream::Records));
    g.rival("polyproc Vec<u8>, processes", between(Stream::Bytes));
    g.rival("crossbeam-channel [u64; 8], threads", threads::crossbeam_channel::<[u64; 8]>);
    g.rival("crossbeam-channel (u64, String), threads", threads::crossbeam_channel::<Record>);
    g.rival("crossbeam ArrayQueue [u64; 8], threads, spins", threads::array_queue::<[u64; 8]>);
    g.rival("rtrb [u64; 8], threads, spins", threads::rtrb::<[u64; 8]>);
    g.rival("pipe, processes", between(Stream::Pipe(64)));
    g.measure(c);
}

fn round_trips(c: &mut Criterion, partner: &Partner) {
    let awake = |how| move |n| partner.round_trips(how, n, Duration::ZERO);
    let mut g = Rounds::new("queue/round trip of u64, both awake", 300).run_for(Duration::from_millis(1));
    g.rival("polyproc, processes", awake(Trip::Queues));
    g.rival("crossbeam-channel, threads", threads::crossbeam_round_trips);
    g.rival("pipe, processes", awake(Trip::Pipes));
    g.rival("floor: spin on a word, processes", awake(Trip::Spin));
    g.measure(c);

    let asleep = |how| move |n| partner.round_trips(how, n, Duration::from_micros(150));
    let mut g = Rounds::new("queue/round trip of u64, one asleep", 30).run_for(Duration::from_micros(500)).best_of(20);
    g.rival("polyproc, processes", asleep(Trip::Queues));
    g.rival("pipe, processes", asleep(Trip::Pipes));
    g.rival("floor: futex, processes", asleep(Trip::Futex));
    g.measure(c);
}

fn large(c: &mut Criterion, partner: &Partner) {
    for (name, size) in [("queue/messages of 64 KiB", 1 << 16), ("queue/messages of 1 MiB", 1 << 20)] {
        let mut g = Rounds::new(name, 20).run_for(Duration::from_millis(4));
        g.rival("polyproc Vec<u8>, processes", |n| partner.stream(Stream::Large(size), n));
        g.rival("polyproc Buffer, processes", |n| partner.stream(Stream::Buffers(size), n));
        g.rival("pipe, processes", |n| partner.stream(Stream::Pipe(size), n));
        g.rival("floor: memcpy in and out", |n| copy_in_and_out(size, n));
        g.measure(c);
    }
}

/// A put and a get in one thread: what they cost where no cache line travels.
fn pairs(c: &mut Criterion) {
    fn pair<I: Item>(g: &mut Rounds<'_>, name: &'static str, through: impl Fn(I) -> I + 'static) {
        g.rival(name, move |n| timed(n, |i| assert_eq!(through(black_box(I::of(i))).number(), i)));
    }
    let mut g = Rounds::new("queue/put + get", CHECK);
    pair(&mut g, "polyproc u64", {
        let q = Queue::bounded(CAPACITY).expect("a queue");
        move |i: u64| {
            q.put(i).expect("put");
            q.get().expect("got")
        }
    });
    pair(&mut g, "crossbeam-channel u64", {
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
    pair(&mut g, "polyproc [u64; 8]", {
        let q = Queue::bounded(CAPACITY).expect("a queue");
        move |i: [u64; 8]| {
            q.put(i).expect("put");
            q.get().expect("got")
        }
    });
    pair(&mut g, "crossbeam-channel [u64; 8]", {
        let (tx, rx) = crossbeam_channel::bounded(CAPACITY);
        move |i: [u64; 8]| {
            tx.send(i).expect("sent");
            rx.recv().expect("received")
        }
    });
    g.measure(c);
}
