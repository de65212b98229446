//! The bars: what the design promises (and, where it says so, what the present milestone does), and whether it holds.

use crate::results::{Figure, Results};
use std::fmt::Write as _;
use std::time::Duration;

/// What a bar asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// At most so many times the rival's time.
    Time(f64),
    /// At least so many times the rival's rate.
    Rate(f64),
    /// At most so many nanoseconds, whatever the rival does.
    Nanos(f64),
    /// At least so many elements a second, whatever the rival does.
    PerSecond(f64),
    /// At most so many nanoseconds more than the rival.
    Over(f64),
    /// At least that value: of what is neither time nor rate.
    Least(f64),
}

/// How figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Nanos,
    Micros,
    Millis,
    MillionsPerSecond,
    /// Of messages of that size.
    MegabytesPerSecond(u32),
    Ratio,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    what: &'static str,
    text: &'static str,
    rule: Rule,
    unit: Unit,
    ours: &'static str,
    rival: Option<&'static str>,
}

/// What came of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was measured, and is as it should be.
    Holds,
    /// It was measured, and is not.
    FallsShort,
    /// Ours, or the rival that it is about, was not measured, …
    NotMeasured,
    /// … or not in the same run.
    OtherRun,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::FallsShort => "FALLS SHORT",
            Self::NotMeasured => "not measured",
            Self::OtherRun => "not measured in one run",
        }
    }
}

/// The results of rivals of one run are written within this time of each other.
const ONE_RUN: Duration = Duration::from_secs(120);

const KIB64: Unit = Unit::MegabytesPerSecond(1 << 16);
const MIB: Unit = Unit::MegabytesPerSecond(1 << 20);

macro_rules! bars {
    ($($what:literal, $text:literal, $rule:expr, $unit:expr, $group:literal: $ours:literal $(, $rival:literal)?;)*) => {
        &[$(Bar {
            what: $what,
            text: $text,
            rule: $rule,
            unit: $unit,
            ours: concat!($group, "/", $ours),
            rival: bars!(@rival $group $($rival)?),
        }),*]
    };
    (@rival $group:literal) => { None };
    (@rival $group:literal $rival:literal) => { Some(concat!($group, "/", $rival)) };
}

