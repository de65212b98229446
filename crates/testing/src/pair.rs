//! Two victims: each killed at every instruction of its operation, and survivors must be able to go on.
//!
//! # How
//! Both victims are brought to the beginning of their operations. The first goes to one of its points and stops there;
//! then the second, whose way depends on where the first stands, to one of its own; then both are killed. What the one
//! sees of the other is always a whole prefix of its operation, so it takes two scenarios, with the roles changed, to
//! have both orders; more than one change of turns is not tried ([`crate::model`] tries it).
//!
//! # Limits
//! As those of [`crate::kill`], but: a victim that comes to its end before the point is not tried again, and one that
//! is seen in a futex call counts as asleep for good.

use crate::kill::{Kill, KillReport, Run, Stop, text};
use crate::plan::{Plan, Point, Trace};
use crate::runner;
use crate::tracee::{Patience, Tracee};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// One of two victims.
///
/// See [`kill_pairs`] for an example.
pub struct Victim<'a, S> {
    /// Runs in the victim, untraced, before the stepped part; that of the first comes first.
    pub prepare: &'a (dyn Fn(&S) + Sync),
    /// The operation that is killed at every instruction.
    pub op: &'a (dyn Fn(&S) + Sync),
    /// Of its points every so many-th is taken; 1 takes all.
    pub every: usize,
}

impl<S> Clone for Victim<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Victim<'_, S> {} // derived, it would ask for `S: Copy`

impl<S> fmt::Debug for Victim<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Victim").field("every", &self.every).finish_non_exhaustive()
    }
}

/// How two victims die.
///
/// ```
/// assert_ne!(polyproc_testing::Deaths::InTurn, polyproc_testing::Deaths::OneProcess);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deaths {
    /// Both at once, two processes.
    Together,
    /// The first before the second goes on its way.
    InTurn,
    /// By one kill: they are threads of one process.
    OneProcess,
}

/// Whom to kill and how to judge. `S` is the state of one run: shared memory, survivors.
///
/// See [`kill_pairs`] for an example.
pub struct Pair<'a, S> {
    /// Name for reports and messages.
    pub name: &'a str,
    /// How they die.
    pub deaths: Deaths,
    /// Runs in the harness before each pair is forked: makes a fresh state.
    pub setup: &'a mut dyn FnMut() -> S,
    /// The victims.
    pub victims: [Victim<'a, S>; 2],
    /// Runs in the harness when the first stands at its point (or is dead), and the second at its beginning.
    pub between: &'a dyn Fn(&S),
    /// Runs in the harness after both were killed and reaped: names the outcome, panics on a broken invariant.
    pub check: &'a mut dyn FnMut(S, &[Kill; 2]) -> String,
}

impl<S> fmt::Debug for Pair<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("name", &self.name).field("deaths", &self.deaths).finish_non_exhaustive()
    }
}

/// Kills two victims at every pair of their points, and checks each time. Told to [`runner::report`].
///
/// # Panics
/// As [`crate::kill_at_every_instruction`].
///
/// # Examples
/// ```
/// use polyproc_testing::{Deaths, Pair, Victim, kill_pairs};
/// let nothing = Victim { prepare: &|()| (), op: &|()| (), every: 1 };
/// let report = kill_pairs(Pair {
///     name: "nothing and nothing",
///     deaths: Deaths::Together,
///     setup: &mut || (),
///     victims: [nothing, nothing],
///     between: &|()| (),
///     check: &mut |(), kills| format!("{} done", kills.iter().filter(|kill| kill.completed).count()),
/// });
/// assert_eq!(report.count("2 done"), 1);
/// ```
pub fn kill_pairs<S: Sync>(mut pair: Pair<'_, S>) -> KillReport {
    let started = Instant::now();
    let (name, outcomes) = (pair.name.to_owned(), BTreeMap::new());
    let mut report = KillReport { name, points: 0, steps: 0, elapsed: Duration::ZERO, outcomes };
    let (trace, last) = {
        let state = (pair.setup)();
        let (mut first, second) = start(&pair, &state);
        let whole = first.trace();
        report.steps += first.tracee.steps;
        drop(second); // before the first one, whose thread it may be
        whole
    };
    let plan = Plan::new(&trace);
    for point in some(&plan, last, pair.victims[0].every) {
        let way = Way { trace: &trace, plan: &plan, point };
        let (trace, last) = one(&mut pair, &mut report, &way, None).expect("the second was traced");
        let plan = Plan::new(&trace);
        for point in some(&plan, last, pair.victims[1].every).filter(|point| *point != last) {
            one(&mut pair, &mut report, &way, Some(&Way { trace: &trace, plan: &plan, point }));
        }
    }
    report.elapsed = started.elapsed();
    runner::report(&report);
    report
}

