//! What a process keeps of named objects that it has given up: the next ones take its place, however many come and go.

use polyproc::parts::shm::{Content, Family, Kind, Object};
use polyproc::parts::sys::atomic::{AtomicU64, Ordering::Relaxed};
use polyproc::parts::sys::fork::{spawn_child, wait_child};
use polyproc::{Lock, Name, Place, Queue, Value};
use polyproc_testing::{reexec, watchdog};
use std::sync::mpsc::channel;
use std::time::Duration;

polyproc::init_for_tests!();

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A directory in memory, removed with all that is in it.
struct Temp(Place);

impl Temp {
    fn new() -> Self {
        let path = format!("/dev/shm/polyproc-again-{}", std::process::id());
        std::fs::create_dir(&path).unwrap();
        Self(Place::dir(path).unwrap())
    }

    fn name(&self, name: &str) -> Name {
        self.0.name(name)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

/// Mappings of this process: the kernel allows 65,530.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Runs the ignored test in a process of its own, where nobody else maps anything.
fn alone(test: &str) {
    let output = watchdog(LONG + LONG, || reexec::child(test).output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// How many of them are files of named objects.
fn mapped() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("/polyproc-again-")).count()
}

/// Takes and leaves named objects of three kinds and several sizes.
fn come_and_go(temp: &Temp, rounds: usize) {
    static ROUNDS: AtomicU64 = AtomicU64::new(0);
    for round in 0..rounds {
        // Others each time: a child that is forked meanwhile holds what it has inherited, until it ends.
        let number = ROUNDS.fetch_add(1, Relaxed);
        let name = |kind: &str| temp.name(&format!("{kind}-{}-{number}", std::process::id()));
        let capacity = 2 << (round % 18);
        let (lock, queue) = (Lock::create(name("l")).unwrap(), Queue::create(name("q"), capacity).unwrap());
        queue.put(7_u64).unwrap();
        drop(Lock::open(name("l")).unwrap().lock());
        assert_eq!(Queue::<u64>::open(name("q")).unwrap().get().unwrap(), 7);
        let value = Value::create(name("v"), 5_u32).unwrap();
        assert_eq!(value.fetch_add(1), 5);
        drop((lock, queue));
        assert_eq!(Value::<u32>::open(name("v")).unwrap().get(), 6);
    }
}

#[test]
fn thousands_take_no_more_than_some() {
    alone("thousands");
}

#[test]
#[ignore = "run by thousands_take_no_more_than_some"]
fn thousands() {
    if !reexec::in_child() {
        return;
    }
    watchdog(LONG, || {
        let temp = Temp::new();
        come_and_go(&temp, 36);
        let before = mappings();
        come_and_go(&temp, 1000);
        assert!(mappings() <= before + 3, "{before} mappings, and now {}", mappings());
        assert_eq!(mapped(), 0, "this thread has left them all");
    });
}

#[test]
fn a_thread_that_has_not_left_keeps_its_place() {
    alone("not_left");
}

/// A thread that has used an object is named to the kernel by a word in its tables: while it lives, and has used no other, what
/// comes next must not lie there.
#[test]
#[ignore = "run by a_thread_that_has_not_left_keeps_its_place"]
fn not_left() {
    if !reexec::in_child() {
        return;
    }
    watchdog(LONG, || {
        let temp = Temp::new();
        let (go, going) = channel();
        let (done, says) = channel();
        let old = Queue::<u64>::create(temp.name("old"), 2).unwrap();
        let theirs = old.clone();
        let family = Family::get().unwrap();
        let thread = std::thread::spawn(move || {
            // The kernel goes through a thread's list from the last word to the first: this one is behind the old object's.
            let first = family.participant().unwrap();
            theirs.put(1).unwrap();
            assert_eq!(theirs.get().unwrap(), 1);
            drop(theirs);
            done.send(()).unwrap();
            let held: Lock = going.recv().unwrap();
            std::mem::forget(held.lock()); // it ends with the lock held
            first
        });
        says.recv().unwrap();
        drop(old);
        assert_eq!(mapped(), 1, "the tables of the old one");
        // All of these come and go where the old one was not.
        come_and_go(&temp, 20);
        let lock = Lock::create(temp.name("new")).unwrap();
        go.send(lock.clone()).unwrap();
        let first = thread.join().unwrap();
        assert!(lock.lock().recovered());
        while family.is_alive(first) {} // for ever, if the kernel lost its way
        come_and_go(&temp, 36);
        let before = mappings();
        come_and_go(&temp, 200);
        assert!(mappings() <= before + 3, "{before} mappings, and now {}", mappings());
    });
}

#[test]
fn threads_that_have_ended_keep_nothing() {
    alone("ended");
}

#[test]
#[ignore = "run by threads_that_have_ended_keep_nothing"]
fn ended() {
    if !reexec::in_child() {
        return;
    }
    watchdog(LONG, || {
        let temp = Temp::new();
        let round = || {
            let queue = Queue::<u64>::create(temp.name("q"), 2).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| queue.put(1).unwrap());
                scope.spawn(|| assert_eq!(queue.get().unwrap(), 1));
            });
        };
        (0..20).for_each(|_| round());
        let before = mappings();
        (0..300).for_each(|_| round());
        // `join` returns a moment before a thread has ended: some may have been kept a round longer.
        assert!(mappings() <= before + 20, "{before} mappings, and now {}", mappings());
    });
}

#[test]
fn children_of_a_process_that_is_at_it_have_their_own() {
    alone("children");
}

#[test]
#[ignore = "run by children_of_a_process_that_is_at_it_have_their_own"]
fn children() {
    if !reexec::in_child() {
        return;
    }
    watchdog(LONG, || {
        let temp = &Temp::new();
        let held = Lock::create(temp.name("held")).unwrap();
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| come_and_go(temp, 300));
            for _ in 0..100 {
                let child = spawn_child(|| {
                    // A thread of its own, too: what its parent's threads held is nobody's here.
                    std::thread::scope(|scope| scope.spawn(|| come_and_go(temp, 3)).join().unwrap());
                    drop(held.lock());
                    0
                });
                assert_eq!(wait_child(child), 0);
                drop(Lock::open(temp.name("held")).expect("it is held here").lock());
            }
            busy.join().unwrap();
        });
        drop(held);
        assert!(!temp.0.path().join("polyproc.held").exists(), "all its children have ended");
    });
}

/// References to the family of a named object are of no use when it has gone, and harm nobody.
#[test]
fn a_family_that_has_gone_can_be_asked() {
    watchdog(LONG, || {
        let name = format!("polyproc-gone-{}", std::process::id());
        let content = Content { kind: Kind::User, type_name: "8 bytes", type_hash: 8 };
        let make = || Object::create_named(&name, &content, 0, |family| Object::create(family, 8, Kind::User)).unwrap();
        let gone = make();
        let family = gone.family();
        let me = family.me();
        assert!(family.is_alive(family.participant().unwrap()));
        drop(gone);
        for _ in 0..2 {
            assert!(family.alloc(64, Kind::Data).is_err() && family.at(1 << 20, 8).is_err());
            assert!(!family.is_registered(me));
            assert_eq!(family.stats().processes, 0);
            assert!(family.try_me().is_err());
            assert!(family.process_of(std::process::id()).is_none() && family.function(0, 0).is_err());
            let _ = family.reap();
            let next = make(); // in the place of the first one
            let thread = next.family().participant().unwrap();
            assert!(next.family().is_this_thread(thread), "it is registered there, too");
            drop(next);
            assert!(!family.is_alive(thread));
        }
    });
}
