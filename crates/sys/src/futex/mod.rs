//! Sleeping on a 32-bit word that several processes map, and waking the sleepers.
//!
//! The words are shared between processes, so the private flag of the futex call is never set. A sleep may end early
//! for no reason that the caller can see: whoever sleeps looks at the state again and decides anew.

#[cfg(not(polyproc_loom))]
mod linux;
#[cfg(not(polyproc_loom))]
mod many;
#[cfg(polyproc_loom)]
mod many_model;
#[cfg(polyproc_loom)]
mod model;
#[cfg(not(polyproc_loom))]
mod wide;
#[cfg(polyproc_loom)]
mod wide_model;

#[cfg(not(polyproc_loom))]
pub(crate) use linux::tick_from_environment;
#[cfg(not(polyproc_loom))]
pub use linux::{Futex, set_tick, tick, wait, wake};
#[cfg(not(polyproc_loom))]
pub use many::{Watch, wait_many};
#[cfg(polyproc_loom)]
pub use many_model::{Watch, wait_many};
#[cfg(polyproc_loom)]
pub use model::{Futex, tick};
#[cfg(not(polyproc_loom))]
pub use wide::WideFutex;
#[cfg(polyproc_loom)]
pub use wide_model::WideFutex;

/// Why a sleep ended.
///
/// ```
/// use polyproc_sys::{Deadline, atomic::AtomicU32, futex::{self, Wait}};
/// let word = AtomicU32::new(7);
/// assert_eq!(futex::wait(&word, 7, Deadline::PAST), Wait::TimedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Somebody woke us, or the kernel passed on the wake-up of a thread that died.
    Woken,
    /// The word did not hold the expected value: no sleep took place.
    Changed,
    /// A signal handler ran.
    Interrupted,
    /// The deadline came.
    TimedOut,
}
