//! What can be run in a process, on what, and how it ends.

mod common;

use common::{Meeting, busy_for_ever, report, watchdog};
use polyproc_process::{NotStarted, Process, ProcessError, active_children, current_process};
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::Duration;

polyproc_process::init_for_tests!();

fn code(p: Result<Process, ProcessError>) -> Option<i32> {
    p.unwrap().join().unwrap().code()
}

fn sum(a: u8, b: u8) -> ExitCode {
    ExitCode::from(a + b)
}

fn product(a: u8, b: u8) -> ExitCode {
    ExitCode::from(a * b)
}

fn generic<T: ToString>(value: T, expected: String) {
    assert_eq!(value.to_string(), expected);
}

#[test]
fn smoke() {
    let _dog = watchdog("smoke");
    assert_eq!(code(Process::spawn(sum, (1, 2))), Some(3));
}

#[test]
fn functions_of_every_kind_run() {
    let _dog = watchdog("functions");
    assert_eq!(code(Process::spawn(|| {}, ())), Some(0));
    assert_eq!(code(Process::spawn(|x: u8| ExitCode::from(x), (7,))), Some(7));
    assert_eq!(code(Process::spawn(generic::<u64>, (7, "7".into()))), Some(0));
    assert_eq!(code(Process::spawn(generic::<f32>, (0.5, "0.5".into()))), Some(0));
    assert_eq!(code(Process::spawn(generic::<u64>, (7, "8".into()))), Some(101));
    let functions: [fn(u8, u8) -> ExitCode; 2] = [sum, product];
    let codes: Vec<_> = functions.iter().map(|f| code(Process::spawn(*f, (3, 4)))).collect();
    assert_eq!(codes, [Some(7), Some(12)]);
}

#[test]
fn eight_arguments_arrive_in_order() {
    #[allow(clippy::too_many_arguments, reason = "as many as there can be")]
    fn eight(a: u8, b: i16, c: String, d: Vec<u32>, e: Option<char>, f: (bool, f64), g: [u64; 3], h: ()) {
        assert_eq!((a, b, c.as_str(), d), (1, -2, "three", vec![4; 4]));
        assert_eq!((e, f, g, h), (Some('5'), (true, 6.5), [7; 3], ()));
    }
    let args = (1, -2, "three".to_string(), vec![4; 4], Some('5'), (true, 6.5), [7; 3], ());
    assert_eq!(code(Process::spawn(eight, args)), Some(0));
}

#[test]
fn arguments_of_all_sizes_arrive() {
    let _dog = watchdog("sizes");
    for size in [0, 1, 40, 48, 49, 511, 512, 513, 4096, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i: u32| i.to_le_bytes()[0]).collect();
        let check = |bytes: Vec<u8>, size: u32| {
            assert_eq!(bytes.len(), size as usize);
            assert!((0..size).zip(bytes).all(|(i, b)| i.to_le_bytes()[0] == b));
        };
        assert_eq!(code(Process::spawn(check, (bytes, size))), Some(0), "{size} bytes");
    }
}

#[test]
fn results_become_exit_codes() {
    let _dog = watchdog("results");
    assert_eq!(code(Process::spawn(|| ExitCode::from(200), ())), Some(200));
    assert_eq!(code(Process::spawn(|| -> Result<(), String> { Ok(()) }, ())), Some(0));
    assert_eq!(code(Process::spawn(|| -> Result<(), String> { Err("said on purpose".into()) }, ())), Some(1));
    assert_eq!(code(Process::spawn(|| -> () { panic!("on purpose") }, ())), Some(101));
    assert_eq!(code(Process::spawn(|| -> () { std::process::exit(9) }, ())), Some(9));
    let aborted = Process::spawn(|| -> () { std::process::abort() }, ()).unwrap().join().unwrap();
    assert_eq!(aborted.signal(), Some(6));
}

