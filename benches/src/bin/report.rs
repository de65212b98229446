//! One table: each bar beside what criterion has measured. See `report --help`.

use clap::Parser;
use polyproc_benches::bars::{BARS, Verdict, judge, table};
use polyproc_benches::results;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reads what `cargo bench -p polyproc-benches` has measured, and prints one table: each bar of the design, our figure, the
/// rival's, the ratio, and whether the bar holds.
///
/// Figures are the medians of criterion's samples. A bar that is about a rival is "not measured" if one of the two was not
/// measured, or not in the same run; a bar that is a plain number needs no rival.
///
/// Exit status: 0; with --check, 1 unless every bar holds; 2 if there are no results, or they cannot be read.
#[derive(Parser)]
struct Options {
    /// Exit with 1 unless every bar was measured and holds
    #[arg(long)]
    check: bool,
    /// Criterion's folder [default: criterion in CARGO_TARGET_DIR, or in the workspace's target]
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Options { check, folder } = Options::parse();
    let results = match results::read(&folder.unwrap_or_else(criterion_folder)) {
        Ok(results) => results,
        Err(e) => {
            eprintln!("report: {e}");
            return ExitCode::from(2);
        }
    };
    let lines = judge(BARS, &results);
    print!("{}", table(&lines));
    let all_hold = lines.iter().all(|line| line.verdict == Verdict::Holds);
    if check && !all_hold {
        eprintln!("report: not every bar was measured and holds");
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}

/// Where criterion leaves its results.
fn criterion_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"), PathBuf::from);
    target.join("criterion")
}
