//! Loom models of the semaphore: no permit is lost or doubled (P1, P2, P3), nobody sleeps beside one (P4), and what came
//! before a release is seen after an acquire (P6).
//!
//! A lost wake-up shows as a deadlock. What loom cannot see is as in `loom_lock.rs`; the death of an owner is a number that
//! `dead` knows from the start. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use polyproc_sync::raw::{RawSemaphore, semaphore::NotOwned};
use polyproc_sys::Deadline;

/// An owner that is dead; others live.
const DEAD: u32 = 9;

struct Shared<const N: usize> {
    semaphore: RawSemaphore<[AtomicU64; N]>,
    data: UnsafeCell<u32>,
}

// SAFETY: `data` is used by whoever has the only permit; loom checks that.
unsafe impl<const N: usize> Sync for Shared<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Send for Shared<N> {}

impl<const N: usize> Shared<N> {
    fn new(permits: u32, bound: u32) -> Self {
        Self { semaphore: RawSemaphore::<[AtomicU64; N]>::new(permits, bound), data: UnsafeCell::new(0) }
    }

    fn raw(&self) -> &RawSemaphore {
        &self.semaphore
    }

    fn acquire(&self) {
        assert!(self.raw().acquire(is_dead, Deadline::NEVER));
    }

    fn release(&self, n: u32) {
        self.raw().release(n).expect("within the bound");
    }

    /// With the only permit, as the owner `me` or as nobody.
    fn add(&self, me: Option<u32>) {
        if let Some(me) = me {
            let _announced = self.raw().announce();
            let owned = self.raw().own(me, is_dead, Deadline::NEVER).expect("a permit");
            // SAFETY: this thread has the only permit.
            self.data.with_mut(|p| unsafe { *p += 1 });
            self.raw().give_back(owned);
        } else {
            self.acquire();
            // SAFETY: this thread has the only permit.
            self.data.with_mut(|p| unsafe { *p += 1 });
            self.release(1);
        }
    }
}

fn is_dead(owner: u32) -> bool {
    owner == DEAD
}

fn check(bound: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Threads with one permit between them, each an owner or nobody; the first is this one.
fn take_turns<const N: usize, const T: usize>(threads: [Option<u32>; T], rounds: usize, bound: usize, dead: bool) {
    check(bound, move || {
        let shared = Arc::new(Shared::<N>::new(1, 1));
        if dead {
            shared.raw().own(DEAD, is_dead, Deadline::PAST).expect("a permit");
        }
        let others: Vec<_> = threads[1..]
            .iter()
            .map(|&me| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || (0..rounds).for_each(|_| shared.add(me)))
            })
            .collect();
        (0..rounds).for_each(|_| shared.add(threads[0]));
        for other in others {
            other.join().expect("a thread of the model ended well");
        }
        assert_eq!(shared.raw().available(is_dead), 1);
        // SAFETY: all others have ended.
        shared.data.with(|p| assert_eq!(unsafe { *p } as usize, T * rounds));
    });
}

#[test]
fn one_waiter_one_poster_two_rounds() {
    check(3, || {
        let shared = Arc::new(Shared::<0>::new(0, u32::MAX));
        let waiter = Arc::clone(&shared);
        let waiter = thread::spawn(move || (0..2).for_each(|_| waiter.acquire()));
        (0..2).for_each(|_| shared.release(1));
        waiter.join().expect("the waiter ended well");
        assert_eq!(shared.raw().available(is_dead), 0);
    });
}

#[test]
fn two_waiters_one_release_of_two() {
    check(2, || {
        let shared = Arc::new(Shared::<0>::new(0, u32::MAX));
        let waiters = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.acquire())
        });
        shared.release(2);
        for waiter in waiters {
            waiter.join().expect("a waiter ended well");
        }
        assert_eq!(shared.raw().available(is_dead), 0);
    });
}

#[test]
fn two_that_count() {
    take_turns::<0, 2>([None, None], 1, 3, false);
}

