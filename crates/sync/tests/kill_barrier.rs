//! The barrier, killed at every instruction: as the last party, alone and before two sleepers; as one that comes,
//! sleeps and is woken; as one whose time is up; as one that aborts, and one that resets.
//!
//! The others have a whole round or are told that it is broken. The tick is a minute, so that what only the tick
//! repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("the_last_of_two_dies", tests::the_last_of_two_dies),
        ("the_last_of_three_dies", tests::the_last_of_three_dies),
        ("the_first_dies_before_or_behind_a_sleeper", tests::the_first_dies_before_or_behind_a_sleeper),
        ("one_without_patience_dies", tests::one_without_patience_dies),
        ("one_that_aborts_dies", tests::one_that_aborts_dies),
        ("one_that_resets_dies", tests::one_that_resets_dies),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_shm::{Family, Kind, Participant};
    use polyproc_sync::raw::RawBarrier;
    use polyproc_sync::raw::barrier::{HEADER, NotPassed};
    use polyproc_sys::Deadline;
    use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
    use polyproc_testing::{KillReport, Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::RefCell;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_secs(240);
    const PASSED: u8 = 2;
    const BROKEN: u8 = 3;

    /// A barrier in the family's memory, for ever, and how often its action has been run.
    #[derive(Clone, Copy)]
    struct Door {
        barrier: &'static RawBarrier,
        actions: &'static AtomicU64,
    }

    impl Door {
        fn new(parties: u32) -> Self {
            let len = HEADER + parties as usize * 8;
            let family = Family::get().unwrap();
            let (bytes, actions) = (family.alloc(len as u64, Kind::Barrier), family.alloc(8, Kind::Control));
            let (bytes, actions) = (bytes.unwrap(), actions.unwrap());
            // SAFETY: aligned bytes, mapped for ever, of a block that is never freed; only atomics.
            let barrier = unsafe { &*RawBarrier::at(bytes.as_ptr().cast_const(), len) };
            // SAFETY: as above.
            let counter = unsafe { &*actions.as_ptr().cast_const().cast::<AtomicU64>() };
            std::mem::forget((bytes, actions));
            barrier.reset_bytes(parties);
            counter.store(0, SeqCst);
            Self { barrier, actions: counter }
        }

        fn wait_until(self, deadline: Deadline) -> Result<usize, NotPassed> {
            let family = Family::get().unwrap();
            let me = family.participant().unwrap().to_word();
            let dead = |thread| !family.is_alive(Participant::from_word(thread));
            let action = || _ = self.actions.fetch_add(1, SeqCst);
            self.barrier.wait(me, dead, |_| {}, deadline, action)
        }

        fn wait(self) -> Result<usize, NotPassed> {
            self.wait_until(Deadline::NEVER)
        }

        /// Passes if it is not broken: with the rest of its parties, of which so many are here.
        fn is_usable(self) -> bool {
            self.barrier.reset();
            if self.barrier.parties() == 1 {
                return self.wait().is_ok();
            }
            let others: Vec<_> = (1..self.barrier.parties()).map(|_| asleep(self)).collect();
            self.wait().is_ok() && others.into_iter().all(|other| told(other) == PASSED)
        }
    }

    /// A process that waits, and tells how it ended.
    fn asleep(door: Door) -> Survivor {
        let survivor = Survivor::fork(move |control| {
            control.say(1);
            control.say(if door.wait().is_ok() { PASSED } else { BROKEN });
        });
        assert_eq!(survivor.hear(LIMIT), 1);
        survivor.wait_until_asleep(LIMIT);
        survivor
    }

    fn told(survivor: Survivor) -> u8 {
        let how = survivor.hear(LIMIT);
        assert_eq!(survivor.finish(LIMIT), 0);
        how
    }

    fn warm() {
        let door = Door::new(2);
        assert_eq!(door.wait_until(Deadline::after(Duration::from_millis(1))), Err(NotPassed::TimedOut));
        door.barrier.reset();
        assert!(Door::new(1).wait().is_ok());
    }

    /// All must have been told the same.
    fn all(sleepers: impl IntoIterator<Item = Survivor>) -> u8 {
        let mut how = sleepers.into_iter().map(told);
        let first = how.next().expect("a sleeper");
        assert!(how.all(|h| h == first), "some passed and some did not");
        first
    }

    /// The last one of a round is killed while the others sleep.
    fn last<const SLEEPERS: usize>(parties: u32) -> KillReport {
        kill_at_every_instruction(Scenario {
            name: if SLEEPERS == 1 { "the last of two" } else { "the last of three" },
            setup: &mut || {
                let door = Door::new(parties);
                (door, [(); SLEEPERS].map(|()| asleep(door)))
            },
            prepare: &|_| warm(),
            victim: &|(door, _)| _ = door.wait(),
            wake: None,
            check: &mut |(door, sleepers), kill| {
                let outcome = if door.barrier.waiting() == SLEEPERS {
                    assert!(!kill.completed);
                    assert_eq!(door.wait(), Ok(SLEEPERS), "somebody takes the place of the one that never came");
                    assert_eq!(all(sleepers), PASSED);
                    "never came"
                } else if all(sleepers) == PASSED {
                    assert_eq!(door.actions.load(SeqCst), 1);
                    "passed"
                } else {
                    assert!(door.barrier.is_broken() && !kill.completed);
                    assert!(door.actions.load(SeqCst) <= 1);
                    "broken"
                };
                assert!(!kill.completed || door.is_usable()); // at one point of many: it takes time
                outcome.to_owned()
            },
        })
    }

    pub(super) fn the_last_of_two_dies() {
        watchdog_single_threaded("the_last_of_two_dies", LONG, || {
            let report = last::<1>(2);
            assert!(["never came", "broken", "passed"].iter().all(|o| report.count(o) > 3));
        });
    }

    pub(super) fn the_last_of_three_dies() {
        watchdog_single_threaded("the_last_of_three_dies", LONG, || {
            let report = last::<2>(3);
            assert!(["never came", "broken", "passed"].iter().all(|o| report.count(o) > 3));
        });
    }

    type Others = RefCell<Vec<Survivor>>;

    /// One that is not the last is killed on its way to sleep, asleep, and on its way out, behind another or before it.
    pub(super) fn the_first_dies_before_or_behind_a_sleeper() {
        let run = |first: bool| {
            let report = kill_at_every_instruction(Scenario {
                name: if first { "one of three, before a sleeper" } else { "one of three, behind a sleeper" },
                setup: &mut || {
                    let door = Door::new(3);
                    (door, Others::new(if first { Vec::new() } else { vec![asleep(door)] }))
                },
                prepare: &|_| warm(),
                victim: &|(door, _)| _ = door.wait(),
                wake: Some(&|(door, others)| {
                    if door.actions.load(SeqCst) == 0 {
                        if first {
                            others.borrow_mut().push(asleep(*door));
                        }
                        assert_eq!(door.wait(), Ok(2));
                    }
                    true
                }),
                check: &mut |(door, others), _| {
                    let here = others.borrow().len();
                    if door.actions.load(SeqCst) == 1 {
                        assert_eq!(all(others.into_inner()), PASSED);
                        return "passed".to_owned();
                    }
                    if door.barrier.waiting() == here && !door.barrier.is_broken() {
                        door.barrier.abort();
                        assert!(others.into_inner().into_iter().all(|o| told(o) == BROKEN));
                        return "never came".to_owned();
                    }
                    // It was there, and is dead: who sleeps finds out at once, and so does who comes.
                    assert!(others.into_inner().into_iter().all(|o| told(o) == BROKEN));
                    assert_eq!(door.wait(), Err(NotPassed::Broken));
                    "broken".to_owned()
                },
            });
            assert!(["never came", "broken", "passed"].iter().all(|o| report.count(o) > 3));
        };
        watchdog_single_threaded("the_first_dies_before_or_behind_a_sleeper", LONG, || {
            run(false);
            run(true);
        });
    }

    pub(super) fn one_without_patience_dies() {
        watchdog_single_threaded("one_without_patience_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "one of three without patience, two sleep",
                setup: &mut || {
                    let door = Door::new(4);
                    (door, [(); 2].map(|()| asleep(door)))
                },
                prepare: &|_| warm(),
                victim: &|(door, _)| _ = door.wait_until(Deadline::PAST),
                wake: None,
                check: &mut |(door, sleepers), kill| {
                    let came = door.barrier.waiting() != 2;
                    assert!(came || !kill.completed);
                    if !came {
                        door.barrier.abort();
                    }
                    assert_eq!(all(sleepers), BROKEN);
                    if came { "broken" } else { "never came" }.to_owned()
                },
            });
            assert!(["never came", "broken"].iter().all(|o| report.count(o) > 3));
        });
    }

    /// One that is no party is killed in `act`, while two of three sleep.
    fn outsider(name: &str, act: fn(&RawBarrier)) {
        let report = kill_at_every_instruction(Scenario {
            name,
            setup: &mut || {
                let door = Door::new(3);
                (door, [(); 2].map(|()| asleep(door)))
            },
            prepare: &|_| {
                warm();
                let door = Door::new(2);
                door.barrier.abort();
                act(door.barrier);
            },
            victim: &|(door, _)| act(door.barrier),
            wake: None,
            check: &mut |(door, sleepers), kill| {
                let done = door.barrier.waiting() != 2;
                assert!(done || !kill.completed);
                if done {
                    assert_eq!(all(sleepers), BROKEN);
                } else {
                    assert_eq!(door.wait(), Ok(2));
                    assert_eq!(all(sleepers), PASSED);
                }
                assert!(!kill.completed || door.is_usable());
                if done { "broken" } else { "never came" }.to_owned()
            },
        });
        assert!(["never came", "broken"].iter().all(|o| report.count(o) > 3));
    }

    pub(super) fn one_that_aborts_dies() {
        watchdog_single_threaded("one_that_aborts_dies", LONG, || outsider("abort, two sleep", RawBarrier::abort));
    }

    pub(super) fn one_that_resets_dies() {
        watchdog_single_threaded("one_that_resets_dies", LONG, || outsider("reset, two sleep", RawBarrier::reset));
    }
}
