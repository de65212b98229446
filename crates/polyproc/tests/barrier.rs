//! Barriers between processes: handles that travel, and parties that are killed inside and outside of a wait.

use polyproc::{Barrier, BarrierError, Event, Process};
use std::time::Duration;

polyproc::init_for_tests!();

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

fn hold(barrier: Barrier, ready: Event) {
    ready.set();
    let _held = barrier;
    wait_for_ever();
}

fn drop_and_stay(barrier: Barrier, ready: Event) {
    drop(barrier);
    ready.set();
    wait_for_ever();
}

fn wait_inside(barrier: Barrier, ready: Event) {
    ready.set();
    let _ = barrier.wait();
}

/// A child that runs `body` and has got there.
fn child(body: fn(Barrier, Event), barrier: &Barrier) -> Process {
    let ready = Event::new().unwrap();
    let child = Process::spawn(body, (barrier.clone(), ready.clone())).unwrap();
    assert!(ready.wait_timeout(LONG));
    child
}

#[test]
fn processes_pass_in_lockstep() {
    let barrier = Barrier::new(3).unwrap();
    let body = |barrier: Barrier| (0..100).map(|_| barrier.wait().unwrap().index() as u64).sum::<u64>();
    let party = move |barrier: Barrier| assert!(body(barrier) <= 200);
    let children = [(); 2].map(|()| Process::spawn(party, (barrier.clone(),)).unwrap());
    assert!(body(barrier.clone()) <= 200);
    for child in children {
        assert!(child.join().unwrap().success());
    }
    assert!(!barrier.is_broken(), "they have dropped their handles, and are no parties any more");
}

#[test]
fn a_holder_that_dies_breaks_it_for_who_waits_and_who_comes() {
    for join_first in [true, false] {
        let barrier = Barrier::new(2).unwrap();
        let holder = child(hold, &barrier);
        std::thread::scope(|s| {
            let waiter = s.spawn(|| barrier.wait_timeout(LONG));
            while barrier.waiting() == 0 {
                std::thread::yield_now();
            }
            holder.kill().unwrap();
            if join_first {
                holder.join().unwrap(); // clears up, which tells the barrier
            }
            assert!(matches!(waiter.join().unwrap(), Err(BarrierError::Broken)));
        });
        assert!(matches!(barrier.wait(), Err(BarrierError::Broken)));
        barrier.reset();
        holder.join().unwrap();
        std::thread::scope(|s| {
            s.spawn(|| barrier.wait_timeout(LONG).unwrap());
            barrier.wait_timeout(LONG).unwrap(); // a death counts once
        });
    }
}

#[test]
fn one_that_dies_while_it_waits_breaks_it() {
    let barrier = Barrier::new(3).unwrap();
    let inside = child(wait_inside, &barrier);
    std::thread::scope(|s| {
        let waiter = s.spawn(|| barrier.wait_timeout(LONG));
        while barrier.waiting() < 2 {
            std::thread::yield_now();
        }
        inside.kill().unwrap();
        assert!(matches!(waiter.join().unwrap(), Err(BarrierError::Broken)));
    });
    inside.join().unwrap();
}

/// The siblings of the dead one find out, while their parent does not look.
#[test]
fn a_sibling_finds_out() {
    let barrier = Barrier::new(3).unwrap();
    let holder = child(hold, &barrier);
    let report = |barrier: Barrier, broken: Event| {
        if matches!(barrier.wait_timeout(LONG), Err(BarrierError::Broken)) {
            broken.set();
        }
    };
    let broken = Event::new().unwrap();
    let sibling = Process::spawn(report, (barrier.clone(), broken.clone())).unwrap();
    while barrier.waiting() == 0 {
        std::thread::yield_now();
    }
    holder.kill().unwrap();
    assert!(broken.wait_timeout(LONG));
    sibling.join().unwrap();
    holder.join().unwrap();
}

#[test]
fn one_that_has_dropped_its_handle_may_die() {
    let barrier = Barrier::new(1).unwrap();
    let gone = child(drop_and_stay, &barrier);
    gone.kill().unwrap();
    gone.join().unwrap();
    assert!(barrier.wait().is_ok());
}

#[test]
fn a_holder_of_a_named_barrier_dies() {
    let name = format!("test-barrier-{}", std::process::id());
    let barrier = Barrier::create(&name, 2).unwrap();
    let ready = Event::new().unwrap();
    let body = |name: String, ready: Event| {
        let barrier = Barrier::open(name).unwrap();
        assert!(barrier.wait().is_ok());
        ready.set();
        wait_for_ever();
    };
    let holder = Process::spawn(body, (name.clone(), ready.clone())).unwrap();
    barrier.wait_timeout(LONG).unwrap();
    assert!(ready.wait_timeout(LONG));
    assert!(!barrier.is_broken());
    holder.kill().unwrap();
    assert!(matches!(barrier.wait_timeout(LONG), Err(BarrierError::Broken)));
    holder.join().unwrap();

    barrier.reset();
    let visit = |name: String| assert!(Barrier::open(name).unwrap().wait().is_ok());
    let visitor = Process::spawn(visit, (name,)).unwrap();
    barrier.wait_timeout(LONG).unwrap();
    assert!(visitor.join().unwrap().success());
    assert!(!barrier.is_broken(), "it had dropped its handle");
}