#[test]
fn signals_end_a_child() {
    let _dog = watchdog("signals");
    let meeting = Meeting::new();
    for (end, signal) in [(Process::terminate as fn(&Process) -> _, 15), (Process::kill, 9)] {
        let child = Process::spawn(
            |path: String| {
                let _here = report(&path);
                busy_for_ever();
            },
            (meeting.text(),),
        )
        .unwrap();
        let mut guest = meeting.accept();
        assert!(child.is_alive());
        assert_eq!(child.exit_status(), None);
        end(&child).unwrap();
        assert_eq!(child.join().unwrap().signal(), Some(signal));
        assert!(!child.is_alive());
        assert_eq!(child.exit_status().unwrap().signal(), Some(signal));
        end(&child).unwrap(); // does nothing
        guest.gone();
    }
}

#[test]
fn a_child_that_is_killed_before_it_starts_has_a_status() {
    let _dog = watchdog("killed early");
    let child = Process::spawn(|| busy_for_ever(), ()).unwrap();
    child.kill().unwrap();
    assert_eq!(child.join().unwrap().signal(), Some(9));
}

#[test]
fn several_threads_may_join() {
    let _dog = watchdog("joiners");
    let child = Process::spawn(|| ExitCode::from(5), ()).unwrap();
    let codes: Vec<_> = std::thread::scope(|s| {
        let joiners: Vec<_> = (0..4).map(|_| s.spawn(|| child.join().unwrap().code())).collect();
        joiners.into_iter().map(|j| j.join().unwrap()).collect()
    });
    assert_eq!(codes, [Some(5); 4]);
    assert_eq!(child.join().unwrap().code(), Some(5));
}

#[test]
fn a_timeout_ends_a_join_and_not_the_child() {
    let _dog = watchdog("timeout");
    let child = Process::spawn(|| busy_for_ever(), ()).unwrap();
    let before = std::time::Instant::now();
    assert_eq!(child.join_timeout(Duration::from_millis(30)).unwrap(), None);
    assert!(before.elapsed() >= Duration::from_millis(30));
    assert_eq!(child.join_timeout(Duration::ZERO).unwrap(), None);
    assert!(child.is_alive());
    child.kill().unwrap();
    assert_eq!(child.join_timeout(Duration::MAX).unwrap().unwrap().signal(), Some(9));
}

#[test]
fn the_sentinel_tells_of_the_end() {
    let _dog = watchdog("sentinel");
    let child = Process::spawn(|| {}, ()).unwrap();
    assert!(child.started(Duration::MAX).unwrap());
    child.join().unwrap();
    assert!(child.started(Duration::ZERO).unwrap(), "it had started");
    let link = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&child.sentinel())));
    assert!(link.unwrap().to_str().unwrap().contains("pidfd"));
}

#[test]
fn children_know_who_they_are() {
    fn grandchild(name: String, parent: u32) {
        let me = current_process();
        assert_eq!((me.name(), me.parent_pid()), (&*name, Some(parent)));
    }
    fn child(parent: u32) {
        let me = current_process();
        assert_eq!((me.name(), me.pid(), me.parent_pid()), ("anna", std::process::id(), Some(parent)));
        for n in 1..3 {
            let kid = Process::spawn(grandchild, (format!("anna:{n}"), me.pid())).unwrap();
            assert!(kid.join().unwrap().success());
        }
    }
    let _dog = watchdog("names");
    let anna = Process::builder().name("anna").spawn(child, (std::process::id(),)).unwrap();
    assert_eq!(anna.name(), "anna");
    assert!(anna.join().unwrap().success());
    assert_eq!(current_process().parent_pid(), None);
}

#[test]
fn captures_of_pointer_size_are_an_error() {
    let captured = 5usize;
    let error = Process::spawn(move || assert_eq!(captured, 5), ()).unwrap_err();
    assert!(matches!(error, ProcessError::Captures { .. }), "{error}");
    assert!(error.to_string().contains("pass it as an argument"));
}

#[derive(Debug)]
struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

