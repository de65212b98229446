//! Workers in phases, each of which begins when all have ended the last one: `cargo run --release --example phases`.
//!
//! A rod is hot at one end; in each phase every point becomes the mean of its neighbours. Three workers have a part of the rod
//! each, read the last phase's points from one array and write the next one's into another. One worker is killed on the way: the
//! others are told at the barrier, a new one takes its place, and all do that phase again.

use polyproc::{Array, Barrier, BarrierError, Condition, Process, Value};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const POINTS: usize = 3_000;
const WORKERS: u8 = 3;
const PHASES: u64 = 300;

#[derive(Clone, Serialize, Deserialize)]
struct Rod {
    /// The points of the last phase, and of the next: they change places.
    points: [Array<f64>; 2],
    /// Phases that are done.
    done: Value<u64>,
    barrier: Barrier,
    /// Told when a broken barrier can be used again.
    mended: Condition,
}

/// The points of a part in the next phase.
fn next(last: &[f64], part: std::ops::Range<usize>) -> Vec<f64> {
    let mean = |i: usize| if i == 0 || i == POINTS - 1 { last[i] } else { f64::midpoint(last[i - 1], last[i + 1]) };
    part.map(mean).collect()
}

fn work(rod: Rod, worker: u8) -> polyproc::Result<()> {
    let border = |worker| usize::from(worker) * POINTS / usize::from(WORKERS);
    let part = border(worker)..border(worker + 1);
    loop {
        let phase = rod.done.get();
        if phase == PHASES {
            return Ok(());
        }
        let [even, odd] = &rod.points;
        let (last, new) = if phase.is_multiple_of(2) { (even, odd) } else { (odd, even) };
        new.write(part.clone(), &next(&last.to_vec(), part.clone()));
        // The last one to come says that the phase is done, and then all go on.
        match rod.barrier.wait_with(|| rod.done.set(phase + 1)) {
            Ok(_) => {}
            Err(BarrierError::Broken) => {
                let mut guard = rod.mended.lock();
                rod.mended.wait_while(&mut guard, || rod.barrier.is_broken())?;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn main() -> polyproc::Result<()> {
    polyproc::init(); // first line of main: the workers do their work here

    let mut hot = vec![0.0; POINTS];
    hot[0] = 100.0;
    let rod = Rod {
        points: [Array::from_slice(&hot)?, Array::from_slice(&hot)?],
        done: Value::new(0)?,
        barrier: Barrier::new(WORKERS.into())?,
        mended: Condition::new()?,
    };
    let start = |worker| Process::spawn(work, (rod.clone(), worker));
    let mut workers = (0..WORKERS).map(start).collect::<Result<Vec<_>, _>>()?;

    while rod.done.get() < PHASES / 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    workers[1].kill()?;
    workers[1].join()?; // the barrier is broken now at the latest
    println!("killed a worker when {} of {PHASES} phases were done", rod.done.get());
    workers[1] = start(1)?;
    // One process resets the barrier, and says so to those that were told.
    let guard = rod.mended.lock();
    rod.barrier.reset();
    rod.mended.notify_all(&guard)?;
    drop(guard);

    for worker in workers {
        assert!(worker.join()?.success());
    }
    let alone = (0..PHASES).fold(hot, |last, _| next(&last, 0..POINTS));
    assert_eq!(rod.points[usize::from(!PHASES.is_multiple_of(2))].to_vec(), alone);
    println!("{} phases: the rod is as if one process had done all", rod.done.get());
    Ok(())
}
