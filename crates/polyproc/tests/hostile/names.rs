//! Objects with names, each in a file of its own, which are scribbled at while others open, use and leave them.

use crate::limit;
use crate::watch::{self, Lane};
use crate::world::{Parts, levels, locks, meetings, memories, readers, semaphores};
use polyproc::parts::sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc::{
    Array, Barrier, Event, Item, Lock, Place, Queue, RLock, ReadOnlyMemory, RwLock, Semaphore, ShareableList,
    SharedMemory, Value, gc,
};
use polyproc_testing::Scribbler;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(3);

struct TempPlace(Place);

impl TempPlace {
    fn new() -> Self {
        let path = std::path::Path::new("/dev/shm").join(format!("polyproc-hostile-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(Place::dir(path).unwrap())
    }
}

impl Drop for TempPlace {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.path());
    }
}

/// One object of each kind with a name.
struct Named {
    lock: Lock,
    semaphore: Semaphore,
    event: Event,
    barrier: Barrier,
    rlock: RLock,
    rwlock: RwLock,
    value: Value<u64>,
    wide: Value<[u64; 3]>,
    array: Array<[u64; 3]>,
    list: ShareableList,
    numbers: Queue<u64>,
    parts: Queue<Parts>,
    memory: SharedMemory,
}

impl Named {
    fn create(at: &Place) -> Self {
        let items = [Item::Int(7), Item::Str("a text of some length".into())];
        Self {
            lock: Lock::create(at.name("lock")).unwrap(),
            semaphore: Semaphore::create(at.name("semaphore"), 3).unwrap(),
            event: Event::create(at.name("event")).unwrap(),
            barrier: Barrier::create(at.name("barrier"), 2).unwrap(),
            rlock: RLock::create(at.name("rlock")).unwrap(),
            rwlock: RwLock::create(at.name("rwlock")).unwrap(),
            value: Value::create(at.name("value"), 7).unwrap(),
            wide: Value::create(at.name("wide"), [7; 3]).unwrap(),
            array: Array::create(at.name("array"), 50, [7; 3]).unwrap(),
            list: ShareableList::create(at.name("list"), items).unwrap(),
            numbers: Queue::create(at.name("numbers"), 16).unwrap(),
            parts: Queue::create(at.name("parts"), 16).unwrap(),
            memory: SharedMemory::builder().growable(1 << 20).create(at.name("memory"), 5000).unwrap(),
        }
    }

    fn act(&self, lane: &mut Lane) {
        let (n, i) = (lane.dice.next(), lane.dice.below(50) as usize);
        match lane.dice.below(10) {
            0 => locks(&self.lock, lane),
            1 => semaphores(&self.semaphore, n, lane),
            2 => self.values(n, lane),
            7 => meetings(&self.event, &self.barrier, n, lane),
            8 => {
                levels(&self.rlock, lane);
                readers(&self.rwlock, n, lane);
            }
            3 => {
                lane.call("Array::get", || (self.array.get(i), self.array.to_vec()));
                lane.call_that_waits("Array::set", || self.array.set(i, [n; 3]));
            }
            4 => {
                lane.call("ShareableList::to_vec", || (self.list.to_vec(), self.list.format()));
                let _ = lane.call_that_waits("ShareableList::set", || self.list.set(0, 8));
            }
            5 => {
                let _ = lane.call("Queue<u64>::put_timeout", || self.numbers.put_timeout(n, SHORT));
                let _ = lane.call("Queue<u64>::get_timeout", || self.numbers.get_timeout(SHORT));
            }
            6 => {
                let len = [1, 50, 3000, 100_000][(n % 4) as usize];
                let item = || (n, "text".to_owned(), vec![7; len]);
                let _ = lane.call("Queue<Parts>::put_timeout", || self.parts.put_timeout(item(), SHORT));
                let _ = lane.call("Queue<Parts>::get_timeout", || self.parts.get_timeout(SHORT));
            }
            _ => memories(&self.memory, n, lane),
        }
    }

    fn values(&self, n: u64, lane: &Lane) {
        lane.call("Value::get", || (self.value.get(), self.wide.get()));
        if let Ok(mut guard) = lane.call("Value::lock_timeout", || self.wide.lock_timeout(SHORT)) {
            guard[1] = n;
            lane.call("ValueGuard::drop", || drop(guard));
        }
        lane.call_that_waits("Value::fetch_add", || self.value.fetch_add(n));
    }
}

