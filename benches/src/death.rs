//! From the death of a lock's holder until the next one has the lock.

use crate::page::Page;
use core::time::Duration;
use polyproc::parts::sys::atomic::Ordering::{Acquire, Relaxed, Release};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::parts::sys::robust;
use polyproc::{Lock, Process};

/// Whose holder is killed.
#[derive(Clone, Debug)]
pub enum Dying {
    /// polyproc's lock.
    Polyproc(Lock),
    /// glibc's robust mutex.
    Robust,
}

/// So many times: a process takes the lock and is killed while this one sleeps for it. From just before the kill until this
/// process has the lock.
///
/// # Panics
/// If the death is not told.
#[must_use]
pub fn recoveries(dying: &Dying, n: u64) -> Duration {
    let (page, place) = Page::create();
    (0..n).map(|_| recovery(dying, page, place)).sum()
}

fn recovery(dying: &Dying, page: &'static Page, place: u64) -> Duration {
    page.ping.0.store(0, Relaxed);
    let lock = match dying {
        Dying::Polyproc(lock) => Some(lock.clone()),
        Dying::Robust => None,
    };
    let holder = Process::spawn(hold, (lock, place)).expect("a child process");
    while page.ping.0.load(Acquire) == 0 {
        std::thread::yield_now();
    }
    let sleeper = robust::thread_id();
    let (killed, locked) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            while !sleeps(sleeper) {
                std::thread::yield_now();
            }
            let now = now_ns();
            holder.kill().expect("killed");
            now
        });
        let locked = match dying {
            Dying::Polyproc(lock) => {
                let guard = lock.lock();
                assert!(guard.recovered(), "the death is told");
                now_ns()
            }
            Dying::Robust => {
                page.robust.0.recover();
                now_ns()
            }
        };
        (killer.join().expect("no panic"), locked)
    });
    let _ = holder.join();
    Duration::from_nanos(locked - killed)
}

/// Whether a thread of this process sleeps.
fn sleeps(thread: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}

fn hold(lock: Option<Lock>, place: u64) {
    let page = Page::at(place);
    let _guard = lock.as_ref().map(Lock::lock);
    if lock.is_none() {
        page.robust.0.seize();
    }
    page.ping.0.store(1, Release);
    loop {
        std::thread::park();
    }
}
