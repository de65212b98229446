//! What threads wait for, as they say themselves: how others find out that they wait for each other.

use crate::family::Family;
use crate::ids::Participant;

/// A thread that says what it waits for.
///
/// ```
/// use polyproc_shm::Family;
/// let family = Family::get()?;
/// let me = family.participant()?;
/// family.say_waiting(me, 64);
/// let wait = family.waits().into_iter().find(|wait| wait.thread == me).unwrap();
/// assert_eq!((wait.pid, wait.what), (std::process::id(), 64));
/// assert!(family.still_waits(&wait));
/// family.say_waiting(me, 0);
/// family.say_waiting(me, 64);
/// assert!(!family.still_waits(&wait)); // it waits again
/// # family.say_waiting(me, 0);
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The thread as the family knows it.
    pub thread: Participant,
    /// Its thread id.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// What it waits for, as whoever said so numbers that.
    pub what: u64,
    /// The whole word: each wait has another one.
    word: u64,
}

impl Family {
    /// Says that the calling thread, `me`, waits for `what` (48 bits, not 0) from now on, or, by 0, no longer.
    ///
    /// A thread that dies waits no longer. Nothing is checked or woken by this.
    ///
    /// # Examples
    /// As of [`Wait`].
    pub fn say_waiting(&self, me: Participant, what: u64) {
        if let Ok(_open) = self.map.keep_open() {
            self.map.participant(me.slot).wait_for(what);
        }
    }

    /// All living threads that wait; each may do so no longer by the time you look ([`Family::still_waits`]).
    ///
    /// # Examples
    /// As of [`Wait`].
    #[must_use]
    pub fn waits(&self) -> Vec<Wait> {
        let Ok(_open) = self.map.keep_open() else { return Vec::new() };
        (0..self.map.tables().participants).filter_map(|slot| self.wait_of(slot)).collect()
    }

    /// Whether the thread of `wait` has been in that very wait from when it was looked at until now.
    ///
    /// # Examples
    /// As of [`Wait`].
    #[must_use]
    pub fn still_waits(&self, wait: &Wait) -> bool {
        let Ok(_open) = self.map.keep_open() else { return false };
        wait.thread.slot < self.map.tables().participants && self.wait_of(wait.thread.slot) == Some(*wait)
    }

    fn wait_of(&self, slot: u16) -> Option<Wait> {
        let raw = self.map.participant(slot);
        let (word, what) = raw.waiting()?;
        let thread = Participant { slot, generation: raw.generation() };
        let (tid, pid) = raw.occupant()?;
        raw.is_alive(thread.generation).then_some(Wait { thread, tid, pid, what, word })
    }
}
