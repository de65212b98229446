//! What a traced run tells about the runs that follow: where to kill, and from where to step there.

use std::collections::HashMap;

/// An address that is executed more often than this lies in a bulk loop.
const BULK: usize = 20;
/// How many executions of an address of a bulk loop are kept: the first, the last and 16 between.
const KEPT: usize = 18;
/// Points more than this many steps from a place where a breakpoint is sure to stop are deep in a loop and cost much.
const FAR: usize = 1024;
/// Of the points deep in one loop so many spread over it are kept, and [`DEEP_LAST`] at its end.
const DEEP: usize = 16;
const DEEP_LAST: usize = 8;
/// What stopping once at a breakpoint in a loop costs, in single steps.
const HIT: usize = 3;
/// Below this many steps a breakpoint costs more than it saves.
const NEAR: usize = 6;

/// The program counters of one whole run: `pcs[k]` is the address after `k` instructions.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) pcs: Vec<u64>,
    /// Steps at which the victim fell asleep in the kernel, ascending.
    pub(crate) sleeps: Vec<usize>,
}

/// Where to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    /// After so many instructions.
    pub(crate) step: usize,
    /// And then asleep within the next one.
    pub(crate) asleep: bool,
}

/// The points at which to kill, and the steps at which a breakpoint may be planted.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) points: Vec<Point>,
    /// Steps whose address occurs once in the trace, ascending.
    unique: Vec<usize>,
}

impl Plan {
    /// Every point of the trace but those that the bulk rule drops; the last one is included.
    pub(crate) fn new(trace: &Trace) -> Self {
        let mut executions: HashMap<u64, Vec<usize>> = HashMap::new();
        for (step, &pc) in trace.pcs.iter().enumerate() {
            executions.entry(pc).or_default().push(step);
        }
        let mut points: Vec<Point> = trace.sleeps.iter().map(|&step| Point { step, asleep: true }).collect();
        let mut unique = Vec::new();
        for steps in executions.values() {
            let count = steps.len();
            if count == 1 {
                unique.push(steps[0]);
            }
            if count <= BULK {
                points.extend(steps.iter().map(|&step| Point { step, asleep: false }));
            } else {
                let kept = (0..KEPT).map(|i| steps[i * (count - 1) / (KEPT - 1)]);
                points.extend(kept.map(|step| Point { step, asleep: false }));
            }
        }
        points.sort_unstable();
        unique.sort_unstable();
        let mut plan = Self { points: Vec::new(), unique };
        let (mut kept, far): (Vec<Point>, Vec<Point>) = points.into_iter().partition(|point| {
            let from = plan.landing(point.step).unwrap_or(0);
            point.asleep || point.step - from <= FAR
        });
        for deep in far.chunk_by(|one, next| plan.landing(one.step) == plan.landing(next.step)) {
            let (spread, last) = deep.split_at(deep.len().saturating_sub(DEEP_LAST));
            kept.extend(spread.iter().step_by(spread.len().div_ceil(DEEP).max(1)));
            kept.extend(last);
        }
        kept.sort_unstable();
        plan.points = kept;
        plan
    }

    /// The latest step up to `step` at which a breakpoint is sure to stop, if that is worth it.
    pub(crate) fn landing(&self, step: usize) -> Option<usize> {
        let after = self.unique.partition_point(|&at| at <= step);
        let at = *self.unique.get(after.checked_sub(1)?)?;
        (at >= NEAR).then_some(at)
    }

    /// Where in a loop to count stops at a breakpoint on the way from one step to another, if that is cheaper than
    /// stepping.
    pub(crate) fn counted(trace: &Trace, from: usize, to: usize) -> Option<Counted> {
        if to - from <= FAR {
            return None;
        }
        let mut executions: HashMap<u64, (usize, usize)> = HashMap::new();
        for step in from + 1..=to {
            let (count, last) = executions.entry(trace.pcs[step]).or_default();
            (*count, *last) = (*count + 1, step);
        }
        let cost = |&(count, last): &(usize, usize)| HIT * count + to - last;
        let best = executions.into_iter().min_by_key(|(_, counts)| cost(counts));
        let (address, (count, last)) = best.filter(|(_, counts)| cost(counts) < to - from)?;
        Some(Counted { address, count, last })
    }
}

