//! The handle of a barrier; the bytes are [`RawBarrier`].

use crate::raw::RawBarrier;
use crate::raw::barrier::{HEADER, MOST_PARTIES, NotPassed};
use core::time::Duration;
use polyproc_shm::{
    Content, Family, Kind, KindHooks, Name, Object, Participant, SegmentError, ShmError, message, register_kind,
};
use polyproc_sys::Deadline;
use polyproc_sys::atomic::Ordering::Relaxed;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Where a number of threads, of whatever processes of a family, wait for each other, like `multiprocessing.Barrier`.
///
/// When as many threads wait as the barrier has *parties*, all of them go on, and the next round begins. Clones are the
/// same barrier, and so are the copies that arrive in other processes. 24 bytes of shared memory and 8 for each party;
/// no file descriptor.
///
/// A barrier that is **broken** lets nobody pass: all that wait and all that come get [`BarrierError::Broken`], until
/// [`reset`](Self::reset). It is broken by [`abort`](Self::abort), by a wait whose time is up, by an action that
/// panics, and by a death.
///
/// # Fairness
/// Whoever comes is in the round. A waiter spins a little (not where there is one CPU), then sleeps in the kernel; the
/// last one wakes all by one system call, and by none if nobody sleeps. More threads than parties may use it: those
/// that come too early are in the next round. Who sleeps through seven rounds more than his own may take that for
/// broken if one of them was.
///
/// # When a process dies
/// It breaks the barrier if it holds a handle of it, wherever it is: whoever waits finds out when he looks for dead
/// processes, every 100 ms, or when its parent joins it; if it was waiting itself, the kernel wakes another, who finds
/// out at once. A process that has dropped its last handle is no party any more, and may end as it likes; one that ends
/// with a handle has died, whatever its exit status. One that was killed before it got its handle from a message is
/// none yet: join it. A thread that ends while it waits breaks the barrier, too. A forked child uses the handles of its
/// parent, and breaks the barrier only if it is killed while it waits. Wherever in a wait somebody is killed, the
/// others have a whole round, or it is broken. A stopped process (`SIGSTOP`) is alive: others wait for it.
///
/// To go on after a death, one process (the parent, say) joins the dead one, starts another in its place if all parties are
/// still wanted, and resets the barrier; those that were told wait meanwhile for a sign of that one, a condition or an event:
/// who resets it breaks the round of those who have come back already. The example `phases` shows it.
///
/// # Limits
/// 4000 parties. An action that waits at its own barrier without a time limit never ends. One thread uses 63 objects
/// that have names at most, and gets [`BarrierError::Shm`] at the next one; those whose last handle here is dropped do
/// not count. No operation may be used in an asynchronous signal handler. Who looks for dead processes waits for others
/// that send or drop handles: if one of them was stopped just then, a wait may last 10 s longer than it should.
///
/// # Examples
/// ```
/// use polyproc_sync::Barrier;
/// let barrier = Barrier::new(2)?;
/// let other = std::thread::spawn({
///     let barrier = barrier.clone();
///     move || barrier.wait().unwrap().index()
/// });
/// let mine = barrier.wait()?.index();
/// assert_eq!(mine + other.join().unwrap(), 1); // one is 0, the other 1
/// # Ok::<(), polyproc_sync::BarrierError>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    object: Arc<Object>,
    raw: &'static RawBarrier,
}

/// Why a barrier was not passed, made or opened.
///
/// ```
/// use polyproc_sync::{Barrier, BarrierError};
/// assert!(matches!(Barrier::new(0), Err(BarrierError::Parties { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// Somebody has given up, or died: nobody passes.
    #[error("the barrier is broken, since somebody gave up or died: see to that, then reset it")]
    Broken,
    /// The time is up and not all have come: the barrier is broken now for the others.
    #[error("the time is up and not all parties have come: the barrier is broken, reset it to use it again")]
    TimedOut,
    /// A barrier has one party at least, and not too many.
    #[error("a barrier has from 1 to {most} parties, and cannot have {parties}")]
    Parties {
        /// As many were asked for.
        parties: u32,
        /// As many there can be.
        most: u32,
    },
    /// The family has no memory left, or this thread cannot be told from others in it.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// There is no barrier with the name, or it cannot be made.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// How a thread has passed a barrier.
