//! Half a minute, one table: each bar of the design beside its rival.
//!
//! `cargo run --release -p polyproc-benches --bin quick [ROUNDS]`. Every round measures everything once, so that ours and
//! the rival meet the same noise; a ratio is the median of the rounds' ratios, not the ratio of the medians.

use polyproc_benches::lock::{CasStore, Exclusive, Fighters, Pthread, Raw, Which, between_threads, uncontended};
use polyproc_benches::page::Line;
use polyproc_benches::pool::{self, square};
use polyproc_benches::queue::{Partner, Stream, Trip, threads};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ROUNDS: usize = 11;

/// Nanoseconds of an operation, one value a round; the fairness of a contended lock is no time, but is kept likewise.
type Rounds = BTreeMap<&'static str, Vec<f64>>;

/// How a figure is shown.
#[derive(Clone, Copy)]
enum Unit {
    Ns,
    Micros,
    Millis,
    MillionsPerSecond,
    None,
}

/// What the design asks for.
#[derive(Clone, Copy)]
enum Bar {
    /// At most so many times the rival's time.
    Time(f64),
    /// At least so many times the rival's rate.
    Rate(f64),
    /// At most so many nanoseconds, whatever the rival does.
    Nanos(f64),
    /// At least that value.
    Least(f64),
}

struct Row {
    what: &'static str,
    ours: &'static str,
    rival: &'static str,
    unit: Unit,
    bar: Bar,
}

const fn row(what: &'static str, ours: &'static str, rival: &'static str, unit: Unit, bar: Bar) -> Row {
    Row { what, ours, rival, unit, bar }
}

const ROWS: &[Row] = &[
    row("Lock, uncontended", "Lock", "CAS + store", Unit::Ns, Bar::Time(1.1)),
    row("RawLock, uncontended", "RawLock", "CAS + store", Unit::Ns, Bar::Time(1.1)),
    row("Lock, uncontended", "Lock", "parking_lot", Unit::Ns, Bar::Time(1.0)),
    row("Lock, uncontended", "Lock", "glibc robust", Unit::Ns, Bar::Time(0.5)),
    row("Lock, hammered by 2", "Lock, 2 processes", "glibc robust, 2 processes", Unit::MillionsPerSecond, Bar::Rate(3.0)),
    row("Lock, hammered by 2", "Lock, 2 processes", "parking_lot, 2 threads", Unit::MillionsPerSecond, Bar::Rate(0.5)),
    row("… slowest / fastest worker", "Lock, fairness", "parking_lot, fairness", Unit::None, Bar::Least(0.5)),
    row("Lock by 2, work between", "Lock, work", "glibc robust, work", Unit::MillionsPerSecond, Bar::Rate(1.4)),
    row("Queue<u64>, stream", "Queue, 2 processes", "crossbeam, 2 threads", Unit::MillionsPerSecond, Bar::Rate(1.2)),
    row("Queue<64 B serde>, stream", "Queue 64 B", "crossbeam 64 B", Unit::MillionsPerSecond, Bar::Rate(0.7)),
    row("Queue, round trip, awake", "Queue trip", "crossbeam trip, threads", Unit::Ns, Bar::Time(1.25)),
    row("Queue, round trip, asleep", "Queue trip, asleep", "futex, asleep", Unit::Micros, Bar::Time(1.3)),
    row("Pool, apply round trip", "apply", "rayon apply", Unit::Micros, Bar::Nanos(10e3)),
    row("Pool, map, chunk 1", "map single", "mp.Pool single", Unit::MillionsPerSecond, Bar::Rate(40.0)),
    row("Pool, map, default chunk", "map", "rayon map", Unit::MillionsPerSecond, Bar::Rate(0.5)),
    row("Pool, start to first result", "start", "rayon start", Unit::Millis, Bar::Nanos(3e6)),
];

