//! The handle of a condition; the bytes are a [`RawCondition`], and an [`RLock`] for those that have one of their own.

use crate::kept;
use crate::lockable::Lockable;
use crate::raw::RawRLock;
use crate::raw::condition::{Cell, RawCondition, Waited};
use crate::rlock::RLock;
use crate::wakes;
use core::mem::ManuallyDrop;
use core::time::Duration;
use polyproc_shm::{Content, Family, Kind, Name, Object, Participant, SegmentError, ShmError};
use polyproc_sys::Deadline;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

mod travel;

/// Lets threads and processes wait, under a lock, until others say that something has changed, like
/// `multiprocessing.Condition`.
///
/// It comes with an [`RLock`] of its own, or is used with a lock that is there, which several conditions may share
/// ([`Condition::with_lock`]): a `Condition` then is a `Condition<RLock>`, and one over a [`Lock`](crate::Lock) a
/// `Condition<Lock>`, which has that lock's timed and checked forms, and may share it with values. Clones are the same condition, and so are the copies that arrive in other processes. 9 KiB of
/// shared memory, no file descriptor.
///
/// To notify never blocks, and waits for no acknowledgement. As many are notified as were asked for, of those that wait at
/// that moment; what is too much is lost. A wait ends because of a notification, of its deadline, or of a death, for no
/// other reason; but others may have had the lock before, and what the notification was about: look again, or use
/// [`wait_while`](Self::wait_while). An `RLock` is given up and taken again with all its levels: what other guards of the same thread protect
/// may have changed meanwhile.
///
/// # Fairness
/// Those are notified that have waited longest. They are woken when the notifier gives up the lock, which they then take in
/// no order.
///
/// # When a process dies
/// *A waiter*: it does not count. If it had been notified and did not live to have the lock, another one that waits is
/// notified in its place: when somebody waits or notifies next, or else within 100 ms. *A notifier*: those that it had
/// chosen until then return, at once or within 100 ms. *Whoever holds the lock*, in any of its uses: all that wait return within 100 ms, and their
/// guards say [`recovered`](crate::RLockGuard::recovered), for he may have been about to notify them; what he did under the
/// lock may be half done. A stopped process (`SIGSTOP`) keeps its notification and the lock. A thread that ends is like a
/// process that dies. A forked child that inherits a guard has none ([`ConditionError::Inherited`]).
///
/// # Limits
/// 512 threads wait at the same time at most ([`ConditionError::NoRoom`]). One thread uses 63 objects that have names
/// at most, and gets [`ConditionError::Shm`] if it waits at the next one; those whose last handle here is dropped do
/// not count. All users of a condition use it with the same lock. No operation may be used in an asynchronous signal
/// handler.
///
/// # Examples
/// ```
/// use polyproc_sync::{Condition, Semaphore};
/// let (condition, ready) = (Condition::new()?, Semaphore::new(0)?);
/// let waiter = std::thread::spawn({
///     let (condition, ready) = (condition.clone(), ready.clone());
///     // While there is no …, the negation of what Python's `wait_for` waits for. A `Value`'s `get` needs no lock here.
///     move || condition.wait_while(&mut condition.lock(), || !ready.try_acquire())
/// });
/// let guard = condition.lock();
/// ready.release()?; // whatever the condition is about
/// condition.notify(&guard)?;
/// drop(guard);
/// waiter.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Condition<L: Lockable = RLock> {
    /// Released by [`kept::release`], as its first bytes are a lock.
    object: ManuallyDrop<Arc<Object>>,
    lock: L,
    /// The object's bytes: mapped for as long as the process lives, and those of a condition for ever.
    raw: &'static Bytes,
}

/// What lies in a condition's object.
#[repr(C)]
struct Bytes {
    /// Its own lock; of no use if it has another one.
    own: RawRLock,
    /// Which lock it was made with ([`Lockable::label`]); 0: its own.
    label: AtomicU64,
    raw: RawCondition<[Cell; ROOM]>,
}

