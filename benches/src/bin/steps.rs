//! One operation, again and again, with nothing else around it: for a profile.
//!
//! Instructions of what runs in one thread: `valgrind --tool=callgrind target/release/steps put-get 100000`, less what the same
//! says for a smaller number. Where the time goes: `perf record target/release/steps map 300`, then `perf report -s pid,sym`.

use polyproc::{Lock, Queue};
use polyproc_benches::partner::{Partner, Stream};
use polyproc_benches::pool::{self, same, square};
use polyproc_benches::queue::{CAPACITY, Item, LARGE_CAPACITY, Record, copy_in_and_out, message, messages, number_of};
use std::hint::black_box;

const ALL: &str = "put-get|put-get-burst|put-get-serde|put-get-bytes|put-get-large|copy-large|stream-64-kib|crossbeam|lock|apply|map|map-large";
/// The size of a large message.
const LARGE: usize = 1 << 20;

fn main() {
    polyproc::init();
    let mut args = std::env::args().skip(1);
    let (what, n) = (args.next().unwrap_or_default(), args.next().and_then(|n| n.parse().ok()).unwrap_or(1000_u64));
    match what.as_str() {
        "put-get" => through(&Queue::<u64>::bounded(CAPACITY).expect("a queue"), n, 1),
        "put-get-burst" => through(&Queue::<u64>::bounded(CAPACITY).expect("a queue"), n, 1000),
        "put-get-serde" => through(&Queue::<Record>::bounded(CAPACITY).expect("a queue"), n, 1),
        "put-get-bytes" => through(&Queue::<Vec<u8>>::bounded(CAPACITY).expect("a queue"), n, 1),
        "crossbeam" => {
            let (tx, rx) = crossbeam_channel::bounded(CAPACITY);
            for i in 0..n {
                tx.send(black_box(i)).expect("sent");
                assert_eq!(rx.recv(), Ok(i));
            }
        }
        "lock" => {
            let lock = Lock::new().expect("a lock");
            (0..n).for_each(|_| drop(black_box(lock.lock())));
        }
        "put-get-large" => {
            let q = Queue::bounded(LARGE_CAPACITY).expect("a queue");
            for i in 0..n {
                q.put(message(LARGE, i)).expect("put");
                let got: Vec<u8> = q.get().expect("got");
                let _ = black_box(number_of(&got, LARGE));
            }
        }
        "stream-64-kib" => {
            let _ = Partner::start().stream(Stream::Large(1 << 16), n);
        }
        "copy-large" => {
            let _ = copy_in_and_out(LARGE, n);
        }
        "apply" => {
            let pool = pool::polyproc();
            (0..n).for_each(|x| assert_eq!(pool.apply(square, x).expect("a result"), square(x)));
        }
        "map" => {
            let pool = pool::polyproc();
            (0..n).for_each(|_| assert_eq!(pool.map(square, 0..100_000).expect("results").len(), 100_000));
        }
        "map-large" => {
            let pool = pool::polyproc();
            (0..n).for_each(|_| assert_eq!(pool.map_chunked(same, messages(LARGE, 8), 1).expect("results").len(), 8));
        }
        _ => {
            eprintln!("usage: steps {ALL} TIMES");
            std::process::exit(2);
        }
    }
}

/// `n` items through a queue, `burst` puts and then as many gets.
fn through<I>(q: &Queue<I>, n: u64, burst: u64)
where
    I: Item + serde::Serialize + serde::de::DeserializeOwned + core::fmt::Debug,
{
    for first in (0..n).step_by(usize::try_from(burst).expect("small")) {
        (first..first + burst).for_each(|i| q.put(black_box(I::of(i))).expect("put"));
        (first..first + burst).for_each(|i| assert_eq!(q.get().expect("got").number(), i));
    }
}
