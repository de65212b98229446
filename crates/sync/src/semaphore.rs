//! The handle of a semaphore; the bytes are [`RawSemaphore`], its owned permits are [`Permit`]s.

use crate::permit::Permit;
use crate::raw::RawSemaphore;
use crate::raw::gate::{Armed, Side};
use crate::raw::semaphore::{HEADER, MOST_CELLS, NotOwned};
use crate::wait_any::Waitable;
use core::time::Duration;
use polyproc_shm::{Content, Family, Kind, Name, Object, Participant, SegmentError, ShmError, message};
use polyproc_sys::Deadline;
use polyproc_sys::futex::Watch;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Permits that the threads and processes of a family share, like `multiprocessing.Semaphore`.
///
/// There are two ways to take a permit, and one semaphore may be used in both:
///
/// * **counted**, as in Python: [`acquire`](Self::acquire) takes one, [`release`](Self::release) adds one, by whomever;
/// * **owned**: [`acquire_owned`](Self::acquire_owned) returns a [`Permit`], which is given back when it is dropped, or when
///   the thread that has it dies.
///
/// Clones are the same semaphore, and so are the copies that arrive in other processes. 64 bytes of shared memory with up to
/// 4 permits, 8 bytes more for each further one, 32 KiB at most; no file descriptor.
///
/// # Fairness
/// None: a thread that comes by may take a permit before a sleeper wakes. A waiter spins a little (not where there is one
/// CPU), then sleeps in the kernel. No system call where nobody waits. Any number of waiters.
///
/// # When a process dies
/// A counted permit that it had is lost, as with `sem_t`: use owned ones where that matters. An owned permit is there for
/// others as soon as the thread is dead. If they sleep, the kernel wakes one of them, unless the dead thread had, since,
/// taken or given up a lock, or taken or given back another permit: then they look for themselves after 100 ms. Wherever
/// in an operation a thread is killed, nobody hangs, and no permit is lost but one that it was just taking to be counted.
/// A stopped owner keeps its permit. A forked child that inherits a [`Permit`] does not have it: dropping it does nothing.
///
/// # Limits
/// As many permits can be owned at the same time as the semaphore was made with, 4 at least and 4076 at most
/// ([`AcquireError::NoRoom`]). One thread uses 63 objects that have names at most, and gets [`AcquireError::Shm`] if it
/// is to own a permit of the next one; those whose last handle here is dropped do not count, and counted permits are
/// without limit. To look for a permit that was owned takes time in proportion to that. No operation may be used in an
/// asynchronous signal handler.
///
/// # Examples
/// ```
/// use polyproc_sync::Semaphore;
/// let seats = Semaphore::new(2)?;
/// let mine = seats.acquire_owned()?;
/// seats.acquire();
/// assert!(!seats.try_acquire());
/// seats.release()?;
/// drop(mine);
/// assert_eq!(seats.available(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    object: Arc<Object>,
    raw: &'static RawSemaphore,
}

/// Why a permit was not got.
///
/// ```
/// use polyproc_sync::{AcquireError, Semaphore};
/// let semaphore = Semaphore::new(0)?;
/// let late = semaphore.acquire_timeout(std::time::Duration::ZERO);
/// assert!(matches!(late, Err(AcquireError::TimedOut)));
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The time is up and there is no permit.
    #[error("there is no permit and the time is up")]
    TimedOut,
    /// There is a permit, but as many as can be owned at the same time have owners.
    #[error(
        "{limit} permits have owners, as many as this semaphore can remember: make it with more permits, or take them \
         with acquire and give them back with release"
    )]
    NoRoom {
        /// How many permits can be owned at the same time.
        limit: usize,
    },
    /// This thread cannot own anything in the family.
    #[error(transparent)]
    Shm(#[from] ShmError),
}

