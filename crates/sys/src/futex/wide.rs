//! A futex word that is one half of 64 bits, which change as one.

use super::{Wait, linux};
use crate::Deadline;
use crate::atomic::AtomicU64;

/// 64 bits of which the upper half is a word to sleep on: who changes them wakes or lets sleep by one atomic operation.
///
/// The kernel compares the upper half alone: what shall keep others from falling asleep must change it.
///
/// ```
/// use polyproc_sys::{Deadline, futex::{Wait, WideFutex}};
/// let wide = WideFutex::new(1 << 62 | 5);
/// assert_eq!(wide.wait(0, Deadline::NEVER), Wait::Changed);
/// assert_eq!(wide.wait(1 << 62, Deadline::PAST), Wait::TimedOut); // whatever the lower half is
/// ```
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct WideFutex(AtomicU64);

#[cfg(not(target_endian = "little"))]
compile_error!("the upper half is taken to lie at the higher address");

impl WideFutex {
    /// The bits `value`.
    ///
    /// ```
    /// use polyproc_sys::{atomic::Ordering::Relaxed, futex::WideFutex};
    /// assert_eq!(WideFutex::new(3).load(Relaxed), 3);
    /// ```
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// The word to sleep on, as an address for [`crate::robust`]; its bytes are never accessed by 32 bits but by the
    /// kernel.
    ///
    /// ```
    /// use polyproc_sys::futex::WideFutex;
    /// let wide = WideFutex::new(0);
    /// assert_eq!(wide.word().addr(), (&raw const wide).addr() + 4);
    /// ```
    #[must_use]
    #[inline]
    pub fn word(&self) -> *const crate::atomic::AtomicU32 {
        (&raw const self.0).wrapping_byte_add(4).cast()
    }

    /// Sleeps while the upper half is that of `expected`, as [`super::wait`] does.
    ///
    /// ```
    /// use polyproc_sys::{Deadline, futex::{Wait, WideFutex}};
    /// assert_eq!(WideFutex::new(0).wait(0, Deadline::PAST), Wait::TimedOut);
    /// ```
    ///
    /// # References
    /// As [`super::wait`].
    pub fn wait(&self, expected: u64, deadline: Deadline) -> Wait {
        linux::wait(self.word(), (expected >> 32) as u32, deadline)
    }

    /// Wakes all who sleep at `this`, which need not be there any more, and says how many there were.
    /// Async-signal-safe.
    ///
    /// ```
    /// use polyproc_sys::futex::WideFutex;
    /// assert_eq!(WideFutex::wake_all(&raw const *Box::new(WideFutex::new(0))), 0);
    /// ```
    ///
    /// # References
    /// As [`super::wake`].
    pub fn wake_all(this: *const Self) -> u32 {
        linux::wake(this.wrapping_byte_add(4).cast(), u32::MAX)
    }
}

impl core::ops::Deref for WideFutex {
    type Target = AtomicU64;

    #[inline]
    fn deref(&self) -> &AtomicU64 {
        &self.0
    }
}
