//! The handle of a lock and its guard; the bytes are [`RawLock`].

use crate::checked::{CheckedError, OwnerDied};
use crate::deadlock::{self, Chain, Watcher};
use crate::kept;
use crate::raw::RawLock;
use crate::raw::lock::{Locked, NotLocked};
use crate::wakes;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::time::Duration;
use polyproc_shm::{Content, Family, Kind, Name, Object, SegmentError, ShmError, message};
use polyproc_sys::Deadline;
use polyproc_sys::robust::Thread;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A lock between the threads and processes of a family, like `multiprocessing.Lock`.
///
/// Clones are the same lock, and so are the copies that arrive in other processes. 40 bytes of shared memory, no file
/// descriptor. Unlike Python's, it is released by the thread that took it, by dropping the guard.
///
/// It protects what processes share: files, terminals, sequences of queue operations, memory of their own making. A
/// `static` is not shared, each process has its own.
///
/// # Fairness
/// None: a thread that comes by may take a lock that was just given up before a sleeper wakes. A waiter spins a little
/// (not where there is one CPU), then sleeps in the kernel. No system call where nobody waits. Up to 32,767 waiters sleep;
/// more look every millisecond.
///
/// # When a process dies
/// See the [crate's page](crate#what-a-death-does): nobody ever waits for a dead holder. A forked child that inherits a
/// guard does not hold the lock: dropping that guard does nothing. [`Lock::lock`] tells of a death once, and takes what
/// was protected as it is; [`Lock::lock_checked`] is for those who must repair it.
///
/// # Deadlocks
/// Threads that wait for each other's locks, of whatever processes: [`Lock::lock_timeout`] and [`Lock::lock_deadline`] return
/// [`LockError::Deadlock`] after 100 ms, which names them all; whoever gets it drops a guard that another one waits for.
/// [`Lock::lock`] goes on waiting; `Debug` of the lock says who waits, and whether it is for each other. `RLock` and `RwLock`
/// take part, and the end of a [`Condition`](crate::Condition)'s wait, which is a wait for its lock: those of one family's
/// memory; locks with names among those in the same segment, that is, with none. What a condition waits for, permits,
/// events, queues and the locks inside of values are not looked at.
///
/// # Limits
/// One thread holds 128 locks at most, and panics at the next one, whatever the form of the call. No operation may be used
/// in an asynchronous signal handler.
///
/// # Examples
/// ```
/// use polyproc_sync::Lock;
/// use std::time::Duration;
/// let lock = Lock::new()?;
/// let guard = lock.lock();
/// let other = lock.clone();
/// let waited = std::thread::spawn(move || other.lock_timeout(Duration::from_millis(10)).is_err());
/// assert!(waited.join().unwrap());
/// drop(guard);
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Clone)]
pub struct Lock {
    /// Released by [`kept::release`].
    pub(crate) object: ManuallyDrop<Arc<Object>>,
    /// The object's bytes: mapped for as long as the process lives, and those of a lock for ever.
    pub(crate) raw: &'static RawLock,
}

/// Why a lock was not got, or was got with a warning.
///
/// ```
/// use polyproc_sync::{Lock, LockError};
/// let lock = Lock::new()?;
/// let _held = lock.lock();
/// assert!(matches!(lock.lock_timeout(std::time::Duration::ZERO), Err(LockError::Mine)));
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The time is up and somebody else still holds the lock.
    #[error("the lock is held by somebody else and the time is up")]
    TimedOut,
    /// The calling thread holds the lock itself: drop the guard first.
    #[error(
        "this thread holds the lock already: drop its guard before you lock again (for a value or an array that is bound to the \
         lock use locked_by; a read lock does not become a write lock)"
    )]
    Mine,
    /// The calling thread holds an [`RLock`](crate::RLock) 2^29 - 1 times already; a [`Lock`] never says so.
    #[error("this thread holds the lock 536870911 times already: drop some of its guards")]
    TooDeep,
    /// This thread and others wait for each other: drop a guard that another of them waits for, and try again.
    #[error("{chain}")]
    Deadlock {
        /// Who waits for whom.
        chain: Chain,
    },
}

