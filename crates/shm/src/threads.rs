//! The threads of this process that the kernel knows by words in the tables of a named object's family.

use crate::fork_lock::lock;
use polyproc_sys::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};
use std::path::Path;
use std::sync::Mutex;

/// While one of them is there, what is mapped under the tables must stay: the kernel, and the thread, follow the list through it.
///
/// What the tables say is not asked: others can write there.
#[derive(Debug)]
pub(crate) struct Threads {
    ids: Mutex<Vec<u32>>,
    /// Not 0 if one could not be noted.
    lost: AtomicU32,
}

impl Threads {
    pub(crate) const fn new() -> Self {
        Self { ids: Mutex::new(Vec::new()), lost: AtomicU32::new(0) }
    }

    /// The thread is about to link a word of the tables.
    pub(crate) fn enter(&self, id: u32) {
        match lock(&self.ids) {
            Some(mut ids) => ids.push(id),
            None => self.lost.store(1, Release),
        }
    }

    /// The thread has taken one word out again.
    pub(crate) fn leave(&self, id: u32) {
        if let Some(mut ids) = lock(&self.ids)
            && let Some(i) = ids.iter().position(|&other| other == id)
        {
            ids.swap_remove(i);
        }
    }

    /// Whether all have left or ended: then none will be noted, either, while this process does not use the family.
    pub(crate) fn are_gone(&self) -> bool {
        let Some(mut ids) = lock(&self.ids) else { return false };
        // A thread leaves this folder when the kernel has been through its list.
        let tasks = Path::new("/proc/self/task");
        if !ids.is_empty() && tasks.is_dir() {
            ids.retain(|id| tasks.join(id.to_string()).exists());
        }
        ids.is_empty() && self.lost.load(Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Threads;
    use polyproc_sys::robust::thread_id;

    #[test]
    fn a_thread_is_there_until_it_leaves_or_ends() {
        let threads = Threads::new();
        threads.enter(thread_id());
        threads.enter(thread_id());
        assert!(!threads.are_gone());
        threads.leave(thread_id());
        assert!(!threads.are_gone(), "it has another word");
        threads.leave(thread_id());
        assert!(threads.are_gone());
        std::thread::scope(|scope| scope.spawn(|| threads.enter(thread_id())).join().unwrap());
        while !threads.are_gone() {} // `join` returns a moment before the kernel is through
    }
}
