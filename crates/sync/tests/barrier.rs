//! What the handle of a barrier does, within one process.
#![cfg(not(polyproc_loom))]

use polyproc_shm::{Family, Message, Participant};
use polyproc_sync::raw::RawBarrier;
use polyproc_sync::raw::barrier::NotPassed;
use polyproc_sync::{Barrier, BarrierError, Lock};
use polyproc_sys::Deadline;
use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
use polyproc_testing::watchdog;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` until as many wait as should.
fn until(barrier: &Barrier, waiting: usize) {
    while barrier.waiting() != waiting {
        std::thread::yield_now();
    }
}

#[test]
fn smoke() {
    let barrier = Barrier::new(1).unwrap();
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 1, waiting: 0, is_broken: false, .. }");
    for _ in 0..3 {
        assert!(barrier.wait().unwrap().is_leader());
    }
    barrier.abort();
    barrier.abort();
    assert!(matches!(barrier.wait(), Err(BarrierError::Broken)));
    barrier.reset();
    barrier.reset();
    assert!(barrier.wait().is_ok());
}

#[test]
fn no_party_and_too_many_are_refused() {
    for parties in [0, 4001, u32::MAX] {
        let error = Barrier::new(parties).unwrap_err();
        assert!(matches!(error, BarrierError::Parties { parties: p, most: 4000 } if p == parties), "{error}");
    }
    assert_eq!(Barrier::new(4000).unwrap().parties(), 4000);
}

#[test]
fn everybody_has_a_number_of_his_own() {
    watchdog(LIMIT, || {
        let (barrier, seen) = (Barrier::new(20).unwrap(), AtomicU64::new(0));
        std::thread::scope(|s| {
            for _ in 0..20 {
                s.spawn(|| seen.fetch_or(1 << barrier.wait().unwrap().index(), SeqCst));
            }
        });
        assert_eq!(seen.load(SeqCst), (1 << 20) - 1);
    });
}

#[test]
fn a_wait_lasts_as_long_as_its_time_and_breaks_it_for_all() {
    watchdog(LIMIT, || {
        let (barrier, start) = (Barrier::new(3).unwrap(), Instant::now());
        std::thread::scope(|s| {
            let patient = s.spawn(|| barrier.wait());
            let time = Duration::from_millis(120); // longer than a tick
            assert!(matches!(barrier.wait_timeout(time), Err(BarrierError::TimedOut)));
            assert!(start.elapsed() >= time);
            assert!(matches!(patient.join().unwrap(), Err(BarrierError::Broken)));
        });
        assert!(matches!(barrier.wait_timeout(Duration::MAX), Err(BarrierError::Broken)));
    });
}

#[test]
fn a_reset_throws_out_who_waits_and_lets_others_in() {
    watchdog(LIMIT, || {
        let barrier = Barrier::new(2).unwrap();
        std::thread::scope(|s| {
            let waiter = s.spawn(|| barrier.wait());
            until(&barrier, 1);
            barrier.reset();
            assert!(matches!(waiter.join().unwrap(), Err(BarrierError::Broken)));
            assert!(!barrier.is_broken());
            s.spawn(|| barrier.wait().unwrap());
            barrier.wait().unwrap();
        });
    });
}

#[test]
fn an_action_that_panics_breaks_it() {
    watchdog(LIMIT, || {
        let barrier = Barrier::new(2).unwrap();
        std::thread::scope(|s| {
            let waiter = s.spawn(|| barrier.wait_with(|| unreachable!("it is not the last one")));
            until(&barrier, 1);
            let panics = || barrier.wait_with(|| panic!("in the action"));
            assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
            assert!(matches!(waiter.join().unwrap(), Err(BarrierError::Broken)));
        });
        assert!(barrier.is_broken());
    });
}

#[test]
fn who_comes_during_an_action_is_in_the_next_round() {
    watchdog(LIMIT, || {
        let barrier = Barrier::new(1).unwrap();
        std::thread::scope(|s| {
            let early = barrier
                .wait_with(|| {
                    let late = barrier.wait_timeout(Duration::from_millis(5));
                    assert!(matches!(late, Err(BarrierError::TimedOut)));
                    assert!(!barrier.is_broken(), "it had not arrived");
                    s.spawn(|| barrier.wait().unwrap());
                })
                .unwrap();
            assert!(early.is_leader());
        });
    });
}

#[test]
fn an_abort_during_the_action_is_not_passed_over() {
    let barrier = Barrier::new(1).unwrap();
    assert!(matches!(barrier.wait_with(|| barrier.abort()), Err(BarrierError::Broken)));
}

/// One waits at a door of two until `deadline`, while the action of the other calls `act` as long as it says so; `act` is
/// told how often the waiter has looked for the dead since its time was up.
fn late_at_an_action(deadline: Deadline, act: impl Fn(u64) -> bool + Send) -> [Result<usize, NotPassed>; 2] {
    let (sized, late) = (RawBarrier::<[AtomicU64; 2]>::new(), AtomicU64::new(0));
    let door: &RawBarrier = &sized;
    std::thread::scope(|s| {
        let waiter = s.spawn(|| {
            let look = |_| _ = late.fetch_add(u64::from(deadline.is_past()), SeqCst);
            let how = door.wait(1, |_| false, look, deadline, || unreachable!("it is not the last one"));
            late.store(u64::MAX, SeqCst); // the action need not wait for it
            how
        });
        while door.waiting() == 0 && !waiter.is_finished() {
            std::thread::yield_now();
        }
        let action = || {
            while act(late.load(SeqCst)) {
                std::thread::yield_now();
            }
        };
        let last = door.wait(2, |_| false, |_| {}, Deadline::NEVER, action);
        [waiter.join().unwrap(), last]
    })
}

#[test]
fn whose_time_is_up_during_the_action_passes_as_the_others_do() {
    watchdog(LIMIT, || {
        let deadline = Deadline::after(Duration::from_millis(250));
        let how = late_at_an_action(deadline, |late| late < 2);
        assert_eq!(how, [Ok(0), Ok(1)]);
    });
}

#[test]
fn an_action_that_panics_breaks_it_for_one_whose_time_is_up() {
    watchdog(LIMIT, || {
        let barrier = Barrier::new(2).unwrap();
        let deadline = Deadline::after(Duration::from_millis(250));
        std::thread::scope(|s| {
            let waiter = s.spawn(|| barrier.wait_deadline(deadline));
            until(&barrier, 1);
            let action = || {
                while !deadline.is_past() {
                    std::thread::yield_now();
                }
                panic!("in the action");
            };
            assert!(catch_unwind(AssertUnwindSafe(|| barrier.wait_with(action))).is_err());
            assert!(matches!(waiter.join().unwrap(), Err(BarrierError::Broken)));
        });
    });
}

#[test]
fn a_reset_during_the_action_throws_all_out() {
    let barrier = Barrier::new(1).unwrap();
    assert!(matches!(barrier.wait_with(|| barrier.reset()), Err(BarrierError::Broken)));
    assert!(barrier.wait().is_ok());
}

mod c {
    unsafe extern "C" {
        pub(super) fn syscall(number: i64, status: i64) -> i64;
    }
    /// Ends the calling thread alone.
    pub(super) const EXIT: i64 = if cfg!(target_arch = "x86_64") { 60 } else { 93 };
}

/// A thread ends at its tick, in the middle of its wait, and its process goes on.
#[test]
fn a_thread_that_ends_while_it_waits_breaks_it() {
    watchdog(LIMIT, || {
        static DOOR: OnceLock<RawBarrier<[AtomicU64; 3]>> = OnceLock::new();
        let wait = |end: bool| {
            let family = Family::get().unwrap();
            let door: &RawBarrier = DOOR.get_or_init(RawBarrier::<[AtomicU64; 3]>::new);
            let dead = |thread| !family.is_alive(Participant::from_word(thread));
            let look = |_| {
                if end {
                    // SAFETY: the thread has nothing that others wait for, and nobody joins it.
                    unsafe { c::syscall(c::EXIT, 0) };
                }
            };
            door.wait(family.participant().unwrap().to_word(), dead, look, Deadline::NEVER, || ())
        };
        drop(std::thread::spawn(move || wait(true)));
        assert_eq!(wait(false), Err(NotPassed::Broken));
    });
}

/// The last one ends in its action, when the time of the other is up: that one finds out, and is not told of its time.
#[test]
fn a_thread_that_ends_in_its_action_is_found_by_one_whose_time_is_up() {
    watchdog(LIMIT, || {
        static DOOR: OnceLock<RawBarrier<[AtomicU64; 2]>> = OnceLock::new();
        let deadline = Deadline::after(Duration::from_millis(250));
        let wait = move |until: Deadline, action: fn(Deadline)| {
            let family = Family::get().unwrap();
            let door: &RawBarrier = DOOR.get_or_init(RawBarrier::<[AtomicU64; 2]>::new);
            let dead = |thread| !family.is_alive(Participant::from_word(thread));
            door.wait(family.participant().unwrap().to_word(), dead, |_| {}, until, || action(deadline))
        };
        drop(std::thread::spawn(move || {
            let door: &RawBarrier = DOOR.get_or_init(RawBarrier::<[AtomicU64; 2]>::new);
            while door.waiting() == 0 && !door.is_broken() {
                std::thread::yield_now();
            }
            wait(Deadline::NEVER, |deadline| {
                while !deadline.is_past() {
                    std::thread::yield_now();
                }
                // SAFETY: the thread has nothing that others wait for, and nobody joins it.
                unsafe { c::syscall(c::EXIT, 0) };
            })
        }));
        assert_eq!(wait(deadline, |_| ()), Err(NotPassed::Broken));
    });
}

#[test]
fn new_barriers_are_whole_whatever_lay_there() {
    for _ in 0..2000 {
        let barrier = Barrier::new(2).unwrap();
        assert!(!barrier.is_broken() && barrier.waiting() == 0);
        assert!(matches!(barrier.wait_timeout(Duration::ZERO), Err(BarrierError::TimedOut)));
    }
}

#[test]
fn a_handle_travels_and_other_kinds_are_refused() {
    let (family, barrier) = (Family::get().unwrap(), Barrier::new(1).unwrap());
    let arrived = Message::encode(family, &barrier).unwrap().decode::<Barrier>(family).unwrap();
    arrived.abort();
    assert!(barrier.is_broken());
    assert!(Message::encode(family, &barrier).unwrap().decode::<Lock>(family).is_err());
}

/// In lockstep: at each side of a round everybody has done as much.
#[test]
fn stress_lockstep() {
    const N: u64 = 10_000;
    watchdog(LIMIT, || {
        let (barrier, sum, actions) = (Barrier::new(3).unwrap(), AtomicU64::new(0), AtomicU64::new(0));
        let party = || {
            for round in 1..=N {
                sum.fetch_add(1, SeqCst);
                barrier.wait_with(|| _ = actions.fetch_add(1, SeqCst)).unwrap();
                assert_eq!((sum.load(SeqCst), actions.load(SeqCst)), (3 * round, 2 * round - 1));
                barrier.wait_with(|| _ = actions.fetch_add(1, SeqCst)).unwrap();
            }
        };
        std::thread::scope(|s| {
            s.spawn(party);
            s.spawn(party);
            party();
        });
    });
}

/// Twice as many threads as parties, and one that resets: as many pass as there were rounds, and nobody is left behind.
#[test]
fn stress_more_threads_than_parties() {
    const N: u64 = 5_000;
    watchdog(LIMIT, || {
        let (barrier, passed, done) = (Barrier::new(2).unwrap(), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    while done.load(SeqCst) == 0 {
                        passed.fetch_add(u64::from(barrier.wait().is_ok()), SeqCst);
                    }
                });
            }
            while passed.load(SeqCst) < N {
                barrier.reset();
                std::thread::yield_now();
            }
            done.store(1, SeqCst);
            barrier.abort();
        });
        assert!(passed.load(SeqCst) >= N);
    });
}
