//! Kill at every instruction: a victim is single-stepped to a point, killed there by SIGKILL, and what it left is
//! checked.
//!
//! On x86_64 the states in which a killed process can leave memory are the prefixes of its program order, so stepping
//! is exhaustive for one kill. A victim killed in a ptrace stop executes nothing more.
//!
//! # How
//! 1. One run is traced from begin to end: the program counter after each instruction. It is also the last kill point.
//! 2. For each point a fresh state is set up and a fresh victim forked. It runs at full speed to a breakpoint at the
//!    latest instruction that occurs only once in the trace, from there in single steps to the point, where it is
//!    killed and reaped.
//! 3. `check` looks at what is left, with the survivors if the state holds any.
//!
//! An instruction executed more than 20 times is in a bulk loop (a big copy, a sleep that is interrupted again and again): of its executions the first, the last
//! and 16 between are kill points. More than 1024 steps into a loop that is the same round after round, 16 points
//! spread over the rest and its last 8 are kept: reaching such a point costs thousands of stops. (`rep movs` of x86
//! counts as a loop.) A victim that falls asleep in the kernel is killed there too; that is the last point, unless
//! the scenario's `wake` makes it go on.
//!
//! # Limits
//! * The victim must have one thread and must not fork (a breakpoint would be copied). Signals other than SIGTRAP
//!   reach it.
//! * The path may differ from the trace because of time or of other processes. A victim that reaches its end before
//!   the point is tried once more in steps alone, then counted as `ended early` (and still checked); the address in
//!   [`Kill`] is the true one (of a sleeping victim: the trace's).
//! * Lazy initialization (thread-locals, caches) is part of the stepped operation unless `prepare` runs the operation
//!   once.
//! * aarch64: a single step breaks loops of exclusive loads and stores; build with LSE atomics (`-C
//!   target-feature=+lse`).
//! * Not seen: two kills at once, kills between the steps of one system call (sleeping ones excepted).
//!
//! Compile with `opt-level = 1` or more: debug builds have some ten times as many instructions, and as many points.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::plan::{Plan, Point, Trace};
use crate::runner;
use crate::tracee::{Breakpoint, Event, Patience, Tracee};

/// The label of points that were not reached because the victim came to its end before.
pub const ENDED_EARLY: &str = "ended early";
/// A point up to so many steps is tried again if the victim ended early.
const RETRY: usize = 20_000;
/// Fewer repetitions of an instruction are stepped.
const SHORT: usize = 64;
/// A trace longer than this is a victim that spins.
const MAX_STEPS: usize = 4_000_000;

/// What to kill and how to judge. `S` is the state of one run: shared memory, survivors.
///
/// See [`kill_at_every_instruction`] for an example.
pub struct Scenario<'a, S> {
    /// Name for reports and messages.
    pub name: &'a str,
    /// Runs in the harness before each victim is forked: makes a fresh state.
    pub setup: &'a mut dyn FnMut() -> S,
    /// Runs in the victim, untraced, before the stepped part: registers the thread, warms caches.
    pub prepare: &'a dyn Fn(&S),
    /// The operation that is killed at every instruction.
    pub victim: &'a dyn Fn(&S),
    /// Called in the harness when the victim has fallen asleep in the kernel; does what lets it go on and returns
    /// `true`, or returns `false`: then this is the last point. Its system calls may be interrupted (EINTR). Without
    /// it the first sleep is the last point.
    pub wake: Option<&'a dyn Fn(&S) -> bool>,
    /// Runs in the harness after the victim was killed and reaped: names the outcome, panics on a broken invariant.
    pub check: &'a mut dyn FnMut(S, &Kill) -> String,
}

impl<S> fmt::Debug for Scenario<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Instructions executed before the kill, counted in the traced run.
    pub step: usize,
    /// Address of the instruction that was not executed any more (or in which the victim slept).
    pub address: u64,
    /// The operation was over.
    pub completed: bool,
    /// The victim slept in the kernel.
    pub asleep: bool,
}

