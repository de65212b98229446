//! What waiting for several things does: within one process, between two, and beside those who wait for one thing alone.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
polyproc_process::init_for_tests!();

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_testing::runner::main(&[
        ("each_kind_is_ready_at_once_and_after_a_sleep", tests::each_kind_is_ready_at_once_and_after_a_sleep),
        ("all_that_are_ready_are_named_and_nothing_is_taken", tests::all_that_are_ready_are_named_and_nothing_is_taken),
        ("nothing_is_ready_by_the_deadline", tests::nothing_is_ready_by_the_deadline),
        ("the_last_of_many_things_ends_the_sleep", tests::the_last_of_many_things_ends_the_sleep),
        ("a_fork_waits_for_a_child_of_its_parent", tests::a_fork_waits_for_a_child_of_its_parent),
        ("a_taker_gets_its_permit_beside_waiters", tests::a_taker_gets_its_permit_beside_waiters),
        ("a_pulse_is_told_to_who_slept", tests::a_pulse_is_told_to_who_slept),
        ("who_was_woken_in_vain_sleeps_again", tests::who_was_woken_in_vain_sleeps_again),
        ("a_taker_that_was_woken_in_vain_sleeps_again", tests::a_taker_that_was_woken_in_vain_sleeps_again),
        ("a_stopped_waiter_holds_up_nobody", tests::a_stopped_waiter_holds_up_nobody),
        // These have threads: nothing is forked behind them.
        ("a_child_that_exits_or_is_killed_is_ready", tests::a_child_that_exits_or_is_killed_is_ready),
        ("the_thread_that_watches_children_ends", tests::the_thread_that_watches_children_ends),
        ("two_threads_wait_for_one_child", tests::two_threads_wait_for_one_child),
        ("a_crowd_of_waiters_and_takers_empties_two_queues", tests::a_crowd_of_waiters_and_takers_empties_two_queues),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_process::Process;
    use polyproc_queue::Queue;
    use polyproc_sync::{Event, Semaphore, Waitable, wait_any};
    use polyproc_sys::Deadline;
    use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
    use polyproc_testing::{Survivor, watchdog, watchdog_single_threaded};
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(60);

    fn event() -> Event {
        Event::new().unwrap()
    }

    fn semaphore() -> Semaphore {
        Semaphore::new(0).unwrap()
    }

    fn queue() -> Queue<u64> {
        Queue::bounded(4).unwrap()
    }

    fn forever() -> Process {
        Process::spawn(
            || loop {
                std::thread::park()
            },
            (),
        )
        .unwrap()
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

    pub(super) fn each_kind_is_ready_at_once_and_after_a_sleep() {
        watchdog_single_threaded("each_kind_is_ready_at_once_and_after_a_sleep", LIMIT, || {
            let (e, s, q, other) = (event(), semaphore(), queue(), semaphore());
            let kinds: [(&dyn Waitable, &dyn Fn()); 3] =
                [(&e, &|| e.set()), (&s, &|| s.release().unwrap()), (&q, &|| q.put(1).unwrap())];
            for (thing, make_ready) in kinds {
                let waiter = asleep(|| assert_eq!(wait_any(&[&other, thing], Deadline::NEVER), [1]));
                make_ready();
                assert_eq!(waiter.finish(LIMIT), 0);
                assert!(thing.is_ready());
                assert_eq!(wait_any(&[thing, &other], Deadline::PAST), [0]);
            }
        });
    }

    pub(super) fn all_that_are_ready_are_named_and_nothing_is_taken() {
        let (e, s, q) = (event(), semaphore(), queue());
        e.set();
        q.put(5).unwrap();
        for _ in 0..2 {
            assert_eq!(wait_any(&[&e, &s, &q, &e], Deadline::NEVER), [0, 2, 3]);
        }
        s.release().unwrap();
        assert_eq!(wait_any(&[&q, &s], Deadline::NEVER), [0, 1]);
        assert_eq!((q.get().unwrap(), s.available(), e.is_set()), (5, 1, true));
        assert_eq!(wait_any(&[&q, &s], Deadline::NEVER), [1]);
    }

    pub(super) fn nothing_is_ready_by_the_deadline() {
        let (e, s, q, child) = (event(), semaphore(), queue(), forever());
        let start = Instant::now();
        let things: [&dyn Waitable; 4] = [&e, &s, &q, &child];
        assert!(wait_any(&things, Deadline::after(Duration::from_millis(120))).is_empty()); // longer than a tick
        assert!(start.elapsed() >= Duration::from_millis(120));
        assert!(wait_any(&things, Deadline::PAST).is_empty());
        assert!(wait_any(&[], Deadline::NEVER).is_empty());
        child.kill().unwrap();
        child.join().unwrap();
    }

    /// 100 are slept on by one call of the kernel, 200 are not.
    pub(super) fn the_last_of_many_things_ends_the_sleep() {
        watchdog_single_threaded("the_last_of_many_things_ends_the_sleep", LIMIT, || {
            for n in [100, 200] {
                let semaphores: Vec<_> = (1..n).map(|_| semaphore()).collect();
                let last = event();
                let waiter = asleep(|| {
                    let mut things: Vec<&dyn Waitable> = semaphores.iter().map(|s| s as _).collect();
                    things.push(&last);
                    assert_eq!(wait_any(&things, Deadline::NEVER), [n - 1]);
                });
                last.set();
                assert_eq!(waiter.finish(LIMIT), 0);
            }
        });
    }

    pub(super) fn a_child_that_exits_or_is_killed_is_ready() {
        watchdog(LIMIT, || {
            let stop = event();
            let obedient = Process::spawn(|stop: Event| stop.wait(), (stop.clone(),)).unwrap();
            let deaf = forever();
            let other = event();
            std::thread::scope(|s| {
                s.spawn(|| stop.set());
                assert_eq!(wait_any(&[&other, &deaf, &obedient], Deadline::NEVER), [2]);
            });
            assert!(obedient.join().unwrap().success());
            std::thread::scope(|s| {
                s.spawn(|| deaf.kill().unwrap());
                assert_eq!(wait_any(&[&other, &deaf], Deadline::NEVER), [1]);
            });
            deaf.join().unwrap();
            assert_eq!(wait_any(&[&obedient, &other, &deaf], Deadline::NEVER), [0, 2]); // joined, and ready still
        });
    }

    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }

    pub(super) fn the_thread_that_watches_children_ends() {
        watchdog(LIMIT, || {
            let (child, before) = (forever(), threads());
            for _ in 0..20 {
                assert!(wait_any(&[&child], Deadline::after(Duration::from_micros(100))).is_empty());
            }
            while threads() > before {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            assert_eq!(wait_any(&[&child], Deadline::NEVER), [0]);
            child.join().unwrap();
        });
    }

    pub(super) fn two_threads_wait_for_one_child() {
        watchdog(LIMIT, || {
            let (child, other) = (forever(), forever());
            std::thread::scope(|s| {
                let waiters = [(); 2].map(|()| s.spawn(|| wait_any(&[&other, &child], Deadline::NEVER)));
                // Ends its own watch of the child in the midst of theirs.
                assert!(wait_any(&[&child], Deadline::after(Duration::from_millis(2))).is_empty());
                child.kill().unwrap();
                for waiter in waiters {
                    assert_eq!(waiter.join().unwrap(), [1]);
                }
            });
            child.join().unwrap();
            other.kill().unwrap();
            other.join().unwrap();
        });
    }

    pub(super) fn a_fork_waits_for_a_child_of_its_parent() {
        watchdog_single_threaded("a_fork_waits_for_a_child_of_its_parent", LIMIT, || {
            let (child, other) = (forever(), event());
            let waiter = asleep(|| assert_eq!(wait_any(&[&other, &child], Deadline::NEVER), [1]));
            child.kill().unwrap();
            assert_eq!(waiter.finish(LIMIT), 0);
            child.join().unwrap();
        });
    }

    /// The tick is too long to help.
    fn without_tick() {
        polyproc_sys::futex::set_tick(LIMIT);
    }

    pub(super) fn a_taker_gets_its_permit_beside_waiters() {
        watchdog_single_threaded("a_taker_gets_its_permit_beside_waiters", LIMIT, || {
            without_tick();
            for taker_at in 0..3 {
                let (e, s) = (event(), semaphore());
                let wait = || asleep(|| assert!(!wait_any(&[&e, &s], Deadline::NEVER).is_empty()));
                let mut waiters: Vec<_> = (0..taker_at).map(|_| wait()).collect();
                let taker = asleep(|| s.acquire());
                waiters.extend((taker_at..2).map(|_| wait()));
                s.release().unwrap();
                assert_eq!(taker.finish(LIMIT), 0);
                e.set();
                assert!(waiters.into_iter().all(|w| w.finish(LIMIT) == 0));
            }
        });
    }

    pub(super) fn a_pulse_is_told_to_who_slept() {
        watchdog_single_threaded("a_pulse_is_told_to_who_slept", LIMIT, || {
            let (e, s) = (event(), semaphore());
            let waiter = asleep(|| assert_eq!(wait_any(&[&s, &e], Deadline::NEVER), [1]));
            e.set();
            e.clear();
            assert_eq!(waiter.finish(LIMIT), 0);
        });
    }

    /// The queue has room, for which the waiter rings whenever he was woken: that must not wake himself.
    pub(super) fn who_was_woken_in_vain_sleeps_again() {
        watchdog_single_threaded("who_was_woken_in_vain_sleeps_again", LIMIT, || {
            without_tick();
            let (e, q) = (event(), queue());
            let waiter = asleep(|| while wait_any(&[&e, &q], Deadline::NEVER) == [1] {});
            for _ in 0..300 {
                q.put(1).unwrap();
                let _ = q.try_get();
                waiter.wait_until_asleep(LIMIT);
            }
            e.set();
            assert_eq!(waiter.finish(LIMIT), 0);
        });
    }

    /// The same for one who waits for an item alone.
    pub(super) fn a_taker_that_was_woken_in_vain_sleeps_again() {
        watchdog_single_threaded("a_taker_that_was_woken_in_vain_sleeps_again", LIMIT, || {
            without_tick();
            let q = queue();
            let taker = asleep(|| while q.get().unwrap() != 0 {});
            for _ in 0..300 {
                q.put(1).unwrap();
                let _ = q.try_get();
                taker.wait_until_asleep(Duration::from_secs(5));
            }
            q.put(0).unwrap();
            assert_eq!(taker.finish(LIMIT), 0);
        });
    }

    pub(super) fn a_stopped_waiter_holds_up_nobody() {
        watchdog_single_threaded("a_stopped_waiter_holds_up_nobody", LIMIT, || {
            without_tick();
            let (e, s) = (event(), semaphore());
            let waiter = asleep(|| assert!(!wait_any(&[&e, &s], Deadline::NEVER).is_empty()));
            signal(&waiter, SIGSTOP);
            let taker = asleep(|| s.acquire());
            s.release().unwrap();
            assert_eq!(taker.finish(LIMIT), 0);
            e.set();
            signal(&waiter, SIGCONT);
            assert_eq!(waiter.finish(LIMIT), 0);
        });
    }

    const SIGSTOP: i32 = 19;
    const SIGCONT: i32 = 18;

    mod c {
        unsafe extern "C" {
            pub(super) fn kill(pid: i32, number: i32) -> i32;
        }
    }

    fn signal(to: &Survivor, number: i32) {
        // SAFETY: the pid of a child that was not reaped.
        assert_eq!(unsafe { c::kill(to.pid(), number) }, 0);
    }

    pub(super) fn a_crowd_of_waiters_and_takers_empties_two_queues() {
        watchdog(LIMIT, || {
            const EACH: u64 = 5_000;
            let (a, b, stop, taken) = (queue(), queue(), event(), AtomicU64::new(0));
            let count = || {
                if taken.fetch_add(1, SeqCst) + 1 == 2 * EACH {
                    stop.set();
                }
            };
            std::thread::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        loop {
                            let ready = wait_any(&[&a, &b, &stop], Deadline::NEVER);
                            if ready.contains(&2) {
                                return;
                            }
                            for i in ready {
                                if [&a, &b][i].try_get().is_ok() {
                                    count();
                                }
                            }
                        }
                    });
                }
                for q in [&a, &b] {
                    s.spawn(|| {
                        while !stop.is_set() {
                            if q.get_timeout(Duration::from_millis(20)).is_ok() {
                                count();
                            }
                        }
                    });
                    s.spawn(|| (0..EACH).for_each(|i| q.put(i).unwrap()));
                }
            });
            assert_eq!(taken.load(SeqCst), 2 * EACH);
        });
    }
}
