//! A child as its parent knows it, from its start until its death has been noticed and cleared up.

use crate::boot::{NO_FAMILY, NO_LIFELINE};
use crate::error::{NotStarted, ProcessError};
use crate::raw::start::{OFFERED, RETURNED, REVOKED, RUNNING, RawStart, UNKNOWN, UNREADABLE, WORDS};
use crate::{registry, tidy, wire};
use core::time::Duration;
use polyproc_shm::message::Kept;
use polyproc_shm::{Block, Family, ProcessId};
use polyproc_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use polyproc_sys::futex::Futex;
use polyproc_sys::process::{self, Ended, SIGKILL};
use polyproc_sys::robust::{generation, watch_forks};
use polyproc_sys::{Deadline, futex};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long [`Child::started`] sleeps at first before it looks whether the child is dead; doubled each time up
/// to [`LAST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(16);

#[derive(Debug)]
pub(crate) struct Child {
    system: process::Child,
    name: String,
    /// Counts the children of this process.
    number: u32,
    family: &'static Family,
    /// When the parent gives up if the child has not taken its work.
    handshake: Deadline,
    /// The fork [`generation`] of the process that may wait for it: not a fork of that.
    parent: u32,
    /// The child as its record names it; 0 until it was seen there.
    process: AtomicU64,
    /// Set when this process sent the child a signal.
    signalled: AtomicU32,
    /// 1 when the keeper has seen its end, on which threads of this process sleep.
    pub(crate) ended: Futex,
    /// Comes before the registry's lock where both are held.
    life: Mutex<Life>,
}

#[derive(Debug)]
enum Life {
    Going(Offer),
    Over(Over),
}

#[derive(Clone, Copy, Debug)]
struct Over {
    /// `None` if somebody else took it.
    status: Option<ExitStatus>,
    why_not: Option<NotStarted>,
}

/// What the child was given, for as long as it may use it.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) record: Block,
    /// The message with the arguments: the child's once it has claimed it.
    pub(crate) args: [u64; WORDS],
    /// What has a name among them.
    #[expect(dead_code, reason = "held until the child has ended")]
    pub(crate) kept: Kept,
}

impl Offer {
    pub(crate) fn raw(&self) -> &RawStart {
        let address = self.record.as_ptr().cast::<RawStart>();
        // SAFETY: the block is ours while `self` lives, was made with the record's size, zeroed and aligned to 64; the
        // child touches it through atomics only, like this process.
        unsafe { &*address }
    }
}

impl Child {
    pub(crate) fn new(
        system: process::Child,
        name: String,
        number: u32,
        family: &'static Family,
        handshake: Deadline,
        offer: Offer,
    ) -> Self {
        let life = Mutex::new(Life::Going(offer));
        let signalled = AtomicU32::new(0);
        watch_forks();
        let (parent, process) = (generation(), AtomicU64::new(0));
        let ended = Futex::new(0);
        Self { system, name, number, family, handshake, parent, process, signalled, ended, life }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.system.pid()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn sentinel(&self) -> BorrowedFd<'_> {
        self.system.as_fd()
    }

    /// Whether this process started it, and is not a fork of that one.
    pub(crate) fn is_ours(&self) -> bool {
        self.parent == generation()
    }

    /// The child's place in the family; `None` if it has none yet, or if another thread is looking at the child.
    pub(crate) fn process(&self) -> Option<ProcessId> {
        if let Ok(life) = self.life.try_lock()
            && let Life::Going(offer) = &*life
        {
            self.process.store(offer.raw().process(), Ordering::Relaxed);
        }
        Some(ProcessId::from_word(self.process.load(Ordering::Relaxed))).filter(|&p| p != ProcessId::NOBODY)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks how the child stands, and clears up after it if it has ended: once, by whoever looks first.
    fn look(&self) -> Result<MutexGuard<'_, Life>, ProcessError> {
        if !self.is_ours() {
            // In a fork the lock may be held for ever, by a thread that is not there.
            return match self.life.try_lock() {
                Ok(life) if matches!(*life, Life::Over(_)) => Ok(life),
                _ => Err(ProcessError::NotOurChild { pid: self.pid() }),
            };
        }
        let mut life = self.life();
        let Life::Going(offer) = &*life else { return Ok(life) };
        match self.system.reap()? {
            Ended::NotYet => {
                if self.handshake.is_past() && offer.raw().state() == OFFERED && offer.raw().revoke() {
                    self.system.signal(SIGKILL)?; // it may be running main a second time
                }
            }
            Ended::With(status) => self.clear_up(&mut life, Some(status)),
            Ended::Unknown => self.clear_up(&mut life, None),
        }
        Ok(life)
    }

