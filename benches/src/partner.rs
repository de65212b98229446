//! A process at the other end of queues, of pipes, and of two words.

use crate::cpu::pin;
use crate::helper::{Helper, Orders};
use crate::page::{Page, meet};
use crate::queue::{Arrival, CAPACITY, Item, LARGE_CAPACITY, Record, messages, number_of, sink, until};
use core::hint::black_box;
use core::time::Duration;
use polyproc::parts::sys::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::parts::sys::futex;
use polyproc::{Buffer, Deadline, Queue};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

/// What is sent in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// `Queue<u64>`.
    Numbers,
    /// `Queue<[u64; 8]>`: 64 bytes that own nothing.
    Arrays,
    /// `Queue<(u64, String)>`: 64 bytes by serde.
    Records,
    /// `Queue<Vec<u8>>`, 64 bytes each.
    Bytes,
    /// `Queue<Vec<u8>>`, so many bytes each; the sender has them ready and gives them away, the receiver gets vectors.
    Large(usize),
    /// `Queue<Buffer>`, so many bytes each; the sender copies what it has ready into each, the receiver reads a byte of every
    /// cache line where it lies.
    Buffers(usize),
    /// A Unix pipe: one `write` of so many bytes for each item, `read`s of up to 64 KiB into a buffer.
    Pipe(usize),
}

/// How a number comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trip {
    /// Through two `Queue<u64>`.
    Queues,
    /// Through two Unix pipes.
    Pipes,
    /// The floor where the other end sleeps: it is woken by a futex, and its answer is spun on.
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
struct Ends {
    numbers: Queue<u64>,
    back: Queue<u64>,
    arrays: Queue<[u64; 8]>,
    records: Queue<Record>,
    bytes: Queue<Vec<u8>>,
    large: Queue<Vec<u8>>,
    buffers: Queue<Buffer>,
    place: u64,
    /// Where the child finds its ends of the pipes, which are not inherited.
    pipes: [String; 2],
}

