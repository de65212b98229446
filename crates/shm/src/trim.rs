//! The memory that a burst of large blocks has taken goes back to the system.

use crate::family::Family;
use crate::raw::layout::{SPAN, span_offset};
use polyproc_sys::atomic::Ordering::Relaxed;

/// A freed run of at least so many spans, 32 MiB, gives its memory back at once.
pub(crate) const LARGE: u32 = 512;
/// Each time that a process has freed so many spans in runs, 64 MiB, it looks at how many are free.
const LOOK: u64 = 1024;
/// So many free spans keep their memory, for the next blocks.
const KEEP: u32 = 1024;

impl Family {
    /// Notes that this process has freed a run of `n` spans, and gives memory back if that was a burst.
    pub(crate) fn freed_run(&self, n: u32) {
        let freed = &self.cursors.freed;
        let sum = freed.load(Relaxed) + u64::from(n); // a hint: what another thread adds meanwhile may be lost
        freed.store(if sum < LOOK { sum } else { 0 }, Relaxed);
        if sum >= LOOK {
            self.trim();
        }
    }

    /// Gives the memory of free spans back to the system, but for the first 64 MiB.
    fn trim(&self) {
        let me = self.registered_me();
        let (spans, mut kept, mut from) = (self.map.spans(), 0, 0);
        let is_idle = |i: u32| self.map.span(i).is_some_and(|s| s.is_free() && !s.is_punched());
        while from < spans {
            let n = (from..spans).take_while(|&i| is_idle(i)).take(LARGE as usize).count();
            let n = u32::try_from(n).unwrap_or(0);
            if n > 0 && kept >= KEEP {
                // As the owner of a run nobody else gets in the way, and the sweep mends what a death leaves.
                if let Ok(Ok(generation)) = self.try_take_spans(from, n, me) {
                    self.punch_spans(from, n);
                    self.release_spans(from, n, generation, me);
                }
            } else {
                kept += n;
            }
            from += n.max(1);
        }
        self.cursors.run.store(0, Relaxed); // where memory was kept
    }

    /// Gives the memory of spans that this process has taken back to the system.
    pub(crate) fn punch_spans(&self, first: u32, n: u32) {
        for i in first..first + n {
            self.map.span(i).inspect(|s| s.set_punched(true)); // N3
        }
        // If the kernel does not want to, the memory is backed once more before it is used: no harm.
        let _ = self.map.punch(span_offset(first), u64::from(n) * SPAN);
    }
}
