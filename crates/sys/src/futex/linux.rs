//! The futex calls of Linux.

use super::Wait;
use crate::Deadline;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use core::time::Duration;

/// A word to sleep on: an atomic `u32` with the two futex calls.
///
/// The zero page is a valid `Futex` with the value 0.
///
/// ```
/// use polyproc_sys::{Deadline, futex::{Futex, Wait}};
/// let word = Futex::new(1);
/// assert_eq!(word.wait(0, Deadline::NEVER), Wait::Changed);
/// assert_eq!(Futex::wake(&raw const word, 1), 0);
/// ```
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Futex(AtomicU32);

impl Futex {
    /// A word with the value `value`.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::Relaxed;
    /// assert_eq!(polyproc_sys::futex::Futex::new(3).load(Relaxed), 3);
    /// ```
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    /// [`wait`] on this word.
    ///
    /// ```
    /// use polyproc_sys::{Deadline, futex::{Futex, Wait}};
    /// assert_eq!(Futex::new(0).wait(0, Deadline::PAST), Wait::TimedOut);
    /// ```
    pub fn wait(&self, expected: u32, deadline: Deadline) -> Wait {
        wait(&raw const self.0, expected, deadline)
    }

    /// As [`Futex::wait`], for a wake-up that names one of the bits of `class` only ([`Futex::wake_class`]).
    ///
    /// The kernel's own wake-ups (the pass-on of a thread that died) and [`Futex::wake`] reach every class.
    ///
    /// ```
    /// use polyproc_sys::{Deadline, futex::{Futex, Wait}};
    /// assert_eq!(Futex::new(0).wait_class(0, 2, Deadline::PAST), Wait::TimedOut);
    /// ```
    pub fn wait_class(&self, expected: u32, class: u32, deadline: Deadline) -> Wait {
        wait_bits(&raw const self.0, expected, class, deadline)
    }

    /// Wakes at most `n` of the sleepers on the word at `this` that wait for one of the bits of `class`.
    ///
    /// ```
    /// use polyproc_sys::futex::Futex;
    /// assert_eq!(Futex::wake_class(&raw const *Box::new(Futex::new(0)), 1, 2), 0);
    /// ```
    ///
    /// # References
    /// * [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), FUTEX_WAKE_BITSET
    pub fn wake_class(this: *const Self, n: u32, class: u32) -> u32 {
        wake_bits(this.cast(), n, class)
    }

    /// [`wake`] of sleepers on the word at `this`, which need not be there any more.
    ///
    /// ```
    /// use polyproc_sys::futex::Futex;
    /// assert_eq!(Futex::wake(&raw const *Box::new(Futex::new(0)), 1), 0);
    /// ```
    pub fn wake(this: *const Self, n: u32) -> u32 {
        wake(this.cast(), n)
    }
}

impl core::ops::Deref for Futex {
    type Target = AtomicU32;

    fn deref(&self) -> &AtomicU32 {
        &self.0
    }
}

/// Sleeps while the word at `word` holds `expected`, until somebody wakes it or the deadline comes.
///
/// The comparison and the falling asleep are one step for the kernel: a wake-up after the word was changed is not lost.
/// The call may come back early; look again. A word that is not mapped counts as [`Wait::Changed`].
///
/// ```
/// use polyproc_sys::{Deadline, atomic::AtomicU32, futex::{self, Wait}};
/// assert_eq!(futex::wait(&AtomicU32::new(5), 4, Deadline::NEVER), Wait::Changed);
/// ```
///
/// # References
/// * [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), FUTEX_WAIT_BITSET: absolute time on
///   CLOCK_MONOTONIC; EAGAIN = [`Wait::Changed`], EINTR = [`Wait::Interrupted`], ETIMEDOUT = [`Wait::TimedOut`]
pub fn wait(word: *const AtomicU32, expected: u32, deadline: Deadline) -> Wait {
    wait_bits(word, expected, ALL, deadline)
}

const ALL: u32 = libc::FUTEX_BITSET_MATCH_ANY.cast_unsigned();

fn wait_bits(word: *const AtomicU32, expected: u32, class: u32, deadline: Deadline) -> Wait {
    let time = deadline.timespec();
    let limit = if deadline == Deadline::NEVER { core::ptr::null() } else { &raw const time };
    // SAFETY: the kernel checks `word` itself (EFAULT) and only reads it; `limit` is null or a timespec of this frame.
    let r = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.expose_provenance(), // only an address for the kernel, which checks it
            libc::FUTEX_WAIT_BITSET,
            expected,
            limit,
            core::ptr::null::<u32>(),
            class,
        )
    };
    if r == 0 {
        return Wait::Woken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => Wait::TimedOut,
        Some(libc::EINTR) => Wait::Interrupted,
        _ => Wait::Changed,
    }
}

/// Wakes at most `n` sleepers on the address `word` and says how many there were.
///
/// Only the address counts: the bytes there are not touched and may belong to somebody else by now; a sleeper that is
/// woken by mistake looks again.
///
/// ```
/// use polyproc_sys::{atomic::AtomicU32, futex};
/// assert_eq!(futex::wake(&AtomicU32::new(0), u32::MAX), 0); // nobody sleeps
/// ```
///
/// # References
/// * [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html), FUTEX_WAKE
pub fn wake(word: *const AtomicU32, n: u32) -> u32 {
    wake_bits(word, n, ALL)
}

fn wake_bits(word: *const AtomicU32, n: u32, class: u32) -> u32 {
    let n = i32::try_from(n).unwrap_or(i32::MAX);
    let word = word.expose_provenance(); // only an address for the kernel, which neither reads nor writes there
    let null = core::ptr::null::<u32>();
    // SAFETY: FUTEX_WAKE_BITSET uses no memory of ours.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE_BITSET, n, null, null, class) };
    u32::try_from(woken).unwrap_or(0) // a word that is not mapped has no sleepers
}

static TICK: AtomicU64 = AtomicU64::new(100_000_000); // nanoseconds

/// How long a single sleep lasts at most before the sleeper looks for itself: 100 ms.
///
/// The tick is the belt beside the braces: the wake-ups of a single death are exact without it (the tests set it to a
/// minute), unless a waiter stands still between its look and its sleep; it covers those, several deaths at once, and
/// kernels before 6.2.
///
/// ```
/// assert!(polyproc_sys::futex::tick() >= std::time::Duration::from_millis(1));
/// ```
#[must_use]
pub fn tick() -> Duration {
    Duration::from_nanos(TICK.load(Relaxed))
}

/// Sets the tick of this process; a child takes it from the environment variable `POLYPROC_TICK_MS`.
///
/// Only for tests: the default costs an idle sleeper ten looks a second.
///
/// ```
/// use std::time::Duration;
/// polyproc_sys::futex::set_tick(Duration::from_secs(60));
/// assert_eq!(polyproc_sys::futex::tick(), Duration::from_secs(60));
/// ```
pub fn set_tick(tick: Duration) {
    let ns = u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX);
    TICK.store(ns.max(1_000_000), Relaxed);
}

/// Takes the tick from the environment; called once, when the first thread of a process is set up.
pub(crate) fn tick_from_environment() {
    if let Some(ms) = std::env::var("POLYPROC_TICK_MS").ok().and_then(|v| v.parse().ok()) {
        set_tick(Duration::from_millis(ms));
    }
}
