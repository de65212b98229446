//! Who this process and this thread are in the family, and who else is there.

use crate::error::ShmError;
use crate::family::Family;
use crate::ids::{Participant, ProcessId};
use core::cell::{Cell, RefCell};
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use polyproc_sys::robust;
use polyproc_sys::{liveness::ProcessIdentity, per_process::PerProcess};

/// This process in one family: [`ProcessId::to_word`], with the low bits of [`robust::generation`] above; 0 before it is registered.
#[derive(Debug)]
pub(crate) struct Me(AtomicU64);

const FORKS_SHIFT: u32 = 40;

/// This thread in one family.
#[derive(Clone, Copy)]
struct Known {
    family: &'static Family,
    /// [`robust::generation`] when it was registered: a forked child is another thread.
    forks: u32,
    participant: Participant,
}

thread_local! {
    /// The family that this thread used last, and itself in it; 0 is no family. Forgotten in a forked child.
    static LAST: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    /// All families in which this thread is registered.
    static ALL: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// In a forked child: it is another process, and its one thread is another thread.
pub(crate) fn reset_after_fork() {
    LAST.with(|last| last.set((0, 0)));
}

#[inline]
fn forks_above() -> u64 {
    u64::from(robust::generation()) << FORKS_SHIFT
}

impl Me {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// This process if it is registered.
    #[inline]
    fn get(&self) -> Option<ProcessId> {
        let word = self.0.load(Acquire);
        let here = word != 0 && word >> FORKS_SHIFT == forks_above() >> FORKS_SHIFT;
        here.then(|| ProcessId::from_word(word))
    }

    /// It is not registered any more.
    pub(crate) fn forget(&self) {
        self.0.store(0, Release);
    }

    fn set(&self, me: ProcessId) {
        self.0.store(me.to_word() | forks_above(), Release);
    }
}

impl Family {
    /// This process if it is registered, else nobody.
    #[inline]
    pub(crate) fn registered_me(&self) -> ProcessId {
        self.me.get().unwrap_or(ProcessId::NOBODY)
    }

    /// Whether this process is `owner`: a forked child is not, whatever it inherited.
    #[inline]
    pub(crate) fn is_me(&self, owner: ProcessId) -> bool {
        self.registered_me() == owner
    }

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
    pub fn me(&'static self) -> ProcessId {
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
    pub fn try_me(&'static self) -> Result<ProcessId, ShmError> {
        match self.me.get() {
            Some(me) => Ok(me),
            None => self.register(),
        }
    }

    #[cold]
    fn register(&'static self) -> Result<ProcessId, ShmError> {
        static ONE_AT_A_TIME: PerProcess<()> = PerProcess::new();
        let _open = self.map.keep_open()?;
        let me = ProcessIdentity::current();
        let _guard = ONE_AT_A_TIME.lock();
        if let Some(me) = self.me.get() {
            return Ok(me);
        }
        for attempt in 0..2 {
            let first = self.map.header().next_process.fetch_add(1, Relaxed);
            let slots = self.map.tables().processes;
            for i in 0..u32::from(slots) {
                let slot = slot(first.wrapping_add(i), slots);
                if let Some(generation) = self.map.process(slot).take(me.pid, me.start) {
                    let id = ProcessId { slot, generation };
                    self.me.set(id);
                    return Ok(id);
                }
            }
            if attempt == 0 {
                self.reap();
            }
        }
        Err(ShmError::TooManyProcesses)
    }

    /// The calling thread, registered with the kernel at its first use of the family until it ends.
    ///
    /// # Errors
    /// [`ShmError::TooManyParticipants`] if 4096 threads of the family are registered and alive, 512 in that of a named
    /// object; [`ShmError::TooManyNamed`]; [`ShmError::GivenUp`].
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
    pub fn participant(&'static self) -> Result<Participant, ShmError> {
        let (family, me) = LAST.with(Cell::get);
        if family == self.number { Ok(Participant::from_word(me)) } else { self.participant_not_last() }
    }

    #[cold]
    fn participant_not_last(&'static self) -> Result<Participant, ShmError> {
        let is_it = |known: &&Known| known.family.number == self.number && known.forks == robust::generation();
        // In the thread's last destructors the list is gone: then the thread takes a slot for each use, until it ends.
        let known = ALL.try_with(|all| all.borrow().iter().find(is_it).copied());
        let me = match known {
            Ok(Some(known)) => known.participant,
            _ => self.register_thread()?,
        };
        LAST.with(|last| last.set((self.number, me.to_word())));
        Ok(me)
    }

    #[cold]
    fn register_thread(&'static self) -> Result<Participant, ShmError> {
        leave_closed();
        let _open = self.map.keep_open()?;
        if !robust::has_room_for_life() {
            return Err(ShmError::TooManyNamed);
        }
        let tid = robust::thread_id();
        let pid = std::process::id();
        // Every registration starts behind the last one: G3.
        let slots = self.map.tables().participants;
        for _ in 0..u32::from(slots) {
            let next = self.map.header().next_participant.fetch_add(1, Relaxed);
            let slot = slot(next, slots);
            let raw = self.map.participant(slot);
            let announced = robust::announce(raw.word()); // G1
            let Some(generation) = raw.take(tid, pid) else { continue };
            if self.map.is_named() {
                self.threads.enter(tid); // before the word is linked
            }
            // SAFETY: the word starts a slot of 64 bytes, aligned to 64, in a mapping that stays while the thread is noted
            // and has not ended. Nobody else uses the node: only the thread whose id is in the word does.
            unsafe { robust::keep_for_life(raw.word()) };
            drop(announced);
            let participant = Participant { slot, generation };
            let known = Known { family: self, forks: robust::generation(), participant };
            let _ = ALL.try_with(|all| all.borrow_mut().push(known));
            return Ok(participant);
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
        let Ok(_open) = self.map.keep_open() else { return false };
        p.slot < self.map.tables().participants && self.map.participant(p.slot).is_alive(p.generation)
    }

    /// Whether `p` is the calling thread, by whatever handle of a named object it was registered.
    ///
    /// ```
    /// use polyproc_shm::Family;
    /// let family = Family::get()?;
    /// assert!(family.is_this_thread(family.participant()?));
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_this_thread(&self, p: Participant) -> bool {
        let Ok(_open) = self.map.keep_open() else { return false };
        let occupant = self.map.participant(p.slot).occupant();
        self.is_alive(p) && occupant.is_some_and(|(tid, _)| tid == robust::thread_id())
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
        let _open = self.map.keep_open().ok()?;
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
        let Ok(_open) = self.map.keep_open() else { return false };
        self.identity(p).is_some()
    }

    /// What proves the death of `p`, if it is registered.
    pub(crate) fn identity(&self, p: ProcessId) -> Option<ProcessIdentity> {
        let (pid, generation, start) =
            self.map.process(p.slot).occupant().filter(|_| p.slot < self.map.tables().processes)?;
        (generation == p.generation).then_some(ProcessIdentity { pid, start })
    }

    /// All registered processes, with what proves their death.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (ProcessId, ProcessIdentity)> + '_ {
        (0..self.map.tables().processes).filter_map(|slot| {
            let (pid, generation, start) = self.map.process(slot).occupant()?;
            Some((ProcessId { slot, generation }, ProcessIdentity { pid, start }))
        })
    }
}

/// Ends this thread's life in families that this process has given up.
pub(crate) fn leave_closed() {
    let _ = ALL.try_with(|all| {
        all.borrow_mut().retain(|known| {
            let is_here = known.forks == robust::generation();
            if is_here && known.family.map.is_closed() {
                // SAFETY: this thread linked the word when it registered, and forgets that now.
                unsafe { robust::end_life(known.family.map.participant(known.participant.slot).word()) };
                known.family.threads.leave(robust::thread_id());
                LAST.with(|last| last.set((0, 0)));
                return false;
            }
            is_here
        });
    });
}

fn slot(n: u32, slots: u16) -> u16 {
    u16::try_from(n % u32::from(slots)).unwrap_or(0)
}
