//! Objects with names between programs without kinship: strangers find, use and leave them, and are killed meanwhile.

use polyproc::{
    Array, Buffer, ClaimError, GetError, Item, Lock, Name, Place, Process, Queue, SegmentError, Semaphore,
    ShareableList, Value, gc,
};
use polyproc_testing::{reexec, watchdog};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

polyproc::init_for_tests!();

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// The directory of a test, for its strangers.
const DIR: &str = "POLYPROC_TEST_DIR";

/// A directory of a test's own; removed with all that is in it.
struct Temp(Place);

impl Temp {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("polyproc-{test}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(Place::dir(path).unwrap())
    }

    /// Starts a program of its own that runs the ignored test `name`, and waits for its word.
    fn stranger(&self, name: &str) -> Stranger {
        let mut command = reexec::child(name);
        let mut child = command.env(DIR, self.0.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "{name} ended before it was ready");
        }
        Stranger(child)
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

/// Killed when dropped, if it was not before.
struct Stranger(Child);

impl Stranger {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In a stranger: the name in the test's directory. `None` where somebody runs the ignored tests for themselves.
fn theirs(name: &str) -> Option<Name> {
    let dir = std::env::var_os(DIR).filter(|_| reexec::in_child())?;
    Some(Place::dir(PathBuf::from(dir)).unwrap().name(name))
}

fn say_ready_and_wait() -> ! {
    println!("ready");
    wait_for_ever();
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_stranger_that_dies_with_the_lock_leaves_it_to_the_next() {
    watchdog(LONG, || {
        let temp = Temp::new("lock");
        let lock = Lock::create(temp.0.name("a")).unwrap();
        assert!(matches!(Lock::create(temp.0.name("a")), Err(SegmentError::Exists(_))));
        let stranger = temp.stranger("stranger_locks");
        assert!(lock.try_lock().is_none());
        stranger.kill();
        assert!(lock.lock().recovered());
        assert!(!lock.lock().recovered());
        drop(lock);
        assert!(temp.files().is_empty());
        assert!(matches!(Lock::open(temp.0.name("a")), Err(SegmentError::NotFound(_))));
    });
}

#[test]
#[ignore = "run by a_stranger_that_dies_with_the_lock_leaves_it_to_the_next"]
fn stranger_locks() {
    let Some(name) = theirs("a") else { return };
    let lock = Lock::open(name).unwrap();
    let _held = lock.lock();
    say_ready_and_wait();
}

#[test]
fn a_stranger_that_waits_is_woken_and_its_permit_comes_back_when_it_dies() {
    watchdog(LONG, || {
        let temp = Temp::new("semaphore");
        let (permits, gone) = (Semaphore::create_bounded(temp.0.name("p"), 1), Semaphore::create(temp.0.name("g"), 0));
        let (permits, gone) = (permits.unwrap(), gone.unwrap());
        for _ in 0..3 {
            let mine = permits.acquire_owned().unwrap();
            let stranger = temp.stranger("stranger_waits_for_a_permit");
            drop(mine);
            gone.acquire_timeout(LONG).unwrap(); // it has it
            assert!(!permits.try_acquire());
            stranger.kill();
            permits.acquire_timeout(LONG).unwrap();
            permits.release().unwrap();
        }
    });
}

#[test]
#[ignore = "run by a_stranger_that_waits_is_woken_and_its_permit_comes_back_when_it_dies"]
fn stranger_waits_for_a_permit() {
    let (Some(permits), Some(gone)) = (theirs("p"), theirs("g")) else { return };
    let (permits, gone) = (Semaphore::open(permits).unwrap(), Semaphore::open(gone).unwrap());
    println!("ready");
    let _mine = permits.acquire_owned().unwrap();
    gone.release().unwrap();
    wait_for_ever();
}

/// Strings of all sizes, those that lie in blocks too.
fn text(n: usize) -> String {
    format!("{n} {}", "x".repeat(n * 997 % 70_000))
}

#[test]
fn messages_of_strangers_arrive_whole_whenever_they_are_killed() {
    watchdog(LONG * 5, || {
        let temp = Temp::new("queue");
        let q = Queue::<String>::create(temp.0.name("q"), 16).unwrap();
        for round in 0..8 {
            let stranger = temp.stranger("stranger_puts");
            let mut seen = 0;
            while seen < 50 * round {
                seen += usize::from(is_next(&q.get_timeout(LONG).unwrap(), seen));
            }
            stranger.kill();
            loop {
                match q.get_timeout(Duration::from_millis(300)) {
                    Ok(item) => seen += usize::from(is_next(&item, seen)),
                    Err(GetError::TimedOut) => break,
                    Err(e) => panic!("{e}"),
                }
            }
            q.put("end of a round".to_owned()).unwrap();
            assert_eq!(q.get().unwrap(), "end of a round");
        }
        let one_more = Queue::<String>::open(temp.0.name("q")).unwrap(); // clears up after the dead
        drop((q, one_more));
        assert_eq!(gc(&temp.0).unwrap().removed, 0);
        assert!(temp.files().is_empty());
    });
}

fn is_next(item: &str, n: usize) -> bool {
    assert_eq!(item, text(n));
    true
}

#[test]
#[ignore = "run by messages_of_strangers_arrive_whole_whenever_they_are_killed"]
fn stranger_puts() {
    let Some(name) = theirs("q") else { return };
    let q = Queue::open(name).unwrap();
    println!("ready");
    for i in 0.. {
        q.put(text(i)).unwrap();
    }
}

#[test]
fn what_its_last_holder_left_by_death_is_gone() {
    watchdog(LONG, || {
        let temp = Temp::new("dead");
        let stranger = temp.stranger("stranger_creates");
        let q = Queue::<String>::open(temp.0.name("theirs")).unwrap();
        assert_eq!(q.get().unwrap(), "from a stranger");
        drop(q);
        stranger.kill();
        assert_eq!(temp.files().len(), 1);
        let found = gc(&temp.0).unwrap();
        assert_eq!((found.removed, found.in_use), (1, 0));
        let stranger = temp.stranger("stranger_creates");
        stranger.kill();
        // Whoever comes by does the same.
        assert!(Queue::<String>::open(temp.0.name("theirs")).is_err());
        drop(Queue::<u8>::create(temp.0.name("theirs"), 1).unwrap());
        assert!(temp.files().is_empty());
    });
}

#[test]
#[ignore = "run by what_its_last_holder_left_by_death_is_gone"]
fn stranger_creates() {
    let Some(name) = theirs("theirs") else { return };
    let q = Queue::create(name, 4).unwrap();
    q.put("from a stranger".to_owned()).unwrap();
    say_ready_and_wait();
}

#[test]
fn strangers_of_other_types_are_told_both_sides() {
    let temp = Temp::new("types");
    let _q = Queue::<(u32, String)>::create(temp.0.name("x"), 4).unwrap();
    let error = Queue::<Vec<f64>>::open(temp.0.name("x")).unwrap_err().to_string();
    assert!(error.contains("Vec<f64>") && error.contains("(u32, ") && error.contains("\"x\" in /"), "{error}");
    let error = Lock::open(temp.0.name("x")).unwrap_err().to_string();
    assert!(error.contains("Lock") && error.contains("Queue"), "{error}");
    let error = Semaphore::create(temp.0.name("a/b"), 1).unwrap_err().to_string();
    assert!(error.contains("'/'"), "{error}");
}

fn use_all(lock: Lock, permits: Semaphore, q: Queue<u64>) {
    let _guard = lock.lock();
    let _permit = permits.acquire_owned().unwrap();
    q.put(5).unwrap();
}

/// By their names: as arguments, and through queues with and without names.
#[test]
fn handles_with_names_travel() {
    watchdog(LONG, || {
        let temp = Temp::new("handles");
        let lock = Lock::create(temp.0.name("lock")).unwrap();
        let permits = Semaphore::create(temp.0.name("permits"), 1).unwrap();
        let q = Queue::<u64>::create(temp.0.name("q"), 4).unwrap();
        let child = Process::spawn(use_all, (lock.clone(), permits.clone(), q.clone())).unwrap();
        assert!(child.join().unwrap().success());
        assert_eq!(q.get().unwrap(), 5);
        let handles = Queue::<(u8, Queue<u64>)>::create(temp.0.name("handles"), 4).unwrap();
        handles.put((1, q.clone())).unwrap();
        q.put(6).unwrap();
        assert_eq!(handles.get().unwrap().1.get().unwrap(), 6);
        // Those without a name lie in a memory that strangers do not have.
        let error = handles.put((2, Queue::bounded(1).unwrap())).unwrap_err().to_string();
        assert!(error.contains("another family"), "{error}");
        handles.put((3, q.clone())).unwrap();
        drop(q);
        assert!(handles.get().unwrap_err().to_string().contains("segment \"q\""), "nobody holds it any more");
    });
}

/// Whatever the stranger was at when it died, what it shares is whole.
#[test]
fn values_of_a_killed_stranger_are_whole() {
    watchdog(LONG, || {
        let temp = Temp::new("values");
        let value = Value::create(temp.0.name("v"), [0_u64; 3]).unwrap();
        let array = Array::create(temp.0.name("a"), 10, [0_u64; 3]).unwrap();
        let list = ShareableList::create(temp.0.name("l"), [Item::from("00000000000000000000"), Item::None]).unwrap();
        for round in 1..6 {
            let stranger = temp.stranger("stranger_counts");
            while value.get()[0] < 100 * round {
                std::hint::spin_loop();
            }
            stranger.kill();
            let is_whole = |v: [u64; 3]| assert_eq!(v, [v[0], v[0] + 1, v[0] + 2]);
            value.update(|v| is_whole(*v));
            let guard = array.lock();
            guard.iter().filter(|v| *v != [0; 3]).for_each(is_whole);
            let Item::Str(text) = list.get(0) else { panic!("a text") };
            assert!(text.bytes().all(|b| b == text.as_bytes()[0]) && text.len() == 20, "{text}");
        }
    });
}

#[test]
#[ignore = "run by values_of_a_killed_stranger_are_whole"]
fn stranger_counts() {
    let (Some(v), Some(a), Some(l)) = (theirs("v"), theirs("a"), theirs("l")) else { return };
    let (value, array) = (Value::<[u64; 3]>::open(v).unwrap(), Array::<[u64; 3]>::open(a).unwrap());
    let list = ShareableList::open(l).unwrap();
    println!("ready");
    let chunks = array.chunks(5).unwrap();
    loop {
        let n = value.update(|v| {
            *v = [v[0] + 1, v[0] + 2, v[0] + 3];
            v[0]
        });
        let chunk = chunks.claim(usize::from(n % 2 == 0)).unwrap();
        chunk.set(usize::try_from(n % 5).unwrap(), [n, n + 1, n + 2]);
        drop(chunk);
        list.set(0, format!("{}", n % 10).repeat(20)).unwrap();
    }
}

/// Each opening has addresses of its own.
#[test]
fn one_object_opened_twice_is_one() {
    watchdog(LONG, || {
        let temp = Temp::new("twice");
        let (a, b) = (Lock::create(temp.0.name("l")).unwrap(), Lock::open(temp.0.name("l")).unwrap());
        let value = Value::with_lock(1_u64, &a).unwrap();
        *value.locked_by(&mut b.lock()) += 1;
        assert_eq!(value.get(), 2);
        drop(value);
        let array = Array::create(temp.0.name("a"), 10, 0_u64).unwrap();
        let same = Array::<u64>::open(temp.0.name("a")).unwrap();
        let (chunks, same) = (array.chunks(5).unwrap(), same.chunks(5).unwrap());
        let mine = chunks.claim(0).unwrap();
        assert!(matches!(same.claim(0), Err(ClaimError::Mine { chunk: 0 })));
        drop(mine);
        drop(same.claim(0).unwrap());
        // A held lock stays where the thread's list has it, whichever handle goes first.
        for keep in [true, false] {
            let done = std::thread::scope(|s| {
                let thread = s.spawn(|| {
                    let (a, b) = (Lock::create(temp.0.name("k")).unwrap(), Lock::open(temp.0.name("k")).unwrap());
                    std::mem::forget(if keep { a.lock() } else { b.lock() });
                    drop(a);
                    drop(b);
                    let others: Vec<Lock> = (0..3).map(|_| Lock::new().unwrap()).collect();
                    let guards: Vec<_> = others.iter().map(Lock::lock).collect(); // linked beside it
                    guards.len()
                });
                thread.join().unwrap()
            });
            assert_eq!(done, 3);
            drop(Lock::new()); // looks at what was kept
            let _ = gc(&temp.0).unwrap();
        }
    });
}

#[test]
fn a_buffer_may_outlive_the_queue_that_it_came_from() {
    watchdog(LONG * 5, || {
        let temp = Temp::new("buffers");
        let server = Queue::<Buffer>::create(temp.0.name("q"), 4).unwrap();
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().count();
        for i in 0..250_u8 {
            server.put(Buffer::copy_of(&vec![i; 100_000]).unwrap()).unwrap();
            let buffer = Queue::<Buffer>::open(temp.0.name("q")).unwrap().get().unwrap();
            assert!(buffer.len() == 100_000 && buffer.iter().all(|byte| *byte == i));
        }
        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() <= fds + 10);
        server.put(Buffer::copy_of(&[7; 100_000]).unwrap()).unwrap();
        let last = server.get().unwrap();
        drop(server);
        assert!(last.iter().all(|byte| *byte == 7));
        drop(last);
        assert!(temp.files().is_empty());
    });
}

#[test]
fn a_truncated_segment_is_an_error() {
    let temp = Temp::new("truncated");
    let lock = Lock::create(temp.0.name("t")).unwrap();
    std::fs::OpenOptions::new().write(true).open(&temp.files()[0]).unwrap().set_len(12 << 10).unwrap();
    let error = Lock::open(temp.0.name("t")).unwrap_err();
    assert!(matches!(error, SegmentError::Unusable { .. }), "{error}");
    std::mem::forget(lock); // it lies behind the end
}

/// Short-lived producers, some of them killed, beside openers that clear up: what was put arrives.
#[test]
fn nothing_that_was_put_is_taken_for_a_dead_ones() {
    watchdog(LONG * 5, || {
        let temp = Temp::new("leavers");
        let q = Queue::<String>::create(temp.0.name("q"), 64).unwrap();
        let stranger = temp.stranger("stranger_comes_and_goes");
        let mut n = 0;
        for _ in 0..300 {
            drop(Queue::<String>::open(temp.0.name("q")).unwrap()); // sweeps
            while let Ok(item) = q.try_get() {
                assert_eq!(item, text(n));
                n += 1;
            }
        }
        stranger.kill();
        assert!(n > 0);
    });
}

#[test]
#[ignore = "run by nothing_that_was_put_is_taken_for_a_dead_ones"]
fn stranger_comes_and_goes() {
    let Some(name) = theirs("q") else { return };
    println!("ready");
    for i in 0.. {
        Queue::open(name.clone()).unwrap().put(text(i)).unwrap();
    }
}

/// Descriptors and memory go with the last handle.
#[test]
fn nothing_is_kept_of_many() {
    watchdog(LONG * 5, || {
        let temp = Temp::new("many");
        let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let shared = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line =
                status.lines().find(|l| l.starts_with("RssFile") || l.starts_with("RssShmem")).unwrap().to_owned();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let (fds_before, shared_before) = (fds(), shared());
        for i in 0..200 {
            let q = Queue::create(temp.0.name("many"), 64).unwrap();
            q.put("x".repeat(500_000)).unwrap();
            assert_eq!(q.get().unwrap().len(), 500_000, "round {i}");
        }
        // One that stays, and many that come and go.
        let server = Queue::<u64>::create(temp.0.name("server"), 64).unwrap();
        for i in 0..700 {
            Queue::open(temp.0.name("server")).unwrap().put(i).unwrap();
            assert_eq!(server.get().unwrap(), i);
        }
        assert!(fds() <= fds_before + 10, "{} descriptors, {fds_before} before", fds());
        assert!(shared() <= shared_before + 30_000, "{} KiB, {shared_before} before", shared());
    });
}