/// The process.
#[derive(Debug)]
pub struct Partner {
    helper: Helper<Order, Arrival>,
    ends: Ends,
    page: &'static Page,
    there: PipeWriter,
    back: PipeReader,
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
        let path = |fd: &dyn AsRawFd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        let (its_reader, there) = std::io::pipe().expect("a pipe");
        let (back, its_writer) = std::io::pipe().expect("a pipe");
        let ends = Ends {
            numbers: queue(),
            back: queue(),
            arrays: queue(),
            records: queue(),
            bytes: queue(),
            large: Queue::bounded(LARGE_CAPACITY).expect("a queue"),
            buffers: Queue::bounded(LARGE_CAPACITY).expect("a queue"),
            place,
            pipes: [path(&its_reader), path(&its_writer)],
        };
        let helper = Helper::start(partner, ends.clone());
        helper.order(Order::Stream(Stream::Numbers, 0)); // it has opened the pipes when it answers
        meet(&page.arrived.0, 2);
        let _ = helper.answer();
        Self { helper, ends, page, there, back }
    }

    /// A stream of `n` items to the other process.
    ///
    /// # Panics
    /// If an item is lost.
    #[must_use]
    pub fn stream(&self, what: Stream, n: u64) -> Duration {
        fn send<I: Item + Serialize + DeserializeOwned>(q: &Queue<I>, n: u64) {
            (0..n).for_each(|i| assert!(q.put(I::of(i)).is_ok(), "put"));
        }
        let _pinned = pin(0);
        let ready = match what {
            Stream::Large(size) | Stream::Buffers(size) => messages(size, n),
            Stream::Pipe(size) if size > 8 => messages(size, n),
            _ => Vec::new(),
        };
        let mut pipe = &self.there;
        self.page.arrived.0.store(0, Relaxed);
        self.helper.order(Order::Stream(what, n));
        meet(&self.page.arrived.0, 2);
        let start = now_ns();
        match what {
            Stream::Numbers => send(&self.ends.numbers, n),
            Stream::Arrays => send(&self.ends.arrays, n),
            Stream::Records => send(&self.ends.records, n),
            Stream::Bytes => send(&self.ends.bytes, n),
            Stream::Large(_) => ready.into_iter().for_each(|m| self.ends.large.put(m).expect("put")),
            Stream::Buffers(_) => ready.iter().for_each(|m| {
                let buffer = Buffer::copy_of(m).expect("a buffer");
                self.ends.buffers.put(buffer).expect("put");
            }),
            Stream::Pipe(8) => (0..n).for_each(|i| pipe.write_all(&i.to_le_bytes()).expect("written")),
            Stream::Pipe(_) => ready.iter().for_each(|m| pipe.write_all(m).expect("written")),
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
        let (mut there, mut back) = (&self.there, &self.back);
        ping.store(0, Relaxed);
        pong.store(0, Relaxed);
        self.page.arrived.0.store(0, Relaxed);
        self.helper.order(Order::Trips(how, n));
        meet(&self.page.arrived.0, 2);
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let mut trip = |i: u64| match how {
            Trip::Queues => {
                self.ends.numbers.put(i).expect("put");
                assert_eq!(self.ends.back.get().expect("got"), i);
            }
            Trip::Pipes => {
                there.write_all(&i.to_le_bytes()).expect("written");
                assert_eq!(read_number(&mut back), i);
            }
            Trip::Futex => {
                say(ping, low(i));
                spin(pong, low(i));
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

fn partner(orders: Orders<Order>, answers: Queue<Arrival>, ends: Ends) {
    fn all<I: Item + Serialize + DeserializeOwned>(q: &Queue<I>, n: u64) -> Arrival {
        sink(n, || q.get().expect("got").number())
    }
    let (page, _pinned) = (Page::at(ends.place), pin(1));
    let mut pipe = BufReader::with_capacity(1 << 16, File::open(&ends.pipes[0]).expect("the pipe is there"));
    let mut pipe_back = File::options().write(true).open(&ends.pipes[1]).expect("the pipe is there");
    while let Ok(Some(order)) = orders.get() {
        meet(&page.arrived.0, 2);
        let answer = match order {
            Order::Stream(Stream::Numbers, n) => all(&ends.numbers, n),
            Order::Stream(Stream::Arrays, n) => all(&ends.arrays, n),
            Order::Stream(Stream::Records, n) => all(&ends.records, n),
            Order::Stream(Stream::Bytes, n) => all(&ends.bytes, n),
            Order::Stream(Stream::Large(size), n) => sink(n, || number_of(&ends.large.get().expect("got"), size)),
            Order::Stream(Stream::Buffers(size), n) => sink(n, || {
                let buffer = ends.buffers.get().expect("got");
                black_box(buffer.iter().step_by(64).fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
                number_of(&buffer, size)
            }),
            Order::Stream(Stream::Pipe(8), n) => sink(n, || read_number(&mut pipe)),
            Order::Stream(Stream::Pipe(size), n) => {
                let mut message = vec![0; size];
                sink(n, || {
                    pipe.read_exact(&mut message).expect("read");
                    number_of(&message, size)
                })
            }
            Order::Trips(how, n) => {
                (1..=n).for_each(|i| match how {
                    Trip::Queues => ends.back.put(ends.numbers.get().expect("got")).expect("put"),
                    Trip::Pipes => {
                        let number = read_number(&mut pipe);
                        pipe_back.write_all(&number.to_le_bytes()).expect("written");
                    }
                    Trip::Futex => {
                        hear(&page.ping.0, low(i));
                        page.pong.0.store(low(i), Release);
                    }
                    Trip::Spin => {
                        spin(&page.ping.0, low(i));
                        page.pong.0.store(low(i), Release);
                    }
                });
                Arrival::now()
            }
        };
        answers.put(answer).expect("an answer is put");
    }
}

fn read_number(pipe: &mut impl Read) -> u64 {
    let mut number = [0; 8];
    pipe.read_exact(&mut number).expect("read");
    u64::from_le_bytes(number)
}

/// The floor of waking somebody: a store and a system call.
pub(crate) fn say(word: &AtomicU32, n: u32) {
    word.store(n, Release);
    futex::wake(word, 1);
}

/// The floor of sleeping: no look before the system call.
pub(crate) fn hear(word: &AtomicU32, n: u32) {
    loop {
        let _ = futex::wait(word, n.wrapping_sub(1), Deadline::NEVER);
        if word.load(Acquire) == n {
            return;
        }
    }
}

pub(crate) fn spin(word: &AtomicU32, n: u32) {
    until(|| (word.load(Acquire) == n).then_some(()));
}

#[expect(clippy::cast_possible_truncation, reason = "trips are counted modulo 2^32")]
pub(crate) fn low(n: u64) -> u32 {
    n as u32
}
