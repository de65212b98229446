//! Who of this process holds a named segment, in a family that takes in one after the other.

use super::membership::Membership;
use super::retired::retire;
use crate::family::Family;
use core::cell::UnsafeCell;
use core::ops::Deref;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use polyproc_sys::memory::Reservation;
use std::sync::OnceLock;

/// A place for one membership: what an `Arc` and its `Weak`s are, but used again.
///
/// # State
/// | holds | meaning | who changes it |
/// |---|---|---|
/// | 0 | empty: nobody uses the segment, and nobody can begin to | [`Seat::take`], by the one who has it from the retired |
/// | more | `content` is there and is not written | [`Seat::hold`], [`Hold::clone`]; the last [`Hold`] empties it |
///
/// # Memory ordering
/// As of `Arc`: a hold is given up with release, and the last one acquires all that others did with theirs.
#[derive(Debug)]
pub(crate) struct Seat {
    holds: AtomicU64,
    content: UnsafeCell<Option<(Membership, Reservation)>>,
    /// Where it is; set once, before anybody holds it.
    family: OnceLock<&'static Family>,
}

// SAFETY: `content` is read by those who have a hold, and written by one who knows that there is none; it is `Send + Sync`.
unsafe impl Sync for Seat {}

/// Keeps a named segment from being given up.
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a Seat);

impl Seat {
    pub(crate) const fn new() -> Self {
        Self { holds: AtomicU64::new(0), content: UnsafeCell::new(None), family: OnceLock::new() }
    }

    /// Says where this is; once.
    pub(crate) fn belongs_to(&self, family: &'static Family) {
        let _ = self.family.set(family);
    }

    /// Takes a membership in, and where its segment is mapped.
    ///
    /// # Safety
    /// * It is empty, and no other thread takes one in.
    pub(super) unsafe fn take(&self, member: Membership, space: Reservation) -> Hold<'_> {
        // SAFETY: nobody has a hold, so nobody reads it; nobody else writes it, by the caller's duty.
        unsafe { *self.content.get() = Some((member, space)) };
        self.holds.store(1, Release);
        Hold(self)
    }

    /// A hold, if anybody else has one.
    #[inline]
    pub(crate) fn hold(&self) -> Option<Hold<'_>> {
        let more = |holds: u64| (holds > 0).then(|| holds + 1);
        // Not `then_some`: a hold that is made is one that is given up.
        self.holds.fetch_update(Acquire, Relaxed, more).is_ok().then(|| Hold(self))
    }

    /// Whether nobody has a hold.
    pub(crate) fn is_empty(&self) -> bool {
        self.holds.load(Acquire) == 0
    }

    #[cold]
    fn empty(&self) {
        // SAFETY: this was the last hold, nobody can take another one, and the family is not used again before it is retired.
        let content = unsafe { (*self.content.get()).take() };
        if let (Some((member, space)), Some(family)) = (content, self.family.get()) {
            member.resign();
            retire(family, space);
            drop(member); // behind the mapping, which keeps the lock where this process has forked
        }
    }
}

impl Deref for Hold<'_> {
    type Target = Membership;

    #[inline]
    fn deref(&self) -> &Membership {
        // SAFETY: while there is a hold nobody writes it.
        let content = unsafe { &*self.0.content.get() };
        &content.as_ref().expect("it is there while anybody holds it").0
    }
}

impl Clone for Hold<'_> {
    fn clone(&self) -> Self {
        self.0.holds.fetch_add(1, Relaxed);
        Self(self.0)
    }
}

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.holds.fetch_sub(1, AcqRel) == 1 {
            self.0.empty();
        }
    }
}
