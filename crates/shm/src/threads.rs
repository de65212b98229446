//! The threads of this process that the kernel knows by words in the tables of a named object's family.

use polyproc_sys::liveness::is_own_thread;
use polyproc_sys::per_process::PerProcess;

/// While one of them is there, the tables must stay mapped: the kernel, and the thread, follow the list through them.
///
/// What the tables say is not asked: others can write there. In a forked child no thread of its parent is there.
#[derive(Debug)]
pub(crate) struct Threads(PerProcess<Vec<u32>>);

impl Threads {
    pub(crate) const fn new() -> Self {
        Self(PerProcess::new())
    }

    /// The thread is about to link a word of the tables.
    pub(crate) fn enter(&'static self, id: u32) {
        self.0.lock().push(id);
    }

    /// The thread has taken one word out again.
    pub(crate) fn leave(&'static self, id: u32) {
        let mut ids = self.0.lock();
        if let Some(i) = ids.iter().position(|&other| other == id) {
            ids.swap_remove(i);
        }
    }

    /// Whether all have left or ended. The kernel forgets a thread's number after it has been through its list.
    pub(crate) fn are_gone(&'static self) -> bool {
        let mut ids = self.0.lock();
        ids.retain(|&id| is_own_thread(id));
        ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Threads;
    use polyproc_sys::robust::thread_id;

    #[test]
    fn a_thread_is_there_until_it_leaves_or_ends() {
        static THREADS: Threads = Threads::new();
        let threads = &THREADS;
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
