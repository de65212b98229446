//! One object of each kind in the family's memory, and every call on them.

use crate::limit;
use crate::watch::{self, Lane};
use polyproc::parts::Board;
use polyproc::parts::shm::{BlockRef, Kind, Message, message};
use polyproc::parts::sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc::{
    Array, Barrier, Buffer, Condition, Deadline, Event, Family, Item, Lock, Process, PyList, Queue, RLock, RwLock,
    Semaphore, ShareableList, SharedMemory, Value,
};
use polyproc_testing::Scribbler;
use serde::{Deserialize, Serialize};
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(3);
const THREADS: usize = 3;

pub(crate) type Parts = (u64, String, Vec<u32>);

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct World {
    lock: Lock,
    counted: Semaphore,
    bounded: Semaphore,
    event: Event,
    barrier: Barrier,
    rlock: RLock,
    rwlock: RwLock,
    condition: Condition<Lock>,
    value: Value<u64>,
    wide: Value<[u64; 3]>,
    letter: Value<char>,
    bound: Value<u32>,
    bytes: Array<u8>,
    words: Array<u64>,
    triples: Array<[u64; 3]>,
    flags: Array<bool>,
    list: ShareableList,
    memory: SharedMemory,
    numbers: Queue<u64>,
    texts: Queue<Vec<u8>>,
    parts: Queue<Parts>,
    handles: Queue<(Lock, Value<u64>, Semaphore)>,
    buffers: Queue<Buffer>,
    board: Board,
}

impl World {
    fn new() -> Self {
        let lock = Lock::new().unwrap();
        Self {
            counted: Semaphore::new(3).unwrap(),
            bounded: Semaphore::bounded(3).unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(2).unwrap(),
            rlock: RLock::new().unwrap(),
            rwlock: RwLock::new().unwrap(),
            condition: Condition::with_lock(&Lock::new().unwrap()).unwrap(),
            value: Value::new(7).unwrap(),
            wide: Value::new([7; 3]).unwrap(),
            letter: Value::new('x').unwrap(),
            bound: Value::with_lock(7, &lock).unwrap(),
            bytes: Array::new(1000, 7).unwrap(),
            words: Array::new(100, 7).unwrap(),
            triples: Array::new(50, [7; 3]).unwrap(),
            flags: Array::new(64, true).unwrap(),
            list: list().unwrap(),
            memory: SharedMemory::builder().growable(100_000).unnamed(5000).unwrap(),
            numbers: Queue::bounded(16).unwrap(),
            texts: Queue::bounded(16).unwrap(),
            parts: Queue::bounded(16).unwrap(),
            handles: Queue::bounded(16).unwrap(),
            buffers: Queue::bounded(16).unwrap(),
            board: Board::new(8).unwrap(),
            lock,
        }
    }
}

fn list() -> Result<ShareableList, polyproc::ShmError> {
    ShareableList::new([Item::Int(7), Item::Str("a text of some length".into()), Item::Bytes(vec![7; 40]), Item::None])
}

/// One call, or a few that belong together, on an object of any kind.
fn act(w: &World, lane: &mut Lane) {
    let n = lane.dice.next();
    let (small, i) = (lane.dice.below(200), lane.dice.below(50) as usize);
    match lane.dice.below(16) {
        0 => locks(&w.lock, lane),
        1 => semaphores(if n & 1 == 0 { &w.counted } else { &w.bounded }, n, lane),
        2 => values(w, n, lane),
        3 => arrays(w, i, n, lane),
        4 => chunks(w, i, lane),
        5 => lists(w, n, lane),
        6 => memories(&w.memory, n, lane),
        7 => queues(w, n, small, lane),
        8 => handles(w, lane),
        9 => boards(&w.board, n, lane),
        10 => blocks(n, lane),
        11 => meetings(&w.event, &w.barrier, n, lane),
        12 => levels(&w.rlock, lane),
        13 => readers(&w.rwlock, n, lane),
        14 => conditions(&w.condition, n, lane),
        _ => make(n, lane),
    }
}

pub(crate) fn locks(lock: &Lock, lane: &Lane) {
    drop(lane.call("Lock::lock_timeout", || lock.lock_timeout(SHORT)));
    drop(lane.call("Lock::try_lock", || lock.try_lock()));
    lane.call("Lock::lock_timeout, while it is held", || {
        let held = lock.lock_timeout(SHORT);
        let twice = lock.lock_timeout(SHORT);
        drop((held, twice));
    });
}

