//! Tasks and answers through queues.

mod common;

use polyproc_testing::watchdog;
use std::time::Duration;

#[test]
fn every_task_is_answered_once_by_one_of_the_workers() {
    let output = watchdog(Duration::from_secs(60), || common::example("task_queue", &[]).output().unwrap());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(str::from_utf8(&output.stderr), Ok(""));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Unordered results:"));
    let mut said = Vec::new();
    for line in lines {
        let (who, what) = line.split_once(" says that ").unwrap();
        assert!(["\tProcess-1", "\tProcess-2", "\tProcess-3", "\tProcess-4"].contains(&who), "{line}");
        said.push(what);
    }
    // The first tasks are answered before the others are given.
    let (first, second) = said.split_at_mut(20);
    first.sort_unstable();
    second.sort_unstable();
    let sorted = |mut lines: Vec<String>| {
        lines.sort_unstable();
        lines
    };
    assert_eq!(first, sorted((0..20).map(|i| format!("mul({i}, 7) = {}", i * 7)).collect()));
    assert_eq!(second, sorted((0..10).map(|i| format!("plus({i}, 8) = {}", i + 8)).collect()));
}
