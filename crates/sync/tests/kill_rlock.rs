//! The lock that may be taken again, killed at every instruction while it is taken and given up, alone and before a sleeper.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("the_holder_dies_at_any_depth", tests::the_holder_dies_at_any_depth),
        ("the_unlocker_dies_before_a_sleeper", tests::the_unlocker_dies_before_a_sleeper),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::{Lock, RLock};
    use polyproc_testing::{Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    /// The lock is free for everybody and held only as often as its new holder takes it; whether the one before died.
    fn must_be_free(lock: &RLock) -> &'static str {
        let outer = lock.lock_timeout(LIMIT).expect("nobody living holds the lock");
        let inner = lock.lock_timeout(LIMIT).expect("this thread holds it");
        assert_eq!(inner.recovered(), outer.recovered());
        assert!(format!("{lock:?}").contains("levels: 2"), "{lock:?}");
        let died = outer.recovered();
        drop((outer, inner));
        assert!(format!("{lock:?}").contains("owner: None"), "{lock:?}");
        assert!(!lock.lock().recovered());
        if died { "died" } else { "free" }
    }

    fn warm(lock: &RLock) {
        for _ in 0..2 {
            drop([lock.lock(), lock.lock()]);
        }
    }

    pub(super) fn the_holder_dies_at_any_depth() {
        watchdog_single_threaded("the_holder_dies_at_any_depth", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "taken twice, with another lock between",
                setup: &mut || (RLock::new().unwrap(), Lock::new().unwrap()),
                prepare: &|(lock, other)| {
                    warm(lock);
                    drop(other.lock());
                },
                victim: &|(lock, other)| {
                    let outer = lock.lock();
                    let between = other.lock();
                    let inner = lock.lock();
                    drop(outer);
                    drop(between);
                    drop(inner);
                },
                wake: None,
                check: &mut |(lock, other), _| {
                    assert!(other.lock_timeout(LIMIT).is_ok());
                    must_be_free(&lock).to_owned()
                },
            });
            assert!(report.count("died") > 50 && report.count("free") > 0);
        });
    }

    pub(super) fn the_unlocker_dies_before_a_sleeper() {
        watchdog_single_threaded("the_unlocker_dies_before_a_sleeper", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "both levels given up, somebody sleeps",
                setup: &mut || {
                    let lock = RLock::new().unwrap();
                    let theirs = lock.clone();
                    let sleeper = Survivor::fork(move |control| {
                        let _ = control.hear();
                        let _guard = theirs.lock();
                        control.say(2);
                    });
                    (lock, sleeper)
                },
                prepare: &|(lock, sleeper)| {
                    warm(lock);
                    std::mem::forget([lock.lock(), lock.lock()]);
                    sleeper.say(1);
                    sleeper.wait_until_asleep(LIMIT);
                },
                // SAFETY: `prepare` took the lock twice on this thread and forgot the guards.
                victim: &|(lock, _)| drop([(); 2].map(|()| unsafe { polyproc_sync::rlock::guard_of_held(lock) })),
                wake: None,
                check: &mut |(lock, sleeper), _| {
                    assert_eq!(sleeper.hear(LIMIT), 2, "the sleeper gets the lock");
                    assert_eq!(sleeper.finish(LIMIT), 0);
                    must_be_free(&lock).to_owned()
                },
            });
            assert!(report.points > 20);
        });
    }
}
