//! What criterion has measured, read from its folder.

use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fmt, fs, io};

/// A bench's result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The median of the samples: nanoseconds of one operation, or whatever else the bench measures.
    pub median: f64,
    /// Elements that one operation handles.
    pub elements: f64,
    /// When it was written.
    pub at: SystemTime,
}

/// All results, by the benches' full names: `group/bench`.
pub type Results = BTreeMap<String, Figure>;

/// Why there are no results.
#[derive(Debug)]
pub struct ResultsError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Missing,
    Io(io::Error),
    Json(serde_json::Error),
}

const RUN: &str = "`cargo bench -p polyproc-benches`";

impl fmt::Display for ResultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Missing => write!(f, "no results of criterion in {path}: run {RUN} first"),
            Reason::Io(e) => write!(f, "reading {path}: {e}"),
            Reason::Json(e) => write!(f, "{path} is no result of criterion ({e}): delete it and run {RUN} again"),
        }
    }
}

impl std::error::Error for ResultsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Missing => None,
            Reason::Io(e) => Some(e),
            Reason::Json(e) => Some(e),
        }
    }
}

#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Throughput {
    #[serde(rename_all = "PascalCase")]
    Counted {
        #[serde(alias = "ElementsAndBytes")]
        elements: f64,
    },
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// So long, at most, a run of all benches takes.
const ONE_RUN: Duration = Duration::from_mins(30);

/// Reads each `new/estimates.json` below `folder`, with the name beside it in `benchmark.json`; those that are more than half
/// an hour older than the newest are of an earlier run, and left out.
///
/// # Errors
/// If there is none, or one cannot be read: the error says what to do.
pub fn read(folder: &Path) -> Result<Results, ResultsError> {
    let mut results = Results::new();
    if folder.is_dir() {
        walk(folder, &mut results)?;
    }
    // What the last run did not measure is not its result.
    let newest = results.values().map(|figure| figure.at).max();
    results
        .retain(|_, figure| newest.and_then(|at| at.duration_since(figure.at).ok()).is_some_and(|age| age <= ONE_RUN));
    if results.is_empty() {
        Err(ResultsError { path: folder.to_owned(), reason: Reason::Missing })
    } else {
        Ok(results)
    }
}

fn walk(folder: &Path, results: &mut Results) -> Result<(), ResultsError> {
    let failed = |reason| ResultsError { path: folder.to_owned(), reason: Reason::Io(reason) };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.is_dir() {
            continue;
        }
        let estimates = path.join("estimates.json");
        if !path.ends_with("new") {
            walk(&path, results)?;
        } else if estimates.exists() {
            let at = fs::metadata(&estimates).and_then(|m| m.modified()).map_err(failed)?;
            let Estimates { median } = json(&estimates)?;
            let Benchmark { full_id, throughput } = json(&path.join("benchmark.json"))?;
            let elements = match throughput {
                Some(Throughput::Counted { elements }) => elements,
                Some(Throughput::Other(_)) | None => 1.0,
            };
            results.insert(full_id, Figure { median: median.point_estimate, elements, at });
        }
    }
    Ok(())
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ResultsError> {
    let failed = |reason| ResultsError { path: path.to_owned(), reason };
    let text = fs::read(path).map_err(|e| failed(Reason::Io(e)))?;
    serde_json::from_slice(&text).map_err(|e| failed(Reason::Json(e)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// A folder as criterion leaves it; it is gone when this is dropped.
    pub(crate) struct Fixture(PathBuf);

    impl Fixture {
        pub(crate) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("polyproc-report-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let folder = std::env::temp_dir().join(name);
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }

        /// As a bench of that name would leave it.
        pub(crate) fn measured(self, name: &str, median: f64, elements: u64) -> Self {
            let estimates =
                format!(r#"{{"mean": {{"point_estimate": 1.0}}, "median": {{"point_estimate": {median}}}}}"#);
            let benchmark = format!(r#"{{"full_id": "{name}", "throughput": {{"Elements": {elements}}}}}"#);
            self.written(name, "estimates.json", &estimates).written(name, "benchmark.json", &benchmark)
        }

        pub(crate) fn written(self, name: &str, file: &str, text: &str) -> Self {
            let folder = self.0.join(name.replace('/', "_")).join("some bench").join("new");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
            self
        }

        pub(crate) fn read(&self) -> Result<Results, ResultsError> {
            read(&self.0)
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn medians_are_read_with_their_names_and_elements() {
        let folder = Fixture::new().measured("pool/map", 5e6, 100_000).measured("lock/alone", 7.5, 1);
        let results = folder.read().unwrap();
        assert_eq!(results.len(), 2);
        assert_eq!((results["pool/map"].median, results["pool/map"].elements), (5e6, 1e5));
        assert_eq!((results["lock/alone"].median, results["lock/alone"].elements), (7.5, 1.0));
    }

    #[test]
    fn results_of_an_earlier_run_are_left_out() {
        let folder = Fixture::new().measured("lock/alone", 7.5, 1).measured("pool/map", 5e6, 100_000);
        let old = fs::File::options().write(true).open(folder.path().join("lock_alone/some bench/new/estimates.json"));
        old.unwrap().set_modified(SystemTime::now() - 2 * ONE_RUN).unwrap();
        let results = folder.read().unwrap();
        assert_eq!(results.keys().collect::<Vec<_>>(), ["pool/map"]);
    }

    #[test]
    fn results_of_the_run_before_are_left_out() {
        let folder = Fixture::new().measured("lock/alone", 7.5, 1);
        let new = folder.path().join("lock_alone/some bench/new");
        fs::rename(&new, new.with_file_name("base")).unwrap();
        assert!(folder.read().is_err());
    }

    #[test]
    fn a_bench_without_throughput_handles_one_element() {
        let folder = Fixture::new().measured("a", 1.0, 1).written("a", "benchmark.json", r#"{"full_id": "a"}"#);
        assert_eq!(folder.read().unwrap()["a"].elements, 1.0);
        let folder = folder.written("a", "benchmark.json", r#"{"full_id": "a", "throughput": {"Bytes": 7}}"#);
        assert_eq!(folder.read().unwrap()["a"].elements, 1.0);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_says_what_to_run() {
        let folder = Fixture::new();
        let missing = folder.path().join("nothing here");
        for path in [folder.path(), &missing] {
            let error = read(path).unwrap_err().to_string();
            assert!(error.contains("run `cargo bench -p polyproc-benches` first"), "{error}");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn broken_json_is_an_error_that_names_the_file() {
        for (file, text) in [
            ("estimates.json", "{"),
            ("estimates.json", r#"{"mean": {"point_estimate": 1.0}}"#),
            ("estimates.json", r#"{"median": {"point_estimate": "fast"}}"#),
            ("benchmark.json", ""),
            ("benchmark.json", r#"{"full_id": 7}"#),
        ] {
            let error = Fixture::new().measured("a", 1.0, 1).written("a", file, text).read().unwrap_err().to_string();
            assert!(error.contains(file) && error.contains("delete it and run"), "{error}");
        }
    }

    #[test]
    fn a_result_without_a_name_is_an_error() {
        let estimates = r#"{"median": {"point_estimate": 1.0}}"#;
        let error = Fixture::new().written("a", "estimates.json", estimates).read().unwrap_err().to_string();
        assert!(error.contains("benchmark.json"), "{error}");
    }
}
