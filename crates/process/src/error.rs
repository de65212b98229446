//! What can go wrong with processes and the functions that they run.

use polyproc_shm::{MessageError, ShmError};
use polyproc_sys::SysError;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// An operation on a process that failed.
///
/// ```standalone_crate
/// use polyproc_process::{Process, ProcessError};
///
/// fn work() {}
/// // This program does not call `polyproc::init()`:
/// let error = Process::spawn(work, ()).unwrap_err();
/// assert!(matches!(error, ProcessError::NotInitialised));
/// assert!(error.to_string().contains("init()"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program has not called [`init`](crate::init), without which a child would run `main` instead of its work.
    #[error("this program cannot start processes: put polyproc::init() first in main (init_for_tests!() into a test)")]
    NotInitialised,
    /// The function is a closure that captures a value as large as a pointer; nothing that it captures would exist in
    /// the child. (Captures of other sizes are refused by the compiler.)
    #[error("{function} captures a value, which does not travel to another process: pass it as an argument")]
    Captures {
        /// The type of the closure.
        function: &'static str,
    },
    /// The function's code does not lie in the program itself but in a shared library, which each process loads
    /// somewhere else.
    #[error("the code of {function} is not part of the program's own file: call it from a function of the program")]
    NotInProgram {
        /// The type of the function.
        function: &'static str,
    },
    /// The child's name or a variable of its environment holds a NUL character, with which no process can start.
    #[error("the {0} of a child process holds a NUL character: leave it out")]
    Nul(&'static str),
    /// The arguments could not be encoded, or there is no memory for them.
    #[error("the arguments cannot be sent: {0}")]
    Arguments(#[from] MessageError),
    /// The family's memory failed.
    #[error(transparent)]
    Memory(#[from] ShmError),
    /// The operating system refused something: too many processes or descriptors, say.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The child ended, or was ended, before its function ran.
    #[error("child process {pid} did not start its work: {} ({})", why_text(*why, *status), status_text(*status))]
    ChildDidNotStart {
        /// The child.
        pid: u32,
        /// How the child ended.
        status: Option<ExitStatus>,
        /// What kept it.
        why: NotStarted,
    },
    /// The child has ended, and how is not known: the program ignores SIGCHLD, or reaps children by itself, on a Linux
    /// before 6.15, and the child did not end by returning from its function.
    #[error("child process {pid} has ended, its status was taken by somebody else: is SIGCHLD ignored?")]
    StatusUnknown {
        /// The child.
        pid: u32,
    },
    /// This process is a fork of the one that started the child: it cannot wait for it.
    #[error("process {pid} is not a child of this process: only the process that started it can wait for it")]
    NotOurChild {
        /// The process.
        pid: u32,
    },
}

/// A child that a signal ended cannot be blamed for what it did not call.
fn why_text(why: NotStarted, status: Option<ExitStatus>) -> String {
    match (why, status.and_then(|s| s.signal())) {
        (NotStarted::Ended, Some(_)) => "it was killed before it came to init()".to_owned(),
        _ => why.to_string(),
    }
}

fn status_text(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "status unknown".into(), |s| s.to_string())
}

/// Why a child ended before its function ran.
///
/// ```
/// use polyproc_process::NotStarted;
/// assert!(NotStarted::Ended.to_string().contains("init()"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotStarted {
    /// It ended by itself, or was killed, before it came to [`init`](crate::init): it may have run all of `main`.
    Ended,
    /// It did not come to [`init`](crate::init) in time, and was killed.
    TimedOut,
    /// It could not join the family: it runs in another pid or time namespace, or had no memory or descriptors for it.
    NoFamily,
    /// It could not bind its life to this process: it has no `/proc`, no descriptors, or may not open this process's pipe
    /// since it runs as another user.
    NoLifeline,
    /// It did not find the function: the family's memory was damaged.
    NoFunction,
    /// It could not decode the arguments: their `Serialize` and `Deserialize` do not agree, or there was no memory.
    BadArguments,
}

impl core::fmt::Display for NotStarted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Ended => "it ended before it called init(), which belongs first in main",
            Self::TimedOut => "it did not call init() in time, which belongs first in main",
            Self::NoFamily => {
                "it could not join the family's memory: is it in another pid or time namespace, or short of address space?"
            }
            Self::NoLifeline => "it could not open the pipe that ends it with its parent: does it run as another user?",
            Self::NoFunction => "it did not find its function: the family's memory was written over",
            Self::BadArguments => {
                "it could not decode its arguments, why is on its standard error: Serialize and Deserialize must agree, \
                 without untagged, flatten or tag, and what has a name must not be unlinked"
            }
        })
    }
}

/// A call of a [`FnRef`](crate::function::FnRef) that gave no result.
///
/// ```
/// let error = polyproc_process::CallError::Panicked { message: "no such file".into() };
/// assert_eq!(error.to_string(), "the function panicked: no such file");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The function panicked; the panic hook has run.
    #[error("the function panicked: {message}")]
    Panicked {
        /// What it said; empty if that was no text.
        message: String,
    },
    /// The arguments could not be decoded.
    #[error("the arguments cannot be decoded: {0}")]
    Undecodable(MessageError),
    /// The result could not be encoded, or there is no memory for it.
    #[error("the result cannot be sent: {0}")]
    Unencodable(MessageError),
    /// There is no such function in the family's table, because the reference was damaged; or no family.
    #[error(transparent)]
    Unknown(#[from] ShmError),
}
