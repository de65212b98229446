//! Divisors: the lists of the tutorial, and what is refused.

mod common;

use polyproc_testing::watchdog;
use std::process::Output;
use std::time::Duration;

fn factorize(args: &[&str]) -> Output {
    watchdog(Duration::from_secs(90), || common::example("factorize", args).output().unwrap())
}

/// The lists that it prints, and the first words of the lines behind them.
fn parts(args: &[&str]) -> (Vec<String>, Vec<String>) {
    let output = factorize(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let (lists, times): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with('['));
    assert!(times.iter().all(|line| line.contains(" seconds")), "{times:?}");
    (lists, times.iter().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect())
}

#[test]
fn lists_of_the_tutorial_are_found_in_three_ways() {
    let (lists, ways) = parts(&[]);
    let wanted = [
        "[1, 5501, 9733, 53541233]",
        "[1, 21235343]",
        "[1, 11, 383, 2711, 4213, 29821, 1038313, 11421443]",
        "[1, 5423123]",
    ];
    assert_eq!(lists, wanted);
    assert_eq!(ways, ["serial", "processes", "pool"]);
}

#[test]
fn other_numbers_come_in_the_order_in_which_they_were_given() {
    assert_eq!(parts(&["12", "1", "7", "12"]).0, ["[1, 2, 3, 4, 6, 12]", "[1]", "[1, 7]", "[1, 2, 3, 4, 6, 12]"]);
}

#[test]
fn bad_arguments_are_refused_with_advice() {
    let too_many: Vec<String> = (1..=257).map(|n| n.to_string()).collect();
    let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();
    let cases: &[(&[&str], &str)] = &[
        (&["0"], "give a whole number from 1 to 100000000000"),
        (&["-4"], "give a whole number from 1 to"),
        (&["1.5"], "give a whole number from 1 to"),
        (&["100000000001"], "give a whole number from 1 to"),
        (&["12", "twelve"], "give a whole number from 1 to"),
        (&too_many, "no more were expected"),
        (&["--fast"], "unexpected argument"),
    ];
    for (args, advice) in cases {
        let output = factorize(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(advice), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn help_tells_the_options() {
    let output = factorize(&["--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("at most 256 of them"), "{output:?}");
}