///
/// ```
/// let pass = polyproc_sync::Barrier::new(1)?.wait()?;
/// assert_eq!((pass.index(), pass.is_leader()), (0, true));
/// # Ok::<(), polyproc_sync::BarrierError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWait {
    index: usize,
}

impl BarrierWait {
    /// As which of the parties it came in this round, from 0: each number is there once.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::Barrier::new(1)?.wait()?.index(), 0);
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// Whether it is number 0: one in each round, for what one of them shall do.
    ///
    /// ```
    /// assert!(polyproc_sync::Barrier::new(1)?.wait()?.is_leader());
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    #[must_use]
    pub fn is_leader(self) -> bool {
        self.index == 0
    }
}

impl Barrier {
    /// A new barrier of `parties`.
    ///
    /// # Errors
    /// [`BarrierError::Parties`]: 0 or more than 4000; [`BarrierError::Shm`]: the family has no memory left, or this
    /// process belongs to a family that it has not joined.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_sync::Barrier::new(3)?.parties(), 3);
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn new(parties: u32) -> Result<Self, BarrierError> {
        check(parties)?;
        Ok(Self::of(Arc::new(make(Family::get()?, parties)?)))
    }

    /// A new barrier with a name, for programs without kinship: they [`open`](Self::open) it by that. The name goes
    /// with the last process that holds the barrier.
    ///
    /// # Errors
    /// [`BarrierError::Parties`], and [`BarrierError::Segment`]: the name is taken, it is no name, or there is no
    /// space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Barrier;
    /// let name = format!("doc-barrier-{}", std::process::id());
    /// let barrier = Barrier::create(&name, 2)?;
    /// let same = Barrier::open(&name)?; // in another program, as a rule
    /// let other = std::thread::spawn(move || same.wait().is_ok());
    /// assert!(barrier.wait().is_ok() && other.join().unwrap());
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn create(name: impl Into<Name>, parties: u32) -> Result<Self, BarrierError> {
        check(parties)?;
        Ok(Self::of(Object::create_named(name, &CONTENT, 0, |family| make(family, parties))?))
    }