/// As many threads can wait at the same time.
const ROOM: usize = 512;
const LEN: u64 = size_of::<Bytes>() as u64;
/// What a condition's segment says of it; raised with every change of its bytes.
const CONTENT: Content<'_> = Content { kind: Kind::Condition, type_name: "bytes of layout 1", type_hash: 1 };

/// Why somebody could not wait or notify.
///
/// ```
/// use polyproc_sync::{Condition, ConditionError};
/// let (one, other) = (Condition::new()?, Condition::new()?);
/// let guard = other.lock();
/// assert!(matches!(one.notify(&guard), Err(ConditionError::OtherLock)));
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// The guard is that of another lock than the condition's.
    #[error("this guard is that of another lock: give the one that the condition's `lock` returns")]
    OtherLock,
    /// The guard was inherited by fork.
    #[error("this guard was inherited by fork: its lock is held by the parent, take it for yourself")]
    Inherited,
    /// As many threads wait as can.
    #[error(
        "{limit} threads wait for this condition, as many as can: let others wait for another one with the same lock, \
         made by with_lock"
    )]
    NoRoom {
        /// How many can wait at the same time.
        limit: usize,
    },
    /// This thread cannot own anything in the family.
    #[error(transparent)]
    Shm(#[from] ShmError),
}

impl Condition {
    /// A new condition that has a lock of its own.
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory left, or this process belongs to a family that it has not joined.
    ///
    /// # Examples
    /// ```
    /// let condition = polyproc_sync::Condition::new()?;
    /// assert_eq!(condition.notify(&condition.lock())?, 0); // nobody waits
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> Result<Self, ShmError> {
        make(Family::get()?).map(|object| Self::alone(Arc::new(object)))
    }

    /// A new condition with a name and a lock of its own, for programs without kinship: they [`open`](Self::open) it by
    /// that. The name goes with the last process that holds the condition.
    ///
    /// # Errors
    /// [`SegmentError`]: the name is taken, it is no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Condition;
    /// let name = format!("doc-condition-{}", std::process::id());
    /// let condition = Condition::create(&name)?;
    /// let same = Condition::open(&name)?; // in another program, as a rule
    /// let guard = condition.lock();
    /// assert_eq!(same.notify_all(&guard).unwrap(), 0);
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::create_named(name, &CONTENT, 0, make).map(Self::alone)
    }

    /// The condition that has the name.
    ///
    /// # Errors
    /// [`SegmentError`]: there is none, or its last holder has gone; it is no condition, or one of another layout.
    ///
    /// # Examples
    /// As of [`Condition::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_named(name, &CONTENT, LEN).map(Self::alone)
    }

    /// The condition that has the name; made if there is none.
    ///
    /// # Errors
    /// As [`Condition::open`] and [`Condition::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Condition;
    /// let name = format!("doc-condition-either-{}", std::process::id());
    /// let (first, second) = (Condition::open_or_create(&name)?, Condition::open_or_create(&name)?);
    /// assert_eq!(second.notify(&first.lock()).unwrap(), 0);
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_or_create_named(name, &CONTENT, LEN, 0, make).map(Self::alone)
    }

    /// The condition with its own lock.
    fn alone(object: Arc<Object>) -> Self {
        let raw = bytes(&object);
        let lock = RLock::within(Arc::clone(&object), &raw.own);
        Self { object: ManuallyDrop::new(object), lock, raw }
    }
}

