//! A small test runner for binaries with `harness = false`: every test on the main thread of a process with one thread.
//!
//! libtest runs tests on threads, where fork is refused. In `Cargo.toml` write `[[test]] name = "kill_lock"`,
//! `harness = false`. It understands libtest's common flags: name filters, `--exact`, `--skip`, `--ignored`,
//! `--include-ignored`, `--list`, and takes without effect `--nocapture`, `--show-output`, `--test-threads`,
//! `--format`, `--color`, `--quiet` and the like. Output is not captured.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, Write};
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::fork::PANICKED;
use crate::watchdog::watchdog_single_threaded;

/// A test that is not over after this time is aborted. A test that needs longer runs its body in a watchdog of its own.
pub const LIMIT: Duration = Duration::from_secs(300);

/// A test: its name and what it does.
pub type Test<'a> = (&'a str, fn());

thread_local! {
    static REPORTS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps a line that is printed below the result of the running test. Without effect outside of the runner.
///
/// ```
/// polyproc_testing::runner::report(&"3 of 4 woken");
/// ```
pub fn report(line: &dyn Display) {
    REPORTS.with_borrow_mut(|reports| {
        if let Some(reports) = reports {
            reports.push(line.to_string());
        }
    });
}

/// Runs the tests that the command line asks for, in order. The exit code is libtest's: 0, or 101 if one failed.
///
/// ```
/// fn sums() { assert_eq!(1 + 1, 2) }
/// fn main() -> std::process::ExitCode { polyproc_testing::runner::main(&[("sums", sums)]) }
/// ```
#[must_use]
pub fn main(tests: &[Test<'_>]) -> ExitCode {
    main_with_ignored(tests, &[])
}

/// As [`main`], with tests that only run with `--ignored` or `--include-ignored`: long ones, and children of
/// [`crate::reexec::child`].
///
/// ```
/// fn sums() { assert_eq!(1 + 1, 2) }
/// fn soaks() { std::thread::sleep(std::time::Duration::from_secs(3600)) }
/// fn main() -> std::process::ExitCode {
///     polyproc_testing::runner::main_with_ignored(&[("sums", sums)], &[("soaks", soaks)])
/// }
/// ```
#[must_use]
pub fn main_with_ignored(tests: &[Test<'_>], ignored: &[Test<'_>]) -> ExitCode {
    let failed = match Options::parse(std::env::args().skip(1)) {
        Ok(options) if options.list => list(&options, tests, ignored),
        Ok(options) => run(&options, tests, ignored),
        Err(flag) => {
            eprintln!("error: unknown option {flag}");
            true
        }
    };
    if failed { ExitCode::from(u8::try_from(PANICKED).expect("101")) } else { ExitCode::SUCCESS }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    terse: bool,
    only_ignored: bool,
    include_ignored: bool,
}

impl Options {
    /// `Err` is the flag that is not known.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let (flag, value) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            let mut value = || value.clone().or_else(|| arguments.next()).unwrap_or_default();
            match flag {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--ignored" => options.only_ignored = true,
                "--include-ignored" => options.include_ignored = true,
                "--skip" => options.skipped.push(value()),
                "--format" => options.terse = value() == "terse",
                "--test-threads" | "--color" | "--logfile" | "--shuffle-seed" | "-Z" => drop(value()),
                "--nocapture" | "--no-capture" | "--show-output" | "--quiet" | "-q" | "--test" | "--shuffle" => {}
                "--report-time" | "--ensure-time" | "--force-run-in-process" | "--exclude-should-panic" => {}
                _ if flag.starts_with('-') => return Err(argument),
                _ => options.filters.push(argument),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        let hit = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(hit)) && !self.skipped.iter().any(hit)
    }
}

/// Prints the names; never fails.
fn list(options: &Options, tests: &[Test<'_>], ignored: &[Test<'_>]) -> bool {
    let tests = if options.only_ignored { &[] } else { tests };
    let mut count = 0;
    for (name, _) in tests.iter().chain(ignored).filter(|(name, _)| options.wants(name)) {
        println!("{name}: test");
        count += 1;
    }
    if !options.terse {
        println!("\n{count} tests, 0 benchmarks");
    }
    false
}

/// Runs what is wanted; whether one failed.
fn run(options: &Options, tests: &[Test<'_>], ignored: &[Test<'_>]) -> bool {
    let started = Instant::now();
    let all = tests.len() + ignored.len();
    // With --ignored alone the others count as filtered out, as with libtest.
    let wanted = |test: &&Test<'_>| options.wants(test.0);
    let tests: Vec<_> = if options.only_ignored { Vec::new() } else { tests.iter().filter(wanted).collect() };
    let ignored: Vec<_> = ignored.iter().filter(wanted).collect();
    let filtered = all - tests.len() - ignored.len();
    println!("\nrunning {} tests", tests.len() + ignored.len());
    let (now, not_now) =
        if options.only_ignored || options.include_ignored { (ignored, Vec::new()) } else { (Vec::new(), ignored) };
    let mut passed = 0;
    let mut failed = Vec::new();
    for &&(name, test) in tests.iter().chain(&now) {
        if run_one(name, test) {
            passed += 1;
        } else {
            failed.push(name);
        }
    }
    for (name, _) in &not_now {
        println!("test {name} ... ignored");
    }
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {} ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        not_now.len(),
        started.elapsed().as_secs_f64()
    );
    !failed.is_empty()
}

fn run_one(name: &str, test: fn()) -> bool {
    print!("test {name} ... ");
    let _ = io::stdout().flush();
    REPORTS.set(Some(Vec::new()));
    let passed = catch_unwind(|| watchdog_single_threaded(name, LIMIT, test)).is_ok();
    println!("{}", if passed { "ok" } else { "FAILED" });
    for line in REPORTS.take().unwrap_or_default() {
        println!("    {line}");
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Options {
        Options::parse(line.split_ascii_whitespace().map(str::to_owned)).unwrap()
    }

    #[test]
    fn flags_of_libtest_are_understood() {
        let options = parse("lock --exact --test-threads 4 --color=never --nocapture queue --skip slow --skip=old -q");
        assert_eq!(options.filters, ["lock", "queue"]);
        assert_eq!(options.skipped, ["slow", "old"]);
        assert!(options.exact && !options.list && !options.only_ignored);
        assert!(parse("--list --format terse --ignored").terse);
    }

    #[test]
    fn unknown_flags_are_refused() {
        let arguments = ["name", "--frobnicate=3"].map(str::to_owned);
        assert_eq!(Options::parse(arguments.into_iter()), Err("--frobnicate=3".to_owned()));
    }

    #[test]
    fn filters_are_parts_of_names_unless_exact() {
        assert!(parse("lock").wants("raw_lock"));
        assert!(!parse("lock --exact").wants("raw_lock"));
        assert!(parse("").wants("anything"));
        assert!(!parse("lock --skip raw").wants("raw_lock"));
    }
}
