//! Events and barriers: two threads that wake each other by turns, and that wait for each other.

use crate::page::Line;
use core::time::Duration;
use polyproc::parts::sys::Deadline;
use polyproc::parts::sys::atomic::Ordering::{AcqRel, Acquire, Release};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::parts::sys::futex::Futex;
use polyproc::{Barrier, Event};
use std::sync::{Condvar, Mutex};

/// A mark to be measured, which whoever waits for it takes away.
pub trait Mark: Sync {
    /// Sets it.
    fn set(&self);
    /// Sleeps until it is set, and takes it away.
    fn take(&self);
}

/// The floor: a word, one system call to sleep and one to wake, which is made each time.
#[derive(Debug, Default)]
pub struct Bare(Futex);

impl Mark for Bare {
    fn set(&self) {
        self.0.store(1, Release);
        Futex::wake(&raw const self.0, 1);
    }

    fn take(&self) {
        while self.0.swap(0, Acquire) == 0 {
            self.0.wait(0, Deadline::NEVER);
        }
    }
}

impl Mark for Event {
    fn set(&self) {
        Self::set(self);
    }

    fn take(&self) {
        self.wait();
        self.clear();
    }
}

/// A mark under a mutex, and a condition variable: what std has for threads.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<bool>, Condvar);

impl Mark for Monitor {
    fn set(&self) {
        *self.0.lock().expect("nobody panics in a bench") = true;
        self.1.notify_all();
    }

    fn take(&self) {
        let mark = self.0.lock().expect("nobody panics in a bench");
        *self.1.wait_while(mark, |set| !*set).expect("nobody panics in a bench") = false;
    }
}

/// Two threads wake each other by turns, `n` round trips.
///
/// # Panics
/// If a thread does.
pub fn ping_pong(ping: &impl Mark, pong: &impl Mark, n: u64) -> Duration {
    std::thread::scope(|s| {
        s.spawn(move || {
            for _ in 0..n {
                ping.take();
                pong.set();
            }
        });
        let start = now_ns();
        for _ in 0..n {
            ping.set();
            pong.take();
        }
        Duration::from_nanos(now_ns() - start)
    })
}

/// A barrier of two, to be measured.
pub trait Meeting: Sync {
    /// Waits until the other one has come.
    fn meet(&self);
}

impl Meeting for Barrier {
    fn meet(&self) {
        self.wait().expect("nobody dies in a bench");
    }
}

impl Meeting for std::sync::Barrier {
    fn meet(&self) {
        self.wait();
    }
}

/// The floor: a word that the first one sleeps on and the second one changes.
#[derive(Debug, Default)]
pub struct BareMeeting(Line<Futex>);

impl Meeting for BareMeeting {
    fn meet(&self) {
        let word = &self.0.0;
        let seen = word.fetch_add(1, AcqRel);
        if seen % 2 == 1 {
            Futex::wake(&raw const *word, u32::MAX);
        } else {
            while word.load(Acquire) == seen + 1 {
                word.wait(seen + 1, Deadline::NEVER);
            }
        }
    }
}

/// Two threads meet `n` times.
///
/// # Panics
/// If a thread does.
pub fn meet(meeting: &impl Meeting, n: u64) -> Duration {
    std::thread::scope(|s| {
        s.spawn(move || (0..n).for_each(|_| meeting.meet()));
        let start = now_ns();
        (0..n).for_each(|_| meeting.meet());
        Duration::from_nanos(now_ns() - start)
    })
}
