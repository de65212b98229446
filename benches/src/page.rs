//! A few words that the processes of a bench share: to start together, to count, and the floors of the rivals.

use crate::lock::{Pthread, RawSync, RawSyncBytes};
use polyproc::parts::shm::{Family, Kind};
use polyproc::parts::sys::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire};

/// A value on a cache line of its own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line<T>(pub T);

/// Words in the family's memory; all zero at first.
#[derive(Debug)]
#[repr(C)]
pub struct Page {
    /// Where both start ([`meet`]).
    pub arrived: Line<AtomicU32>,
    /// What a contended lock protects.
    pub counter: Line<AtomicU64>,
    /// The floor of a round trip: a number there, …
    pub ping: Line<AtomicU32>,
    /// … and the same number back.
    pub pong: Line<AtomicU32>,
    /// glibc's robust mutex, process-shared.
    pub robust: Line<Pthread>,
    /// … and the one that nobody can repair.
    pub normal: Line<Pthread>,
    /// raw_sync's.
    pub raw_sync: Line<RawSyncBytes>,
}

impl Page {
    /// A new page, and its place for other processes. It stays for as long as the family's memory.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn create() -> (&'static Self, u64) {
        let family = Family::get().expect("the bench is no forgotten child");
        let block = family.alloc(size_of::<Self>() as u64, Kind::Data).expect("there is memory for a page");
        let offset = block.offset();
        // SAFETY: the block has as many bytes and is this process's own.
        unsafe { block.as_ptr().write_bytes(0, size_of::<Self>()) };
        let _ = block.into_ref(); // never freed
        let page = Self::at(offset);
        page.robust.0.init(true, true);
        page.normal.0.init(true, false);
        let _ = RawSync::create(&page.raw_sync.0);
        (page, offset)
    }

    /// The page that another process of this program made.
    ///
    /// # Panics
    /// If `offset` is no place for a page.
    #[must_use]
    pub fn at(offset: u64) -> &'static Self {
        let family = Family::get().expect("the bench is no forgotten child");
        let page =
            family.at(offset, size_of::<Self>() as u64).expect("the page is in the family's memory").cast::<Self>();
        assert!(page.is_aligned(), "a page is aligned");
        // SAFETY: mapped for as long as the process lives, never freed, and every bit pattern is a page of atomics; the
        // mutexes are glibc's, for which zero bytes are a mutex too.
        unsafe { &*page }
    }
}

/// Returns when `parties` have called it, in all of them at about the same time. `word` must have been 0.
pub fn meet(word: &AtomicU32, parties: u32) {
    word.fetch_add(1, AcqRel);
    let mut looks = 0_u32;
    while word.load(Acquire) < parties {
        looks += 1;
        if looks.is_multiple_of(256) { std::thread::yield_now() } else { core::hint::spin_loop() }
    }
}
