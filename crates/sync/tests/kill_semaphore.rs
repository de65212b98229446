//! The semaphore, killed at every instruction: as the one that acquires and releases, as owner, as the one that gives a
//! permit back before a sleeper, as sleeper, and as the one just woken.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("a_permit_in_a_forked_child_does_nothing", tests::a_permit_in_a_forked_child_does_nothing),
        ("one_that_counts_dies_alone", tests::one_that_counts_dies_alone),
        ("an_owner_dies_alone", tests::an_owner_dies_alone),
        ("an_owner_of_two_dies_beside_counted_ones", tests::an_owner_of_two_dies_beside_counted_ones),
        ("a_releaser_dies_before_two_sleepers", tests::a_releaser_dies_before_two_sleepers),
        ("an_owner_dies_before_two_sleepers", tests::an_owner_dies_before_two_sleepers),
        ("a_sleeper_dies_behind_another", tests::a_sleeper_dies_behind_another),
        ("the_woken_dies_before_another_sleeper", tests::the_woken_dies_before_another_sleeper),
        ("a_sleeper_to_be_an_owner_dies_behind_another", tests::a_sleeper_to_be_an_owner_dies_behind_another),
        ("the_woken_to_be_an_owner_dies_before_another", tests::the_woken_to_be_an_owner_dies_before_another),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::{Permit, Semaphore};
    use polyproc_sys::Deadline;
    use polyproc_testing::{KillReport, Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const GO: u8 = 1;

    /// A semaphore that is never freed, so that a state can hold permits of it.
    fn leaked(permits: u32) -> &'static Semaphore {
        Box::leak(Box::new(Semaphore::new(permits).unwrap()))
    }

    fn warm() {
        let other = leaked(1);
        for _ in 0..2 {
            other.acquire();
            other.release().unwrap();
            drop(other.acquire_owned().unwrap());
        }
        other.acquire();
        assert!(other.acquire_timeout(Duration::from_millis(1)).is_err()); // asks for the number of CPUs, spins, sleeps
    }

    /// A process that takes a permit when it is told to, and keeps it until it is told again.
    fn taker(semaphore: &'static Semaphore, owned: bool) -> Survivor {
        Survivor::fork(move |control| {
            assert_eq!(control.hear(), GO);
            if owned {
                let permit = semaphore.acquire_owned().unwrap();
                control.say(2);
                assert_eq!(control.hear(), GO);
                drop(permit);
            } else {
                semaphore.acquire();
                control.say(2);
                assert_eq!(control.hear(), GO);
                semaphore.release().unwrap();
            }
        })
    }

    fn put_to_sleep(taker: &Survivor) {
        taker.say(GO);
        taker.wait_until_asleep(LIMIT);
    }

    fn has_one(taker: &Survivor) {
        assert_eq!(taker.hear(LIMIT), 2, "the sleeper gets a permit");
    }

    fn done(taker: Survivor) {
        taker.say(GO);
        assert_eq!(taker.finish(LIMIT), 0);
    }

    /// Takes what there is to be had, counted or owned, and says how many it was.
    fn take_all(semaphore: &'static Semaphore, owned: bool) -> u64 {
        let seen = semaphore.available();
        let mut taken = 0;
        if owned {
            let mut permits = Vec::new();
            while let Ok(permit) = semaphore.try_acquire_owned() {
                permits.push(permit);
            }
            taken += permits.len() as u64;
        } else {
            while semaphore.try_acquire() {
                taken += 1;
            }
        }
        assert_eq!(taken, seen, "all that is available can be had");
        taken
    }

    fn label(permits: u64) -> String {
        format!("{permits} permits")
    }

    pub(super) fn a_permit_in_a_forked_child_does_nothing() {
        let semaphore = leaked(2);
        let kept = Cell::new(Some(semaphore.acquire_owned().unwrap()));
        let child = Survivor::fork(|control| {
            let own = semaphore.acquire_owned().unwrap(); // the inherited announcement names the same gate
            drop(kept.take());
            assert_eq!(semaphore.available(), 0, "the parent has one and the child has one");
            control.say(2);
            assert_eq!(control.hear(), GO);
            drop(own);
        });
        has_one(&child);
        assert_eq!(semaphore.available(), 0);
        let sleeper = taker(semaphore, false);
        put_to_sleep(&sleeper);
        drop(child); // killed as owner
        has_one(&sleeper);
        done(sleeper);
        drop(kept.take());
        assert_eq!(semaphore.available(), 2);
    }

    pub(super) fn one_that_counts_dies_alone() {
        watchdog_single_threaded("one_that_counts_dies_alone", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "acquire + release",
                setup: &mut || leaked(2),
                prepare: &|_| warm(),
                victim: &|s: &&Semaphore| {
                    s.acquire();
                    s.release().unwrap();
                },
                wake: None,
                check: &mut |s, _| {
                    let left = take_all(s, false);
                    assert!(left == 1 || left == 2, "at most the permit of the killed is lost: {left}");
                    label(left)
                },
            });
            assert!(report.count("1 permits") > 0 && report.count("2 permits") > 0);
        });
    }

    pub(super) fn an_owner_dies_alone() {
        watchdog_single_threaded("an_owner_dies_alone", Duration::from_secs(240), || {
            for owned in [false, true] {
                let report = kill_at_every_instruction(Scenario {
                    name: "acquire_owned + drop",
                    setup: &mut || leaked(1),
                    prepare: &|_| warm(),
                    victim: &|s: &&'static Semaphore| {
                        drop(s.acquire_owned().unwrap()); // moved from the count
                        drop(s.acquire_owned().unwrap()); // in the cell
                    },
                    wake: None,
                    check: &mut |s, _| {
                        let left = take_all(s, owned);
                        assert_eq!(left, 1, "the permit of the killed is there");
                        label(left)
                    },
                });
                assert!(report.points > 50);
            }
        });
    }

    pub(super) fn an_owner_of_two_dies_beside_counted_ones() {
        watchdog_single_threaded("an_owner_of_two_dies_beside_counted_ones", Duration::from_secs(240), || {
            let report = kill_at_every_instruction(Scenario {
                name: "two owned, one counted out of a cell, given back out of order",
                setup: &mut || leaked(3),
                prepare: &|_| warm(),
                victim: &|s: &&'static Semaphore| {
                    let (a, b, c) = (s.acquire_owned(), s.acquire_owned(), s.acquire_owned());
                    drop(b);
                    s.acquire(); // out of the cell
                    s.release().unwrap();
                    let b = s.acquire_owned(); // moved once more
                    drop((a, b, c));
                },
                wake: None,
                check: &mut |s, _| {
                    let left = take_all(s, true);
                    assert!(left == 2 || left == 3, "at most the counted permit is lost: {left}");
                    label(left)
                },
            });
            assert!(report.count("2 permits") > 0 && report.count("3 permits") > 0);
        });
    }

    pub(super) fn a_releaser_dies_before_two_sleepers() {
        watchdog_single_threaded("a_releaser_dies_before_two_sleepers", Duration::from_secs(240), || {
            let report = kill_at_every_instruction(Scenario {
                name: "release_n(2), two sleep",
                setup: &mut || {
                    let s = leaked(0);
                    let sleepers = [taker(s, false), taker(s, true)];
                    sleepers.iter().for_each(put_to_sleep);
                    (s, sleepers)
                },
                prepare: &|_| warm(),
                victim: &|(s, _)| s.release_n(2).unwrap(),
                wake: None,
                check: &mut |(s, sleepers), kill| {
                    let released = were_released(s, &sleepers);
                    if !released {
                        assert!(!kill.completed);
                        s.release_n(2).unwrap();
                    }
                    sleepers.iter().for_each(has_one);
                    sleepers.into_iter().for_each(done);
                    assert_eq!(take_all(s, false), 2, "no permit is lost or doubled");
                    if released { "released" } else { "never released" }.to_owned()
                },
            });
            assert!(report.count("released") > 0 && report.count("never released") > 0);
        });
    }

    /// Whether two permits came for two sleepers, once both have them; if none came both go on sleeping.
    fn were_released(s: &Semaphore, sleepers: &[Survivor; 2]) -> bool {
        let deadline = Deadline::after(LIMIT);
        loop {
            if s.available() == 0 {
                match sleepers.each_ref().map(Survivor::is_asleep) {
                    [true, true] => return false,
                    [false, false] => return true,
                    _ => {}
                }
            }
            assert!(!deadline.is_past(), "one sleeps beside a permit: {s:?}");
            std::thread::yield_now();
        }
    }

    type Kept = RefCell<Option<[Permit<'static>; 2]>>;

    /// The victim owns two permits when it is killed, or has just given one of them back: both sleepers get one.
    pub(super) fn an_owner_dies_before_two_sleepers() {
        watchdog_single_threaded("an_owner_dies_before_two_sleepers", Duration::from_secs(240), || {
            let report = kill_at_every_instruction(Scenario {
                name: "two permits are given back, two sleep",
                setup: &mut || {
                    let s = leaked(2);
                    (s, [taker(s, false), taker(s, true)], Kept::default())
                },
                prepare: &|(s, sleepers, kept)| {
                    warm();
                    *kept.borrow_mut() = Some([s.acquire_owned().unwrap(), s.acquire_owned().unwrap()]);
                    sleepers.iter().for_each(put_to_sleep);
                },
                victim: &|(_, _, kept)| {
                    if let Some([first, second]) = kept.take() {
                        drop(second);
                        drop(first);
                    }
                },
                wake: None,
                check: &mut |(s, sleepers, _), _| {
                    sleepers.iter().for_each(has_one);
                    sleepers.into_iter().for_each(done);
                    label(take_all(s, true))
                },
            });
            assert_eq!(report.count("2 permits"), report.points, "no permit is lost or doubled");
        });
    }

    /// The victim sleeps behind another; two permits come at once.
    fn behind(owned: bool) -> KillReport {
        kill_at_every_instruction(Scenario {
            name: if owned { "acquire_owned, behind a sleeper" } else { "acquire, behind a sleeper" },
            setup: &mut || {
                let s = leaked(0);
                let sleeper = taker(s, !owned);
                put_to_sleep(&sleeper);
                (s, sleeper, Cell::new(false))
            },
            prepare: &|_| warm(),
            victim: &|(s, ..)| take_one(s, owned),
            wake: Some(&|(s, _, released)| release_two(s, released)),
            check: &mut |(s, sleeper, released), _| {
                release_two(s, &released);
                has_one(&sleeper);
                done(sleeper);
                left(s, owned)
            },
        })
    }

    /// The victim sleeps first, another behind it; two permits come at once, the victim is woken and dies on its way.
    fn before(owned: bool) -> KillReport {
        kill_at_every_instruction(Scenario {
            name: if owned { "acquire_owned, before a sleeper" } else { "acquire, before a sleeper" },
            setup: &mut || {
                let s = leaked(0);
                (s, taker(s, !owned), Cell::new(false))
            },
            prepare: &|_| warm(),
            victim: &|(s, ..)| take_one(s, owned),
            wake: Some(&|(s, sleeper, released)| {
                if !released.get() {
                    put_to_sleep(sleeper);
                }
                release_two(s, released)
            }),
            check: &mut |(s, sleeper, released), _| {
                if !released.get() {
                    sleeper.say(GO); // the victim never slept
                }
                release_two(s, &released);
                has_one(&sleeper);
                done(sleeper);
                left(s, owned)
            },
        })
    }

    /// An owned permit is kept to the victim's end, that is past the last kill.
    fn take_one(s: &'static Semaphore, owned: bool) {
        if owned {
            std::mem::forget(s.acquire_owned().unwrap());
        } else {
            s.acquire();
        }
    }

    /// Releases two permits at once, so that one ring stands for both, unless that was done.
    fn release_two(s: &Semaphore, released: &Cell<bool>) -> bool {
        if !released.replace(true) {
            s.release_n(2).unwrap();
        }
        true
    }

    fn left(s: &'static Semaphore, owned: bool) -> String {
        let left = take_all(s, true);
        assert!(left == 2 || (left == 1 && !owned), "at most a counted permit of the killed is lost: {left}");
        label(left)
    }

    pub(super) fn a_sleeper_dies_behind_another() {
        watchdog_single_threaded("a_sleeper_dies_behind_another", Duration::from_secs(300), || {
            assert!(behind(false).points > 50);
        });
    }

    pub(super) fn the_woken_dies_before_another_sleeper() {
        watchdog_single_threaded("the_woken_dies_before_another_sleeper", Duration::from_secs(300), || {
            assert!(before(false).points > 50);
        });
    }

    pub(super) fn a_sleeper_to_be_an_owner_dies_behind_another() {
        watchdog_single_threaded("a_sleeper_to_be_an_owner_dies_behind_another", Duration::from_secs(300), || {
            assert!(behind(true).points > 50);
        });
    }

    pub(super) fn the_woken_to_be_an_owner_dies_before_another() {
        watchdog_single_threaded("the_woken_to_be_an_owner_dies_before_another", Duration::from_secs(300), || {
            assert!(before(true).points > 50);
        });
    }
}
