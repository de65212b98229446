//! Loom models of the condition: no notification is lost (C2, C3), and what came before it is seen after the wait (L1).
//!
//! A lost one shows as a deadlock: the model's futex has no tick and no spurious wake-up. What loom cannot see: death, and
//! time; see the kill tests. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_sync::raw::condition::{Cell, Hold, RawCondition, Waited};
use polyproc_sync::raw::{RawLock, RawRLock};
use polyproc_sys::Deadline;
use polyproc_sys::futex::Futex;
use polyproc_sys::robust::Thread;

struct Shared {
    lock: RawRLock,
    condition: RawCondition<[Cell; 2]>,
    /// Used under the lock only; loom checks that.
    data: UnsafeCell<u32>,
}

// SAFETY: as `data` says.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// The lock, and whom to wake when it was given up.
struct Held<'a>(&'a RawRLock, Vec<*const Futex>);

impl Hold for Held<'_> {
    fn lock(&self) -> &RawLock {
        self.0.as_lock()
    }

    unsafe fn release(&mut self) -> u32 {
        // SAFETY: the caller's duty is the same.
        let (levels, owes_wakes) = unsafe { RawRLock::release_as(Thread::current(), self.0) };
        if owes_wakes {
            for word in self.1.drain(..) {
                Futex::wake(word, 1);
            }
        }
        levels
    }

    unsafe fn retake(&mut self, levels: u32, deaths: u64) {
        let this = core::ptr::from_ref(self.0).cast::<RawLock>(); // it begins with that
        // SAFETY: the caller's duty is the same, and `retake_as` has announced it.
        let contended = || unsafe { RawLock::lock_contended(Thread::current(), this, Deadline::NEVER, ()) };
        // SAFETY: the caller's duty is the same.
        let died = unsafe { RawRLock::retake_as(Thread::current(), self.0, levels, deaths, contended) };
        assert!(!died);
    }
}

impl Shared {
    fn raw(&self) -> &RawCondition {
        &self.condition
    }

    /// Runs `body` with the lock, held twice.
    fn locked(&self, body: impl FnOnce(&mut Held<'_>)) {
        let mut held = Held(&self.lock, Vec::new());
        // SAFETY: the lock lives in the Arc of the caller, and this thread does not hold it.
        unsafe { held.retake(2, 0) };
        body(&mut held);
        // SAFETY: taken above; `wait` takes it again before it returns.
        assert_eq!(unsafe { held.release() }, 2);
    }

    /// Waits, and says how it ended.
    fn wait(&self, held: &mut Held<'_>, me: u32, deadline: Deadline) -> Waited {
        // SAFETY: in `locked`.
        unsafe { self.raw().wait(held, me, |_| false, deadline) }.expect("a cell for each")
    }

    /// Takes one from `data`, which somebody puts there.
    fn consume(&self, me: u32) {
        self.locked(|held| {
            // SAFETY: under the lock.
            while self.data.with(|p| unsafe { *p }) == 0 {
                assert_eq!(self.wait(held, me, Deadline::NEVER), Waited::Notified);
            }
            // SAFETY: under the lock.
            self.data.with_mut(|p| unsafe { *p -= 1 });
        });
    }

    fn produce(&self, n: u32) {
        self.locked(|held| {
            // SAFETY: under the lock.
            self.data.with_mut(|p| unsafe { *p += n });
            self.notify(held, n);
        });
    }

    fn notify(&self, held: &mut Held<'_>, n: u32) -> u32 {
        let told = self.raw().notify(n, |_| false, |word| held.1.push(word));
        if told > 0 {
            // SAFETY: `held` says so.
            unsafe { self.lock.owe_wakes() };
        }
        told
    }
}

fn model(bound: usize, body: fn(Arc<Shared>)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        let shared = Shared { lock: RawRLock::new(), condition: RawCondition::new(), data: UnsafeCell::new(0) };
        let shared = Arc::new(shared);
        body(Arc::clone(&shared));
        assert_eq!(shared.raw().waiting(), 0);
    });
}

fn spawn(shared: &Arc<Shared>, body: impl FnOnce(&Shared) + 'static) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

#[test]
fn one_waiter_one_notifier() {
    model(3, |shared| {
        let consumer = spawn(&shared, |s| s.consume(1));
        shared.produce(1);
        consumer.join().expect("a thread of the model ended well");
    });
}

#[test]
fn one_waiter_waits_twice() {
    model(2, |shared| {
        let consumer = spawn(&shared, |s| (0..2).for_each(|_| s.consume(1)));
        (0..2).for_each(|_| shared.produce(1));
        consumer.join().expect("a thread of the model ended well");
    });
}

#[test]
fn two_waiters_and_a_notifier_of_each() {
    model(1, |shared| {
        let consumers = [1, 2].map(|me| spawn(&shared, move |s| s.consume(me)));
        (0..2).for_each(|_| shared.produce(1));
        for consumer in consumers {
            consumer.join().expect("a thread of the model ended well");
        }
    });
}

#[test]
fn two_waiters_and_a_notifier_of_both() {
    model(1, |shared| {
        let consumers = [1, 2].map(|me| spawn(&shared, move |s| s.consume(me)));
        shared.produce(2);
        for consumer in consumers {
            consumer.join().expect("a thread of the model ended well");
        }
    });
}

/// Who has no time any more when he is notified has been notified all the same.
#[test]
fn a_notification_meets_a_waiter_whose_time_is_up() {
    model(3, |shared| {
        let late = spawn(&shared, |s| {
            s.locked(|held| {
                let waited = s.wait(held, 1, Deadline::PAST);
                // SAFETY: under the lock.
                s.data.with_mut(|p| unsafe { *p += u32::from(waited == Waited::Notified) });
            });
        });
        let mut told = 0;
        shared.locked(|held| told = shared.notify(held, 1));
        late.join().expect("a thread of the model ended well");
        // SAFETY: the other has ended.
        shared.data.with(|p| assert_eq!(unsafe { *p }, told));
    });
}
