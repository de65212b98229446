//! Locks of this process that a forked child may find held by a thread that it does not have.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Waits for the lock; `None` if nobody will ever give it up: this is a forked child, and another thread of its parent held
/// the lock at that moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(e)) => return Some(PoisonError::into_inner(e)),
            Err(TryLockError::WouldBlock) if std::fs::read_dir("/proc/self/task").is_ok_and(|d| d.count() == 1) => {
                return None;
            }
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lock;
    use std::sync::Mutex;

    #[test]
    fn what_another_thread_holds_is_waited_for() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let held = lock(&mutex);
            let other = scope.spawn(|| *lock(&mutex).expect("its holder is here"));
            *held.expect("nobody has it") = 2;
            assert_eq!(other.join().unwrap(), 2);
        });
    }
}
