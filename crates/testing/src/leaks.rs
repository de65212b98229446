//! What a test leaves behind: children, open file descriptors, entries of `/dev/shm`.
//!
//! Meant for tests that have the process for themselves ([`crate::runner`], [`crate::reexec`]): descriptors and
//! children of tests beside would be found as well. `/dev/shm` belongs to the whole machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use crate::proc;

/// How long [`LeakCheck::finish`] waits for what is just ending.
const SETTLE: Duration = Duration::from_secs(2);

/// What there was before a test.
#[derive(Debug)]
pub struct LeakCheck {
    before: Inventory,
}

/// What a test left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaks {
    /// Children of this process, with the state they are in; a zombie is a leak too.
    pub children: Vec<String>,
    /// File descriptors: `7 -> /memfd:polyproc (deleted)`.
    pub files: Vec<String>,
    /// Names in `/dev/shm`.
    pub shm: Vec<String>,
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { children, files, shm } = self;
        write!(f, "left behind: children {children:?}, file descriptors {files:?}, /dev/shm {shm:?}")
    }
}

impl std::error::Error for Leaks {}

impl LeakCheck {
    /// Notes what there is now.
    ///
    /// ```
    /// use polyproc_testing::LeakCheck;
    /// let check = LeakCheck::start();
    /// let file = std::fs::File::open("/proc/self/stat").unwrap();
    /// let leaks = check.finish().unwrap_err();
    /// assert_eq!(leaks.files.len(), 1);
    /// drop(file);
    /// ```
    #[must_use]
    pub fn start() -> Self {
        Self { before: Inventory::take() }
    }

    /// Compares with what there is now, waiting up to two seconds for what is just ending.
    ///
    /// # Errors
    /// [`Leaks`] lists what is new.
    ///
    /// # Examples
    /// ```
    /// let check = polyproc_testing::LeakCheck::start();
    /// assert!(check.finish().is_ok());
    /// ```
    pub fn finish(self) -> Result<(), Leaks> {
        let started = Instant::now();
        loop {
            let leaks = Inventory::take().beyond(&self.before);
            if leaks.children.is_empty() && leaks.files.is_empty() && leaks.shm.is_empty() {
                return Ok(());
            }
            if started.elapsed() > SETTLE {
                return Err(leaks);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[derive(Debug)]
struct Inventory {
    children: BTreeSet<i32>,
    files: BTreeMap<String, String>,
    shm: BTreeSet<String>,
}

impl Inventory {
    fn take() -> Self {
        let me = i32::try_from(std::process::id()).expect("process ids are small");
        // All of /proc, as the list of children in /proc/self/task is a kernel option.
        let pids = names("/proc").into_iter().filter_map(|name| name.parse::<i32>().ok());
        let children =
            pids.filter(|&pid| proc::state_and_parent(pid).is_some_and(|(_, parent)| parent == me)).collect();
        // The descriptor that lists the directory is closed by now: its link cannot be read.
        let files = names("/proc/self/fd").into_iter().filter_map(|fd| {
            let target = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some((fd, target.to_string_lossy().into_owned()))
        });
        Self { children, files: files.collect(), shm: names("/dev/shm").into_iter().collect() }
    }

    fn beyond(&self, before: &Self) -> Leaks {
        let files = self.files.iter().filter(|(fd, target)| before.files.get(*fd) != Some(*target));
        Leaks {
            children: self.children.difference(&before.children).map(|&pid| proc::describe(pid)).collect(),
            files: files.map(|(fd, target)| format!("{fd} -> {target}")).collect(),
            shm: self.shm.difference(&before.shm).cloned().collect(),
        }
    }
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
