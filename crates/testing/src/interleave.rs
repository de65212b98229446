//! One process beside another, in every order of its system calls: a subject is stopped before each of them in turn, the
//! other one does all that it has to do, and the subject goes on to its end.
//!
//! For protocols that processes follow by system calls alone, such as locks of files. Loom sees none of them, and races of
//! real processes hit windows of a microsecond by chance.
//!
//! # Limits
//! * Only whole runs of the other one are tried, not its calls between those of the subject.
//! * The subject must have one thread and must not fork.

use crate::runner;
use crate::tracee::{Event, Patience, Tracee};
use std::collections::BTreeMap;
use std::fmt;

/// Whom to stop, and what to do beside it. `S` is the state of one run.
///
/// See [`interleave_at_every_system_call`] for an example.
pub struct Interleaving<'a, S> {
    /// Name for reports and messages.
    pub name: &'a str,
    /// Runs in the harness before each subject is forked: makes a fresh state.
    pub setup: &'a mut dyn FnMut() -> S,
    /// Runs in the subject, without stops.
    pub prepare: &'a dyn Fn(&S),
    /// The operation that is stopped before each of its system calls.
    pub subject: &'a dyn Fn(&S),
    /// Runs in the harness while the subject is stopped, and once behind its end.
    pub other: &'a mut dyn FnMut(&mut S),
    /// Runs in the harness when the subject has come to its end, and still lives: names the outcome, panics on a broken
    /// invariant.
    pub check: &'a mut dyn FnMut(&mut S) -> String,
}

impl<S> fmt::Debug for Interleaving<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interleaving").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Tries every order; how often each outcome was seen. Told to [`runner::report`].
///
/// # Panics
/// * `other` or `check` panicked.
/// * The subject panicked, was killed, or does not come to its end.
/// * This process has other threads.
///
/// # Examples
/// ```
/// use polyproc_testing::{Interleaving, interleave_at_every_system_call};
/// let path = std::env::temp_dir().join(format!("interleaving-{}", std::process::id()));
/// let outcomes = interleave_at_every_system_call(Interleaving {
///     name: "a file is made beside another",
///     setup: &mut || false,
///     prepare: &|_| (),
///     subject: &|_| drop(std::fs::File::create_new(&path)),
///     other: &mut |was_first| *was_first = std::fs::File::create_new(&path).is_ok(),
///     check: &mut |was_first| {
///         std::fs::remove_file(&path).unwrap(); // one of them has made it
///         if *was_first { "the other" } else { "the subject" }.into()
///     },
/// });
/// assert!(outcomes["the other"] > 0 && outcomes["the subject"] > 0);
/// ```
pub fn interleave_at_every_system_call<S>(interleaving: Interleaving<'_, S>) -> BTreeMap<String, usize> {
    let Interleaving { name, setup, prepare, subject, other, check } = interleaving;
    let mut outcomes = BTreeMap::new();
    for calls in 0.. {
        let mut state = setup();
        let tracee = Tracee::start(|| prepare(&state), || subject(&state));
        let mut tracee =
            tracee.unwrap_or_else(|code| panic!("{name}: the subject ended in prepare with exit code {code}"));
        // Each call stops it twice, before and behind.
        let ended = (0..=2 * calls).any(|_| {
            tracee.go_to_system_call();
            wait(name, &mut tracee);
            tracee.at_end()
        });
        other(&mut state);
        if !ended {
            tracee.go();
            wait(name, &mut tracee);
            assert!(tracee.at_end(), "{name}: stopped before call {calls}, the subject was stopped again");
        }
        *outcomes.entry(check(&mut state)).or_default() += 1;
        if ended {
            runner::report(&format!("{name}: {calls} system calls {outcomes:?}"));
            break;
        }
    }
    outcomes
}

fn wait(name: &str, tracee: &mut Tracee) {
    loop {
        match tracee.wait(Patience::Long) {
            Event::Trap => return,
            Event::Asleep => {} // for a moment, as whoever tries again does
            Event::Ended(code) => panic!("{name}: the subject ended by itself with exit code {code}"),
        }
    }
}
