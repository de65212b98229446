//! What runs in the child of a raw `fork`, before anything else of polyproc does.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

const HANDLERS: usize = 16;
static COUNT: AtomicUsize = AtomicUsize::new(0);
static TABLE: [AtomicPtr<()>; HANDLERS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; HANDLERS];

/// Runs `handler` in every child that this process forks from now on, on the thread that forked.
///
/// The other threads are gone in the child, whatever they held is held for ever: a handler must not allocate nor lock;
/// it stores to atomics and thread-locals. Up to 16 handlers, in the order of their registration.
///
/// ```
/// fn forget_what_the_parent_owned() {}
/// polyproc_sys::robust::on_fork(forget_what_the_parent_owned);
/// ```
///
/// # Panics
/// If more than 16 handlers are registered.
///
/// # References
/// * [pthread_atfork(3)](https://man7.org/linux/man-pages/man3/pthread_atfork.3.html): runs for `fork`, not for a raw `clone`
pub fn on_fork(handler: fn()) {
    super::linux::enter_process();
    let slot = COUNT.fetch_add(1, Ordering::Relaxed);
    assert!(slot < HANDLERS, "too many fork handlers");
    TABLE[slot].store(handler as *mut (), Ordering::Release);
}

/// How often this process, and those that it was forked from, have forked since the first call: a descriptor that was made
/// while the number was the same is in no forked child. (Children that run another program, by `posix_spawn`, do not count:
/// they have copies of descriptors until they have loaded it, and use none of them.)
///
/// ```
/// use polyproc_sys::{fork, robust::forks};
/// let before = forks();
/// assert_eq!(fork::wait_child(fork::spawn_child(move || i32::from(forks() > before))), 1);
/// assert!(forks() > before);
/// ```
///
/// # References
/// As [`on_fork`].
#[must_use]
pub fn forks() -> u64 {
    super::linux::enter_process();
    FORKS.load(Ordering::Acquire)
}

static FORKS: AtomicU64 = AtomicU64::new(0);

/// How many forks lie between this process and the program that was executed: what was noted with another number in this
/// process's memory was noted by one that it was forked from.
///
/// Forks are counted from the first use of polyproc on: call [`watch_forks`] before the first number is noted.
///
/// ```
/// use polyproc_sys::{fork, robust::{generation, watch_forks}};
/// watch_forks();
/// let before = generation();
/// assert_eq!(fork::wait_child(fork::spawn_child(move || i32::from(generation() == before + 1))), 1);
/// assert_eq!(generation(), before);
/// ```
#[must_use]
#[inline]
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Makes sure that forks are counted; calling it again does nothing.
///
/// ```
/// polyproc_sys::robust::watch_forks();
/// ```
pub fn watch_forks() {
    super::linux::enter_process();
}

/// Registers the handlers with libc; called once a process.
pub(super) fn install() {
    // SAFETY: functions without arguments that obey the rules of a process that forks, and of a forked child.
    unsafe { libc::pthread_atfork(Some(count), Some(count), Some(in_child)) };
}

/// Before there is a child, which must never be missed; and behind, in both, for what another thread has made in between.
extern "C" fn count() {
    FORKS.fetch_add(1, Ordering::AcqRel);
}

extern "C" fn in_child() {
    count();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    super::linux::reset_after_fork();
    crate::asym::register();
    for slot in TABLE.iter().take(COUNT.load(Ordering::Relaxed)) {
        let handler = slot.load(Ordering::Acquire);
        if !handler.is_null() {
            // SAFETY: only `on_fork` stores here, and it stores values of the type `fn()`.
            let handler: fn() = unsafe { core::mem::transmute(handler) };
            handler();
        }
    }
}
