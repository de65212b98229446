//! Workers, processes or threads, that fight for one lock.
//!
//! A contest has a goal: all workers add 1 to one counter under the lock until it is reached. The counter is a plain one: the
//! sum of what each says it added is the goal exactly if the lock excludes.

use crate::cpu::{Pinned, pin};
use crate::helper::{Helper, Orders};
use crate::lock::{Exclusive, RawSync};
use crate::page::{Line, Page, meet};
use core::hint::black_box;
use core::time::Duration;
use polyproc::parts::sys::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::parts::sys::spin::cpus;
use polyproc::{Lock, Queue};
use serde::{Deserialize, Serialize};

/// What one worker did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Share {
    added: u64,
    start: u64,
    end: u64,
    /// Nanoseconds for which others had the CPU.
    delayed: u64,
}

/// What came of a contest.
#[derive(Clone, Copy, Debug)]
pub struct Contest {
    /// From the first start to the last end.
    pub time: Duration,
    /// What the slowest worker added, over what the fastest one did. One that came too late to add anything counts as if it
    /// had added 1: criterion takes no zeros.
    pub evenness: f64,
    /// The part of the time for which workers were not there, or waited for a CPU. A lock that sleeps waits a little for one
    /// after each wake-up; much more than that was taken by a neighbour, or by other workers where there are too few CPUs.
    lost: f64,
}

impl Contest {
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    fn of(shares: &[Share], goal: u64) -> Self {
        let least = |f: fn(&Share) -> u64| shares.iter().map(f).min().unwrap_or(0);
        let most = |f: fn(&Share) -> u64| shares.iter().map(f).max().unwrap_or(0);
        assert_eq!(shares.iter().map(|s| s.added).sum::<u64>(), goal, "the lock excludes");
        let time = most(|s| s.end) - least(|s| s.start);
        let lost = most(|s| s.start) - least(|s| s.start) + shares.iter().map(|s| s.delayed).sum::<u64>();
        Self {
            time: Duration::from_nanos(time),
            evenness: least(|s| s.added).max(1) as f64 / most(|s| s.added).max(1) as f64,
            lost: lost as f64 / time.max(1) as f64,
        }
    }
}

/// Contests are repeated until one lost at most this part of its time, …
const LITTLE: f64 = 0.1;
/// … but not more often than this: then the one that lost least counts.
const TRIES: usize = 10;

/// A contest that shows the lock and not a neighbour on the machine, if there is one among a few. The choice looks at the time
/// that workers waited for a CPU, not at how fast they were. With more workers than CPUs they always wait: the first counts.
pub fn undisturbed(workers: usize, contest: impl Fn() -> Contest) -> Contest {
    let mut best = contest();
    if workers <= processors() {
        for _ in 1..TRIES {
            if best.lost <= LITTLE {
                break;
            }
            let next = contest();
            if next.lost < best.lost {
                best = next;
            }
        }
    }
    best
}

/// Adds 1 under the lock again and again until the counter is at `goal`, with `work` steps of other work between.
fn hammer(lock: &impl Exclusive, counter: &AtomicU64, goal: u64, work: u32) -> Share {
    let (delay_before, start, mut added) = (delay(), now_ns(), 0);
    let more = || {
        let count = counter.load(Relaxed);
        let more = count < goal;
        if more {
            counter.store(count + 1, Relaxed); // not atomic: a lock that does not exclude shows
        }
        more
    };
    while lock.exclusive(more) {
        added += 1;
        for i in 0..work {
            black_box(i);
        }
    }
    let end = now_ns();
    Share { added, start, end, delayed: delay() - delay_before }
}

/// Nanoseconds that this thread has wanted a CPU and had none; 0 where the kernel does not say.
fn delay() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').nth(1).and_then(|delay| delay.parse().ok()).unwrap_or(0)
}

fn processors() -> usize {
    usize::try_from(cpus()).unwrap_or(1)
}

/// A CPU for each worker, if there are enough of them; if not, the scheduler deals them out better.
pub(crate) fn place(worker: usize, workers: usize) -> Option<Pinned> {
    (workers <= processors()).then(|| pin(worker))
}

/// So many workers, as the words that they meet at count them.
pub(crate) fn parties(workers: usize) -> u32 {
    u32::try_from(workers).expect("few workers")
}

