//! What may have a name, opened and used.

use super::input::Input;
use super::place::Folder;
use core::time::Duration;
use polyproc_queue::Queue;
use polyproc_shm::{Family, Message, ReadOnlyMemory, SharedMemory};
use polyproc_sync::{Barrier, Condition, Event, Lock, RLock, RwLock, Semaphore};
use polyproc_values::{Array, ShareableList, Value};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::os::fd::OwnedFd;

/// What something with a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Memory,
    /// Memory that does not grow.
    Fixed,
    Lock,
    Semaphore,
    Event,
    Barrier,
    RLock,
    RwLock,
    Condition,
    Queue,
    Value,
    Array,
    List,
}

impl What {
    /// What a byte says; `None` is none of these.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        Some(match byte % 12 {
            0 | 1 => Self::Memory,
            2 | 3 => Self::Fixed,
            4 => Self::Lock,
            5 => Self::Semaphore,
            6 => Self::Queue,
            7 => Self::Value,
            8 => Self::Array,
            9 => Self::List,
            10 => match byte / 12 % 5 {
                0 => Self::Event,
                1 => Self::Barrier,
                2 => Self::RLock,
                3 => Self::RwLock,
                _ => Self::Condition,
            },
            _ => return None,
        })
    }
}

/// Something that was opened, or made.
#[derive(Debug)]
pub(crate) enum Thing {
    Memory(SharedMemory),
    Read(ReadOnlyMemory),
    Lock(Lock),
    Semaphore(Semaphore),
    Event(Event),
    Barrier(Barrier),
    RLock(RLock),
    RwLock(RwLock),
    Condition(Condition),
    Queue(Queue<String>),
    Value(Value<u64>),
    Array(Array<u32>),
    List(ShareableList),
}

/// What went right; an error has a text.
fn checked<T, E: core::fmt::Display>(result: Result<T, E>) -> Option<T> {
    result.map_err(|e| assert!(!e.to_string().is_empty())).ok()
}

impl Thing {
    pub(crate) fn create(folder: &Folder, name: &str, what: What) -> Option<Self> {
        let at = folder.place().name(name);
        match what {
            What::Memory | What::Fixed => {
                let limit = if what == What::Memory { 40_000 } else { 0 };
                checked(SharedMemory::builder().growable(limit).create(at, 5000)).map(Self::Memory)
            }
            What::Lock => checked(Lock::create(at)).map(Self::Lock),
            What::Semaphore => checked(Semaphore::create_bounded(at, 3)).map(Self::Semaphore),
            What::Event => checked(Event::create(at)).map(Self::Event),
            What::Barrier => checked(Barrier::create(at, 2)).map(Self::Barrier),
            What::RLock => checked(RLock::create(at)).map(Self::RLock),
            What::RwLock => checked(RwLock::create(at)).map(Self::RwLock),
            What::Condition => checked(Condition::create(at)).map(Self::Condition),
            What::Queue => checked(Queue::create(at, 4)).map(Self::Queue),
            What::Value => checked(Value::create(at, 7)).map(Self::Value),
            What::Array => checked(Array::create(at, 9, 7)).map(Self::Array),
            What::List => checked(ShareableList::create(at, ["howdy", "folks"])).map(Self::List),
        }
    }

    pub(crate) fn open(folder: &Folder, name: &str, what: What) -> Option<Self> {
        let at = folder.place().name(name);
        match what {
            What::Memory | What::Fixed => {
                checked(SharedMemory::builder().prefault(what == What::Memory).open(at)).map(Self::Memory)
            }
            What::Lock => checked(Lock::open(at)).map(Self::Lock),
            What::Semaphore => checked(Semaphore::open(at)).map(Self::Semaphore),
            What::Event => checked(Event::open(at)).map(Self::Event),
            What::Barrier => checked(Barrier::open(at)).map(Self::Barrier),
            What::RLock => checked(RLock::open(at)).map(Self::RLock),
            What::RwLock => checked(RwLock::open(at)).map(Self::RwLock),
            What::Condition => checked(Condition::open(at)).map(Self::Condition),
            What::Queue => checked(Queue::open(at)).map(Self::Queue),
            What::Value => checked(Value::open(at)).map(Self::Value),
            What::Array => checked(Array::open(at)).map(Self::Array),
            What::List => checked(ShareableList::open(at)).map(Self::List),
        }
    }

