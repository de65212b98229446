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
    let mut command = Command::new(program);
    command.args(args).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Whatever runs the tests may ignore SIGINT (nohup, some CI runners), and children inherit that. When the command has
    // been started, none is ignored any more.
    let heed = || {
        // SAFETY: it may be called between fork and exec, and the handler is none.
        match unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) } {
            libc::SIG_ERR => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: `heed` makes one system call.
    unsafe { command.pre_exec(heed) };
    command
}
