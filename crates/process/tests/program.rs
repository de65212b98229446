//! What becomes of the program file, and of signals, while processes are started: tests in programs of their own.

mod common;

use common::watchdog;
use polyproc_process::Process;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

polyproc_process::init_for_tests!();

#[test]
fn children_run_the_same_code_when_the_program_was_replaced() {
    let _dog = watchdog("replaced");
    let copy = std::env::temp_dir().join(format!("polyproc-copy-{}", std::process::id()));
    // By a process of its own: a child that another test starts meanwhile would keep our file open for writing, too, and
    // what is open for writing cannot be run.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status().unwrap();
    assert!(copied.success(), "{copied}");
    let out = Command::new(&copy).args(["--exact", "inner_replaced", "--ignored"]).output().unwrap();
    let _ = std::fs::remove_file(&copy);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
#[ignore = "run by children_run_the_same_code_when_the_program_was_replaced"]
fn inner_replaced() {
    let me = std::env::current_exe().unwrap();
    std::fs::remove_file(&me).unwrap();
    let child = Process::spawn(|| ExitCode::from(4), ()).unwrap();
    assert_eq!(child.join().unwrap().code(), Some(4));
    std::fs::write(&me, "#!/bin/sh\nexit 99\n").unwrap();
    let child = Process::spawn(|| ExitCode::from(5), ()).unwrap();
    assert_eq!(child.join().unwrap().code(), Some(5));
}

#[test]
fn a_boot_text_that_is_meant_for_others_is_ignored() {
    let _dog = watchdog("strangers");
    let me = std::env::current_exe().unwrap();
    for text in ["", "nonsense", "0:1:1 0@1 1/1 64 1 name", "3:1:1 99@5 1/1 64 1 name", "3:1:1 -1@0 1/1 64 1 name"] {
        let mut stranger = Command::new(&me);
        stranger.args(["--exact", "inner_stranger", "--ignored"]).env(polyproc_shm::BOOT_ENV, text);
        let out = stranger.output().unwrap();
        assert!(out.status.success(), "{text}: {}", String::from_utf8_lossy(&out.stdout));
    }
}

#[test]
#[ignore = "run by a_boot_text_that_is_meant_for_others_is_ignored"]
fn inner_stranger() {
    assert_eq!(std::env::var_os(polyproc_shm::BOOT_ENV), None);
    assert!(Process::spawn(|| {}, ()).unwrap().join().unwrap().success());
}

#[test]
fn a_status_is_known_when_sigchld_is_ignored() {
    let _dog = watchdog("SIGCHLD");
    let me = std::env::current_exe().unwrap();
    let mut env = Command::new("env"); // of coreutils, which can ignore signals on a program's behalf
    let out = env.arg("--ignore-signal=CHLD").arg(me).args(["--exact", "inner_sigchld", "--ignored"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
#[ignore = "run by a_status_is_known_when_sigchld_is_ignored"]
fn inner_sigchld() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).unwrap();
    assert_ne!(u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 << 16, 0, "ignored by `env`");
    let bystander = Process::spawn(
        || loop {
            std::thread::park()
        },
        (),
    )
    .unwrap();
    let child = Process::spawn(|| ExitCode::from(6), ()).unwrap();
    assert_eq!(child.join().unwrap().code(), Some(6));
    // Its own children have a status even though it was started so.
    let child = Process::spawn(
        || {
            let status = Command::new("sh").args(["-c", "exit 3"]).status().unwrap();
            ExitCode::from(u8::from(status.code() == Some(3)))
        },
        (),
    );
    assert_eq!(child.unwrap().join().unwrap().code(), Some(1));
    bystander.kill().unwrap();
    match bystander.join() {
        Ok(status) => assert_eq!(status.signal(), Some(9)),
        Err(e) => assert!(e.to_string().contains("SIGCHLD"), "{e}"), // before Linux 6.15
    }
}

#[test]
fn another_program_that_inherits_the_boot_text_ignores_it() {
    let _dog = watchdog("another program");
    let copy = std::env::temp_dir().join(format!("polyproc-other-{}", std::process::id()));
    // By a process of its own: a child that another test starts meanwhile would keep our file open for writing, too, and
    // what is open for writing cannot be run.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status().unwrap();
    assert!(copied.success(), "{copied}");
    let builder = Process::builder().env("POLYPROC_TEST_BECOME", &copy).handshake(std::time::Duration::from_secs(30));
    let child = builder.spawn(|| ExitCode::from(9), ()).unwrap();
    let error = child.join().unwrap_err();
    let _ = std::fs::remove_file(&copy);
    assert!(error.to_string().contains("exit status: 0"), "it ran its own main, no work: {error}");
}

/// In a child of the test above, before its `init`: becomes the other program.
extern "C" fn become_another() {
    use std::os::unix::process::CommandExt;
    if let Some(other) = std::env::var_os("POLYPROC_TEST_BECOME") {
        // The variable is that of the child only, and the other program must not become another one in turn.
        let error = Command::new(other)
            .args(["--exact", "inner_stranger_alone", "--ignored"])
            .env_remove("POLYPROC_TEST_BECOME")
            .exec();
        panic!("{error}");
    }
}
#[used]
#[unsafe(link_section = ".init_array.00100")]
static BECOME_ANOTHER: extern "C" fn() = become_another;

#[test]
#[ignore = "run by another_program_that_inherits_the_boot_text_ignores_it"]
fn inner_stranger_alone() {
    assert_eq!(polyproc_process::current_process().name(), "MainProcess");
}
