//! Shared memory as processes use it: sent to a child, and found by its name.

use polyproc::{Lock, Process, Queue, SegmentError, SharedMemory, Value};

polyproc::init_for_tests!();

fn fill(memory: SharedMemory, name: String, from: u64) {
    let named = SharedMemory::open(&name).unwrap();
    for i in from..from + 100 {
        memory.set(i, i).unwrap();
        named.set(i, i * 2).unwrap();
    }
}

#[test]
fn children_fill_memory_that_they_were_sent_and_memory_that_they_find() {
    let name = format!("polyproc-facade-{}", std::process::id());
    let (memory, named) = (SharedMemory::new(3200).unwrap(), SharedMemory::create(&name, 3200).unwrap());
    let children: Vec<_> =
        (0..4).map(|i| Process::spawn(fill, (memory.clone(), name.clone(), i * 100)).unwrap()).collect();
    for child in children {
        assert!(child.join().unwrap().success());
    }
    assert!((0..400).all(|i| memory.get::<u64>(i).unwrap() == i && named.get::<u64>(i).unwrap() == i * 2));
    drop(named);
    assert!(matches!(SharedMemory::open(&name), Err(SegmentError::NotFound(_))));
}

fn count(memory: SharedMemory, total: Value<u64>, lock: Lock) {
    let _held = lock.lock();
    total.fetch_add(memory.get::<u64>(0).unwrap());
}

/// Its parent has dropped them before it finds them by their names.
#[test]
fn what_has_a_name_and_is_moved_to_a_child_arrives() {
    let name = |kind: &str| format!("polyproc-moved-{kind}-{}", std::process::id());
    for _ in 0..20 {
        let memory = SharedMemory::create(name("memory"), 8).unwrap();
        memory.set(0, 7_u64).unwrap();
        let (total, lock) = (Value::create(name("total"), 0).unwrap(), Lock::create(name("lock")).unwrap());
        let mine = total.clone();
        let child = Process::spawn(count, (memory, total, lock)).unwrap();
        assert!(child.join().unwrap().success());
        assert_eq!(mine.get(), 7);
        assert!(
            matches!(SharedMemory::open(name("memory")), Err(SegmentError::NotFound(_))),
            "held no longer than needed"
        );
    }
}

fn answer(q: Queue<SharedMemory>) {
    let memory = SharedMemory::new(8).unwrap();
    memory.set(0, 7_u64).unwrap();
    q.put(memory).unwrap(); // and ends: the queue holds it
}

#[test]
fn a_child_sends_memory_and_ends() {
    let q = Queue::bounded(4).unwrap();
    assert!(Process::spawn(answer, (q.clone(),)).unwrap().join().unwrap().success());
    assert_eq!(q.get().unwrap().get::<u64>(0).unwrap(), 7);
}
