//! The handle of a lock with readers and writers; its guards: [`rwlock_guard`](crate::rwlock_guard), its bytes: [`RawRwLock`].

use crate::checked::{CheckedError, OwnerDied};
use crate::deadlock::{self, Watcher};
use crate::kept;
use crate::lock::LockError;
use crate::raw::RawRwLock;
use crate::raw::rwlock::Who;
use crate::rwlock_guard::{ReadGuard, WriteGuard};
use core::mem::ManuallyDrop;
use core::time::Duration;
use polyproc_shm::{Content, Family, Kind, Name, Object, Participant, SegmentError, ShmError, message};
use polyproc_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A lock between the threads and processes of a family that many readers have at the same time, or one writer.
///
/// Clones are the same lock, and so are the copies that arrive in other processes. 1024 bytes of shared memory, no file
/// descriptor. To read costs one read-modify-write on a cache line of the reader's own: readers do not slow each other
/// down, up to 15 threads. To write costs a look at all 16 lines. Python has no such lock.
///
/// It protects what processes share: files, sequences of operations, memory of their own making.
///
/// # Fairness
/// A writer who waits keeps new readers out, so readers do not starve him. Who waits for a writer waits like those who want a
/// [`Lock`](crate::Lock): without order, and writers that come all the time may be luckier than a reader. A thread that
/// reads already gets another read lock at once, whatever writers want. A waiter spins a little (not where there is one
/// CPU), then sleeps in the kernel. No system call where nobody waits.
///
/// # When a process dies
/// Nobody ever waits for the dead: a killed reader's lock is free, and the writer who waits for it is woken by the kernel;
/// so is the next one after a killed writer. A writer's death is told to all who come, readers too, until a writer has
/// come: [`ReadGuard::recovered`], [`WriteGuard::recovered`]; [`RwLock::write`] takes what was protected as it is, and
/// [`RwLock::write_checked`] is for those who must repair it. That a reader died, or one who waited, is told to nobody.
/// A waiting writer looks for himself after 100 ms if the killed reader had taken or given up a lock, a permit or another
/// read lock since, or if a reader was killed between the writer's look and his sleep. A stopped reader or writer keeps
/// the lock. A forked child that inherits a guard does not have the lock: dropping that guard does nothing. A thread that
/// ends with a guard that it has forgotten gives the lock up, a writer as if he had been killed.
///
/// # Deadlocks
/// As of [`Lock`](crate::Lock#deadlocks): a writer waits for each of the readers.
///
/// # Limits
/// 120 readers at the same time; further ones read one at a time, as do threads for whom the family has no room (it has
/// for 4096), or that use 63 other objects with names if this one has a name (those whose last handle here is dropped
/// do not count): nobody is told. One thread holds 128 locks at most, those that it has to write counted, and panics at
/// the next one. A read lock does not become a write lock: [`LockError::Mine`]. A thread that reads by one handle of a
/// lock with a name and asks again by another that was opened by itself gets [`LockError::Mine`] if a writer waits. No
/// operation may be used in an asynchronous signal handler.
///
/// # Examples
/// ```
/// use polyproc_sync::RwLock;
/// let lock = RwLock::new()?;
/// let reader = lock.read();
/// let other = lock.clone();
/// std::thread::spawn(move || {
///     drop(other.read()); // at the same time
///     assert!(other.try_write().is_none());
/// })
/// .join()
/// .unwrap();
/// drop(reader);
/// assert!(lock.try_write().is_some());
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Clone)]
pub struct RwLock {
    /// Released by [`kept::release`].
    object: ManuallyDrop<Arc<Object>>,
    /// The object's bytes: mapped for as long as the process lives, and those of such a lock for ever.
    pub(crate) raw: &'static RawRwLock,
}

