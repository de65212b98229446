//! What processes cost when they are over: nothing. One test at a time, they count things of the whole process.

mod common;

use common::{Meeting, busy_for_ever, children, descriptors, report, watchdog};
use polyproc_process::{Process, active_children};
use polyproc_shm::{Family, Kind, Object, message};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

polyproc_process::init_for_tests!();

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn blocks() -> u64 {
    Family::get().unwrap().stats().all_blocks()
}

#[derive(Debug, Clone)]
struct Handle(Arc<Object>);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::Value, 8, d).map(Self)
    }
}

#[test]
fn a_hundred_spawns_leave_nothing() {
    let _alone = alone();
    let _dog = watchdog("a hundred");
    Process::spawn(|| {}, ()).unwrap().join().unwrap(); // the lifeline, the family
    let before = (descriptors(), blocks());
    for n in 0..100u32 {
        let size = if n.is_multiple_of(2) { 10 } else { 10_000 };
        let child = Process::spawn(|_: Vec<u8>| {}, (vec![1; size],)).unwrap();
        assert!(child.join().unwrap().success());
    }
    assert_eq!((descriptors(), blocks()), before);
    assert_eq!(children(), []);
}

#[test]
fn dropped_children_go_on_and_are_reaped_later() {
    let _alone = alone();
    let _dog = watchdog("dropped");
    let meeting = Meeting::new();
    let before = blocks();
    for _ in 0..5 {
        let child = |path: String| {
            let mut here = report(&path);
            std::io::Read::read(&mut here, &mut [0]).unwrap(); // until the test lets go
        };
        drop(Process::spawn(child, (meeting.text(),)).unwrap());
    }
    let mut guests: Vec<_> = (0..5).map(|_| meeting.accept()).collect();
    assert!(guests.iter_mut().all(common::Guest::is_there), "they go on without a handle");
    assert_eq!(active_children().len(), 5);
    drop(guests);
    // They end by themselves; their zombies go when something is started, and only then.
    while children().len() > 1 {
        Process::spawn(|| {}, ()).unwrap().join().unwrap();
    }
    while !children().is_empty() {
        drop(active_children());
    }
    assert_eq!(blocks(), before);
}

#[test]
fn what_a_killed_child_held_comes_back() {
    let _alone = alone();
    let _dog = watchdog("held");
    let meeting = Meeting::new();
    let family = Family::get().unwrap();
    let before = blocks();
    let shared = Handle(Arc::new(Object::create(family, 64, Kind::Value).unwrap()));
    let hold = |shared: Handle, path: String| {
        let family = Family::get().unwrap();
        let _block = family.alloc(1 << 20, Kind::Data).unwrap();
        let _of_its_own = Object::create(family, 64, Kind::Value).unwrap();
        let _here = (report(&path), shared);
        busy_for_ever();
    };
    let child = Process::spawn(hold, (shared.clone(), meeting.text())).unwrap();
    meeting.accept();
    child.kill().unwrap();
    child.join().unwrap();
    drop(shared);
    assert_eq!(blocks(), before, "{:?}", family.stats());
}

#[test]
fn what_a_child_never_took_comes_back() {
    let _alone = alone();
    let _dog = watchdog("never took");
    let family = Family::get().unwrap();
    Process::spawn(
        |_: Handle, _: Vec<u8>| {},
        (Handle(Arc::new(Object::create(family, 64, Kind::Value).unwrap())), vec![]),
    )
    .unwrap()
    .join()
    .unwrap();
    let before = blocks();
    for _ in 0..20 {
        let shared = Handle(Arc::new(Object::create(family, 64, Kind::Value).unwrap()));
        let child = Process::spawn(|_: Handle, _: Vec<u8>| busy_for_ever(), (shared, vec![0; 5000])).unwrap();
        child.kill().unwrap();
        child.join().unwrap();
    }
    assert_eq!(blocks(), before, "{:?}", family.stats());
}

#[test]
fn a_spawn_that_fails_leaves_nothing() {
    let _alone = alone();
    let _dog = watchdog("fails");
    let family = Family::get().unwrap();
    Process::spawn(|| {}, ()).unwrap().join().unwrap();
    let before = (descriptors(), blocks());
    let too_long = "x".repeat(1 << 20); // the kernel takes 128 KiB
    for _ in 0..10 {
        let shared = Handle(Arc::new(Object::create(family, 64, Kind::Value).unwrap()));
        let args = (shared, vec![0; 5000]);
        let error = Process::builder().env("LONG", &too_long).spawn(|_: Handle, _: Vec<u8>| {}, args).unwrap_err();
        assert!(error.to_string().starts_with("posix_spawn"), "{error}");
    }
    assert_eq!((descriptors(), blocks()), before);
    assert_eq!(children(), []);
}

#[test]
fn stress_children_are_killed_at_any_moment_of_their_start() {
    const N: u32 = 200;
    let _alone = alone();
    let _dog = watchdog("any moment");
    let family = Family::get().unwrap();
    let take = |_: Handle, _: Vec<u8>| {
        let _left_behind = Family::get().unwrap().alloc(5000, Kind::Data).unwrap().into_ref();
    };
    let spawn = || {
        let shared = Handle(Arc::new(Object::create(family, 64, Kind::Value).unwrap()));
        Process::spawn(take, (shared, vec![0; 5000])).unwrap()
    };
    spawn().join().unwrap();
    let before = blocks();
    let start = std::time::Instant::now();
    spawn().join().unwrap();
    let one = start.elapsed();
    let mut killed = 0;
    for n in 0..N {
        let child = spawn();
        let start = std::time::Instant::now();
        while start.elapsed() < one * n / N {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        killed += u32::from(!child.join().unwrap().success());
    }
    assert!(killed > 0);
    assert_eq!((blocks(), children()), (before, vec![]), "{:?}", family.stats());
    assert_eq!(family.stats().processes, 1, "this one");
}
