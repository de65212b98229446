//! The sleep on several words of a model: a wake-up of any of them is consumed by it, also when another has woken it before.

use super::{Futex, Wait, WideFutex};
use crate::Deadline;
use core::cell::RefCell;
use loom::sync::{Condvar, Mutex};
use std::sync::Arc;

/// A sleeper on several words: whether it was woken.
pub(super) type Rover = Arc<(Mutex<bool>, Condvar)>;

/// Those that sleep on one word; guarded by the lock of that word's sleepers.
#[derive(Debug, Default)]
pub(super) struct Rovers(RefCell<Vec<Rover>>);

// SAFETY: threads of a model run one at a time, and each borrow ends under the lock that it began under.
unsafe impl Sync for Rovers {}

impl Rovers {
    pub(super) fn add(&self, rover: &Rover) {
        self.0.borrow_mut().push(Arc::clone(rover));
    }

    pub(super) fn remove(&self, rover: &Rover) {
        self.0.borrow_mut().retain(|r| !Arc::ptr_eq(r, rover));
    }

    /// Wakes at most `n` and says how many there were.
    pub(super) fn wake(&self, n: u32) -> u32 {
        let mut woken = 0;
        while woken < n {
            let Some(rover) = self.0.borrow_mut().pop() else { break };
            *rover.0.lock().expect("no thread of a model panics while it holds this") = true;
            rover.1.notify_one();
            woken += 1;
        }
        woken
    }
}

/// A word that can be slept on together with others.
pub(super) trait Watched {
    /// Lets `rover` sleep there if the word holds `expected`.
    fn join(&self, expected: u64, rover: &Rover) -> bool;
    fn leave(&self, rover: &Rover);
}

/// A word to sleep on, and the value that it must have for that.
#[derive(Clone, Copy)]
pub struct Watch<'a>(&'a dyn Watched, u64);

impl core::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Watch").field(&self.1).finish()
    }
}

impl Futex {
    /// This word, to sleep on while it holds `expected`.
    #[must_use]
    pub fn watch(&self, expected: u32) -> Watch<'_> {
        Watch(self, expected.into())
    }
}

impl WideFutex {
    /// This word, to sleep on while its upper half is that of `expected`.
    #[must_use]
    pub fn watch(&self, expected: u64) -> Watch<'_> {
        Watch(self, expected)
    }
}

/// Sleeps while all words hold what is expected of them.
///
/// # Panics
/// If another thread of the model panicked.
#[must_use]
pub fn wait_many(words: &[Watch<'_>], _: Deadline) -> Wait {
    let rover = Rover::new((Mutex::new(false), Condvar::new()));
    let all = words.iter().all(|Watch(word, expected)| word.join(*expected, &rover));
    if all {
        let mut woken = rover.0.lock().expect("no thread of a model panics while it holds this");
        while !*woken {
            woken = rover.1.wait(woken).expect("no thread of a model panics while it holds this");
        }
    }
    words.iter().for_each(|Watch(word, _)| word.leave(&rover));
    if all { Wait::Woken } else { Wait::Changed }
}