pub(crate) fn semaphores(semaphore: &Semaphore, n: u64, lane: &Lane) {
    let got = lane.call("Semaphore::acquire_timeout", || semaphore.acquire_timeout(SHORT));
    let tried = lane.call("Semaphore::try_acquire", || semaphore.try_acquire());
    let owned = lane.call("Semaphore::acquire_owned_timeout", || semaphore.acquire_owned_timeout(SHORT));
    let again = lane.call("Semaphore::try_acquire_owned", || semaphore.try_acquire_owned());
    lane.call("Semaphore::available", || semaphore.available());
    lane.call("Permit::drop", || drop((owned, again)));
    if got.is_ok() || tried || n & 6 == 0 {
        let _ = lane.call("Semaphore::release", || semaphore.release());
        let _ = lane.call("Semaphore::release_n", || semaphore.release_n((n >> 8) as u32 % 3));
    }
}

pub(crate) fn meetings(event: &Event, barrier: &Barrier, n: u64, lane: &Lane) {
    lane.call("Event::wait_timeout", || event.wait_timeout(SHORT));
    lane.call("Event::set", || event.set());
    if n & 1 == 0 {
        lane.call("Event::clear", || event.clear());
    }
    let passed = lane.call("Barrier::wait_timeout", || barrier.wait_timeout(SHORT));
    lane.call("Barrier::waiting", || barrier.waiting());
    if passed.is_err() && n & 2 == 0 {
        lane.call("Barrier::reset", || barrier.reset());
    }
    if n & 60 == 0 {
        lane.call("Barrier::abort", || barrier.abort());
    }
}

pub(crate) fn levels(lock: &RLock, lane: &Lane) {
    let outer = lane.call("RLock::lock_timeout", || lock.lock_timeout(SHORT));
    let inner = lane.call("RLock::try_lock", || lock.try_lock());
    lane.call("RLockGuard::drop", || drop((outer, inner)));
}

pub(crate) fn readers(lock: &RwLock, n: u64, lane: &Lane) {
    let read = lane.call("RwLock::read_timeout", || lock.read_timeout(SHORT));
    let again = lane.call("RwLock::try_read", || lock.try_read());
    if n & 1 == 0 {
        lane.call("ReadGuard::drop", || drop((read, again)));
        drop(lane.call("RwLock::write_timeout", || lock.write_timeout(SHORT)));
    } else {
        drop(lane.call("RwLock::try_write", || lock.try_write()));
    }
}

/// A wait takes the lock again, however long that takes.
pub(crate) fn conditions(condition: &Condition<Lock>, n: u64, lane: &Lane) {
    lane.call_that_waits("Condition", || {
        let mut guard = condition.lock();
        let _ = condition.notify_n(&guard, n as u32 % 3);
        let _ = condition.wait_timeout(&mut guard, SHORT);
        let _ = condition.notify_all(&guard);
    });
}

fn values(w: &World, n: u64, lane: &Lane) {
    lane.call("Value::get", || (w.value.get(), w.wide.get(), w.letter.get(), w.bound.get()));
    if let Ok(mut guard) = lane.call("Value::lock_timeout", || w.wide.lock_timeout(SHORT)) {
        guard[1] = n;
        lane.call("ValueGuard::drop", || drop(guard));
    }
    if let Some(mut guard) = lane.call("Value::try_lock", || w.letter.try_lock()) {
        *guard = 'y';
        lane.call("ValueGuard::drop", || drop(guard));
    }
    if let Ok(mut guard) = lane.call("Lock::lock_timeout", || w.lock.lock_timeout(SHORT)) {
        lane.call("Value::locked_by", || *w.bound.locked_by(&mut guard) += 1_u32.wrapping_mul(0));
    }
    lane.call_that_waits("Value::set", || w.wide.set([n; 3]));
    lane.call_that_waits("Value::update", || w.wide.update(|v| v[0] = n));
    lane.call_that_waits("Value::fetch_add", || w.value.fetch_add(n));
    lane.call_that_waits("Value::fetch_xor", || w.value.fetch_xor(n));
    lane.call_that_waits("Value::swap", || w.letter.swap('z'));
    let _ = lane.call_that_waits("Value::compare_exchange", || w.value.compare_exchange(w.value.get(), n));
}

