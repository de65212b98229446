//! How far a program is, on stderr: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// The time between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(2);

/// Shown until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// What is counted.
    things: &'static str,
    /// When the last line was written.
    told: Instant,
}

impl Progress {
    /// `what` has `steps` to do and finds `things`.
    pub(crate) fn new(what: &'static str, things: &'static str, steps: u64) -> Self {
        let bar = ProgressBar::new(steps); // hidden if stderr is no terminal
        let style = ProgressStyle::with_template("{prefix} {percent:>3}% {bar:40} {msg}, {elapsed}");
        bar.set_style(style.expect("the template is constant and good"));
        bar.set_prefix(what);
        bar.set_message(format!("no {things} yet"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, things, told: Instant::now() }
    }

    /// `steps` more are done, and there are `count` things now.
    pub(crate) fn show(&mut self, steps: u64, count: u64) {
        let things = self.things;
        self.bar.set_message(format!("{count} {things}"));
        self.bar.inc(steps);
        if self.bar.is_hidden() && self.told.elapsed() > PAUSE {
            self.told = Instant::now();
            let share = 100.0 * self.bar.position() as f64 / self.bar.length().unwrap_or(1) as f64;
            // An error means that nobody listens.
            let _ = writeln!(io::stderr(), "{} {share:3.0}%, {count} {things}", self.bar.prefix());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