    /// The barrier that has the name.
    ///
    /// # Errors
    /// [`BarrierError::Segment`]: there is none, or its last holder has gone; it is no barrier, or one of another
    /// layout.
    ///
    /// # Examples
    /// As of [`Barrier::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, BarrierError> {
        Ok(Self::of(Object::open_named(name, &CONTENT, HEADER as u64)?))
    }

    /// The barrier that has the name; made for `parties` if there is none.
    ///
    /// # Errors
    /// As [`Barrier::open`] and [`Barrier::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Barrier;
    /// let name = format!("doc-barrier-either-{}", std::process::id());
    /// let (first, second) = (Barrier::open_or_create(&name, 2)?, Barrier::open_or_create(&name, 9)?);
    /// assert_eq!((first.parties(), second.parties()), (2, 2));
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>, parties: u32) -> Result<Self, BarrierError> {
        check(parties)?;
        let make = |family| make(family, parties);
        Ok(Self::of(Object::open_or_create_named(name, &CONTENT, HEADER as u64, 0, make)?))
    }

    fn of(object: Arc<Object>) -> Self {
        let raw = raw(&object);
        Self { object, raw }
    }

    /// The same barrier, whose waits last `timeout` at most where they set no limit themselves, for whoever holds it:
    /// Python's `Barrier(parties, timeout=…)`. [`Duration::MAX`] is for ever, as at the start.
    ///
    /// ```
    /// use polyproc_sync::{Barrier, BarrierError};
    /// let barrier = Barrier::new(2)?.with_timeout(std::time::Duration::from_millis(5));
    /// assert!(matches!(barrier.wait(), Err(BarrierError::TimedOut)));
    /// # Ok::<(), BarrierError>(())
    /// ```
    #[must_use = "the barrier"]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.raw.patience().store(u64::try_from(timeout.as_nanos()).map_or(0, |ns| ns.max(1)), Relaxed);
        self
    }

    /// Waits until all parties have come.
    ///
    /// # Errors
    /// [`BarrierError::Broken`]; [`BarrierError::TimedOut`] only if the barrier was made
    /// [`with_timeout`](Self::with_timeout); [`BarrierError::Shm`] if 4096 threads of the family wait or own something
    /// already.
    ///
    /// # Examples
    /// ```
    /// let barrier = polyproc_sync::Barrier::new(1)?;
    /// barrier.wait()?;
    /// barrier.wait()?; // the next round
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    #[inline]
    pub fn wait(&self) -> Result<BarrierWait, BarrierError> {
        self.wait_with(|| ())
    }

    /// Waits until all parties have come, for `timeout` at most: then the barrier is broken, for everybody.
    /// [`Duration::MAX`] is for ever. Once all have come, it waits for the end of the action, however long that takes.
    ///
    /// # Errors
    /// As [`Barrier::wait`], and [`BarrierError::TimedOut`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::{Barrier, BarrierError};
    /// let barrier = Barrier::new(2)?;
    /// let alone = barrier.wait_timeout(std::time::Duration::from_millis(5));
    /// assert!(matches!(alone, Err(BarrierError::TimedOut)));
    /// assert!(matches!(barrier.wait(), Err(BarrierError::Broken)));
    /// # Ok::<(), BarrierError>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWait, BarrierError> {
        self.wait_deadline(Deadline::after(timeout))
    }

    /// Waits until all parties have come, until `deadline` at most; otherwise as [`Barrier::wait_timeout`].
    ///
    /// # Errors
    /// As [`Barrier::wait_timeout`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::{Barrier, Deadline};
    /// assert!(Barrier::new(1)?.wait_deadline(Deadline::PAST).is_ok());
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn wait_deadline(&self, deadline: Deadline) -> Result<BarrierWait, BarrierError> {
        self.wait_deadline_with(deadline, || ())
    }

    /// As [`Barrier::wait`]; if this thread is the last one to come, it runs `action` before the others are let go.
    ///
    /// Python gives the action to the barrier. Here it is a closure of the caller's, who can pass the same one at each
    /// wait: it runs once in each round. While it runs no time limit breaks the barrier; [`abort`](Self::abort) and
    /// [`reset`](Self::reset) do not wait for its end, as Python's do, but end the round at once: the action runs on, and
    /// all of that round get [`BarrierError::Broken`], its own caller, too.
    ///
    /// # Errors
    /// As [`Barrier::wait`].
    ///
    /// # Panics
    /// If `action` does; the barrier is broken then.
    ///
    /// # Examples
    /// ```
    /// let (barrier, mut rounds) = (polyproc_sync::Barrier::new(1)?, 0);
    /// barrier.wait_with(|| rounds += 1)?;
    /// assert_eq!(rounds, 1);
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierWait, BarrierError> {
        let deadline = match self.raw.patience().load(Relaxed) {
            0 => Deadline::NEVER,
            ns => Deadline::after(Duration::from_nanos(ns)),
        };
        self.wait_deadline_with(deadline, action)
    }

    /// As [`Barrier::wait_with`], until `deadline` at most.
    ///
    /// # Errors
    /// As [`Barrier::wait_timeout`].
    ///
    /// # Panics
    /// As [`Barrier::wait_with`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::{Barrier, Deadline};
    /// let mut done = false;
    /// Barrier::new(1)?.wait_deadline_with(Deadline::PAST, || done = true)?;
    /// assert!(done);
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn wait_deadline_with(&self, deadline: Deadline, action: impl FnOnce()) -> Result<BarrierWait, BarrierError> {
        /// Waiters but the first look for dead processes at each of so many ticks: one that does is enough, as a rule.
        const SELDOM: u32 = 8;
        let family = self.object.family();
        let me = family.participant()?.to_word();
        let mut ticks = 0_u32;
        let look = |place| {
            ticks += 1;
            if place == 0 || ticks.is_multiple_of(SELDOM) {
                family.reap(); // calls `holder_died`
            }
        };
        let dead = |thread| !family.is_alive(Participant::from_word(thread));
        match self.raw.wait(me, dead, look, deadline, action) {
            Ok(index) => Ok(BarrierWait { index }),
            Err(NotPassed::Broken) => Err(BarrierError::Broken),
            Err(NotPassed::TimedOut) => Err(BarrierError::TimedOut),
        }
    }

    /// Breaks the barrier: all that wait and all that come get [`BarrierError::Broken`]. Never blocks.
    ///
    /// ```
    /// let barrier = polyproc_sync::Barrier::new(2)?;
    /// barrier.abort();
    /// assert!(barrier.is_broken() && barrier.wait().is_err());
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn abort(&self) {
        self.raw.abort();
    }

    /// Makes a broken barrier usable again; those that wait at one that is not broken get [`BarrierError::Broken`].
    /// Never blocks.
    ///
    /// The dead have left the barrier: as many parties as before must come, so somebody has to take their places.
    ///
    /// ```
    /// let barrier = polyproc_sync::Barrier::new(1)?;
    /// barrier.abort();
    /// barrier.reset();
    /// assert!(barrier.wait().is_ok());
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    pub fn reset(&self) {
        self.raw.reset();
    }

    /// Whether it is broken; may be wrong by the time you look.
    ///
    /// ```
    /// assert!(!polyproc_sync::Barrier::new(1)?.is_broken());
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.raw.is_broken()
    }

    /// As many threads as must come.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::Barrier::new(5)?.parties(), 5);
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.raw.parties()
    }

    /// As many as wait; may be wrong by the time you look. `n_waiting` in Python.
    ///
    /// ```
    /// assert_eq!(polyproc_sync::Barrier::new(5)?.waiting(), 0);
    /// # Ok::<(), polyproc_sync::BarrierError>(())
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.raw.waiting()
    }
}

