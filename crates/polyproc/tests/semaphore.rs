//! Semaphores between processes: handles that travel, permits of the killed, a crowd before a door.

use polyproc::{AcquireError, Process, Queue, Semaphore};
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

fn take_counted_and_stay(semaphore: Semaphore, ready: Semaphore) {
    semaphore.acquire();
    ready.release().unwrap();
    wait_for_ever();
}

fn take_owned_and_stay(semaphore: Semaphore, ready: Semaphore) {
    let _permit = semaphore.acquire_owned().unwrap();
    ready.release().unwrap();
    wait_for_ever();
}

/// Starts a child that takes the permit, and kills it when it has it.
fn killed_with_a_permit(child: fn(Semaphore, Semaphore), semaphore: &Semaphore) {
    let ready = Semaphore::new(0).unwrap();
    let child = Process::spawn(child, (semaphore.clone(), ready.clone())).unwrap();
    ready.acquire_timeout(LONG).unwrap();
    assert!(!semaphore.try_acquire());
    child.kill().unwrap();
    child.join().unwrap();
}

#[test]
fn an_owned_permit_comes_back_from_a_killed_process() {
    let semaphore = Semaphore::bounded(1).unwrap();
    for _ in 0..3 {
        killed_with_a_permit(take_owned_and_stay, &semaphore);
        semaphore.acquire_timeout(LONG).unwrap();
        semaphore.release().unwrap();
        drop(semaphore.acquire_owned_timeout(LONG).unwrap());
    }
}

#[test]
fn a_counted_permit_of_a_killed_process_is_lost_until_somebody_releases() {
    let semaphore = Semaphore::bounded(1).unwrap();
    killed_with_a_permit(take_counted_and_stay, &semaphore);
    assert!(matches!(semaphore.acquire_timeout(Duration::from_millis(20)), Err(AcquireError::TimedOut)));
    semaphore.release().unwrap();
    semaphore.acquire_timeout(LONG).unwrap();
}

#[test]
fn a_child_releases_what_its_parent_waits_for() {
    let semaphore = Semaphore::new(0).unwrap();
    let child = Process::spawn(|semaphore: Semaphore| semaphore.release_n(2).unwrap(), (semaphore.clone(),)).unwrap();
    semaphore.acquire_timeout(LONG).unwrap();
    let permit = semaphore.acquire_owned_timeout(LONG).unwrap();
    assert!(child.join().unwrap().success());
    drop(permit);
}

/// Goes through the door again and again; there are never more inside than the room has places.
fn visit(door: Semaphore, room: Queue<u32>, me: u32) -> ExitCode {
    for round in 0..2_000 {
        let permit = if (me + round / 50).is_multiple_of(2) { Some(door.acquire_owned().unwrap()) } else { None };
        if permit.is_none() {
            door.acquire();
        }
        room.try_put(me).unwrap();
        room.get_timeout(LONG).unwrap(); // waits for an item that the other one inside is putting in before ours
        if permit.is_none() {
            door.release().unwrap();
        }
    }
    ExitCode::from(7)
}

#[test]
fn stress_processes_are_never_more_than_the_permits() {
    let (door, room) = (Semaphore::bounded(2).unwrap(), Queue::bounded(2).unwrap());
    let children: Vec<_> = (0..4).map(|me| Process::spawn(visit, (door.clone(), room.clone(), me)).unwrap()).collect();
    for child in children {
        let status = child.join_timeout(LONG).unwrap().expect("nobody sleeps beside a permit");
        assert_eq!(status.code(), Some(7));
    }
    assert_eq!(door.available(), 2);
}
