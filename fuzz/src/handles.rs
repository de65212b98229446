//! Messages and handles as a relative may have written them.

use super::input::Input;
use super::memory::{Region, tickets};
use super::place::Folder;
use core::fmt::Debug;
use core::time::Duration;
use polyproc_queue::{Board, Queue};
use polyproc_shm::{BlockRef, Family, Message, MessageError, SharedMemory};
use polyproc_sync::{Lock, Semaphore};
use polyproc_sys::Deadline;
use polyproc_values::{Array, Item, Plain, ShareableList, Value};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The most changes to one message.
const CHANGES: usize = 64;
/// The bytes of an object that are changed: the header of an array, the longest but for queues and boards, or a line.
const LONG: u64 = 144;
const LINE: u64 = 64;

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
        let (kind, what) = (input.byte() % 16, input.byte());
        let Some(sent) = message(family, kind, &lock) else {
            let _ = Message::from_bytes(family, input.rest()).map(|m| decode(family, m, what));
            return;
        };
        let held = if what & 0x80 == 0 { None } else { lock.try_lock() };
        match sent {
            Message::Inline { mut words, .. } => {
                words[input.below(6)] ^= input.word();
                decode(family, Message::Inline { words, len: input.byte() }, what);
            }
            Message::Block(block) => {
                let mut regions = vec![Region::new(family, block.offset(), block.capacity())];
                for (ticket, object) in tickets(&block) {
                    regions.push(Region::new(family, ticket, 32));
                    regions.push(Region::new(family, object, if matches!(kind, 8 | 10) { LONG } else { LINE }));
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

/// A message with handles of some kind; `None`: one of any bytes.
fn message(family: &'static Family, kind: u8, lock: &Lock) -> Option<Message> {
    const ROOM: &str = "there is memory for it";
    let queue = Queue::<u64>::bounded(2).expect("there is memory for a queue");
    let sent = match kind {
        0 => Message::encode(family, lock),
        1 => Message::encode(family, &queue),
        2 => Message::encode(family, &vec![lock.clone(); 3]),
        3 => Message::encode(family, &("text".to_owned(), queue.clone(), lock.clone(), Some(7_u64))),
        4 => Message::encode(family, &Board::new(2).expect(ROOM)),
        5 => Message::encode(family, &(vec!["word".to_owned(); 30], 1_u64)),
        6 => Message::encode(family, &Value::new(7_u64).expect(ROOM)),
        7 => Message::encode(family, &Value::with_lock('a', lock).expect(ROOM)),
        8 => {
            let array = Array::new(5, 7_u32).expect(ROOM);
            drop(array.chunks(2).expect(ROOM));
            Message::encode(family, &array)
        }
        9 => Message::encode(family, &Semaphore::bounded(3).expect(ROOM)),
        10 => Message::encode(family, &ShareableList::new([Item::from("text"), Item::from(7)]).expect(ROOM)),
        11 => Message::encode(family, &SharedMemory::builder().growable(200).unnamed(100).expect(ROOM)),
        12 => NAMED.with(|named| Message::encode(family, &named.memory)),
        13 => NAMED.with(|named| Message::encode(family, &named.lock)),
        14 => NAMED.with(|named| Message::encode(family, &named.array)),
        _ => return None,
    };
    Some(sent.expect("it was encoded without a change"))
}

/// Things with names: their handles travel by these.
struct Named {
    memory: SharedMemory,
    lock: Lock,
    array: Array<u32>,
    _folder: Folder,
}

thread_local! {
    static NAMED: Named = {
        let folder = Folder::new();
        let memory = SharedMemory::create(folder.place().name("memory"), 100);
        Named {
            memory: memory.expect("there is memory for it"),
            lock: Lock::create(folder.place().name("lock")).expect("there is memory for a lock"),
            array: Array::create(folder.place().name("array"), 5, 7).expect("there is memory for an array"),
            _folder: folder,
        }
    };
}

fn decode(family: &'static Family, message: Message, what: u8) {
    match what % 32 {
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
        15 => check(message.decode(family), |_: ()| ()),
        16 => check(message.decode(family), use_value::<u64>),
        17 => check(message.decode(family), use_value::<char>),
        18 => check(message.decode(family), use_value::<[u32; 20]>),
        19 => check(message.decode(family), use_array::<u32>),
        20 => check(message.decode(family), use_array::<bool>),
        21 => check(message.decode(family), use_array::<u128>),
        22 => check(message.decode(family), use_semaphore),
        23 => check(message.decode(family), |list: ShareableList| assert_eq!(list.to_vec().len(), list.len())),
        24 => check(message.decode(family), use_memory),
        25 => check(message.decode(family), |_: (Value<char>, Array<u8>, SharedMemory)| ()),
        26 => check(message.decode(family), |_: Vec<Value<u8>>| ()),
        _ => check(message.decode(family), use_either),
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

fn use_value<T: Plain + Debug>(value: Value<T>) {
    let _ = value.get();
    drop(value.try_lock());
    let _ = value.lock_timeout(Duration::ZERO).map(|guard| guard.recovered());
    let _ = format!("{value:?}");
}

fn use_array<T: Plain + Debug>(array: Array<T>) {
    assert_eq!(array.to_vec().len(), array.len());
    if let Some(guard) = array.try_lock() {
        let all = guard.to_vec();
        guard.write(.., &all);
    }
    let _ = format!("{array:?}");
}

fn use_semaphore(semaphore: Semaphore) {
    let _ = semaphore.try_acquire();
    let _ = semaphore.try_acquire_owned();
    let _ = semaphore.acquire_timeout(Duration::ZERO);
    let _ = semaphore.release();
    let _ = format!("{semaphore:?}");
}

fn use_memory(memory: SharedMemory) {
    let (mut bytes, len) = ([0; 10], memory.len());
    assert!(len <= memory.limit());
    assert_eq!(memory.read(len.saturating_sub(10), &mut bytes).is_ok(), len >= 10);
    let _ = memory.grow(len.saturating_add(50));
    let _ = memory.write(memory.len().saturating_sub(10), &bytes);
    let _ = format!("{memory:?}");
}

fn use_either(either: Result<Lock, SharedMemory>) {
    match either {
        Ok(lock) => use_lock(lock),
        Err(memory) => use_memory(memory),
    }
}