/// What [`Semaphore::release`] returns if there would be too many permits; none was added.
///
/// ```
/// let semaphore = polyproc_sync::Semaphore::bounded(1)?;
/// assert_eq!(semaphore.release().unwrap_err().limit, 1);
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there would be more than {limit} permits: release only what was acquired")]
pub struct TooManyPermits {
    /// As many permits there may be.
    pub limit: u32,
}

impl Semaphore {
    /// A new semaphore with `permits` permits. [`release`](Self::release) may add more, up to [`u32::MAX`].
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory left, or this process belongs to a family that it has not joined.
    ///
    /// # Examples
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::new(0)?;
    /// semaphore.release()?;
    /// assert!(semaphore.try_acquire());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(permits: u32) -> Result<Self, ShmError> {
        make(Family::get()?, permits, u32::MAX).map(|object| Self::of(Arc::new(object)))
    }

    /// A new semaphore that never has more than `permits` permits, those that have owners counted, like
    /// `multiprocessing.BoundedSemaphore`: a release too many is an error.
    ///
    /// # Errors
    /// As [`Semaphore::new`].
    ///
    /// # Examples
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::bounded(1)?;
    /// semaphore.acquire();
    /// assert!(semaphore.release().is_ok());
    /// assert!(semaphore.release().is_err());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn bounded(permits: u32) -> Result<Self, ShmError> {
        make(Family::get()?, permits, permits).map(|object| Self::of(Arc::new(object)))
    }

    /// A new semaphore with a name, for programs without kinship: they [`open`](Self::open) it by that. The name goes with
    /// the last process that holds the semaphore.
    ///
    /// # Errors
    /// [`SegmentError`]: the name is taken, it is no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Semaphore;
    /// let name = format!("doc-semaphore-{}", std::process::id());
    /// let semaphore = Semaphore::create(&name, 1)?;
    /// let same = Semaphore::open(&name)?; // in another program, as a rule
    /// let _permit = semaphore.acquire_owned().unwrap();
    /// assert!(!same.try_acquire());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn create(name: impl Into<Name>, permits: u32) -> Result<Self, SegmentError> {
        Object::create_named(name, &CONTENT, 0, |family| make(family, permits, u32::MAX)).map(Self::of)
    }

    /// A new semaphore with a name that never has more than `permits` permits: [`Semaphore::create`],
    /// [`Semaphore::bounded`].
    ///
    /// # Errors
    /// As [`Semaphore::create`].
    ///
    /// # Examples
    /// ```
    /// let name = format!("doc-bounded-{}", std::process::id());
    /// assert!(polyproc_sync::Semaphore::create_bounded(&name, 1)?.release().is_err());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn create_bounded(name: impl Into<Name>, permits: u32) -> Result<Self, SegmentError> {
        Object::create_named(name, &CONTENT, 0, |family| make(family, permits, permits)).map(Self::of)
    }

    /// The semaphore that has the name.
    ///
    /// # Errors
    /// [`SegmentError`]: there is none, or its last holder has gone; it is no semaphore, or one of another layout.
    ///
    /// # Examples
    /// As of [`Semaphore::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_named(name, &CONTENT, HEADER as u64).map(Self::of)
    }

    /// The semaphore that has the name; made with `permits` permits if there is none.
    ///
    /// # Errors
    /// As [`Semaphore::open`] and [`Semaphore::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Semaphore;
    /// let name = format!("doc-semaphore-either-{}", std::process::id());
    /// let (first, second) = (Semaphore::open_or_create(&name, 1)?, Semaphore::open_or_create(&name, 7)?);
    /// assert_eq!((first.available(), second.available()), (1, 1));
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>, permits: u32) -> Result<Self, SegmentError> {
        let make = |family| make(family, permits, u32::MAX);
        Object::open_or_create_named(name, &CONTENT, HEADER as u64, 0, make).map(Self::of)
    }

    /// The semaphore that has the name; made with `permits` permits, and never more, if there is none:
    /// [`Semaphore::bounded`]. One that is there keeps its own bound, if it has any.
    ///
    /// # Errors
    /// As [`Semaphore::open`] and [`Semaphore::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Semaphore;
    /// let name = format!("doc-bounded-either-{}", std::process::id());
    /// let first = Semaphore::open_or_create_bounded(&name, 1)?;
    /// let second = Semaphore::open_or_create_bounded(&name, 7)?;
    /// assert_eq!((second.available(), second.release().unwrap_err().limit), (1, 1));
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn open_or_create_bounded(name: impl Into<Name>, permits: u32) -> Result<Self, SegmentError> {
        let make = |family| make(family, permits, permits);
        Object::open_or_create_named(name, &CONTENT, HEADER as u64, 0, make).map(Self::of)
    }

    fn of(object: Arc<Object>) -> Self {
        let raw = raw(&object);
        Self { object, raw }
    }

    /// Takes a counted permit; sleeps until there is one.
    ///
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// semaphore.acquire();
    /// assert_eq!(semaphore.available(), 0);
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn acquire(&self) {
        self.raw.acquire(self.dead(), Deadline::NEVER);
    }

    /// Takes a counted permit if there is one, without blocking.
    ///
    /// A look is not one moment: it may fail while others give permits back and take others at the same time, although there
    /// was always one.
    ///
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// assert!(semaphore.try_acquire());
    /// assert!(!semaphore.try_acquire());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    #[must_use = "says whether there was a permit"]
    pub fn try_acquire(&self) -> bool {
        self.raw.acquire(self.dead(), Deadline::PAST)
    }

    /// Takes a counted permit; sleeps for `timeout` at most, [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`]
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// assert!(semaphore.acquire_timeout(Duration::from_secs(1)).is_ok());
    /// assert!(semaphore.acquire_timeout(Duration::from_millis(5)).is_err());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<(), AcquireError> {
        self.acquire_deadline(Deadline::after(timeout))
    }

    /// Takes a counted permit; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`]
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Deadline;
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// assert!(semaphore.acquire_deadline(Deadline::NEVER).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn acquire_deadline(&self, deadline: Deadline) -> Result<(), AcquireError> {
        if self.raw.acquire(self.dead(), deadline) { Ok(()) } else { Err(AcquireError::TimedOut) }
    }

    /// Adds a permit and wakes a sleeper if there is one. Never blocks; whoever calls it need not have acquired anything.
    ///
    /// # Errors
    /// [`TooManyPermits`]: there would be more permits than [`Semaphore::bounded`] allows, or than [`u32::MAX`].
    ///
    /// # Examples
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::new(0)?;
    /// let waiter = std::thread::spawn({
    ///     let semaphore = semaphore.clone();
    ///     move || semaphore.acquire()
    /// });
    /// semaphore.release()?;
    /// waiter.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), TooManyPermits> {
        self.release_n(1)
    }

    /// Adds `n` permits at once, all or none, and wakes sleepers; otherwise as [`Semaphore::release`].
    ///
    /// # Errors
    /// [`TooManyPermits`]
    ///
    /// # Examples
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::new(0)?;
    /// semaphore.release_n(3)?;
    /// assert_eq!(semaphore.available(), 3);
    /// assert!(semaphore.release_n(u32::MAX).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn release_n(&self, n: u32) -> Result<(), TooManyPermits> {
        self.raw.release(n).map_err(|limit| TooManyPermits { limit })
    }

    /// Takes a permit that this thread owns until the guard is dropped, or the thread ends; sleeps until there is one.
    ///
    /// # Errors
    /// [`AcquireError::NoRoom`], and [`AcquireError::Shm`] if 4096 threads of the family own something already.
    ///
    /// # Examples
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// let died = std::thread::spawn({
    ///     let semaphore = semaphore.clone();
    ///     move || std::mem::forget(semaphore.acquire_owned())
    /// });
    /// died.join().unwrap();
    /// let permit = semaphore.acquire_owned()?; // that of the thread that has ended
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn acquire_owned(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_owned_deadline(Deadline::NEVER)
    }

    /// Takes an owned permit if there is one, without blocking; as with [`Semaphore::try_acquire`], a look is not one moment.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`] if there is none, and as [`Semaphore::acquire_owned`].
    ///
    /// # Examples
    /// ```
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// let permit = semaphore.try_acquire_owned()?;
    /// assert!(semaphore.try_acquire_owned().is_err());
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_owned_deadline(Deadline::PAST)
    }

    /// Takes an owned permit; sleeps for `timeout` at most, [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`], and as [`Semaphore::acquire_owned`].
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// let permit = semaphore.acquire_owned_timeout(Duration::from_secs(1))?;
    /// assert!(semaphore.acquire_owned_timeout(Duration::from_millis(5)).is_err());
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire_owned_timeout(&self, timeout: Duration) -> Result<Permit<'_>, AcquireError> {
        self.acquire_owned_deadline(Deadline::after(timeout))
    }

    /// Takes an owned permit; sleeps until `deadline` at most.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_owned_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Deadline;
    /// let semaphore = polyproc_sync::Semaphore::new(1)?;
    /// assert!(semaphore.acquire_owned_deadline(Deadline::NEVER).is_ok());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn acquire_owned_deadline(&self, deadline: Deadline) -> Result<Permit<'_>, AcquireError> {
        let me = self.object.family().participant()?;
        let announced = self.raw.announce();
        match self.raw.own(me.to_word(), self.dead(), deadline) {
            Ok(owned) => Ok(Permit::of(self.raw, owned, announced)),
            Err(NotOwned::NoPermit) => Err(AcquireError::TimedOut),
            Err(NotOwned::NoCell) => Err(AcquireError::NoRoom { limit: self.raw.cells() }),
        }
    }

    /// How many permits are to be had, those of the dead counted; may be wrong by the time you look. `get_value` in Python.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::Semaphore::new(3)?.available(), 3);
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use]
    pub fn available(&self) -> u64 {
        self.raw.available(self.dead())
    }

    #[inline]
    fn dead(&self) -> impl Fn(u32) -> bool {
        let family = self.object.family();
        |owner| !family.is_alive(Participant::from_word(owner))
    }
}

