//! What dead processes left that nobody but this process may clear up: descendants of dead children, and those whose
//! clearing up was skipped at first, since this process did not know some kind of object yet.
//!
//! A descendant ends a moment after the child that it hung on, so one look is not enough. As long as processes are
//! registered that are neither this one nor its children, later looks ask the kernel about all of them: less and less
//! often while nothing is found, and never for more than a small part of the time.

use crate::registry;
use core::time::Duration;
use polyproc_shm::Family;
use polyproc_sys::per_process::PerProcess;
use std::time::Instant;

static TIDY: PerProcess<Tidy> = PerProcess::new();

#[derive(Debug, Default)]
struct Tidy {
    /// Something may be left.
    pending: bool,
    /// Not before this.
    next: Option<Instant>,
    /// How long the last looks in vain make the next one wait.
    pause: Duration,
}

/// The first and the longest pause after a look in vain.
const FIRST: Duration = Duration::from_micros(500);
const LAST: Duration = Duration::from_secs(1);
/// A look is followed by so many times its own duration without one.
const SHARE: u32 = 20;

/// A child of this process has been cleared up: its descendants may be dead as well.
pub(crate) fn child_died(family: &'static Family) {
    if let Some(mut tidy) = TIDY.try_lock() {
        tidy.pending = true;
        tidy.pause = Duration::ZERO;
    }
    look(family);
}

/// Clears up if something may be left, and it is time.
pub(crate) fn look_again() {
    if let Some(family) = Family::existing() {
        look(family);
    }
}

fn look(family: &'static Family) {
    let Some(mut tidy) = TIDY.try_lock() else { return }; // another thread is at it
    let start = Instant::now();
    if !tidy.pending || tidy.next.is_some_and(|next| start < next) {
        return;
    }
    let strangers = || family.stats().processes > 1 + registry::registered(family);
    tidy.pending = strangers();
    if tidy.pending {
        let found = family.reap().processes != 0;
        tidy.pending = strangers();
        tidy.pause = if found { FIRST } else { (2 * tidy.pause).clamp(FIRST, LAST) };
    }
    let end = Instant::now();
    tidy.next = Some(end + (end - start).saturating_mul(SHARE).max(tidy.pause).min(LAST));
}
