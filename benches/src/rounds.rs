//! Rivals by turns: a group of benches that is measured in rounds, in each of which every rival has one turn, so that all of
//! them meet the same noise. criterion, which would measure one rival after the other, is given the finished samples: one for
//! each round. It does the statistics, compares with the last run, and keeps the results.
//!
//! A turn is several short runs, of which the best counts: one in which a neighbour took a CPU measures the neighbour, and a
//! rival that offers its CPU while it waits loses a whole slice to him.
//!
//! What criterion says about "iterations" is therefore about the feeding, not about the measuring.

use core::cell::{OnceCell, RefCell};
use core::fmt;
use core::time::Duration;
use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{Criterion, SamplingMode, Throughput};
use polyproc::parts::sys::deadline::now_ns;
use std::time::Instant;

/// Rounds of each group, and so samples of each bench.
const ROUNDS: usize = 21;

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How long all of it took.
    pub time: Duration,
    /// How evenly its workers came off, where that is a question.
    pub evenness: Option<f64>,
}

impl From<Duration> for Outcome {
    fn from(time: Duration) -> Self {
        Self { time, evenness: None }
    }
}

/// One run's time for each operation.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    evenness: Option<f64>,
}

type Run<'a> = Box<dyn FnMut(u64) -> Outcome + 'a>;

/// A group of rivals.
pub struct Rounds<'a> {
    name: &'static str,
    rivals: Vec<(&'static str, Run<'a>)>,
    check: u64,
    run: Duration,
    runs: usize,
    elements: u64,
}

impl fmt::Debug for Rounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rivals.iter().map(|rival| rival.0);
        f.debug_struct("Rounds").field("name", &self.name).field("rivals", &names.collect::<Vec<_>>()).finish()
    }
}

impl<'a> Rounds<'a> {
    /// A group with no rivals yet. Before anything is measured, every rival does `check` operations.
    #[must_use]
    pub fn new(name: &'static str, check: u64) -> Self {
        Self { name, rivals: Vec::new(), check, run: Duration::from_millis(2), runs: 10, elements: 1 }
    }

    /// How long a run is to be, about (2 ms, unless told otherwise).
    #[must_use]
    pub fn run_for(mut self, run: Duration) -> Self {
        self.run = run;
        self
    }

    /// Of how many runs the best counts (10, unless told otherwise).
    #[must_use]
    pub fn best_of(mut self, runs: usize) -> Self {
        self.runs = runs;
        self
    }

    /// How many elements one operation handles (1, unless told otherwise).
    #[must_use]
    pub fn elements(mut self, elements: u64) -> Self {
        self.elements = elements;
        self
    }

    /// A rival: what does so many operations, checks what came of them, and says how long they took.
    pub fn rival<O: Into<Outcome>>(&mut self, name: &'static str, mut run: impl FnMut(u64) -> O + 'a) {
        self.rivals.push((name, Box::new(move |n| run(n).into())));
    }

    /// Measures the group, unless the command line asks for others only.
    pub fn measure(self, c: &mut Criterion) {
        self.measure_both(c, None);
    }

