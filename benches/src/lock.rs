//! The locks that are measured. How they are fought for: [`contest`](crate::contest).

use crate::page::Line;
use core::cell::UnsafeCell;
use core::hint::black_box;
use core::time::Duration;
use polyproc::parts::sync::RawLock;
use polyproc::parts::sys::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::{Deadline, Lock, RLock};
use raw_sync::locks::{LockImpl, LockInit, Mutex};

/// A lock to be measured: one lock, one call, one unlock.
pub trait Exclusive {
    /// Calls `f` while nobody else is in `exclusive` of the same lock.
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R;
}

/// The floor: a compare-exchange and a store. It spins, and offers its CPU now and then.
#[derive(Debug, Default)]
pub struct CasStore(AtomicU32);

impl Exclusive for CasStore {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut looks = 0_u32;
        while self.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(256) { std::thread::yield_now() } else { core::hint::spin_loop() }
        }
        let r = f();
        self.0.store(0, Release);
        r
    }
}

impl Exclusive for Lock {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock();
        f()
    }
}

impl Exclusive for RLock {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock();
        f()
    }
}

impl Exclusive for parking_lot::ReentrantMutex<()> {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock();
        f()
    }
}

/// polyproc's lock without its handle.
#[derive(Debug, Default)]
pub struct Raw(RawLock);

impl Exclusive for Raw {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: borrowed until it is unlocked, and these bytes are never anything but a lock; nobody outlives `self`.
        let locked = unsafe { RawLock::lock(&raw const self.0, Deadline::NEVER) };
        locked.expect("not held by this thread");
        let r = f();
        // SAFETY: as above; this thread holds it.
        unsafe { RawLock::unlock(&raw const self.0, false) };
        r
    }
}

impl Exclusive for parking_lot::Mutex<()> {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock();
        f()
    }
}

impl Exclusive for std::sync::Mutex<()> {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.lock().expect("nobody panics in a bench");
        f()
    }
}

/// glibc's mutex. It must not be moved once it was locked.
#[repr(transparent)]
pub struct Pthread(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is there to be used by several threads; nothing but pthread calls touches its bytes after `init`.
unsafe impl Sync for Pthread {}
// SAFETY: a mutex that nobody holds belongs to no thread.
unsafe impl Send for Pthread {}

impl core::fmt::Debug for Pthread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pthread(..)")
    }
}

impl Pthread {
    /// A mutex in a box: it stays where it is.
    #[must_use]
    pub fn boxed(shared: bool, robust: bool) -> Box<Line<Self>> {
        let mutex = Box::new(Line(Self(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))));
        mutex.0.init(shared, robust);
        mutex
    }

    /// Makes it a mutex of that kind; before anybody else knows it.
    pub(crate) fn init(&self, shared: bool, robust: bool) {
        let mut attributes = core::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: room for attributes.
        assert_eq!(unsafe { libc::pthread_mutexattr_init(attributes) }, 0);
        if shared {
            // SAFETY: initialized attributes.
            assert_eq!(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) }, 0);
        }
        if robust {
            // SAFETY: initialized attributes.
            assert_eq!(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) }, 0);
        }
        // SAFETY: room for a mutex that nobody uses yet, and initialized attributes.
        assert_eq!(unsafe { libc::pthread_mutex_init(self.0.get(), attributes) }, 0);
    }
}

impl Pthread {
    /// Takes the mutex, never to give it up.
    pub(crate) fn seize(&self) {
        // SAFETY: an initialized mutex in memory that is never freed.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0.get()) }, 0, "nobody had it");
    }

    /// Takes the mutex of a holder that dies meanwhile, and gives it up.
    pub(crate) fn recover(&self) {
        // SAFETY: an initialized mutex, borrowed until it is unlocked.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0.get()) }, libc::EOWNERDEAD, "the death is told");
        // SAFETY: as above; this thread holds it, and is to say that what it protects is whole.
        assert_eq!(unsafe { libc::pthread_mutex_consistent(self.0.get()) }, 0);
        // SAFETY: as above; this thread holds it.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

impl Exclusive for Pthread {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: an initialized mutex, borrowed until it is unlocked.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0.get()) }, 0, "nobody dies in a bench");
        let r = f();
        // SAFETY: as above; this thread holds it.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        r
    }
}

/// Where a mutex of raw_sync lies, and what it says it protects.
#[derive(Debug)]
#[repr(C)]
pub struct RawSyncBytes(UnsafeCell<[u8; 128]>);

// SAFETY: the bytes are touched by pthread calls only, once the mutex is made.
unsafe impl Sync for RawSyncBytes {}

/// raw_sync's mutex. Other processes find the same one in the same bytes.
pub struct RawSync(Box<dyn LockImpl>);

// SAFETY: behind it is a process-shared pthread mutex; its memory is touched through it only.
unsafe impl Sync for RawSync {}

impl core::fmt::Debug for RawSync {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RawSync(..)")
    }
}

impl RawSync {
    /// A mutex in memory of its own, which it keeps for ever.
    #[must_use]
    pub fn leaked() -> Self {
        Self::create(&Box::leak(Box::new(Line(RawSyncBytes(UnsafeCell::new([0; 128]))))).0)
    }

    /// Makes a mutex there.
    pub(crate) fn create(bytes: &'static RawSyncBytes) -> Self {
        let (mutex, data) = bytes.parts();
        // SAFETY: 64 aligned bytes for the mutex and as many for what it protects, there for ever.
        Self(unsafe { Mutex::new(mutex, data) }.expect("a mutex").0)
    }

    /// The mutex that was made there, perhaps by another process.
    pub(crate) fn open(bytes: &'static RawSyncBytes) -> Self {
        let (mutex, data) = bytes.parts();
        // SAFETY: as in `create`, which was called for these bytes before their place was told to anybody.
        Self(unsafe { Mutex::from_existing(mutex, data) }.expect("a mutex").0)
    }
}

impl RawSyncBytes {
    fn parts(&self) -> (*mut u8, *mut u8) {
        let first = self.0.get().cast::<u8>();
        assert!(Mutex::size_of(Some(first)) <= 64, "a mutex is at most 64 bytes");
        (first, first.wrapping_add(64))
    }
}

impl Exclusive for RawSync {
    #[inline]
    fn exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.0.lock().expect("locked");
        f()
    }
}

/// Takes a lock and gives it up `n` times; nobody else wants it.
pub fn uncontended(lock: &impl Exclusive, n: u64) -> Duration {
    let start = now_ns();
    for _ in 0..n {
        lock.exclusive(|| black_box(()));
    }
    Duration::from_nanos(now_ns() - start)
}