/// All bars.
pub const BARS: &[Bar] = {
    use Rule::{Least, Nanos, Over, PerSecond, Rate, Time};
    use Unit::{Micros, MillionsPerSecond as Mps, Millis, Ratio};
    const NS: Unit = Unit::Nanos;
    bars![
        "Lock, uncontended", "at most 1.1x of a bare CAS + store", Time(1.1), NS,
            "lock/uncontended": "polyproc Lock", "floor: CAS + store";
        "RawLock, uncontended", "at most 1.1x of a bare CAS + store", Time(1.1), NS,
            "lock/uncontended": "polyproc RawLock", "floor: CAS + store";
        "Lock, uncontended", "at most 0.5x glibc robust", Time(0.5), NS,
            "lock/uncontended": "polyproc Lock", "glibc robust";
        "Lock, uncontended", "never slower than parking_lot", Time(1.0), NS,
            "lock/uncontended": "polyproc Lock", "parking_lot (threads)";
        "two Locks, nested", "never slower than std", Time(1.0), NS,
            "lock/two nested": "polyproc Lock", "std (threads)";
        "Lock, hammered by 2", "at least 3x glibc robust", Rate(3.0), Mps,
            "lock/by 2, hammered": "polyproc, processes", "glibc robust, processes";
        "Lock, hammered by 2", "at least 0.5x parking_lot", Rate(0.5), Mps,
            "lock/by 2, hammered": "polyproc, processes", "parking_lot, threads";
        "Lock, hammered by 2", "slowest worker at least 0.5 of the fastest", Least(0.5), Ratio,
            "lock evenness/by 2, hammered": "polyproc, processes", "parking_lot, threads";
        "Lock by 2, work between", "at least 1.4x glibc robust", Rate(1.4), Mps,
            "lock/by 2, work between": "polyproc, processes", "glibc robust, processes";
        "Lock by 2, work between", "at least 0.5x parking_lot", Rate(0.5), Mps,
            "lock/by 2, work between": "polyproc, processes", "parking_lot, threads";
        "Lock by 2, work between", "slowest worker at least 0.5 of the fastest", Least(0.5), Ratio,
            "lock evenness/by 2, work between": "polyproc, processes", "parking_lot, threads";
        "Lock, hammered by 4", "at least 3x glibc robust", Rate(3.0), Mps,
            "lock/by 4, hammered": "polyproc, processes", "glibc robust, processes";
        "Lock, hammered by 4", "at least 0.5x parking_lot", Rate(0.5), Mps,
            "lock/by 4, hammered": "polyproc, processes", "parking_lot, threads";
        "Lock, hammered by 4", "slowest worker at least 0.5 of the fastest", Least(0.5), Ratio,
            "lock evenness/by 4, hammered": "polyproc, processes", "parking_lot, threads";
        "Lock by 4, work between", "at least 1.4x glibc robust", Rate(1.4), Mps,
            "lock/by 4, work between": "polyproc, processes", "glibc robust, processes";
        "Lock by 4, work between", "at least 0.5x parking_lot", Rate(0.5), Mps,
            "lock/by 4, work between": "polyproc, processes", "parking_lot, threads";
        "Lock by 4, work between", "slowest worker at least 0.5 of the fastest", Least(0.5), Ratio,
            "lock evenness/by 4, work between": "polyproc, processes", "parking_lot, threads";
        "Lock, from its holder's death to the next", "at most 1 ms", Nanos(1e6), Micros,
            "lock/from the holder's death to the next": "polyproc", "glibc robust";
        "RLock, uncontended", "at most 1.3x Lock", Time(1.3), NS,
            "sync/lock that may be taken again": "polyproc RLock", "polyproc Lock";
        "Semaphore, counted, acquire + release", "never slower than sem_t", Time(1.0), NS,
            "semaphore/uncontended": "polyproc, counted", "sem_t shared";
        "Semaphore, owned, acquire + drop", "at most 1.3x sem_t", Time(1.3), NS,
            "semaphore/uncontended": "polyproc, owned", "sem_t shared";
        "Event that is set, wait", "at most 3 ns over a load", Over(3.0), NS,
            "event/uncontended": "wait for a set event", "floor: a load";
        "Event, wake-up", "at most 1.3x of a bare futex", Time(1.3), Micros,
            "sync/wake-up of a process that sleeps": "polyproc Event", "floor: futex";
        "Condition, wake-up", "at most 1.3x of a bare futex", Time(1.3), Micros,
            "sync/wake-up of a process that sleeps": "polyproc Condition", "floor: futex";
        "Barrier of 2, wake-up", "at most 1.3x of a bare futex", Time(1.3), Micros,
            "sync/wake-up of a process that sleeps": "polyproc Barrier", "floor: futex";
        "RwLock, readers of 2 processes", "at least 1.8x of those of one", Rate(1.8), Mps,
            "rwlock/readers at the same time": "polyproc, 2 processes", "polyproc, 1 process";
        "Event, threads by turns", "at most 1.3x bare futex calls", Time(1.3), NS,
            "event/ping-pong of threads": "polyproc", "floor: futex";
        "Barrier of 2 threads", "at most 1.3x bare futex calls", Time(1.3), NS,
            "barrier/two threads": "polyproc", "floor: futex";
        "Queue<u64>, stream", "at least 0.9x crossbeam-channel (milestone)", Rate(0.9), Mps,
            "queue/stream of u64": "polyproc, processes", "crossbeam-channel, threads";
        "Queue<u64>, stream", "at least 1.2x crossbeam-channel", Rate(1.2), Mps,
            "queue/stream of u64": "polyproc, processes", "crossbeam-channel, threads";
        "Queue<[u64; 8]>, stream", "at least 1.2x crossbeam-channel", Rate(1.2), Mps,
            "queue/stream of 64 bytes": "polyproc [u64; 8], processes", "crossbeam-channel [u64; 8], threads";
        "Queue<(u64, String)>, stream", "with serde at least 0.7x crossbeam-channel", Rate(0.7), Mps,
            "queue/stream of 64 bytes": "polyproc (u64, String), processes", "crossbeam-channel (u64, String), threads";
        "Queue<u64>, round trip, both awake", "at most 1.25x crossbeam-channel", Time(1.25), NS,
            "queue/round trip of u64, both awake": "polyproc, processes", "crossbeam-channel, threads";
        "Queue<u64>, round trip, one asleep", "at most 1.3x the futex floor", Time(1.3), Micros,
            "queue/round trip of u64, one asleep": "polyproc, processes", "floor: futex, processes";
        "Queue, 64 KiB, copying", "at least 0.8x of memcpy in and out", Rate(0.8), KIB64,
            "queue/messages of 64 KiB": "polyproc Vec<u8>, processes", "floor: memcpy in and out";
        "Queue, 1 MiB, copying", "at least 0.8x of memcpy in and out", Rate(0.8), MIB,
            "queue/messages of 1 MiB": "polyproc Vec<u8>, processes", "floor: memcpy in and out";
        "Pool, apply", "at most 25 µs (milestone)", Nanos(25e3), Micros,
            "pool/apply": "polyproc", "rayon (threads)";
        "Pool, apply", "at most 10 µs awake", Nanos(10e3), Micros,
            "pool/apply": "polyproc", "rayon (threads)";
        "Pool, map, chunk 1", "at least 300,000 tasks/s (milestone)", PerSecond(300e3), Mps,
            "pool/map of 5,000 squares, chunk 1": "polyproc", "procspawn";
        "Pool, map, chunk 1", "at least 40x mp.Pool", Rate(40.0), Mps,
            "pool/map of 5,000 squares, chunk 1": "polyproc", "mp.Pool";
        "Pool, map, default chunk", "at least 0.5x rayon", Rate(0.5), Mps,
            "pool/map of 100,000 squares": "polyproc", "rayon (threads)";
        "Pool, start to first result", "at most 3 ms", Nanos(3e6), Millis,
            "pool/start to first result": "polyproc", "procspawn";
        "Pool, 1 MiB in and out", "at least 0.7x rayon that copies", Rate(0.7), MIB,
            "pool/1 MiB in and out": "polyproc", "rayon (threads), copies";
        "spawn + join of a process", "at most 1.3x posix_spawn", Time(1.3), Micros,
            "pool/spawn and join of a process": "polyproc", "floor: posix_spawn";
        "SharedMemory with a name, 4 KiB, made and left", "at most 1.4x of the bare calls", Time(1.4), Micros,
            "shm/named, made and left": "polyproc", "floor: shm_open + mmap + unlink";
        "SharedMemory with a name, 4 KiB, found and left", "at most 1.5x of the bare calls", Time(1.5), Micros,
            "shm/named, found and left": "polyproc", "floor: shm_open + mmap";
        "SharedMemory without a name, 4 KiB, made and dropped", "at most 1 us", Nanos(1000.0), NS,
            "shm/made and dropped": "polyproc, 4 KiB";
        "Lock, made and dropped", "at most 100 ns", Nanos(100.0), NS,
            "shm/made and dropped": "polyproc Lock";
    ]
};

