//! What is sent through queues, and streams between two threads. Those between processes: [`partner`](crate::partner).

use crate::cpu::pin;
use crate::page::{Line, meet};
use core::hint::black_box;
use core::time::Duration;
use polyproc::Queue;
use polyproc::parts::sys::atomic::AtomicU32;
use polyproc::parts::sys::deadline::now_ns;
use serde::{Deserialize, Serialize};

/// Items that a queue holds, in all streams.
pub const CAPACITY: usize = 1024;
/// … and large ones.
pub const LARGE_CAPACITY: usize = 8;

/// 64 bytes that go through serde and own memory: a number and 56 bytes of text.
pub type Record = (u64, String);

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

impl Item for [u64; 8] {
    #[inline]
    fn of(n: u64) -> Self {
        [n; 8]
    }
    #[inline]
    fn number(&self) -> u64 {
        self[7]
    }
}

impl Item for Record {
    #[inline]
    fn of(n: u64) -> Self {
        (n, "A hundred characters would not make this text any wiser.".to_owned())
    }
    #[inline]
    fn number(&self) -> u64 {
        assert_eq!(self.1.len(), 56, "the text came");
        self.0
    }
}

impl Item for Vec<u8> {
    #[inline]
    fn of(n: u64) -> Self {
        message(64, n)
    }
    #[inline]
    fn number(&self) -> u64 {
        number_of(self, 64)
    }
}

/// A message of that size: its number is at both ends.
///
/// # Panics
/// If it is smaller than two numbers.
#[must_use]
pub fn message(size: usize, n: u64) -> Vec<u8> {
    let mut bytes = vec![0x5a; size];
    *bytes.first_chunk_mut().expect("room for a number") = n.to_le_bytes();
    *bytes.last_chunk_mut().expect("room for a number") = n.to_le_bytes();
    bytes
}

/// The number of a message.
///
/// # Panics
/// If it is no message of that size.
#[must_use]
pub fn number_of(message: &[u8], size: usize) -> u64 {
    assert_eq!(message.len(), size, "all of it came");
    let first = message.first_chunk().expect("room for a number");
    assert_eq!(Some(first), message.last_chunk(), "both ends are of one message");
    u64::from_le_bytes(*first)
}

/// Messages of that size, ready to be sent.
#[must_use]
pub fn messages(size: usize, n: u64) -> Vec<Vec<u8>> {
    (0..n).map(|i| message(size, i)).collect()
}

/// Gets `n` items, each by its number; their sum, and when the last one came.
pub(crate) fn sink(n: u64, mut get: impl FnMut() -> u64) -> Arrival {
    let sum = (0..n).fold(0_u64, |sum, _| sum.wrapping_add(get()));
    Arrival { sum, end: now_ns() }
}

/// What the getting end of a stream says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Arrival {
    sum: u64,
    end: u64,
}

impl Arrival {
    /// The answer to what is no stream.
    pub(crate) fn now() -> Self {
        Self { sum: 0, end: now_ns() }
    }

    /// The time since `start`, if the numbers 0 to `n` came.
    pub(crate) fn after(self, start: u64, n: u64) -> Duration {
        assert_eq!(self.sum, (0..n).fold(0, u64::wrapping_add), "all items came");
        Duration::from_nanos(self.end - start)
    }
}

/// A stream of `n` items from this thread to another one.
pub fn between_threads<I: Item>(n: u64, mut put: impl FnMut(I), mut get: impl FnMut() -> I + Send) -> Duration {
    let arrived = Line(AtomicU32::new(0));
    std::thread::scope(|s| {
        let getter = s.spawn(|| {
            let _pinned = pin(1);
            meet(&arrived.0, 2);
            sink(n, || get().number())
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

/// The floor of large messages: each is copied into one of a few slots and out of it again, in one thread.
///
/// # Panics
/// If a message is lost.
#[must_use]
pub fn copy_in_and_out(size: usize, n: u64) -> Duration {
    let messages = messages(size, n);
    let mut slots = vec![vec![0_u8; size]; LARGE_CAPACITY];
    let mut out = vec![0_u8; size];
    let _pinned = pin(0);
    let start = now_ns();
    let arrival = {
        let mut next = messages.into_iter().zip((0..LARGE_CAPACITY).cycle());
        sink(n, || {
            let (message, slot) = next.next().expect("so many");
            slots[slot].copy_from_slice(&message);
            out.copy_from_slice(black_box(&slots[slot]));
            number_of(black_box(&out), size)
        })
    };
    arrival.after(start, n)
}
