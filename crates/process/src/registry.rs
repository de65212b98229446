//! The children of this process whose death has not been noticed yet.

use crate::child::Child;
use crate::process::Process;
use polyproc_sys::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static CHILDREN: Mutex<Children> = Mutex::new(Children { parent: 0, list: Vec::new() });
static COUNT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Children {
    /// Whose children these are: a fork of that process has none of them.
    parent: u32,
    list: Vec<Arc<Child>>,
}

fn children() -> MutexGuard<'static, Children> {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    let me = std::process::id();
    if children.parent != me {
        children.parent = me;
        core::mem::forget(core::mem::take(&mut children.list)); // the parent's, which still needs what they own
    }
    children
}

/// The number of the next child, for its name.
pub(crate) fn next_number() -> u32 {
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

pub(crate) fn add(child: &Arc<Child>) {
    children().list.push(Arc::clone(child));
}

pub(crate) fn remove(pid: u32) {
    let mut children = children();
    if let Some(i) = children.list.iter().position(|c| c.pid() == pid) {
        let gone = children.list.swap_remove(i);
        drop(children);
        drop(gone);
    }
}

/// Reaps the children that have ended and that nobody has a handle of.
pub(crate) fn reap_the_dropped() {
    let dropped: Vec<_> = children().list.iter().filter(|c| Arc::strong_count(c) == 1).cloned().collect();
    for child in dropped {
        child.is_going();
    }
}

/// The children of this process that have not ended, in the order in which they were started.
///
/// Those that have ended are reaped, whether somebody has their handle or not.
///
/// ```
/// use polyproc_process::{Process, active_children};
/// # polyproc_process::init_for_tests!();
///
/// let sleeper = Process::spawn(|| loop { std::thread::park() }, ()).unwrap();
/// assert_eq!(active_children().len(), 1);
/// sleeper.kill().unwrap();
/// sleeper.join().unwrap();
/// assert!(active_children().is_empty());
/// ```
#[must_use]
pub fn active_children() -> Vec<Process> {
    let all = children().list.clone();
    let mut active: Vec<_> = all.into_iter().filter(|c| c.is_going()).collect();
    active.sort_by_key(|c| c.number());
    active.into_iter().map(Process::of).collect()
}
