//! The event, killed at every instruction: as setter before one and before two sleepers, as sleeper, and as the one
//! just woken; and set by a signal handler of the very thread that waits.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("a_setter_dies_before_a_sleeper", tests::a_setter_dies_before_a_sleeper),
        ("a_setter_dies_before_two_sleepers", tests::a_setter_dies_before_two_sleepers),
        ("one_who_pulses_dies_before_two_sleepers", tests::one_who_pulses_dies_before_two_sleepers),
        ("a_sleeper_dies_behind_another", tests::a_sleeper_dies_behind_another),
        ("the_woken_dies_before_another_sleeper", tests::the_woken_dies_before_another_sleeper),
        ("a_handler_sets_what_its_thread_waits_for", tests::a_handler_sets_what_its_thread_waits_for),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_shm::{Family, Kind};
    use polyproc_sync::raw::RawEvent;
    use polyproc_sync::{Event, Lock};
    use polyproc_sys::Deadline;
    use polyproc_testing::{KillReport, Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::Cell;
    use std::sync::OnceLock;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    /// The bytes of an event in the family's memory, for ever.
    fn leaked() -> &'static RawEvent {
        let block = Family::get().unwrap().alloc(size_of::<RawEvent>() as u64, Kind::Event).unwrap();
        // SAFETY: aligned bytes, mapped for ever, of a block that is never freed; the only field is an atomic.
        let event = unsafe { &*block.as_ptr().cast_const().cast::<RawEvent>() };
        std::mem::forget(block);
        event.reset();
        event
    }

    fn warm() {
        let other = leaked();
        assert!(!other.wait(Deadline::after(Duration::from_millis(1)))); // asks for the number of CPUs, spins, sleeps
        other.set();
        other.clear();
    }

    fn asleep(event: &'static RawEvent) -> Survivor {
        let survivor = Survivor::fork(move |control| {
            control.say(1);
            assert!(event.wait(Deadline::NEVER));
        });
        assert_eq!(survivor.hear(LIMIT), 1);
        survivor.wait_until_asleep(LIMIT);
        survivor
    }

    /// A setter is killed while `N` sleep; a `pulse` is cleared by the setter, else by who finds the event set.
    fn setter<const N: usize>(pulse: bool) -> KillReport {
        kill_at_every_instruction(Scenario {
            name: if pulse { "set + clear, two sleep" } else { "set, one or two sleep" },
            setup: &mut || {
                let event = leaked();
                (event, [(); N].map(|()| asleep(event)))
            },
            prepare: &|_| warm(),
            victim: &|(event, _)| {
                event.set();
                if pulse {
                    event.clear();
                }
            },
            wake: None,
            check: &mut |(event, sleepers), kill| {
                let was_set = event.is_set() || pulse && !event.has_sleepers();
                event.clear(); // whoever slept when it was set returns all the same
                if !was_set {
                    assert!(!kill.completed);
                    event.set();
                }
                for sleeper in sleepers {
                    assert_eq!(sleeper.finish(LIMIT), 0, "a sleeper was not woken: {event:?}");
                }
                if was_set { "set" } else { "not set" }.to_owned()
            },
        })
    }

    pub(super) fn a_setter_dies_before_a_sleeper() {
        watchdog_single_threaded("a_setter_dies_before_a_sleeper", Duration::from_secs(120), || {
            let report = setter::<1>(false);
            assert!(report.count("set") > 20 && report.count("not set") > 0);
        });
    }

    pub(super) fn a_setter_dies_before_two_sleepers() {
        watchdog_single_threaded("a_setter_dies_before_two_sleepers", Duration::from_secs(120), || {
            let report = setter::<2>(false);
            assert!(report.count("set") > 20 && report.count("not set") > 0);
        });
    }

    pub(super) fn one_who_pulses_dies_before_two_sleepers() {
        watchdog_single_threaded("one_who_pulses_dies_before_two_sleepers", Duration::from_secs(120), || {
            let report = setter::<2>(true);
            assert!(report.count("set") > 20 && report.count("not set") > 0);
        });
    }

    /// A sleeper is killed at every instruction, behind another one or before it; then the event is set.
    fn sleeper(first: bool) -> KillReport {
        kill_at_every_instruction(Scenario {
            name: if first { "wait, before a sleeper" } else { "wait, behind a sleeper" },
            setup: &mut || {
                let event = leaked();
                (event, Cell::new((!first).then(|| asleep(event))), Cell::new(false))
            },
            prepare: &|_| warm(),
            victim: &|(event, ..)| assert!(event.wait(Deadline::NEVER)),
            wake: Some(&|(event, other, is_set)| {
                if !is_set.replace(true) {
                    let sleeper = other.take().unwrap_or_else(|| asleep(event));
                    other.set(Some(sleeper));
                    event.set();
                }
                true
            }),
            check: &mut |(event, other, is_set), _| {
                let sleeper = other.take().unwrap_or_else(|| asleep(event));
                if !is_set.get() {
                    event.set();
                }
                assert_eq!(sleeper.finish(LIMIT), 0, "the other one was not woken: {event:?}");
                event.clear();
                assert!(!event.wait(Deadline::PAST));
                if is_set.get() { "woken" } else { "on its way" }.to_owned()
            },
        })
    }

    pub(super) fn a_sleeper_dies_behind_another() {
        watchdog_single_threaded("a_sleeper_dies_behind_another", Duration::from_secs(120), || {
            assert!(sleeper(false).points > 50);
        });
    }

    pub(super) fn the_woken_dies_before_another_sleeper() {
        watchdog_single_threaded("the_woken_dies_before_another_sleeper", Duration::from_secs(120), || {
            assert!(sleeper(true).points > 50);
        });
    }

    static TO_SET: OnceLock<Event> = OnceLock::new();

    extern "C" fn set_it(_: i32) {
        if let Some(event) = TO_SET.get() {
            event.set();
        }
    }

    mod c {
        unsafe extern "C" {
            pub(super) fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
            pub(super) fn kill(pid: i32, number: i32) -> i32;
        }
    }
    const SIGUSR1: i32 = 10;

    /// The handler runs while the thread has the event announced, and holds a lock that is linked.
    pub(super) fn a_handler_sets_what_its_thread_waits_for() {
        watchdog_single_threaded("a_handler_sets_what_its_thread_waits_for", LIMIT, || {
            let (event, lock) = (TO_SET.get_or_init(|| Event::new().unwrap()), Lock::new().unwrap());
            let waiter = Survivor::fork(|control| {
                // SAFETY: the handler sets an event, which may be done in one.
                unsafe { c::signal(SIGUSR1, set_it) };
                let _held = lock.lock();
                control.say(1);
                event.wait();
                set_it(0);
                control.say(2);
                let _ = control.hear();
            });
            assert_eq!(waiter.hear(LIMIT), 1);
            waiter.wait_until_asleep(LIMIT);
            // SAFETY: the pid of a child that was not reaped.
            assert_eq!(unsafe { c::kill(waiter.pid(), SIGUSR1) }, 0);
            assert_eq!(waiter.hear(LIMIT), 2);
            drop(waiter); // killed; its lock is still known to the kernel
            assert!(lock.lock().recovered());
        });
    }
}
