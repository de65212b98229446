//! A pool whose board is scribbled at.

use crate::watch::{self, Lane};
use crate::{AFTERWARDS, UNDER_FIRE, limit};
use polyproc::{Family, Pool};
use polyproc_testing::Scribbler;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

fn repeat((n, text): (u64, String)) -> String {
    text.repeat(n as usize % 100)
}

fn nothing((): ()) {}

pub(crate) fn victim(seed: u64) {
    limit();
    let family = Family::get().unwrap();
    // SAFETY: the family's descriptor stays open for as long as the process lives.
    let file = unsafe { BorrowedFd::borrow_raw(family.boot().fd) };
    let scribbler = Scribbler::fork(&[file], seed); // before the pool has threads
    watch::abort_on_panic();
    watch::watch(Vec::new());
    let mut lane = Lane::new(0, seed);
    scribbler.go();
    let started = Instant::now();
    let mut scribbler = Some(scribbler);
    let mut pools = 0;
    while started.elapsed() < UNDER_FIRE + AFTERWARDS {
        let Ok(pool) = lane.call("Pool::new", || Pool::new(2)) else { continue };
        pools += 1;
        // A task that is never answered keeps its cell, of which there are 512; a poster waits for a free one.
        for _ in 0..150 {
            if started.elapsed() > UNDER_FIRE {
                drop(scribbler.take());
            }
            if started.elapsed() > UNDER_FIRE + AFTERWARDS || !tasks(&pool, &mut lane) {
                break;
            }
        }
        if pools % 2 == 0 {
            lane.call("Pool::terminate", || pool.terminate());
            let _ = lane.call("Pool::join", || pool.join());
        }
        lane.call("Pool::drop", || drop(pool));
    }
    println!("seed {seed}: {pools} pools, longest call {:?}", watch::longest());
}

/// A few tasks; whether the pool takes any.
fn tasks(pool: &Pool, lane: &mut Lane) -> bool {
    let n = lane.dice.next();
    let first = lane.call("Pool::apply_async", || pool.apply_async(square, n));
    let open = first.is_ok();
    if let Ok(answer) = first {
        let _ = lane.call("AsyncResult::get_timeout", || answer.get_timeout(SHORT));
    }
    let text = "text".repeat((n >> 20) as usize % 50);
    if let Ok(answer) = lane.call("Pool::apply_async", || pool.apply_async(repeat, (n, text))) {
        lane.call("AsyncResult::wait", || answer.wait(SHORT));
        lane.call("AsyncResult::ready", || answer.ready());
    }
    if let Ok(answer) = lane.call("Pool::apply_async", || pool.apply_async(nothing, ())) {
        let _ = lane.call("AsyncResult::get_timeout", || answer.get_timeout(SHORT));
    }
    open
}