/// A breakpoint in a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) address: u64,
    /// How often it stops on the way.
    pub(crate) count: usize,
    /// The step of the last stop.
    pub(crate) last: usize,
}

impl Trace {
    /// How many steps from `from` on, at most up to `to`, repeat the instruction there (a string instruction of x86),
    /// and the address that follows the repetition. `None` if the trace ends within.
    pub(crate) fn repeated(&self, from: usize, to: usize) -> Option<(usize, u64)> {
        let pc = self.pcs[from];
        let next = self.pcs[from..].iter().position(|&other| other != pc)?;
        Some(((next - 1).min(to - from), self.pcs[from + next]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_keeps_every_point() {
        let trace = Trace { pcs: (100..150).collect(), sleeps: vec![7] };
        let plan = Plan::new(&trace);
        assert_eq!(plan.points.len(), 51);
        assert_eq!(plan.points[7], Point { step: 7, asleep: false });
        assert_eq!(plan.points[8], Point { step: 7, asleep: true });
        assert_eq!(plan.landing(3), None);
        assert_eq!(plan.landing(30), Some(30));
    }

    #[test]
    fn a_bulk_loop_keeps_first_last_and_sixteen_between() {
        let mut pcs: Vec<u64> = (0..10).collect();
        pcs.extend([1000; 5000]);
        pcs.extend(20..30);
        let plan = Plan::new(&Trace { pcs, sleeps: vec![] });
        assert_eq!(plan.points.len(), 38);
        let inside: Vec<usize> = plan.points.iter().map(|p| p.step).filter(|s| (10..5010).contains(s)).collect();
        assert_eq!((inside.len(), inside[0], inside[17]), (18, 10, 5009));
        assert_eq!(plan.landing(4000), Some(9));
        assert_eq!(plan.landing(5012), Some(5012));
    }

    #[test]
    fn points_deep_in_a_long_loop_are_few() {
        let mut pcs: Vec<u64> = (0..10).collect();
        pcs.extend((0..100_000).map(|i| 1000 + i % 50));
        pcs.extend(20..30);
        let trace = Trace { pcs, sleeps: vec![] };
        let plan = Plan::new(&trace);
        let deep: Vec<usize> = plan.points.iter().map(|p| p.step).filter(|s| (10 + FAR..100_010).contains(s)).collect();
        assert_eq!(deep.len(), DEEP + DEEP_LAST);
        assert_eq!(deep[DEEP..], (100_002..100_010).collect::<Vec<_>>());
        assert_eq!(plan.points.iter().filter(|p| p.step < 60).count(), 60);
        // One stop in each of the 2000 rounds, then no step at all.
        let counted = Plan::counted(&trace, 9, 100_009).unwrap();
        assert_eq!((counted.count, counted.last), (2000, 100_009));
    }

    #[test]
    fn a_repeated_instruction_is_seen() {
        let trace = Trace { pcs: vec![1, 7, 7, 7, 7, 8, 9, 9], sleeps: vec![] };
        assert_eq!(trace.repeated(1, 7), Some((3, 8)));
        assert_eq!(trace.repeated(1, 3), Some((2, 8)));
        assert_eq!(trace.repeated(0, 3), Some((0, 7)));
        assert_eq!(trace.repeated(6, 7), None);
    }

    #[test]
    fn a_short_loop_keeps_every_point() {
        let pcs: Vec<u64> = (0..20 * 3).map(|i| i % 3).collect();
        let plan = Plan::new(&Trace { pcs, sleeps: vec![] });
        assert_eq!(plan.points.len(), 60);
        assert_eq!(plan.landing(30), None);
    }
}