    /// As [`measure`](Self::measure), and tells how even the contests were.
    pub fn measure_both(mut self, c: &mut Criterion, even: Option<(&mut Criterion<Evenness>, &'static str)>) {
        let rivals = core::mem::take(&mut self.rivals);
        let names: Vec<&str> = rivals.iter().map(|rival| rival.0).collect();
        let (rivals, all) = (RefCell::new(rivals), OnceCell::new());
        let samples = |i: usize| -> &[Sample] {
            let all: &Vec<Vec<Sample>> = all.get_or_init(|| self.take_turns(smoke(), &mut rivals.borrow_mut()));
            &all[i]
        };
        feed(c, self.name, Some(self.elements), &names, |i, turn, n| {
            let samples = samples(i);
            Duration::from_secs_f64(samples[turn % samples.len()].seconds * n)
        });
        if let Some((c, name)) = even {
            feed(c, name, None, &names, |i, turn, n| {
                let samples = samples(i);
                samples[turn % samples.len()].evenness.unwrap_or(0.0) * n
            });
        }
    }

    fn take_turns(&self, smoke: bool, rivals: &mut [(&'static str, Run<'a>)]) -> Vec<Vec<Sample>> {
        let sample = |outcome: Outcome, n: u64| Sample {
            seconds: outcome.time.as_secs_f64() / count(n),
            evenness: outcome.evenness,
        };
        let mut operations = Vec::new();
        let mut samples = Vec::new();
        for (_, run) in &mut *rivals {
            let checked = run(self.check);
            samples.push(vec![sample(checked, self.check)]);
            if !smoke {
                operations.push(self.calibrate(run));
            }
        }
        if smoke {
            return samples;
        }
        samples.iter_mut().for_each(Vec::clear);
        for round in 0..ROUNDS {
            for i in 0..rivals.len() {
                let i = (i + round) % rivals.len(); // nobody is always first
                let (run, n) = (&mut rivals[i].1, operations[i]);
                let runs = (0..self.runs).map(|_| sample(run(n), n));
                samples[i].extend(runs.min_by(|a, b| a.seconds.total_cmp(&b.seconds)));
            }
        }
        samples
    }

    /// The number of operations that take about as long as a run is to be.
    fn calibrate(&self, run: &mut Run<'a>) -> u64 {
        let mut n = 1_u64;
        loop {
            let begin = Instant::now();
            let time = run(n).time.max(Duration::from_nanos(1));
            let factor = self.run.as_secs_f64() / time.as_secs_f64();
            if factor < 1.5 || begin.elapsed() > 20 * self.run {
                return n;
            }
            n = scale(n, factor.min(10.0));
        }
    }
}

/// The time of `n` calls.
pub fn times(n: u64, mut call: impl FnMut()) -> Duration {
    let start = now_ns();
    for _ in 0..n {
        call();
    }
    Duration::from_nanos(now_ns() - start)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
fn count(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a bench")]
fn scale(n: u64, factor: f64) -> u64 {
    (count(n) * factor).ceil() as u64
}

/// Whether every bench shall run once only, as criterion decides it.
fn smoke() -> bool {
    let has = |flag: &str| std::env::args().any(|a| a == flag);
    has("--test") || !has("--bench")
}

/// Gives criterion the samples that `value` has: of which rival, the how manieth, for how many operations.
fn feed<M: Measurement>(
    c: &mut Criterion<M>,
    group: &str,
    elements: Option<u64>,
    names: &[&str],
    value: impl Fn(usize, usize, f64) -> M::Value,
) {
    let mut g = c.benchmark_group(group);
    if let Some(elements) = elements {
        g.throughput(Throughput::Elements(elements));
    }
    // The samples are there already: criterion shall ask for each once, and for the same number of operations.
    g.sampling_mode(SamplingMode::Flat).sample_size(ROUNDS).nresamples(10_000);
    g.warm_up_time(Duration::from_nanos(1)).measurement_time(Duration::from_millis(20));
    for (i, name) in names.iter().enumerate() {
        let mut turn = 0;
        g.bench_function(*name, |b| {
            let _ = value(i, 0, 1.0); // measured now, if it was not yet: outside of what criterion takes for a run
            b.iter_custom(|n| {
                turn += 1;
                value(i, turn, count(n))
            });
        });
    }
    g.finish();
}

/// What the slowest worker did, over what the fastest one did: 1 is fair.
#[derive(Clone, Copy, Debug)]
pub struct Evenness;

impl Measurement for Evenness {
    type Intermediate = ();
    type Value = f64;
    fn start(&self) {}
    fn end(&self, (): ()) -> f64 {
        0.0
    }
    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }
    fn zero(&self) -> f64 {
        0.0
    }
    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Evenness {
    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "slowest/fastest"
    }
    fn scale_throughputs(&self, _: f64, _: &Throughput, _: &mut [f64]) -> &'static str {
        "slowest/fastest"
    }
    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "slowest/fastest"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rival whose operations take so long, and that notes when it has its turns.
    fn rival<'a>(name: char, micros: u64, turns: &'a RefCell<String>) -> impl FnMut(u64) -> Duration + 'a {
        move |n| {
            turns.borrow_mut().push(name);
            Duration::from_micros(micros * n)
        }
    }

    #[test]
    fn every_rival_has_its_turn_in_every_round() {
        let turns = RefCell::new(String::new());
        let mut g = Rounds::new("group", 3).best_of(1).run_for(Duration::from_micros(1));
        g.rival("a", rival('a', 10, &turns));
        g.rival("b", rival('b', 20, &turns));
        g.rival("c", rival('c', 30, &turns));
        let mut rivals = core::mem::take(&mut g.rivals);
        let samples = g.take_turns(false, &mut rivals);
        // The check and the calibration of each, and then the rounds: nobody is always first.
        assert!(turns.borrow().starts_with("aabbccabcbcacababc"), "{}", turns.borrow());
        assert_eq!(turns.borrow().len(), 6 + 3 * ROUNDS);
        for (samples, micros) in samples.iter().zip([10.0, 20.0, 30.0]) {
            assert_eq!(samples.len(), ROUNDS);
            assert!(samples.iter().all(|s| (s.seconds * 1e6 - micros).abs() < 1e-6));
        }
    }

    #[test]
    fn the_best_run_of_a_turn_counts() {
        let mut calls = 0;
        let mut g = Rounds::new("group", 1).best_of(4).run_for(Duration::from_micros(1));
        g.rival("a", move |n| {
            calls += 1;
            Duration::from_micros(n * if calls % 4 == 0 { 5 } else { 50 })
        });
        let mut rivals = core::mem::take(&mut g.rivals);
        let samples = g.take_turns(false, &mut rivals);
        assert!(samples[0].iter().all(|s| (s.seconds * 1e6 - 5.0).abs() < 1e-6));
    }

    #[test]
    fn runs_are_as_long_as_they_shall_be() {
        let turns = RefCell::new(String::new());
        let g = Rounds::new("group", 1).run_for(Duration::from_millis(2));
        let mut run: Run<'_> = {
            let mut rival = rival('a', 10, &turns);
            Box::new(move |n| rival(n).into())
        };
        assert_eq!(g.calibrate(&mut run), 200);
    }

    #[test]
    fn a_smoke_test_runs_everything_once() {
        let turns = RefCell::new(String::new());
        let mut g = Rounds::new("group", 3);
        g.rival("a", rival('a', 10, &turns));
        g.rival("b", rival('b', 10, &turns));
        let mut rivals = core::mem::take(&mut g.rivals);
        let samples = g.take_turns(true, &mut rivals);
        assert_eq!((turns.borrow().as_str(), samples.len()), ("ab", 2));
    }
}