/// A line of the table, with what was measured.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    bar: &'a Bar,
    ours: Option<Figure>,
    rival: Option<Figure>,
    /// Ours over the rival's: of times where the bar is about times, else of rates.
    ratio: Option<f64>,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Sets the results beside the bars.
#[must_use]
pub fn judge<'a>(bars: &'a [Bar], results: &Results) -> Vec<Line<'a>> {
    bars.iter().map(|bar| bar.judge(results)).collect()
}

impl Bar {
    fn judge(&self, results: &Results) -> Line<'_> {
        let ours = results.get(self.ours).copied();
        let rival = self.rival.and_then(|rival| results.get(rival)).copied();
        let one_run = |(a, b): &(Figure, Figure)| {
            let apart = a.at.duration_since(b.at).unwrap_or_else(|e| e.duration());
            apart <= ONE_RUN
        };
        let both = ours.zip(rival);
        let together = both.filter(one_run);
        let ratio = together.map(|(ours, rival)| match self.rule {
            Rule::Rate(_) | Rule::PerSecond(_) => (ours.elements * rival.median) / (rival.elements * ours.median),
            Rule::Time(_) | Rule::Nanos(_) | Rule::Over(_) | Rule::Least(_) => ours.median / rival.median,
        });
        let holds = match self.rule {
            Rule::Time(most) => ratio.map(|r| r <= most),
            Rule::Rate(least) => ratio.map(|r| r >= least),
            Rule::Nanos(most) => ours.map(|f| f.median <= most),
            Rule::Over(most) => together.map(|(ours, rival)| ours.median <= rival.median + most),
            Rule::PerSecond(least) => ours.map(|f| per_second(f) >= least),
            Rule::Least(least) => ours.map(|f| f.median >= least),
        };
        let verdict = match holds {
            Some(true) => Verdict::Holds,
            Some(false) => Verdict::FallsShort,
            None if both.is_some() => Verdict::OtherRun,
            None => Verdict::NotMeasured,
        };
        Line { bar: self, ours, rival, ratio, verdict }
    }

    fn show(&self, figure: Option<Figure>) -> String {
        let Some(figure) = figure else { return "not measured".to_owned() };
        let ns = figure.median;
        match self.unit {
            Unit::Nanos => format!("{ns:.1} ns"),
            Unit::Micros => format!("{:.2} µs", ns / 1e3),
            Unit::Millis => format!("{:.2} ms", ns / 1e6),
            Unit::MillionsPerSecond => format!("{:.3} M/s", per_second(figure) / 1e6),
            Unit::MegabytesPerSecond(size) => format!("{:.0} MB/s", per_second(figure) * f64::from(size) / 1e6),
            Unit::Ratio => format!("{ns:.2}"),
        }
    }
}

