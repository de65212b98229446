//! A thread of a model: an id and nothing else. Death is not modelled here, the kill harness proves it on the real thing.

use crate::futex::Futex;
use core::cell::Cell;
use loom::sync::atomic::AtomicU32;

/// The calling thread of the model.
#[derive(Clone, Copy, Debug)]
pub struct Thread(u32);

loom::thread_local! {
    static ID: u32 = {
        static NEXT: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(1);
        NEXT.fetch_add(1, core::sync::atomic::Ordering::Relaxed) & 0xfff_ffff
    };
    static PENDING: Cell<usize> = Cell::new(0);
}

impl Thread {
    /// The calling thread.
    #[must_use]
    pub fn current() -> Self {
        Self(ID.with(|id| *id))
    }

    /// Its id, unlike that of every other thread.
    #[must_use]
    pub fn id(self) -> u32 {
        self.0
    }

    /// Notes the address, and says whether it was another one; threads of a model hold one lock at a time.
    ///
    /// # Safety
    /// * None: the word is not used.
    #[must_use]
    pub unsafe fn announce_lock(self, word: *const Futex) -> bool {
        PENDING.with(|p| p.replace(word.addr()) != word.addr())
    }

    /// Whether the address is the one noted.
    #[must_use]
    pub fn announces(self, word: *const Futex) -> bool {
        PENDING.with(|p| p.get() == word.addr())
    }

    /// Whether other words of this thread are in the list: they may be.
    #[must_use]
    pub fn has_linked(self) -> bool {
        true
    }

    /// None: words of a model have one address.
    #[must_use]
    pub fn owned_at(self, _: usize) -> Option<*const Futex> {
        None
    }

    /// Nothing.
    ///
    /// # Safety
    /// * None: the word is not used.
    pub unsafe fn recall(self, _: *const Futex) {}

    /// Forgets the address.
    pub fn done(self) {
        PENDING.with(|p| p.set(0));
    }
}

/// Nothing.
#[derive(Debug)]
pub struct Announced;

/// Nothing.
pub fn announce(_: *const AtomicU32) -> Announced {
    Announced
}

/// Nothing.
#[derive(Debug)]
pub struct Briefly;

/// Nothing.
pub fn announce_briefly(_: *const AtomicU32) -> Briefly {
    Briefly
}
