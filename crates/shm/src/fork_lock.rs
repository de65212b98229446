//! Locks of this process that a forked child may find held by a thread that it does not have.

use crate::identity::forks;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// A mutex whose word says in which process of a line of forks it was locked: what an ancestor's thread held when this
/// process was forked is free, and its content is made new, as it may be half changed.
#[derive(Debug)]
pub(crate) struct ForkLock<T> {
    /// 0, or one more than [`forks`] where it was locked.
    holder: AtomicU64,
    content: UnsafeCell<T>,
}

// SAFETY: who holds the lock has the content alone, on whatever thread.
unsafe impl<T: Send> Sync for ForkLock<T> {}

/// Gives the lock up when dropped.
pub(crate) struct Locked<'a, T>(&'a ForkLock<T>);

impl<T> ForkLock<T> {
    pub(crate) const fn new(content: T) -> Self {
        Self { holder: AtomicU64::new(0), content: UnsafeCell::new(content) }
    }
}

impl<T: Default> ForkLock<T> {
    /// Waits for the lock.
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let me = u64::from(forks()) + 1;
        let mut tries = 0_u32;
        loop {
            let seen = self.holder.load(Relaxed);
            if seen != me && self.holder.compare_exchange(seen, me, Acquire, Relaxed).is_ok() {
                if seen != 0 {
                    // SAFETY: this thread has the lock. What was there is not dropped: nobody knows what state it is in.
                    unsafe { self.content.get().write(T::default()) };
                }
                return Locked(self);
            }
            tries += 1;
            if tries < 100 {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread has the lock.
        unsafe { &*self.0.content.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread has the lock.
        unsafe { &mut *self.0.content.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.0.holder.store(0, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::ForkLock;
    use polyproc_sys::atomic::Ordering::Relaxed;

    #[test]
    fn what_another_thread_holds_is_waited_for() {
        let lock = ForkLock::new(1);
        std::thread::scope(|scope| {
            let mut held = lock.lock();
            let other = scope.spawn(|| *lock.lock());
            *held = 2;
            drop(held);
            assert_eq!(other.join().unwrap(), 2);
        });
    }

    #[test]
    fn what_an_ancestor_held_is_free_and_new() {
        let lock = ForkLock::new(7);
        lock.holder.store(u64::MAX, Relaxed); // some ancestor's
        assert_eq!(*lock.lock(), 0);
        *lock.lock() = 8;
        assert_eq!(*lock.lock(), 8);
    }
}
