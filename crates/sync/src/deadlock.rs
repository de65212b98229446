//! Threads that wait for each other, and how one of them finds out.
//!
//! A thread that has slept for a tick (100 ms) says in its slot of the family's table what it waits for, and takes that back
//! when the wait ends. At each tick it walks: who has what I wait for, what does that one wait for, who has that …, until it
//! comes to itself, or to a thread that does not say that it waits.
//!
//! # Why a chain that closes is a deadlock
//! The waits are looked at first (S), then the holders (O), then, of those in the chain, the waits again, which must be the
//! same ones without a break. So all threads of the chain slept from S to the end of O, and held meanwhile what they held at
//! any moment of it: the holders that were seen one after the other were so at the same time. The dead do not wait, and hold
//! nothing. A thread that is stopped holds what it has and says nothing new: the chain ends there, unless it sleeps in it.
//! A wait that has a time limit of its own counts like any other: it ends by itself, and not well.
//!
//! # Sources
//! The wait-for graph of databases; here an edge per thread, but for a writer, who waits for each of the readers.

use crate::lock::LockError;
use crate::raw::lock::{NotLocked, RawLock, Watch};
use crate::raw::rwlock::{Awaited, RawRwLock};
use core::fmt;
use polyproc_shm::{Family, Object, Participant, Wait};
use std::cell::RefCell;

/// A wait for the readers of a lock; else it is for whoever holds the lock that lies at the offset.
const READERS: u64 = 1;

thread_local! {
    /// The chain that this thread's last watch found.
    static FOUND: RefCell<Option<Chain>> = const { RefCell::new(None) };
}

/// Who waits for whom in a deadlock: each thread waits for what the next one has, and the last one for what the first has.
///
/// ```
/// use polyproc_sync::{Lock, LockError};
/// use std::time::Duration;
/// let (a, b) = (Lock::new()?, Lock::new()?);
/// let guard = a.lock();
/// let other = std::thread::spawn({
///     let (a, b) = (a.clone(), b.clone());
///     move || {
///         let _b = b.lock();
///         drop(a.lock()); // waits for us
///     }
/// });
/// while b.try_lock().is_some() {} // until the other thread has it
/// if let Err(LockError::Deadlock { chain }) = b.lock_timeout(Duration::MAX) {
///     assert_eq!(chain.links().len(), 2);
///     assert!(chain.to_string().starts_with("deadlock: thread"));
/// } else {
///     panic!("the locks were taken in opposite orders");
/// }
/// drop(guard); // lets the other thread go on
/// other.join().unwrap();
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(Box<[Link]>);

/// A thread in a deadlock, and what it waits for.
///
/// See [`Chain`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Where the lock that it waits for lies in the family's memory: the same number is the same lock.
    pub lock: u64,
    /// Whether it waits to write while the next one reads; else the next one holds the lock.
    pub for_readers: bool,
}

impl Chain {
    /// The threads, each of which waits for the next, and the last for the first, which is the one that found out.
    ///
    /// # Examples
    /// As of [`Chain`].
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.0
    }

    fn of(waits: &[Wait]) -> Self {
        let link =
            |w: &Wait| Link { pid: w.pid, tid: w.tid, lock: w.what & !READERS, for_readers: w.what & READERS != 0 };
        Self(waits.iter().map(link).collect())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(links) = self;
        write!(
            f,
            "deadlock: {}: drop guards and try again, and let all threads take these locks in the same order",
            Links(links)
        )
    }
}

/// Who waits for whom.
struct Links<'a>(&'a [Link]);

impl fmt::Display for Links<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, link) in self.0.iter().enumerate() {
            let Link { pid, tid, lock, for_readers } = link;
            let has = if *for_readers { "reads under" } else { "holds" };
            let who = if i == 0 { format!("thread {tid} of process {pid}") } else { "it".to_owned() };
            let next = &self.0[(i + 1) % self.0.len()];
            let whom = format!("thread {} of process {}", next.tid, next.pid);
            let end = if i + 1 < self.0.len() { "; " } else { "" };
            write!(f, "{who} waits for lock {lock:#x}, and {whom} {has} it{end}")?;
        }
        Ok(())
    }
}

/// Looks on while this thread waits for a lock of `family`.
pub(crate) struct Watcher {
    family: &'static Family,
    what: u64,
    /// Whether the wait ends with the deadlock.
    gives_up: bool,
    /// Since the first tick.
    me: Option<Participant>,
}

impl Watcher {
    /// For the lock that the object begins with.
    pub(crate) fn new(object: &Object, gives_up: bool) -> Self {
        Self { family: object.family(), what: object.offset(), gives_up, me: None }
    }

    /// For a lock with readers and writers.
    pub(crate) fn of_writer(object: &Object, awaited: Awaited, gives_up: bool) -> Self {
        let flag = if awaited == Awaited::Readers { READERS } else { 0 };
        Self { what: object.offset() | flag, ..Self::new(object, gives_up) }
    }
}

impl Watch for Watcher {
    fn tick(&mut self) -> bool {
        if self.me.is_none() {
            let Ok(me) = self.family.participant() else { return false }; // no room: others do not see this wait
            self.family.say_waiting(me, self.what);
            self.me = Some(me);
        }
        let found = if self.gives_up { self.me.and_then(|me| chain_from(self.family, me)) } else { None };
        // In the destructor of a thread-local the chain may have no place any more: the wait goes on then.
        found.is_some_and(|chain| FOUND.try_with(|place| place.replace(Some(chain))).is_ok())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(me) = self.me {
            self.family.say_waiting(me, 0);
        }
    }
}

