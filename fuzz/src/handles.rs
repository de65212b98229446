//! Messages and handles as a relative may have written them.

use super::input::Input;
use super::memory::{Region, tickets};
use core::time::Duration;
use polyproc_queue::{Board, Queue};
use polyproc_shm::{BlockRef, Family, Message, MessageError};
use polyproc_sync::Lock;
use polyproc_sys::Deadline;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The most changes to one message.
const CHANGES: usize = 64;

type Mixed = (String, Queue<u64>, Lock, Option<u64>);

/// Encodes a value, changes its bytes, its table of handles, the tickets, the objects and the reference as `data` says, and
/// decodes it as some type.
///
/// # Panics
/// If anything is wrong with the library.
pub fn handles(data: &[u8]) {
    let input = &mut Input::new(data);
    let family = Family::get().expect("there is memory for a family");
    {
        let lock = Lock::new().expect("there is memory for a lock");
        let queue = Queue::<u64>::bounded(2).expect("there is memory for a queue");
        let sent = match input.byte() % 7 {
            0 => Message::encode(family, &lock),
            1 => Message::encode(family, &queue),
            2 => Message::encode(family, &vec![lock.clone(); 3]),
            3 => Message::encode(family, &("text".to_owned(), queue.clone(), lock.clone(), Some(7_u64))),
            4 => Message::encode(family, &Board::new(2).expect("there is memory for a board")),
            5 => Message::encode(family, &(vec!["word".to_owned(); 30], 1_u64)),
            _ => {
                let what = input.byte();
                let _ = Message::from_bytes(family, input.rest()).map(|m| decode(family, m, what));
                return;
            }
        };
        let what = input.byte();
        let held = if what & 0x80 == 0 { None } else { lock.try_lock() };
        match sent.expect("it was encoded without a change") {
            Message::Inline { mut words, .. } => {
                words[input.below(6)] ^= input.word();
                decode(family, Message::Inline { words, len: input.byte() }, what);
            }
            Message::Block(block) => {
                let mut regions = vec![Region::new(family, block.offset(), block.capacity())];
                for (ticket, object) in tickets(&block) {
                    regions.push(Region::new(family, ticket, 32));
                    regions.push(Region::new(family, object, 64)); // the first line at least
                }
                let regions: Vec<Region> = regions.into_iter().flatten().collect();
                let mut words = block.into_ref().to_words();
                for _ in 0..CHANGES {
                    match input.next() {
                        None => break,
                        Some(change) if change.is_multiple_of(8) => words[input.below(4)] ^= input.word(),
                        Some(change) => regions[usize::from(change) % regions.len()].scribble(input),
                    }
                }
                if let Ok(block) = family.claim(BlockRef::from_words(words)) {
                    decode(family, Message::Block(block), what);
                }
            }
        }
        drop(held);
    }
    let true_one = Message::encode(family, &("text".repeat(20), Lock::new().expect("there is memory for a lock")));
    let true_one = true_one.and_then(|m| m.decode::<(String, Lock)>(family)).expect("nobody has touched it");
    assert_eq!(true_one.0, "text".repeat(20));
    assert!(true_one.1.try_lock().is_some_and(|guard| !guard.recovered()));
}

fn decode(family: &'static Family, message: Message, what: u8) {
    match what % 16 {
        0 => check(message.decode(family), use_lock),
        1 => check(message.decode(family), use_queue::<u64>),
        2 => check(message.decode(family), |locks: Vec<Lock>| locks.into_iter().for_each(use_lock)),
        3 => check(message.decode(family), |(_, queue, lock, _): Mixed| {
            use_lock(lock);
            use_queue(queue);
        }),
        4 => check(message.decode(family), use_board),
        5 => check(message.decode(family), |_: (Vec<String>, u64)| ()),
        6 => check(message.decode(family), |_: Vec<u8>| ()),
        7 => check(message.decode(family), |_: String| ()),
        8 => check(message.decode(family), |_: u64| ()),
        9 => check(message.decode(family), |_: bool| ()),
        10 => check(message.decode(family), |_: char| ()),
        11 => check(message.decode(family), |_: BTreeMap<i32, Option<Vec<f64>>>| ()),
        12 => check(message.decode(family), use_queue::<String>),
        13 => check(message.decode(family), |queues: Vec<Queue<Vec<u8>>>| queues.into_iter().for_each(use_queue)),
        14 => check(message.decode(family), |_: Result<Vec<i128>, (u16, char)>| ()),
        _ => check(message.decode(family), |_: ()| ()),
    }
}

/// An error has a text; a value can be used.
fn check<T: DeserializeOwned>(decoded: Result<T, MessageError>, with: impl FnOnce(T)) {
    match decoded {
        Ok(value) => with(value),
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}

fn use_lock(lock: Lock) {
    drop(lock.try_lock());
    let _ = lock.lock_timeout(Duration::ZERO);
    let _ = format!("{lock:?}");
}

fn use_queue<T: serde::Serialize + DeserializeOwned + Default + 'static>(queue: Queue<T>) {
    let _ = queue.try_put(T::default());
    let _ = queue.get_timeout(Duration::ZERO);
    let _ = format!("{queue:?}");
}

fn use_board(board: Board) {
    let _ = board.finished();
    let _ = board.look(0);
    let _ = board.take(1, Deadline::PAST);
    let _ = format!("{board:?}");
}
