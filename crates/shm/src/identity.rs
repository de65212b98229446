//! Who this process and this thread are in the family, and who else is there.

use crate::error::ShmError;
use crate::family::Family;
use crate::ids::{Participant, ProcessId};
use crate::raw::layout::{PARTICIPANTS, PROCESSES};
use core::cell::Cell;
use polyproc_sys::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use polyproc_sys::{liveness::ProcessIdentity, robust};
use std::sync::{Mutex, PoisonError, TryLockError};

/// This process, as [`ProcessId::to_word`]; 0 before it is registered, and in a forked child.
static ME: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread: bit 32 set, then [`Participant::to_word`]; 0 before it is registered, and in a forked child.
    static PARTICIPANT: Cell<u64> = const { Cell::new(0) };
}

/// In a forked child: it is another process, and its one thread is another thread.
pub(crate) fn reset_after_fork() {
    ME.store(0, Relaxed);
    PARTICIPANT.with(|p| p.set(0));
}

/// This process if it is registered, else nobody.
#[inline]
pub(crate) fn registered_me() -> ProcessId {
    ProcessId::from_word(ME.load(Relaxed))
}

/// Whether this process is `owner`: a forked child is not, whatever it inherited.
#[inline]
pub(crate) fn is_me(owner: ProcessId) -> bool {
    ME.load(Relaxed) == owner.to_word()
}

