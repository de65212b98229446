//! Loom models of the barrier: all pass a round or nobody does (B3), everybody is told (B4), and what came before any
//! arrival is seen after the wait (S1).
//!
//! A lost wake-up shows as a deadlock. Three parties are too many to try all orders of: how one wakes several is tried in
//! `loom_event.rs`, which does it in the same way, and in `kill_barrier.rs`. What loom cannot see is as in `loom_lock.rs`. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use loom::thread::{self, JoinHandle};
use polyproc_sync::raw::{RawBarrier, barrier::NotPassed};
use polyproc_sys::Deadline;

struct Shared<const N: usize> {
    barrier: RawBarrier<[AtomicU64; N]>,
    data: [AtomicU32; 2],
    acted: UnsafeCell<u32>,
}

// SAFETY: `acted` is changed by who runs an action; loom checks that.
unsafe impl<const N: usize> Sync for Shared<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Send for Shared<N> {}

impl<const N: usize> Shared<N> {
    fn raw(&self) -> &RawBarrier {
        &self.barrier
    }

    fn wait(&self, me: u32, deadline: Deadline) -> Result<usize, NotPassed> {
        self.raw().wait(me, |_| false, |_| {}, deadline, || {})
    }
}

fn check<const N: usize>(bound: usize, model: impl Fn(Arc<Shared<N>>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        let data = core::array::from_fn(|_| AtomicU32::new(0));
        let barrier = RawBarrier::<[AtomicU64; N]>::new();
        model(Arc::new(Shared { barrier, data, acted: UnsafeCell::new(0) }));
    });
}

fn spawn<const N: usize, R: 'static>(
    shared: &Arc<Shared<N>>,
    body: impl FnOnce(&Shared<N>) -> R + 'static,
) -> JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

fn join<R>(thread: JoinHandle<R>) -> R {
    thread.join().expect("a thread of the model ended well")
}

/// Two parties: each writes before a round, and sees after it what the other has written.
fn lockstep(rounds: u32, bound: usize) {
    check::<2>(bound, move |shared| {
        let party = move |s: &Shared<2>, me: usize| {
            for i in 1..=rounds {
                s.data[me].store(i, Relaxed);
                s.wait(me as u32, Deadline::NEVER).expect("nobody breaks it");
                assert!(s.data[1 - me].load(Relaxed) >= i);
            }
        };
        let other = spawn(&shared, move |s| party(s, 1));
        party(&shared, 0);
        join(other);
        assert_eq!(shared.raw().waiting(), 0);
    });
}

#[test]
fn two_parties() {
    lockstep(1, 3);
}

#[test]
fn two_parties_two_rounds() {
    lockstep(2, 2);
}

#[test]
fn two_parties_three_rounds() {
    lockstep(3, 1);
}

#[test]
fn an_abort_breaks_it_for_all_or_comes_too_late() {
    check::<2>(2, |shared| {
        let parties = [1, 2].map(|me| spawn(&shared, move |s| s.wait(me, Deadline::NEVER)));
        shared.raw().abort();
        let [a, b] = parties.map(join);
        assert_eq!(a.is_ok(), b.is_ok());
        assert!(shared.raw().is_broken());
        assert_eq!(shared.wait(3, Deadline::NEVER), Err(NotPassed::Broken));
    });
}

#[test]
fn one_without_patience_is_the_last_or_breaks_it() {
    check::<2>(3, |shared| {
        let patient = spawn(&shared, |s| s.wait(1, Deadline::NEVER));
        let expected = match shared.wait(2, Deadline::PAST) {
            Ok(place) => Ok(1 - place),
            Err(how) => {
                assert_eq!(how, NotPassed::TimedOut);
                Err(NotPassed::Broken)
            }
        };
        assert_eq!(join(patient), expected);
    });
}

/// An action is run in a round that passes, and in no other: one without patience breaks the round before, or waits.
#[test]
fn one_without_patience_breaks_no_round_that_acts() {
    check::<2>(3, |shared| {
        // SAFETY: one action at a time.
        let act = |s: &Shared<2>| s.acted.with_mut(|n| unsafe { *n += 1 });
        let patient = spawn(&shared, move |s| s.raw().wait(1, |_| false, |_| {}, Deadline::NEVER, || act(s)));
        let mine = shared.raw().wait(2, |_| false, |_| {}, Deadline::PAST, || act(&shared));
        assert_eq!(join(patient).is_ok(), mine.is_ok());
        // SAFETY: the other has ended.
        shared.acted.with(|n| assert_eq!(unsafe { *n }, u32::from(mine.is_ok())));
    });
}

/// The same with one more, so that the last cell is not the next one.
#[test]
fn one_without_patience_breaks_no_round_of_three_that_acts() {
    check::<3>(1, |shared| {
        let wait = |s: &Shared<3>, me, deadline| {
            // SAFETY: one action at a time.
            s.raw().wait(me, |_| false, |_| {}, deadline, || s.acted.with_mut(|n| unsafe { *n += 1 }))
        };
        let patient = [1, 2].map(|me| spawn(&shared, move |s| wait(s, me, Deadline::NEVER)));
        let mine = wait(&shared, 3, Deadline::PAST);
        for other in patient {
            assert_eq!(join(other).is_ok(), mine.is_ok());
        }
        // SAFETY: the others have ended.
        shared.acted.with(|n| assert_eq!(unsafe { *n }, u32::from(mine.is_ok())));
    });
}

/// Whoever is thrown out by the reset comes again; one that was claimed and not seen by the reset stays.
#[test]
fn a_reset_throws_out_and_lets_in() {
    check::<2>(2, |shared| {
        let pass = |s: &Shared<2>, me| while s.wait(me, Deadline::NEVER).is_err() {};
        let other = spawn(&shared, move |s| pass(s, 1));
        shared.raw().reset();
        pass(&shared, 2);
        join(other);
        assert!(!shared.raw().is_broken());
    });
}

/// Each is the last of its round: one comes while the other is at its action, or has just ended its round. What two do in
/// two rounds is not done at the same time (B2).
#[test]
fn actions_come_one_after_the_other() {
    check::<1>(3, |shared| {
        // SAFETY: one action at a time, which is what the model is about.
        let act = |s: &Shared<1>| s.acted.with_mut(|n| unsafe { *n += 1 });
        let wait = move |s: &Shared<1>, me| s.raw().wait(me, |_| false, |_| {}, Deadline::NEVER, || act(s));
        let other = spawn(&shared, move |s| [wait(s, 1), wait(s, 1)]);
        assert_eq!(wait(&shared, 2), Ok(0));
        assert_eq!(join(other), [Ok(0), Ok(0)]);
        // SAFETY: the other has ended.
        shared.acted.with(|n| assert_eq!(unsafe { *n }, 3));
    });
}

/// Each takes the other for dead; the third never comes.
#[test]
fn one_that_finds_the_dead_breaks_it_for_another() {
    check::<3>(3, |shared| {
        let wait = |s: &Shared<3>, me| s.raw().wait(me, |thread| thread != me, |_| {}, Deadline::NEVER, || {});
        let other = spawn(&shared, move |s| wait(s, 1));
        assert_eq!((wait(&shared, 2), join(other)), (Err(NotPassed::Broken), Err(NotPassed::Broken)));
    });
}