/// Threads and one lock.
pub fn between_threads(workers: usize, lock: &(impl Exclusive + Sync), goal: u64, work: u32) -> Contest {
    let (counter, arrived) = (Line(AtomicU64::new(0)), Line(AtomicU32::new(0)));
    let worker = &|worker| {
        let _pinned = place(worker, workers);
        meet(&arrived.0, parties(workers));
        hammer(lock, &counter.0, goal, work)
    };
    let shares: Vec<Share> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..workers).map(|i| s.spawn(move || worker(i))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    Contest::of(&shares, goal)
}

/// A lock between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// polyproc's.
    Polyproc,
    /// glibc's robust mutex, in the same memory and between the same processes; so are those below.
    Robust,
    /// glibc's mutex that nobody can repair.
    Normal,
    /// raw_sync's.
    RawSync,
}

/// An order to a worker process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Order {
    which: Which,
    workers: usize,
    goal: u64,
    work: u32,
}

/// Processes that fight for locks.
#[derive(Debug)]
pub struct Fighters {
    helpers: Vec<Helper<Order, Share>>,
    page: &'static Page,
}

impl Fighters {
    /// Starts so many.
    ///
    /// # Panics
    /// If they cannot be started.
    #[must_use]
    pub fn start(workers: usize) -> Self {
        let lock = Lock::new().expect("a lock");
        let (page, offset) = Page::create();
        Self { helpers: (0..workers).map(|i| Helper::start(fight, (lock.clone(), offset, i))).collect(), page }
    }

    /// The first `workers` processes and one lock; the others sleep.
    #[must_use]
    pub fn run(&self, workers: usize, which: Which, goal: u64, work: u32) -> Contest {
        self.page.arrived.0.store(0, Relaxed);
        self.page.counter.0.store(0, Relaxed);
        let helpers = &self.helpers[..workers];
        for helper in helpers {
            helper.order(Order { which, workers, goal, work });
        }
        let shares: Vec<Share> = helpers.iter().map(Helper::answer).collect();
        Contest::of(&shares, goal)
    }
}

fn fight(orders: Orders<Order>, answers: Queue<Share>, (lock, offset, me): (Lock, u64, usize)) {
    let page = Page::at(offset);
    let raw_sync = RawSync::open(&page.raw_sync.0);
    while let Ok(Some(Order { which, workers, goal, work })) = orders.get() {
        let (counter, _pinned) = (&page.counter.0, place(me, workers));
        meet(&page.arrived.0, parties(workers));
        let share = match which {
            Which::Polyproc => hammer(&lock, counter, goal, work),
            Which::Robust => hammer(&page.robust.0, counter, goal, work),
            Which::Normal => hammer(&page.normal.0, counter, goal, work),
            Which::RawSync => hammer(&raw_sync, counter, goal, work),
        };
        answers.put(share).expect("an answer is put");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(added: u64, start: u64, end: u64, delayed: u64) -> Share {
        Share { added, start, end, delayed }
    }

    fn contest(lost: f64) -> Contest {
        Contest { time: Duration::from_secs(1), evenness: 1.0, lost }
    }

    #[test]
    fn a_contest_is_from_the_first_start_to_the_last_end() {
        let contest = Contest::of(&[share(30, 100, 1000, 50), share(70, 200, 1100, 0)], 100);
        assert_eq!(contest.time, Duration::from_nanos(1000));
        assert_eq!((contest.evenness * 70.0, contest.lost), (30.0, 0.15));
    }

    #[test]
    #[should_panic(expected = "the lock excludes")]
    fn a_lock_that_does_not_exclude_shows() {
        let _ = Contest::of(&[share(51, 0, 1, 0), share(50, 0, 1, 0)], 100);
    }

    #[test]
    fn the_first_contest_that_was_left_alone_counts() {
        let lost = core::cell::RefCell::new(vec![0.9, 0.05, 0.5, 0.3]);
        let next = || contest(lost.borrow_mut().pop().expect("enough"));
        if processors() >= 2 {
            assert_eq!(undisturbed(2, next).lost, 0.05);
            assert_eq!(lost.borrow().len(), 1);
        }
    }

    #[test]
    fn with_too_few_processors_the_first_contest_counts() {
        let lost = core::cell::RefCell::new(vec![0.1, 3.0]);
        let next = || contest(lost.borrow_mut().pop().expect("enough"));
        assert_eq!(undisturbed(processors() + 1, next).lost, 3.0);
    }
}