fn arrays(w: &World, i: usize, n: u64, lane: &Lane) {
    lane.call("Array::get", || (w.bytes.get(i), w.words.get(i), w.triples.get(i), w.flags.get(i)));
    lane.call("Array::to_vec", || (w.bytes.to_vec(), w.words.to_vec(), w.triples.to_vec(), w.flags.to_vec()));
    lane.call("Array::iter", || (w.triples.iter().rev().count(), w.flags.iter().filter(|f| *f).count()));
    lane.call("Array::read", || w.bytes.read(i..i + 100, &mut [0; 100]));
    if let Ok(guard) = lane.call("Array::lock_timeout", || w.triples.lock_timeout(SHORT)) {
        lane.call("ArrayGuard::set", || guard.set(i, [n; 3]));
        lane.call("ArrayGuard::update", || guard.update(i, |t| t[2] = t[0]));
        lane.call("ArrayGuard::swap", || guard.swap(i, 49 - i));
        lane.call("ArrayGuard::write", || guard.write(0..2, &[[1; 3], [2; 3]]));
        lane.call("ArrayGuard::fill", || guard.fill(3..9, [3; 3]));
        lane.call("ArrayGuard::drop", || drop(guard));
    }
    if let Some(guard) = lane.call("Array::try_lock", || w.bytes.try_lock()) {
        lane.call("ArrayGuard::write", || guard.write(i..i + 77, &[n as u8; 77]));
    }
    lane.call_that_waits("Array::set", || w.flags.set(i, n & 1 == 0));
    lane.call_that_waits("Array::update", || w.triples.update(i, |t| t[0] = n));
    lane.call_that_waits("Array::fill", || w.words.fill(i.., n));
    lane.call_that_waits("Array::write", || w.bytes.write(..100, &[n as u8; 100]));
}

fn chunks(w: &World, i: usize, lane: &Lane) {
    if let Ok(chunks) = lane.call_that_waits("Array::chunks", || w.words.chunks(16)) {
        let i = i % chunks.len();
        if let Ok(chunk) = lane.call("Chunks::claim", || chunks.claim(i)) {
            lane.call("ChunkGuard::fill", || chunk.fill(.., 9));
            lane.call("ChunkGuard::get", || (chunk.get(0), chunk.iter().count()));
            lane.call("ChunkGuard::drop", || drop(chunk));
        }
    }
    if let Ok(chunks) = lane.call_that_waits("Array::chunks", || w.triples.chunks(7))
        && let Ok(chunk) = lane.call("Chunks::claim", || chunks.claim(i % chunks.len()))
    {
        lane.call("ChunkGuard::get", || chunk.get(0));
        lane.call_that_waits("ChunkGuard::set", || chunk.set(0, [5; 3]));
    }
}

fn lists(w: &World, n: u64, lane: &Lane) {
    let i = (n % 4) as usize;
    lane.call("ShareableList::get", || w.list.get(i));
    lane.call("ShareableList::to_vec", || (w.list.to_vec(), w.list.format(), w.list.index(&Item::None)));
    let _ = lane.call_that_waits("ShareableList::set", || w.list.set(i, Item::Int(n.cast_signed())));
    let _ = lane.call("PyList::create", || PyList::create(w.memory.clone(), &[Item::Int(1), Item::Str("abc".into())]));
    if let Ok(list) = lane.call("PyList::open", || PyList::open(w.memory.clone())) {
        let _ = lane.call("PyList::to_vec", || (list.to_vec(), list.format()));
        if !list.is_empty() {
            let i = i % list.len();
            let _ = lane.call("PyList::get", || list.get(i));
            let _ = lane.call("PyList::set", || list.set(i, 3));
        }
    }
}

pub(crate) fn memories(memory: &SharedMemory, n: u64, lane: &Lane) {
    let len = lane.call("SharedMemory::len", || memory.len());
    let mut to = [0; 300];
    let _ = lane.call("SharedMemory::read", || memory.read(n % len.max(1), &mut to));
    let _ = lane.call("SharedMemory::write", || memory.write(n % len.max(1), &to));
    let _ = lane.call("SharedMemory::get", || memory.get::<u64>(n % 100));
    let _ = lane.call("SharedMemory::set", || memory.set(n % 100, n));
    let _ = lane.call("SharedMemory::grow", || memory.grow(len.saturating_add(n >> 8 & 511)));
    let mut other = memory.clone();
    let _ = lane.call("SharedMemory::shrink", || other.shrink(len / 2));
}