impl Lock {
    /// A new lock, held by nobody.
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory left, or this process belongs to a family that it has not joined.
    ///
    /// # Examples
    /// ```
    /// assert!(polyproc_sync::Lock::new()?.try_lock().is_some());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn new() -> Result<Self, ShmError> {
        make(Family::get()?).map(|object| Self::of(Arc::new(object)))
    }

    /// A new lock with a name, for programs without kinship: they [`open`](Self::open) it by that. The name goes with the
    /// last process that holds the lock.
    ///
    /// # Errors
    /// [`SegmentError`]: the name is taken, it is no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Lock;
    /// let name = format!("doc-lock-{}", std::process::id());
    /// let lock = Lock::create(&name)?;
    /// let same = Lock::open(&name)?; // in another program, as a rule
    /// let _held = lock.lock();
    /// assert!(same.try_lock().is_none());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::create_named(name, &CONTENT, 0, make).map(Self::of)
    }

    /// The lock that has the name.
    ///
    /// # Errors
    /// [`SegmentError`]: there is none, or its last holder has gone; it is no lock, or one of another layout.
    ///
    /// # Examples
    /// As of [`Lock::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_named(name, &CONTENT, LEN).map(Self::of)
    }

    /// The lock that has the name; made if there is none.
    ///
    /// # Errors
    /// As [`Lock::open`] and [`Lock::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Lock;
    /// let name = format!("doc-lock-either-{}", std::process::id());
    /// let (first, second) = (Lock::open_or_create(&name)?, Lock::open_or_create(&name)?);
    /// let _held = first.lock();
    /// assert!(second.try_lock().is_none());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_or_create_named(name, &CONTENT, LEN, 0, make).map(Self::of)
    }

    /// Takes the lock; sleeps until it is free.
    ///
    /// # Panics
    /// If this thread holds the lock already (it would wait for ever), or 128 others.
    ///
    /// # Examples
    /// ```
    /// let lock = polyproc_sync::Lock::new()?;
    /// let guard = lock.lock();
    /// assert!(!guard.recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline(always)] // a dozen instructions, in every function that locks
    #[track_caller]
    pub fn lock(&self) -> LockGuard<'_> {
        match self.acquire(Deadline::NEVER, false) {
            Ok(guard) => guard,
            Err(e) => panic!("{e}"),
        }
    }

    /// Takes the lock if nobody holds it.
    ///
    /// ```
    /// let lock = polyproc_sync::Lock::new()?;
    /// assert!(lock.try_lock().is_some());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline(always)] // as `lock`
    pub fn try_lock(&self) -> Option<LockGuard<'_>> {
        self.lock_deadline(Deadline::PAST).ok()
    }

    /// Takes the lock; sleeps for `timeout` at most, [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; [`LockError::Mine`] at once if this thread holds it; [`LockError::Deadlock`] after 100 ms, if
    /// this thread and others wait for each other.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let lock = polyproc_sync::Lock::new()?;
    /// assert!(lock.lock_timeout(Duration::from_secs(1)).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, LockError> {
        self.lock_deadline(Deadline::after(timeout))
    }

    /// Takes the lock; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// As [`Lock::lock_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Deadline;
    /// let lock = polyproc_sync::Lock::new()?;
    /// assert!(lock.lock_deadline(Deadline::NEVER).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline(always)] // as `lock`
    pub fn lock_deadline(&self, deadline: Deadline) -> Result<LockGuard<'_>, LockError> {
        self.acquire(deadline, true)
    }

    #[inline(always)] // as `lock`
    fn acquire(&self, deadline: Deadline, tells_deadlocks: bool) -> Result<LockGuard<'_>, LockError> {
        let thread = Thread::current();
        // SAFETY: a lock that stays mapped and never becomes anything else.
        match unsafe { RawLock::lock_or(thread, self.raw, || self.wait(deadline, tells_deadlocks)) } {
            Ok(how) => Ok(LockGuard {
                lock: self,
                thread,
                recovered: how.recovered,
                unrepaired: Cell::new(false),
                owes_wakes: Cell::new(false),
            }),
            Err(e) => Err(deadlock::error(e)),
        }
    }

    #[cold]
    pub(crate) fn wait(&self, deadline: Deadline, tells_deadlocks: bool) -> Result<Locked, NotLocked> {
        let watch = Watcher::new(&self.object, tells_deadlocks);
        // SAFETY: a lock that stays mapped and never becomes anything else; the caller, as `lock_or` does, has announced it.
        unsafe { RawLock::lock_contended(Thread::current(), self.raw, deadline, watch) }
    }

    /// As [`Lock::lock`], for those who must repair what a dead holder left: tells them by `Err`, and tells whoever comes
    /// next again until somebody calls [`OwnerDied::make_consistent`], or takes it as it is: by another form of locking, or
    /// by a [`Condition`](crate::Condition)'s wait, whose guard says once what was left meanwhile.
    ///
    /// # Errors
    /// [`CheckedError::OwnerDied`]: the lock is held, and its previous holder died. [`CheckedError::NotLocked`]: this thread
    /// holds it already; or it and others wait for each other ([`LockError::Deadlock`], after 100 ms).
    ///
    /// # Panics
    /// If this thread holds 128 other locks already.
    ///
    /// # Examples
    /// ```
    /// assert!(polyproc_sync::Lock::new()?.lock_checked().is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[track_caller]
    pub fn lock_checked(&self) -> Result<LockGuard<'_>, CheckedError<LockGuard<'_>>> {
        let guard = self.lock_deadline(Deadline::NEVER)?;
        if guard.recovered {
            guard.unrepaired.set(true);
            return Err(CheckedError::OwnerDied(OwnerDied(guard)));
        }
        Ok(guard)
    }

    fn of(object: Arc<Object>) -> Self {
        // SAFETY: the object is a lock's (its kind says so), of 40 aligned bytes that stay mapped and of that kind; all fields
        // are atomics.
        let raw = unsafe { &*object.as_ptr().cast::<RawLock>() };
        Self { object: ManuallyDrop::new(object), raw }
    }
}