impl<'de> Deserialize<'de> for Unserialisable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[derive(Debug, Serialize)]
struct Undeserialisable(u8);

impl<'de> Deserialize<'de> for Undeserialisable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[test]
fn arguments_that_do_not_travel_are_errors() {
    let _dog = watchdog("bad arguments");
    let error = Process::spawn(|_: Unserialisable| {}, (Unserialisable,)).unwrap_err();
    assert!(matches!(error, ProcessError::Arguments(_)), "{error}");
    let child = Process::spawn(|_: Undeserialisable| {}, (Undeserialisable(1),)).unwrap();
    let error = child.join().unwrap_err();
    let ProcessError::ChildDidNotStart { why, .. } = error else { panic!("{error}") };
    assert_eq!(why, NotStarted::BadArguments);
    assert!(child.started(Duration::MAX).is_err());
}

#[test]
fn the_child_is_a_clean_process() {
    fn flag_is_set(fd: &std::path::Path) -> bool {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.file_name().unwrap().to_str().unwrap()));
        let info = info.unwrap();
        let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap().trim();
        u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0
    }
    fn child(comm: String) {
        assert_eq!(std::env::var_os(polyproc_shm::BOOT_ENV), None, "the boot text is gone");
        assert_eq!(std::fs::read_to_string("/proc/self/comm").unwrap(), comm);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mask = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!(mask("SigBlk:"), 0);
        assert_eq!(mask("SigIgn:") & 1 << 12, 1 << 12, "SIGPIPE, as in every Rust program");
        assert_eq!(mask("SigIgn:") & 1 << 16, 0, "SIGCHLD");
        for entry in std::fs::read_dir("/proc/self/fd").unwrap().map(|e| e.unwrap().path()) {
            let Ok(target) = std::fs::read_link(&entry) else { continue };
            let target = target.to_string_lossy().into_owned();
            assert!(!target.contains("some-file-of-the-parent"));
            if target.contains("memfd:") {
                assert!(flag_is_set(&entry), "{target} would be inherited by programs that the child starts");
            }
        }
    }
    let _dog = watchdog("clean");
    let path = std::env::temp_dir().join(format!("some-file-of-the-parent-{}", std::process::id()));
    let _file = std::fs::File::create(&path).unwrap();
    let _ = std::fs::remove_file(&path);
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
    assert_eq!(code(Process::spawn(child, (comm,))), Some(0));
}

#[test]
fn programs_that_a_child_starts_are_strangers() {
    fn child() {
        let sh = std::process::Command::new("sh").args(["-c", "ls /proc/self/fd; env"]).output().unwrap();
        let out = String::from_utf8(sh.stdout).unwrap();
        assert!(!out.contains(polyproc_shm::BOOT_ENV), "{out}");
    }
    assert_eq!(code(Process::spawn(child, ())), Some(0));
}

#[test]
fn many_start_side_by_side() {
    let _dog = watchdog("many");
    let children: Vec<_> = (0..20u8).map(|n| Process::spawn(|n: u8| ExitCode::from(n + 1), (n,)).unwrap()).collect();
    assert!(active_children().len() <= 100);
    for (n, child) in (0..20).zip(children) {
        assert_eq!(child.join().unwrap().code(), Some(n + 1));
    }
}

#[test]
fn output_before_the_end_is_flushed() {
    let _dog = watchdog("output");
    // The child writes where this process writes: look at it from outside.
    let me = std::env::current_exe().unwrap();
    let args = ["--exact", "inner_output", "--ignored", "--nocapture"];
    let out = std::process::Command::new(me).args(args).output().unwrap();
    assert!(String::from_utf8(out.stdout).unwrap().contains("no newline"));
}

#[test]
#[ignore = "run by output_before_the_end_is_flushed"]
fn inner_output() {
    let child = Process::spawn(|| print!("no newline"), ()).unwrap();
    assert!(child.join().unwrap().success());
}
