//! Replays the inputs that the fuzzer has kept: `fuzz/` has the targets, `ci/fuzz.sh` looks for more.
//!
//! Each target runs in a process of its own, as in the fuzzer: what it writes over is its own family's memory.

#[allow(unreachable_pub, reason = "in the fuzzer it is a library")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use polyproc_testing::reexec::{child, in_child};
use polyproc_testing::watchdog;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Runs `target` on each kept input, and on those that once broke something.
fn replay(name: &str, target: fn(&[u8])) {
    if !in_child() {
        return; // somebody runs all ignored tests
    }
    let mut files = kept("corpus", name);
    assert!(files.len() >= 20, "{} inputs of {name} are kept, too few", files.len());
    files.extend(kept("regressions", name));
    watchdog(LIMIT, || {
        target(&[]);
        for file in &files {
            let input = std::fs::read(file).unwrap();
            eprintln!("{}, {} bytes", file.display(), input.len()); // the last one is the one to look at
            target(&input);
        }
    });
    println!("{} inputs of {name} replayed", files.len());
}

/// The inputs of a target in a folder of `fuzz/`, in the order of their names; none if it has no such folder.
fn kept(folder: &str, name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(folder).join(name);
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    files
}

fn in_a_process(test: &str) {
    // A tick of 1 ms: what names a dead holder is waited for that long.
    let output = watchdog(LIMIT + LIMIT / 2, || child(test).env("POLYPROC_TICK_MS", "1").output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}", text.lines().find(|line| line.contains(" replayed")).expect("it says what it did"));
}

#[test]
fn kept_handles_and_messages_are_decoded_or_refused() {
    in_a_process("handles");
}

#[test]
#[ignore = "runs in a process of its own"]
fn handles() {
    replay("handles", targets::handles);
}

#[test]
fn kept_scribbles_over_queues_are_survived() {
    in_a_process("queue");
}

#[test]
#[ignore = "runs in a process of its own"]
fn queue() {
    replay("queue", targets::queue);
}

#[test]
fn kept_scribbles_over_boards_are_survived() {
    in_a_process("board");
}

#[test]
#[ignore = "runs in a process of its own"]
fn board() {
    replay("board", targets::board);
}

#[test]
fn kept_scribbles_over_an_allocator_are_survived() {
    in_a_process("allocator");
}

#[test]
#[ignore = "runs in a process of its own"]
fn allocator() {
    replay("allocator", targets::allocator);
}

#[test]
fn kept_scribbles_over_lists_are_survived() {
    in_a_process("list");
}

#[test]
#[ignore = "runs in a process of its own"]
fn list() {
    replay("list", targets::list);
}

#[test]
fn kept_files_of_segments_are_opened_or_refused() {
    in_a_process("segment");
}

#[test]
#[ignore = "runs in a process of its own"]
fn segment() {
    replay("segment", targets::segment);
}

#[test]
fn kept_scribbles_over_values_and_arrays_are_survived() {
    in_a_process("values");
}

#[test]
#[ignore = "runs in a process of its own"]
fn values() {
    replay("values", targets::values);
}
