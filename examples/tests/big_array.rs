//! The large array: its sum, what is printed, and what is refused.

mod common;

use polyproc_testing::watchdog;
use std::process::Output;
use std::time::Duration;

fn big_array(args: &[&str]) -> Output {
    watchdog(Duration::from_secs(90), || common::example("big_array", args).output().unwrap())
}

fn lines(args: &[&str]) -> Vec<String> {
    let output = big_array(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_small_array_has_its_sum_with_any_number_of_processes() {
    for workers in ["1", "3", "7"] {
        let lines = lines(&["--numbers", "123456", "--workers", workers]);
        assert_eq!(lines[0], "123456 numbers, 1 MB in shared memory");
        assert_eq!(lines[1], "sum of 10 rounds: 615422400", "ten times 123 times 499500, and 455 * 456 / 2 on top");
        assert!(lines[2].starts_with("serial time: ") && lines[4].starts_with("speed-up: "), "{lines:?}");
        assert!(lines[3].ends_with(&format!(" with {workers} processes, their start included")), "{lines:?}");
    }
}

#[test]
fn parts_may_be_empty() {
    assert_eq!(lines(&["--numbers", "2", "--rounds", "1", "--workers", "5"])[1], "sum of 1 rounds: 1");
}

#[test]
fn bad_arguments_are_refused_with_advice() {
    let cases: &[(&[&str], &str)] = &[
        (&["--numbers", "0"], "give a whole number from 1 to 1000000000"),
        (&["--numbers", "-1"], "give a whole number from 1 to 1000000000"),
        (&["--rounds", "0"], "give a whole number from 1 to 1000"),
        (&["--workers", "257"], "give a whole number from 1 to 256"),
        (&["5"], "unexpected argument"),
    ];
    for (args, advice) in cases {
        let output = big_array(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(advice), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn help_tells_the_options() {
    let output = big_array(&["--help"]);
    assert!(output.status.success());
    for option in ["--numbers", "--rounds", "--workers"] {
        assert!(String::from_utf8_lossy(&output.stdout).contains(option), "{output:?}");
    }
}
