//! Locks with readers and writers between processes: handles that travel, readers and writers that are killed.

use polyproc::{Process, RwLock, Semaphore, Value};
use std::process::ExitCode;
use std::time::Duration;

polyproc::init_for_tests!();

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

fn read_and_stay(lock: RwLock, ready: Semaphore) {
    let _guards = (lock.read(), lock.read());
    ready.release().unwrap();
    wait_for_ever();
}

fn write_and_stay(lock: RwLock, ready: Semaphore) {
    let _guard = lock.write();
    ready.release().unwrap();
    wait_for_ever();
}

/// Starts a child that takes the lock, and kills it when it has it.
fn killed_with_it(child: fn(RwLock, Semaphore), lock: &RwLock) {
    let ready = Semaphore::new(0).unwrap();
    let child = Process::spawn(child, (lock.clone(), ready.clone())).unwrap();
    ready.acquire_timeout(LONG).unwrap();
    assert!(lock.try_write().is_none());
    child.kill().unwrap();
    child.join().unwrap();
}

#[test]
fn a_killed_reader_is_in_nobodys_way() {
    let lock = RwLock::new().unwrap();
    for _ in 0..3 {
        killed_with_it(read_and_stay, &lock);
        assert!(!lock.write_timeout(LONG).unwrap().recovered());
    }
}

#[test]
fn a_killed_writer_is_told_of_until_a_writer_has_come() {
    let lock = RwLock::new().unwrap();
    for _ in 0..3 {
        killed_with_it(write_and_stay, &lock);
        assert!(lock.read_timeout(LONG).unwrap().recovered());
        assert!(lock.read_timeout(LONG).unwrap().recovered());
        assert!(lock.write_timeout(LONG).unwrap().recovered());
        assert!(!lock.read_timeout(LONG).unwrap().recovered());
    }
}

#[test]
fn a_lock_with_a_name_is_one_lock_for_readers_and_writers() {
    let name = format!("test-rwlock-{}", std::process::id());
    let lock = RwLock::create(&name).unwrap();
    let child = Process::spawn(
        |name: String| {
            let lock = RwLock::open(&name).unwrap();
            assert!(lock.try_read().is_some() && lock.try_write().is_none());
            ExitCode::from(7)
        },
        (name,),
    )
    .unwrap();
    let guard = lock.read();
    assert_eq!(child.join().unwrap().code(), Some(7));
    drop(guard);
    assert!(lock.try_write().is_some());
}

/// Both values change together under the write lock; readers never see them differ.
fn change_and_look(lock: RwLock, a: Value<u64>, b: Value<u64>, me: u64) -> ExitCode {
    for round in 0..2_000 {
        if (me + round).is_multiple_of(4) {
            let _guard = lock.write();
            a.set(a.get() + 1);
            b.set(b.get() + 1);
        } else {
            let _guard = lock.read();
            assert_eq!(a.get(), b.get());
        }
    }
    ExitCode::from(7)
}

#[test]
fn stress_writers_in_several_processes_are_alone() {
    let (lock, a, b) = (RwLock::new().unwrap(), Value::new(0).unwrap(), Value::new(0).unwrap());
    let start = |me| Process::spawn(change_and_look, (lock.clone(), a.clone(), b.clone(), me)).unwrap();
    let children: Vec<_> = (0..4).map(start).collect();
    for child in children {
        let status = child.join_timeout(LONG).unwrap().expect("nobody waits for ever");
        assert_eq!(status.code(), Some(7));
    }
    assert_eq!((a.get(), b.get()), (2_000, 2_000));
}
