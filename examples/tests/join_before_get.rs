//! The program that deadlocks in Python.

mod common;

use polyproc_testing::watchdog;
use std::time::Duration;

#[test]
fn joining_before_getting_works_and_a_lock_keeps_lines_whole() {
    let output = watchdog(Duration::from_secs(60), || common::example("join_before_get", &[]).output().unwrap());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(str::from_utf8(&output.stderr), Ok(""));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("the child has ended with exit status: 0, and its 1000000 bytes are here"));
    // The children come in any order.
    let mut children: Vec<&str> = lines.collect();
    children.sort_unstable();
    assert_eq!(children, (0..10).map(|n| format!("child {n} has the lock")).collect::<Vec<_>>());
}
