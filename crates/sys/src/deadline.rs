//! One point in time on `CLOCK_MONOTONIC`: what a timeout becomes once, at the public edge.

use core::time::Duration;

/// A point in time that blocking calls give up at, in nanoseconds of `CLOCK_MONOTONIC`.
///
/// The clock does not jump when the time of day is set, and does not run while the machine is suspended. It is the same
/// in all processes of one time namespace.
///
/// # Examples
///
/// ```
/// use polyproc_sys::Deadline;
/// use std::time::Duration;
///
/// let soon = Deadline::after(Duration::from_secs(5));
/// assert!(!soon.is_past());
/// assert!(soon < Deadline::NEVER);
/// assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
/// ```
///
/// # References
/// * [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// The deadline that does not come.
    ///
    /// ```
    /// assert_eq!(polyproc_sys::Deadline::NEVER.remaining(), None);
    /// ```
    pub const NEVER: Self = Self(u64::MAX);

    /// The deadline that has come already: a call that gets it does not block.
    ///
    /// ```
    /// assert!(polyproc_sys::Deadline::PAST.is_past());
    /// ```
    pub const PAST: Self = Self(0);

    /// The point in time that is `timeout` from now; a timeout too long to count, like [`Duration::MAX`], is for ever.
    ///
    /// ```
    /// use std::time::Duration;
    /// let d = polyproc_sys::Deadline::after(Duration::from_millis(1500));
    /// assert!(d.remaining().unwrap() <= Duration::from_millis(1500));
    /// ```
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        match u64::try_from(timeout.as_nanos()) {
            Ok(ns) => Self(now_ns().saturating_add(ns)),
            Err(_) => Self::NEVER,
        }
    }

    /// Whether the point in time has been reached.
    ///
    /// ```
    /// assert!(!polyproc_sys::Deadline::NEVER.is_past());
    /// ```
    #[must_use]
    pub fn is_past(self) -> bool {
        self.0 == 0 || (self != Self::NEVER && now_ns() >= self.0)
    }

    /// The time that is left: `None` for [`Deadline::NEVER`], zero when the deadline is past.
    ///
    /// ```
    /// use std::time::Duration;
    /// assert_eq!(polyproc_sys::Deadline::PAST.remaining(), Some(Duration::ZERO));
    /// ```
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        (self != Self::NEVER).then(|| Duration::from_nanos(self.0.saturating_sub(now_ns())))
    }

    /// The nearer one of two deadlines.
    ///
    /// ```
    /// use polyproc_sys::Deadline;
    /// assert_eq!(Deadline::NEVER.earlier(Deadline::PAST), Deadline::PAST);
    /// ```
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// A duration in the form of a deadline: as if the clock had just started.
    #[cfg(not(polyproc_loom))]
    pub(crate) fn after_zero(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    #[cfg(not(polyproc_loom))]
    pub(crate) fn timespec(self) -> libc::timespec {
        const NS: u64 = 1_000_000_000;
        // Seconds of a u64 of nanoseconds are below 2^35, the rest is below 2^30: both fit an i64.
        libc::timespec { tv_sec: (self.0 / NS).cast_signed(), tv_nsec: (self.0 % NS).cast_signed() }
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, since some point in the past.
///
/// ```
/// use polyproc_sys::deadline::now_ns;
/// let before = now_ns();
/// assert!(now_ns() >= before);
/// ```
///
/// # References
/// * [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html): does not fail for this clock
#[must_use]
#[cfg(not(polyproc_loom))]
pub fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec of this frame that the call may write; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Loom has no time: it stands still.
#[must_use]
#[cfg(polyproc_loom)]
pub fn now_ns() -> u64 {
    1
}