const LEN: u64 = size_of::<RawLock>() as u64;
/// What a lock's segment says of it; raised with every change of its bytes.
const CONTENT: Content<'_> = Content { kind: Kind::Lock, type_name: "bytes of layout 1", type_hash: 1 };

/// Fresh memory of this kind is zero, or a lock that was given up: both are free locks.
fn make(family: &'static Family) -> Result<Object, ShmError> {
    Object::create(family, LEN, Kind::Lock)
}

/// The guard of a lock that this thread holds although its guard was forgotten.
///
/// For tests that kill a process between taking a lock and giving it up.
///
/// # Safety
/// * The calling thread holds the lock, and no guard of it exists.
#[doc(hidden)]
pub unsafe fn guard_of_held(lock: &Lock) -> LockGuard<'_> {
    LockGuard {
        lock,
        thread: Thread::current(),
        recovered: false,
        unrepaired: Cell::new(false),
        owes_wakes: Cell::new(false),
    }
}

/// The bytes of a lock, for values that are bound to it: there for as long as a handle is, or a guard that was forgotten.
#[doc(hidden)]
#[must_use]
#[inline]
pub fn raw_of(lock: &Lock) -> *const RawLock {
    lock.raw
}

/// Which lock it is: the family, and where in its memory. One that has a name may have several addresses.
#[doc(hidden)]
#[must_use]
#[inline]
pub fn identity_of(lock: &Lock) -> (u64, u64) {
    (lock.object.family().id(), lock.object.offset())
}

/// The lock that a guard holds, and whether its last holder died; `None` in a forked child that inherited it.
#[doc(hidden)]
#[must_use]
#[inline]
pub fn held_by<'a>(guard: &LockGuard<'a>) -> Option<(&'a Lock, bool)> {
    guard.thread.is_current().then_some((guard.lock, guard.recovered))
}

impl core::fmt::Debug for Lock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut f = f.debug_struct("Lock");
        f.field("owner", &self.raw.owner());
        deadlock::show(&self.object, &mut f);
        f.finish_non_exhaustive()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: its first bytes are a lock.
        unsafe { kept::release(object) };
    }
}

impl Serialize for Lock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for Lock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::Lock, LEN, deserializer).map(Self::of)
    }
}

/// Holds a [`Lock`] until it is dropped.
///
/// It stays on the thread that took the lock:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let lock = polyproc_sync::Lock::new().unwrap();
/// send(lock.lock());
/// ```
#[must_use = "the lock is given up as soon as the guard is dropped"]
pub struct LockGuard<'a> {
    pub(crate) lock: &'a Lock,
    /// The kernel marks the lock when this thread dies, no other.
    pub(crate) thread: Thread,
    pub(crate) recovered: bool,
    /// Whether the next holder is to be told of the death again.
    pub(crate) unrepaired: Cell<bool>,
    /// Whether this thread is to wake others when it has given the lock up.
    pub(crate) owes_wakes: Cell<bool>,
}

impl LockGuard<'_> {
    /// Whether the previous holder died, or left the lock unrepaired: what it protects may be half changed.
    ///
    /// ```
    /// assert!(!polyproc_sync::Lock::new()?.lock().recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

impl<'a> OwnerDied<LockGuard<'a>> {
    /// Says that what the lock protects is whole again: the next holder is not told any more.
    ///
    /// ```
    /// use polyproc_sync::{CheckedError, Lock};
    /// let lock = Lock::new()?;
    /// if let Err(CheckedError::OwnerDied(died)) = lock.lock_checked() {
    ///     let guard = died.make_consistent();
    ///     assert!(guard.recovered());
    /// }
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn make_consistent(self) -> LockGuard<'a> {
        self.0.unrepaired.set(false);
        self.0
    }
}

impl Drop for LockGuard<'_> {
    #[inline(always)] // as `Lock::lock`
    fn drop(&mut self) {
        if self.thread.is_current() {
            // SAFETY: as in `lock_deadline`; this thread took the lock and still holds it.
            unsafe { RawLock::unlock_as(self.thread, self.lock.raw, self.unrepaired.get()) };
            if self.owes_wakes.get() {
                wakes::pay();
            }
        } // else a copy in a forked child, which does not hold the lock
    }
}

impl core::fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LockGuard").field("recovered", &self.recovered).finish_non_exhaustive()
    }
}
