//! The semaphores: a permit is taken and given back, and two threads that wake each other by turns.

use crate::page::Line;
use core::cell::UnsafeCell;
use core::time::Duration;
use polyproc::Semaphore;
use polyproc::parts::sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use polyproc::parts::sys::deadline::now_ns;
use std::sync::{Condvar, Mutex};

/// A semaphore to be measured.
pub trait Permits: Sync {
    /// Takes a permit, sleeping until there is one.
    fn take(&self);
    /// Adds one.
    fn give(&self);
}

/// The floor: a compare-exchange and an addition. It spins, and offers its CPU now and then.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Permits for Counter {
    #[inline]
    fn take(&self) {
        let mut looks = 0_u32;
        loop {
            let n = self.0.load(Relaxed);
            if n > 0 && self.0.compare_exchange(n, n - 1, Acquire, Relaxed).is_ok() {
                return;
            }
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(256) { std::thread::yield_now() } else { core::hint::spin_loop() }
        }
    }

    #[inline]
    fn give(&self) {
        self.0.fetch_add(1, Release);
    }
}

impl Permits for Semaphore {
    #[inline]
    fn take(&self) {
        self.acquire();
    }

    #[inline]
    fn give(&self) {
        self.release().expect("few permits");
    }
}

/// glibc's, between processes. It must not be moved once it was used.
pub struct Posix(UnsafeCell<libc::sem_t>);

// SAFETY: a semaphore is there to be used by several threads; nothing but its calls touches its bytes after `sem_init`.
unsafe impl Sync for Posix {}
// SAFETY: it belongs to no thread.
unsafe impl Send for Posix {}

impl core::fmt::Debug for Posix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Posix(..)")
    }
}

impl Posix {
    /// A semaphore in a box: it stays where it is.
    #[must_use]
    pub fn boxed(permits: u32) -> Box<Line<Self>> {
        // SAFETY: plain bytes, made a semaphore by the next call.
        let this = Box::new(Line(Self(UnsafeCell::new(unsafe { core::mem::zeroed() }))));
        // SAFETY: room for a semaphore that nobody uses yet.
        assert_eq!(unsafe { libc::sem_init(this.0.0.get(), 1, permits) }, 0);
        this
    }
}

impl Permits for Posix {
    #[inline]
    fn take(&self) {
        // SAFETY: an initialized semaphore; a signal only makes it ask again.
        while unsafe { libc::sem_wait(self.0.get()) } != 0 {}
    }

    #[inline]
    fn give(&self) {
        // SAFETY: an initialized semaphore.
        assert_eq!(unsafe { libc::sem_post(self.0.get()) }, 0, "few permits");
    }
}

/// A count under a mutex, and a condition variable: what std has for threads.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<u64>, Condvar);

impl Permits for Monitor {
    #[inline]
    fn take(&self) {
        let count = self.0.lock().expect("nobody panics in a bench");
        *self.1.wait_while(count, |n| *n == 0).expect("nobody panics in a bench") -= 1;
    }

    #[inline]
    fn give(&self) {
        *self.0.lock().expect("nobody panics in a bench") += 1;
        self.1.notify_one();
    }
}

/// Takes a permit and gives it back.
#[inline]
pub fn pair(semaphore: &impl Permits) {
    semaphore.take();
    semaphore.give();
}

/// Two threads wake each other by turns, `n` round trips; the semaphores have no permit at the start.
///
/// # Panics
/// If a thread does.
pub fn ping_pong(ping: &impl Permits, pong: &impl Permits, n: u64) -> Duration {
    std::thread::scope(|s| {
        let other = s.spawn(move || {
            for _ in 0..n {
                ping.take();
                pong.give();
            }
        });
        let start = now_ns();
        for _ in 0..n {
            ping.give();
            pong.take();
        }
        let time = Duration::from_nanos(now_ns() - start);
        other.join().expect("no panic");
        time
    })
}