/// Tells how many there are, how many wait, and whether it is broken.
impl core::fmt::Debug for Barrier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("is_broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

/// What a barrier's segment says of it; raised with every change of its bytes.
const CONTENT: Content<'_> = Content { kind: Kind::Barrier, type_name: "bytes of layout 1", type_hash: 1 };

fn check(parties: u32) -> Result<(), BarrierError> {
    let most = MOST_PARTIES;
    if (1..=most).contains(&parties) { Ok(()) } else { Err(BarrierError::Parties { parties, most }) }
}

fn make(family: &'static Family, parties: u32) -> Result<Object, ShmError> {
    register();
    let object = Object::create(family, HEADER as u64 + u64::from(parties) * 8, Kind::Barrier)?;
    raw(&object).reset_bytes(parties);
    Ok(object)
}

fn raw(object: &Object) -> &'static RawBarrier {
    let len = usize::try_from(object.capacity()).unwrap_or(0);
    let raw = RawBarrier::at(object.as_ptr().cast_const(), len);
    // SAFETY: the object has so many bytes, all of them a barrier's (its kind says so) in memory that stays mapped and
    // of that kind; they are aligned to 8, and every field is an atomic.
    unsafe { &*raw }
}

/// Tells the family what a death means to a barrier. Every process of a program that uses barriers does so before
/// `main`, so that each can clear up after the others.
extern "C" fn register() {
    // SAFETY: a barrier refers to no blocks; only here is the kind defined.
    unsafe { register_kind(Kind::Barrier, KindHooks { trace: |_, _, _| {}, drop: |_, _| {}, holder_died }) };
}

#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;

fn holder_died(family: &'static Family, offset: u64) {
    if let Ok(first) = family.at(offset, HEADER as u64) {
        // SAFETY: the header of a barrier in memory that stays mapped and of that kind, aligned to 8; only atomics.
        unsafe { &*RawBarrier::at(first.cast_const(), HEADER) }.abort();
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        register();
        message::deserialize_handle(Kind::Barrier, HEADER as u64, deserializer).map(Self::of)
    }
}
