//! Processes that wait for each other's locks.

use polyproc::{Lock, LockError, Process, RwLock, Semaphore};
use polyproc_testing::watchdog;
use std::process::{Command, ExitCode};
use std::time::Duration;

polyproc::init_for_tests!();

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// What a process ends with that was told of a deadlock, …
const TOLD: u8 = 7;
/// … and one that got both locks.
const GOT: u8 = 8;

fn wait_until_it_shows(lock: &Lock, what: &str) {
    watchdog(LONG, || {
        while !format!("{lock:?}").contains(what) {
            std::thread::yield_now();
        }
    });
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Takes two locks one after the other, when it is told to go on; gives up if it is told of a deadlock.
fn take_two(first: Lock, second: Lock, ready: Semaphore, go: Semaphore) -> ExitCode {
    let _first = first.lock();
    ready.release().unwrap();
    go.acquire();
    match second.lock_timeout(Duration::MAX) {
        Ok(_) => ExitCode::from(GOT),
        Err(LockError::Deadlock { chain }) => {
            assert_eq!(chain.links()[0].pid, std::process::id());
            assert!(chain.to_string().contains("take these locks in the same order"));
            ExitCode::from(TOLD)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Processes in a ring: at least one is told and backs off, which lets the others go on.
fn ring(n: usize) {
    let locks: Vec<Lock> = (0..n).map(|_| Lock::new().unwrap()).collect();
    let (ready, go) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let start = |i: usize| {
        let two = (locks[i].clone(), locks[(i + 1) % n].clone());
        Process::spawn(take_two, (two.0, two.1, ready.clone(), go.clone())).unwrap()
    };
    let children: Vec<_> = (0..n).map(start).collect();
    for _ in 0..n {
        ready.acquire_timeout(LONG).unwrap();
    }
    go.release_n(u32::try_from(n).unwrap()).unwrap();
    let mut told = 0;
    for child in children {
        let status = child.join_timeout(LONG).unwrap().expect("nobody waits for ever");
        assert!([TOLD, GOT].contains(&u8::try_from(status.code().unwrap()).unwrap()), "{status:?}");
        told += u32::from(status.code() == Some(TOLD.into()));
    }
    assert!(told >= 1);
    for lock in locks {
        assert!(!lock.try_lock().expect("all have given up").recovered());
    }
}

#[test]
fn two_processes_that_take_two_locks_in_opposite_orders() {
    ring(2);
}

#[test]
fn three_processes_in_a_ring() {
    ring(3);
}

fn hold_and_wait(held: RwLock, wanted: Lock, ready: Semaphore) {
    let _held = held.write();
    ready.release().unwrap();
    drop(wanted.lock());
    wait_for_ever();
}

#[test]
fn a_process_that_was_killed_while_it_waited_is_in_no_ring() {
    let (a, b, ready) = (Lock::new().unwrap(), RwLock::new().unwrap(), Semaphore::new(0).unwrap());
    let held = a.lock();
    let child = Process::spawn(hold_and_wait, (b.clone(), a.clone(), ready.clone())).unwrap();
    ready.acquire_timeout(LONG).unwrap();
    wait_until_it_shows(&a, "waiters");
    let error = b.read_timeout(LONG).unwrap_err();
    assert!(matches!(error, LockError::Deadlock { .. }), "{error}");
    child.kill().unwrap();
    child.join().unwrap();
    assert!(b.read_timeout(LONG).unwrap().recovered());
    assert!(b.write_timeout(LONG).unwrap().recovered());
    assert!(!format!("{a:?}").contains("waiters"));
    drop(held);
}

fn lock_two(first: Lock, second: Lock, ready: Semaphore, go: Semaphore) {
    let _first = first.lock();
    ready.release().unwrap();
    go.acquire();
    drop(second.lock());
}

#[test]
fn debug_tells_of_processes_that_wait_for_each_other_without_end() {
    let (a, b, c) = (Lock::new().unwrap(), Lock::new().unwrap(), Lock::new().unwrap());
    let (ready, go) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let start = |first: &Lock, second: &Lock| {
        Process::spawn(lock_two, (first.clone(), second.clone(), ready.clone(), go.clone())).unwrap()
    };
    let children = [start(&a, &b), start(&b, &c), start(&c, &a)];
    for _ in 0..3 {
        ready.acquire_timeout(LONG).unwrap();
    }
    go.release_n(3).unwrap();
    [&a, &b, &c].into_iter().for_each(|lock| wait_until_it_shows(lock, "deadlock: thread"));
    let [one, two, three] = &children;
    one.kill().unwrap();
    assert!(!one.join().unwrap().success());
    for child in [three, two] {
        assert!(child.join_timeout(LONG).unwrap().expect("the ring is broken").success());
    }
}

fn hold(held: Lock, ready: Semaphore) {
    let _held = held.lock();
    ready.release().unwrap();
    wait_for_ever();
}

#[test]
fn who_waits_for_a_stopped_process_is_told_nothing() {
    let (a, ready) = (Lock::new().unwrap(), Semaphore::new(0).unwrap());
    let child = Process::spawn(hold, (a.clone(), ready.clone())).unwrap();
    ready.acquire_timeout(LONG).unwrap();
    let stopped = Command::new("kill").args(["-STOP", &child.pid().to_string()]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(a.lock_timeout(Duration::from_millis(350)).unwrap_err(), LockError::TimedOut);
    child.kill().unwrap();
    child.join().unwrap();
    assert!(a.lock_timeout(LONG).unwrap().recovered());
}
