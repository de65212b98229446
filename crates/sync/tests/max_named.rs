//! A thread uses as many objects with names as it may, and is told at the next one, where it would be named there.
#![cfg(not(polyproc_loom))]

use polyproc_shm::ShmError;
use polyproc_sync::{Barrier, BarrierError, Condition, ConditionError, Event, RwLock, Semaphore};
use polyproc_testing::watchdog;
use std::time::Duration;

fn name(what: &str, i: usize) -> String {
    format!("test-max-named-{}-{what}-{i}", std::process::id())
}

#[test]
fn one_thread_uses_63_objects_with_names() {
    watchdog(Duration::from_secs(60), || {
        let barriers: Vec<_> = (0..65).map(|i| Barrier::create(name("barrier", i), 1).unwrap()).collect();
        let waits = || barriers.iter().take_while(|barrier| barrier.wait().is_ok()).count();
        let passed = waits();
        assert!((63..=64).contains(&passed), "{passed}: one more where the family's own memory has not been used");
        assert!(matches!(barriers[passed].wait(), Err(BarrierError::Shm(ShmError::TooManyNamed))));

        let condition = Condition::create(name("condition", 0)).unwrap();
        let waited = condition.wait_timeout(&mut condition.lock(), Duration::ZERO);
        assert!(matches!(waited, Err(ConditionError::Shm(ShmError::TooManyNamed))));

        let semaphore = Semaphore::create(name("semaphore", 0), 1).unwrap();
        assert!(semaphore.acquire_owned().is_err() && semaphore.try_acquire());

        let event = Event::create(name("event", 0)).unwrap();
        assert!(!event.wait_timeout(Duration::from_millis(1)));
        event.set();
        event.wait();

        let lock = RwLock::create(name("rwlock", 0)).unwrap();
        std::thread::scope(|s| {
            let alone = lock.read();
            let other = s.spawn(|| {
                assert!(lock.try_write().is_none() && lock.try_read().is_some());
                assert!(barriers[passed].wait().is_ok(), "it has a count of its own");
            });
            other.join().unwrap();
            drop(alone);
            assert!(lock.try_write().is_some());
        });

        drop(barriers);
        assert!(condition.wait_timeout(&mut condition.lock(), Duration::ZERO).is_ok_and(|told| !told));
    });
}
