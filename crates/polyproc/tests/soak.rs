//! Random kills under load: producers, consumers, those who lock and change values, and the workers of a pool die and are
//! replaced, and the books must balance.
//!
//! Every message carries who sent it (a number for each producer process ever started), its number and a checksum. The
//! consumers report what they took through a third queue, with numbers of their own, since the process that keeps the
//! books is never killed: a gap there would be a loss without a death. A producer counts what it has put in a word of
//! shared memory after `put` returned, which is read when the producer is dead: of those numbers each must have been
//! taken once, but for one for each killed consumer. The number after them may have been taken or not.
//!
//! `POLYPROC_SOAK_SECONDS` says for how long (3), `POLYPROC_SEED` how to throw the dice. Children inherit the seed's
//! consequences only; when whom the system runs is not in our hand.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod field;

use field::{Field, Random, from_environment, held, mix};
use polyproc::parts::sys::atomic::Ordering::Relaxed;
use polyproc::parts::sys::{deadline::now_ns, fork::kill_child};
use polyproc::{Array, Family, GetError, Lock, Pool, PoolError, Process, Queue, Semaphore, TaskError, Value};
use polyproc_testing::{LeakCheck, watchdog};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

polyproc::init_for_tests!();

/// Producers, consumers of each of the two queues, processes that only lock, workers of the pool.
const PRODUCERS: usize = 3;
const CONSUMERS: usize = 2;
const LOCKERS: usize = 2;
const WORKERS: usize = 2;
/// Without any progress of one kind for so long, something hangs.
const HANG: Duration = Duration::from_secs(20);
const QUEUES: usize = 2;
/// As many processes may be inside of what the semaphore guards.
const PERMITS: u32 = 2;

// The words of the field.
const A: usize = 0;
const B: usize = 1;
const INSIDE: usize = 2;
const STOP: usize = 3;
const WRONG: usize = 4;
const RECOVERED: usize = 5;
const ANSWERS: usize = 6;
const PERMITTED: usize = 7;
/// How many messages a producer has put into each queue, by its place.
const PUT: usize = 16;
/// Whether a consumer has begun to take, by its place.
const TAKING: usize = PUT + PRODUCERS * QUEUES;
const WORDS: usize = TAKING + CONSUMERS * QUEUES;

// What `STOP` says.
const RUN: u64 = 0;
const NO_MORE: u64 = 1; // producers and lockers end
const UNTIL_EMPTY: u64 = 2; // consumers end when their queue is empty

// What `WRONG` says.
const TORN: u64 = 1;
const UNEQUAL: u64 = 2;
const TWO_INSIDE: u64 = 3;
const BROKEN: u64 = 4;
const HALF_WRITTEN: u64 = 5;
const LOST_COUNT: u64 = 6;

/// What all processes share.
#[derive(Clone, Serialize, Deserialize)]
struct World {
    /// 8 bytes to 200 KiB: in the slot, in a block, in several spans.
    bytes: Queue<Vec<u8>>,
    /// Always in the slot.
    words: Queue<(u64, u64, u64)>,
    /// (consumer << 32 | its report's number, queue << 48 | producer << 24 | number of the message).
    reports: Queue<(u64, u64)>,
    lock: Lock,
    /// Its permits have owners, so that none is lost.
    permits: Semaphore,
    /// A count, what it was multiplied with, and what came of it.
    value: Value<[u64; 3]>,
    /// Elements of three words likewise.
    array: Array<[u64; 3]>,
    field: Field,
}

const NUMBER: u64 = 0xff_ffff;

/// Eight bytes of producer, number and checksum, and then bytes that follow from them.
fn compose(producer: u64, number: u64, len: usize) -> Vec<u8> {
    let name = producer << 24 | number;
    let head = name | mix(name ^ (len as u64) << 48) << 48;
    let mut random = Random(head);
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&head.to_le_bytes());
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The producer and the number in a message, if every byte of it is as it was sent.
fn read(bytes: &[u8]) -> Option<(u64, u64)> {
    let head = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let (producer, number) = (head >> 24 & NUMBER, head & NUMBER);
    (compose(producer, number, bytes.len()) == bytes).then_some((producer, number))
}