fn per_second(figure: Figure) -> f64 {
    figure.elements * 1e9 / figure.median
}

/// The table, in Markdown.
#[must_use]
pub fn table(lines: &[Line<'_>]) -> String {
    let mut rows = vec![["what", "bar", "ours", "rival", "ratio", "result"].map(str::to_owned)];
    rows.extend(lines.iter().map(|line| {
        let bar = line.bar;
        let rival = bar.rival.map_or("-".to_owned(), |name| {
            let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
            format!("{}, {name}", bar.show(line.rival))
        });
        let ratio = line.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let verdict = line.verdict.text().to_owned();
        [bar.what.to_owned(), bar.text.to_owned(), bar.show(line.ours), rival, ratio, verdict]
    }));
    let widths: Vec<usize> = (0..6).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut table = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
        let _ = writeln!(table, "|{}", cells.collect::<String>());
        if i == 0 {
            let rules = widths.iter().map(|width| format!("{:-<w$}|", "", w = width + 2));
            let _ = writeln!(table, "|{}", rules.collect::<String>());
        }
    }
    let count = |verdicts: &[Verdict]| lines.iter().filter(|line| verdicts.contains(&line.verdict)).count();
    let (holds, short) = (count(&[Verdict::Holds]), count(&[Verdict::FallsShort]));
    let not = count(&[Verdict::NotMeasured, Verdict::OtherRun]);
    let _ = writeln!(table, "\n{holds} hold, {short} fall short, {not} not measured.");
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::Fixture;

    const TEST_BARS: &[Bar] = bars![
        "Lock", "at most 1.1x", Rule::Time(1.1), Unit::Nanos, "lock": "ours", "floor";
        "Queue", "at least 0.9x", Rule::Rate(0.9), Unit::MillionsPerSecond, "queue": "ours", "rival";
        "apply", "at most 25 µs", Rule::Nanos(25e3), Unit::Micros, "apply": "ours", "rival";
        "map", "at least 300,000/s", Rule::PerSecond(300e3), Unit::MillionsPerSecond, "map": "ours";
        "even", "at least 0.5", Rule::Least(0.5), Unit::Ratio, "even": "ours";
    ];

    fn verdicts(folder: &Fixture) -> Vec<Verdict> {
        judge(TEST_BARS, &folder.read().unwrap()).iter().map(|line| line.verdict).collect()
    }

    #[test]
    fn bars_hold_up_to_the_very_bar() {
        let folder = Fixture::new().measured("lock/ours", 11.0, 1).measured("lock/floor", 10.0, 1);
        let folder = folder.measured("queue/ours", 100.0, 1).measured("queue/rival", 90.0, 1);
        let folder = folder.measured("apply/ours", 25e3, 1).measured("map/ours", 1e9, 300_000);
        assert_eq!(verdicts(&folder.measured("even/ours", 0.5, 1)), [Verdict::Holds; 5]);
    }

    #[test]
    fn bars_fall_short_beyond_it() {
        let folder = Fixture::new().measured("lock/ours", 11.1, 1).measured("lock/floor", 10.0, 1);
        let folder = folder.measured("queue/ours", 100.0, 1).measured("queue/rival", 89.0, 1);
        let folder = folder.measured("apply/ours", 25.1e3, 1).measured("map/ours", 1e9, 299_999);
        assert_eq!(verdicts(&folder.measured("even/ours", 0.49, 1)), [Verdict::FallsShort; 5]);
    }

    #[test]
    fn rates_are_of_elements() {
        let folder = Fixture::new().measured("queue/ours", 1000.0, 10).measured("queue/rival", 95.0, 1);
        let results = folder.read().unwrap();
        let line = &judge(TEST_BARS, &results)[1];
        assert_eq!((line.ratio.unwrap() * 100.0).round(), 95.0);
        assert_eq!(line.verdict, Verdict::Holds);
    }

    #[test]
    fn without_its_rival_a_bar_is_not_measured_unless_it_is_a_number() {
        let folder = Fixture::new().measured("lock/ours", 1.0, 1).measured("queue/rival", 1.0, 1);
        let folder = folder.measured("apply/ours", 1.0, 1);
        use Verdict::{Holds, NotMeasured};
        assert_eq!(verdicts(&folder), [NotMeasured, NotMeasured, Holds, NotMeasured, NotMeasured]);
    }

    #[test]
    fn a_rival_of_another_run_does_not_count() {
        let folder = Fixture::new().measured("lock/ours", 1.0, 1).measured("lock/floor", 1.0, 1);
        let mut results = folder.read().unwrap();
        results.get_mut("lock/floor").unwrap().at -= ONE_RUN + Duration::from_secs(60);
        let line = judge(TEST_BARS, &results)[0];
        assert_eq!((line.verdict, line.ratio), (Verdict::OtherRun, None));
    }

    #[test]
    fn the_table_shows_figures_ratios_and_verdicts() {
        let folder = Fixture::new().measured("lock/ours", 12.0, 1).measured("lock/floor", 10.0, 1);
        let folder = folder.measured("map/ours", 1e9, 400_000);
        let results = folder.read().unwrap();
        let table = table(&judge(TEST_BARS, &results));
        let row = |i: usize| table.lines().nth(i).unwrap().split('|').map(str::trim).collect::<Vec<_>>();
        assert_eq!(row(2), ["", "Lock", "at most 1.1x", "12.0 ns", "10.0 ns, floor", "1.20", "FALLS SHORT", ""]);
        assert_eq!(row(3)[3..7], ["not measured", "not measured, rival", "-", "not measured"]);
        assert_eq!(row(5)[3..7], ["0.400 M/s", "-", "-", "holds"]);
        assert!(table.ends_with("1 hold, 1 fall short, 3 not measured.\n"), "{table}");
        let mut widths = table.lines().take(7).map(|line| line.chars().count());
        let first = widths.next();
        assert!(widths.all(|width| Some(width) == first), "{table}");
    }
}