    pub(crate) fn open_or_create(folder: &Folder, name: &str, what: What) -> Option<Self> {
        let at = folder.place().name(name);
        match what {
            What::Memory | What::Fixed => checked(SharedMemory::open_or_create(at, 100)).map(Self::Memory),
            What::Lock => checked(Lock::open_or_create(at)).map(Self::Lock),
            What::Semaphore => checked(Semaphore::open_or_create(at, 2)).map(Self::Semaphore),
            What::Event => checked(Event::open_or_create(at)).map(Self::Event),
            What::Barrier => checked(Barrier::open_or_create(at, 1)).map(Self::Barrier),
            What::RLock => checked(RLock::open_or_create(at)).map(Self::RLock),
            What::RwLock => checked(RwLock::open_or_create(at)).map(Self::RwLock),
            What::Condition => checked(Condition::open_or_create(at)).map(Self::Condition),
            What::Queue => checked(Queue::open_or_create(at, 2)).map(Self::Queue),
            What::Value => checked(Value::open_or_create(at, 8)).map(Self::Value),
            What::Array => checked(Array::open_or_create(at, 5, 8)).map(Self::Array),
            What::List => checked(ShareableList::open(at)).map(Self::List),
        }
    }

    /// The memory in a file that came as a descriptor.
    pub(crate) fn attach(file: &File, to_write: bool) -> Option<Self> {
        let fd = OwnedFd::from(file.try_clone().expect("there is a descriptor left"));
        if to_write {
            checked(SharedMemory::attach(fd)).map(Self::Memory)
        } else {
            checked(ReadOnlyMemory::attach(fd)).map(Self::Read)
        }
    }

    pub(crate) fn read(folder: &Folder, name: &str) -> Option<Self> {
        checked(ReadOnlyMemory::open(folder.place().name(name))).map(Self::Read)
    }

    pub(crate) fn plain(folder: &Folder, name: &str, to_write: bool) -> Option<Self> {
        let at = folder.place().name(name);
        if to_write {
            checked(SharedMemory::open_plain(at)).map(Self::Memory)
        } else {
            checked(SharedMemory::builder().open_plain_read_only(at)).map(Self::Read)
        }
    }

