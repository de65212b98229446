//! A program that forgot `init()`: errors, and never a fork bomb. (This test binary has no `init_for_tests!`.)

mod common;

use common::watchdog;
use polyproc_process::{NotStarted, Process, ProcessError, init};
use polyproc_shm::{Family, ShmError};
use polyproc_sync::{Deadline, wait_any};
use std::time::Duration;

/// Set in children that do not call `init()`: what they do instead.
const FORGET: &str = "POLYPROC_TEST_FORGET";

/// One test, because the children run all tests of this file: they start as this program does.
#[test]
fn a_forgotten_init_is_an_error_on_both_sides() {
    let _dog = watchdog("forgotten init");
    if let Ok(what) = std::env::var(FORGET) {
        return in_child(&what);
    }
    assert!(matches!(Process::spawn(|| {}, ()), Err(ProcessError::NotInitialised)));
    init(); // too late for the children: they come here only if they call it
    init();

    let child = Process::builder().env(FORGET, "and use polyproc").spawn(|| {}, ()).unwrap();
    let error = child.join().unwrap_err();
    let ProcessError::ChildDidNotStart { why, status, .. } = error else { panic!("{error}") };
    assert_eq!((why, status.and_then(|s| s.code())), (NotStarted::Ended, Some(77)));
    assert!(error.to_string().contains("first in main"), "{error}");

    let short = Duration::from_millis(300);
    let child = Process::builder().env(FORGET, "and go on").handshake(short).spawn(|| {}, ()).unwrap();
    assert!(!child.started(Duration::from_millis(1)).unwrap());
    let error = child.join().unwrap_err();
    let ProcessError::ChildDidNotStart { why, status, .. } = error else { panic!("{error}") };
    assert_eq!((why, status.map(|s| s.success())), (NotStarted::TimedOut, Some(false)));
    assert!(matches!(child.started(Duration::MAX), Err(ProcessError::ChildDidNotStart { .. })));

    // Whoever waits for it among other things need not join it for that.
    let child = Process::builder().env(FORGET, "and go on").handshake(short).spawn(|| {}, ()).unwrap();
    assert_eq!(wait_any(&[&child], Deadline::NEVER), [0]);
    assert!(matches!(child.join(), Err(ProcessError::ChildDidNotStart { why: NotStarted::TimedOut, .. })));

    // This one is killed by a stranger: nobody knows what it would have called.
    let child = Process::builder().env(FORGET, "and go on").handshake(Duration::MAX).spawn(|| {}, ()).unwrap();
    std::process::Command::new("kill").args(["-KILL", &child.pid().to_string()]).status().unwrap();
    let text = child.join().unwrap_err().to_string();
    assert!(text.contains("was killed before") && !text.contains("first in main"), "{text}");

    // This one calls init() on a thread of the test runner.
    let child = Process::builder().env(FORGET, "no, it does not").spawn(|| std::process::exit(3), ());
    let child: Process = child.map_err(|e| e.to_string()).unwrap();
    assert_eq!(child.join().unwrap().code(), Some(3));
}

fn in_child(what: &str) {
    match what {
        "and use polyproc" => {
            assert!(matches!(Family::get(), Err(ShmError::NotInitialised)));
            assert!(matches!(Process::spawn(|| {}, ()), Err(ProcessError::NotInitialised)));
            std::process::exit(77);
        }
        "and go on" => loop {
            std::thread::park();
        },
        _ => init(),
    }
    panic!("init() returned in a child");
}