/// `after 35 instructions at /path/of/binary+0x1a2b`: what `addr2line -f -i -e /path/of/binary 0x1a2b` understands.
impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} instructions at ", self.step)?;
        match module(self.address) {
            Some((file, offset)) => write!(f, "{file}+{offset:#x}")?,
            None => write!(f, "{:#x}", self.address)?,
        }
        f.write_str(if self.completed { " (completed)" } else { "" })?;
        f.write_str(if self.asleep { " (asleep in the kernel)" } else { "" })
    }
}

/// What a whole scenario came to. Prints as one line.
///
/// ```
/// use std::{collections::BTreeMap, time::Duration};
/// let report = polyproc_testing::KillReport {
///     name: "lock/unlock".into(),
///     points: 67,
///     steps: 2278,
///     elapsed: Duration::from_millis(50),
///     outcomes: BTreeMap::from([("free".into(), 53), ("died".into(), 14)]),
/// };
/// assert_eq!(report.to_string(), "lock/unlock: 67 points, 2278 steps, 0.05 s {died: 14, free: 53}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillReport {
    /// The scenario's name.
    pub name: String,
    /// Points at which a victim was killed.
    pub points: usize,
    /// Single steps made, over all victims.
    pub steps: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// How often each outcome was seen.
    pub outcomes: BTreeMap<String, usize>,
}

impl KillReport {
    /// How often an outcome was seen; 0 if never.
    ///
    /// ```
    /// let report = polyproc_testing::KillReport {
    ///     name: "none".into(), points: 0, steps: 0, elapsed: Default::default(), outcomes: Default::default(),
    /// };
    /// assert_eq!(report.count("died"), 0);
    /// ```
    #[must_use]
    pub fn count(&self, outcome: &str) -> usize {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }
}

