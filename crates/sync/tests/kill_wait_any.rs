//! Waiting for several things, killed at every instruction: beside one who waits for a permit alone, and beside one
//! who waits for the event alone; and one who posts, killed before both.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_testing::stay_on_one_cpu(); // no kill points in spinning
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("a_waiter_dies_before_a_taker", tests::a_waiter_dies_before_a_taker),
        ("a_waiter_dies_beside_one_who_waits_for_the_event", tests::a_waiter_dies_beside_one_who_waits_for_the_event),
        ("a_poster_dies_before_a_waiter_and_a_taker", tests::a_poster_dies_before_a_waiter_and_a_taker),
        ("a_setter_dies_before_a_waiter_and_another", tests::a_setter_dies_before_a_waiter_and_another),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::{Event, Semaphore, wait_any};
    use polyproc_sys::Deadline;
    use polyproc_testing::{KillReport, Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(20);
    const ALL: Duration = Duration::from_secs(120);

    #[derive(Clone, Copy)]
    struct Things {
        other: &'static Semaphore,
        jobs: &'static Semaphore,
        event: &'static Event,
    }

    impl Things {
        /// Never freed, so that the bytes of one that the dead still announces are not another's.
        fn leaked() -> Self {
            let semaphore = || &*Box::leak(Box::new(Semaphore::new(0).unwrap()));
            Self { other: semaphore(), jobs: semaphore(), event: Box::leak(Box::new(Event::new().unwrap())) }
        }

        fn wait(self, deadline: Deadline) -> Vec<usize> {
            wait_any(&[self.other, self.jobs, self.event], deadline)
        }

        fn taker(self) -> Survivor {
            asleep(move || self.jobs.acquire())
        }

        fn waiter(self) -> Survivor {
            asleep(move || assert!(!self.wait(Deadline::NEVER).is_empty()))
        }
    }

    fn warm() {
        let things = Things::leaked();
        assert!(things.wait(Deadline::after(Duration::from_millis(1))).is_empty());
        things.jobs.release().unwrap();
        assert_eq!(things.wait(Deadline::NEVER), [1]);
        things.event.set();
    }

    fn asleep(body: impl FnOnce()) -> Survivor {
        let survivor = Survivor::fork(|control| {
            control.say(1);
            body();
        });
        assert_eq!(survivor.hear(LIMIT), 1);
        survivor.wait_until_asleep(LIMIT);
        survivor
    }

    /// A waiter is killed; `post` makes a thing ready for which the one that `other` starts waits, too.
    fn waiter(
        name: &str,
        wait: fn(Things) -> Vec<usize>,
        other: fn(Things) -> Survivor,
        post: fn(Things),
    ) -> KillReport {
        kill_at_every_instruction(Scenario {
            name,
            setup: &mut || {
                let things = Things::leaked();
                (things, Cell::new(None), Cell::new(false))
            },
            prepare: &|_| warm(),
            victim: &|(things, ..)| assert!(!wait(*things).is_empty()),
            wake: Some(&|(things, sleeper, posted)| {
                if !posted.replace(true) {
                    sleeper.set(Some(sleeper.take().unwrap_or_else(|| other(*things))));
                    post(*things);
                } else {
                    post(*things); // the other one was faster
                }
                true
            }),
            check: &mut |(things, sleeper, posted), _| {
                let sleeper = sleeper.take().unwrap_or_else(|| other(things));
                if !posted.get() {
                    post(things);
                }
                assert_eq!(sleeper.finish(LIMIT), 0, "the other one was not woken");
                if posted.get() { "woken" } else { "on its way" }.to_owned()
            },
        })
    }

    pub(super) fn a_waiter_dies_before_a_taker() {
        watchdog_single_threaded("a_waiter_dies_before_a_taker", ALL, || {
            let wait = |t: Things| wait_any(&[t.jobs, t.other], Deadline::NEVER);
            let report = waiter("two, before a taker", wait, Things::taker, |t| t.jobs.release().unwrap());
            assert!(report.count("woken") > 50);
        });
    }

    pub(super) fn a_waiter_dies_beside_one_who_waits_for_the_event() {
        watchdog_single_threaded("a_waiter_dies_beside_one_who_waits_for_the_event", ALL, || {
            let other = |t: Things| asleep(move || t.event.wait());
            let wait = |t: Things| wait_any(&[t.event], Deadline::NEVER);
            let report = waiter("one, before a waiter", wait, other, |t| t.event.set());
            assert!(report.count("woken") > 50);
        });
    }

    /// The kernel wakes the waiter, who has slept longer and takes nothing, in place of the dead poster.
    pub(super) fn a_poster_dies_before_a_waiter_and_a_taker() {
        watchdog_single_threaded("a_poster_dies_before_a_waiter_and_a_taker", ALL, || {
            let report = kill_at_every_instruction(Scenario {
                name: "release, before a waiter and a taker",
                setup: &mut || {
                    let things = Things::leaked();
                    (things, things.waiter(), things.taker())
                },
                prepare: &|_| warm(),
                victim: &|(things, ..)| things.jobs.release().unwrap(),
                wake: None,
                check: &mut |(things, waiter, taker), _| {
                    let released = was_released(things.jobs, &taker);
                    if !released {
                        things.jobs.release().unwrap();
                    }
                    assert_eq!(taker.finish(LIMIT), 0, "the taker was not woken");
                    things.event.set();
                    assert_eq!(waiter.finish(LIMIT), 0);
                    if released { "released" } else { "not released" }.to_owned()
                },
            });
            assert!(report.count("released") > 20 && report.count("not released") > 0);
        });
    }

    /// Whether the taker has got a permit, or will; the word says nothing of one that is on its way.
    fn was_released(jobs: &Semaphore, taker: &Survivor) -> bool {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if taker.has_ended() {
                return true;
            }
            if jobs.available() == 0 && taker.is_asleep() && jobs.available() == 0 {
                return false;
            }
        }
        panic!("the taker sleeps although there is a permit");
    }

    pub(super) fn a_setter_dies_before_a_waiter_and_another() {
        watchdog_single_threaded("a_setter_dies_before_a_waiter_and_another", ALL, || {
            let report = kill_at_every_instruction(Scenario {
                name: "set, before a waiter and another",
                setup: &mut || {
                    let things = Things::leaked();
                    (things, things.waiter(), asleep(move || things.event.wait()))
                },
                prepare: &|_| warm(),
                victim: &|(things, ..)| things.event.set(),
                wake: None,
                check: &mut |(things, waiter, other), _| {
                    let was_set = things.event.is_set();
                    if !was_set {
                        things.event.set();
                    }
                    assert_eq!(other.finish(LIMIT), 0, "the other one was not woken");
                    assert_eq!(waiter.finish(LIMIT), 0, "the waiter was not woken");
                    if was_set { "set" } else { "not set" }.to_owned()
                },
            });
            assert!(report.count("set") > 20 && report.count("not set") > 0);
        });
    }
}
