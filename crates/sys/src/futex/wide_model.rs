//! The wide futex of a model: as the other one, no spurious wake-up and no tick.

use super::Wait;
use super::many_model::{Rover, Rovers, Watched};
use crate::Deadline;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};

/// 64 bits of which the upper half is a word to sleep on.
#[derive(Debug)]
pub struct WideFutex {
    bits: AtomicU64,
    sleepers: Mutex<u32>,
    bell: Condvar,
    /// Who sleeps on several words.
    rovers: Rovers,
}

impl WideFutex {
    /// The bits `value`.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self { bits: AtomicU64::new(value), sleepers: Mutex::new(0), bell: Condvar::new(), rovers: Rovers::default() }
    }

    /// An address, and no more.
    #[must_use]
    pub fn word(&self) -> *const AtomicU32 {
        (&raw const self.bits).cast()
    }

    /// Sleeps while the upper half is that of `expected`; the kernel reads it under its queue's lock.
    ///
    /// # Panics
    /// If another thread of the model panicked.
    pub fn wait(&self, expected: u64, _: Deadline) -> Wait {
        let mut sleepers = self.sleepers.lock().expect("no thread of a model panics while it holds this");
        // An RMW, because the kernel's read is ordered after every store that came before it.
        if self.bits.fetch_or(0, Ordering::AcqRel) >> 32 != expected >> 32 {
            return Wait::Changed;
        }
        *sleepers += 1;
        drop(self.bell.wait(sleepers).expect("no thread of a model panics while it holds this"));
        Wait::Woken
    }

    /// Wakes all sleepers and says how many there were.
    ///
    /// # Panics
    /// If another thread of the model panicked.
    pub fn wake_all(this: *const Self) -> u32 {
        // SAFETY: models keep their words until all threads have ended.
        let this = unsafe { &*this };
        let mut sleepers = this.sleepers.lock().expect("no thread of a model panics while it holds this");
        this.bell.notify_all();
        core::mem::take(&mut *sleepers) + this.rovers.wake(u32::MAX)
    }
}

impl Watched for WideFutex {
    fn join(&self, expected: u64, rover: &Rover) -> bool {
        let _sleepers = self.sleepers.lock().expect("no thread of a model panics while it holds this");
        // As in `wait`.
        let same = self.bits.fetch_or(0, Ordering::AcqRel) >> 32 == expected >> 32;
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

impl core::ops::Deref for WideFutex {
    type Target = AtomicU64;

    fn deref(&self) -> &AtomicU64 {
        &self.bits
    }
}
