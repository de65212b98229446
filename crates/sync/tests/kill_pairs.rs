//! Two victims, each killed at every instruction, and a third process that sleeps and must go on.
//!
//! The tick is a minute: what only the tick repairs shows as a sleeper that stays asleep. None does: the window of the
//! lock (`raw/lock.rs`, "If the owner dies") takes a third change of turns, a waiter that is counted while the unlock
//! is on its way. That is for `states_lock.rs`.
//!
//! Every so many-th pair is tried, or all of them (minutes each) by `--ignored`.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    let _ = polyproc_sys::spin::cpus(); // asked once a process: the victims inherit the answer
    polyproc_testing::runner::main_with_ignored(
        &[
            ("an_unlocker_and_the_next_holder_die", || tests::an_unlocker_and_the_next_holder_die(&[4, 5])),
            ("two_threads_of_one_process_die_by_one_kill", || tests::two_threads_die_by_one_kill(&[4, 5])),
            ("a_waiter_and_the_unlocker_die", || tests::a_waiter_and_the_unlocker_die(&[61, 7])),
            ("two_waiters_die", || tests::two_waiters_die(&[67, 67])),
            ("an_owner_and_its_recoverer_die_in_turn", || tests::an_owner_and_its_recoverer_die(&[7, 7])),
            ("an_acquirer_and_a_releaser_die", || tests::an_acquirer_and_a_releaser_die(&[97, 7])),
        ],
        &[
            ("all_of_an_unlocker_and_the_next_holder", || tests::an_unlocker_and_the_next_holder_die(&[1, 1])),
            ("all_of_two_threads_of_one_process", || tests::two_threads_die_by_one_kill(&[1, 1])),
            ("all_of_a_waiter_and_the_unlocker", || tests::a_waiter_and_the_unlocker_die(&[1, 1])),
            ("all_of_two_waiters", || tests::two_waiters_die(&[2, 2])),
            ("all_of_an_owner_and_its_recoverer", || tests::an_owner_and_its_recoverer_die(&[1, 1])),
            ("all_of_an_acquirer_and_a_releaser", || tests::an_acquirer_and_a_releaser_die(&[1, 1])),
        ],
    )
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_shm::Family;
    use polyproc_sync::{Lock, Semaphore};
    use polyproc_testing::{Deaths, KillReport, Pair, Survivor, Victim, kill_pairs, watchdog_single_threaded};
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_secs(3600);
    /// Who sleeps for so long without a break is not about to be woken.
    const ASLEEP: Duration = Duration::from_millis(60);
    const GO: u8 = 1;
    const GOT: u8 = 2;
    const LEFT_TO_THE_TICK: &str = "left to the tick";

    /// A process that takes the lock when it is told to, and gives it up at once, or when it is told again.
    fn locker(lock: &Lock, holds: bool) -> Survivor {
        let lock = lock.clone();
        Survivor::fork(move |control| {
            assert_eq!(control.hear(), GO);
            let guard = lock.lock();
            control.say(GOT);
            if holds {
                assert_eq!(control.hear(), GO);
            }
            drop(guard);
        })
    }

    fn put_to_sleep(sleeper: &Survivor) {
        sleeper.say(GO);
        sleeper.wait_until_asleep(LIMIT);
    }

    fn warm(lock: &Lock) {
        for _ in 0..2 {
            drop(lock.lock());
        }
    }

    /// Gives up the lock that `prepare` took on this thread.
    fn unlock(lock: &Lock) {
        // SAFETY: `prepare` took the lock on this thread and forgot the guard.
        drop(unsafe { polyproc_sync::lock::guard_of_held(lock) });
    }

    /// Whether a survivor stays asleep; a wake-up that it finds to be for nothing is none. `false` when it has ended.
    fn stays_asleep(sleeper: &Survivor) -> bool {
        let start = Instant::now();
        let mut since = start;
        while !sleeper.has_ended() {
            assert!(start.elapsed() < LIMIT, "it neither sleeps nor ends: {sleeper:?}");
            if !sleeper.is_asleep() {
                since = Instant::now();
            } else if since.elapsed() > ASLEEP {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    /// Nobody living holds the lock: the sleeper must have it, or get it from whoever asks next.
    fn judge(lock: &Lock, sleeper: Survivor) -> String {
        let left = stays_asleep(&sleeper);
        if left {
            drop(lock.try_lock().expect("nobody living holds the lock")); // finds the sleeper in the count
        }
        assert_eq!(sleeper.hear(LIMIT), GOT, "the sleeper gets the lock");
        assert_eq!(sleeper.finish(LIMIT), 0);
        drop(lock.lock_timeout(LIMIT).expect("nobody living holds the lock"));
        Family::get().unwrap().reap();
        if left { LEFT_TO_THE_TICK } else { "woken" }.to_owned()
    }

    fn no_window(report: &KillReport) {
        assert_eq!(report.count(LEFT_TO_THE_TICK), 0, "{report}");
    }

    /// An unlock, and a taking of the lock meanwhile.
    fn unlocker_and_taker(name: &str, deaths: Deaths, every: &[usize; 2]) {
        watchdog_single_threaded("unlocker_and_taker", LONG, || {
            let report = kill_pairs(Pair {
                name,
                deaths,
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let sleeper = locker(&lock, false);
                    (lock, sleeper)
                },
                victims: [
                    Victim {
                        prepare: &|(lock, sleeper): &(Lock, Survivor)| {
                            warm(lock);
                            std::mem::forget(lock.lock());
                            put_to_sleep(sleeper);
                        },
                        op: &|(lock, _)| unlock(lock),
                        every: every[0],
                    },
                    Victim {
                        prepare: &|_| warm(&Lock::new().unwrap()),
                        op: &|(lock, _)| drop(lock.try_lock()),
                        every: every[1],
                    },
                ],
                between: &|_| (),
                check: &mut |(lock, sleeper), _| judge(&lock, sleeper),
            });
            no_window(&report);
        });
    }

    pub(super) fn an_unlocker_and_the_next_holder_die(every: &[usize; 2]) {
        unlocker_and_taker("unlock, and somebody takes the lock", Deaths::Together, every);
    }

    pub(super) fn two_threads_die_by_one_kill(every: &[usize; 2]) {
        unlocker_and_taker("the same by two threads of one process", Deaths::OneProcess, every);
    }

    /// The waiter comes first, and may be asleep when the unlocker wakes it; another sleeps behind.
    pub(super) fn a_waiter_and_the_unlocker_die(every: &[usize; 2]) {
        watchdog_single_threaded("a_waiter_and_the_unlocker_die", LONG, || {
            let report = kill_pairs(Pair {
                name: "a waiter, and the unlocker",
                deaths: Deaths::Together,
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let sleeper = locker(&lock, false);
                    (lock, sleeper)
                },
                victims: [
                    Victim {
                        prepare: &|_: &(Lock, Survivor)| warm(&Lock::new().unwrap()),
                        op: &|(lock, _)| drop(lock.lock()),
                        every: every[0],
                    },
                    Victim {
                        prepare: &|(lock, _)| {
                            warm(lock);
                            std::mem::forget(lock.lock());
                        },
                        op: &|(lock, _)| unlock(lock),
                        every: every[1],
                    },
                ],
                between: &|(_, sleeper)| put_to_sleep(sleeper),
                check: &mut |(lock, sleeper), _| judge(&lock, sleeper),
            });
            no_window(&report);
        });
    }

    /// One before a third sleeper, one behind; the holder gives up when both are dead.
    pub(super) fn two_waiters_die(every: &[usize; 2]) {
        watchdog_single_threaded("two_waiters_die", LONG, || {
            let warm: &(dyn Fn(&_) + Sync) = &|_| warm(&Lock::new().unwrap());
            let op: &(dyn Fn(&_) + Sync) = &|(lock, ..): &(Lock, Survivor, Survivor)| drop(lock.lock());
            let report = kill_pairs(Pair {
                name: "two waiters",
                deaths: Deaths::Together,
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let (holder, sleeper) = (locker(&lock, true), locker(&lock, false));
                    holder.say(GO);
                    assert_eq!(holder.hear(LIMIT), GOT);
                    (lock, holder, sleeper)
                },
                victims: [Victim { prepare: warm, op, every: every[0] }, Victim { prepare: warm, op, every: every[1] }],
                between: &|(_, _, sleeper)| put_to_sleep(sleeper),
                check: &mut |(lock, holder, sleeper), _| {
                    holder.say(GO);
                    assert_eq!(holder.finish(LIMIT), 0);
                    judge(&lock, sleeper)
                },
            });
            no_window(&report);
        });
    }

    /// The owner dies; then one that takes the lock from its dead hands, if the sleeper that was woken does not come
    /// first.
    pub(super) fn an_owner_and_its_recoverer_die(every: &[usize; 2]) {
        watchdog_single_threaded("an_owner_and_its_recoverer_die", LONG, || {
            let report = kill_pairs(Pair {
                name: "lock + unlock, and then the next one",
                deaths: Deaths::InTurn,
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let sleeper = locker(&lock, false);
                    (lock, sleeper)
                },
                victims: [
                    Victim {
                        prepare: &|(lock, sleeper): &(Lock, Survivor)| {
                            warm(lock);
                            std::mem::forget(lock.lock());
                            put_to_sleep(sleeper);
                        },
                        op: &|(lock, _)| unlock(lock),
                        every: every[0],
                    },
                    Victim {
                        prepare: &|_| warm(&Lock::new().unwrap()),
                        op: &|(lock, _)| drop(lock.lock()),
                        every: every[1],
                    },
                ],
                between: &|_| (),
                check: &mut |(lock, sleeper), _| judge(&lock, sleeper),
            });
            no_window(&report);
        });
    }

    /// Both sleep for a permit, the victim first; a permit that the dead has taken is lost, as documented, and no
    /// other.
    pub(super) fn an_acquirer_and_a_releaser_die(every: &[usize; 2]) {
        watchdog_single_threaded("an_acquirer_and_a_releaser_die", LONG, || {
            let report = kill_pairs(Pair {
                name: "acquire, and release",
                deaths: Deaths::Together,
                setup: &mut || {
                    let semaphore = Semaphore::new(0).unwrap();
                    let sleeper = {
                        let semaphore = semaphore.clone();
                        Survivor::fork(move |control| {
                            assert_eq!(control.hear(), GO);
                            semaphore.acquire();
                            control.say(GOT);
                        })
                    };
                    (semaphore, sleeper)
                },
                victims: [
                    Victim {
                        prepare: &|_: &(Semaphore, Survivor)| {
                            let other = Semaphore::new(1).unwrap();
                            other.acquire();
                        },
                        op: &|(semaphore, _)| semaphore.acquire(),
                        every: every[0],
                    },
                    Victim {
                        prepare: &|_| Semaphore::new(0).unwrap().release().unwrap(),
                        op: &|(semaphore, _)| semaphore.release().unwrap(),
                        every: every[1],
                    },
                ],
                between: &|(_, sleeper)| put_to_sleep(sleeper),
                check: &mut |(semaphore, sleeper), _| {
                    let left = stays_asleep(&sleeper);
                    let lost = left && semaphore.available() == 0;
                    if left {
                        semaphore.release().unwrap();
                    }
                    assert_eq!(sleeper.hear(LIMIT), GOT, "the sleeper gets a permit");
                    assert_eq!(sleeper.finish(LIMIT), 0);
                    Family::get().unwrap().reap();
                    if lost {
                        "lost, or never released"
                    } else if left {
                        LEFT_TO_THE_TICK
                    } else {
                        "woken"
                    }
                    .to_owned()
                },
            });
            no_window(&report);
        });
    }
}
