//! An example while it runs, and its processes.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;
use std::{fs, thread};

/// The time between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(2);

/// A started example; killed with its whole group if the test ends before it.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        self.0.id().try_into().expect("process ids are small")
    }

    /// The processes of the example that run, without zombies.
    pub(crate) fn group(&self) -> Vec<i32> {
        processes().into_iter().filter(|(_, p)| p.group == self.pid() && !p.is_over()).map(|(pid, _)| pid).collect()
    }

    /// Its worker processes that run.
    pub(crate) fn workers(&self) -> Vec<i32> {
        processes().into_iter().filter(|(_, p)| p.parent == self.pid() && !p.is_over()).map(|(pid, _)| pid).collect()
    }

    /// Waits until there are as many workers.
    pub(crate) fn wait_for_workers(&mut self, wanted: usize) -> Vec<i32> {
        loop {
            let workers = self.workers();
            if workers.len() >= wanted {
                return workers;
            }
            assert_eq!(self.0.try_wait().unwrap(), None, "the example ended before it had {wanted} workers");
            thread::sleep(LOOK);
        }
    }

    /// Waits until none of its processes runs any more: the watchdog of the test bounds that.
    pub(crate) fn wait_until_all_ended(&self) {
        while !self.group().is_empty() {
            thread::sleep(LOOK);
        }
    }

    /// Sends a signal to the whole group, as a terminal does.
    pub(crate) fn signal_group(&self, signal: i32) {
        kill(-self.pid(), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal_group(libc::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Sends a signal; it does not matter if the process has ended.
pub(crate) fn kill(pid: i32, signal: i32) {
    assert!(pid.unsigned_abs() > 1, "that would hit everybody");
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) };
}

#[derive(Debug)]
struct Stat {
    state: char,
    parent: i32,
    group: i32,
}

impl Stat {
    fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// All processes of the machine: the list of children in `/proc/self/task` is a kernel option.
fn processes() -> BTreeMap<i32, Stat> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may hold spaces and parentheses: what follows the last one counts.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}
