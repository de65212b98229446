//! The locks, and two workers that fight for one.
//!
//! A contended run has a goal: both workers add 1 to one counter under the lock until it is reached. The sum of what each
//! says it added is the goal exactly if the lock excludes.

use crate::cpu::pin;
use crate::helper::{Helper, Orders};
use crate::page::{Line, Page, meet};
use core::cell::UnsafeCell;
use core::hint::black_box;
use core::time::Duration;
use polyproc::parts::sync::RawLock;
use polyproc::parts::sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::{Deadline, Lock, Queue};
use serde::{Deserialize, Serialize};

/// A lock to be measured: one lock, one call, one unlock.
pub trait Exclusive {
    /// Calls `f` while nobody else is in `exclusive` of the same lock.
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R;
}

/// The floor: a compare-exchange and a store. It spins, and offers its CPU now and then.
#[derive(Debug, Default)]
pub struct CasStore(AtomicU32);

impl Exclusive for CasStore {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut looks = 0_u32;
        while self.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(256) { std::thread::yield_now() } else { core::hint::spin_loop() }
        }
        let r = f();
        self.0.store(0, Release);
        r
    }
}

impl Exclusive for Lock {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock();
        f()
    }
}

/// polyproc's lock without its handle.
#[derive(Debug, Default)]
pub struct Raw(RawLock);

impl Exclusive for Raw {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: borrowed until it is unlocked, and these bytes are never anything but a lock; nobody outlives `self`.
        let locked = unsafe { RawLock::lock(&raw const self.0, Deadline::NEVER) };
        locked.expect("not held by this thread");
        let r = f();
        // SAFETY: as above; this thread holds it.
        unsafe { RawLock::unlock(&raw const self.0, false) };
        r
    }
}

impl Exclusive for parking_lot::Mutex<()> {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock();
        f()
    }
}

impl Exclusive for std::sync::Mutex<()> {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock().expect("nobody panics in a bench");
        f()
    }
}

/// glibc's mutex. It must not be moved once it was locked.
#[repr(transparent)]
pub struct Pthread(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is there to be used by several threads; nothing but pthread calls touches its bytes after `init`.
unsafe impl Sync for Pthread {}
// SAFETY: a mutex that nobody holds belongs to no thread.
unsafe impl Send for Pthread {}

impl core::fmt::Debug for Pthread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pthread(..)")
    }
}

impl Pthread {
    /// A mutex in a box: it stays where it is.
    #[must_use]
    pub fn boxed(shared: bool, robust: bool) -> Box<Line<Self>> {
        let mutex = Box::new(Line(Self(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))));
        mutex.0.init(shared, robust);
        mutex
    }

    /// Makes it a mutex of that kind; before anybody else knows it.
    pub(crate) fn init(&self, shared: bool, robust: bool) {
        let mut attributes = core::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: room for attributes.
        assert_eq!(unsafe { libc::pthread_mutexattr_init(attributes) }, 0);
        if shared {
            // SAFETY: initialized attributes.
            assert_eq!(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) }, 0);
        }
        if robust {
            // SAFETY: initialized attributes.
            assert_eq!(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) }, 0);
        }
        // SAFETY: room for a mutex that nobody uses yet, and initialized attributes.
        assert_eq!(unsafe { libc::pthread_mutex_init(self.0.get(), attributes) }, 0);
    }
}

impl Exclusive for Pthread {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: an initialized mutex, borrowed until it is unlocked.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0.get()) }, 0, "nobody dies in a bench");
        let r = f();
        // SAFETY: as above; this thread holds it.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        r
    }
}

/// raw_sync's mutex, in memory of its own.
#[cfg(feature = "raw_sync")]
pub struct RawSync {
    lock: Box<dyn raw_sync::locks::LockImpl>,
    _memory: Box<Line<UnsafeCell<[u8; 128]>>>,
}

// SAFETY: the lock is a process-shared pthread mutex; its memory is touched through it only.
#[cfg(feature = "raw_sync")]
unsafe impl Sync for RawSync {}

#[cfg(feature = "raw_sync")]
impl core::fmt::Debug for RawSync {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RawSync(..)")
    }
}