impl<L: Lockable> Condition<L> {
    /// A new condition that is used with `lock`; others may share it.
    ///
    /// # Errors
    /// As [`Condition::new`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::{Condition, Lock};
    /// let lock = Lock::new()?;
    /// let (not_empty, not_full) = (Condition::with_lock(&lock)?, Condition::with_lock(&lock)?);
    /// let guard = lock.lock();
    /// assert_eq!((not_empty.notify(&guard)?, not_full.notify(&guard)?), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_lock(lock: &L) -> Result<Self, ShmError> {
        let object = Arc::new(make(Family::get()?)?);
        let raw = bytes(&object);
        raw.label.store(lock.label(), Relaxed);
        Ok(Self { object: ManuallyDrop::new(object), lock: lock.clone(), raw })
    }

    /// Takes the condition's lock; sleeps until it is free.
    ///
    /// # Panics
    /// As the lock's own [`lock`](RLock::lock).
    ///
    /// # Examples
    /// ```
    /// let condition = polyproc_sync::Condition::new()?;
    /// assert!(!condition.lock().recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[track_caller]
    pub fn lock(&self) -> L::Guard<'_> {
        self.lock.take()
    }

    /// Gives the lock up, sleeps until somebody notifies this thread or a holder of the lock has died, and takes the lock
    /// again, as [`Condition::lock`] does. The guard says afterwards whether one died, before or meanwhile, or left the lock
    /// unrepaired ([`RLock::lock_checked`]). Others may have had the lock first: look again whether what this waits for is there.
    ///
    /// # Errors
    /// [`ConditionError`]; the lock is still held then.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Condition;
    /// let condition = Condition::new()?;
    /// let mut guard = condition.lock();
    /// let notifier = std::thread::spawn({
    ///     let condition = condition.clone();
    ///     move || condition.notify(&condition.lock()).unwrap()
    /// });
    /// condition.wait(&mut guard)?;
    /// assert_eq!(notifier.join().unwrap(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&self, guard: &mut L::Guard<'_>) -> Result<(), ConditionError> {
        self.wait_deadline(guard, Deadline::NEVER).map(drop)
    }

    /// As [`Condition::wait`], for `timeout` at most, [`Duration::MAX`] is for ever; `false` if nothing happened until then.
    /// To have the lock again may take longer.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let condition = polyproc_sync::Condition::new()?;
    /// assert!(!condition.wait_timeout(&mut condition.lock(), Duration::from_millis(5))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_timeout(&self, guard: &mut L::Guard<'_>, timeout: Duration) -> Result<bool, ConditionError> {
        self.wait_deadline(guard, Deadline::after(timeout))
    }

    /// As [`Condition::wait_timeout`], until `deadline` at most.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::{Condition, Deadline};
    /// let condition = Condition::new()?;
    /// assert!(!condition.wait_deadline(&mut condition.lock(), Deadline::PAST)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_deadline(&self, guard: &mut L::Guard<'_>, deadline: Deadline) -> Result<bool, ConditionError> {
        self.check(guard)?;
        let me = self.object.family().participant()?.to_word();
        let died = *L::recovered(guard);
        // SAFETY: the guard is one of this thread, of the condition's lock; the label of the bytes says that all handles
        // have the same.
        let waited = unsafe { self.cells().wait(guard, me, self.dead(), deadline) };
        *L::recovered(guard) |= died;
        let waited = waited.ok_or(ConditionError::NoRoom { limit: ROOM })?;
        Ok(waited != Waited::TimedOut)
    }

    /// Waits while `still` says `true`; asks it under the lock, at first and after each wake-up. If a holder of the lock died
    /// while it waited, the guard says so afterwards.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    ///
    /// # Examples
    /// ```
    /// let condition = polyproc_sync::Condition::new()?;
    /// condition.wait_while(&mut condition.lock(), || false)?; // does not wait
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_while(&self, guard: &mut L::Guard<'_>, still: impl FnMut() -> bool) -> Result<(), ConditionError> {
        self.wait_while_deadline(guard, Deadline::NEVER, still).map(drop)
    }

    /// As [`Condition::wait_while`], for `timeout` at most in all; `false` if `still` says `true` even then.
    ///
    /// # Errors
    /// As [`Condition::wait`].
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let condition = polyproc_sync::Condition::new()?;
    /// assert!(!condition.wait_while_timeout(&mut condition.lock(), Duration::from_millis(5), || true)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_while_timeout(
        &self,
        guard: &mut L::Guard<'_>,
        timeout: Duration,
        still: impl FnMut() -> bool,
    ) -> Result<bool, ConditionError> {
        self.wait_while_deadline(guard, Deadline::after(timeout), still)
    }

    fn wait_while_deadline(
        &self,
        guard: &mut L::Guard<'_>,
        deadline: Deadline,
        mut still: impl FnMut() -> bool,
    ) -> Result<bool, ConditionError> {
        self.check(guard)?;
        let mut has_time = true;
        let mut waits = still();
        while waits && has_time {
            has_time = self.wait_deadline(guard, deadline)?;
            waits = still();
        }
        Ok(!waits)
    }

    /// Notifies the one that has waited longest; says how many it were, 0 if nobody waits. Never blocks.
    ///
    /// # Errors
    /// [`ConditionError::OtherLock`], [`ConditionError::Inherited`]
    ///
    /// # Examples
    /// See [`Condition::wait`].
    pub fn notify(&self, guard: &L::Guard<'_>) -> Result<u32, ConditionError> {
        self.notify_n(guard, 1)
    }

    /// Notifies those `n` that have waited longest, or all if they are fewer; says how many it were. Never blocks.
    ///
    /// # Errors
    /// As [`Condition::notify`].
    ///
    /// # Examples
    /// ```
    /// let condition = polyproc_sync::Condition::new()?;
    /// assert_eq!(condition.notify_n(&condition.lock(), 3)?, 0); // nobody waits
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn notify_n(&self, guard: &L::Guard<'_>, n: u32) -> Result<u32, ConditionError> {
        self.check(guard)?;
        let told = self.cells().notify(n, self.dead(), wakes::owe);
        if told > 0 {
            L::owe_wakes(guard);
        }
        Ok(told)
    }

    /// Notifies all that wait; says how many it were. Never blocks.
    ///
    /// # Errors
    /// As [`Condition::notify`].
    ///
    /// # Examples
    /// ```
    /// let condition = polyproc_sync::Condition::new()?;
    /// assert_eq!(condition.notify_all(&condition.lock())?, 0); // nobody waits
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn notify_all(&self, guard: &L::Guard<'_>) -> Result<u32, ConditionError> {
        self.notify_n(guard, u32::MAX)
    }

    /// Whether the calling thread holds the condition's lock by `guard`.
    fn check(&self, guard: &L::Guard<'_>) -> Result<(), ConditionError> {
        match L::held_by(guard) {
            None => Err(ConditionError::Inherited),
            Some(identity) if identity == self.lock.identity() => Ok(()),
            Some(_) => Err(ConditionError::OtherLock),
        }
    }

    fn cells(&self) -> &RawCondition {
        &self.raw.raw
    }

    fn dead(&self) -> impl Fn(u32) -> bool {
        let family = self.object.family();
        |owner| !family.is_alive(Participant::from_word(owner))
    }
}

/// Fresh memory of this kind is zero, or was a condition for which nobody waits any more but the dead.
fn make(family: &'static Family) -> Result<Object, ShmError> {
    let object = Object::create(family, LEN, Kind::Condition)?;
    let raw = bytes(&object);
    raw.label.store(0, Relaxed);
    let cells: &RawCondition = &raw.raw;
    cells.reset();
    Ok(object)
}

fn bytes(object: &Object) -> &'static Bytes {
    // SAFETY: the object is a condition's (its kind says so), of so many aligned bytes that stay mapped and of that kind;
    // all fields are atomics.
    unsafe { &*object.as_ptr().cast_const().cast::<Bytes>() }
}

impl<L: Lockable> Clone for Condition<L> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), lock: self.lock.clone(), raw: self.raw }
    }
}

impl<L: Lockable> core::fmt::Debug for Condition<L> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let owner = self.lock.raw_lock().owner();
        f.debug_struct("Condition")
            .field("owner", &owner)
            .field("waiting", &self.cells().waiting())
            .finish_non_exhaustive()
    }
}

impl<L: Lockable> Drop for Condition<L> {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: its first bytes are a lock.
        unsafe { kept::release(object) };
    }
}