fn main() {
    polyproc::init();
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let begin = Instant::now();
    let mut all = Rounds::new();
    locks(rounds, &mut all);
    queues(rounds, &mut all);
    pools(rounds, &mut all);
    println!("{rounds} rounds, {:.0} s; in brackets the middle half of the rounds' ratios\n", begin.elapsed().as_secs_f64());
    println!("| what | ours | rival | ratio | bar | holds |\n|---|---|---|---|---|---|");
    for row in ROWS {
        print(row, &all);
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
fn per(time: Duration, n: u64) -> f64 {
    time.as_nanos() as f64 / n as f64
}

fn locks(rounds: usize, all: &mut Rounds) {
    fn alone(all: &mut Rounds, name: &'static str, lock: &impl Exclusive) {
        const PAIRS: u64 = 300_000;
        const PARTS: u64 = 5; // the best of some parts: an interrupt is not the lock's
        let parts = (0..PARTS).map(|_| per(uncontended(lock, PAIRS / PARTS), PAIRS / PARTS));
        all.entry(name).or_default().push(parts.fold(f64::INFINITY, f64::min));
    }
    let (floor, raw) = (Line::<CasStore>::default(), Line::<Raw>::default());
    let parking = Line::<parking_lot::Mutex<()>>::default();
    let ours = polyproc::Lock::new().expect("a lock");
    let robust = Pthread::boxed(true, true);
    let fighters = Fighters::start();
    for _ in 0..rounds {
        alone(all, "CAS + store", &floor.0);
        alone(all, "Lock", &ours);
        alone(all, "RawLock", &raw.0);
        alone(all, "parking_lot", &parking.0);
        alone(all, "glibc robust", &robust.0);

        let n = 3_000_000;
        let contest = fighters.run(Which::Polyproc, n, 0);
        all.entry("Lock, 2 processes").or_default().push(per(contest.time, n));
        all.entry("Lock, fairness").or_default().push(contest.fairness);
        let contest = fighters.run(Which::Robust, n, 0);
        all.entry("glibc robust, 2 processes").or_default().push(per(contest.time, n));
        let contest = between_threads(&parking.0, n, 0);
        all.entry("parking_lot, 2 threads").or_default().push(per(contest.time, n));
        all.entry("parking_lot, fairness").or_default().push(contest.fairness);
        let (n, work) = (500_000, 100);
        let contest = fighters.run(Which::Polyproc, n, work);
        all.entry("Lock, work").or_default().push(per(contest.time, n));
        let contest = fighters.run(Which::Robust, n, work);
        all.entry("glibc robust, work").or_default().push(per(contest.time, n));
    }
}

fn queues(rounds: usize, all: &mut Rounds) {
    let partner = Partner::start();
    for _ in 0..rounds {
        let n = 2_000_000;
        let mut add = |name, time, n| all.entry(name).or_default().push(per(time, n));
        add("Queue, 2 processes", partner.stream(Stream::Numbers, n), n);
        add("crossbeam, 2 threads", threads::crossbeam_channel::<u64>(n), n);
        let n = 600_000;
        add("Queue 64 B", partner.stream(Stream::Records, n), n);
        add("crossbeam 64 B", threads::crossbeam_channel::<[u8; 64]>(n), n);
        let n = 100_000;
        add("Queue trip", partner.round_trips(Trip::Queues, n, Duration::ZERO), n);
        add("crossbeam trip, threads", threads::crossbeam_round_trips(n), n);
        let (n, pause) = (300, Duration::from_micros(150));
        add("Queue trip, asleep", partner.round_trips(Trip::Queues, n, pause), n);
        add("futex, asleep", partner.round_trips(Trip::Futex, n, pause), n);
    }
}

fn pools(rounds: usize, all: &mut Rounds) {
    let (ours, rayon) = (pool::polyproc(), pool::rayon());
    let (many, single, python) = (100_000, 20_000, 5_000);
    let right: Vec<u64> = (0..many).map(square).collect();
    for _ in 0..rounds {
        let mut time = |name, n: u64, f: &mut dyn FnMut()| {
            let start = Instant::now();
            f();
            all.entry(name).or_default().push(per(start.elapsed(), n));
        };
        let applies = 8000;
        time("apply", applies, &mut || {
            for x in 0..applies {
                assert_eq!(ours.apply(square, x).expect("a result"), square(x));
            }
        });
        time("rayon apply", applies, &mut || {
            for x in 0..applies {
                assert_eq!(pool::rayon_apply(&rayon, x), square(x));
            }
        });
        let times = 10;
        time("map", many * times, &mut || {
            (0..times).for_each(|_| assert_eq!(ours.map(square, 0..many).expect("results").len(), right.len()));
        });
        time("rayon map", many * times, &mut || {
            (0..times).for_each(|_| assert_eq!(pool::rayon_map(&rayon, many).len(), right.len()));
        });
        time("map single", single, &mut || {
            assert!(right.starts_with(&ours.map_chunked(square, 0..single, 1).expect("results")));
        });
        let mut add = |name, time, n| all.entry(name).or_default().push(per(time, n));
        if let Some(time) = pool::python_map_single(python) {
            add("mp.Pool single", time, python);
        }
        add("start", pool::polyproc_start(), 1);
        add("rayon start", pool::rayon_start(), 1);
    }
    assert_eq!(ours.map(square, 0..many).expect("results"), right);
}

/// The lower quartile, the median, the upper quartile.
fn quartiles(values: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([1, 2, 3].map(|q| values[(last * q + 2) / 4]))
}

fn print(row: &Row, all: &Rounds) {
    let none = Vec::new();
    let (ours, rivals) = (all.get(row.ours).unwrap_or(&none), all.get(row.rival).unwrap_or(&none));
    let show = |values: &[f64]| match quartiles(values.iter().copied()) {
        None => "not measured".to_owned(),
        Some([_, ns, _]) => match row.unit {
            Unit::Ns => format!("{ns:.1} ns"),
            Unit::Micros => format!("{:.2} µs", ns / 1e3),
            Unit::Millis => format!("{:.2} ms", ns / 1e6),
            Unit::MillionsPerSecond => format!("{:.3} M/s", 1e3 / ns),
            Unit::None => format!("{ns:.2}"),
        },
    };
    let by_rate = matches!(row.bar, Bar::Rate(_));
    let ratio = quartiles(ours.iter().zip(rivals).map(|(o, r)| if by_rate { r / o } else { o / r }));
    let value = quartiles(ours.iter().copied()).map(|q| q[1]);
    let (bar, holds) = match row.bar {
        Bar::Time(most) => (format!("≤ {most} ×"), ratio.map(|[_, r, _]| r <= most)),
        Bar::Rate(least) => (format!("≥ {least} ×"), ratio.map(|[_, r, _]| r >= least)),
        Bar::Nanos(most) => (format!("≤ {} µs", most / 1e3), value.map(|v| v <= most)),
        Bar::Least(least) => (format!("≥ {least}"), value.map(|v| v >= least)),
    };
    let ratio = ratio.map_or("not measured".to_owned(), |[low, r, high]| format!("{r:.2} ({low:.2}–{high:.2})"));
    let holds = holds.map_or("not measured", |holds| if holds { "yes" } else { "**no**" });
    println!("| {} | {} | {}: {} | {ratio} | {bar} | {holds} |", row.what, show(ours), row.rival, show(rivals));
}