#[cfg(feature = "raw_sync")]
impl Default for RawSync {
    fn default() -> Self {
        use raw_sync::locks::{LockInit, Mutex};
        let memory = Box::new(Line(UnsafeCell::new([0; 128])));
        let first = memory.0.get().cast::<u8>();
        assert!(Mutex::size_of(Some(first)) <= 64);
        // SAFETY: 64 aligned bytes for the mutex and as many for what it protects, which live as long as the lock.
        let (lock, _) = unsafe { Mutex::new(first, first.wrapping_add(64)) }.expect("a mutex");
        Self { lock, _memory: memory }
    }
}

#[cfg(feature = "raw_sync")]
impl Exclusive for RawSync {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock.lock().expect("locked");
        f()
    }
}

/// Takes a lock and gives it up `n` times; nobody else wants it.
pub fn uncontended(lock: &impl Exclusive, n: u64) -> Duration {
    let start = now_ns();
    for _ in 0..n {
        lock.exclusive(|| black_box(()));
    }
    Duration::from_nanos(now_ns() - start)
}

/// What one worker of a contended run did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Share {
    added: u64,
    start: u64,
    end: u64,
    /// Nanoseconds for which others had the CPU.
    delayed: u64,
}

/// What came of a contended run.
#[derive(Clone, Copy, Debug)]
pub struct Contest {
    /// From the first start to the last end.
    pub time: Duration,
    /// What each worker added.
    pub added: [u64; 2],
    /// Whether both started together and neither waited long for a CPU: only then does the time say something about the
    /// lock. A lock that sleeps waits a little for one after each wake-up.
    pub undisturbed: bool,
}

impl Contest {
    fn of([a, b]: [Share; 2], goal: u64) -> Self {
        assert_eq!(a.added + b.added, goal, "the lock excludes");
        let time = Duration::from_nanos(a.end.max(b.end) - a.start.min(b.start));
        let lost = a.start.abs_diff(b.start) + a.delayed + b.delayed;
        Self { time, added: [a.added, b.added], undisturbed: u128::from(lost) * 4 < time.as_nanos() }
    }

    /// What the slower worker added, over what the faster one did.
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    #[must_use]
    pub fn fairness(&self) -> f64 {
        let [a, b] = self.added;
        a.min(b) as f64 / a.max(b).max(1) as f64
    }
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

/// Two threads and one lock.
pub fn between_threads(lock: &(impl Exclusive + Sync), goal: u64, work: u32) -> Contest {
    let (counter, arrived) = (Line(AtomicU64::new(0)), Line(AtomicU32::new(0)));
    let worker = &|cpu| {
        let _pinned = pin(cpu);
        meet(&arrived.0, 2);
        hammer(lock, &counter.0, goal, work)
    };
    let shares = std::thread::scope(|s| {
        let threads = [0, 1].map(|cpu| s.spawn(move || worker(cpu)));
        threads.map(|t| t.join().expect("no panic"))
    });
    Contest::of(shares, goal)
}

/// A lock between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// polyproc's.
    Polyproc,
    /// glibc's robust mutex, in the same memory and between the same processes.
    Robust,
}

/// An order to a worker process: which lock, goal, work.
type Order = (Which, u64, u32);

/// Two processes that fight for locks.
#[derive(Debug)]
pub struct Fighters {
    helpers: [Helper<Order, Share>; 2],
    page: &'static Page,
}

impl Fighters {
    /// Starts the two.
    ///
    /// # Panics
    /// If they cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let lock = Lock::new().expect("a lock");
        let (page, place) = Page::create();
        Self { helpers: [0, 1].map(|cpu| Helper::start(fight, (lock.clone(), place, cpu))), page }
    }

    /// Two processes and one lock.
    #[must_use]
    pub fn run(&self, which: Which, goal: u64, work: u32) -> Contest {
        self.page.arrived.0.store(0, Relaxed);
        self.page.counter.0.store(0, Relaxed);
        for helper in &self.helpers {
            helper.order((which, goal, work));
        }
        Contest::of([self.helpers[0].answer(), self.helpers[1].answer()], goal)
    }
}

fn fight(orders: Orders<Order>, answers: Queue<Share>, (lock, place, cpu): (Lock, u64, usize)) {
    let (page, _pinned) = (Page::at(place), pin(cpu));
    while let Ok(Some((which, goal, work))) = orders.get() {
        meet(&page.arrived.0, 2);
        let share = match which {
            Which::Polyproc => hammer(&lock, &page.counter.0, goal, work),
            Which::Robust => hammer(&page.robust.0, &page.counter.0, goal, work),
        };
        answers.put(share).expect("an answer is put");
    }
}
