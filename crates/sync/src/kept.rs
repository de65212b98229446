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
use polyproc_sys::per_process::PerProcess;
use std::sync::Arc;

/// What is kept, and whether anything may be. A forked child begins with nothing: what its parent holds needs no hold of the
/// child's.
static KEPT: PerProcess<Vec<Object>> = PerProcess::new();
static ANY: AtomicU32 = AtomicU32::new(0);

/// In place of dropping a handle's `Arc`: drops the object if that was the last one, now or when its lock is free.
///
/// # Safety
/// * The object begins with a [`RawLock`].
#[doc(hidden)]
pub unsafe fn release(object: Arc<Object>) {
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
    let mut kept = KEPT.lock();
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

fn is_held_here(object: &Object) -> bool {
    // SAFETY: the object begins with a lock, in memory that stays mapped; it is only looked at.
    let owner = unsafe { &*object.as_ptr().cast_const().cast::<RawLock>() }.owner();
    owner.is_some_and(liveness::is_own_thread)
}
