//! What the tests of the examples share.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A command that runs an example, as a process group of its own.
pub(crate) fn example(name: &str, args: &[&str]) -> Command {
    let test = env::current_exe().expect("a running program has a path");
    let profile = test.ancestors().nth(2).expect("tests lie in <profile>/deps");
    let program: PathBuf = profile.join("examples").join(name);
    assert!(program.exists(), "{} is missing: run `cargo build --examples` with the same profile", program.display());
    // Whatever runs the tests may ignore SIGINT (nohup, some CI runners), and children inherit that.
    let mut command = Command::new("env");
    command
        .arg("--default-signal=INT")
        .arg(program)
        .args(args)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
