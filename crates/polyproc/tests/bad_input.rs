//! What a program may ask for and cannot have: each is an error of a type of its own, whose text says what to do.
//!
//! What the compiler refuses is in the documentation of `Function` and `Process::spawn`; a program that forgot `init()` in
//! `no_init.rs`.

use polyproc::parts::shm::{Kind, Message};
use polyproc::parts::{Board, CallError, function};
use polyproc::{
    Family, GetError, Lock, LockError, MessageError, NotStarted, Pool, PoolError, Process, ProcessError, PutError,
    Queue, QueueError, ShmError, TaskError,
};
use polyproc_testing::reexec::{child, in_child};
use polyproc_testing::watchdog;
use serde::{Deserialize, Serialize};
use std::fmt::{Debug, Display};
use std::time::Duration;

polyproc::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);

/// The error, whose text has all of `words` in it.
#[track_caller]
fn refused<T, E: Display>(result: Result<T, E>, words: &[&str]) -> E {
    let Err(error) = result else { panic!("it was not refused; expected {words:?}") };
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} are not in: {text}");
    error
}

/// Its encoding does not say which variant it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

#[derive(Clone, Debug, Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[test]
fn queues_and_boards_of_impossible_sizes_are_refused() {
    for items in [0, (1 << 24) + 1, usize::MAX] {
        let error = refused(Queue::<u64>::bounded(items), &[&items.to_string(), "ask for 1 to 16777216 items"]);
        assert!(matches!(error, QueueError::Capacity(n) if n == items), "{error:?}");
    }
    for cells in [0, (1 << 16) + 1, usize::MAX] {
        let error = refused(Board::new(cells), &[&cells.to_string(), "ask for 1 to 65536"]);
        assert!(matches!(error, QueueError::Cells(n) if n == cells), "{error:?}");
    }
}