impl RwLock {
    /// A new lock that nobody has.
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory left, or this process belongs to a family that it has not joined.
    ///
    /// # Examples
    /// ```
    /// assert!(polyproc_sync::RwLock::new()?.try_write().is_some());
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
    /// use polyproc_sync::RwLock;
    /// let name = format!("doc-rwlock-{}", std::process::id());
    /// let lock = RwLock::create(&name)?;
    /// let same = RwLock::open(&name)?; // in another program, as a rule
    /// let _reads = lock.read();
    /// assert!(same.try_write().is_none() && same.try_read().is_some());
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
    /// As of [`RwLock::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_named(name, &CONTENT, LEN).map(Self::of)
    }

    /// The lock that has the name; made if there is none.
    ///
    /// # Errors
    /// As [`RwLock::open`] and [`RwLock::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::RwLock;
    /// let name = format!("doc-rwlock-either-{}", std::process::id());
    /// let (first, second) = (RwLock::open_or_create(&name)?, RwLock::open_or_create(&name)?);
    /// let _writes = first.write();
    /// assert!(second.try_read().is_none());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_or_create_named(name, &CONTENT, LEN, 0, make).map(Self::of)
    }

    /// Takes a read lock; sleeps while a writer has or wants the lock, unless this thread reads already.
    ///
    /// # Panics
    /// If this thread writes (it would wait for ever).
    ///
    /// # Examples
    /// ```
    /// let lock = polyproc_sync::RwLock::new()?;
    /// let (one, two) = (lock.read(), lock.read());
    /// assert!(!one.recovered() && !two.recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_> {
        match self.acquire_to_read(Deadline::NEVER, false) {
            Ok(guard) => guard,
            Err(e) => panic!("{e}"),
        }
    }

    /// Takes a read lock if no writer has or wants the lock, without blocking.
    ///
    /// A look is not one moment: it may fail while another thread tries to write and does not get the lock either.
    ///
    /// ```
    /// let lock = polyproc_sync::RwLock::new()?;
    /// assert!(lock.try_read().is_some());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn try_read(&self) -> Option<ReadGuard<'_>> {
        self.read_deadline(Deadline::PAST).ok()
    }

    /// Takes a read lock; sleeps for `timeout` at most, [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; [`LockError::Mine`] at once if this thread writes; [`LockError::Deadlock`] after 100 ms, if this
    /// thread and others wait for each other.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let lock = polyproc_sync::RwLock::new()?;
    /// assert!(lock.read_timeout(Duration::from_secs(1)).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_>, LockError> {
        self.read_deadline(Deadline::after(timeout))
    }

    /// Takes a read lock; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Deadline;
    /// assert!(polyproc_sync::RwLock::new()?.read_deadline(Deadline::NEVER).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn read_deadline(&self, deadline: Deadline) -> Result<ReadGuard<'_>, LockError> {
        self.acquire_to_read(deadline, true)
    }

    #[inline]
    fn acquire_to_read(&self, deadline: Deadline, tells_deadlocks: bool) -> Result<ReadGuard<'_>, LockError> {
        let me = self.object.family().participant().ok().map(Participant::to_word);
        let watch = || Watcher::new(&self.object, tells_deadlocks);
        // SAFETY: a lock that stays mapped and never becomes anything else.
        let reading = unsafe { RawRwLock::read_watched(self.raw, me, self.who(), deadline, watch) };
        reading.map(|reading| ReadGuard::new(self, reading)).map_err(deadlock::error)
    }

    /// As [`RwLock::read`], for those who cannot use what a dead writer may have left half changed.
    ///
    /// # Errors
    /// [`CheckedError::OwnerDied`]: the lock is read-locked, and a writer died and nobody has repaired since.
    /// [`CheckedError::NotLocked`]: this thread writes; or it and others wait for each other ([`LockError::Deadlock`], after 100 ms).
    ///
    /// # Panics
    /// If this thread holds 128 other locks already.
    ///
    /// # Examples
    /// ```
    /// assert!(polyproc_sync::RwLock::new()?.read_checked().is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[track_caller]
    pub fn read_checked(&self) -> Result<ReadGuard<'_>, CheckedError<ReadGuard<'_>>> {
        let guard = self.read_deadline(Deadline::NEVER)?;
        if guard.recovered() { Err(CheckedError::OwnerDied(OwnerDied(guard))) } else { Ok(guard) }
    }

    /// Takes the lock to write; sleeps until nobody else reads or writes.
    ///
    /// # Panics
    /// If this thread reads or writes already (it would wait for ever), or holds 128 locks.
    ///
    /// # Examples
    /// ```
    /// let lock = polyproc_sync::RwLock::new()?;
    /// let guard = lock.write();
    /// assert!(!guard.recovered());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_> {
        match self.acquire_to_write(Deadline::NEVER, false) {
            Ok(guard) => guard,
            Err(e) => panic!("{e}"),
        }
    }

    /// Takes the lock to write if nobody has it, without blocking.
    ///
    /// A look is not one moment: it may fail while another thread tries to read or write and does not get the lock either.
    ///
    /// ```
    /// let lock = polyproc_sync::RwLock::new()?;
    /// assert!(lock.try_write().is_some());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn try_write(&self) -> Option<WriteGuard<'_>> {
        self.write_deadline(Deadline::PAST).ok()
    }

    /// Takes the lock to write; sleeps for `timeout` at most, [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; [`LockError::Mine`] at once if this thread reads or writes; [`LockError::Deadlock`] after 100
    /// ms, if this thread and others wait for each other.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::{LockError, RwLock};
    /// use std::time::Duration;
    /// let lock = RwLock::new()?;
    /// let _reads = lock.read();
    /// assert_eq!(lock.write_timeout(Duration::MAX).unwrap_err(), LockError::Mine);
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_>, LockError> {
        self.write_deadline(Deadline::after(timeout))
    }

    /// Takes the lock to write; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// As [`RwLock::write_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Deadline;
    /// assert!(polyproc_sync::RwLock::new()?.write_deadline(Deadline::NEVER).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn write_deadline(&self, deadline: Deadline) -> Result<WriteGuard<'_>, LockError> {
        self.acquire_to_write(deadline, true)
    }

    fn acquire_to_write(&self, deadline: Deadline, tells_deadlocks: bool) -> Result<WriteGuard<'_>, LockError> {
        let watch = |awaited| Watcher::of_writer(&self.object, awaited, tells_deadlocks);
        // SAFETY: a lock that stays mapped and never becomes anything else.
        let how = unsafe { RawRwLock::write_watched(self.raw, self.who(), deadline, watch) };
        how.map(|how| WriteGuard::new(self, how.recovered)).map_err(deadlock::error)
    }

    /// As [`RwLock::write`], for those who must repair what a dead writer left: tells them by `Err`, and tells whoever comes
    /// next again until somebody calls [`OwnerDied::make_consistent`] or takes it as it is by [`RwLock::write`].
    ///
    /// # Errors
    /// [`CheckedError::OwnerDied`]: the lock is held, and a writer died and nobody has repaired since.
    /// [`CheckedError::NotLocked`]: this thread reads or writes already; or it and others wait for each other
    /// ([`LockError::Deadlock`], after 100 ms).
    ///
    /// # Panics
    /// If this thread holds 128 other locks already.
    ///
    /// # Examples
    /// ```
    /// assert!(polyproc_sync::RwLock::new()?.write_checked().is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[track_caller]
    pub fn write_checked(&self) -> Result<WriteGuard<'_>, CheckedError<WriteGuard<'_>>> {
        let guard = self.write_deadline(Deadline::NEVER)?;
        if guard.recovered() { Err(CheckedError::OwnerDied(OwnerDied::unrepaired(guard))) } else { Ok(guard) }
    }

    #[inline]
    fn who(&self) -> impl Fn(u32) -> Who {
        let family = self.object.family();
        |owner| {
            let owner = Participant::from_word(owner);
            if !family.is_alive(owner) {
                Who::Dead
            } else if family.is_this_thread(owner) {
                Who::Me
            } else {
                Who::Other
            }
        }
    }

    fn of(object: Arc<Object>) -> Self {
        let raw = raw(&object);
        Self { object: ManuallyDrop::new(object), raw }
    }
}

