//! What `/proc` says about a process.

use std::fs;

/// The number of the futex system call.
#[cfg(target_arch = "x86_64")]
const FUTEX: &str = "202";
#[cfg(target_arch = "aarch64")]
const FUTEX: &str = "98";

/// That of the one that sleeps on several words.
const FUTEX_WAITV: &str = "449";

/// The state letter and the parent of a process, or `None` if there is no such process.
pub(crate) fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may hold spaces and parentheses: what follows the last one counts.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The state letter of a process: `R`, `S`, `D`, `t`, `Z` …
pub(crate) fn state(pid: i32) -> Option<char> {
    Some(state_and_parent(pid)?.0)
}

/// Whether the process waits in a futex call; `None` if `/proc` does not tell.
pub(crate) fn in_futex(pid: i32) -> Option<bool> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let number = text.split_ascii_whitespace().next()?;
    Some(number == FUTEX || number == FUTEX_WAITV)
}

/// One line for a message about a process that does not do what it should.
pub(crate) fn describe(pid: i32) -> String {
    let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let state = state(pid).map_or_else(|| "gone".to_owned(), |letter| format!("state {letter}"));
    format!("process {pid}: {state}, wchan {}, syscall {}", read("wchan").trim(), read("syscall").trim())
}

/// Number of threads of this process.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}
