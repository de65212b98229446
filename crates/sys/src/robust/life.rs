//! Words that the kernel marks when a thread ends: how others learn of its death.

use super::linux::{LIVES, STATE, Thread, node_of};
use crate::atomic::{AtomicU32, Ordering::Release};

/// Whether [`keep_for_life`] has room for another word of this thread: it has for 64.
///
/// ```
/// assert!(polyproc_sys::robust::has_room_for_life());
/// ```
#[must_use]
pub fn has_room_for_life() -> bool {
    STATE.with(|s| s.lives.get() < LIVES)
}

/// Links `word`, which holds this thread's id, into the robust list until the thread ends: the kernel marks it then.
///
/// # Panics
/// If there is no room ([`has_room_for_life`]).
///
/// # Safety
/// * `word` starts [`NODE_SIZE`](super::NODE_SIZE) bytes, aligned to 8, that stay mapped until the thread has ended, or has called [`end_life`].
/// * Nobody else uses the node in those bytes while the word holds this thread's id.
///
/// # Examples
/// ```
/// use polyproc_sys::{atomic::{AtomicU32, Ordering::Relaxed}, robust};
/// #[repr(C, align(8))]
/// struct Life(AtomicU32, [u64; 4]);
/// let life: &'static Life = Box::leak(Box::new(Life(AtomicU32::new(0), [0; 4])));
/// std::thread::spawn(move || {
///     life.0.store(robust::thread_id(), Relaxed);
///     // SAFETY: 40 aligned bytes that are never freed, used by this thread alone.
///     unsafe { robust::keep_for_life(&life.0) };
/// })
/// .join()
/// .unwrap();
/// assert_eq!(life.0.load(Relaxed) & robust::TID, 0); // the kernel cleared it when the thread ended
/// assert_ne!(life.0.load(Relaxed) & robust::DIED, 0);
/// ```
pub unsafe fn keep_for_life(word: *const AtomicU32) {
    let thread = Thread::current();
    STATE.with(|s| {
        assert!(s.lives.get() < LIVES, "a thread is kept by {LIVES} words at most");
        thread.link(s, node_of(word.cast()));
        s.lives.set(s.lives.get() + 1);
        s.set_count(s.count.get());
    });
}

/// Takes a word that [`keep_for_life`] has linked out of the list, and marks it as the kernel would at the thread's end.
///
/// # Safety
/// * The calling thread has linked `word` with [`keep_for_life`], and not ended its life since.
///
/// # Examples
/// ```
/// use polyproc_sys::{atomic::{AtomicU32, Ordering::Relaxed}, robust};
/// #[repr(C, align(8))]
/// struct Life(AtomicU32, [u64; 4]);
/// let life: &'static Life = Box::leak(Box::new(Life(AtomicU32::new(robust::thread_id()), [0; 4])));
/// // SAFETY: 40 aligned bytes that are never freed, used by this thread alone.
/// unsafe { robust::keep_for_life(&life.0) };
/// // SAFETY: linked just now.
/// unsafe { robust::end_life(&life.0) };
/// assert_eq!(life.0.load(Relaxed), robust::DIED);
/// ```
pub unsafe fn end_life(word: *const AtomicU32) {
    let announced = super::announce(word); // R1
    STATE.with(|s| {
        s.lives.set(s.lives.get().saturating_sub(1));
        Thread::current().unlink(s, node_of(word.cast()));
    });
    // SAFETY: mapped, as the caller vouches for what it linked.
    unsafe { &*word }.store(super::DIED, Release);
    drop(announced);
}