fn some_length(random: &mut Random) -> usize {
    8 + match random.below(20) {
        0 => random.below(200 << 10),
        1..8 => random.below(4 << 10),
        _ => random.below(41), // up to 48 bytes fit a slot
    } as usize
}

/// The critical section: two words that are equal whenever nobody is inside.
fn two_words(world: &World, who: u64, linger: u64) {
    let field = &world.field;
    let guard = world.lock.lock();
    let word = |i| field.word(i).load(Relaxed);
    if guard.recovered() {
        field.word(B).store(word(A), Relaxed);
        field.word(RECOVERED).store(word(RECOVERED) + 1, Relaxed);
    } else if word(A) != word(B) {
        field.set(WRONG, UNEQUAL);
    } else if word(INSIDE) != 0 {
        field.set(WRONG, TWO_INSIDE);
    }
    field.word(INSIDE).store(who, Relaxed);
    field.word(A).store(word(A) + 1, Relaxed);
    (0..linger).for_each(|_| core::hint::spin_loop());
    if word(INSIDE) != who {
        field.set(WRONG, TWO_INSIDE);
    }
    field.word(B).store(word(B) + 1, Relaxed);
    field.word(INSIDE).store(0, Relaxed);
    drop(guard);
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a value or an element holds after it was changed `n` times.
fn triple(n: u64) -> [u64; 3] {
    [n, MULTIPLIER, n.wrapping_mul(MULTIPLIER)]
}

/// A semaphore all of whose permits have had owners: they lie in cells, so that whoever counts them counts none twice.
fn permits_in_cells() -> Semaphore {
    let permits = Semaphore::new(PERMITS).unwrap();
    let all: Vec<_> = (0..PERMITS).map(|_| permits.try_acquire_owned().unwrap()).collect();
    drop(all);
    permits
}

/// Values and elements are whole whenever somebody looks, and count what was published; at most as many processes as there
/// are permits do so at once.
fn values(world: &World, i: u64) {
    let field = &world.field;
    let Ok(permit) = world.permits.acquire_owned() else { return field.set(WRONG, BROKEN) };
    if u64::from(PERMITS) <= world.permits.available() {
        field.set(WRONG, LOST_COUNT); // this thread's own is out
    }
    let look = |seen: [u64; 3], least: u64| {
        if seen != triple(seen[0]) {
            field.set(WRONG, HALF_WRITTEN);
        }
        if seen[0] < least {
            field.set(WRONG, LOST_COUNT);
        }
        seen[0]
    };
    let before = look(world.value.get(), 0);
    let during = world.value.update(|v| {
        let n = look(*v, before);
        *v = triple(n + 1);
        n + 1
    });
    look(world.value.get(), during);
    let at = i as usize % world.array.len();
    look(world.array.get(at), 0);
    let elements = world.array.lock();
    let n = look(elements.get(at), 0);
    elements.set(at, triple(n + 1));
    drop(elements);
    field.word(PERMITTED).fetch_add(1, Relaxed);
    drop(permit);
}

fn produce(world: World, place: usize, me: u64, seed: u64) {
    let mut random = Random(seed);
    let mut put = [0; QUEUES];
    while world.field.get(STOP) == RUN {
        let queue = random.below(QUEUES as u64) as usize;
        let number = put[queue];
        let done = match queue {
            0 => world.bytes.put(compose(me, number, some_length(&mut random))).is_ok(),
            _ => world.words.put((me, number, mix(me << 24 | number))).is_ok(),
        };
        if !done {
            world.field.set(WRONG, BROKEN);
        }
        put[queue] += 1;
        world.field.set(PUT + place * QUEUES + queue, put[queue]);
        if number.is_multiple_of(8) {
            two_words(&world, me, 0);
        }
    }
}

fn consume(world: World, place: usize, me: u64) {
    let queue = place % QUEUES;
    world.field.set(TAKING + place, 1);
    for report in 0.. {
        let pause = Duration::from_millis(20);
        let taken = loop {
            let taken = match queue {
                0 => world.bytes.get_timeout(pause).map(|bytes| read(&bytes)),
                _ => world.words.get_timeout(pause).map(|(p, n, sum)| (sum == mix(p << 24 | n)).then_some((p, n))),
            };
            match taken {
                Ok(taken) => break taken,
                Err(GetError::TimedOut) if world.field.get(STOP) == UNTIL_EMPTY => return,
                Err(GetError::TimedOut) => {}
                Err(e) => {
                    eprintln!("consumer {me}: {e}");
                    return world.field.set(WRONG, BROKEN);
                }
            }
        };
        let Some((producer, number)) = taken else { return world.field.set(WRONG, TORN) };
        let report = (me << 32 | report, (queue as u64) << 48 | producer << 24 | number);
        if world.reports.put(report).is_err() {
            return world.field.set(WRONG, BROKEN);
        }
        if number.is_multiple_of(8) {
            two_words(&world, me, 0);
        }
    }
}

fn hammer(world: World, me: u64, seed: u64) {
    let mut random = Random(seed);
    while world.field.get(STOP) == RUN {
        two_words(&world, me, random.below(200));
        values(&world, random.next());
    }
}

/// A worker of the pool has the world by its initializer.
static WORLD: OnceLock<World> = OnceLock::new();

fn task(n: u64) -> (u64, u64) {
    if let Some(world) = WORLD.get() {
        two_words(world, u64::from(std::process::id()) << 32, 20);
        values(world, n);
    }
    (n, mix(n))
}

/// Calls the pool again and again; how many tasks were answered, and how many of those were lost with their worker.
fn call(pool: &Pool, field: &Field) -> (u64, u64) {
    const TASKS: u64 = 200;
    let (mut answered, mut lost) = (0, 0);
    while field.get(STOP) == RUN {
        let mut seen = [false; TASKS as usize];
        for answer in pool.imap_unordered_chunked(task, 0..TASKS, 5).unwrap() {
            let n = match answer {
                Ok((n, sum)) => {
                    assert_eq!(sum, mix(n), "the result of another task");
                    n as usize
                }
                Err(PoolError::Task(TaskError::WorkerDied { task, .. })) => {
                    lost += 1;
                    task
                }
                Err(e) => panic!("{e}"),
            };
            assert!(!core::mem::replace(&mut seen[n], true), "task {n} was answered twice");
            answered += 1;
            field.set(ANSWERS, answered);
        }
        assert!(seen.iter().all(|seen| *seen), "a task was never answered");
    }
    (answered, lost)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Producer,
    Consumer,
    Locker,
}

/// A place that a process fills, the next one when that is killed.
struct Post {
    role: Role,
    place: usize,
    /// The number of the process.
    number: u64,
    process: Process,
}

/// What is known of the messages of one producer in one queue.
#[derive(Default)]
struct Sent {
    /// Taken messages, as bits.
    taken: Vec<u64>,
    /// Known when the producer has ended.
    put: Option<u64>,
}

impl Sent {
    fn has(&self, n: u64) -> bool {
        self.taken.get(n as usize / 64).is_some_and(|bits| bits >> (n % 64) & 1 == 1)
    }

    fn take(&mut self, n: u64) {
        let at = n as usize / 64;
        self.taken.resize(self.taken.len().max(at + 1), 0);
        self.taken[at] |= 1 << (n % 64);
    }

    fn count(&self) -> u64 {
        self.taken.iter().map(|bits| u64::from(bits.count_ones())).sum()
    }
}

#[derive(Default)]
struct Books {
    /// By queue and producer.
    sent: HashMap<(u64, u64), Sent>,
    /// The next report's number of each consumer.
    reports: HashMap<u64, u64>,
    /// The last number that a consumer took of a queue and producer.
    last: HashMap<(u64, u64, u64), u64>,
    messages: [u64; QUEUES],
    /// Consumers of each queue that were killed after they had begun.
    killed_consumers: [u64; QUEUES],
    kills: HashMap<&'static str, u64>,
}

impl Books {
    fn enter(&mut self, (from, what): (u64, u64)) {
        let (consumer, report) = (from >> 32, from & u64::from(u32::MAX));
        let (queue, producer, number) = (what >> 48, what >> 24 & NUMBER, what & NUMBER);
        let next = self.reports.entry(consumer).or_default();
        assert_eq!(report, *next, "reports of consumer {consumer} are lost, doubled or out of order");
        *next += 1;
        let sent = self.sent.entry((queue, producer)).or_default();
        assert!(!sent.has(number), "message {number} of producer {producer} was taken twice from queue {queue}");
        assert!(sent.put.is_none_or(|put| number <= put), "message {number} of producer {producer} was never put");
        sent.take(number);
        let last = self.last.insert((consumer, queue, producer), number);
        assert!(last < Some(number), "consumer {consumer} took {number} of producer {producer} after {last:?}");
        self.messages[queue as usize] += 1;
    }

    /// Messages that were put for certain and that nobody reported.
    fn missing(&self, queue: u64) -> u64 {
        let all = self.sent.iter().filter(|((q, _), _)| *q == queue);
        all.map(|(_, sent)| {
            let put = sent.put.expect("all producers have ended");
            put + u64::from(sent.has(put)) - sent.count()
        })
        .sum()
    }
}

/// The longest times without progress, of several kinds.
struct Stalls {
    last: [(u64, Instant); 5],
    longest: [Duration; 5],
}

impl Stalls {
    const NAMES: [&str; 5] = ["bytes", "words", "lock", "pool", "permits"];

    fn new() -> Self {
        Self { last: [(0, Instant::now()); 5], longest: [Duration::ZERO; 5] }
    }

    fn look(&mut self, books: &Books, field: &Field) {
        let now = [books.messages[0], books.messages[1], field.get(A), field.get(ANSWERS), field.get(PERMITTED)];
        for (i, now) in now.into_iter().enumerate() {
            let (before, since) = &mut self.last[i];
            let stall = since.elapsed();
            assert!(stall < HANG, "{} hangs", Self::NAMES[i]);
            if *before != now {
                self.longest[i] = self.longest[i].max(stall);
                (*before, *since) = (now, Instant::now());
            }
        }
    }
}

/// Lets the threads and processes end if the books do not balance.
struct StopAll<'a>(&'a Field);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.set(STOP, UNTIL_EMPTY);
    }
}