#[test]
fn more_memory_than_there_is_is_refused() {
    let output = watchdog(LIMIT, || child("more_memory_than_there_is_alone").output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "runs in a process of its own"]
fn more_memory_than_there_is_alone() {
    if !in_child() {
        return;
    }
    // Should the memory be taken all the same, the kernel is to end this process, and no other.
    std::fs::write("/proc/self/oom_score_adj", "1000").unwrap();
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib = |name| -> u64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let asked = ((kib("MemTotal:") + kib("SwapTotal:")) << 10).next_multiple_of(64 << 10) + (1 << 30);
    let family = Family::get().unwrap();
    let before = family.stats().bytes_backed;
    let error = refused(family.alloc(asked, Kind::Data), &[&asked.to_string(), "ask for less"]);
    match error {
        ShmError::NoSpace { asked: told, .. } => assert_eq!(told, asked),
        // A family has 256 GiB of addresses: less than this machine has memory.
        ShmError::NoAddressSpace { reserved, .. } => assert!(asked > reserved),
        error => panic!("{error:?}"),
    }
    // Nothing but a place in the span table, of 16 bytes for each 64 KiB, was taken for it.
    assert!(family.stats().bytes_backed <= before + asked / 4096 + (64 << 10), "{:?}", family.stats());
    let error = refused(family.alloc(1 << 50, Kind::Data), &["RLIMIT_AS", "256 GiB", "ask for less"]);
    assert!(matches!(error, ShmError::NoAddressSpace { .. }), "{error:?}");
    // The family goes on.
    assert_eq!(family.alloc(1 << 20, Kind::Data).unwrap().len(), 1 << 20);
}

#[test]
fn items_that_cannot_be_encoded_come_back() {
    let queue = Queue::bounded(2).unwrap();
    let error = refused(queue.put(Stubborn), &["Stubborn", "its Serialize refused it"]);
    let PutError::Message { item: Stubborn, source: MessageError::Encode { .. } } = error else { panic!("{error:?}") };
    assert!(queue.is_empty());
}

/// Its encoding would be that of another value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    n: u32,
    list: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Holder {
    Value(Option<Vec<(u8, Skipping)>>),
    Fields {
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        n: u32,
    },
}

#[test]
fn structs_that_leave_fields_out_do_not_become_others() {
    let words = ["Skipping", "skip_serializing_if"];
    let skipping = |limit| Skipping { limit, n: 1, list: vec![0, 0] };
    let queue = Queue::bounded(2).unwrap();
    refused(queue.put(skipping(None)), &words);
    queue.put(skipping(Some(1))).unwrap();
    assert_eq!(queue.get().unwrap(), skipping(Some(1)));

    let holders = Queue::bounded(2).unwrap();
    let holder = |limit| Holder::Value(Some(vec![(7, skipping(limit))]));
    refused(holders.put(holder(None)), &["Holder", "skip_serializing_if"]);
    refused(holders.put(Holder::Fields { limit: None, n: 1 }), &["Holder", "skip_serializing_if"]);
    holders.put(holder(Some(2))).unwrap();
    assert_eq!(holders.get().unwrap(), holder(Some(2)));

    watchdog(LIMIT, || {
        refused(Process::spawn(|_: Skipping| {}, (skipping(None),)), &words);
        refused(Pool::new(1).unwrap().apply(|job: Skipping| job.n, skipping(None)), &words);
    });
}

#[test]
fn items_that_need_a_format_with_names_are_refused_where_they_arrive() {
    let queue = Queue::bounded(2).unwrap();
    queue.put(Untagged::Number(1)).unwrap();
    let error = refused(queue.try_get(), &["Untagged", "untagged, flatten or tag do not travel"]);
    assert!(matches!(error, GetError::Message(MessageError::Decode { .. })), "{error:?}");
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
}

#[test]
fn arguments_of_processes_that_cannot_travel_are_refused() {
    watchdog(LIMIT, || {
        let error = refused(Process::spawn(|_: Stubborn| {}, (Stubborn,)), &["arguments cannot be sent", "Serialize"]);
        assert!(matches!(error, ProcessError::Arguments(MessageError::Encode { .. })), "{error:?}");

        let child = Process::spawn(|_: Untagged| {}, (Untagged::Text("x".to_owned()),)).unwrap();
        let error = refused(child.join(), &["could not decode its arguments", "without untagged"]);
        assert!(matches!(error, ProcessError::ChildDidNotStart { why: NotStarted::BadArguments, .. }), "{error:?}");
    });
}

#[test]
fn functions_that_cannot_travel_are_refused() {
    let captured = 5_usize;
    let error =
        refused(Process::spawn(move || assert_eq!(captured, 5), ()), &["captures a value", "pass it as an argument"]);
    assert!(matches!(error, ProcessError::Captures { .. }), "{error:?}");

    // Code that the program has from a shared library, as every program has libc's.
    let foreign = polyproc_testing_code();
    let error = refused(function::enter(foreign), &["not part of the program's own file", "call it from a function"]);
    assert!(matches!(error, ProcessError::NotInProgram { .. }), "{error:?}");

    // A number that was not made by `enter`.
    let forged = function::FnRef::from_words([77, 0]);
    let message = Message::encode(Family::get().unwrap(), &1_u64).unwrap();
    let error = refused(forged.call(message), &["function 77 is not in the family's table"]);
    assert!(matches!(error, CallError::Unknown(ShmError::BadFunction { index: 77 })), "{error:?}");
}

/// A function outside of the program; it must not be called.
fn polyproc_testing_code() -> fn(u64) -> u64 {
    let anywhere: *const () = Family::get().unwrap().alloc(64, Kind::Data).unwrap().as_ptr().cast();
    // SAFETY: the address is not null, and nobody calls what is there.
    unsafe { core::mem::transmute::<*const (), fn(u64) -> u64>(anywhere) }
}

#[test]
fn names_and_variables_with_nul_are_refused() {
    let error = refused(Process::builder().name("an\0na").spawn(|| {}, ()), &["name", "NUL character: leave it out"]);
    assert!(matches!(error, ProcessError::Nul(_)), "{error:?}");
    for (name, value) in [("A\0B", "c"), ("AB", "c\0")] {
        let error = refused(Process::builder().env(name, value).spawn(|| {}, ()), &["environment", "leave it out"]);
        assert!(matches!(error, ProcessError::Nul(_)), "{error:?}");
    }
}

#[test]
fn handles_of_another_family_are_refused() {
    let family = Family::get().unwrap();
    let Ok(Message::Block(block)) = Message::encode(family, &Lock::new().unwrap()) else {
        panic!("handles need a block")
    };
    // Behind the one byte of the value, from the next multiple of eight on, the table of handles names its family.
    let table = family.at(block.offset() + 8, 8).unwrap().cast::<u64>();
    // SAFETY: the word lies in our own block and is aligned.
    unsafe { table.write(family.id() ^ 1) };
    let error =
        refused(Message::Block(block).decode::<Lock>(family), &["another family", "that it starts by polyproc"]);
    assert!(matches!(error, MessageError::Shm(ShmError::OtherFamily)), "{error:?}");
}

#[test]
fn handles_do_not_leave_the_family_as_bytes() {
    let message = Message::encode(Family::get().unwrap(), &Lock::new().unwrap()).unwrap();
    let error = refused(message.to_vec(), &["cannot leave the family's memory", "leave the handles out"]);
    assert!(matches!(error, MessageError::HasHandles), "{error:?}");
}

#[test]
fn messages_of_another_kind_are_refused() {
    let family = Family::get().unwrap();
    let same = "both ends must use the same type";
    let queue = Queue::<u64>::bounded(2).unwrap();
    let message = || Message::encode(family, &queue).unwrap();

    let error = refused(message().decode::<Lock>(family), &["a handle of a Queue, not of a Lock", same]);
    let wanted = ShmError::WrongKind { wanted: Kind::Lock, found: Kind::Queue };
    assert!(matches!(&error, MessageError::Shm(e) if e.to_string() == wanted.to_string()), "{error:?}");
    let error = refused(message().decode::<Queue<String>>(family), &["holds items of another type", same]);
    assert!(matches!(error, MessageError::Decode { .. }), "{error:?}");
    refused(message().decode::<Queue<i64>>(family), &["holds items of another type", same]);
    refused(message().decode::<u64>(family), &["u64", same]);
    refused(message().decode::<String>(family), &["it carries handles", same]);
    let number = Message::encode(family, &(7_u32, 1_u8)).unwrap();
    let error = refused(number.decode::<Lock>(family), &["carries no such handle", same]);
    assert!(matches!(error, MessageError::Shm(ShmError::BadHandle)), "{error:?}");
    refused(Message::encode(family, &7_u32).unwrap().decode::<bool>(family), &["bool", same]);
    refused(Message::encode(family, &7_u8).unwrap().decode::<bool>(family), &["bool", same]);
    refused(Message::encode(family, &vec![0xff_u8; 9]).unwrap().decode::<String>(family), &["utf-8", same]);
    refused(Message::encode(family, &(1_u8, 2_u8)).unwrap().decode::<(u8, u8, u8)>(family), &[same]);
}

/// A queue of items that may carry the queue itself.
#[derive(Debug, Serialize, Deserialize)]
struct Nested(u32, Option<Queue<Nested>>);

#[test]
fn queues_travel_through_themselves() {
    watchdog(LIMIT, || {
        let queue = Queue::bounded(2).unwrap();
        queue.put(Nested(1, Some(queue.clone()))).unwrap();
        let Nested(1, Some(same)) = queue.get().unwrap() else { panic!("another item was put") };
        same.put(Nested(2, None)).unwrap();
        assert_eq!(queue.get().unwrap().0, 2);
        // With the queue inside of itself nobody can get it any more: that may not be released, and must not hang.
        queue.put(Nested(3, Some(same))).unwrap();
        drop(queue);
    });
}

fn squares_by_a_pool(n: u64) -> Result<Vec<u64>, String> {
    let pool = Pool::new(2).map_err(|e| e.to_string())?;
    pool.map(|x: u64| x * x, 0..n).map_err(|e| e.to_string())
}

#[test]
fn pools_work_inside_of_workers_of_pools() {
    watchdog(LIMIT, || {
        let pool = Pool::new(2).unwrap();
        let squares = pool.map(squares_by_a_pool, [3, 4]).unwrap();
        assert_eq!(squares, [Ok(vec![0, 1, 4]), Ok(vec![0, 1, 4, 9])]);
    });
}

#[test]
fn pools_of_impossible_sizes_are_refused() {
    for workers in [0, 1025, usize::MAX] {
        let error = refused(Pool::new(workers), &[&workers.to_string(), "ask for 1 to 1024"]);
        assert!(matches!(error, PoolError::Workers(n) if n == workers), "{error:?}");
    }
}

#[test]
fn tasks_that_cannot_be_sent_are_refused() {
    watchdog(LIMIT, || {
        let pool = Pool::new(1).unwrap();
        let chunk = refused(pool.map_chunked(|x: u8| x, [1], 0), &["chunk of 0 tasks", "at least 1"]);
        assert!(matches!(chunk, PoolError::Chunk), "{chunk:?}");
        let chunk = refused(pool.imap_unordered_chunked(|x: u8| x, [1], 0), &["chunk of 0 tasks", "at least 1"]);
        assert!(matches!(chunk, PoolError::Chunk), "{chunk:?}");
        assert_eq!(pool.map_chunked(|x: u8| x, [1], usize::MAX).unwrap(), [1]);

        let lock = Lock::new().unwrap();
        let error = refused(pool.apply(|_: Lock| (), lock), &["argument 0", "Builder::initializer"]);
        assert!(matches!(error, PoolError::Argument { task: 0, source: MessageError::Encode { .. } }), "{error:?}");
        let error = refused(pool.apply(|()| Lock::new().unwrap(), ()), &["result cannot be sent", "handles of locks"]);
        assert!(matches!(error, PoolError::Task(TaskError::NotRun { task: 0, .. })), "{error:?}");
        let error = refused(pool.apply(|x: Untagged| x, Untagged::Number(1)), &["task 0", "untagged"]);
        assert!(matches!(error, PoolError::Task(TaskError::NotRun { task: 0, .. })), "{error:?}");
        let error = refused(pool.map(|x: u8| 100 / x, [1, 0]), &["task 1 panicked", "divide by zero"]);
        assert!(matches!(error, PoolError::Task(TaskError::Panicked { task: 1, .. })), "{error:?}");

        let error = refused(pool.join(), &["close it or terminate it before you join it"]);
        assert!(matches!(error, PoolError::StillOpen), "{error:?}");
        pool.close();
        let error = refused(pool.apply(|x: u8| x, 1), &["takes no more tasks"]);
        assert!(matches!(error, PoolError::Closed), "{error:?}");
    });
}

#[test]
fn locks_that_this_thread_holds_are_refused() {
    watchdog(LIMIT, || {
        let lock = Lock::new().unwrap();
        let _guard = lock.lock();
        let error = refused(lock.lock_timeout(Duration::MAX), &["drop its guard"]);
        assert_eq!(error, LockError::Mine);
        let error = refused(polyproc_error(&lock), &["drop its guard"]);
        assert!(matches!(error, polyproc::Error::Lock(LockError::Mine)), "{error:?}");
    });
}

/// The error of a program that only passes it on.
fn polyproc_error(lock: &Lock) -> polyproc::Result<()> {
    let _guard = lock.lock_timeout(Duration::ZERO)?;
    Ok(())
}
