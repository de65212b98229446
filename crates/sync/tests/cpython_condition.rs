//! CPython's own tests of conditions, by their names (`_TestCondition`), with processes and threads mixed as there.
//!
//! `test_wait_result` lacks its SIGINT: a signal does not end a wait here.
#![cfg(not(polyproc_loom))]

use polyproc_process::Process;
use polyproc_sync::{Condition, Semaphore};
use polyproc_testing::watchdog;
use std::thread;
use std::time::{Duration, Instant};

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_millis(82);

/// A condition, and who sleeps there, and who has woken up.
#[derive(Clone)]
struct Scene {
    condition: Condition,
    sleeping: Semaphore,
    woken: Semaphore,
}

type Part = (Condition, Semaphore, Semaphore, Option<Duration>);

fn f((condition, sleeping, woken, timeout): Part) {
    let mut guard = condition.lock();
    sleeping.release().unwrap();
    let notified = condition.wait_timeout(&mut guard, timeout.unwrap_or(Duration::MAX)).unwrap();
    assert_eq!(notified, timeout.is_none());
    woken.release().unwrap();
}

/// Processes and threads that wait, to be joined.
struct Waiters(Vec<Process>, Vec<thread::JoinHandle<()>>);

impl Scene {
    fn new() -> Self {
        let semaphore = || Semaphore::new(0).unwrap();
        Self { condition: Condition::new().unwrap(), sleeping: semaphore(), woken: semaphore() }
    }

    /// So many processes and so many threads, all of them asleep.
    fn waiters(&self, n: u32, timeout: Option<Duration>) -> Waiters {
        let part = || (self.condition.clone(), self.sleeping.clone(), self.woken.clone(), timeout);
        let processes = (0..n).map(|_| Process::spawn(f, (part(),)).unwrap()).collect();
        let threads = (0..n).map(|_| part()).map(|part| thread::spawn(|| f(part))).collect();
        (0..2 * n).for_each(|_| self.sleeping.acquire());
        Waiters(processes, threads)
    }

    fn notify(&self, n: u32) -> u32 {
        self.condition.notify_n(&self.condition.lock(), n).unwrap()
    }

    /// So many have woken up since, and no more.
    fn have_woken(&self, n: u32) {
        (0..n).for_each(|_| self.woken.acquire());
        assert_eq!(self.woken.available(), 0);
    }

    /// Nobody is left.
    fn check_invariant(&self) {
        assert!(format!("{:?}", self.condition).contains("waiting: 0"), "{:?}", self.condition);
    }
}

impl Waiters {
    fn join(self) {
        self.0.into_iter().for_each(|process| assert!(process.join().unwrap().success()));
        self.1.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn test_notify() {
    watchdog(LIMIT, || {
        let scene = Scene::new();
        let waiters = scene.waiters(1, None);
        scene.have_woken(0);
        for _ in 0..2 {
            assert_eq!(scene.notify(1), 1);
            scene.have_woken(1);
        }
        scene.check_invariant();
        waiters.join();
    });
}

#[test]
fn test_notify_all() {
    watchdog(LIMIT, || {
        let scene = Scene::new();
        let late = scene.waiters(3, Some(TIMEOUT));
        scene.have_woken(6);
        late.join();
        scene.check_invariant();
        let waiters = scene.waiters(3, None);
        scene.have_woken(0);
        assert_eq!(scene.condition.notify_all(&scene.condition.lock()).unwrap(), 6);
        scene.have_woken(6);
        scene.check_invariant();
        waiters.join();
    });
}

#[test]
fn test_notify_n() {
    watchdog(LIMIT, || {
        let scene = Scene::new();
        let waiters = scene.waiters(3, None);
        scene.have_woken(0);
        for (n, woken) in [(2, 2), (4, 4), (3, 0)] {
            assert_eq!(scene.notify(n), woken);
            scene.have_woken(woken);
        }
        scene.check_invariant();
        waiters.join();
    });
}

#[test]
fn test_timeout() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let start = Instant::now();
        assert!(!condition.wait_timeout(&mut condition.lock(), TIMEOUT).unwrap());
        assert!(start.elapsed() >= TIMEOUT);
    });
}

/// The state is what the semaphore has, less one.
fn waitfor_f((condition, state): (Condition, Semaphore)) {
    let mut guard = condition.lock();
    state.release().unwrap();
    condition.notify(&guard).unwrap();
    condition.wait_while(&mut guard, || state.available() != 5).unwrap();
}

#[test]
fn test_waitfor() {
    watchdog(LIMIT, || {
        let (condition, state) = (Condition::new().unwrap(), Semaphore::new(0).unwrap());
        let child = Process::spawn(waitfor_f, ((condition.clone(), state.clone()),)).unwrap();
        condition.wait_while(&mut condition.lock(), || state.available() != 1).unwrap();
        for _ in 0..4 {
            let guard = condition.lock();
            state.release().unwrap();
            condition.notify(&guard).unwrap();
        }
        assert!(child.join().unwrap().success());
    });
}

fn waitfor_timeout_f((condition, state, ready): (Condition, Semaphore, Semaphore)) {
    const EXPECTED: Duration = Duration::from_millis(100);
    ready.release().unwrap();
    let mut guard = condition.lock();
    let start = Instant::now();
    let ended = condition.wait_while_timeout(&mut guard, EXPECTED, || state.available() != 4).unwrap();
    assert!(!ended && start.elapsed() >= EXPECTED);
}

#[test]
fn test_waitfor_timeout() {
    watchdog(LIMIT, || {
        let (condition, state) = (Condition::new().unwrap(), Semaphore::new(0).unwrap());
        let ready = Semaphore::new(0).unwrap();
        let child = Process::spawn(waitfor_timeout_f, ((condition.clone(), state.clone(), ready.clone()),)).unwrap();
        ready.acquire();
        for _ in 0..3 {
            let guard = condition.lock();
            state.release().unwrap();
            condition.notify(&guard).unwrap();
        }
        assert!(child.join().unwrap().success());
    });
}

#[test]
fn test_wait_result() {
    watchdog(LIMIT, || {
        let condition = Condition::new().unwrap();
        let mut guard = condition.lock();
        assert!(!condition.wait_timeout(&mut guard, Duration::ZERO).unwrap());
        assert!(!condition.wait_timeout(&mut guard, Duration::from_millis(100)).unwrap());
        let notify = |condition: Condition| assert_eq!(condition.notify(&condition.lock()).unwrap(), 1);
        let child = Process::spawn(notify, (condition.clone(),)).unwrap();
        assert!(condition.wait_timeout(&mut guard, LIMIT).unwrap());
        drop(guard);
        assert!(child.join().unwrap().success());
    });
}
