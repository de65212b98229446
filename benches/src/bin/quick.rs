//! Half a minute, one table: each bar of the design beside its rival.
//!
//! `cargo run --release -p polyproc-benches --bin quick [ROUNDS]`. Every round measures everything, ours and the rival by
//! turns, so that both meet the same noise; a ratio is the median of the rounds' ratios, not the ratio of the medians.
//!
//! What needs two CPUs at once is run several times a round for a few milliseconds, and the best run counts: one in which a
//! neighbour took a CPU measures the neighbour. Of contended locks it is the median of those runs in which neither worker
//! waited for a CPU; of round trips where both are awake, none counts that shows that they took turns on one CPU. Where a busy
//! machine left no such run, the table says "not measured".

use polyproc_benches::lock::{
    CasStore, Contest, Exclusive, Fighters, Pthread, Raw, Which, between_threads, uncontended,
};
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
    row(
        "Lock, hammered by 2",
        "Lock, 2 processes",
        "glibc robust, 2 processes",
        Unit::MillionsPerSecond,
        Bar::Rate(3.0),
    ),
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
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let spin = all.get("spin").and_then(|spin| quartiles(spin.iter().copied())).map_or(f64::NAN, |q| q[1]);
    let (seconds, cpus) = (begin.elapsed().as_secs_f64(), polyproc::parts::sys::spin::cpus());
    println!("{rounds} rounds, {seconds:.0} s, {cpus} CPUs, load {}", load.trim());
    println!("A word to another process and back, spinning: {spin:.0} ns. NaN: there never were two free CPUs.");
    println!("In brackets the middle half of the rounds' ratios.\n");
    println!("| what | ours | rival | ratio | bar | holds |\n|---|---|---|---|---|---|");
    for row in ROWS {
        print(row, &all);
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
fn per(time: Duration, n: u64) -> f64 {
    time.as_nanos() as f64 / n as f64
}

/// Runs of what needs two CPUs, in each round.
const RUNS: usize = 9;
/// … as long as they do not take too long: on a busy machine all of them do.
const PATIENCE: Duration = Duration::from_millis(100);

/// The best of some short runs.
fn best(n: u64, run: impl Fn(u64) -> Duration) -> f64 {
    let begin = Instant::now();
    let runs = (0..RUNS).take_while(|i| *i == 0 || begin.elapsed() < PATIENCE);
    runs.map(|_| per(run(n), n)).fold(f64::INFINITY, f64::min)
}

fn locks(rounds: usize, all: &mut Rounds) {
    fn alone(all: &mut Rounds, name: &'static str, lock: &impl Exclusive) {
        all.entry(name).or_default().push(best(60_000, |n| uncontended(lock, n)));
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

        let (many, work) = (300_000, 100);
        fought(all, ["Lock, 2 processes", "Lock, fairness"], many, |n| fighters.run(Which::Polyproc, n, 0));
        fought(all, ["glibc robust, 2 processes", ""], many, |n| fighters.run(Which::Robust, n, 0));
        fought(all, ["parking_lot, 2 threads", "parking_lot, fairness"], many, |n| between_threads(&parking.0, n, 0));
        fought(all, ["Lock, work", ""], many / 10, |n| fighters.run(Which::Polyproc, n, work));
        fought(all, ["glibc robust, work", ""], many / 10, |n| fighters.run(Which::Robust, n, work));
    }
}

/// Runs a contest until some runs were undisturbed, and notes the time of an addition and the fairness of those.
fn fought(all: &mut Rounds, [time, fairness]: [&'static str; 2], n: u64, run: impl Fn(u64) -> Contest) {
    let begin = Instant::now();
    let tries = (0..5 * RUNS).take_while(|_| begin.elapsed() < PATIENCE);
    let contests: Vec<Contest> = tries.map(|_| run(n)).filter(|c| c.undisturbed).take(RUNS).collect();
    let median = |value: &dyn Fn(&Contest) -> f64| quartiles(contests.iter().map(value)).map_or(f64::NAN, |q| q[1]);
    all.entry(time).or_default().push(median(&|c| per(c.time, n)));
    all.entry(fairness).or_default().push(median(&Contest::fairness));
}

fn queues(rounds: usize, all: &mut Rounds) {
    let partner = Partner::start();
    for _ in 0..rounds {
        let mut add = |name, ns| all.entry(name).or_default().push(ns);
        let (items, trips) = (100_000, 500);
        add("Queue, 2 processes", best(items, |n| partner.stream(Stream::Numbers, n)));
        add("crossbeam, 2 threads", best(items, threads::crossbeam_channel::<u64>));
        add("Queue 64 B", best(items, |n| partner.stream(Stream::Records, n)));
        add("crossbeam 64 B", best(items, threads::crossbeam_channel::<[u8; 64]>));
        let spin = best(trips, |n| partner.round_trips(Trip::Spin, n, Duration::ZERO));
        let awake = |ns: f64| if ns < 3000.0 { ns } else { f64::NAN }; // otherwise the two took turns on one CPU
        add("spin", awake(spin));
        add("Queue trip", awake(best(trips, |n| partner.round_trips(Trip::Queues, n, Duration::ZERO))));
        add("crossbeam trip, threads", awake(best(trips, threads::crossbeam_round_trips)));
        let pause = Duration::from_micros(150);
        add("Queue trip, asleep", best(30, |n| partner.round_trips(Trip::Queues, n, pause)));
        add("futex, asleep", best(30, |n| partner.round_trips(Trip::Futex, n, pause)));
    }
}

fn pools(rounds: usize, all: &mut Rounds) {
    let (ours, rayon) = (pool::polyproc(), pool::rayon());
    let (many, single, python) = (100_000, 20_000, 5_000);
    let right: Vec<u64> = (0..many).map(square).collect();
    for _ in 0..rounds {
        let mut time = |name, n: u64, f: &dyn Fn()| {
            let run = |_| {
                let start = Instant::now();
                f();
                start.elapsed()
            };
            all.entry(name).or_default().push(best(n, run));
        };
        let applies = 300;
        time("apply", applies, &|| {
            (0..applies).for_each(|x| assert_eq!(ours.apply(square, x).expect("a result"), square(x)));
        });
        time("rayon apply", applies, &|| {
            (0..applies).for_each(|x| assert_eq!(pool::rayon_apply(&rayon, x), square(x)));
        });
        time("map", many, &|| assert_eq!(ours.map(square, 0..many).expect("results").len(), right.len()));
        time("rayon map", many, &|| assert_eq!(pool::rayon_map(&rayon, many).len(), right.len()));
        time("map single", single, &|| {
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

/// The lower quartile, the median, the upper quartile; of those that were measured.
fn quartiles(values: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let mut values: Vec<f64> = values.filter(|v| !v.is_nan()).collect();
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