    /// The child is dead, which is proven: gives back what only it held.
    fn clear_up(&self, life: &mut Life, status: Option<ExitStatus>) {
        let Life::Going(offer) = &*life else { return };
        let raw = offer.raw();
        let state = raw.state();
        let told = (state == RETURNED).then(|| ExitStatus::from_raw(((raw.code() & 0xff) << 8).cast_signed()));
        let status = status.or(told);
        let why_not = match state {
            OFFERED if status.and_then(|s| s.code()) == Some(NO_FAMILY) => Some(NotStarted::NoFamily),
            OFFERED if status.and_then(|s| s.code()) == Some(NO_LIFELINE) => Some(NotStarted::NoLifeline),
            OFFERED if status.and_then(|s| s.signal()).is_some() && self.signalled.load(Ordering::Relaxed) == 1 => None,
            OFFERED => Some(NotStarted::Ended),
            REVOKED => Some(NotStarted::TimedOut),
            UNKNOWN => Some(NotStarted::NoFunction),
            UNREADABLE => Some(NotStarted::BadArguments),
            _ => None,
        };
        // The record could be scribbled on: it must not make us declare another process dead.
        let process = ProcessId::from_word(raw.process());
        if process != ProcessId::NOBODY && self.family.process_of(self.pid()) == Some(process) {
            self.family.process_died(process);
        } else {
            self.family.reap(); // it died before it had said who it is: each process is checked by itself
        }
        wire::discard(self.family, offer.args);
        *life = Life::Over(Over { status, why_not });
        registry::remove(self);
        tidy::child_died(self.family); // its descendants, and itself if it was skipped
    }

    fn result(&self, over: Over) -> Result<ExitStatus, ProcessError> {
        let pid = self.pid();
        match over {
            Over { why_not: Some(why), status } => Err(ProcessError::ChildDidNotStart { pid, status, why }),
            Over { status: Some(status), .. } => Ok(status),
            Over { status: None, .. } => Err(ProcessError::StatusUnknown { pid }),
        }
    }

    /// Waits for the child's end.
    pub(crate) fn join(&self, deadline: Deadline) -> Result<Option<ExitStatus>, ProcessError> {
        let mut held = HeldUp::new();
        loop {
            let limit = match &*self.look()? {
                Life::Over(over) => return self.result(*over).map(Some),
                Life::Going(offer) if offer.raw().state() == OFFERED => deadline.earlier(self.handshake),
                Life::Going(_) => deadline,
            };
            let ended = self.system.wait(limit)?;
            if deadline.is_past() && (!ended || held.is_so()) {
                return Ok(None);
            } else if ended {
                held.pause(deadline);
            }
        }
    }

    /// Waits until the child has taken its work.
    pub(crate) fn started(&self, deadline: Deadline) -> Result<bool, ProcessError> {
        let (mut pause, mut held) = (FIRST_LOOK, HeldUp::new());
        loop {
            let word = match &*self.look()? {
                Life::Over(over) => return over.why_not.map_or(Ok(true), |_| self.result(*over).map(|_| true)),
                Life::Going(offer) => match offer.raw().state() {
                    OFFERED => Some(offer.raw().state_word()),
                    RUNNING | RETURNED => return Ok(true),
                    _ => None,
                },
            };
            if deadline.is_past() {
                return Ok(false);
            }
            let limit = deadline.earlier(Deadline::after(pause)).earlier(self.handshake);
            match word {
                // The record may be freed meanwhile, by another thread that joins: only its address is used.
                Some(word) => drop(futex::wait(word, OFFERED, limit)),
                // It will not work: it is about to end.
                None => {
                    if self.system.wait(deadline)? {
                        held.pause(deadline);
                    }
                }
            }
            pause = LAST_LOOK.min(2 * pause);
        }
    }

    /// Whether it has ended; nothing is cleared up. Once `true` it stays `true`, in a fork of this process, too.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) == 1 || self.system.wait(Deadline::PAST).unwrap_or(false)
    }

    /// Tells those who sleep on it.
    pub(crate) fn tell_end(&self) {
        self.ended.store(1, Ordering::Release);
        Futex::wake(&raw const self.ended, u32::MAX);
    }

    /// Whether the child's death has not been noticed yet, after a look.
    pub(crate) fn is_going(&self) -> bool {
        match self.look() {
            Ok(life) => matches!(*life, Life::Going(_)),
            Err(_) => !self.system.wait(Deadline::PAST).unwrap_or(true),
        }
    }

    pub(crate) fn status(&self) -> Option<ExitStatus> {
        match &*self.look().ok()? {
            Life::Over(over) => over.status,
            Life::Going(_) => None,
        }
    }

    pub(crate) fn signal(&self, signal: i32) -> Result<(), ProcessError> {
        self.signalled.store(1, Ordering::Relaxed);
        Ok(self.system.signal(signal)?)
    }
}

/// A child that has ended while its status is not ours yet: if a debugger follows the child it gets the status first,
/// and may keep it for as long as it likes.
struct HeldUp(u32);

impl HeldUp {
    fn new() -> Self {
        Self(0)
    }

    /// Whether a second look has found the child so.
    fn is_so(&self) -> bool {
        self.0 > 0
    }

    fn pause(&mut self, deadline: Deadline) {
        if self.is_so() {
            let pause = LAST_LOOK.min(FIRST_LOOK * self.0);
            std::thread::sleep(deadline.remaining().map_or(pause, |left| left.min(pause)));
        } // else the next look has it, in all likelihood
        self.0 = self.0.saturating_add(1).min(16);
    }
}
