//! The main job: what it prints, and what becomes of it and its workers when they are killed.

#[path = "../common/mod.rs"]
mod common;
mod running;

use common::example;
use polyproc_testing::watchdog;
use running::{Running, kill};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use std::{env, fs, process, thread};

const LIMIT: Duration = Duration::from_secs(90);
/// A range that takes seconds at least: the tests that kill the example end it before.
const LONG: [&str; 5] = ["1", "4000000000", "--workers", "3", "--no-serial"];

/// Runs the example to its end.
fn primes(args: &[&str]) -> Output {
    watchdog(LIMIT, || example("primes", args).output().unwrap())
}

fn start(args: &[&str]) -> Running {
    Running(example("primes", args).spawn().unwrap())
}

/// Runs the example to its end, which must be a good one, and returns the lines that it printed.
fn lines(args: &[&str]) -> Vec<String> {
    let output = primes(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The primes up to `last`, by another method.
fn sieve(last: usize) -> Vec<usize> {
    let mut is_prime = vec![true; last + 1];
    is_prime[..2].fill(false);
    for n in 2..=last.isqrt() {
        if is_prime[n] {
            (n * n..=last).step_by(n).for_each(|multiple| is_prime[multiple] = false);
        }
    }
    (0..=last).filter(|n| is_prime[*n]).collect()
}

/// A file name of this test's own; the file is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("polyproc-primes-{}-{name}", process::id())))
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The name of the list while it is incomplete.
    fn part(&self) -> PathBuf {
        self.0.with_added_extension("part")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(self.part());
    }
}

#[test]
fn smoke() {
    let lines = lines(&["1", "100000"]);
    assert_eq!(lines[0], "primes from 1 to 100000: 9592");
    assert_eq!(lines[1], "the last of them: 99929 99961 99971 99989 99991");
    assert!(lines[2].starts_with("time: "), "{lines:?}");
    assert!(lines[3].starts_with("serial time: "), "{lines:?}");
    assert!(lines[4].starts_with("speed-up: "), "{lines:?}");
}

#[test]
fn range_of_the_tutorial_is_the_default() {
    assert_eq!(lines(&["--no-serial"])[0], "primes from 1 to 100000: 9592");
}

#[test]
fn small_ranges_are_right() {
    let cases = [("0", "0", "0", ""), ("2", "2", "1", "2"), ("24", "28", "0", ""), ("0", "12", "5", "2 3 5 7 11")];
    for (start, end, count, last) in cases {
        let lines = lines(&[start, end, "--workers", "2"]);
        assert_eq!(lines[0], format!("primes from {start} to {end}: {count}"));
        assert_eq!(lines[1].strip_prefix("the last of them: ").unwrap_or_default(), last);
    }
}

#[test]
fn list_has_exactly_the_primes() {
    let list = Scratch::new("list");
    fs::write(&list.0, "what was there before\n").unwrap();
    // Chunks of one number, of an odd size, and one for all.
    for chunk in ["1", "7", "1009", "10000"] {
        lines(&["0", "5000", "--workers", "3", "--chunk", chunk, "--no-serial", "--list", list.name()]);
        let found: Vec<usize> = fs::read_to_string(&list.0).unwrap().lines().map(|n| n.parse().unwrap()).collect();
        assert_eq!(found, sieve(5000), "chunks of {chunk}");
        assert!(!list.part().exists());
    }
}

#[test]
fn end_of_the_numbers_is_no_end_of_the_program() {
    let lines = lines(&["18446744073709551613", "18446744073709551615", "--workers", "2"]);
    assert_eq!(lines[0], "primes from 18446744073709551613 to 18446744073709551615: 0");
}

#[test]
fn bad_arguments_are_refused_with_advice() {
    let directory = env::temp_dir();
    let in_nothing = Scratch::new("no-directory");
    let in_nothing = in_nothing.0.join("list");
    let cases: &[(&[&str], &str)] = &[
        (&["10", "1"], "give the smaller number first"),
        (&["one", "10"], "give a whole number"),
        (&["-5", "10"], "give a whole number"),
        (&["1", "18446744073709551616"], "give a whole number from 0 to 18446744073709551615"),
        (&["1"], "<END>"),
        (&["1", "10", "100"], "unexpected argument '100'"),
        (&["1", "10", "--workers", "0"], "give a whole number from 1 to 1024"),
        (&["1", "10", "--workers", "1025"], "give a whole number from 1 to 1024"),
        (&["1", "10", "--chunk", "0"], "give a whole number from 1 to 10000000"),
        (&["1", "10", "--list", directory.to_str().unwrap()], "give --list another name"),
        (&["1", "10", "--list", in_nothing.to_str().unwrap()], "give --list another name"),
    ];
    for (args, advice) in cases {
        let output = primes(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(advice), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn refused_range_leaves_the_list_alone() {
    let list = Scratch::new("kept");
    fs::write(&list.0, "kept").unwrap();
    assert_eq!(primes(&["10", "1", "--list", list.name()]).status.code(), Some(2));
    assert_eq!(fs::read_to_string(&list.0).unwrap(), "kept");
}

#[test]
fn list_that_cannot_be_written_to_the_end_is_an_error() {
    let output = primes(&["1", "300000", "--workers", "3", "--list", "/dev/full"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
}

#[test]
fn kills_of_workers_do_not_change_the_result() {
    const KILLS: u32 = 60;
    let mut random = Random::new();
    let list = Scratch::new("killed");
    let args = ["1", "3000000", "--workers", "3", "--chunk", "500", "--no-serial", "--list", list.name()];
    watchdog(LIMIT, || {
        let mut running = start(&args);
        let mut kills = 0;
        while kills < KILLS && running.0.try_wait().unwrap().is_none() {
            if let workers @ [_, ..] = &running.workers()[..] {
                kill(workers[random.below(workers.len())], libc::SIGKILL);
                kills += 1;
            }
            thread::sleep(Duration::from_micros(random.below(10_000) as u64));
        }
        println!("{kills} workers were killed");
        assert!(kills >= 10, "the example ended after {kills} kills: give it a longer range");
        running.wait_until_all_ended();
        assert!(running.0.wait().unwrap().success());
        let mut printed = String::new();
        running.0.stdout.as_mut().unwrap().read_to_string(&mut printed).unwrap();
        assert!(printed.starts_with("primes from 1 to 3000000: 216816\n"), "{printed}");
    });
    let found: Vec<usize> = fs::read_to_string(&list.0).unwrap().lines().map(|n| n.parse().unwrap()).collect();
    assert!(found == sieve(3_000_000), "the count is right and the list is not");
}

#[test]
fn workers_end_with_a_killed_main_process() {
    let list = Scratch::new("main-killed");
    watchdog(LIMIT, || {
        let mut running = start(&[&LONG[..], &["--list", list.name()]].concat());
        running.wait_for_workers(3);
        kill(running.pid(), libc::SIGKILL);
        running.wait_until_all_ended();
        assert_eq!(running.0.wait().unwrap().signal(), Some(libc::SIGKILL));
    });
    assert!(!list.0.exists(), "an incomplete list has the name of a complete one");
}

#[test]
fn interrupt_of_the_group_ends_everything() {
    // At different times: while workers start, and while they work.
    for workers in [0, 1, 3] {
        watchdog(LIMIT, || {
            let mut running = start(&LONG);
            running.wait_for_workers(workers);
            running.signal_group(libc::SIGINT);
            running.wait_until_all_ended();
            assert_eq!(running.0.wait().unwrap().signal(), Some(libc::SIGINT));
        });
    }
}

#[test]
fn interrupt_of_the_main_process_alone_ends_everything() {
    watchdog(LIMIT, || {
        let mut running = start(&LONG);
        running.wait_for_workers(3);
        kill(running.pid(), libc::SIGINT);
        running.wait_until_all_ended();
        assert_eq!(running.0.wait().unwrap().signal(), Some(libc::SIGINT));
    });
}

#[test]
fn nothing_lies_in_dev_shm() {
    watchdog(LIMIT, || {
        let mut running = start(&LONG);
        let workers = running.wait_for_workers(3);
        let all: Vec<i32> = workers.into_iter().chain([running.pid()]).collect();
        for pid in &all {
            // /dev/shm belongs to the whole machine, so it is not listed: these processes have nothing of it in use.
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            assert!(!maps.contains("/dev/shm"), "{maps}");
            for file in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                let target = fs::read_link(file.path()).unwrap_or_default();
                assert!(!target.starts_with("/dev/shm"), "{}", target.display());
            }
        }
        // Names without an open file would be left when nobody can remove them.
        let before = names_in_dev_shm(&all);
        running.signal_group(libc::SIGKILL);
        running.wait_until_all_ended();
        assert_eq!((before, names_in_dev_shm(&all)), (Vec::new(), Vec::new()));
    });
}

/// The names that could be these processes': other programs, polyproc's too, may have theirs there.
fn names_in_dev_shm(pids: &[i32]) -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| pids.iter().any(|pid| name.contains(&pid.to_string()))).collect()
}

/// xorshift; prints its seed and takes `POLYPROC_SEED`.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = env::var("POLYPROC_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(process::id()) << 32 | 0x9e37_79b9);
        println!("POLYPROC_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("it is below `end`")
    }
}
