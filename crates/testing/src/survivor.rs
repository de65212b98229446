//! Survivors: forked processes that live beside a victim, sleep where it should have woken them, and must be able to
//! go on.
//!
//! Harness and survivor talk bytes over a socket pair, so that a scenario can wait for "I hold the lock" instead of
//! sleeping.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::fork::{exit_code, fork, kill_and_reap, reap};
use crate::{proc, watchdog};

/// The survivor's end of the talk with the harness.
#[derive(Debug)]
pub struct Control {
    line: UnixStream,
}

impl Control {
    /// Says one byte to the harness.
    ///
    /// # Panics
    /// If the harness is gone.
    ///
    /// # Examples
    /// See [`Survivor::fork`].
    pub fn say(&self, byte: u8) {
        (&self.line).write_all(&[byte]).expect("the harness lives");
    }

    /// Waits for one byte of the harness.
    ///
    /// # Panics
    /// If the harness is gone or has dropped the survivor.
    ///
    /// # Examples
    /// See [`Survivor::fork`].
    #[must_use]
    pub fn hear(&self) -> u8 {
        let mut byte = [0];
        (&self.line).read_exact(&mut byte).expect("the harness lives");
        byte[0]
    }
}

/// A forked process that runs a closure. Killed and reaped on drop.
pub struct Survivor {
    pid: i32,
    line: UnixStream,
    ended: bool,
}

impl fmt::Debug for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Survivor({})", proc::describe(self.pid))
    }
}

impl Survivor {
    /// Forks a process that runs `body` and ends by `_exit`: 0, or 101 if `body` panicked. It is killed when the
    /// harness dies.
    ///
    /// # Panics
    /// If this process has other threads, or fork fails.
    ///
    /// # Examples
    /// ```
    /// use polyproc_testing::Survivor;
    /// use std::time::Duration;
    /// let limit = Duration::from_secs(10);
    /// let survivor = Survivor::fork(|control| {
    ///     control.say(b'r');
    ///     assert_eq!(control.hear(), b'g');
    /// });
    /// assert_eq!(survivor.hear(limit), b'r');
    /// survivor.say(b'g');
    /// assert_eq!(survivor.finish(limit), 0);
    /// ```
    #[must_use]
    pub fn fork(body: impl FnOnce(Control)) -> Self {
        let (mine, theirs) = UnixStream::pair().expect("a socket pair");
        let here = mine.as_raw_fd();
        let pid = fork(|| {
            // SAFETY: the child's copy of the harness's end, which nothing in the child uses; the parent keeps its own.
            drop(unsafe { OwnedFd::from_raw_fd(here) });
            body(Control { line: theirs });
        });
        watchdog::show(pid);
        Self { pid, line: mine, ended: false }
    }

    /// The process id.
    ///
    /// ```
    /// let survivor = polyproc_testing::Survivor::fork(|_| ());
    /// assert!(survivor.pid() > 1);
    /// ```
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Says one byte to the survivor.
    ///
    /// # Panics
    /// If the survivor is gone.
    ///
    /// # Examples
    /// See [`Survivor::fork`].
    pub fn say(&self, byte: u8) {
        if let Err(error) = (&self.line).write_all(&[byte]) {
            panic!("survivor does not listen: {error}: {self:?}");
        }
    }

    /// Waits for one byte of the survivor.
    ///
    /// # Panics
    /// If the survivor says nothing for `limit`, or has ended.
    ///
    /// # Examples
    /// See [`Survivor::fork`].
    #[must_use]
    pub fn hear(&self, limit: Duration) -> u8 {
        let mut byte = [0];
        self.line.set_read_timeout(Some(limit)).expect("limit is not zero");
        loop {
            match (&self.line).read(&mut byte) {
                Ok(1) => return byte[0],
                Ok(_) => panic!("survivor has ended: {self:?}"),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("survivor says nothing for {limit:?}: {error}: {self:?}"),
            }
        }
    }

    /// Whether the survivor sleeps in a futex call. May be out of date by the time you look.
    ///
    /// ```
    /// let survivor = polyproc_testing::Survivor::fork(|control| { let _ = control.hear(); });
    /// assert!(!survivor.is_asleep()); // it waits for a byte, not in a futex call
    /// ```
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        proc::state(self.pid) == Some('S') && proc::in_futex(self.pid) != Some(false)
    }

    /// Whether the survivor has come to its end. Once `true` it stays so.
    ///
    /// ```
    /// let survivor = polyproc_testing::Survivor::fork(|control| { let _ = control.hear(); });
    /// assert!(!survivor.has_ended());
    /// survivor.say(1);
    /// while !survivor.has_ended() {}
    /// ```
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(proc::state(self.pid), None | Some('Z' | 'X'))
    }

    /// Waits until the survivor sleeps in a futex call.
    ///
    /// # Panics
    /// If it does not within `limit`.
    ///
    /// # Examples
    /// ```
    /// use polyproc_testing::Survivor;
    /// use std::time::Duration;
    /// let survivor = Survivor::fork(|_| {
    ///     let lock = std::sync::Mutex::new(());
    ///     let held = lock.lock();
    ///     let never = std::sync::Condvar::new().wait(held.unwrap());
    ///     drop(never);
    /// });
    /// survivor.wait_until_asleep(Duration::from_secs(10));
    /// assert!(survivor.is_asleep());
    /// ```
    pub fn wait_until_asleep(&self, limit: Duration) {
        let started = Instant::now();
        while !self.is_asleep() {
            assert!(started.elapsed() < limit, "survivor does not fall asleep within {limit:?}: {self:?}");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Waits until the survivor ends: its exit code, or the negative number of the signal that killed it.
    ///
    /// # Panics
    /// If it does not end within `limit`; the survivor is killed then.
    ///
    /// # Examples
    /// ```
    /// use polyproc_testing::Survivor;
    /// let survivor = Survivor::fork(|_| panic!("prints this and exits with code 101"));
    /// assert_eq!(survivor.finish(std::time::Duration::from_secs(10)), 101);
    /// ```
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> i32 {
        let started = Instant::now();
        loop {
            if let Some(status) = reap(self.pid, libc::WNOHANG) {
                self.ended = true;
                return exit_code(status);
            }
            let elapsed = started.elapsed();
            assert!(elapsed < limit, "survivor does not end within {limit:?}: {self:?}");
            // At first often: most survivors are about to end.
            std::thread::sleep((elapsed / 4).clamp(Duration::from_micros(20), Duration::from_millis(2)));
        }
    }
}

impl Drop for Survivor {
    fn drop(&mut self) {
        if !self.ended {
            kill_and_reap(self.pid);
        }
        watchdog::hide(self.pid);
    }
}
