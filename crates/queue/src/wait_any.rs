//! A queue among the things that [`wait_any`](polyproc_sync::wait_any()) waits for.

use crate::Queue;
use polyproc_sync::Waitable;
use polyproc_sync::raw::gate::{Armed, Side};
use polyproc_sys::futex::Watch;

/// Ready while there is an item to get.
impl<T> Waitable for Queue<T> {
    fn is_ready(&self) -> bool {
        self.has_message()
    }

    fn arm(&self, _before: Option<u64>, woken: bool) -> Armed {
        self.parts.raw.gate.arm(Side::Takers, woken, || self.has_message(), || self.settle())
    }

    fn watch(&self, word: u64) -> Watch<'_> {
        self.parts.raw.gate.watch(word)
    }
}
