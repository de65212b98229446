//! The family of this process: the one memory that it shares with its relatives.

use crate::allocator::Cursors;
use crate::block::Block;
use crate::error::ShmError;
use crate::hash::hash;
use crate::identity::Me;
use crate::ids::{BlockRef, ProcessId};
use crate::kind::{self, Kind};
use crate::map::Map;
use crate::raw::header::{MAGIC, RawHeader, VERSION};
use crate::raw::tag::GENERATION;
use crate::threads::Threads;
use polyproc_sys::SysError;
use polyproc_sys::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use polyproc_sys::memory::MemFd;
use polyproc_sys::per_process::PerProcess;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// The environment variable that tells a spawned child of its family: [`Boot`] as text.
///
/// While it is set and the process has not called [`Family::adopt`], [`Family::get`] is an error.
///
/// ```
/// assert_eq!(polyproc_shm::BOOT_ENV, "POLYPROC_FAMILY");
/// ```
pub const BOOT_ENV: &str = "POLYPROC_FAMILY";

static FAMILY: OnceLock<Family> = OnceLock::new();
static FOUNDING: PerProcess<()> = PerProcess::new();

/// The memory that this process shares with its family; one a process, for as long as the process lives.
///
/// ```
/// use polyproc_shm::{Family, Kind};
/// let family = Family::get()?;
/// let block = family.alloc(64, Kind::Lock)?;
/// assert!(block.capacity() >= 64);
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Debug)]
pub struct Family {
    pub(crate) map: Map,
    pub(crate) cursors: Cursors,
    pub(crate) me: Me,
    /// Those of this process that are in its tables, if it is a named object's.
    pub(crate) threads: Threads,
    /// The thread that this process has given up waiting for in `with_holders`, or 0.
    pub(crate) stuck: AtomicU32,
    /// Tells the families of this process from each other; not 0.
    pub(crate) number: u32,
    id: AtomicU64,
    secret: u64,
}

/// What a child needs to join its family: an inherited descriptor and two numbers.
///
/// The secret keys the checks of the function table; it goes to children only, never into shared memory or messages.
///
/// ```
/// use polyproc_shm::{Boot, Family};
/// let boot = Family::get()?.boot();
/// assert_eq!(boot.to_string().parse::<Boot>(), Ok(boot));
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// The descriptor of the family's memory; closed on exec unless the parent arranges otherwise.
    pub fd: RawFd,
    /// The family.
    pub id: u64,
    /// The key of the function table.
    pub secret: u64,
}

impl core::fmt::Display for Boot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{:x}:{:x}", self.fd, self.id, self.secret)
    }
}

impl core::fmt::Debug for Boot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Boot {{ fd: {}, id: {:x}, .. }}", self.fd, self.id)
    }
}

impl core::str::FromStr for Boot {
    type Err = ParseBootError;

    fn from_str(text: &str) -> Result<Self, ParseBootError> {
        let mut parts = text.split(':');
        let fd = parts.next().and_then(|p| p.parse().ok()).ok_or(ParseBootError)?;
        let mut hex = || parts.next().and_then(|p| u64::from_str_radix(p, 16).ok()).ok_or(ParseBootError);
        let boot = Self { fd, id: hex()?, secret: hex()? };
        if parts.next().is_some() { Err(ParseBootError) } else { Ok(boot) }
    }
}

/// A text that is no [`Boot`].
///
/// ```
/// use polyproc_shm::{Boot, ParseBootError};
/// assert_eq!("3:zz".parse::<Boot>(), Err(ParseBootError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the description of a family: expected descriptor:id:secret")]
pub struct ParseBootError;

