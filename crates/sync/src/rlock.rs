//! The handle of a lock that its holder may take again, and its guards; the bytes are [`RawRLock`].

use crate::checked::{CheckedError, OwnerDied};
use crate::deadlock::{self, Watcher};
use crate::kept;
use crate::lock::LockError;
use crate::raw::lock::{Locked, NotLocked as RawNotLocked};
use crate::raw::rlock::NotLocked;
use crate::raw::{RawLock, RawRLock};
use crate::wakes;
use core::mem::ManuallyDrop;
use core::time::Duration;
use polyproc_shm::{Content, Family, Kind, Name, Object, SegmentError, ShmError, message};
use polyproc_sys::Deadline;
use polyproc_sys::robust::Thread;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A lock that the thread that holds it may take again, like `multiprocessing.RLock`.
///
/// Others get it when as many guards were dropped as were taken, in any order. Since one thread may have several guards, a
/// guard gives no exclusive access to anything within the thread. Clones are the same lock, and so are the copies that
/// arrive in other processes. 56 bytes of shared memory, no file descriptor.
///
/// # Fairness
/// As of [`Lock`](crate::Lock). To take it again is a load and a store, whoever waits.
///
/// # When a process dies
/// However often it held the lock, nobody waits for it; the next holder's guards say [`recovered`](RLockGuard::recovered),
/// the inner ones as the outer. Otherwise as of [`Lock`](crate::Lock): a forked child that inherits guards does not hold the
/// lock, a thread that ends with guards forgotten gives it up as the dead do, a stopped holder (`SIGSTOP`) keeps it.
///
/// # Limits
/// One thread holds 128 different locks at most, and panics at the next one; the same one 2^29 - 1 times
/// ([`LockError::TooDeep`]). No operation may be used in an asynchronous signal handler.
///
/// # Examples
/// ```
/// use polyproc_sync::RLock;
/// let lock = RLock::new()?;
/// let outer = lock.lock();
/// let inner = lock.lock(); // a `Lock` would panic
/// drop(outer);
/// let other = lock.clone();
/// let got = std::thread::spawn(move || other.try_lock().is_some());
/// assert!(!got.join().unwrap()); // held until all guards are gone
/// drop(inner);
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Clone)]
pub struct RLock {
    /// Released by [`kept::release`].
    pub(crate) object: ManuallyDrop<Arc<Object>>,
    /// The object's bytes: mapped for as long as the process lives, and those of such a lock for ever.
    pub(crate) raw: &'static RawRLock,
}

