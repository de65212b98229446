//! One operation, again and again in one thread, for counting its instructions:
//! `valgrind --tool=callgrind target/release/steps put-get 100000`, less what the same says for a smaller number.

use polyproc::{Lock, Queue};
use polyproc_benches::queue::{CAPACITY, Item, Record};
use std::hint::black_box;

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
        _ => {
            eprintln!("usage: steps put-get|put-get-burst|put-get-serde|put-get-bytes|crossbeam|lock TIMES");
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
