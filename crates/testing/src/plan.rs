//! What a traced run tells about the runs that follow: where to kill, and from where to step there.

use std::collections::HashMap;

/// An address that is executed more often than this lies in a bulk loop.
const BULK: usize = 64;
/// How many executions of an address of a bulk loop are kept: the first, the last and 16 between.
const KEPT: usize = 18;
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
        Self { points, unique }
    }

    /// The latest step up to `step` at which a breakpoint is sure to stop, if that is worth it.
    pub(crate) fn landing(&self, step: usize) -> Option<usize> {
        let after = self.unique.partition_point(|&at| at <= step);
        let at = *self.unique.get(after.checked_sub(1)?)?;
        (at >= NEAR).then_some(at)
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
    fn a_short_loop_keeps_every_point() {
        let pcs: Vec<u64> = (0..64 * 3).map(|i| i % 3).collect();
        let plan = Plan::new(&Trace { pcs, sleeps: vec![] });
        assert_eq!(plan.points.len(), 192);
        assert_eq!(plan.landing(100), None);
    }
}
