//! Loom models of the lock: mutual exclusion (L1) and no lost wake-up (I1, I2, L2).
//!
//! A lost wake-up shows as a deadlock, since the model's futex has no tick and no spurious wake-up. What loom cannot see:
//! the asymmetry of the barrier (it is a fence on both sides here), the plain store of `unlock` (a swap here), and death;
//! those are for the kill harness. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_sync::raw::RawLock;
use polyproc_sys::Deadline;

struct Shared {
    lock: RawLock,
    data: UnsafeCell<u32>,
}

// SAFETY: `data` is used under `lock` only; loom checks that.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

fn add(shared: &Shared, rounds: usize) {
    for _ in 0..rounds {
        // SAFETY: the lock lives in the Arc of the caller.
        unsafe { RawLock::lock(&raw const shared.lock, Deadline::NEVER) }.expect("nobody holds it for ever");
        // SAFETY: under the lock.
        shared.data.with_mut(|p| unsafe { *p += 1 });
        // SAFETY: held by this thread.
        unsafe { RawLock::unlock(&raw const shared.lock, false) };
    }
}

fn model(threads: usize, rounds: usize, bound: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        let shared = Arc::new(Shared { lock: RawLock::new(), data: UnsafeCell::new(0) });
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || add(&shared, rounds))
            })
            .collect();
        add(&shared, rounds);
        for other in others {
            other.join().expect("a thread of the model ended well");
        }
        // SAFETY: all others have ended.
        shared.data.with(|p| assert_eq!(unsafe { *p } as usize, threads * rounds));
    });
}

#[test]
fn two_threads_one_round() {
    model(2, 1, 4);
}

#[test]
fn two_threads_two_rounds() {
    model(2, 2, 3);
}

#[test]
fn three_threads_one_round() {
    model(3, 1, 2);
}