#[test]
fn two_owners() {
    take_turns::<1, 2>([Some(1), Some(2)], 1, 3, false);
}

#[test]
fn an_owner_and_one_that_counts() {
    take_turns::<1, 2>([Some(1), None], 1, 3, false);
}

#[test]
fn an_owner_and_one_that_counts_two_rounds() {
    take_turns::<1, 2>([Some(1), None], 2, 2, false);
}

#[test]
fn two_inherit_from_the_dead() {
    take_turns::<2, 2>([Some(1), None], 1, 3, true);
}

/// Two permits are moved into one cell at the same time: one of the movers is told that there is no room.
#[test]
fn two_owners_and_one_cell() {
    check(3, || {
        let shared = Arc::new(Shared::<1>::new(2, 2));
        let own = |shared: &Shared<1>, me| {
            let _announced = shared.raw().announce();
            let got = shared.raw().own(me, is_dead, Deadline::NEVER);
            assert_ne!(got, Err(NotOwned::NoPermit));
            got.is_ok()
        };
        let other = Arc::clone(&shared);
        let other = thread::spawn(move || own(&other, 1));
        let owns = [own(&shared, 2), other.join().expect("the other ended well")];
        assert_eq!(owns.iter().filter(|o| **o).count(), 1);
        assert_eq!(shared.raw().available(is_dead), 1);
    });
}

#[test]
fn two_owners_and_one_that_counts() {
    take_turns::<1, 3>([Some(1), None, Some(2)], 1, 1, false);
}

/// One of two permits is to be had at any time, in the cell or in the count: whoever looks finds it.
#[test]
fn a_look_that_meets_a_release_and_an_owner() {
    check(3, || {
        let shared = Arc::new(Shared::<1>::new(2, 2));
        let owned = shared.raw().own(1, is_dead, Deadline::PAST).expect("a permit");
        shared.raw().give_back(owned); // in the cell
        shared.acquire();
        let other = Arc::clone(&shared);
        let other = thread::spawn(move || {
            other.release(1);
            other.raw().own(2, is_dead, Deadline::PAST).expect("a permit");
        });
        assert!(shared.raw().acquire(is_dead, Deadline::PAST));
        other.join().expect("the other ended well");
        assert_eq!(shared.raw().available(is_dead), 0);
    });
}

/// The cell has an owner, then none, then there is a permit in the count: at no time is there one that does not fit.
#[test]
fn there_was_always_room() {
    check(3, || {
        let shared = Arc::new(Shared::<1>::new(1, 1));
        let owned = shared.raw().own(1, is_dead, Deadline::PAST).expect("a permit");
        let other = Arc::clone(&shared);
        let other = thread::spawn(move || {
            other.raw().give_back(owned);
            if other.raw().acquire(is_dead, Deadline::PAST) {
                other.release(1);
            }
        });
        shared.raw().own(2, is_dead, Deadline::NEVER).expect("a permit and room");
        other.join().expect("the other ended well");
    });
}

/// The only permit there may be is in the count, on its way into the cell, in it, or taken out of it again: there is never
/// room for a second.
///
/// Either thread goes first: loom knows only the last access to an object, so that the look of a thread that goes first is
/// hidden from a thread that looks itself before it changes the word.
#[test]
fn a_release_too_many_meets_a_move() {
    for owner_first in [true, false] {
        check(3, move || {
            let shared = Arc::new(Shared::<1>::new(1, 1));
            let own = |shared: &Shared<1>| {
                let owned = shared.raw().own(1, is_dead, Deadline::PAST).expect("a permit");
                shared.raw().give_back(owned);
            };
            let release = |shared: &Shared<1>| assert_eq!(shared.raw().release(1), Err(1));
            let other = Arc::clone(&shared);
            if owner_first {
                let other = thread::spawn(move || release(&other));
                own(&shared);
                other.join().expect("the other ended well");
            } else {
                let other = thread::spawn(move || own(&other));
                release(&shared);
                other.join().expect("the other ended well");
            }
            assert_eq!(shared.raw().available(is_dead), 1);
        });
    }
}