    /// What arrives when it is sent.
    pub(crate) fn send(&self, family: &'static Family) -> Option<Self> {
        fn sent<T: Serialize + DeserializeOwned + 'static>(family: &'static Family, thing: &T) -> Option<T> {
            checked(Message::encode(family, thing)).and_then(|message| checked(message.decode(family)))
        }
        match self {
            Self::Memory(memory) => sent(family, memory).map(Self::Memory),
            Self::Read(_) => None,
            Self::Lock(lock) => sent(family, lock).map(Self::Lock),
            Self::Semaphore(semaphore) => sent(family, semaphore).map(Self::Semaphore),
            Self::Event(event) => sent(family, event).map(Self::Event),
            Self::Barrier(barrier) => sent(family, barrier).map(Self::Barrier),
            Self::RLock(lock) => sent(family, lock).map(Self::RLock),
            Self::RwLock(lock) => sent(family, lock).map(Self::RwLock),
            Self::Condition(condition) => sent(family, condition).map(Self::Condition),
            Self::Queue(queue) => sent(family, queue).map(Self::Queue),
            Self::Value(value) => sent(family, value).map(Self::Value),
            Self::Array(array) => sent(family, array).map(Self::Array),
            Self::List(list) => sent(family, list).map(Self::List),
        }
    }

    /// Uses it, waiting for nobody.
    pub(crate) fn use_it(&mut self, input: &mut Input<'_>) {
        assert!(!format!("{self:?}").is_empty());
        match self {
            Self::Memory(memory) => use_memory(memory, input),
            Self::Read(memory) => {
                let (mut bytes, len) = ([0; 100], memory.len());
                assert!(memory.read(len, &mut bytes).is_err());
                assert_eq!(memory.read(len.saturating_sub(100), &mut bytes).is_ok(), len >= 100);
            }
            Self::Lock(lock) => {
                drop(lock.try_lock());
                let _ = lock.lock_timeout(Duration::ZERO).map(|guard| guard.recovered());
            }
            Self::Semaphore(semaphore) => {
                let _ = semaphore.release_n(u32::from(input.byte()));
                let (_, permit) = (semaphore.try_acquire(), semaphore.try_acquire_owned());
                let _ = semaphore.acquire_timeout(Duration::ZERO);
                drop(permit);
                let _ = semaphore.available();
            }
            Self::Event(event) => {
                let _ = event.wait_timeout(Duration::ZERO);
                event.set();
                if input.byte() > 127 {
                    event.clear();
                }
            }
            Self::Barrier(barrier) => {
                let _ = barrier.wait_timeout(Duration::ZERO);
                if input.byte() > 127 {
                    barrier.abort()
                } else {
                    barrier.reset()
                }
                assert!(barrier.waiting() <= barrier.parties());
            }
            Self::RLock(lock) => {
                let _twice = (lock.try_lock(), lock.try_lock());
                let _ = lock.lock_timeout(Duration::ZERO).map(|guard| guard.recovered());
            }
            Self::RwLock(lock) => {
                let _twice = (lock.try_read(), lock.try_read());
                drop(lock.try_write());
                let _ = lock.write_timeout(Duration::ZERO).map(|guard| guard.recovered());
            }
            Self::Condition(condition) => {
                // Its own lock may say that a living thread holds it, for ever: it is not taken here.
                let other = RLock::new().expect("there is memory");
                assert!(condition.notify_n(&lock_of_another(&other), u32::from(input.byte())).is_err());
            }
            Self::Queue(queue) => {
                let _ = queue.try_put("a text, long or short. ".repeat(input.below(2000)));
                let _ = queue.get_timeout(Duration::ZERO);
                let _ = queue.put_timeout(String::new(), Duration::ZERO);
                assert!(queue.len() <= queue.capacity());
            }
            Self::Value(value) => {
                let _ = value.get();
                let _ = value.try_lock().map(|mut guard| *guard = 9);
                let _ = value.lock_timeout(Duration::ZERO).map(|guard| guard.recovered());
            }
            Self::Array(array) => {
                assert_eq!(array.to_vec().len(), array.len());
                let _ = array.try_lock().map(|guard| guard.fill(.., 5));
            }
            Self::List(list) => assert_eq!(list.to_vec().len(), list.len()),
        }
    }
}

fn use_memory(memory: &mut SharedMemory, input: &mut Input<'_>) {
    let (mut bytes, len) = ([0; 100], memory.len());
    assert!(memory.len() <= memory.limit());
    assert_eq!(memory.read(len.saturating_sub(100), &mut bytes).is_ok(), len >= 100);
    assert_eq!(memory.write(len.saturating_sub(100), &bytes).is_ok(), len >= 100);
    assert!(memory.set::<u64>(len / 8, 7).is_err());
    match input.byte() % 5 {
        0 => drop(memory.grow(len.saturating_add(input.below(20_000) as u64))),
        1 => drop(memory.shrink(len.saturating_sub(input.below(20_000) as u64))),
        2 => drop(memory.persist(true)),
        3 => drop(memory.persist(false)),
        _ => {
            let _ = memory.fd();
            assert!(memory.grow(u64::MAX).is_err());
        }
    }
}

/// A guard that is not that of a condition's lock.
fn lock_of_another(lock: &RLock) -> polyproc_sync::RLockGuard<'_> {
    lock.lock()
}
