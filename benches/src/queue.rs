//! The queues: streams, round trips, and a process at the other end.

use crate::cpu::pin;
use crate::helper::{Helper, Orders};
use crate::page::{Line, Page, meet};
use core::time::Duration;
use polyproc::parts::sys::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::parts::sys::futex;
use polyproc::{Deadline, Queue};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{BufReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

/// Items that a queue holds, in all streams.
pub const CAPACITY: usize = 1024;

/// 64 bytes that are no primitive: they go through serde.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    number: u64,
    values: [f64; 7],
}

/// What can be in a stream: made from its number, and checked by it at the other end.
pub trait Item: Send + 'static {
    /// The item with that number.
    fn of(n: u64) -> Self;
    /// The number of the item.
    fn number(&self) -> u64;
}

impl Item for u64 {
    #[inline]
    fn of(n: u64) -> Self {
        n
    }
    #[inline]
    fn number(&self) -> u64 {
        *self
    }
}

impl Item for Record {
    #[inline]
    fn of(number: u64) -> Self {
        Self { number, values: [0.5; 7] }
    }
    #[inline]
    fn number(&self) -> u64 {
        self.number
    }
}

impl Item for [u8; 64] {
    #[inline]
    fn of(n: u64) -> Self {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        bytes
    }
    #[inline]
    fn number(&self) -> u64 {
        u64::from_le_bytes(*self.first_chunk().expect("64 bytes"))
    }
}

impl Item for Vec<u8> {
    #[inline]
    fn of(n: u64) -> Self {
        <[u8; 64]>::of(n).to_vec()
    }
    #[inline]
    fn number(&self) -> u64 {
        u64::from_le_bytes(*self.first_chunk().expect("64 bytes"))
    }
}

/// Gets `n` items; the sum of their numbers, and when the last one came.
fn sink<I: Item>(n: u64, mut get: impl FnMut() -> I) -> Arrival {
    let sum = (0..n).fold(0_u64, |sum, _| sum.wrapping_add(get().number()));
    Arrival { sum, end: now_ns() }
}

/// What the getting end of a stream says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Arrival {
    sum: u64,
    end: u64,
}

impl Arrival {
    /// The time since `start`, if the numbers 0 to `n` came.
    fn after(self, start: u64, n: u64) -> Duration {
        assert_eq!(self.sum, (0..n).fold(0, u64::wrapping_add), "all items came");
        Duration::from_nanos(self.end - start)
    }
}

/// A stream of `n` items from this thread to another one.
pub fn between_threads<I: Item>(n: u64, mut put: impl FnMut(I), get: impl FnMut() -> I + Send) -> Duration {
    let arrived = Line(AtomicU32::new(0));
    std::thread::scope(|s| {
        let getter = s.spawn(|| {
            let _pinned = pin(1);
            meet(&arrived.0, 2);
            sink(n, get)
        });
        let _pinned = pin(0);
        meet(&arrived.0, 2);
        let start = now_ns();
        (0..n).for_each(|i| put(I::of(i)));
        getter.join().expect("no panic").after(start, n)
    })
}

/// Runs `f` until it gives something, spinning and now and then offering the CPU: for rivals that do not block.
#[inline]
pub fn until<R>(mut f: impl FnMut() -> Option<R>) -> R {
    let mut looks = 0_u32;
    loop {
        if let Some(r) = f() {
            return r;
        }
        looks += 1;
        if looks.is_multiple_of(64) { std::thread::yield_now() } else { core::hint::spin_loop() }
    }
}

/// The streams between threads.
pub mod threads {
    use super::{CAPACITY, Duration, Item, Queue, Serialize, between_threads, pin, until};
    use serde::de::DeserializeOwned;

