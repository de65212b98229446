//! The first queue.

mod common;

use polyproc_testing::watchdog;
use std::time::Duration;

#[test]
fn text_of_the_child_is_printed() {
    let output = watchdog(Duration::from_secs(60), || common::example("queue_hello", &[]).output().unwrap());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(str::from_utf8(&output.stdout), Ok("親プロセスが受信: データを送る\n"));
    assert_eq!(str::from_utf8(&output.stderr), Ok(""));
}
