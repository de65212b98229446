//! A permit that has an owner, who gives it back by dropping it, or by dying.

use crate::raw::RawSemaphore;
use crate::raw::semaphore::Owned;
use core::marker::PhantomData;
use polyproc_sys::robust::{self, Announced};

/// Owns a permit of a [`Semaphore`](crate::Semaphore) until it is dropped.
///
/// It stays on the thread that acquired it, whose death gives it back:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let semaphore = polyproc_sync::Semaphore::new(1).unwrap();
/// send(semaphore.acquire_owned());
/// ```
#[must_use = "the permit is given back as soon as this is dropped"]
pub struct Permit<'a> {
    semaphore: &'a RawSemaphore,
    owned: Owned,
    thread: u32,
    /// The kernel wakes a sleeper if the owner dies, until the permit was given back.
    announced: Option<Announced>,
    /// The permit is one of this thread.
    _local: PhantomData<*mut ()>,
}

impl<'a> Permit<'a> {
    /// What the calling thread has just got, under that announcement.
    #[inline]
    pub(crate) fn of(semaphore: &'a RawSemaphore, owned: Owned, announced: Announced) -> Self {
        Self { semaphore, owned, thread: robust::thread_id(), announced: Some(announced), _local: PhantomData }
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if robust::thread_id() == self.thread {
            let Owned { at, held } = self.owned; // given back here only
            self.semaphore.give_back(Owned { at, held });
        } else {
            core::mem::forget(self.announced.take()); // a copy in a forked child, which does not have the permit
        }
    }
}

impl core::fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