/// Ready while there is a permit to be had.
impl Waitable for Semaphore {
    fn is_ready(&self) -> bool {
        self.available() > 0
    }

    fn arm(&self, _before: Option<u64>, woken: bool) -> Armed {
        let gate = &self.raw.gate;
        let settle = || {
            if self.is_ready() {
                gate.ring(Side::Takers);
            }
        };
        gate.arm(Side::Takers, woken, || self.is_ready(), settle)
    }

    fn watch(&self, word: u64) -> Watch<'_> {
        self.raw.gate.watch(word)
    }
}

impl core::fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}

/// What a semaphore's segment says of it; raised with every change of its bytes.
const CONTENT: Content<'_> = Content { kind: Kind::Semaphore, type_name: "bytes of layout 1", type_hash: 1 };

fn make(family: &'static Family, permits: u32, bound: u32) -> Result<Object, ShmError> {
    let cells = usize::try_from(permits).unwrap_or(MOST_CELLS).clamp(4, MOST_CELLS);
    let object = Object::create(family, (HEADER + cells * 8) as u64, Kind::Semaphore)?;
    raw(&object).reset(permits, bound); // its gate may keep the marks of an earlier semaphore: they cost one ring
    Ok(object)
}

fn raw(object: &Object) -> &'static RawSemaphore {
    let len = usize::try_from(object.capacity()).unwrap_or(0);
    let raw = RawSemaphore::at(object.as_ptr().cast_const(), len);
    // SAFETY: the object has so many bytes, all of them a semaphore's (its kind says so) in memory that stays mapped and
    // of that kind; they are aligned to 16, and every field is an atomic.
    unsafe { &*raw }
}

impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::Semaphore, HEADER as u64, deserializer).map(Self::of)
    }
}
