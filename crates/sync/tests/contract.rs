//! What every lock and every event must do, whatever it is made of: one suite for all of them, between threads and between
//! processes.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_testing::runner::main(&[
        ("locks_exclude_processes", tests::locks_exclude_processes),
        ("a_sleeper_gets_the_lock_that_is_given_up", tests::a_sleeper_gets_the_lock_that_is_given_up),
        ("an_event_lets_all_processes_through", tests::an_event_lets_all_processes_through),
        ("an_event_that_was_cleared_stops_the_next", tests::an_event_that_was_cleared_stops_the_next),
        ("what_does_not_fit_is_refused", tests::what_does_not_fit_is_refused),
        // Last: who has just ended may still be counted as a thread, and who has threads cannot fork.
        ("locks_exclude_threads", tests::locks_exclude_threads),
        ("an_event_lets_all_threads_through", tests::an_event_lets_all_threads_through),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_shm::SharedMemory;
    use polyproc_sync::pthread::{self, PthreadError, Reset};
    use polyproc_sync::{Condition, Event, Lock, RLock, RwLock, Semaphore};
    use polyproc_testing::{Survivor, watchdog_single_threaded};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(60);
    const WORKERS: u64 = 3;
    const ROUNDS: u64 = 2_000;

    /// One at a time.
    trait Exclusive: Sync {
        fn exclusive(&self, body: &mut dyn FnMut());
    }

    impl Exclusive for Lock {
        fn exclusive(&self, body: &mut dyn FnMut()) {
            let _guard = self.lock();
            body();
        }
    }

    impl Exclusive for RLock {
        fn exclusive(&self, body: &mut dyn FnMut()) {
            let _outer = self.lock();
            drop(self.lock());
            body();
        }
    }

    impl Exclusive for RwLock {
        fn exclusive(&self, body: &mut dyn FnMut()) {
            let _guard = self.write();
            body();
        }
    }

    impl Exclusive for Condition {
        fn exclusive(&self, body: &mut dyn FnMut()) {
            let _guard = self.lock();
            body();
        }
    }

    struct Counted(Semaphore);

    impl Exclusive for Counted {
        fn exclusive(&self, body: &mut dyn FnMut()) {
            self.0.acquire();
            body();
            self.0.release().unwrap();
        }
    }

    struct Owned(Semaphore);

    impl Exclusive for Owned {
        fn exclusive(&self, body: &mut dyn FnMut()) {
            let _permit = self.0.acquire_owned().unwrap();
            body();
        }
    }

    impl Exclusive for pthread::Lock {
        fn exclusive(&self, body: &mut dyn FnMut()) {
            let _guard = self.lock().unwrap();
            body();
        }
    }

    fn locks() -> Vec<(&'static str, Box<dyn Exclusive>)> {
        let memory = SharedMemory::new(64).unwrap();
        // SAFETY: nobody else knows the memory.
        let pthread = unsafe { pthread::Lock::create(&memory, 8) }.unwrap();
        vec![
            ("Lock", Box::new(Lock::new().unwrap())),
            ("RLock", Box::new(RLock::new().unwrap())),
            ("RwLock", Box::new(RwLock::new().unwrap())),
            ("the lock of a Condition", Box::new(Condition::new().unwrap())),
            ("a counted permit", Box::new(Counted(Semaphore::new(1).unwrap()))),
            ("an owned permit", Box::new(Owned(Semaphore::new(1).unwrap()))),
            ("pthread::Lock", Box::new(pthread)),
        ]
    }

    /// Set and cleared by anybody, waited for by many.
    trait Signal: Sync {
        fn set(&self);
        fn clear(&self);
        fn wait(&self);
    }

    impl Signal for Event {
        fn set(&self) {
            self.set();
        }

        fn clear(&self) {
            self.clear();
        }

        fn wait(&self) {
            self.wait();
        }
    }

    impl Signal for pthread::Event {
        fn set(&self) {
            self.set().unwrap();
        }

        fn clear(&self) {
            self.clear().unwrap();
        }

        fn wait(&self) {
            self.wait().unwrap();
        }
    }

    fn events() -> Vec<(&'static str, Box<dyn Signal>)> {
        let memory = SharedMemory::new(96).unwrap();
        // SAFETY: nobody else knows the memory.
        let pthread = unsafe { pthread::Event::create(&memory, 0, Reset::Manual) }.unwrap();
        vec![("Event", Box::new(Event::new().unwrap())), ("pthread::Event", Box::new(pthread))]
    }

    fn each<T: ?Sized>(test: &str, all: Vec<(&'static str, Box<T>)>, body: impl Fn(&str, &T)) {
        watchdog_single_threaded(test, LIMIT, || all.iter().for_each(|(name, it)| body(name, it)));
    }

    /// Two counters that are changed one after the other: whoever sees them differ was not alone.
    fn count(lock: &dyn Exclusive, memory: &SharedMemory) {
        for _ in 0..ROUNDS {
            lock.exclusive(&mut || {
                let [a, b] = [0, 1].map(|i| memory.get::<u64>(i).unwrap());
                assert_eq!(a, b, "somebody else is inside");
                memory.set(0, a + 1).unwrap();
                memory.set(1, b + 1).unwrap();
            });
        }
    }

    fn must_have_counted(name: &str, memory: &SharedMemory) {
        assert_eq!([0, 1].map(|i| memory.get::<u64>(i).unwrap()), [WORKERS * ROUNDS; 2], "{name}");
    }

    pub(super) fn locks_exclude_threads() {
        each("locks_exclude_threads", locks(), |name, lock| {
            let memory = SharedMemory::new(16).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..WORKERS {
                    scope.spawn(|| count(lock, &memory));
                }
            });
            must_have_counted(name, &memory);
        });
    }

    pub(super) fn locks_exclude_processes() {
        each("locks_exclude_processes", locks(), |name, lock| {
            let memory = SharedMemory::new(16).unwrap();
            let workers = (0..WORKERS).map(|_| Survivor::fork(|_| count(lock, &memory)));
            for worker in workers.collect::<Vec<_>>() {
                assert_eq!(worker.finish(LIMIT), 0, "{name}");
            }
            must_have_counted(name, &memory);
        });
    }

    pub(super) fn a_sleeper_gets_the_lock_that_is_given_up() {
        each("a_sleeper_gets_the_lock_that_is_given_up", locks(), |name, lock| {
            let mut sleeper = None;
            lock.exclusive(&mut || {
                let next = Survivor::fork(|control| lock.exclusive(&mut || control.say(7)));
                next.wait_until_asleep(LIMIT);
                sleeper = Some(next);
            });
            let sleeper = sleeper.unwrap();
            assert_eq!(sleeper.hear(LIMIT), 7, "{name}");
            assert_eq!(sleeper.finish(LIMIT), 0, "{name}");
        });
    }

    pub(super) fn an_event_lets_all_threads_through() {
        each("an_event_lets_all_threads_through", events(), |_, event| {
            std::thread::scope(|scope| {
                for _ in 0..WORKERS {
                    scope.spawn(|| event.wait());
                }
                event.set();
            });
            event.wait(); // it stays set
        });
    }

    pub(super) fn an_event_lets_all_processes_through() {
        each("an_event_lets_all_processes_through", events(), |name, event| {
            let waiters: Vec<_> = (0..WORKERS).map(|_| Survivor::fork(|_| event.wait())).collect();
            waiters.iter().for_each(|waiter| waiter.wait_until_asleep(LIMIT));
            event.set();
            for waiter in waiters {
                assert_eq!(waiter.finish(LIMIT), 0, "{name}");
            }
        });
    }

    pub(super) fn an_event_that_was_cleared_stops_the_next() {
        each("an_event_that_was_cleared_stops_the_next", events(), |name, event| {
            event.set();
            event.clear();
            let waiter = Survivor::fork(|_| event.wait());
            waiter.wait_until_asleep(LIMIT);
            event.set();
            assert_eq!(waiter.finish(LIMIT), 0, "{name}");
        });
    }

    pub(super) fn what_does_not_fit_is_refused() {
        let memory = SharedMemory::new(96).unwrap();
        for (offset, size) in [(4, 40), (64, 40), (u64::MAX - 7, 40)] {
            // SAFETY: nobody else knows the memory.
            let error = unsafe { pthread::Lock::create(&memory, offset) }.unwrap_err();
            assert_eq!(error, PthreadError::NoRoom { offset, size, len: 96 });
            // SAFETY: as above; there is no lock, which the place already tells.
            assert_eq!(unsafe { pthread::Lock::open(&memory, offset) }.unwrap_err(), error);
        }
        // SAFETY: nobody else knows the memory.
        let error = unsafe { pthread::Event::create(&memory, 8, Reset::Auto) }.unwrap_err();
        assert!(error.to_string().contains("take another offset"), "{error}");
        memory.write(0, &[0xff; 96]).unwrap();
        // SAFETY: there is no event; that shows before anything is done with the bytes.
        let error = unsafe { pthread::Event::open(&memory, 0) }.unwrap_err();
        assert!(matches!(error, PthreadError::Failed { .. }), "{error}");
    }
}
