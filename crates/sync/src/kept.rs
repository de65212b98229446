//! The last handle of this process of an object whose first bytes are a lock.
//!
//! A lock that a thread of this process holds is named in that thread's robust list: its bytes must not become another one's
//! before it is given up or the thread has ended. So the process keeps its hold on the object until then, where a guard
//! was forgotten or belongs to another handle of the same object, which came by another message; it looks again when the
//! next last handle of an object goes.

use crate::raw::RawLock;
use polyproc_shm::Object;
use polyproc_sys::atomic::{AtomicU32, Ordering::Relaxed};
use polyproc_sys::liveness;
use std::sync::{Arc, Mutex, TryLockError};

/// What is kept, and whether anything is.
static KEPT: Mutex<Vec<Object>> = Mutex::new(Vec::new());
static ANY: AtomicU32 = AtomicU32::new(0);

/// In place of dropping a handle's `Arc`: drops the object if that was the last one, now or when its lock is free.
#[doc(hidden)]
pub fn release(object: Arc<Object>) {
    // Of several that go at once exactly one is the last: a count that is only looked at tells that to none of them.
    let Some(object) = Arc::into_inner(object) else { return };
    let held = is_held_here(&object);
    if held || ANY.load(Relaxed) != 0 {
        keep(held.then_some(object));
    }
}

/// Keeps `object`, if there is one, and drops what need not be kept any more.
#[cold]
fn keep(object: Option<Object>) {
    let mut kept = loop {
        match KEPT.try_lock() {
            Ok(kept) => break kept,
            Err(TryLockError::Poisoned(e)) => break e.into_inner(),
            // A parent's other thread was at it when this process was forked, and nobody ever unlocks it. What the parent
            // holds needs no hold of this process; what this process made since stays until it ends.
            Err(TryLockError::WouldBlock) if is_alone() => return core::mem::forget(object),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    };
    let (held, mut free): (Vec<_>, Vec<_>) = core::mem::take(&mut *kept).into_iter().partition(is_held_here);
    *kept = held;
    if let Some(object) = object {
        // One hold is enough, however many messages bring handles of a lock that this process holds; where a lock with a name
        // was opened several times, one for each mapping: the thread's list has the address in one of them.
        let name = |o: &Object| (o.as_ptr(), o.generation());
        let is_kept = kept.iter().any(|k| name(k) == name(&object));
        if is_kept { &mut free } else { &mut *kept }.push(object);
    }
    ANY.store(u32::from(!kept.is_empty()), Relaxed);
    drop(kept);
    drop(free);
}

/// Whether no other thread of this process can be at anything.
fn is_alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

fn is_held_here(object: &Object) -> bool {
    // SAFETY: the object begins with a lock, in memory that stays mapped; it is only looked at.
    let owner = unsafe { &*object.as_ptr().cast_const().cast::<RawLock>() }.owner();
    owner.is_some_and(liveness::is_own_thread)
}
