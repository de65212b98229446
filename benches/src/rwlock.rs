//! Readers of one lock, in processes and in threads: do they slow each other down?

use crate::contest::{parties, place};
use crate::helper::{Helper, Orders};
use crate::page::{Line, Page, meet};
use core::time::Duration;
use polyproc::parts::sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::{Queue, RwLock};
use serde::{Deserialize, Serialize};

/// When a reader started and ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Span {
    start: u64,
    end: u64,
}

/// An order to a reader process: of how many it is one, and how often it reads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Order {
    workers: usize,
    reads: u64,
}

/// Processes that read.
#[derive(Debug)]
pub struct Readers {
    helpers: Vec<Helper<Order, Span>>,
    page: &'static Page,
}

impl Readers {
    /// Starts so many readers of one lock.
    ///
    /// # Panics
    /// If they cannot be started.
    #[must_use]
    pub fn start(workers: usize, lock: &RwLock) -> Self {
        let (page, offset) = Page::create();
        Self { helpers: (0..workers).map(|i| Helper::start(work, (lock.clone(), offset, i))).collect(), page }
    }

    /// `n` reads, shared out to the first `workers` processes; from the first start to the last end.
    #[must_use]
    pub fn run(&self, workers: usize, n: u64) -> Duration {
        self.page.arrived.0.store(0, Relaxed);
        let helpers = &self.helpers[..workers];
        helpers.iter().for_each(|helper| helper.order(Order { workers, reads: share(n, workers) }));
        time(&helpers.iter().map(Helper::answer).collect::<Vec<_>>())
    }
}

fn work(orders: Orders<Order>, answers: Queue<Span>, (lock, offset, me): (RwLock, u64, usize)) {
    let page = Page::at(offset);
    while let Ok(Some(Order { workers, reads })) = orders.get() {
        let _pinned = place(me, workers);
        meet(&page.arrived.0, parties(workers));
        answers.put(span(reads, || drop(lock.read()))).expect("an answer is put");
    }
}

/// `n` reads, shared out to so many threads; from the first start to the last end.
///
/// # Panics
/// If a thread does.
pub fn by_threads(workers: usize, n: u64, read: impl Fn() + Sync) -> Duration {
    let arrived = Line(AtomicU32::new(0));
    let worker = &|worker| {
        let _pinned = place(worker, workers);
        meet(&arrived.0, parties(workers));
        span(share(n, workers), &read)
    };
    let spans: Vec<Span> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..workers).map(|i| s.spawn(move || worker(i))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    time(&spans)
}

fn share(n: u64, workers: usize) -> u64 {
    n.div_ceil(u64::from(parties(workers)))
}

fn span(reads: u64, read: impl Fn()) -> Span {
    let start = now_ns();
    (0..reads).for_each(|_| read());
    Span { start, end: now_ns() }
}

fn time(spans: &[Span]) -> Duration {
    let start = spans.iter().map(|s| s.start).min().unwrap_or(0);
    let end = spans.iter().map(|s| s.end).max().unwrap_or(0);
    Duration::from_nanos(end - start)
}
