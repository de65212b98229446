//! Loom models of the lock that may be taken again: D1, and mutual exclusion until the last level is given up.
//!
//! What loom cannot see: death, and several addresses of one lock; see the kill tests and `tests/rlock.rs`. Lost wake-ups
//! are the business of `loom_lock.rs`. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_sync::raw::RawRLock;
use polyproc_sys::Deadline;

struct Shared {
    lock: RawRLock,
    data: UnsafeCell<u32>,
}

// SAFETY: `data` is used under `lock` only; loom checks that.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    fn lock(&self) {
        // SAFETY: the lock lives in the Arc of the caller.
        unsafe { RawRLock::lock(&raw const self.lock, Deadline::NEVER) }.expect("nobody holds it for ever");
    }

    fn unlock(&self) {
        // SAFETY: held by this thread.
        unsafe { RawRLock::unlock(&raw const self.lock) };
    }

    /// Adds one at each level, on the way in and on the way out.
    fn add(&self) {
        let add = || self.data.with_mut(|p| unsafe { *p += 1 }); // SAFETY: under the lock.
        self.lock();
        add();
        self.lock();
        assert_eq!(self.lock.levels(), 2);
        add();
        self.unlock();
        add();
        self.unlock();
    }
}

fn model(threads: usize, bound: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        let shared = Arc::new(Shared { lock: RawRLock::new(), data: UnsafeCell::new(0) });
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.add())
            })
            .collect();
        shared.add();
        for other in others {
            other.join().expect("a thread of the model ended well");
        }
        // SAFETY: all others have ended.
        shared.data.with(|p| assert_eq!(unsafe { *p } as usize, threads * 3));
        assert_eq!(shared.lock.levels(), 0);
    });
}

#[test]
fn two_threads_take_it_twice() {
    model(2, 3);
}