impl fmt::Display for KillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, points, steps, elapsed, outcomes } = self;
        write!(f, "{name}: {points} points, {steps} steps, {:.2} s {{", elapsed.as_secs_f64())?;
        for (i, (outcome, count)) in outcomes.iter().enumerate() {
            write!(f, "{}{outcome}: {count}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

/// Kills a victim after every instruction of its operation, and checks each time. Told to [`runner::report`].
///
/// # Panics
/// * `check` panicked: the message names the scenario and the point.
/// * The victim panicked, was killed by a signal of its own, or spins.
/// * This process has other threads.
///
/// # Examples
/// ```
/// use polyproc_testing::{Kill, Scenario, kill_at_every_instruction};
/// let report = kill_at_every_instruction(Scenario {
///     name: "nothing",
///     setup: &mut || (),
///     prepare: &|()| (),
///     victim: &|()| (),
///     wake: None,
///     check: &mut |(), kill: &Kill| if kill.completed { "done" } else { "killed" }.into(),
/// });
/// assert_eq!(report.count("done"), 1);
/// assert_eq!(report.count("killed"), report.points - 1);
/// ```
pub fn kill_at_every_instruction<S>(mut scenario: Scenario<'_, S>) -> KillReport {
    let started = Instant::now();
    let mut report = KillReport {
        name: scenario.name.to_owned(),
        points: 0,
        steps: 0,
        elapsed: Duration::ZERO,
        outcomes: BTreeMap::new(),
    };
    let (trace, last) = trace(&mut scenario, &mut report);
    let plan = Plan::new(&trace);
    // Ascending; the traced run was the last point, and it was killed and checked already.
    for &point in plan.points.iter().filter(|&&point| point < last) {
        let mut state = (scenario.setup)();
        let mut kill = reach(&scenario, &state, &trace, Some(&plan), point, &mut report.steps);
        if kill.completed && point.step <= RETRY {
            // It took another path, past the breakpoint. Steps alone come to as many instructions on whatever path.
            drop(state);
            state = (scenario.setup)();
            kill = reach(&scenario, &state, &trace, None, point, &mut report.steps);
        }
        judge(&mut scenario, &mut report, state, &kill, kill.completed);
    }
    report.elapsed = started.elapsed();
    runner::report(&report);
    report
}

/// Steps through the whole operation, kills the victim at its end and checks.
fn trace<S>(scenario: &mut Scenario<'_, S>, report: &mut KillReport) -> (Trace, Point) {
    let state = (scenario.setup)();
    let mut run = Run::start(scenario, &state, Patience::Long);
    let (trace, last) = run.trace();
    report.steps += run.tracee.steps;
    let kill = run.kill_at(&trace, last.step, if last.asleep { Stop::Asleep } else { Stop::Trap });
    drop(run);
    judge(scenario, report, state, &kill, false);
    (trace, last)
}

/// Brings a victim to a point and kills it there; without a plan in single steps only.
fn reach<S>(
    scenario: &Scenario<'_, S>,
    state: &S,
    trace: &Trace,
    plan: Option<&Plan>,
    point: Point,
    steps: &mut u64,
) -> Kill {
    let patience = if trace.sleeps.is_empty() { Patience::Long } else { Patience::Short };
    let mut run = Run::start(scenario, state, patience);
    let stop = run.advance(trace, plan, point);
    *steps += run.tracee.steps;
    run.kill_at(trace, point.step, stop)
} // here the victim is killed and reaped

/// Runs the check and books its outcome.
fn judge<S>(scenario: &mut Scenario<'_, S>, report: &mut KillReport, state: S, kill: &Kill, early: bool) {
    report.points += 1;
    match catch_unwind(AssertUnwindSafe(|| (scenario.check)(state, kill))) {
        Ok(label) => *report.outcomes.entry(if early { ENDED_EARLY.to_owned() } else { label }).or_default() += 1,
        Err(payload) => panic!("{}: broken when killed {kill}: {}", scenario.name, text(&*payload)),
    }
}

/// How a victim came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Trap,
    Asleep,
}

/// One victim of a scenario.
pub(crate) struct Run<'r, S> {
    pub(crate) name: &'r str,
    pub(crate) state: &'r S,
    pub(crate) wake: Option<&'r dyn Fn(&S) -> bool>,
    pub(crate) patience: Patience,
    pub(crate) tracee: Tracee,
}

impl<'r, S> Run<'r, S> {
    fn start(scenario: &'r Scenario<'_, S>, state: &'r S, patience: Patience) -> Self {
        let Scenario { name, prepare, victim, wake, .. } = *scenario;
        let tracee = Tracee::start(|| prepare(state), || victim(state));
        let tracee = tracee.unwrap_or_else(|code| panic!("{name}: the victim ended in prepare with exit code {code}"));
        Self { name, state, wake, patience, tracee }
    }

    /// Steps to the end of the operation, or until the victim sleeps for good; says which.
    pub(crate) fn trace(&mut self) -> (Trace, Point) {
        let mut trace = Trace::default();
        let asleep = loop {
            let step = trace.pcs.len();
            trace.pcs.push(self.tracee.pc());
            if self.tracee.at_end() {
                break false;
            }
            assert!(step < MAX_STEPS, "{}: no end after {step} steps", self.name);
            self.tracee.step();
            if self.wait(|| trace.sleeps.push(step)) == Stop::Asleep {
                break true;
            }
        };
        let step = trace.pcs.len() - 1;
        (trace, Point { step, asleep })
    }

    /// Where the victim has come to rest on its way to a point, or at the end of its trace.
    pub(crate) fn kill_at(&self, trace: &Trace, step: usize, stop: Stop) -> Kill {
        let asleep = stop == Stop::Asleep;
        let address = if asleep { trace.pcs[step] } else { self.tracee.pc() };
        Kill { step, address, completed: !asleep && self.tracee.at_end(), asleep }
    }

