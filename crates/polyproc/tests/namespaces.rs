//! Thread ids and times mean others in other namespaces: what has a name is refused there (hazard 15, and the pid
//! namespaces among the facts about robust locks).

use polyproc::{Lock, Place};
use polyproc_testing::{reexec, watchdog};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const DIR: &str = "POLYPROC_TEST_DIR";
const NAME: &str = "locked";

/// A directory of a test's own; removed with all that is in it.
struct Temp(PathBuf);

impl Temp {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("polyproc-{test}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `None` where this user may not make such a namespace.
fn in_namespace(kind: &str) -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-current-user", "--fork", kind]);
    let mut trial = Command::new("unshare");
    trial.args(command.get_args()).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    trial.status().is_ok_and(|status| status.success()).then_some(command)
}

fn is_refused_in(kind: &str) {
    let temp = Temp::new(kind.trim_matches('-'));
    let place = Place::dir(temp.0.clone()).unwrap();
    let lock = Lock::create(place.name(NAME)).unwrap();
    let guard = lock.lock();
    let child = reexec::child("opens_a_lock_that_it_must_not_have");
    let Some(mut command) = in_namespace(kind) else {
        println!("skipped: no namespace of {kind} to be had");
        return;
    };
    command.arg(child.get_program()).args(child.get_args()).env(DIR, &temp.0);
    command.envs(child.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = watchdog(LONG, || command.output().unwrap());
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("another pid or time namespace"), "{text}");
    drop(guard);
    assert!(lock.try_lock().is_some());
}

#[test]
fn a_lock_is_refused_in_another_pid_namespace() {
    is_refused_in("--pid");
}

#[test]
fn a_lock_is_refused_in_another_time_namespace() {
    is_refused_in("--time");
}

#[test]
#[ignore = "run by is_refused_in"]
fn opens_a_lock_that_it_must_not_have() {
    if reexec::in_child() {
        let place = Place::dir(PathBuf::from(std::env::var_os(DIR).unwrap())).unwrap();
        println!("{}", Lock::open(place.name(NAME)).unwrap_err());
    }
}
