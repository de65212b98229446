//! The handle of an event; the bytes are [`RawEvent`].

use crate::raw::RawEvent;
use crate::raw::gate::Armed;
use crate::wait_any::Waitable;
use core::time::Duration;
use polyproc_shm::{Content, Family, Kind, Name, Object, SegmentError, ShmError, message};
use polyproc_sys::Deadline;
use polyproc_sys::futex::Watch;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A mark that the threads and processes of a family wait for, like `multiprocessing.Event`.
///
/// Clones are the same event, and so are the copies that arrive in other processes. 8 bytes of shared memory, no file
/// descriptor.
///
/// # Fairness
/// A [`set`](Self::set) wakes everybody. Whoever sleeps when the event is set returns `true`, although it be cleared at
/// once; a waiter spins a little before (not where there is one CPU), and may miss a set that is cleared within those
/// microseconds. No system call where nobody sleeps; a wait for an event that is set is one load. Any number of
/// waiters.
///
/// # When a process dies
/// A setter that is killed has set the event or it has not; if it has, everybody is woken: the kernel wakes one sleeper
/// in its place, who wakes the others. A killed sleeper costs the next set one system call. A stopped setter
/// (`SIGSTOP`) may have set the event and not woken anybody yet: sleepers find out after 100 ms. A forked child uses
/// the handles that it inherits.
///
/// # Limits
/// Events that have names do not count among the 63 objects with names that one thread uses at most.
/// [`set`](Self::set), [`clear`](Self::clear) and [`is_set`](Self::is_set) may be used in an asynchronous signal
/// handler, the other operations may not. While a set wakes sleepers, a lock that its thread holds is not announced to
/// the kernel: if the process is killed within those few instructions, others get the lock after 100 ms instead of at
/// once.
///
/// # Examples
/// ```
/// use polyproc_sync::Event;
/// let ready = Event::new()?;
/// let waiter = std::thread::spawn({
///     let ready = ready.clone();
///     move || ready.wait()
/// });
/// ready.set();
/// waiter.join().unwrap();
/// assert!(ready.is_set());
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
#[derive(Clone)]
pub struct Event {
    object: Arc<Object>,
    raw: &'static RawEvent,
}

