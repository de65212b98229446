//! Death tests in ordinary libtest binaries: the current test binary again, running one ignored test.

use std::process::Command;

/// Set in the environment of a child made by [`child`].
const MARK: &str = "POLYPROC_TEST_CHILD";

/// A command that runs the `#[ignore]`d test `name` of this test binary in a process of its own, output shown. There
/// it may fork, as libtest's main thread only waits for it. In a test file the name is the function's; in a unit test
/// it is the path, as libtest prints it.
///
/// # Panics
/// If the path of this executable cannot be found out.
///
/// # Examples
/// ```
/// let command = polyproc_testing::reexec::child("holder_dies");
/// let arguments: Vec<_> = command.get_args().collect();
/// assert_eq!(arguments[0], "holder_dies");
/// assert!(arguments.contains(&"--ignored".as_ref()));
/// ```
///
/// In a test file:
///
/// ```ignore
/// #[test]
/// fn lock_is_recovered_when_its_holder_dies() {
///     let status = child("holder_dies").status().unwrap();
///     assert_eq!(status.signal(), Some(libc::SIGKILL));
/// }
///
/// #[test]
/// #[ignore = "run by lock_is_recovered_when_its_holder_dies"]
/// fn holder_dies() { .. }
/// ```
#[must_use]
pub fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its executable"));
    command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env(MARK, name);
    command
}

/// Whether this process was started by [`child`], for ignored tests that make no sense when run by `cargo test --
/// --ignored`.
///
/// ```
/// assert!(!polyproc_testing::reexec::in_child());
/// ```
#[must_use]
pub fn in_child() -> bool {
    std::env::var_os(MARK).is_some()
}