impl RLock {
    /// A new lock, held by nobody.
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory left, or this process belongs to a family that it has not joined.
    ///
    /// # Examples
    /// ```
    /// assert!(polyproc_sync::RLock::new()?.try_lock().is_some());
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
    /// use polyproc_sync::RLock;
    /// let name = format!("doc-rlock-{}", std::process::id());
    /// let lock = RLock::create(&name)?;
    /// let same = RLock::open(&name)?; // in another program, as a rule
    /// let (_outer, _inner) = (lock.lock(), same.lock());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::create_named(name, &CONTENT, 0, make).map(Self::of)
    }

    /// The lock that has the name.
    ///
    /// # Errors
    /// [`SegmentError`]: there is none, or its last holder has gone; it is no such lock, or one of another layout.
    ///
    /// # Examples
    /// As of [`RLock::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_named(name, &CONTENT, LEN).map(Self::of)
    }

    /// The lock that has the name; made if there is none.
    ///
    /// # Errors
    /// As [`RLock::open`] and [`RLock::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::RLock;
    /// let name = format!("doc-rlock-either-{}", std::process::id());
    /// let (first, second) = (RLock::open_or_create(&name)?, RLock::open_or_create(&name)?);
    /// let (_outer, _inner) = (first.lock(), second.lock());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_or_create_named(name, &CONTENT, LEN, 0, make).map(Self::of)
    }

    /// Takes the lock, once more if this thread holds it; sleeps until it is free.
    ///
    /// # Panics
    /// If this thread holds 128 other locks already, or this one 2^29 - 1 times.
    ///
    /// # Examples
    /// ```
    /// let lock = polyproc_sync::RLock::new()?;
    /// let guard = lock.lock();
    /// assert!(!guard.recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline(always)] // as of `Lock`
    #[track_caller]
    pub fn lock(&self) -> RLockGuard<'_> {
        match self.acquire(Deadline::NEVER, false) {
            Ok(guard) => guard,
            Err(e) => panic!("{e}"),
        }
    }

    /// Takes the lock if nobody else holds it.
    ///
    /// ```
    /// let lock = polyproc_sync::RLock::new()?;
    /// let _held = lock.lock();
    /// assert!(lock.try_lock().is_some()); // by this thread
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline(always)] // as `lock`
    pub fn try_lock(&self) -> Option<RLockGuard<'_>> {
        self.lock_deadline(Deadline::PAST).ok()
    }

    /// Takes the lock, once more if this thread holds it; sleeps for `timeout` at most, [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`LockError::TimedOut`], [`LockError::TooDeep`]; [`LockError::Deadlock`] after 100 ms, if this thread and others wait
    /// for each other.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let lock = polyproc_sync::RLock::new()?;
    /// assert!(lock.lock_timeout(Duration::from_secs(1)).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, LockError> {
        self.lock_deadline(Deadline::after(timeout))
    }

    /// Takes the lock, once more if this thread holds it; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// As [`RLock::lock_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Deadline;
    /// let lock = polyproc_sync::RLock::new()?;
    /// assert!(lock.lock_deadline(Deadline::NEVER).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline(always)] // as `lock`
    pub fn lock_deadline(&self, deadline: Deadline) -> Result<RLockGuard<'_>, LockError> {
        self.acquire(deadline, true)
    }

    #[inline(always)] // as `lock`
    fn acquire(&self, deadline: Deadline, tells_deadlocks: bool) -> Result<RLockGuard<'_>, LockError> {
        let thread = Thread::current();
        // SAFETY: a lock that stays mapped and never becomes anything else.
        match unsafe { RawRLock::lock_or(thread, self.raw, || self.wait(deadline, tells_deadlocks)) } {
            Ok(how) => Ok(RLockGuard { lock: self, thread, recovered: how.recovered }),
            Err(NotLocked::TimedOut) => Err(LockError::TimedOut),
            Err(NotLocked::TooDeep) => Err(LockError::TooDeep),
            Err(NotLocked::GivenUp) => Err(LockError::Deadlock { chain: deadlock::found() }),
        }
    }

    #[cold]
    pub(crate) fn wait(&self, deadline: Deadline, tells_deadlocks: bool) -> Result<Locked, RawNotLocked> {
        let watch = Watcher::new(&self.object, tells_deadlocks);
        let raw = core::ptr::from_ref(self.raw).cast::<RawLock>(); // it begins with that
        // SAFETY: a lock that stays mapped and never becomes anything else; the caller, as `lock_or` does, has announced it.
        unsafe { RawLock::lock_contended(Thread::current(), raw, deadline, watch) }
    }

    /// As [`RLock::lock`], for those who must repair what a dead holder left: tells them by `Err`, and tells whoever comes
    /// next again, this thread included, until somebody calls [`OwnerDied::make_consistent`], or takes it as it is by another
    /// form of locking. A [`Condition`](crate::Condition)'s wait leaves it for others to be told, and is told itself if it is
    /// still unrepaired when the wait ends; what others left meanwhile it takes as it is.
    ///
    /// # Errors
    /// [`CheckedError::OwnerDied`]: the lock is held, and its previous holder died. [`CheckedError::NotLocked`]: this thread
    /// holds it too often; or it and others wait for each other ([`LockError::Deadlock`], after 100 ms).
    ///
    /// # Panics
    /// If this thread holds 128 other locks already.
    ///
    /// # Examples
    /// ```
    /// assert!(polyproc_sync::RLock::new()?.lock_checked().is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[track_caller]
    pub fn lock_checked(&self) -> Result<RLockGuard<'_>, CheckedError<RLockGuard<'_>>> {
        let guard = self.lock_deadline(Deadline::NEVER)?;
        if guard.recovered {
            // SAFETY: held by this guard of this thread.
            unsafe { self.raw.leave_unrepaired() };
            return Err(CheckedError::OwnerDied(OwnerDied(guard)));
        }
        Ok(guard)
    }

    fn of(object: Arc<Object>) -> Self {
        // SAFETY: the object is such a lock's (its kind says so), of 56 aligned bytes that stay mapped and of that kind; all
        // fields are atomics.
        let raw = unsafe { &*object.as_ptr().cast::<RawRLock>() };
        Self { object: ManuallyDrop::new(object), raw }
    }

    /// The lock with which an object of another kind begins; it travels with that one only.
    pub(crate) fn within(object: Arc<Object>, raw: &'static RawRLock) -> Self {
        Self { object: ManuallyDrop::new(object), raw }
    }
}

