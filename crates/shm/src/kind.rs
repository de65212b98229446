//! What a block holds, and what the family must know about it to clear up after a dead process.

use crate::family::Family;
use crate::ids::BlockRef;
use polyproc_sys::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// What a block holds. Bytes that held one kind are only used for the same kind again, so that a late write of the
/// kernel to a futex word hits a futex word; only [`Kind::Data`] may be larger than 32640 bytes.
///
/// ```
/// use polyproc_shm::Kind;
/// assert_eq!(Kind::from_u8(Kind::Lock as u8), Some(Kind::Lock));
/// assert_eq!(Kind::from_u8(200), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// Bytes: messages, slots of queues, arrays. Not zeroed, no futex words.
    Data = 1,
    /// The records of who holds what; used by this crate alone.
    Cell = 2,
    /// A lock.
    Lock = 3,
    /// A semaphore.
    Semaphore = 4,
    /// An event.
    Event = 5,
    /// A condition.
    Condition = 6,
    /// A barrier.
    Barrier = 7,
    /// A lock with readers and writers.
    RwLock = 8,
    /// A single value.
    Value = 9,
    /// An array's header.
    Array = 10,
    /// A queue's header.
    Queue = 11,
    /// A one to one channel's header.
    Channel = 12,
    /// A board of tasks.
    Board = 13,
    /// What a parent and a child share about the child.
    Control = 14,
    /// Unnamed shared memory, its header.
    Memory = 15,
    /// Raw types that a user lays out.
    User = 16,
    /// A lock that its holder may take again.
    RLock = 17,
}

/// One more than the largest kind.
pub(crate) const KINDS: usize = 18;

impl Kind {
    /// The kind with the number `n`.
    ///
    /// ```
    /// assert_eq!(polyproc_shm::Kind::from_u8(1), Some(polyproc_shm::Kind::Data));
    /// ```
    #[must_use]
    pub fn from_u8(n: u8) -> Option<Self> {
        const ALL: [Kind; KINDS - 1] = [
            Kind::Data,
            Kind::Cell,
            Kind::Lock,
            Kind::Semaphore,
            Kind::Event,
            Kind::Condition,
            Kind::Barrier,
            Kind::RwLock,
            Kind::Value,
            Kind::Array,
            Kind::Queue,
            Kind::Channel,
            Kind::Board,
            Kind::Control,
            Kind::Memory,
            Kind::User,
            Kind::RLock,
        ];
        ALL.get(usize::from(n).checked_sub(1)?).copied()
    }
}

/// What the objects of a kind own besides their own block, and what a death means to them ([`register_kind`]).
///
/// The functions are handed the offset of an object's block, look at it as untrusted bytes, and must accept an object
/// that was never finished (all zero) or was damaged.
///
/// ```
/// use polyproc_shm::{BlockRef, Family, KindHooks};
/// fn trace(_: &'static Family, _object: u64, _name: &mut dyn FnMut(BlockRef)) {}
/// fn drop(_: &'static Family, _object: u64) {}
/// let hooks = KindHooks { trace, drop, holder_died: |_, _| {} };
/// assert!(format!("{hooks:?}").contains("trace"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KindHooks {
    /// Names the blocks that the object refers to: of the blocks that a dead process owned, only these survive.
    ///
    /// It runs under the family's holders lock while other processes use the object: it must not block, allocate or free
    /// blocks, or encode and decode. Whoever moves a reference from one place to another must claim the block first.
    pub trace: fn(&'static Family, u64, &mut dyn FnMut(BlockRef)),
    /// Frees what the object refers to; runs in the process that drops the last handle, before the object's own block is
    /// freed. If it is killed, another process runs it again.
    pub drop: fn(&'static Family, u64),
    /// A process that held the object has died. It runs while the dead one's hold is still noted, once or, if who clears up is
    /// killed meanwhile, more often, also where the object is about to be dropped; under the family's holders lock, as `trace`.
    pub holder_died: fn(&'static Family, u64),
}

static HOOKS: [OnceLock<KindHooks>; KINDS] = [const { OnceLock::new() }; KINDS];
static REGISTERED: AtomicU64 = AtomicU64::new(0);

/// Tells the family what the objects of `kind` own; once a process and kind, before the first object of it is made.
/// A second registration changes nothing.
///
/// A process that lacks the hooks of a kind of which there are objects leaves the clearing up to others.
///
/// # Safety
/// * `hooks.trace` names every block that an object of the kind refers to: what it does not name is freed when its owner
///   dies, while others use it. `hooks.drop` frees nothing that anything else refers to.
/// * Only the crate that lays out the objects of the kind registers it, with the same hooks in all processes.
///
/// # Examples
/// ```
/// use polyproc_shm::{BlockRef, Family, Kind, KindHooks, register_kind};
/// // SAFETY: our objects of this kind refer to no blocks, and nobody else registers it.
/// unsafe { register_kind(Kind::User, KindHooks { trace: |_, _, _| {}, drop: |_, _| {}, holder_died: |_, _| {} }) };
/// ```
pub unsafe fn register_kind(kind: Kind, hooks: KindHooks) {
    if HOOKS[kind as usize].set(hooks).is_ok() {
        REGISTERED.fetch_or(1 << kind as u8, Ordering::SeqCst);
        if let Some(family) = Family::existing() {
            family.announce_kinds(registered());
        }
    }
}

/// The kinds whose hooks this process has, as bits.
pub(crate) fn registered() -> u64 {
    REGISTERED.load(Ordering::SeqCst)
}

pub(crate) fn hooks(kind: Kind) -> Option<&'static KindHooks> {
    HOOKS[kind as usize].get()
}