/// What is known of the way to a point.
struct Way<'w> {
    trace: &'w Trace,
    plan: &'w Plan,
    point: Point,
}

/// Every so many-th point, and the last one.
fn some(plan: &Plan, last: Point, every: usize) -> impl Iterator<Item = Point> {
    let points = plan.points.iter().copied().filter(move |point| *point < last);
    points.step_by(every.max(1)).chain([last])
}

fn start<'r, S: Sync>(pair: &'r Pair<'_, S>, state: &'r S) -> (Run<'r, S>, Run<'r, S>) {
    let [one, two] = pair.victims;
    let tracees = if pair.deaths == Deaths::OneProcess {
        let first = (|| (one.prepare)(state), || (one.op)(state));
        Tracee::start_two(first, (|| (two.prepare)(state), || (two.op)(state)))
    } else {
        Tracee::start(|| (one.prepare)(state), || (one.op)(state))
            .and_then(|first| Ok((first, Tracee::start(|| (two.prepare)(state), || (two.op)(state))?)))
    };
    let name = pair.name;
    let (first, second) =
        tracees.unwrap_or_else(|code| panic!("{name}: a victim ended in prepare with exit code {code}"));
    let run = |tracee| Run { name, state, wake: None, patience: Patience::Short, tracee };
    (run(first), run(second))
}

/// One pair: without a way for the second, its whole operation is traced, and its last point is where it dies.
fn one<S: Sync>(
    pair: &mut Pair<'_, S>,
    report: &mut KillReport,
    way: &Way<'_>,
    second_way: Option<&Way<'_>>,
) -> Option<(Trace, Point)> {
    let state = (pair.setup)();
    let (mut first, mut second) = start(pair, &state);
    let stop = first.advance(way.trace, Some(way.plan), way.point);
    let kill = first.kill_at(way.trace, way.point.step, stop);
    report.steps += first.tracee.steps;
    let mut first = Some(first);
    if pair.deaths == Deaths::InTurn {
        first = None; // here it is killed and reaped
    }
    (pair.between)(&state);
    let (second_kill, traced) = match second_way {
        Some(way) => {
            let stop = second.advance(way.trace, Some(way.plan), way.point);
            (second.kill_at(way.trace, way.point.step, stop), None)
        }
        None => {
            let (trace, last) = second.trace();
            let stop = if last.asleep { Stop::Asleep } else { Stop::Trap };
            (second.kill_at(&trace, last.step, stop), Some((trace, last)))
        }
    };
    report.steps += second.tracee.steps;
    if let Some(first) = &first {
        first.tracee.kill(); // before anybody is reaped, which takes its time
    }
    drop(second); // before the first one, whose thread it may be
    drop(first);
    let kills = [kill, second_kill];
    report.points += 1;
    match catch_unwind(AssertUnwindSafe(|| (pair.check)(state, &kills))) {
        Ok(label) => *report.outcomes.entry(label).or_default() += 1,
        Err(payload) => {
            panic!("{}: broken when killed {}, and {}: {}", pair.name, kills[0], kills[1], text(&*payload))
        }
    }
    traced
}