impl Family {
    /// The family of this process. The first call founds one, in a process that was not spawned into one.
    ///
    /// # Errors
    /// * [`ShmError::NotInitialised`] in a spawned child that has not joined its family.
    /// * If there is no memory, address space or descriptor for it.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::Family;
    /// assert_eq!(Family::get()?.id(), Family::get()?.id());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[inline]
    pub fn get() -> Result<&'static Self, ShmError> {
        match FAMILY.get() {
            Some(family) => Ok(family),
            None => Self::found(),
        }
    }

    /// The family of this process, if it has one already.
    ///
    /// ```
    /// use polyproc_shm::Family;
    /// Family::get()?;
    /// assert!(Family::existing().is_some());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn existing() -> Option<&'static Self> {
        FAMILY.get()
    }

    #[cold]
    fn found() -> Result<&'static Self, ShmError> {
        let _one_at_a_time = FOUNDING.lock();
        if let Some(family) = FAMILY.get() {
            return Ok(family);
        }
        if std::env::var_os(BOOT_ENV).is_some() {
            return Err(ShmError::NotInitialised);
        }
        let map = Map::create()?;
        let (id, secret) = (random().max(1), random());
        describe(&map, id)?;
        Self::enter(Self::new(map, id, secret))
    }

    /// Joins the family that this process was spawned into.
    ///
    /// # Errors
    /// * [`ShmError::AlreadyInitialised`] if this process has a family.
    /// * [`ShmError::BadFamily`] if the descriptor is not the memory of that family, was made by another version of
    ///   polyproc, or in another pid namespace: thread ids would mean other threads there.
    /// * [`ShmError::NoAddressSpace`] if this process cannot map as much as the family's founder did: its `RLIMIT_AS` is
    ///   too low. A process that saw only a part of the memory would free what is in use in the rest.
    ///
    /// # Safety
    /// * Nothing else in this process owns the descriptor `boot.fd`.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Boot, Family, ShmError};
    /// let boot = Boot { fd: -1, id: 1, secret: 1 };
    /// // SAFETY: -1 is never open.
    /// assert!(matches!(unsafe { Family::adopt(&boot) }, Err(ShmError::Sys(_))));
    /// ```
    pub unsafe fn adopt(boot: &Boot) -> Result<&'static Self, ShmError> {
        let _one_at_a_time = FOUNDING.lock();
        if FAMILY.get().is_some() {
            return Err(ShmError::AlreadyInitialised);
        }
        // SAFETY: nobody else owns the descriptor, by the caller's duty.
        let file = unsafe { MemFd::adopt(boot.fd) }?;
        let map = Map::join(file, |header| check(header, boot.id))?;
        Self::enter(Self::new(map, boot.id, boot.secret))
    }

    /// Makes the memory of a named segment, which nobody else sees yet, that of a family.
    pub(crate) fn found_named(&self) -> Result<(), ShmError> {
        self.map.refresh()?;
        let id = random().max(1);
        describe(&self.map, id)?;
        self.enter_named(id);
        Ok(())
    }

    /// Joins the family whose memory is that of a named segment.
    pub(crate) fn join_named(&self) -> Result<(), ShmError> {
        self.map.refresh()?;
        let header = self.map.header();
        let id = header.family.load(Relaxed);
        check(header, id)?;
        if header.reserved.load(Relaxed) != self.map.reserved() {
            return Err(ShmError::BadFamily("its header was damaged"));
        }
        self.enter_named(id);
        Ok(())
    }

    fn enter_named(&self, id: u64) {
        self.id.store(id, Relaxed);
        self.announce_kinds(kind::registered());
    }

    /// A family that is to take in named segments, one after the other: references to it last as long as the process.
    pub(crate) fn vacant() -> &'static Self {
        forget_on_fork();
        let family: &'static Self = Box::leak(Box::new(Self::new(Map::vacant(), 0, 0)));
        if let Some(seat) = family.map.seat() {
            seat.belongs_to(family);
        }
        family
    }

    /// It is to take in another segment. No thread takes itself for the one that it was in the last: whoever has not left is
    /// noted, and then it is not used again.
    pub(crate) fn renew(&self) {
        self.cursors.forget();
        self.me.forget();
        self.stuck.store(0, Relaxed);
    }

    fn new(map: Map, id: u64, secret: u64) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let (threads, stuck, id) = (Threads::new(), AtomicU32::new(0), AtomicU64::new(id));
        Self { map, cursors: Cursors::new(), me: Me::new(), threads, stuck, number, id, secret }
    }

    /// Makes `family` the one of this process; the caller holds [`FOUNDING`].
    fn enter(family: Self) -> Result<&'static Self, ShmError> {
        forget_on_fork();
        family.announce_kinds(kind::registered());
        let family = FAMILY.get_or_init(|| family);
        // Kinds that were registered between the two lines above.
        family.announce_kinds(kind::registered());
        family.try_me()?;
        Ok(family)
    }

    pub(crate) fn announce_kinds(&self, kinds: u64) {
        self.map.header().kinds.fetch_or(kinds, SeqCst);
    }

    /// What a child needs to join this family.
    ///
    /// ```
    /// use polyproc_shm::Family;
    /// let family = Family::get()?;
    /// assert_eq!(family.boot().id, family.id());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    pub fn boot(&self) -> Boot {
        Boot { fd: self.map.fd().unwrap_or(-1), id: self.id(), secret: self.secret }
    }

    /// The number that tells this family from all others, in messages too.
    ///
    /// ```
    /// assert_ne!(polyproc_shm::Family::get()?.id(), 0);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    pub(crate) fn secret(&self) -> u64 {
        self.secret
    }

    /// A new block of at least `len` bytes, owned by this process.
    ///
    /// The bytes are zero, unless the kind is [`Kind::Data`]: then they are what was there before. Blocks of 64 bytes and
    /// more are aligned to 64, smaller ones to 16.
    ///
    /// # Errors
    /// * [`ShmError::NoSpace`] if the system has no memory for it.
    /// * [`ShmError::TooLarge`] for more than 32640 bytes of another kind than data.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Kind};
    /// let block = Family::get()?.alloc(1 << 20, Kind::Data)?;
    /// // SAFETY: the block is ours and has 1 MiB.
    /// unsafe { block.as_ptr().write_bytes(7, 1 << 20) };
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[inline]
    pub fn alloc(&'static self, len: u64, kind: Kind) -> Result<Block, ShmError> {
        let member = self.map.keep_open()?;
        let me = self.try_me()?;
        let fresh = self.take_block(len, kind, me)?;
        let block = Block::new(self, &fresh, len, me, member);
        if kind != Kind::Data {
            // The geometry keeps the block inside its span, and the span exists.
            let len = usize::try_from(fresh.capacity).unwrap_or(0);
            // SAFETY: a block that this process alone owns, `capacity` bytes of an existing span.
            unsafe { block.as_ptr().write_bytes(0, len) };
        }
        Ok(block)
    }

    /// Makes this process the owner of a block that came by reference: out of a queue's slot, say.
    ///
    /// Of all processes that claim a block one succeeds.
    ///
    /// # Errors
    /// * [`ShmError::Gone`] if somebody else has claimed or freed it, or the reference is old.
    /// * [`ShmError::NoBlock`], [`ShmError::OutOfRange`] if it is no reference to a block at all.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Kind, ShmError};
    /// let family = Family::get()?;
    /// let sent = family.alloc(100, Kind::Data)?.into_ref();
    /// let block = family.claim(sent)?;
    /// drop(block);
    /// assert!(matches!(family.claim(sent), Err(ShmError::Gone(_))));
    /// # Ok::<(), ShmError>(())
    /// ```
    pub fn claim(&'static self, r: BlockRef) -> Result<Block, ShmError> {
        let member = self.map.keep_open()?;
        let me = self.try_me()?;
        let place = self.map.place_of(&r)?;
        let generation = r.generation.wrapping_add(1) & GENERATION; // T2
        if place.kind == Kind::Cell || !self.take_over(&place, (r.owner, r.generation), (me, generation)) {
            return Err(ShmError::Gone(r));
        }
        Ok(Block::claimed(self, &BlockRef { generation, ..r }, place.capacity, me, member))
    }

    /// Makes `to` the owner of a block, and returns the reference with which it can claim it.
    ///
    /// # Errors
    /// [`ShmError::Gone`] if the block was inherited by fork or its tag was damaged.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Kind};
    /// let family = Family::get()?;
    /// let block = family.alloc(100, Kind::Data)?;
    /// let r = family.block_give(block, family.me())?; // to ourselves, for the example
    /// assert!(family.claim(r).is_ok());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn block_give(&'static self, block: Block, to: ProcessId) -> Result<BlockRef, ShmError> {
        let _open = self.map.keep_open()?;
        let me = self.try_me()?;
        let r = block.into_ref();
        let place = self.map.place_of(&r)?;
        if r.owner != me || !self.take_over(&place, (me, r.generation), (to, r.generation)) {
            return Err(ShmError::Gone(r));
        }
        Ok(BlockRef { owner: to, ..r })
    }

    /// The address of `len` bytes from `offset` on, if they lie in this family's memory.
    ///
    /// The offset and the length may come from anywhere. What lies there, and who else uses it, is not checked. The
    /// address stays good for as long as the process lives, that of a named object for as long as it is held.
    ///
    /// # Errors
    /// [`ShmError::OutOfRange`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, Kind};
    /// let family = Family::get()?;
    /// let block = family.alloc(100, Kind::Data)?;
    /// assert_eq!(family.at(block.offset(), 100)?, block.as_ptr());
    /// assert!(family.at(u64::MAX - 10, 100).is_err());
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    #[inline]
    pub fn at(&self, offset: u64, len: u64) -> Result<*mut u8, ShmError> {
        let _open = self.map.keep_open()?;
        self.map.check(offset, len)
    }
}

