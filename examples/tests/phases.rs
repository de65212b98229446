//! Workers that meet at a barrier, one of which is killed.

mod common;

use polyproc_testing::watchdog;
use std::time::Duration;

#[test]
fn a_killed_worker_is_replaced_and_nothing_shows() {
    let output = watchdog(Duration::from_secs(60), || common::example("phases", &[]).output().unwrap());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(str::from_utf8(&output.stderr), Ok(""));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("killed a worker when "), "{text}");
    assert_eq!(lines.next(), Some("300 phases: the rod is as if one process had done all"));
}
