//! Watchdog and re-exec from an ordinary libtest binary, and the runner seen from outside.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::Duration;

use polyproc_testing::reexec::{child, in_child};
use polyproc_testing::{Survivor, watchdog};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The binary of tests/kill.rs: the newest of its name beside this one.
fn kill_binary() -> Command {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let files = std::fs::read_dir(folder).unwrap().flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("kill-") && !name.contains('.')
    });
    let newest = files.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    Command::new(newest.expect("tests/kill.rs is built beside").path())
}

#[test]
fn a_child_runs_one_ignored_test() {
    let output = child("is_killed").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{}", text(&output));
    assert!(!in_child());
}

#[test]
#[ignore = "run by a_child_runs_one_ignored_test"]
fn is_killed() {
    assert!(in_child());
    // SAFETY: no pointers.
    unsafe { libc::raise(libc::SIGKILL) };
}

#[test]
fn a_child_may_fork() {
    let output = child("forks").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
#[ignore = "run by a_child_may_fork"]
fn forks() {
    assert_eq!(Survivor::fork(|_| ()).finish(Duration::from_secs(30)), 0);
}

#[test]
fn a_process_with_threads_may_not_fork() {
    let found = std::thread::spawn(|| drop(Survivor::fork(|_| ()))).join().unwrap_err();
    let message = *found.downcast::<String>().unwrap();
    assert!(message.contains("use polyproc_testing::runner"), "{message}");
}

#[test]
fn the_watchdog_gives_the_result_or_the_panic() {
    assert_eq!(watchdog(Duration::from_secs(30), || 3), 3);
    let found = std::panic::catch_unwind(|| watchdog(Duration::from_secs(30), || panic!("on purpose")));
    assert_eq!(*found.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
}

#[test]
fn the_watchdog_aborts_what_hangs() {
    let output = child("hangs").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    let text = text(&output);
    assert!(text.contains("watchdog: `") && text.contains("` is not over after 100 ms; aborting"), "{text}");
    assert!(text.matches("/wchan: ").count() >= 2, "{text}");
}

#[test]
#[ignore = "run by the_watchdog_aborts_what_hangs"]
fn hangs() {
    watchdog(Duration::from_millis(100), || std::thread::sleep(Duration::from_secs(60)));
}

#[test]
fn the_alarm_aborts_what_hangs_and_shows_survivors() {
    let output = kill_binary().args(["hangs_under_the_alarm", "--exact", "--ignored"]).output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(text.contains("watchdog: `hanging toy` is not over within its limit; aborting"), "{text}");
    assert_eq!(text.matches("/wchan: ").count(), 2, "{text}");
}

#[test]
fn the_runner_behaves_as_libtest() {
    let list = text(&kill_binary().args(["--list", "--format", "terse"]).output().unwrap());
    assert!(
        list.lines().any(|line| line == "smoke: test") && list.lines().all(|line| line.ends_with(": test")),
        "{list}"
    );
    let all = list.lines().count();

    let passed = kill_binary().args(["smoke", "--exact", "--nocapture", "--test-threads=4"]).output().unwrap();
    assert!(passed.status.success(), "{}", text(&passed));
    let line =
        format!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; {} filtered out; finished in ", all - 1);
    assert!(text(&passed).contains(&line), "{}", text(&passed));
    assert!(text(&passed).contains("\n    a then b: "), "{}", text(&passed));

    let failed = kill_binary().args(["fails", "--ignored"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(101));
    assert!(text(&failed).contains("test result: FAILED. 0 passed; 1 failed; 0 ignored;"), "{}", text(&failed));

    let unknown = kill_binary().arg("--frobnicate").output().unwrap();
    assert_eq!(unknown.status.code(), Some(101));
}
