//! What the descendants of a dead child held comes back to the process that is left.

mod common;

use common::watchdog;
use polyproc_process::{Process, active_children};
use polyproc_shm::{Family, Kind};
use std::time::Duration;

polyproc_process::init_for_tests!();

fn holder() {
    let _ = Family::get().unwrap().alloc(1 << 20, Kind::Data).unwrap().into_ref();
    loop {
        std::thread::park();
    }
}

fn parent_of_a_holder() {
    let child = Process::spawn(holder, ()).unwrap();
    child.started(Duration::MAX).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn grandchildren_are_cleared_up() {
    let _dog = watchdog("grandchildren");
    let family = Family::get().unwrap();
    let before = family.stats();
    for _ in 0..3 {
        let child = Process::spawn(parent_of_a_holder, ()).unwrap();
        while family.stats().blocks(Kind::Data) <= before.blocks(Kind::Data) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.join().unwrap();
        while family.stats().processes > 1 {
            assert!(active_children().is_empty());
            std::thread::yield_now();
        }
        assert_eq!(family.stats().blocks(Kind::Data), before.blocks(Kind::Data));
    }
}
