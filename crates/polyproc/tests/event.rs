//! Events between processes: handles that travel, setters and waiters that are killed, names.

use polyproc::{Event, Process};
use std::time::Duration;

polyproc::init_for_tests!();

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_child_wakes_its_parent_and_the_parent_its_child() {
    let (there, back) = (Event::new().unwrap(), Event::new().unwrap());
    let body = |there: Event, back: Event| {
        there.wait();
        back.set();
    };
    let child = Process::spawn(body, (there.clone(), back.clone())).unwrap();
    there.set();
    assert!(back.wait_timeout(LONG));
    assert!(child.join().unwrap().success());
}

#[test]
fn a_killed_sleeper_hinders_nobody() {
    let (ready, event) = (Event::new().unwrap(), Event::new().unwrap());
    let body = |ready: Event, event: Event| {
        ready.set();
        event.wait();
    };
    let child = Process::spawn(body, (ready.clone(), event.clone())).unwrap();
    assert!(ready.wait_timeout(LONG));
    child.kill().unwrap();
    child.join().unwrap();
    assert!(!event.wait_timeout(Duration::from_millis(1)));
    event.set();
    assert!(event.wait_timeout(LONG));
}

#[test]
fn an_event_with_a_name_is_the_same_in_another_process() {
    let name = format!("test-event-{}", std::process::id());
    let event = Event::create(&name).unwrap();
    let child = Process::spawn(|name: String| Event::open(name).unwrap().set(), (name,)).unwrap();
    assert!(event.wait_timeout(LONG));
    assert!(child.join().unwrap().success());
}
