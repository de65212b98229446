//! The handle of a child process.

use crate::builder::Builder;
use crate::callable::Function;
use crate::child::Child;
use crate::error::ProcessError;
use crate::{keeper, registry};
use core::time::Duration;
use polyproc_sync::Waitable;
use polyproc_sync::raw::gate::Armed;
use polyproc_sys::Deadline;
use polyproc_sys::futex::Watch;
use polyproc_sys::process::{SIGKILL, SIGTERM};
use serde::{Serialize, de::DeserializeOwned};
use std::os::fd::BorrowedFd;
use std::process::{ExitStatus, Termination};
use std::sync::Arc;

/// A child process.
///
/// A handle: clones name the same child, and any thread may use any of them. Dropping all leaves the child running.
///
/// # Examples
/// ```
/// use polyproc_process::Process;
/// use std::os::unix::process::ExitStatusExt;
/// # polyproc_process::init_for_tests!();
///
/// let child = Process::spawn(|seconds| std::thread::sleep(std::time::Duration::from_secs(seconds)), (3600u64,))?;
/// assert!(child.is_alive());
/// child.terminate()?;
/// assert_eq!(child.join()?.signal(), Some(15));
/// assert!(!child.is_alive());
/// # Ok::<(), polyproc_process::ProcessError>(())
/// ```
#[must_use = "a child that nobody joins ends when this process does, whatever it is at"]
#[derive(Clone)]
pub struct Process {
    child: Arc<Child>,
}

impl Process {
    /// Starts a process that calls `f` with the elements of the tuple `args`.
    ///
    /// Returns when the system has loaded the program, before the child runs its function: see
    /// [`Process::started`].
    ///
    /// `f` is a function, a closure that captures nothing, or a `fn` pointer; see [`Function`]. The arguments
    /// are encoded here and now. Shared objects of polyproc among them stay shared; all else is copied.
    ///
    /// # Errors
    /// * [`ProcessError::NotInitialised`] if the program did not call [`init`](crate::init).
    /// * [`ProcessError::Captures`] if `f` is a closure that captures something of the size of a pointer.
    /// * [`ProcessError::Arguments`], [`ProcessError::Memory`] if the arguments cannot be encoded or there is no memory.
    /// * [`ProcessError::Sys`] if there is no process to be had.
    ///
    /// # Examples
    /// ```
    /// use polyproc_process::Process;
    /// use std::process::ExitCode;
    /// # polyproc_process::init_for_tests!();
    ///
    /// fn add(a: u8, b: u8) -> ExitCode {
    ///     ExitCode::from(a + b)
    /// }
    /// let child = Process::spawn(add, (2, 3))?;
    /// assert_eq!(child.join()?.code(), Some(5));
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    ///
    /// Captures do not travel, and the compiler says so:
    ///
    /// ```compile_fail
    /// # use polyproc_process::Process;
    /// let (a, b) = (1u64, 2u64);
    /// let _ = Process::spawn(move || println!("{a} {b}"), ());
    /// ```
    pub fn spawn<A, F>(f: F, args: A) -> Result<Self, ProcessError>
    where
        F: Function<A>,
        F::Output: Termination,
        A: Serialize + DeserializeOwned + 'static,
    {
        Self::builder().spawn(f, args)
    }

    /// Starts a process with a name, variables, or another deadline.
    ///
    /// ```
    /// use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::builder().name("anna").spawn(|| {}, ())?;
    /// assert_eq!(child.name(), "anna");
    /// # child.join()?;
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn of(child: Arc<Child>) -> Self {
        Self { child }
    }

