//! Raw forks of a process that has children: they hang in no lock of another thread, and leave the children alone.

mod common;

use common::watchdog;
use polyproc_process::{Process, ProcessError, active_children, function};
use polyproc_sys::atomic::{AtomicU32, Ordering};
use polyproc_sys::fork::{spawn_child, wait_child};

polyproc_process::init_for_tests!();

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

#[test]
fn forks_never_hang_in_locks_of_other_threads() {
    let _dog = watchdog("forks");
    let child = Process::spawn(sleep_for_ever, ()).unwrap();
    let stop = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while stop.load(Ordering::Relaxed) == 0 {
                assert_eq!(active_children().len(), 1);
            }
        });
        scope.spawn(|| {
            while stop.load(Ordering::Relaxed) == 0 {
                function::enter(|x: u32| x).unwrap();
            }
        });
        for _ in 0..200 {
            let inherited = child.clone();
            let fork = spawn_child(move || {
                let foreign = matches!(inherited.join(), Err(ProcessError::NotOurChild { .. }));
                let alive = inherited.is_alive();
                drop(inherited);
                i32::from(foreign && alive && active_children().is_empty())
            });
            assert_eq!(wait_child(fork), 1);
        }
        stop.store(1, Ordering::Relaxed);
    });
    assert!(child.is_alive());
    child.kill().unwrap();
    child.join().unwrap();
}
