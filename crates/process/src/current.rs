//! Who this process is, among processes.

use std::sync::OnceLock;

/// What the parent told this process; empty in a process that was not spawned by polyproc.
static TOLD: OnceLock<(String, u32)> = OnceLock::new();

/// The running process: its name and its ids.
///
/// ```
/// let me = polyproc_process::current_process();
/// assert_eq!(me.pid(), std::process::id());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentProcess {
    name: String,
    pid: u32,
    parent: Option<u32>,
}

impl CurrentProcess {
    /// The name that the parent gave it, `MainProcess` if no parent did.
    ///
    /// ```
    /// assert_eq!(polyproc_process::current_process().name(), "MainProcess");
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    ///
    /// ```
    /// assert_eq!(polyproc_process::current_process().pid(), std::process::id());
    /// ```
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The process id of the polyproc process that spawned it; `None` in the first process of a family.
    ///
    /// ```
    /// assert_eq!(polyproc_process::current_process().parent_pid(), None);
    /// ```
    #[must_use]
    pub fn parent_pid(&self) -> Option<u32> {
        self.parent
    }
}

/// The running process.
///
/// ```
/// use polyproc_process::{Process, current_process};
/// use std::process::ExitCode;
/// # polyproc_process::init_for_tests!();
///
/// fn child(parent: u32) -> ExitCode {
///     let me = current_process();
///     ExitCode::from(u8::from(me.name() == "anna" && me.parent_pid() == Some(parent)))
/// }
/// let anna = Process::builder().name("anna").spawn(child, (std::process::id(),)).unwrap();
/// assert_eq!(anna.join().unwrap().code(), Some(1));
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    let (name, parent) = match TOLD.get() {
        Some((name, parent)) => (name.clone(), Some(*parent)),
        None => ("MainProcess".to_owned(), None),
    };
    CurrentProcess { name, pid: std::process::id(), parent }
}

/// In a child: what the parent said.
pub(crate) fn told(name: &str, parent: u32) {
    let _ = TOLD.set((name.to_owned(), parent)); // a child is told once
}

/// The name of this process's child number `n`: `Process-3`, and that one's second child `Process-3:2`.
pub(crate) fn name_of_child(n: u32) -> String {
    match TOLD.get() {
        Some((name, _)) => format!("{name}:{n}"),
        None => format!("Process-{n}"),
    }
}