    /// The child's process id; somebody else's once the child has been joined.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| {}, ())?;
    /// assert_ne!(child.pid(), std::process::id());
    /// # child.join()?;
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The child's name: `Process-3` for the third one of the program, if the builder gave no other.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| {}, ())?;
    /// assert_eq!(child.name(), "Process-1");
    /// # child.join()?;
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// Whether the child has not ended; may have ended by the time you look. Once `false` it stays `false`.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| loop { std::thread::park() }, ())?;
    /// assert!(child.is_alive());
    /// child.kill()?;
    /// child.join()?;
    /// assert!(!child.is_alive());
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.child.is_going()
    }

    /// Waits until the child has come to its work, at most for `timeout`: `true` if it has, `false` if it is still
    /// being loaded.
    ///
    /// # Errors
    /// [`ProcessError::ChildDidNotStart`] if it has ended before, or did not come to [`init`](crate::init) in the time
    /// that the builder gave it.
    ///
    /// # Examples
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| {}, ())?;
    /// assert!(child.started(std::time::Duration::MAX)?);
    /// # child.join()?;
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    pub fn started(&self, timeout: Duration) -> Result<bool, ProcessError> {
        self.child.started(Deadline::after(timeout))
    }

    /// Waits until the child has ended and returns its status. Any number of threads may, at any time, and all get it.
    ///
    /// # Errors
    /// * [`ProcessError::ChildDidNotStart`] if it ended before its function ran, unless this process ended it by
    ///   [`Process::kill`] or [`Process::terminate`].
    /// * [`ProcessError::StatusUnknown`], [`ProcessError::NotOurChild`].
    ///
    /// # Examples
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| -> Result<(), String> { Err("no luck".into()) }, ())?;
    /// assert_eq!(child.join()?.code(), Some(1));
    /// let child = Process::spawn(|| -> () { panic!("very bad luck") }, ())?;
    /// assert_eq!(child.join()?.code(), Some(101));
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    pub fn join(&self) -> Result<ExitStatus, ProcessError> {
        loop {
            if let Some(status) = self.child.join(Deadline::NEVER)? {
                return Ok(status);
            }
        }
    }

    /// Waits like [`Process::join`], at most for `timeout`; `None` if the child is still at work then.
    ///
    /// # Errors
    /// As [`Process::join`].
    ///
    /// # Examples
    /// ```
    /// # use polyproc_process::Process;
    /// # use std::time::Duration;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| loop { std::thread::park() }, ())?;
    /// assert_eq!(child.join_timeout(Duration::from_millis(5))?, None);
    /// child.kill()?;
    /// assert!(child.join_timeout(Duration::MAX)?.is_some());
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.join(Deadline::after(timeout))
    }

    /// The child's status if it has ended and the status is known.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| {}, ())?;
    /// child.join()?;
    /// assert!(child.exit_status().unwrap().success());
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// Asks the child to end, with SIGTERM; it ends at once unless it handles that. Nothing happens if it has ended.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # use std::os::unix::process::ExitStatusExt;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| loop { std::thread::park() }, ())?;
    /// child.terminate()?;
    /// assert_eq!(child.join()?.signal(), Some(15));
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    ///
    /// # Errors
    /// [`ProcessError::Sys`] if the child has become another user's.
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.child.signal(SIGTERM)
    }

    /// Ends the child at once, with SIGKILL. Nothing happens if it has ended.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # use std::os::unix::process::ExitStatusExt;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| loop { std::thread::park() }, ())?;
    /// child.kill()?;
    /// assert_eq!(child.join()?.signal(), Some(9));
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Process::terminate`].
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.child.signal(SIGKILL)
    }

    /// A descriptor that becomes readable when the child has ended: a pidfd, for `poll` and event loops. Do not read it.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// use std::os::fd::AsRawFd;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::spawn(|| {}, ())?;
    /// assert!(child.sentinel().as_raw_fd() > 2);
    /// # child.join()?;
    /// # Ok::<(), polyproc_process::ProcessError>(())
    /// ```
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.child.sentinel()
    }
}

/// Ready when the child has ended, which [`Process::join`] then says at once.
///
/// While a thread sleeps in [`wait_any`](polyproc_sync::wait_any()) for a child, another thread of this process watches
/// over all of those children; it has ended when the last of them returns. A child that does not come to its work in time
/// is ended within 100 ms.
impl Waitable for Process {
    fn is_ready(&self) -> bool {
        // The look ends a child that does not come to its work in time; its status may be held up, its end is not.
        !self.child.is_going() || self.child.has_ended()
    }

    fn arm(&self, before: Option<u64>, _woken: bool) -> Armed {
        if self.is_ready() {
            return Armed::Ready;
        }
        if before.is_none() {
            keeper::watch(&self.child);
        }
        Armed::Asleep(0)
    }

    fn watch(&self, _word: u64) -> Watch<'_> {
        self.child.ended.watch(0)
    }

    fn disarm(&self, _word: u64) -> bool {
        keeper::forget(&self.child);
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The registry has one, this handle the other.
        if Arc::strong_count(&self.child) <= 2 && self.child.is_ours() {
            self.child.is_going();
        }
        registry::reap_the_dropped();
    }
}

impl core::fmt::Debug for Process {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Process").field("name", &self.name()).field("pid", &self.pid()).finish_non_exhaustive()
    }
}