fn forget_on_fork() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| polyproc_sys::robust::on_fork(crate::identity::reset_after_fork));
}

/// Fills the header of a new family's memory.
fn describe(map: &Map, id: u64) -> Result<(), ShmError> {
    let header = map.header();
    header.magic.store(MAGIC, Relaxed);
    header.family.store(id, Relaxed);
    header.namespace.store(namespace()?, Relaxed);
    header.boot.store(boot_id(), Relaxed);
    header.reserved.store(map.reserved(), Relaxed);
    header.version.store(VERSION, Release); // H1
    Ok(())
}

fn check(header: &RawHeader, id: u64) -> Result<(), ShmError> {
    if header.version.load(Acquire) != VERSION || header.magic.load(Relaxed) != MAGIC {
        return Err(ShmError::BadFamily("it was made by another version of polyproc"));
    }
    if header.family.load(Relaxed) != id {
        return Err(ShmError::BadFamily("it belongs to another family"));
    }
    if header.namespace.load(Relaxed) != namespace()? {
        return Err(ShmError::BadFamily(
            "it belongs to another pid or time namespace, where thread ids or times mean others",
        ));
    }
    if header.boot.load(Relaxed) != boot_id() {
        return Err(ShmError::BadFamily("it was made before the last boot"));
    }
    Ok(())
}

/// 64 random bits, from the keys that std draws from the system for its hash maps. They are drawn once a thread, and a
/// forked child goes on from where its parent was: so the process and the time go in too.
pub(crate) fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u64(polyproc_sys::deadline::now_ns());
    hasher.finish()
}

/// Where thread ids, and times of the clock that does not stop, mean the same: the numbers of both namespaces in one.
pub(crate) fn namespace() -> Result<u64, SysError> {
    let pid = std::fs::metadata("/proc/self/ns/pid").map_err(|e| SysError::new("stat(/proc/self/ns/pid)", e))?;
    let time = std::fs::metadata("/proc/self/ns/time").map_or(0, |m| m.ino()); // no kernel before 5.6 has any
    Ok(pid.ino() ^ time.rotate_left(32))
}

/// A hash of the boot id; 0 where /proc does not tell it.
pub(crate) fn boot_id() -> u64 {
    let Ok(text) = std::fs::read("/proc/sys/kernel/random/boot_id") else { return 0 };
    hash(&text)
}