const LEN: u64 = size_of::<RawRwLock>() as u64;
/// What a lock's segment says of it; raised with every change of its bytes.
const CONTENT: Content<'_> = Content { kind: Kind::RwLock, type_name: "bytes of layout 1", type_hash: 1 };

fn make(family: &'static Family) -> Result<Object, ShmError> {
    let object = Object::create(family, LEN, Kind::RwLock)?;
    raw(&object).reset(); // a reader who forgot his guard, and a writer who died, may have left something
    Ok(object)
}

fn raw(object: &Object) -> &'static RawRwLock {
    // SAFETY: the object is such a lock (its kind says so), of so many bytes (its maker or whoever opened it checked) that are
    // aligned to 64, stay mapped and of that kind; all fields are atomics.
    unsafe { &*object.as_ptr().cast::<RawRwLock>() }
}

impl core::fmt::Debug for RwLock {
    /// The writer's thread id, and how many threads read; nothing is taken for that.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut f = f.debug_struct("RwLock");
        f.field("writer", &self.raw.writer()).field("readers", &self.raw.readers(self.who()));
        deadlock::show(&self.object, &mut f);
        f.finish_non_exhaustive()
    }
}

impl Drop for RwLock {
    fn drop(&mut self) {
        // SAFETY: taken once; nothing uses it behind this.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: its first bytes are a lock.
        unsafe { kept::release(object) };
    }
}

impl Serialize for RwLock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for RwLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::RwLock, LEN, deserializer).map(Self::of)
    }
}
