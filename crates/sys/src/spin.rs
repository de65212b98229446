//! How long to look at a word before going to sleep on it: little, more each time, and not at all on one CPU.

/// A bounded wait that grows: first pauses of the CPU, then offers of it to others, then it is time to sleep.
///
/// ```
/// let mut spin = polyproc_sys::spin::Spin::new();
/// let mut rounds = 0;
/// while spin.again() {
///     rounds += 1;
/// }
/// assert!(rounds < 100); // it ends by itself
/// ```
#[derive(Debug)]
pub struct Spin {
    round: u32,
    last: u32,
}

/// Rounds of pauses; round `n` pauses 2^n times, so that all of them together take about 127 pauses.
const PAUSING: u32 = 7;
/// Rounds that give the CPU away after the pauses, for a partner that has none.
const YIELDING: u32 = 8;

impl Spin {
    /// A fresh budget. On a machine with one CPU it is empty: whoever is waited for could not run meanwhile.
    ///
    /// ```
    /// let spin = polyproc_sys::spin::Spin::new();
    /// # let _ = spin;
    /// ```
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self { round: 0, last: if cpus() > 1 { PAUSING + YIELDING } else { 0 } }
    }

    /// Waits a little and says `true`, or says `false` at once when the budget is spent.
    ///
    /// ```
    /// let mut spin = polyproc_sys::spin::Spin::new();
    /// while spin.again() {}
    /// assert!(!spin.again());
    /// ```
    #[inline]
    pub fn again(&mut self) -> bool {
        if self.round >= self.last {
            return false;
        }
        #[cfg(polyproc_loom)]
        loom::thread::yield_now();
        #[cfg(not(polyproc_loom))]
        if self.round < PAUSING {
            for _ in 0..1_u32 << self.round {
                core::hint::spin_loop();
            }
        } else {
            std::thread::yield_now();
        }
        self.round += 1;
        true
    }
}

impl Default for Spin {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of CPUs that this process may use, asked once.
///
/// ```
/// assert!(polyproc_sys::spin::cpus() >= 1);
/// ```
#[must_use]
#[cfg(not(polyproc_loom))]
#[inline]
pub fn cpus() -> u32 {
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static CPUS: AtomicU32 = AtomicU32::new(0);
    #[cold]
    fn ask() -> u32 {
        let n = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        CPUS.store(n, Relaxed);
        n
    }
    match CPUS.load(Relaxed) {
        0 => ask(),
        n => n,
    }
}

/// Models do not spin: a spinning round only multiplies the schedules.
#[must_use]
#[cfg(polyproc_loom)]
pub fn cpus() -> u32 {
    1
}
