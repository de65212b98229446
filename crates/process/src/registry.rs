//! The children of this process whose death has not been noticed yet.

use crate::child::Child;
use crate::process::Process;
use crate::tidy;
use polyproc_shm::Family;
use polyproc_sys::atomic::{AtomicU32, Ordering};
use polyproc_sys::per_process::PerProcess;
use std::sync::Arc;

/// A fork of this process has none of them, and leaves them alone: the parent still needs what they own.
static CHILDREN: PerProcess<Vec<Arc<Child>>> = PerProcess::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The number of the next child, for its name.
pub(crate) fn next_number() -> u32 {
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

pub(crate) fn add(child: &Arc<Child>) {
    CHILDREN.lock().push(Arc::clone(child));
}

/// Removes this very child: once it is reaped, its number may be that of the next one.
pub(crate) fn remove(child: &Child) {
    let mut children = CHILDREN.lock();
    if let Some(i) = children.iter().position(|c| core::ptr::eq(Arc::as_ptr(c), child)) {
        let gone = children.swap_remove(i);
        drop(children);
        drop(gone);
    }
}

/// How many of the children are registered with the family.
pub(crate) fn registered(family: &Family) -> u32 {
    let all = CHILDREN.lock().clone();
    let registered = all.iter().filter(|c| c.process().is_some_and(|p| family.is_registered(p)));
    u32::try_from(registered.count()).unwrap_or(u32::MAX)
}

/// Reaps the children that have ended and that nobody has a handle of, and clears up what is left of others.
pub(crate) fn reap_the_dropped() {
    let dropped: Vec<_> = CHILDREN.lock().iter().filter(|c| Arc::strong_count(c) == 1).cloned().collect();
    for child in dropped {
        child.is_going();
    }
    tidy::look_again();
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
    let all = CHILDREN.lock().clone();
    let mut active: Vec<_> = all.into_iter().filter(|c| c.is_going()).collect();
    tidy::look_again();
    active.sort_by_key(|c| c.number());
    active.into_iter().map(Process::of).collect()
}
