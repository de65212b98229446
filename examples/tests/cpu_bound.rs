//! The four ways beside each other: what is printed, and what is refused.

mod common;

use polyproc_testing::watchdog;
use std::process::Output;
use std::time::Duration;

fn cpu_bound(args: &[&str]) -> Output {
    watchdog(Duration::from_secs(90), || common::example("cpu_bound", args).output().unwrap())
}

/// Checks the table and returns what is printed above it.
fn head(args: &[&str]) -> [String; 2] {
    let output = cpu_bound(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let [tasks, machine, "", title, table @ ..] = &lines[..] else { panic!("{text}") };
    assert_eq!(title.split_whitespace().collect::<Vec<_>>(), ["way", "time", "speed-up"]);
    let rows: Vec<Vec<&str>> = table.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["serial", "threads", "processes", "pool"]);
    for row in &rows {
        let [_, time, "s", gain] = row[..] else { panic!("{row:?}") };
        assert!(time.parse::<f64>().is_ok() && gain.parse::<f64>().is_ok_and(|gain| gain >= 0.0), "{row:?}");
    }
    assert_eq!(rows[0][3], "1.00");
    [tasks, machine].map(|line| (*line).to_owned())
}

#[test]
fn sum_of_the_tutorial_is_the_default() {
    let [tasks, _] = head(&[]);
    assert_eq!(tasks, "4 tasks, each adds up the numbers below 50000000: 1249999975000000");
}

#[test]
fn options_are_obeyed() {
    let [tasks, machine] = head(&["--tasks", "9", "--numbers", "1001", "--workers", "3"]);
    assert_eq!(tasks, "9 tasks, each adds up the numbers below 1001: 500500");
    assert!(machine.ends_with(" CPUs, 3 workers in the pool"), "{machine}");
    assert!(head(&["--tasks", "1", "--numbers", "1"])[0].ends_with(": 0"));
}

#[test]
fn bad_arguments_are_refused_with_advice() {
    let cases: &[(&[&str], &str)] = &[
        (&["--tasks", "0"], "give a whole number from 1 to 256"),
        (&["--tasks", "257"], "give a whole number from 1 to 256"),
        (&["--numbers", "0"], "give a whole number from 1 to 4000000000"),
        (&["--numbers", "-1"], "give a whole number from 1 to 4000000000"),
        (&["--numbers", "4000000001"], "give a whole number from 1 to 4000000000"),
        (&["--workers", "many"], "give a whole number from 1 to 1024"),
        (&["5"], "unexpected argument"),
    ];
    for (args, advice) in cases {
        let output = cpu_bound(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(advice), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn help_tells_the_options() {
    let output = cpu_bound(&["--help"]);
    assert!(output.status.success());
    for option in ["--tasks", "--numbers", "--workers"] {
        assert!(String::from_utf8_lossy(&output.stdout).contains(option), "{output:?}");
    }
}