impl Family {
    /// This process. A forked child is another process: it is registered at its first use of the family.
    ///
    /// [`ProcessId::NOBODY`] if the family has 4096 processes alive already; see [`Family::try_me`].
    ///
    /// ```
    /// use polyproc_shm::Family;
    /// let family = Family::get()?;
    /// assert_eq!(family.me(), family.me());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn me(&self) -> ProcessId {
        self.try_me().unwrap_or(ProcessId::NOBODY)
    }

    /// This process.
    ///
    /// # Errors
    /// [`ShmError::TooManyProcesses`] if the family has 4096 processes alive already.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::Family;
    /// let family = Family::get()?;
    /// assert_eq!(family.try_me()?, family.me());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[inline]
    pub fn try_me(&self) -> Result<ProcessId, ShmError> {
        match ME.load(Acquire) {
            0 => self.register(),
            me => Ok(ProcessId::from_word(me)),
        }
    }

    #[cold]
    fn register(&self) -> Result<ProcessId, ShmError> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let me = ProcessIdentity::current();
        // A parent's other thread may have held the lock when this child was forked: then it is free for ever, and two
        // threads of one process may register it twice, which costs a slot until the process ends.
        let _guard = loop {
            match ONE_AT_A_TIME.try_lock() {
                Ok(guard) => break Some(guard),
                Err(TryLockError::Poisoned(e)) => break Some(PoisonError::into_inner(e)),
                Err(TryLockError::WouldBlock) if std::fs::read_dir("/proc/self/task").is_ok_and(|d| d.count() == 1) => {
                    break None;
                }
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        };
        match ME.load(Acquire) {
            0 => {}
            me => return Ok(ProcessId::from_word(me)),
        }
        for attempt in 0..2 {
            let first = self.map.header().next_process.fetch_add(1, Relaxed);
            for i in 0..u32::from(PROCESSES) {
                let slot = slot(first.wrapping_add(i), PROCESSES);
                if let Some(generation) = self.map.process(slot).take(me.pid, me.start) {
                    let id = ProcessId { slot, generation };
                    ME.store(id.to_word(), Release);
                    return Ok(id);
                }
            }
            if let Some(family) = Family::existing().filter(|_| attempt == 0) {
                family.reap();
            }
        }
        Err(ShmError::TooManyProcesses)
    }

    /// The calling thread, registered with the kernel at its first use of the family until it ends.
    ///
    /// # Errors
    /// [`ShmError::TooManyParticipants`] if 4096 threads of the family are registered and alive.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::Family;
    /// let family = Family::get()?;
    /// let other = std::thread::spawn(|| family.participant()).join().unwrap()?;
    /// assert_ne!(other, family.participant()?);
    /// assert!(family.is_alive(family.participant()?));
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[inline]
    pub fn participant(&self) -> Result<Participant, ShmError> {
        match PARTICIPANT.with(Cell::get) {
            0 => self.register_thread(),
            #[expect(clippy::cast_possible_truncation, reason = "bit 32 says that it is set")]
            word => Ok(Participant::from_word(word as u32)),
        }
    }

    #[cold]
    fn register_thread(&self) -> Result<Participant, ShmError> {
        let tid = robust::thread_id();
        let pid = std::process::id();
        // Every registration starts behind the last one: G3.
        for _ in 0..u32::from(PARTICIPANTS) {
            let next = self.map.header().next_participant.fetch_add(1, Relaxed);
            let slot = slot(next, PARTICIPANTS);
            let raw = self.map.participant(slot);
            let announced = robust::announce(raw.word()); // G1
            let Some(generation) = raw.take(tid, pid) else { continue };
            // SAFETY: the word starts a slot of 64 bytes, aligned to 64, in a mapping that is never taken down. Nobody
            // else uses the node: only the thread whose id is in the word does.
            unsafe { robust::keep_for_life(raw.word()) };
            drop(announced);
            let me = Participant { slot, generation };
            PARTICIPANT.with(|p| p.set(1 << 32 | u64::from(me.to_word())));
            return Ok(me);
        }
        Err(ShmError::TooManyParticipants)
    }

    /// Whether a thread of the family is alive; two loads.
    ///
    /// Once `false` it stays `false`, unless 2^28 threads have been registered since. May be `true` a moment longer than
    /// the thread lives.
    ///
    /// ```
    /// use polyproc_shm::Family;
    /// let family = Family::get()?;
    /// let ended = std::thread::spawn(|| family.participant()).join().unwrap()?;
    /// while family.is_alive(ended) {} // `join` returns a moment before the kernel has marked the thread
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_alive(&self, p: Participant) -> bool {
        p.slot < PARTICIPANTS && self.map.participant(p.slot).is_alive(p.generation)
    }

    /// The process of the family that has the number `pid`, if it is registered: the one to name to
    /// [`Family::process_died`] after `waitid`.
    ///
    /// ```
    /// use polyproc_shm::Family;
    /// let family = Family::get()?;
    /// assert_eq!(family.process_of(std::process::id()), Some(family.me()));
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn process_of(&self, pid: u32) -> Option<ProcessId> {
        // A dead process that nobody has cleared up may have had the same number: the later one is meant.
        self.processes().filter(|&(_, p)| p.pid == pid).max_by_key(|&(_, p)| p.start).map(|(id, _)| id)
    }

    /// Whether `p` is registered: alive, or dead and not cleared up yet.
    ///
    /// ```
    /// use polyproc_shm::{Family, ProcessId};
    /// let family = Family::get()?;
    /// assert!(family.is_registered(family.me()));
    /// assert!(!family.is_registered(ProcessId::NOBODY));
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_registered(&self, p: ProcessId) -> bool {
        self.identity(p).is_some()
    }

    /// What proves the death of `p`, if it is registered.
    pub(crate) fn identity(&self, p: ProcessId) -> Option<ProcessIdentity> {
        let (pid, generation, start) = self.map.process(p.slot).occupant().filter(|_| p.slot < PROCESSES)?;
        (generation == p.generation).then_some(ProcessIdentity { pid, start })
    }

    /// All registered processes, with what proves their death.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (ProcessId, ProcessIdentity)> + '_ {
        (0..PROCESSES).filter_map(|slot| {
            let (pid, generation, start) = self.map.process(slot).occupant()?;
            Some((ProcessId { slot, generation }, ProcessIdentity { pid, start }))
        })
    }
}

fn slot(n: u32, slots: u16) -> u16 {
    u16::try_from(n % u32::from(slots)).unwrap_or(0)
}