fn queues(w: &World, n: u64, small: u64, lane: &Lane) {
    let len = [3, 40, 100, 600, 5000, 40_000, 200_000][(n % 7) as usize];
    let _ = lane.call("Queue<u64>::put_timeout", || w.numbers.put_timeout(n, SHORT));
    let _ = lane.call("Queue<u64>::get_timeout", || w.numbers.get_timeout(SHORT));
    let _ = lane.call("Queue<Vec<u8>>::put_timeout", || w.texts.put_timeout(vec![7; len], SHORT));
    let _ = lane.call("Queue<Vec<u8>>::try_put", || w.texts.try_put(vec![7; small as usize]));
    let _ = lane.call("Queue<Vec<u8>>::get_timeout", || w.texts.get_timeout(SHORT));
    let item = || (n, "text".repeat(small as usize), vec![7; len / 8]);
    let _ = lane.call("Queue<Parts>::put_timeout", || w.parts.put_timeout(item(), SHORT));
    let _ = lane.call("Queue<Parts>::get_timeout", || w.parts.get_timeout(SHORT));
    let _ = lane.call("Queue<Parts>::try_get", || w.parts.try_get());
    lane.call("Queue::len", || (w.parts.len(), w.texts.is_empty(), w.numbers.capacity()));
    if let Ok(buffer) = lane.call("Buffer::zeroed", || Buffer::zeroed(len)) {
        let _ = lane.call("Queue<Buffer>::put_timeout", || w.buffers.put_timeout(buffer, SHORT));
    }
    if let Ok(buffer) = lane.call("Queue<Buffer>::get_timeout", || w.buffers.get_timeout(SHORT)) {
        let _ = lane.call("Buffer::copy_of", || Buffer::copy_of(&buffer));
        let _ = lane.call("Queue<Vec<u8>>::try_put", || w.texts.try_put(buffer.to_vec()));
    }
}

fn handles(w: &World, lane: &Lane) {
    let three = (w.lock.clone(), w.value.clone(), w.bounded.clone());
    let _ = lane.call("Queue<handles>::put_timeout", || w.handles.put_timeout(three, SHORT));
    let fresh = lane.call("Lock::new", || Lock::new().and_then(|l| Semaphore::new(2).map(|s| (l, s))));
    if let (Ok((lock, semaphore)), Ok(value)) = (fresh, lane.call("Value::new", || Value::new(1_u64))) {
        let _ = lane.call("Queue<handles>::put_timeout", || w.handles.put_timeout((lock, value, semaphore), SHORT));
    }
    let got = lane.call("Queue<handles>::get_timeout", || w.handles.get_timeout(SHORT));
    if let Ok((lock, value, semaphore)) = &got {
        locks(lock, lane);
        lane.call("Value::get", || value.get());
        semaphores(semaphore, 0, lane);
    }
    lane.call("the last handles' drop", || drop(got));
}

fn boards(board: &Board, n: u64, lane: &Lane) {
    let cell = (n % 8) as u32;
    let family = Family::get().unwrap();
    let args = lane.call("Message::from_bytes", || Message::from_bytes(family, &vec![7; (n >> 8) as usize % 300]));
    if let Ok(args) = &args {
        let _ = lane.call("Board::post", || board.post(cell, (n >> 20) as u32, [n, 2, 3, 4], args));
    }
    let worker = 1 + (n >> 40) as u32 % 3;
    if let Ok(Some(mut job)) = lane.call("Board::take", || board.take(worker, Deadline::after(SHORT))) {
        let _ = lane.call("Job::args", || job.args());
        for len in [5, 30, 80, 5000] {
            let _ = lane.call("Job::push", || job.push(&vec![1; len]));
        }
        let _ = lane.call("Job::finish", || job.finish());
    }
    lane.call("Board::finished", || board.finished());
    lane.call("Board::look", || board.look(cell));
    lane.call("Board::wait", || board.wait(Deadline::after(SHORT), || false));
    let _ = lane.call("Board::collect", || board.collect(cell, (n >> 20) as u32 + 1));
    if n & 15 == 0 {
        let _ = lane.call("Board::bury", || board.bury(worker));
    }
}

