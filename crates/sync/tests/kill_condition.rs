//! The condition, killed at every instruction: as the one that waits, asleep, woken and taking the lock again; as the one
//! that notifies one or all; and as the one that passes on what a dead waiter was told.
//!
//! Where the kernel must wake a sleeper the tick is a minute, so that a wake-up that only the tick repairs shows as a hang;
//! where the tick repairs it is short.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_testing::runner::main(&[
        ("a_guard_in_a_forked_child_is_none", tests::a_guard_in_a_forked_child_is_none),
        ("a_waiter_dies_behind_another", tests::a_waiter_dies_behind_another),
        ("the_notified_dies_before_another_waiter", tests::the_notified_dies_before_another_waiter),
        ("a_notifier_dies_before_a_sleeper", tests::a_notifier_dies_before_a_sleeper),
        ("what_a_dead_notifier_did_is_found_at_the_tick", tests::what_a_dead_notifier_did_is_found_at_the_tick),
        ("a_notifier_of_all_dies", tests::a_notifier_of_all_dies),
        ("whoever_passes_a_notification_on_dies", tests::whoever_passes_a_notification_on_dies),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::{Condition, ConditionError, RLock, Semaphore};
    use polyproc_sys::futex;
    use polyproc_testing::{Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::Cell;
    use std::mem::ManuallyDrop;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const GO: u8 = 1;
    const NOTIFIED: u8 = 2;
    const OWNER_DIED: u8 = 3;
    const SHORT: Duration = Duration::from_millis(2);
    const LONG: Duration = Duration::from_secs(60);

    fn run(name: &'static str, tick: Duration, body: impl FnOnce()) {
        futex::set_tick(tick);
        watchdog_single_threaded(name, Duration::from_secs(120), body);
    }

    /// A process that waits when it is told to, and says what woke it.
    fn waiter(condition: &Condition) -> Survivor {
        let condition = condition.clone();
        Survivor::fork(move |control| {
            assert_eq!(control.hear(), GO);
            let mut guard = condition.lock();
            condition.wait(&mut guard).unwrap();
            control.say(if guard.recovered() { OWNER_DIED } else { NOTIFIED });
        })
    }

    /// Starts it, and returns when it waits.
    fn put_to_sleep(condition: &Condition, waiter: &Survivor) {
        let waits = || format!("{condition:?}");
        let before = waits();
        waiter.say(GO);
        while waits() == before || waits().contains("Some") {
            std::thread::yield_now();
        }
        waiter.wait_until_asleep(LIMIT);
    }

    fn new() -> (Condition, Survivor) {
        let condition = Condition::new().unwrap();
        let waiter = waiter(&condition);
        (condition, waiter)
    }

    fn asleep() -> (Condition, Survivor) {
        let (condition, waiter) = new();
        put_to_sleep(&condition, &waiter);
        (condition, waiter)
    }

    fn has_woken(waiter: Survivor) -> &'static str {
        let why = waiter.hear(LIMIT);
        assert_eq!(waiter.finish(LIMIT), 0);
        if why == NOTIFIED { "notified" } else { "told of a death" }
    }

    fn notify(condition: &Condition, n: u32) -> u32 {
        condition.notify_n(&condition.lock(), n).unwrap()
    }

    fn nobody_is_left(condition: &Condition) {
        assert_eq!(notify(condition, u32::MAX), 0);
        assert!(format!("{condition:?}").contains("owner: None, waiting: 0"), "{condition:?}");
    }

    /// In the victim: it does what it will do, and sleeps until it is woken.
    fn warm() {
        let condition = Condition::new().unwrap();
        let guard = condition.lock();
        condition.notify(&guard).unwrap();
        drop(guard);
        assert!(!condition.wait_timeout(&mut condition.lock(), Duration::from_millis(1)).unwrap());
        futex::set_tick(LONG);
    }

    pub(super) fn a_guard_in_a_forked_child_is_none() {
        run("a_guard_in_a_forked_child_is_none", LONG, || {
            let condition = Condition::new().unwrap();
            let mut guard = condition.lock();
            let child = Survivor::fork(|control| {
                assert!(matches!(condition.wait(&mut guard), Err(ConditionError::Inherited)));
                assert!(matches!(condition.notify(&guard), Err(ConditionError::Inherited)));
                control.say(NOTIFIED);
            });
            assert_eq!(child.hear(LIMIT), NOTIFIED);
            assert_eq!(child.finish(LIMIT), 0);
            assert_eq!(condition.notify(&guard).unwrap(), 0);
        });
    }

    pub(super) fn a_waiter_dies_behind_another() {
        run("a_waiter_dies_behind_another", SHORT, || {
            let report = kill_at_every_instruction(Scenario {
                name: "wait, behind another",
                setup: &mut asleep,
                prepare: &|_| warm(),
                victim: &|(condition, _)| condition.wait(&mut condition.lock()).unwrap(),
                wake: None,
                check: &mut |(condition, other), kill| {
                    let told = notify(&condition, 1);
                    let woken = has_woken(other);
                    assert!(told == 1 || woken == "told of a death", "the dead do not count");
                    assert!(!kill.asleep || woken == "notified");
                    nobody_is_left(&condition);
                    woken.to_owned()
                },
            });
            assert!(report.count("notified") > 50 && report.points > 200);
        });
    }

    pub(super) fn the_notified_dies_before_another_waiter() {
        run("the_notified_dies_before_another_waiter", SHORT, || {
            let report = kill_at_every_instruction(Scenario {
                name: "wait, before another, and one notification",
                setup: &mut || (new(), Semaphore::new(0).unwrap(), Cell::new(false)),
                prepare: &|(_, returned, _)| {
                    warm();
                    returned.release().unwrap();
                    returned.acquire();
                },
                victim: &|((condition, _), returned, _)| {
                    let mut guard = condition.lock();
                    condition.wait(&mut guard).unwrap();
                    returned.release().unwrap();
                    drop(guard);
                },
                wake: Some(&|((condition, other), _, notified)| {
                    if !notified.replace(true) {
                        put_to_sleep(condition, other);
                        assert_eq!(notify(condition, 1), 1);
                    }
                    true
                }),
                check: &mut |((condition, other), returned, notified), _| {
                    if !notified.get() {
                        drop(condition.lock()); // the victim never slept
                        put_to_sleep(&condition, &other);
                        assert_eq!(notify(&condition, 1), 1);
                    } else if returned.available() > 0 {
                        // The victim has had it; if it died before it gave the lock up, the other one is told of that.
                        notify(&condition, 1);
                    }
                    let woken = has_woken(other); // otherwise it has the notification that the victim had
                    nobody_is_left(&condition);
                    woken.to_owned()
                },
            });
            assert!(report.count("notified") > 50 && report.points > 300);
        });
    }

    /// The lock stays held: what happens when it is given up is left to the tick, and the next test.
    pub(super) fn a_notifier_dies_before_a_sleeper() {
        run("a_notifier_dies_before_a_sleeper", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "notify, one sleeps",
                setup: &mut || {
                    let lock = RLock::new().unwrap();
                    let condition = Condition::with_lock(&lock).unwrap();
                    let sleeper = waiter(&condition);
                    put_to_sleep(&condition, &sleeper);
                    (lock, condition, sleeper)
                },
                prepare: &|(lock, ..)| {
                    warm();
                    std::mem::forget(lock.lock());
                },
                victim: &|(lock, condition, _)| {
                    // SAFETY: `prepare` took the lock on this thread and forgot the guard.
                    let guard = ManuallyDrop::new(unsafe { polyproc_sync::rlock::guard_of_held(lock) });
                    assert_eq!(condition.notify(&guard).unwrap(), 1);
                },
                wake: None,
                check: &mut |(_, condition, sleeper), _| {
                    let told = notify(&condition, 1);
                    has_woken(sleeper); // if it was told before, the kernel has woken it
                    nobody_is_left(&condition);
                    if told == 0 { "told before" } else { "not told before" }.to_owned()
                },
            });
            assert!(report.count("told before") > 5 && report.count("not told before") > 20);
        });
    }

    /// Nobody notifies again: whoever held the lock when he died may have been about to.
    pub(super) fn what_a_dead_notifier_did_is_found_at_the_tick() {
        run("what_a_dead_notifier_did_is_found_at_the_tick", SHORT, || {
            let report = kill_at_every_instruction(Scenario {
                name: "notify, and nobody does it again",
                setup: &mut asleep,
                prepare: &|_| warm(),
                victim: &|(condition, _)| assert_eq!(notify(condition, 1), 1),
                wake: None,
                check: &mut |(condition, sleeper), kill| {
                    let guard = condition.lock();
                    if !guard.recovered() && !kill.completed {
                        condition.notify(&guard).unwrap(); // the lock was not taken yet, or was given up again
                    }
                    drop(guard);
                    let woken = has_woken(sleeper);
                    nobody_is_left(&condition);
                    woken.to_owned()
                },
            });
            assert!(report.count("told of a death") > 20 && report.count("notified") > 20);
        });
    }

    pub(super) fn a_notifier_of_all_dies() {
        run("a_notifier_of_all_dies", SHORT, || {
            let report = kill_at_every_instruction(Scenario {
                name: "notify_all, two sleep",
                setup: &mut || {
                    let condition = Condition::new().unwrap();
                    let sleepers = [(); 2].map(|()| waiter(&condition));
                    sleepers.iter().for_each(|sleeper| put_to_sleep(&condition, sleeper));
                    (condition, sleepers)
                },
                prepare: &|_| warm(),
                victim: &|(condition, _)| assert_eq!(notify(condition, u32::MAX), 2),
                wake: None,
                check: &mut |(condition, sleepers), _| {
                    let told = notify(&condition, u32::MAX);
                    for sleeper in sleepers {
                        has_woken(sleeper);
                    }
                    nobody_is_left(&condition);
                    format!("{told} left")
                },
            });
            (0..=2).for_each(|n| assert!(report.count(&format!("{n} left")) > 0));
        });
    }

    pub(super) fn whoever_passes_a_notification_on_dies() {
        run("whoever_passes_a_notification_on_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "pass on what a dead waiter was told",
                setup: &mut || {
                    let (condition, dead) = asleep();
                    let other = waiter(&condition);
                    put_to_sleep(&condition, &other);
                    let guard = condition.lock();
                    assert_eq!(condition.notify(&guard).unwrap(), 1);
                    drop(dead); // it is killed before it has the lock
                    drop(guard);
                    (condition, other)
                },
                prepare: &|_| warm(),
                victim: &|(condition, _)| assert_eq!(notify(condition, 0), 0),
                wake: None,
                check: &mut |(condition, other), _| {
                    let waited = format!("{condition:?}").contains("waiting: 1");
                    assert_eq!(notify(&condition, 0), 0);
                    has_woken(other);
                    nobody_is_left(&condition);
                    if waited { "not passed on before" } else { "passed on before" }.to_owned()
                },
            });
            assert!(report.count("passed on before") > 20 && report.count("not passed on before") > 20);
        });
    }
}
