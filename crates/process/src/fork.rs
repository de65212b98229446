//! What a raw `fork` of this process must not inherit: locks that another thread held, and what they guard.
//!
//! The other threads do not exist in the forked child, so what they held is held for ever there. It is therefore never
//! locked again: each process has its own lock, made when it is first used, and the parent's is forgotten unlocked.

use core::marker::PhantomData;
use polyproc_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts the forks between the first process and this one.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// Makes sure that forks are noticed: before there is anything to be forgotten.
pub(crate) fn watch() {
    static WATCHED: AtomicU32 = AtomicU32::new(0);
    if WATCHED.swap(1, Ordering::AcqRel) == 0 {
        polyproc_sys::robust::on_fork(forked);
    }
}

fn forked() {
    EPOCH.fetch_add(1, Ordering::Relaxed);
}

/// Tells this process from those that it was forked from; the id alone may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    epoch: u32,
    pid: u32,
}

impl Own {
    pub(crate) fn now() -> Self {
        watch();
        Self { epoch: EPOCH.load(Ordering::Relaxed), pid: std::process::id() }
    }

    /// Whether this is still the same process.
    pub(crate) fn is_now(self) -> bool {
        self == Self { epoch: EPOCH.load(Ordering::Relaxed), pid: std::process::id() }
    }
}

/// A value behind a lock of this process alone; a forked child starts with the default.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    /// The address of the newest [`Cell`]; 0 at first. Cells are never freed: a fork leaves one behind.
    cell: AtomicU64,
    of: PhantomData<fn() -> T>,
}

struct Cell<T> {
    own: Own,
    value: Mutex<T>,
}

impl<T: Default + Send + 'static> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { cell: AtomicU64::new(0), of: PhantomData }
    }

    pub(crate) fn lock(&'static self) -> MutexGuard<'static, T> {
        self.mutex().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if another thread has it.
    pub(crate) fn try_lock(&'static self) -> Option<MutexGuard<'static, T>> {
        self.mutex().try_lock().ok()
    }

    fn mutex(&'static self) -> &'static Mutex<T> {
        let address = self.cell.load(Ordering::Acquire);
        match Self::cell(address) {
            Some(cell) if cell.own.is_now() => &cell.value,
            _ => self.make(address),
        }
    }

    #[cold]
    fn make(&'static self, old: u64) -> &'static Mutex<T> {
        let new = Box::into_raw(Box::new(Cell { own: Own::now(), value: Mutex::new(T::default()) }));
        let address = new.expose_provenance() as u64;
        let kept = match self.cell.compare_exchange(old, address, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => address,
            Err(others) => {
                // SAFETY: made above and shown to nobody.
                drop(unsafe { Box::from_raw(new) });
                others
            }
        };
        &Self::cell(kept).expect("some thread made one").value
    }

    fn cell(address: u64) -> Option<&'static Cell<T>> {
        let address = usize::try_from(address).ok().filter(|&a| a != 0)?;
        // SAFETY: only `make` stores addresses other than 0, of boxes that it leaked and that are used by shared
        // references only.
        Some(unsafe { &*core::ptr::with_exposed_provenance::<Cell<T>>(address) })
    }
}