    /// polyproc's queue, between two threads of this process.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn polyproc<I: Item + Serialize + DeserializeOwned + core::fmt::Debug>(n: u64) -> Duration {
        let q = Queue::bounded(CAPACITY).expect("a queue");
        between_threads(n, |i: I| q.put(i).expect("put"), || q.get().expect("got"))
    }

    /// crossbeam's bounded channel.
    ///
    /// # Panics
    /// If an item is lost.
    #[must_use]
    pub fn crossbeam_channel<I: Item + core::fmt::Debug>(n: u64) -> Duration {
        let (tx, rx) = crossbeam_channel::bounded(CAPACITY);
        between_threads(n, |i: I| tx.send(i).expect("sent"), || rx.recv().expect("received"))
    }

    /// crossbeam's ring without blocking.
    #[must_use]
    pub fn array_queue<I: Item>(n: u64) -> Duration {
        let q = crossbeam_queue::ArrayQueue::new(CAPACITY);
        let put = |i: I| {
            let mut i = Some(i);
            until(|| match q.push(i.take()?) {
                Ok(()) => Some(()),
                Err(back) => {
                    i = Some(back);
                    None
                }
            });
        };
        between_threads(n, put, || until(|| q.pop()))
    }

    /// rtrb: one producer, one consumer, no blocking.
    #[must_use]
    pub fn rtrb<I: Item>(n: u64) -> Duration {
        let (mut tx, mut rx) = rtrb::RingBuffer::new(CAPACITY);
        let put = |i: I| {
            let mut i = Some(i);
            until(|| match tx.push(i.take()?) {
                Ok(()) => Some(()),
                Err(rtrb::PushError::Full(back)) => {
                    i = Some(back);
                    None
                }
            });
        };
        between_threads(n, put, || until(|| rx.pop().ok()))
    }

    /// A number there and the same number back, `n` times, through two channels of crossbeam.
    ///
    /// # Panics
    /// If a number is lost.
    #[must_use]
    pub fn crossbeam_round_trips(n: u64) -> Duration {
        let (there, at_echo) = crossbeam_channel::bounded::<u64>(CAPACITY);
        let (echo, back) = crossbeam_channel::bounded(CAPACITY);
        std::thread::scope(|s| {
            s.spawn(move || {
                let _pinned = pin(1);
                at_echo.into_iter().for_each(|i| echo.send(i).expect("sent"));
            });
            let _pinned = pin(0);
            let trip = |i| {
                there.send(i).expect("sent");
                assert_eq!(back.recv(), Ok(i));
            };
            trip(0); // the thread is there
            let start = super::now_ns();
            (1..=n).for_each(trip);
            let time = Duration::from_nanos(super::now_ns() - start);
            drop(there);
            time
        })
    }
}

/// What is sent in a stream between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// `Queue<u64>`.
    Numbers,
    /// `Queue<Vec<u8>>`, 64 bytes each: they do not fit a slot and take a block.
    Bytes,
    /// `Queue<Record>`: 64 bytes by serde.
    Records,
    /// A Unix pipe: one `write` of eight bytes for each item, one `read` of up to 64 KiB.
    Pipe,
}