struct Soak {
    world: World,
    random: Random,
    books: Books,
    stalls: Stalls,
    posts: Vec<Post>,
    /// Processes started so far; their numbers begin with 1.
    started: u64,
    longest_join: Duration,
}

impl Soak {
    fn start(&mut self, role: Role, place: usize) -> Post {
        self.started += 1;
        let (number, seed) = (self.started, self.random.next());
        assert!(number <= NUMBER, "the numbers of processes have 24 bits");
        let world = self.world.clone();
        let process = match role {
            Role::Producer => {
                (0..QUEUES).for_each(|queue| self.world.field.set(PUT + place * QUEUES + queue, 0));
                Process::spawn(produce, (world, place, number, seed))
            }
            Role::Consumer => {
                self.world.field.set(TAKING + place, 0);
                Process::spawn(consume, (world, place, number))
            }
            Role::Locker => Process::spawn(hammer, (world, number, seed)),
        };
        Post { role, place, number, process: process.unwrap() }
    }

    /// Enters what is reported until `until`.
    fn keep_books(&mut self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.world.reports.get_timeout(left.min(Duration::from_millis(1))) {
                Ok(report) => self.books.enter(report),
                Err(GetError::TimedOut) if left.is_zero() => break,
                Err(GetError::TimedOut) => {}
                Err(e) => panic!("{e}"),
            }
            if left.is_zero() {
                break;
            }
        }
        self.stalls.look(&self.books, &self.world.field);
        let wrong = self.world.field.get(WRONG);
        assert_eq!(
            wrong, 0,
            "torn {TORN}, words unequal {UNEQUAL}, two inside {TWO_INSIDE}, broken {BROKEN}, value or element half written \
             {HALF_WRITTEN}, permits or counts lost {LOST_COUNT}"
        );
    }

    /// After a process has ended: what is known now.
    fn ended(&mut self, post: &Post, killed: bool) {
        let place = post.place;
        match post.role {
            Role::Producer => {
                for queue in 0..QUEUES {
                    let put = self.world.field.get(PUT + place * QUEUES + queue);
                    self.books.sent.entry((queue as u64, post.number)).or_default().put = Some(put);
                }
            }
            Role::Consumer if killed => {
                self.books.killed_consumers[place % QUEUES] += self.world.field.get(TAKING + place);
            }
            _ => {}
        }
    }

    fn kill(&mut self, i: usize) {
        let post = self.posts.swap_remove(i);
        let role = post.role;
        post.process.kill().unwrap();
        let since = Instant::now();
        let status = post.process.join_timeout(HANG).unwrap().expect("a killed process ends");
        self.longest_join = self.longest_join.max(since.elapsed());
        assert_eq!(status.signal(), Some(9), "{role:?} {} ended by itself: {status}", post.number);
        self.ended(&post, true);
        let next = self.start(role, post.place); // which begins with the words of the dead one
        self.posts.push(next);
        *self.books.kills.entry(name(role)).or_default() += 1;
    }

    /// Kills somebody.
    fn strike(&mut self, pool: &Pool) {
        let i = self.random.below((self.posts.len() + WORKERS) as u64) as usize;
        if i < self.posts.len() {
            return self.kill(i);
        }
        let workers = pool.pids();
        if let Some(&pid) = workers.get(i - self.posts.len()) {
            kill_child(pid); // a child that only this thread kills: alive, or not reaped for long
            *self.books.kills.entry("workers").or_default() += 1;
        }
    }

    /// Waits for processes of one role to end by themselves.
    fn end(&mut self, wanted: impl Fn(Role) -> bool) {
        let since = Instant::now();
        while let Some(i) = self.posts.iter().position(|post| wanted(post.role)) {
            if self.posts[i].process.is_alive() {
                assert!(since.elapsed() < HANG, "{:?} does not end", self.posts[i].role);
                self.drain();
                continue;
            }
            let post = self.posts.swap_remove(i);
            let status = post.process.join().unwrap();
            assert!(status.success(), "{:?} {} failed: {status}", post.role, post.number);
            self.ended(&post, false);
        }
    }

    fn drain(&mut self) {
        while let Ok(report) = self.world.reports.get_timeout(Duration::from_millis(1)) {
            self.books.enter(report);
        }
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Producer => "producers",
        Role::Consumer => "consumers",
        Role::Locker => "lockers",
    }
}