/// The parts that the crates above are built from.
fn blocks(n: u64, lane: &Lane) {
    let family = Family::get().unwrap();
    let len = [10, 100, 4000, 30_000, 70_000, 300_000][(n % 6) as usize];
    if let Ok(block) = lane.call("Family::alloc", || family.alloc(len, Kind::Data)) {
        let r = block.into_ref();
        let wrong = BlockRef { offset: r.offset ^ (n & 0x30_0000), ..r };
        let _ = lane.call("Family::claim, of anything", || family.claim(wrong));
        if let Ok(block) = lane.call("Family::claim", || family.claim(r)) {
            let _ = lane.call("Family::block_give", || family.block_give(block, family.me()));
        }
    }
    let value: Parts = (n, "text".repeat((n >> 9) as usize % 300), vec![1, 2, 3]);
    if let Ok(message) = lane.call("Message::encode", || Message::encode(family, &value)) {
        let _ = lane.call("Message::decode", || message.decode::<Parts>(family));
    }
    let words = std::array::from_fn(|i| n.rotate_left(i as u32 * 7));
    let _ = lane.call("message::decode_inline", || message::decode_inline::<Parts>(family, &words, 40));
    let _ = lane.call("Family::at", || family.at(n >> 20, n & 0xffff));
    let _ = lane.call("Family::function", || family.function((n & 7) as u32, n));
    lane.call("Family::stats", || family.stats());
    let _ = lane.call("Family::participant", || family.participant());
    if n & 63 == 0 {
        lane.call("Family::reap", || family.reap());
    }
}

fn make(n: u64, lane: &Lane) {
    match n % 8 {
        0 => drop(lane.call("Lock::new", Lock::new)),
        1 => drop(lane.call("Semaphore::new", || Semaphore::new(4))),
        2 => drop(lane.call("Value::new", || Value::new([n; 40]))),
        3 => drop(lane.call("Array::new", || Array::new(300, n))),
        4 => drop(lane.call("Queue::bounded", || Queue::<Parts>::bounded(64))),
        5 => drop(lane.call("Board::new", || Board::new(4))),
        6 => drop(lane.call("SharedMemory::new", || SharedMemory::new(3000))),
        _ => drop(lane.call("ShareableList::new", list)),
    }
}

/// What a relative does until it is killed.
fn relative(world: World, seed: u64) {
    watch::abort_on_panic();
    watch::watch(Vec::new());
    let mut lane = Lane::new(0, seed);
    loop {
        act(&world, &mut lane);
    }
}

/// Starts and kills relatives, and clears up after them.
fn relatives(world: &World, lane: &mut Lane) {
    let seed = lane.dice.next();
    let started = lane.call("Process::spawn", || Process::spawn(relative, (world.clone(), seed)));
    let Ok(child) = started else { return };
    std::thread::sleep(Duration::from_millis(lane.dice.below(150)));
    let _ = lane.call("Process::kill", || child.kill());
    let ended = lane.call("Process::join_timeout", || child.join_timeout(Duration::from_secs(20)));
    if let Ok(status) = ended {
        let signal = status.expect("it was killed").signal();
        let own_fault = [4, 6, 7, 11].map(Some).contains(&signal);
        assert!(!own_fault, "a relative ended by signal {signal:?}");
    }
}

pub(crate) fn victim(seed: u64) {
    limit();
    let world = World::new();
    let family = Family::get().unwrap();
    // SAFETY: the family's descriptor stays open for as long as the process lives.
    let file = unsafe { BorrowedFd::borrow_raw(family.boot().fd) };
    let scribbler = Scribbler::fork(&[file], seed);
    watch::abort_on_panic();
    watch::watch(Vec::new());
    let over = AtomicU32::new(0);
    std::thread::scope(|threads| {
        for at in 0..THREADS {
            let (world, over) = (world.clone(), &over);
            threads.spawn(move || {
                let mut lane = Lane::new(at, seed);
                while over.load(Relaxed) == 0 {
                    act(&world, &mut lane);
                }
                lane.call("the handles' drop", || drop(world));
            });
        }
        // Threads that come and go: the kernel walks their lists while others write to the nodes.
        let passing = |dice: u64| {
            let (world, at) = (world.clone(), THREADS + 1);
            let passer = std::thread::spawn(move || {
                let mut lane = Lane::new(at, dice);
                (0..20).for_each(|_| act(&world, &mut lane));
                if dice & 1 == 0 {
                    core::mem::forget(world.lock.try_lock()); // it dies with the lock
                }
                lane.call("the handles' drop", || drop(world));
            });
            let _ = passer.join();
        };
        let (world, over) = (&world, &over);
        threads.spawn(move || {
            let mut lane = Lane::new(THREADS, seed);
            while over.load(Relaxed) == 0 {
                relatives(world, &mut lane);
                let dice = lane.dice.next();
                passing(dice);
            }
        });
        watch::under_fire(scribbler, seed);
        over.store(1, Relaxed);
    });
    let lane = Lane::new(0, seed);
    lane.call("the last handles' drop", || drop(world));
    lane.call("Family::reap", || family.reap());
    println!("seed {seed}: over, longest call {:?}", watch::longest());
}
