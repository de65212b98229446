//! The futex of a model: no spurious wake-up and no tick, so that a lost wake-up shows as a deadlock.

use super::Wait;
use super::many_model::{Rover, Rovers, Watched};
use crate::Deadline;
use core::time::Duration;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};

/// A word to sleep on, with two queues of sleepers that loom understands: class 2, and all others.
#[derive(Debug)]
pub struct Futex {
    word: AtomicU32,
    sleepers: Mutex<[u32; 2]>,
    bells: [Condvar; 2],
    /// Who sleeps on several words.
    rovers: Rovers,
}

const ALL: u32 = u32::MAX;

impl Futex {
    /// A word with the value `value`.
    #[must_use]
    pub fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
            sleepers: Mutex::new([0; 2]),
            bells: [Condvar::new(), Condvar::new()],
            rovers: Rovers::default(),
        }
    }

    /// Sleeps while the word holds `expected`; the kernel reads the word under its queue's lock.
    pub fn wait(&self, expected: u32, deadline: Deadline) -> Wait {
        self.wait_class(expected, ALL, deadline)
    }

    /// As [`Futex::wait`], as a sleeper of one class.
    ///
    /// # Panics
    /// If another thread of the model panicked.
    pub fn wait_class(&self, expected: u32, class: u32, _: Deadline) -> Wait {
        let queue = usize::from(class == 2);
        let mut sleepers = self.sleepers.lock().expect("no thread of a model panics while it holds this");
        // An RMW, because the kernel's read is ordered after every store that came before it.
        if self.word.fetch_or(0, Ordering::AcqRel) != expected {
            return Wait::Changed;
        }
        sleepers[queue] += 1;
        drop(self.bells[queue].wait(sleepers).expect("no thread of a model panics while it holds this"));
        Wait::Woken
    }

    /// Wakes at most `n` sleepers and says how many there were.
    pub fn wake(this: *const Self, n: u32) -> u32 {
        Self::wake_class(this, n, ALL)
    }

    /// Wakes at most `n` sleepers of a class and says how many there were.
    ///
    /// # Panics
    /// If another thread of the model panicked.
    pub fn wake_class(this: *const Self, n: u32, class: u32) -> u32 {
        // SAFETY: models keep their words until all threads have ended.
        let this = unsafe { &*this };
        let mut sleepers = this.sleepers.lock().expect("no thread of a model panics while it holds this");
        let mut woken = this.rovers.wake(n); // first, and whatever the class: the worst that they can do to others
        for queue in 0..2 {
            if class == ALL || queue == usize::from(class == 2) {
                while woken < n && sleepers[queue] > 0 {
                    sleepers[queue] -= 1;
                    woken += 1;
                    this.bells[queue].notify_one();
                }
            }
        }
        woken
    }
}

impl Watched for Futex {
    fn join(&self, expected: u64, rover: &Rover) -> bool {
        let _sleepers = self.sleepers.lock().expect("no thread of a model panics while it holds this");
        // As in `wait_class`.
        let same = u64::from(self.word.fetch_or(0, Ordering::AcqRel)) == expected;
        if same {
            self.rovers.add(rover);
        }
        same
    }

    fn leave(&self, rover: &Rover) {
        let _sleepers = self.sleepers.lock().expect("no thread of a model panics while it holds this");
        self.rovers.remove(rover);
    }
}

impl core::ops::Deref for Futex {
    type Target = AtomicU32;

    fn deref(&self) -> &AtomicU32 {
        &self.word
    }
}

/// Models have no tick.
#[must_use]
pub fn tick() -> Duration {
    Duration::MAX
}
