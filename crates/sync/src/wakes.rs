//! Sleepers that this thread has notified and will wake when it has given the lock up: woken earlier, they would find it held.

use core::cell::Cell;
use polyproc_sys::futex::Futex;

/// More are woken at once.
const MOST: usize = 16;

thread_local! {
    static OWED: ([Cell<*const Futex>; MOST], Cell<usize>) =
        const { ([const { Cell::new(core::ptr::null()) }; MOST], Cell::new(0)) };
}

/// Wakes whoever sleeps on `word`, at the next [`pay`]. Until then only the address is kept.
pub(crate) fn owe(word: *const Futex) {
    OWED.with(|(words, count)| match words.get(count.get()) {
        Some(free) => {
            free.set(word);
            count.set(count.get() + 1);
        }
        None => {
            Futex::wake(word, 1);
        }
    });
}

/// Wakes all of them.
#[cold]
pub(crate) fn pay() {
    OWED.with(|(words, count)| {
        for word in &words[..count.replace(0)] {
            Futex::wake(word.get(), 1);
        }
    });
}
