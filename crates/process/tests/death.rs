//! What is left when a process dies: nothing.

mod common;

use common::{Meeting, busy_for_ever, report, watchdog};
use polyproc_process::Process;
use std::process::Command;

polyproc_process::init_for_tests!();

fn grandchild(path: String) {
    let _here = report(&path);
    busy_for_ever();
}

fn child(path: String) {
    let _kid = Process::spawn(grandchild, (path.clone(),)).unwrap();
    let _here = report(&path);
    busy_for_ever();
}

/// Its child and grandchild are in busy loops when it ends in the way `how`.
fn parent(path: String, how: String) {
    let kid = Process::spawn(child, (path.clone(),)).unwrap();
    let _here = report(&path);
    match how.as_str() {
        "killed" => busy_for_ever(),
        "returns" => while !path_is_gone(&path) {},
        "panics" => {
            while !path_is_gone(&path) {}
            panic!("on purpose");
        }
        "execs" => {
            while !path_is_gone(&path) {}
            let error = std::os::unix::process::CommandExt::exec(Command::new("sleep").arg("0.01"));
            panic!("exec: {error}");
        }
        _ => unreachable!(),
    }
    drop(kid);
}

/// The test removes the file as a sign.
fn path_is_gone(path: &str) -> bool {
    !std::path::Path::new(path).exists()
}

fn descendants_end_when_the_parent(how: &str) {
    let meeting = Meeting::new();
    let parent = Process::spawn(parent, (meeting.text(), how.to_owned())).unwrap();
    let mut all = [meeting.accept(), meeting.accept(), meeting.accept()];
    assert!(all.iter_mut().all(common::Guest::is_there));
    if how == "killed" {
        parent.kill().unwrap();
    } else {
        std::fs::remove_file(&meeting.path).unwrap();
    }
    for guest in &mut all {
        guest.gone();
    }
    let status = parent.join().unwrap();
    assert_eq!(
        status.code(),
        match how {
            "killed" => None,
            "panics" => Some(101),
            _ => Some(0),
        }
    );
}

#[test]
fn descendants_end_when_the_parent_is_killed() {
    let _dog = watchdog("killed");
    descendants_end_when_the_parent("killed");
}

#[test]
fn descendants_end_when_the_parent_returns() {
    let _dog = watchdog("returns");
    descendants_end_when_the_parent("returns");
}

#[test]
fn descendants_end_when_the_parent_panics() {
    let _dog = watchdog("panics");
    descendants_end_when_the_parent("panics");
}

#[test]
fn descendants_end_when_the_parent_becomes_another_program() {
    let _dog = watchdog("execs");
    descendants_end_when_the_parent("execs");
}

#[test]
fn a_child_that_starts_after_its_parent_has_ended_ends_too() {
    let _dog = watchdog("orphans");
    let me = std::env::current_exe().unwrap();
    for _ in 0..20 {
        // Its output ends when the last process has ended that inherited it.
        let mut parent = Command::new(&me);
        assert!(parent.args(["--exact", "inner_ends_at_once", "--ignored"]).output().unwrap().status.success());
    }
}

#[test]
#[ignore = "run by a_child_that_starts_after_its_parent_has_ended_ends_too"]
fn inner_ends_at_once() {
    let _kid = Process::spawn(|| busy_for_ever(), ()).unwrap();
    std::process::exit(0);
}

#[test]
fn stress_parents_are_killed_while_they_spawn() {
    fn spawner(path: String) {
        let _here = report(&path);
        loop {
            drop(Process::spawn(grandchild, (path.clone(),)));
        }
    }
    const N: usize = 10;
    let _dog = watchdog("stress");
    for n in 0..N {
        let meeting = Meeting::new();
        let parent = Process::spawn(spawner, (meeting.text(),)).unwrap();
        let mut guests: Vec<_> = (0..=n).map(|_| meeting.accept()).collect();
        parent.kill().unwrap();
        for guest in &mut guests {
            guest.gone();
        }
        parent.join().unwrap();
    }
}

#[test]
fn children_of_one_thread_outlive_it() {
    let _dog = watchdog("thread");
    let meeting = Meeting::new();
    let path = meeting.text();
    let kid = std::thread::spawn(|| Process::spawn(grandchild, (path,)).unwrap()).join().unwrap();
    let mut guest = meeting.accept();
    assert!(guest.is_there());
    assert!(kid.is_alive());
    kid.kill().unwrap();
    guest.gone();
    kid.join().unwrap();
}
