//! Which call each thread of a victim is in, and since when: a call that does not come back is named.

use crate::{AFTERWARDS, UNDER_FIRE};
use polyproc::Family;
use polyproc_testing::Scribbler;
use polyproc_testing::scribble::{Dice, release_locks};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A call that has a deadline is over by then, on a machine that is busy with much else.
const LONGEST: Duration = Duration::from_secs(40);
/// A call that waits for a lock without a deadline is helped after this.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a thread is at.
#[derive(Clone, Copy)]
struct Call {
    name: &'static str,
    since: Instant,
    /// The call waits for a lock for as long as it is held, as it says in its page.
    waits: bool,
}

const LANES: usize = 8;
static LANES_NOW: Mutex<[Option<Call>; LANES]> = Mutex::new([None; LANES]);
static LONGEST_YET: Mutex<(&str, Duration)> = Mutex::new(("", Duration::ZERO));

fn lanes() -> std::sync::MutexGuard<'static, [Option<Call>; LANES]> {
    LANES_NOW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread of the victim.
pub(crate) struct Lane {
    at: usize,
    pub(crate) dice: Dice,
}

impl Lane {
    pub(crate) fn new(at: usize, seed: u64) -> Self {
        Self { at, dice: Dice::new(seed ^ (at as u64 + 1) << 32) }
    }

    /// A call that ends by itself.
    pub(crate) fn call<R>(&self, name: &'static str, f: impl FnOnce() -> R) -> R {
        self.run(name, false, f)
    }

    /// A call that ends when a lock is given up.
    pub(crate) fn call_that_waits<R>(&self, name: &'static str, f: impl FnOnce() -> R) -> R {
        self.run(name, true, f)
    }

    fn run<R>(&self, name: &'static str, waits: bool, f: impl FnOnce() -> R) -> R {
        let since = Instant::now();
        lanes()[self.at] = Some(Call { name, since, waits });
        let result = f();
        lanes()[self.at] = None;
        let took = since.elapsed();
        let mut longest = LONGEST_YET.lock().unwrap_or_else(PoisonError::into_inner);
        if !waits && took > longest.1 {
            *longest = (name, took);
        }
        result
    }
}

/// A panic in any thread ends the process: nothing that a peer writes may cause one.
pub(crate) fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        eprintln!(
            "hostile: {info}\nhostile: a panic because of what a peer wrote\n{}",
            std::backtrace::Backtrace::force_capture()
        );
        std::process::abort();
    }));
}

/// Starts the thread that looks after the others, with what it takes to help those that wait for a lock.
pub(crate) fn watch(files: Vec<std::os::fd::OwnedFd>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = *lanes();
            for call in now.into_iter().flatten() {
                let took = call.since.elapsed();
                if took > LONGEST {
                    eprintln!("hostile: `{}` is not over after {took:?}", call.name);
                    polyproc_testing::watchdog(Duration::ZERO, || std::thread::sleep(LONGEST));
                }
                if call.waits && took > PATIENCE {
                    help(&files);
                }
            }
        }
    });
}

/// Gives up all locks that threads of this process or of another one seem to hold.
fn help(files: &[std::os::fd::OwnedFd]) {
    use std::os::fd::AsFd;
    let numbers = |dir: &str| -> Vec<u32> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
    };
    let threads: Vec<u32> =
        numbers("/proc").into_iter().flat_map(|pid| numbers(&format!("/proc/{pid}/task"))).collect();
    let family = Family::existing().map(|f| f.boot().fd);
    // SAFETY: the family's descriptor stays open for as long as the process lives.
    let family = family.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
    let all: Vec<BorrowedFd<'_>> = family.into_iter().chain(files.iter().map(AsFd::as_fd)).collect();
    release_locks(&all, &threads);
}

/// Lets the scribbler write for a while, and the victim go on for a while behind its end.
pub(crate) fn under_fire(scribbler: Scribbler, seed: u64) {
    scribbler.go();
    let started = Instant::now();
    std::thread::sleep(UNDER_FIRE);
    let writes = scribbler.writes();
    drop(scribbler);
    std::thread::sleep(AFTERWARDS);
    println!("seed {seed}: {writes} writes in {:?}, longest call {:?}", started.elapsed(), longest());
}

/// The call that took longest.
pub(crate) fn longest() -> (&'static str, Duration) {
    *LONGEST_YET.lock().unwrap_or_else(PoisonError::into_inner)
}