/// Further handles of the same objects, by their names, used once and dropped.
fn open(at: &Place, lane: &mut Lane) {
    let n = lane.dice.next();
    match n % 11 {
        9 => {
            let rlock = lane.call("RLock::open", || RLock::open(at.name("rlock")));
            let rwlock = lane.call("RwLock::open", || RwLock::open(at.name("rwlock")));
            if let (Ok(rlock), Ok(rwlock)) = (rlock, rwlock) {
                levels(&rlock, lane);
                readers(&rwlock, n, lane);
            }
        }
        0 => drop(lane.call("Lock::open", || Lock::open(at.name("lock"))).map(|l| locks(&l, lane))),
        1 => drop(
            lane.call("Semaphore::open", || Semaphore::open(at.name("semaphore"))).map(|s| semaphores(&s, n, lane)),
        ),
        8 => {
            let event = lane.call("Event::open", || Event::open(at.name("event")));
            let barrier = lane.call("Barrier::open", || Barrier::open(at.name("barrier")));
            if let (Ok(event), Ok(barrier)) = (event, barrier) {
                meetings(&event, &barrier, n, lane);
            }
        }
        2 => drop(lane.call("Value::open", || Value::<u64>::open(at.name("value"))).map(|v| v.get())),
        3 => drop(lane.call("Array::open", || Array::<[u64; 3]>::open(at.name("array"))).map(|a| a.to_vec())),
        4 => drop(lane.call("ShareableList::open", || ShareableList::open(at.name("list"))).map(|l| l.to_vec())),
        5 => drop(lane.call("Queue::open", || Queue::<u64>::open(at.name("numbers"))).map(|q| q.try_put(n).is_ok())),
        6 => {
            let opened = lane.call("Queue::open", || Queue::<Parts>::open(at.name("parts")));
            drop(opened.map(|q| lane.call("Queue<Parts>::try_get", || q.try_get().is_ok())));
        }
        7 => {
            let name = || at.name("memory");
            drop(lane.call("SharedMemory::open", || SharedMemory::open(name())).map(|m| memories(&m, n, lane)));
            let _ = lane.call("SharedMemory::open_or_create", || SharedMemory::open_or_create(name(), 100));
            let _ = lane.call("ReadOnlyMemory::open", || ReadOnlyMemory::open(name()).map(|m| m.len()));
        }
        _ => {
            let _ = lane.call("gc", || gc(at));
            drop(lane.call("Lock::open_or_create", || Lock::open_or_create(at.name("lock"))));
        }
    }
}

pub(crate) fn victim(seed: u64) {
    limit();
    let place = TempPlace::new();
    let named = Named::create(&place.0);
    let mut files: Vec<OwnedFd> = std::fs::read_dir(place.0.path())
        .unwrap()
        .map(|entry| std::fs::File::options().read(true).write(true).open(entry.unwrap().path()).unwrap().into())
        .collect();
    // Every third seed aims at one of them alone.
    if seed.is_multiple_of(3) {
        let only = (seed / 3) as usize % files.len();
        files = vec![files.swap_remove(only)];
    }
    let scribbler = Scribbler::fork(&files.iter().map(AsFd::as_fd).collect::<Vec<_>>(), seed);
    watch::abort_on_panic();
    watch::watch(files);
    let over = AtomicU32::new(0);
    std::thread::scope(|threads| {
        for at in 0..2 {
            let (named, over) = (&named, &over);
            threads.spawn(move || {
                let mut lane = Lane::new(at, seed);
                while over.load(Relaxed) == 0 {
                    named.act(&mut lane);
                }
            });
        }
        let (place, over) = (&place, &over);
        threads.spawn(move || {
            let mut lane = Lane::new(2, seed);
            while over.load(Relaxed) == 0 {
                open(&place.0, &mut lane);
            }
        });
        watch::under_fire(scribbler, seed);
        over.store(1, Relaxed);
    });
    let lane = Lane::new(0, seed);
    lane.call("the last handles' drop", || drop(named));
    let _ = lane.call("gc", || gc(&place.0));
    println!("seed {seed}: over, longest call {:?}", watch::longest());
}
