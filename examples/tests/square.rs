//! The first program.

mod common;

use polyproc_testing::watchdog;
use std::time::Duration;

#[test]
fn squares_are_printed() {
    let output = watchdog(Duration::from_secs(60), || common::example("square", &[]).output().unwrap());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(str::from_utf8(&output.stdout), Ok("[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n"));
    assert_eq!(str::from_utf8(&output.stderr), Ok(""));
}