/// Why the last call of this thread did not get the lock.
#[cold]
pub(crate) fn error(e: NotLocked) -> LockError {
    match e {
        NotLocked::TimedOut => LockError::TimedOut,
        NotLocked::Mine => LockError::Mine,
        NotLocked::GivenUp => LockError::Deadlock { chain: found() },
    }
}

/// What the watch that gave up has found.
#[cold]
pub(crate) fn found() -> Chain {
    FOUND.try_with(RefCell::take).ok().flatten().unwrap_or_else(|| Chain::of(&[]))
}

/// The deadlock that the waiting thread `me` is part of, if it is of any.
fn chain_from(family: &'static Family, me: Participant) -> Option<Chain> {
    chain_in(family, &family.waits(), me) // S
}

/// The same, the waits having been looked at.
fn chain_in(family: &'static Family, waits: &[Wait], me: Participant) -> Option<Chain> {
    let start = waits.iter().position(|w| w.thread == me)?;
    let path = path_back_to(family, waits, start)?;
    let chain: Vec<Wait> = path.into_iter().map(|i| waits[i]).collect();
    chain.iter().all(|w| family.still_waits(w)).then(|| Chain::of(&chain))
}

/// The threads by way of which `start` waits for itself, itself first.
///
/// Not by recursion: there may be thousands, and the stack may be small.
fn path_back_to(family: &'static Family, waits: &[Wait], start: usize) -> Option<Vec<usize>> {
    let mut seen = vec![false; waits.len()];
    // Each thread of the path, with those of its holders that were not looked at yet.
    let mut path = vec![(start, holders(family, waits, &waits[start]))];
    while let Some((_, left)) = path.last_mut() {
        let Some(next) = left.pop() else {
            path.pop();
            continue;
        };
        if next == start && path.len() > 1 {
            return Some(path.into_iter().map(|(i, _)| i).collect());
        }
        if next != start && !core::mem::replace(&mut seen[next], true) {
            path.push((next, holders(family, waits, &waits[next])));
        }
    }
    None
}

/// Those of the waiting threads that have what `wait` is for (O), itself left out.
fn holders(family: &'static Family, waits: &[Wait], wait: &Wait) -> Vec<usize> {
    let at = wait.what & !READERS;
    let index = |is: &dyn Fn(&Wait) -> bool| waits.iter().position(is).filter(|&i| waits[i].thread != wait.thread);
    if wait.what & READERS == 0 {
        let Ok(lock) = family.at(at, size_of::<RawLock>() as u64) else { return Vec::new() };
        let lock = lock.cast::<RawLock>();
        if !lock.is_aligned() {
            return Vec::new();
        }
        // SAFETY: mapped for as long as the process lives, aligned; atomics, any bits are valid; it is only looked at.
        let owner = unsafe { &*lock }.owner();
        return owner.and_then(|tid| index(&|w| w.tid == tid)).into_iter().collect();
    }
    let Ok(lock) = family.at(at, size_of::<RawRwLock>() as u64) else { return Vec::new() };
    let lock = lock.cast::<RawRwLock>();
    if !lock.is_aligned() {
        return Vec::new();
    }
    // SAFETY: as above.
    let readers = unsafe { &*lock }.reader_words();
    readers.filter_map(|word| index(&|w| w.thread == Participant::from_word(word))).collect()
}

/// What `Debug` of a lock tells: its number in a [`Chain`], and of those who have waited for it for a tick: their thread ids, and a deadlock in which one of
/// them is.
pub(crate) fn show(object: &Object, f: &mut fmt::DebugStruct<'_, '_>) {
    f.field("lock", &format_args!("{:#x}", object.offset()));
    let family = object.family();
    let waits: Vec<Wait> = family.waits().into_iter().filter(|w| w.what & !READERS == object.offset()).collect();
    if !waits.is_empty() {
        f.field("waiters", &waits.iter().map(|w| w.tid).collect::<Vec<_>>());
    }
    if let Some(chain) = waits.iter().find_map(|w| chain_from(family, w.thread)) {
        f.field("deadlock", &format_args!("{}", Links(chain.links())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lock;
    use crate::lock::identity_of;

    /// Two threads that hold a lock each and say that they wait for the other's.
    #[test]
    fn a_chain_closes_only_if_all_its_waits_have_lasted() {
        let family = Family::get().unwrap();
        let (a, b) = (Lock::new().unwrap(), Lock::new().unwrap());
        let (held, me) = (a.lock(), family.participant().unwrap());
        let (meet, a_at, b_at) = (std::sync::Barrier::new(2), identity_of(&a).1, identity_of(&b).1);
        let limit = core::time::Duration::from_secs(60);
        polyproc_testing::watchdog(limit, || {
            std::thread::scope(|s| {
                s.spawn(|| {
                    let held = b.lock();
                    let other = family.participant().unwrap();
                    family.say_waiting(other, a_at);
                    meet.wait();
                    meet.wait();
                    family.say_waiting(other, 0);
                    family.say_waiting(other, a_at); // in between it might have given up what it held
                    meet.wait();
                    meet.wait();
                    family.say_waiting(other, 0);
                    drop(held);
                });
                meet.wait();
                family.say_waiting(me, b_at);
                let waits = family.waits();
                assert_eq!(chain_in(family, &waits, me).unwrap().links().len(), 2);
                meet.wait();
                meet.wait();
                assert_eq!(chain_in(family, &waits, me), None, "the wait that was seen has ended");
                assert_eq!(chain_from(family, me).unwrap().links().len(), 2);
                family.say_waiting(me, a_at);
                assert_eq!(chain_from(family, me), None, "who has just got what it waited for waits for nobody");
                family.say_waiting(me, 0);
                meet.wait();
            });
        });
        drop(held);
    }
}