/// How a number comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trip {
    /// Through two `Queue<u64>`.
    Queues,
    /// The floor of those who sleep: two futex words.
    Futex,
    /// The floor: two words that are spun on.
    Spin,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Order {
    Stream(Stream, u64),
    Trips(Trip, u64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Queues {
    numbers: Queue<u64>,
    back: Queue<u64>,
    bytes: Queue<Vec<u8>>,
    records: Queue<Record>,
    place: u64,
    /// Where the child finds the reading end: pipes are not inherited.
    pipe: String,
}

/// A process at the other end of queues, of a pipe, and of two words.
#[derive(Debug)]
pub struct Partner {
    helper: Helper<Order, Arrival>,
    queues: Queues,
    page: &'static Page,
    pipe: PipeWriter,
}

impl Partner {
    /// Starts the process.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        fn queue<T: Serialize + DeserializeOwned + 'static>() -> Queue<T> {
            Queue::bounded(CAPACITY).expect("a queue")
        }
        let (page, place) = Page::create();
        let (reader, pipe) = std::io::pipe().expect("a pipe");
        let path = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
        let queues = Queues { numbers: queue(), back: queue(), bytes: queue(), records: queue(), place, pipe: path };
        let helper = Helper::start(partner, queues.clone());
        helper.order(Order::Stream(Stream::Numbers, 0)); // it has opened the pipe when it answers
        meet(&page.arrived.0, 2);
        let _ = helper.answer();
        Self { helper, queues, page, pipe }
    }

    /// A stream of `n` items to the other process.
    ///
    /// # Panics
    /// If an item is lost.
    #[must_use]
    pub fn stream(&self, what: Stream, n: u64) -> Duration {
        let Queues { numbers, bytes, records, .. } = &self.queues;
        let _pinned = pin(0);
        self.page.arrived.0.store(0, Relaxed);
        self.helper.order(Order::Stream(what, n));
        meet(&self.page.arrived.0, 2);
        let start = now_ns();
        match what {
            Stream::Numbers => (0..n).for_each(|i| numbers.put(i).expect("put")),
            Stream::Bytes => (0..n).for_each(|i| bytes.put(Item::of(i)).expect("put")),
            Stream::Records => (0..n).for_each(|i| records.put(Item::of(i)).expect("put")),
            Stream::Pipe => {
                let mut pipe = &self.pipe;
                (0..n).for_each(|i| pipe.write_all(&i.to_le_bytes()).expect("written"));
            }
        }
        self.helper.answer().after(start, n)
    }

    /// `n` round trips, one after the other. Before each, this process keeps itself busy for `pause`, so that the other one
    /// falls asleep; the pause is not counted.
    ///
    /// # Panics
    /// If another number comes back.
    #[must_use]
    pub fn round_trips(&self, how: Trip, n: u64, pause: Duration) -> Duration {
        let _pinned = pin(0);
        let (ping, pong) = (&self.page.ping.0, &self.page.pong.0);
        ping.store(0, Relaxed);
        pong.store(0, Relaxed);
        self.page.arrived.0.store(0, Relaxed);
        self.helper.order(Order::Trips(how, n));
        meet(&self.page.arrived.0, 2);
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let trip = |i: u64| match how {
            Trip::Queues => {
                self.queues.numbers.put(i).expect("put");
                assert_eq!(self.queues.back.get().expect("got"), i);
            }
            Trip::Futex => {
                say(ping, low(i));
                hear(pong, low(i));
            }
            Trip::Spin => {
                ping.store(low(i), Release);
                spin(pong, low(i));
            }
        };
        let time = if pause == 0 {
            let start = now_ns();
            (1..=n).for_each(trip);
            now_ns() - start
        } else {
            let timed = |i| {
                let start = now_ns();
                while now_ns() - start < pause {
                    core::hint::spin_loop();
                }
                let start = now_ns();
                trip(i);
                now_ns() - start
            };
            (1..=n).map(timed).sum()
        };
        let _ = self.helper.answer();
        Duration::from_nanos(time)
    }
}

fn partner(orders: Orders<Order>, answers: Queue<Arrival>, queues: Queues) {
    let Queues { numbers, back, bytes, records, place, pipe } = queues;
    let (page, _pinned) = (Page::at(place), pin(1));
    let mut pipe = BufReader::with_capacity(1 << 16, std::fs::File::open(pipe).expect("the pipe is there"));
    while let Ok(Some(order)) = orders.get() {
        meet(&page.arrived.0, 2);
        let answer = match order {
            Order::Stream(Stream::Numbers, n) => sink(n, || numbers.get().expect("got")),
            Order::Stream(Stream::Bytes, n) => sink(n, || bytes.get().expect("got")),
            Order::Stream(Stream::Records, n) => sink(n, || records.get().expect("got")),
            Order::Stream(Stream::Pipe, n) => sink(n, || {
                let mut number = [0; 8];
                pipe.read_exact(&mut number).expect("read");
                u64::from_le_bytes(number)
            }),
            Order::Trips(Trip::Queues, n) => {
                for _ in 0..n {
                    back.put(numbers.get().expect("got")).expect("put");
                }
                Arrival { sum: 0, end: now_ns() }
            }
            Order::Trips(how, n) => {
                for i in (1..=n).map(low) {
                    if how == Trip::Futex {
                        hear(&page.ping.0, i);
                        say(&page.pong.0, i);
                    } else {
                        spin(&page.ping.0, i);
                        page.pong.0.store(i, Release);
                    }
                }
                Arrival { sum: 0, end: now_ns() }
            }
        };
        answers.put(answer).expect("an answer is put");
    }
}

/// The floor of waking somebody: a store and a system call.
fn say(word: &AtomicU32, n: u32) {
    word.store(n, Release);
    futex::wake(word, 1);
}

/// The floor of sleeping: no look before the system call.
fn hear(word: &AtomicU32, n: u32) {
    loop {
        let _ = futex::wait(word, n.wrapping_sub(1), Deadline::NEVER);
        if word.load(Acquire) == n {
            return;
        }
    }
}

fn spin(word: &AtomicU32, n: u32) {
    until(|| (word.load(Acquire) == n).then_some(()));
}

#[expect(clippy::cast_possible_truncation, reason = "trips are counted modulo 2^32")]
fn low(n: u64) -> u32 {
    n as u32
}
