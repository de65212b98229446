//! An event of a mutex and a condition variable of pthread.

use super::{PthreadError, place};
use polyproc_shm::SharedMemory;
use raw_sync::Timeout;
use raw_sync::events::{Event as RawSyncEvent, EventImpl, EventInit, EventState};

/// Whether a wait that an [`Event`] has let through leaves it set.
///
/// ```
/// use polyproc_sync::pthread::Reset;
/// assert_ne!(Reset::Manual, Reset::Auto);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It stays set until [`Event::clear`]: everybody gets through.
    Manual,
    /// The one that gets through clears it.
    Auto,
}

/// An event in shared memory, laid out as the crate `raw_sync` does it.
///
/// See the [module](super) for the layout, and for what it cannot do: whoever is killed inside one of its calls leaves the
/// others blocked for ever.
///
/// ```
/// use polyproc_shm::SharedMemory;
/// use polyproc_sync::pthread::{Event, Reset};
/// let memory = SharedMemory::new(128)?;
/// // SAFETY: nothing but events touches the first 96 bytes, and nobody knows them yet.
/// let event = unsafe { Event::create(&memory, 0, Reset::Manual) }?;
/// // SAFETY: an event is there.
/// let same = unsafe { Event::open(&memory, 0) }?; // in another program, as a rule
/// let waiter = std::thread::spawn(move || same.wait());
/// event.set()?;
/// waiter.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Event {
    event: Box<dyn EventImpl>,
    /// Keeps the bytes mapped.
    memory: SharedMemory,
}

// SAFETY: behind it are a process-shared mutex and condition variable, which any thread may use; raw_sync's type holds only
// their addresses.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// Makes an event, not set, of the bytes from `offset` on, 96 of them on x86_64.
    ///
    /// # Errors
    /// [`PthreadError::NoRoom`], and [`PthreadError::Failed`] if the system has no such objects.
    ///
    /// # Safety
    /// * Nobody uses these bytes as anything else, in any process, for as long as somebody uses the event.
    /// * Nobody uses them as an event yet.
    ///
    /// # Examples
    /// As of [`Event`].
    pub unsafe fn create(memory: &SharedMemory, offset: u64, reset: Reset) -> Result<Self, PthreadError> {
        let at = place(memory, offset, RawSyncEvent::size_of(None))?;
        // SAFETY: so many bytes at a multiple of 8, mapped while `memory` is there, and ours by the caller's duty.
        let (event, _) = unsafe { RawSyncEvent::new(at, reset == Reset::Auto) }.map_err(PthreadError::failed)?;
        Ok(Self { event, memory: memory.clone() })
    }

    /// The event at `offset`, which somebody has made.
    ///
    /// # Errors
    /// [`PthreadError::NoRoom`], and [`PthreadError::Failed`] if there is none.
    ///
    /// # Safety
    /// * An event is there that [`Event::create`] or `raw_sync` has made, or a program in C by the layout of the [module](super).
    /// * Nobody uses these bytes as anything else, in any process, for as long as somebody uses the event.
    ///
    /// # Examples
    /// As of [`Event`].
    pub unsafe fn open(memory: &SharedMemory, offset: u64) -> Result<Self, PthreadError> {
        let at = place(memory, offset, RawSyncEvent::size_of(None))?;
        // SAFETY: as in `create`; an event is there by the caller's duty.
        let (event, _) = unsafe { RawSyncEvent::from_existing(at) }.map_err(PthreadError::failed)?;
        Ok(Self { event, memory: memory.clone() })
    }

    /// Sleeps until the event is set.
    ///
    /// # Errors
    /// [`PthreadError::Failed`]: pthread says that the bytes are no event.
    ///
    /// # Examples
    /// As of [`Event`].
    pub fn wait(&self) -> Result<(), PthreadError> {
        self.event.wait(Timeout::Infinite).map_err(PthreadError::failed)
    }

    /// Sets the event and wakes all who wait for it, or one if it resets itself. It may wait for the event's mutex.
    ///
    /// # Errors
    /// As [`Event::wait`].
    ///
    /// # Examples
    /// As of [`Event`].
    pub fn set(&self) -> Result<(), PthreadError> {
        self.event.set(EventState::Signaled).map_err(PthreadError::failed)
    }

    /// Clears the event. It may wait for the event's mutex.
    ///
    /// # Errors
    /// As [`Event::wait`].
    ///
    /// # Examples
    /// ```
    /// # use polyproc_shm::SharedMemory;
    /// # use polyproc_sync::pthread::{Event, Reset};
    /// let memory = SharedMemory::new(128)?;
    /// // SAFETY: nothing else touches these bytes.
    /// let event = unsafe { Event::create(&memory, 0, Reset::Manual) }?;
    /// event.set()?;
    /// event.wait()?; // does not sleep
    /// event.clear()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) -> Result<(), PthreadError> {
        self.event.set(EventState::Clear).map_err(PthreadError::failed)
    }
}

impl core::fmt::Debug for Event {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Event").field("memory", &self.memory).finish_non_exhaustive()
    }
}