    /// Waits for a stop, waking the victim if it sleeps and the scenario knows how.
    fn wait(&mut self, mut slept: impl FnMut()) -> Stop {
        loop {
            match self.tracee.wait(self.patience) {
                Event::Trap => return Stop::Trap,
                Event::Asleep => {
                    slept();
                    if !self.wake.is_some_and(|wake| wake(self.state)) {
                        return Stop::Asleep;
                    }
                }
                Event::Ended(code) => panic!("{}: the victim ended by itself with exit code {code}", self.name),
            }
        }
    }

    /// Goes to a point: by breakpoint to the last place where one is sure to stop, over long loops by counting stops,
    /// then in steps. Comes to rest earlier where the victim sleeps or is at its end.
    pub(crate) fn advance(&mut self, trace: &Trace, plan: Option<&Plan>, point: Point) -> Stop {
        let target = point.step;
        let mut done = 0;
        if let Some(at) = plan.and_then(|plan| plan.landing(target))
            && let Some(breakpoint) = self.tracee.plant(trace.pcs[at])
        {
            match self.run_to(breakpoint) {
                Way::Hit => done = at,
                Way::Rest(stop) => return stop,
            }
        }
        // Each way to go faster is tried until it does not help: finding out costs time too.
        let (mut repeating, mut counting) = (plan.is_some(), plan.is_some());
        while done < target {
            if repeating
                && let Some((count, next)) = trace.repeated(done, target)
                && count > SHORT
            {
                let Some((breakpoint, repeat)) = self.tracee.repeat(count as u64, next) else {
                    repeating = false;
                    continue;
                };
                match self.run_to(breakpoint) {
                    Way::Hit => self.tracee.repeated(repeat),
                    Way::Rest(stop) => return stop,
                }
                done += count;
                continue;
            }
            if counting {
                counting = false;
                let Some(counted) = Plan::counted(trace, done, target) else { continue };
                for _ in 0..counted.count {
                    if let Way::Rest(stop) = self.run_round(counted.address) {
                        return stop;
                    }
                }
                done = counted.last;
                continue;
            }
            self.tracee.step();
            if self.wait(|| ()) == Stop::Asleep {
                return Stop::Asleep;
            }
            done += 1;
        }
        if point.asleep {
            self.wake = None;
            self.tracee.step();
            return self.wait(|| ());
        }
        Stop::Trap
    }

    /// Runs until the next time that the victim comes to `address`.
    fn run_round(&mut self, address: u64) -> Way {
        if self.tracee.pc() == address {
            self.tracee.step(); // off the place of the breakpoint
            if self.wait(|| ()) == Stop::Asleep {
                return Way::Rest(Stop::Asleep);
            }
            if self.tracee.pc() == address {
                return Way::Hit;
            }
        }
        let breakpoint = self.tracee.plant(address).expect("written before, or text as any other");
        self.run_to(breakpoint)
    }

    /// Runs to a planted breakpoint and takes it away.
    fn run_to(&mut self, breakpoint: Breakpoint) -> Way {
        self.tracee.go();
        match self.wait(|| ()) {
            Stop::Asleep => Way::Rest(Stop::Asleep),
            Stop::Trap if self.tracee.unplant(breakpoint) => Way::Hit,
            Stop::Trap => Way::Rest(Stop::Trap), // the end marker: another path was taken
        }
    }
}

/// Where a run to a breakpoint ended.
enum Way {
    Hit,
    Rest(Stop),
}

/// The file that holds an address, and the address within it. Parent and victim have the same mappings.
fn module(address: u64) -> Option<(String, u64)> {
    // SAFETY: plain pointers, null is allowed in each.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let address = usize::try_from(address).ok()?;
    // SAFETY: dladdr only compares the address with the loaded objects; `info` outlives the call.
    let found = unsafe { libc::dladdr(std::ptr::without_provenance(address), &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a NUL-terminated name that lives as long as the object is loaded; it is copied at once.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some((name.to_string_lossy().into_owned(), (address - info.dli_fbase.addr()) as u64))
}

pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panic without text")
}
