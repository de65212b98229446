//! The lock, killed at every instruction: as holder with and without a sleeper, as sleeper, and as the one just woken.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("the_holder_dies_alone", tests::the_holder_dies_alone),
        ("the_unlocker_dies_before_a_sleeper", tests::the_unlocker_dies_before_a_sleeper),
        ("a_nested_holder_dies", tests::a_nested_holder_dies),
        ("a_sleeper_dies_behind_another", tests::a_sleeper_dies_behind_another),
        ("the_woken_dies_before_another_sleeper", tests::the_woken_dies_before_another_sleeper),
        ("two_schedules_that_strand_glibc", tests::two_schedules_that_strand_glibc),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::Lock;
    use polyproc_testing::{Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::Cell;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const GO: u8 = 1;

    /// A process that takes the lock when it is told to, and gives it up at once, or when it is told again.
    fn locker(lock: &Lock, holds: bool) -> Survivor {
        let lock = lock.clone();
        Survivor::fork(move |control| {
            assert_eq!(control.hear(), GO);
            let guard = lock.lock();
            control.say(2);
            if holds {
                assert_eq!(control.hear(), GO);
            }
            drop(guard);
            control.say(3);
        })
    }

    /// Starts the locker and waits until it sleeps.
    fn put_to_sleep(locker: &Survivor) {
        locker.say(GO);
        locker.wait_until_asleep(LIMIT);
    }

    /// The lock must be free for everybody, now.
    fn must_be_free(lock: &Lock) -> bool {
        let guard = lock.lock_timeout(LIMIT).expect("nobody living holds the lock");
        guard.recovered()
    }

    fn done(locker: Survivor) {
        assert_eq!(locker.hear(LIMIT), 2, "the sleeper gets the lock");
        assert_eq!(locker.hear(LIMIT), 3);
        assert_eq!(locker.finish(LIMIT), 0);
    }

    fn warm(lock: &Lock) {
        for _ in 0..2 {
            drop(lock.lock());
        }
    }

    fn label(died: bool) -> String {
        if died { "died" } else { "free" }.to_owned()
    }

    pub(super) fn the_holder_dies_alone() {
        watchdog_single_threaded("the_holder_dies_alone", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "lock + unlock",
                setup: &mut || Lock::new().unwrap(),
                prepare: &warm,
                victim: &|lock| drop(lock.lock()),
                wake: None,
                check: &mut |lock, _| label(must_be_free(&lock)),
            });
            assert!(report.count("died") > 0 && report.count("free") > 0);
        });
    }

    pub(super) fn the_unlocker_dies_before_a_sleeper() {
        watchdog_single_threaded("the_unlocker_dies_before_a_sleeper", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "unlock, somebody sleeps",
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let sleeper = locker(&lock, false);
                    (lock, sleeper)
                },
                prepare: &|(lock, sleeper)| {
                    warm(lock);
                    std::mem::forget(lock.lock());
                    put_to_sleep(sleeper);
                },
                // SAFETY: `prepare` took the lock on this thread and forgot the guard.
                victim: &|(lock, _)| unsafe { unlock(lock) },
                wake: None,
                check: &mut |(lock, sleeper), _| {
                    done(sleeper);
                    label(must_be_free(&lock))
                },
            });
            assert!(report.points > 20);
        });
    }

    /// Gives up a lock whose guard was forgotten.
    unsafe fn unlock(lock: &Lock) {
        // SAFETY: the caller's duty; a guard holds nothing but the thread's id and the state of the lock.
        let guard = unsafe { polyproc_sync::lock::guard_of_held(lock) };
        drop(guard);
    }

    pub(super) fn a_nested_holder_dies() {
        watchdog_single_threaded("a_nested_holder_dies", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "three locks nested, given up out of order",
                setup: &mut || [(); 3].map(|()| Lock::new().unwrap()),
                prepare: &|locks| locks.iter().for_each(warm),
                victim: &|[a, b, c]| {
                    let a = a.lock();
                    let b = b.lock();
                    let c = c.lock();
                    drop(b);
                    drop(a);
                    drop(c);
                },
                wake: None,
                check: &mut |locks, _| {
                    let died = locks.iter().filter(|lock| must_be_free(lock)).count();
                    format!("{died} died")
                },
            });
            assert!(report.count("3 died") > 0 && report.count("0 died") > 0);
        });
    }

    /// The victim sleeps behind another; the holder gives up.
    pub(super) fn a_sleeper_dies_behind_another() {
        watchdog_single_threaded("a_sleeper_dies_behind_another", Duration::from_secs(300), || {
            let report = kill_at_every_instruction(Scenario {
                name: "lock, held, behind a sleeper",
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let (holder, sleeper) = (locker(&lock, true), locker(&lock, false));
                    holder.say(GO);
                    assert_eq!(holder.hear(LIMIT), 2);
                    put_to_sleep(&sleeper);
                    (lock, holder, sleeper, Cell::new(false))
                },
                prepare: &|_| warm(&Lock::new().unwrap()),
                victim: &|(lock, ..)| drop(lock.lock()),
                wake: Some(&|(_, holder, _, released)| {
                    if !released.replace(true) {
                        holder.say(GO);
                    }
                    true
                }),
                check: &mut |(lock, holder, sleeper, released), _| {
                    if !released.get() {
                        holder.say(GO); // the victim never slept
                    }
                    assert_eq!(holder.hear(LIMIT), 3);
                    done(sleeper);
                    label(must_be_free(&lock))
                },
            });
            assert!(report.points > 50);
        });
    }

    /// The victim sleeps first, another behind it; the holder gives up, the victim is woken and dies on its way.
    pub(super) fn the_woken_dies_before_another_sleeper() {
        watchdog_single_threaded("the_woken_dies_before_another_sleeper", Duration::from_secs(300), || {
            let report = kill_at_every_instruction(Scenario {
                name: "lock, held, before a sleeper",
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let (holder, sleeper) = (locker(&lock, true), locker(&lock, false));
                    holder.say(GO);
                    assert_eq!(holder.hear(LIMIT), 2);
                    (lock, holder, sleeper, Cell::new(false))
                },
                prepare: &|_| warm(&Lock::new().unwrap()),
                victim: &|(lock, ..)| drop(lock.lock()),
                wake: Some(&|(_, holder, sleeper, released)| {
                    if !released.replace(true) {
                        put_to_sleep(sleeper);
                        holder.say(GO);
                    }
                    true
                }),
                check: &mut |(lock, holder, sleeper, released), _| {
                    if !released.get() {
                        holder.say(GO); // the victim never slept
                        sleeper.say(GO);
                    }
                    assert_eq!(holder.hear(LIMIT), 3);
                    done(sleeper);
                    label(must_be_free(&lock))
                },
            });
            assert!(report.points > 50);
        });
    }

    /// A waker or a woken one dies while a third process has slipped in and holds the lock without knowing of sleepers:
    /// with glibc's robust mutex the second sleeper is stranded. Here the victim is the unlocker, killed at each
    /// instruction, and the harness itself is the one that slips in.
    pub(super) fn two_schedules_that_strand_glibc() {
        watchdog_single_threaded("two_schedules_that_strand_glibc", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "unlock, two sleep, a third one slips in",
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let sleepers = [(); 2].map(|()| locker(&lock, false));
                    (lock, sleepers)
                },
                prepare: &|(lock, sleepers)| {
                    warm(lock);
                    std::mem::forget(lock.lock());
                    sleepers.iter().for_each(put_to_sleep);
                },
                // SAFETY: `prepare` took the lock on this thread and forgot the guard.
                victim: &|(lock, _)| unsafe { unlock(lock) },
                wake: None,
                check: &mut |(lock, sleepers), _| {
                    let slipped_in = lock.try_lock().map(drop).is_some();
                    sleepers.into_iter().for_each(done);
                    must_be_free(&lock);
                    if slipped_in { "slipped in" } else { "too late" }.to_owned()
                },
            });
            assert!(report.count("slipped in") > 0);
        });
    }
}