impl Event {
    /// A new event that is not set.
    ///
    /// # Errors
    /// [`ShmError`]: the family has no memory left, or this process belongs to a family that it has not joined.
    ///
    /// # Examples
    /// ```
    /// assert!(!polyproc_sync::Event::new()?.is_set());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    pub fn new() -> Result<Self, ShmError> {
        make(Family::get()?).map(|object| Self::of(Arc::new(object)))
    }

    /// A new event with a name, for programs without kinship: they [`open`](Self::open) it by that. The name goes with
    /// the last process that holds the event.
    ///
    /// # Errors
    /// [`SegmentError`]: the name is taken, it is no name, or there is no space.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Event;
    /// let name = format!("doc-event-{}", std::process::id());
    /// let event = Event::create(&name)?;
    /// Event::open(&name)?.set(); // in another program, as a rule
    /// assert!(event.is_set());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::create_named(name, &CONTENT, 0, make).map(Self::of)
    }

    /// The event that has the name.
    ///
    /// # Errors
    /// [`SegmentError`]: there is none, or its last holder has gone; it is no event, or one of another layout.
    ///
    /// # Examples
    /// As of [`Event::create`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_named(name, &CONTENT, LEN).map(Self::of)
    }

    /// The event that has the name; made, and not set, if there is none.
    ///
    /// # Errors
    /// As [`Event::open`] and [`Event::create`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_sync::Event;
    /// let name = format!("doc-event-either-{}", std::process::id());
    /// let (first, second) = (Event::open_or_create(&name)?, Event::open_or_create(&name)?);
    /// first.set();
    /// assert!(second.is_set());
    /// # Ok::<(), polyproc_sync::SegmentError>(())
    /// ```
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Object::open_or_create_named(name, &CONTENT, LEN, 0, make).map(Self::of)
    }

    fn of(object: Arc<Object>) -> Self {
        let raw = raw(&object);
        Self { object, raw }
    }

    /// Whether it is set; may be wrong by the time you look.
    ///
    /// ```
    /// assert!(!polyproc_sync::Event::new()?.is_set());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// Sets the event and wakes all who sleep; later waits return at once. What came before it is seen by whoever
    /// returns from a wait. Never blocks; may be called in an asynchronous signal handler.
    ///
    /// ```
    /// let event = polyproc_sync::Event::new()?;
    /// event.set();
    /// event.set(); // it is set already
    /// assert!(event.is_set());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn set(&self) {
        self.raw.set();
    }

    /// Takes the mark away: later waits sleep. Never blocks; may be called in an asynchronous signal handler.
    ///
    /// ```
    /// let event = polyproc_sync::Event::new()?;
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn clear(&self) {
        self.raw.clear();
    }

    /// Sleeps until the event is set.
    ///
    /// ```
    /// let event = polyproc_sync::Event::new()?;
    /// event.set();
    /// event.wait();
    /// assert!(event.is_set()); // it stays so
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[inline]
    pub fn wait(&self) {
        self.raw.wait(Deadline::NEVER);
    }

    /// Sleeps until the event is set, for `timeout` at most, and says whether it was; [`Duration::MAX`] is for ever.
    ///
    /// ```
    /// use std::time::Duration;
    /// let event = polyproc_sync::Event::new()?;
    /// assert!(!event.wait_timeout(Duration::from_millis(5)));
    /// event.set();
    /// assert!(event.wait_timeout(Duration::ZERO));
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use = "says whether the event was set"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.is_set() || self.raw.wait(Deadline::after(timeout))
    }

    /// Sleeps until the event is set, until `deadline` at most, and says whether it was.
    ///
    /// ```
    /// use polyproc_sync::{Deadline, Event};
    /// assert!(!Event::new()?.wait_deadline(Deadline::PAST));
    /// # Ok::<(), polyproc_sync::ShmError>(())
    /// ```
    #[must_use = "says whether the event was set"]
    #[inline]
    pub fn wait_deadline(&self, deadline: Deadline) -> bool {
        self.raw.wait(deadline)
    }
}

/// Ready while it is set, and when it was set since the wait began to sleep, though it be cleared again.
impl Waitable for Event {
    fn is_ready(&self) -> bool {
        self.is_set()
    }

    fn arm(&self, before: Option<u64>, _woken: bool) -> Armed {
        match before {
            Some(counted) if self.raw.is_over(counted) => Armed::Ready,
            Some(counted) => Armed::Asleep(counted),
            None => self.raw.arm().map_or(Armed::Ready, Armed::Asleep),
        }
    }

    fn watch(&self, counted: u64) -> Watch<'_> {
        self.raw.watch(counted)
    }

    fn disarm(&self, counted: u64) -> bool {
        self.raw.disarm(counted)
    }
}

/// Tells whether it is set.
impl core::fmt::Debug for Event {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}

const LEN: u64 = size_of::<RawEvent>() as u64;

/// What an event's segment says of it; raised with every change of its bytes.
const CONTENT: Content<'_> = Content { kind: Kind::Event, type_name: "bytes of layout 1", type_hash: 1 };

fn make(family: &'static Family) -> Result<Object, ShmError> {
    let object = Object::create(family, LEN, Kind::Event)?;
    raw(&object).reset(); // the bytes may be those of an earlier event
    Ok(object)
}

fn raw(object: &Object) -> &'static RawEvent {
    // SAFETY: the object has the bytes of an event (its kind and length say so) in memory that stays mapped and of that
    // kind; they are aligned to 8, and the field is an atomic.
    unsafe { &*object.as_ptr().cast_const().cast::<RawEvent>() }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.object, serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::Event, LEN, deserializer).map(Self::of)
    }
}