#[test]
fn soak() {
    let seconds = from_environment("POLYPROC_SOAK_SECONDS").unwrap_or(3);
    let seed = from_environment("POLYPROC_SEED").unwrap_or_else(|| now_ns() | 1);
    println!("POLYPROC_SEED={seed}");
    watchdog(Duration::from_secs(seconds + 120), || {
        let family = Family::get().unwrap();
        family.participant().unwrap();
        Process::spawn(|| {}, ()).unwrap().join().unwrap(); // the lifeline
        let (leaks, before) = (LeakCheck::start(), family.stats());
        run(Duration::from_secs(seconds), seed);
        let after = family.stats();
        if held(&after) != held(&before) {
            let reaped = family.reap();
            let then = family.stats();
            panic!("left in the family's memory: {before:?} {after:?}, after {reaped:?}: {then:?}");
        }
        leaks.finish().unwrap();
    });
}

fn run(duration: Duration, seed: u64) {
    let world = World {
        bytes: Queue::bounded(32).unwrap(),
        words: Queue::bounded(64).unwrap(),
        reports: Queue::bounded(1024).unwrap(),
        lock: Lock::new().unwrap(),
        permits: permits_in_cells(),
        value: Value::new(triple(0)).unwrap(),
        array: Array::new(16, triple(0)).unwrap(),
        field: Field::new(WORDS),
    };
    let enter = |world: World| drop(WORLD.set(world));
    let pool = Pool::builder().workers(WORKERS).initializer(enter, world.clone()).build().unwrap();
    let mut soak = Soak {
        world: world.clone(),
        random: Random(seed),
        books: Books::default(),
        stalls: Stalls::new(),
        posts: Vec::new(),
        started: 0,
        longest_join: Duration::ZERO,
    };
    let counts = [(Role::Producer, PRODUCERS), (Role::Consumer, CONSUMERS * QUEUES), (Role::Locker, LOCKERS)];
    for (role, place) in counts.into_iter().flat_map(|(role, count)| (0..count).map(move |place| (role, place))) {
        let post = soak.start(role, place);
        soak.posts.push(post);
    }
    let (answered, lost) = std::thread::scope(|scope| {
        let _stop = StopAll(&world.field);
        let caller = scope.spawn(|| call(&pool, &world.field));
        let since = Instant::now();
        while since.elapsed() < duration {
            let pause = Duration::from_micros(1000 + soak.random.below(5000));
            soak.keep_books(Instant::now() + pause);
            soak.strike(&pool);
        }
        world.field.set(STOP, NO_MORE);
        soak.end(|role| role != Role::Consumer);
        let answers = loop {
            if caller.is_finished() {
                break caller.join().unwrap();
            }
            soak.drain();
        };
        world.field.set(STOP, UNTIL_EMPTY);
        soak.end(|_| true);
        answers
    });
    pool.close();
    pool.join().unwrap();
    soak.drain();
    soak.keep_books(Instant::now());

    let Soak { books, stalls, longest_join, .. } = &soak;
    assert!(world.bytes.is_empty() && world.words.is_empty() && world.reports.is_empty());
    assert!(matches!(world.bytes.try_get(), Err(GetError::Empty)));
    assert!(matches!(world.words.try_get(), Err(GetError::Empty)));
    two_words(&world, 1, 0);
    let all: Vec<_> = (0..PERMITS).map(|_| world.permits.try_acquire_owned().expect("no permit is lost")).collect();
    assert!(world.permits.try_acquire_owned().is_err(), "no permit is doubled");
    drop(all);
    values(&world, 0);
    assert_eq!(world.field.get(WRONG), 0);
    let kills: u64 = books.kills.values().sum();
    let workers = books.kills.get("workers").copied().unwrap_or(0);
    assert!(lost <= workers, "{lost} tasks were lost with {workers} workers");
    let missing = [0, 1].map(|queue| books.missing(queue));
    println!(
        "soak: {kills} kills {:?}, {} messages, {} missing ({:?} of at most {:?}), longest stall {:.0?} {:.0?} of {:?}, \
         lock {} times, recovered {}, values changed {} times, {answered} tasks, {lost} lost, longest join {:.0?}",
        books.kills,
        books.messages.iter().sum::<u64>(),
        missing.iter().sum::<u64>(),
        missing,
        books.killed_consumers,
        stalls.longest.iter().max().unwrap(),
        stalls.longest,
        Stalls::NAMES,
        world.field.get(A),
        world.field.get(RECOVERED),
        world.value.get()[0],
        longest_join,
    );
    for (missing, killed) in missing.iter().zip(books.killed_consumers) {
        assert!(*missing <= killed, "{missing} messages are missing with {killed} consumers");
    }
    assert!(kills > 0 && books.messages.iter().all(|n| *n > 0) && answered > 0, "nothing happened");
}