const LEN: u64 = size_of::<RawRLock>() as u64;
/// What a lock's segment says of it; raised with every change of its bytes.
const CONTENT: Content<'_> = Content { kind: Kind::RLock, type_name: "bytes of layout 1", type_hash: 1 };

/// Fresh memory of this kind is zero, or a lock that was given up: both are free locks.
fn make(family: &'static Family) -> Result<Object, ShmError> {
    Object::create(family, LEN, Kind::RLock)
}

/// A guard of a lock that this thread holds although its guard was forgotten.
///
/// For tests that kill a process between taking a lock and giving it up.
///
/// # Safety
/// * The calling thread holds the lock once more than there are guards.
#[doc(hidden)]
pub unsafe fn guard_of_held(lock: &RLock) -> RLockGuard<'_> {
    RLockGuard { lock, thread: Thread::current(), recovered: false }
}

impl core::fmt::Debug for RLock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (owner, levels) = (self.raw.owner(), self.raw.levels());
        let mut f = f.debug_struct("RLock");
        f.field("owner", &owner).field("levels", &levels);
        deadlock::show(&self.object, &mut f);
        f.finish_non_exhaustive()
    }
}

impl Drop for RLock {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: its first bytes are a lock.
        unsafe { kept::release(object) };
    }
}

impl Serialize for RLock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for RLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::RLock, LEN, deserializer).map(Self::of)
    }
}

/// Holds an [`RLock`] once until it is dropped.
///
/// It stays on the thread that took the lock:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let lock = polyproc_sync::RLock::new().unwrap();
/// send(lock.lock());
/// ```
#[must_use = "the lock is given up as soon as the last guard is dropped"]
pub struct RLockGuard<'a> {
    pub(crate) lock: &'a RLock,
    /// The kernel marks the lock when this thread dies, no other.
    pub(crate) thread: Thread,
    pub(crate) recovered: bool,
}

impl RLockGuard<'_> {
    /// Whether the previous holder died, or left the lock unrepaired: what it protects may be half changed. The same for
    /// all guards of one hold, but those taken after [`OwnerDied::make_consistent`]; and a [`Condition`](crate::Condition)'s
    /// wait says what happened meanwhile to the guard that it was given, and to those taken after it, not to the others.
    ///
    /// ```
    /// assert!(!polyproc_sync::RLock::new()?.lock().recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

impl<'a> OwnerDied<RLockGuard<'a>> {
    /// Says that what the lock protects is whole again: neither this thread nor the next holder is told any more.
    ///
    /// ```
    /// use polyproc_sync::{CheckedError, RLock};
    /// let lock = RLock::new()?;
    /// if let Err(CheckedError::OwnerDied(died)) = lock.lock_checked() {
    ///     let guard = died.make_consistent();
    ///     assert!(guard.recovered());
    /// }
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn make_consistent(self) -> RLockGuard<'a> {
        if self.0.thread.is_current() {
            // SAFETY: held by this guard, of this thread and not of its parent.
            unsafe { self.0.lock.raw.make_consistent() };
        }
        self.0
    }
}

impl Drop for RLockGuard<'_> {
    #[inline(always)] // as `RLock::lock`
    fn drop(&mut self) {
        if self.thread.is_current() {
            // SAFETY: as in `lock_deadline`; this thread took the lock and still holds it.
            if unsafe { RawRLock::unlock_as(self.thread, self.lock.raw) } {
                wakes::pay();
            }
        } // else a copy in a forked child, which does not hold the lock
    }
}

impl core::fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RLockGuard").field("recovered", &self.recovered).finish_non_exhaustive()
    }
}
