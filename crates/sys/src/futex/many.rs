//! Sleeping on several words at once.

use super::{Futex, Wait, WideFutex, linux};
use crate::Deadline;
use crate::atomic::AtomicU32;
use core::marker::PhantomData;
use core::time::Duration;

/// A word to sleep on, and the value that it must have for that: [`wait_many`].
///
/// ```
/// use polyproc_sys::futex::Futex;
/// let word = Futex::new(3);
/// let watch = word.watch(3);
/// # let _ = watch;
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Watch<'a> {
    expected: u64,
    word: u64,
    flags: u32,
    reserved: u32,
    _word: PhantomData<&'a AtomicU32>,
}

#[cfg(target_endian = "little")]
const _: () = assert!(size_of::<Watch<'_>>() == 24, "the kernel's struct futex_waitv");

/// Words that are slept on at most; the kernel takes no more.
const MOST: usize = 128;
/// `FUTEX2_SIZE_U32`, without `FUTEX2_PRIVATE`.
const SHARED_U32: u32 = 2;
/// How long a sleep lasts at most if it is not on all words.
const SLICE: Duration = Duration::from_millis(1);

impl Watch<'_> {
    fn new(word: *const AtomicU32, expected: u32) -> Self {
        let word = word.expose_provenance() as u64; // only an address for the kernel, which checks it
        Self { expected: expected.into(), word, flags: SHARED_U32, reserved: 0, _word: PhantomData }
    }
}

impl Futex {
    /// This word, to sleep on while it holds `expected`.
    ///
    /// ```
    /// use polyproc_sys::{Deadline, futex::{Futex, Wait, wait_many}};
    /// assert_eq!(wait_many(&[Futex::new(1).watch(0)], Deadline::NEVER), Wait::Changed);
    /// ```
    #[must_use]
    pub fn watch(&self, expected: u32) -> Watch<'_> {
        Watch::new(&raw const **self, expected)
    }
}

impl WideFutex {
    /// This word, to sleep on while its upper half is that of `expected`.
    ///
    /// ```
    /// use polyproc_sys::{Deadline, futex::{Wait, WideFutex, wait_many}};
    /// assert_eq!(wait_many(&[WideFutex::new(1 << 62).watch(0)], Deadline::NEVER), Wait::Changed);
    /// ```
    #[must_use]
    pub fn watch(&self, expected: u64) -> Watch<'_> {
        Watch::new(self.word(), (expected >> 32) as u32)
    }
}

/// Sleeps while all words hold what is expected of them, until somebody wakes one of any class or the deadline comes.
///
/// As [`super::wait`] it may come back early. [`Wait::TimedOut`] means that no wake-up was consumed; any other answer,
/// that one may have been, of any of the words, and of several. Of more than 128 words the first are slept on, for 1 ms
/// at a time; where the kernel has no such call (before 5.16, a seccomp filter), the first word alone.
///
/// ```
/// use polyproc_sys::{Deadline, futex::{Futex, Wait, wait_many}};
/// let (a, b) = (Futex::new(1), Futex::new(2));
/// assert_eq!(wait_many(&[a.watch(1), b.watch(2)], Deadline::PAST), Wait::TimedOut);
/// assert_eq!(wait_many(&[a.watch(1), b.watch(3)], Deadline::NEVER), Wait::Changed);
/// ```
///
/// # References
/// * [futex_waitv](https://docs.kernel.org/userspace-api/futex2.html): absolute time on CLOCK_MONOTONIC; EAGAIN =
///   [`Wait::Changed`], EINTR = [`Wait::Interrupted`], ETIMEDOUT = [`Wait::TimedOut`]
#[must_use]
pub fn wait_many(words: &[Watch<'_>], deadline: Deadline) -> Wait {
    let some = &words[..words.len().min(MOST)];
    let until = if words.len() > MOST { deadline.earlier(Deadline::after(SLICE)) } else { deadline };
    let time = until.timespec();
    let limit = if until == Deadline::NEVER { core::ptr::null() } else { &raw const time };
    // SAFETY: `some` is as many structs as the call is told, in the kernel's layout; it reads them, checks the words'
    // addresses itself (EFAULT) and only reads there; `limit` is null or a timespec of this frame.
    let r =
        unsafe { libc::syscall(libc::SYS_futex_waitv, some.as_ptr(), some.len(), 0_u32, limit, libc::CLOCK_MONOTONIC) };
    if r >= 0 {
        return Wait::Woken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => Wait::TimedOut,
        Some(libc::EINTR) => Wait::Interrupted,
        Some(libc::EAGAIN) => Wait::Changed,
        _ => wait_for_first(words, deadline.earlier(Deadline::after(SLICE))),
    }
}

#[cold]
fn wait_for_first(words: &[Watch<'_>], deadline: Deadline) -> Wait {
    let resting = AtomicU32::new(0);
    let (word, expected) = words.first().map_or((&raw const resting, 0), |w| {
        let address = usize::try_from(w.word).unwrap_or(0);
        (core::ptr::with_exposed_provenance(address), u32::try_from(w.expected).unwrap_or(0)) // 32 bits it was
    });
    linux::wait(word, expected, deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering::SeqCst;

    #[test]
    fn whichever_word_is_woken_ends_the_sleep() {
        for which in 0..3 {
            let words = [const { Futex::new(0) }; 3];
            std::thread::scope(|s| {
                s.spawn(|| {
                    words[which].store(1, SeqCst);
                    Futex::wake(&raw const words[which], 1);
                });
                while words.iter().all(|w| w.load(SeqCst) == 0) {
                    let _ = wait_many(&[words[0].watch(0), words[1].watch(0), words[2].watch(0)], Deadline::NEVER);
                }
            });
        }
    }

    #[test]
    fn more_words_than_the_kernel_takes_and_none_are_slept_on_in_slices() {
        let words: Vec<Futex> = (0..MOST + 1).map(|_| Futex::new(0)).collect();
        let watches: Vec<_> = words.iter().map(|w| w.watch(0)).collect();
        assert_eq!(wait_many(&watches, Deadline::NEVER), Wait::TimedOut);
        assert_eq!(wait_many(&[], Deadline::NEVER), Wait::TimedOut);
    }

    #[test]
    fn a_kernel_without_the_call_sleeps_on_the_first_word() {
        let (first, second) = (Futex::new(0), Futex::new(0));
        let watches = [first.watch(0), second.watch(0)];
        assert_eq!(wait_for_first(&watches, Deadline::after(SLICE)), Wait::TimedOut);
        first.store(1, SeqCst);
        assert_eq!(wait_for_first(&watches, Deadline::NEVER), Wait::Changed);
    }
}
