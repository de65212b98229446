//! The lock with readers and writers, killed at every instruction: as reader and as writer, alone, before those who sleep,
//! asleep, and just woken.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang; but where the one window of
//! `raw/rwlock.rs` lies open.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_testing::stay_on_one_cpu(); // no kill points in spinning
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("guards_in_a_forked_child_do_nothing", tests::guards_in_a_forked_child_do_nothing),
        ("a_reader_dies_alone", tests::a_reader_dies_alone),
        ("a_writer_dies_alone", tests::a_writer_dies_alone),
        ("a_reader_dies_before_a_waiting_writer", tests::a_reader_dies_before_a_waiting_writer),
        ("a_reader_without_a_cell_dies_before_a_writer", tests::a_reader_without_a_cell_dies_before_a_writer),
        ("a_writer_dies_before_a_reader_and_a_writer", tests::a_writer_dies_before_a_reader_and_a_writer),
        (
            "a_writer_who_waits_for_a_reader_dies_before_others",
            tests::a_writer_who_waits_for_a_reader_dies_before_others,
        ),
        (
            "a_reader_who_waits_for_a_writer_dies_before_others",
            tests::a_reader_who_waits_for_a_writer_dies_before_others,
        ),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::{ReadGuard, RwLock, WriteGuard};
    use polyproc_sys::futex::set_tick;
    use polyproc_testing::{KillReport, Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const GO: u8 = 1;
    const HAS: u8 = 2;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum As {
        Reader,
        Writer,
    }

    type Guard = (Option<ReadGuard<'static>>, Option<WriteGuard<'static>>);

    fn take(lock: &'static RwLock, how: As) -> Guard {
        match how {
            As::Reader => (Some(lock.read()), None),
            As::Writer => (None, Some(lock.write())),
        }
    }

    /// A lock that is never freed, so that a state can hold guards of it.
    fn leaked() -> &'static RwLock {
        Box::leak(Box::new(RwLock::new().unwrap()))
    }

    /// A process that takes the lock when it is told to, and keeps it until it is told again.
    fn taker(lock: &'static RwLock, how: As) -> Survivor {
        taker_with_tick(lock, how, None)
    }

    fn taker_with_tick(lock: &'static RwLock, how: As, tick: Option<Duration>) -> Survivor {
        Survivor::fork(move |control| {
            tick.into_iter().for_each(set_tick);
            assert_eq!(control.hear(), GO);
            let guard = take(lock, how);
            control.say(HAS);
            assert_eq!(control.hear(), GO);
            drop(guard);
        })
    }

    fn put_to_sleep(taker: &Survivor) {
        taker.say(GO);
        taker.wait_until_asleep(LIMIT);
    }

    fn has_it(taker: &Survivor) {
        assert_eq!(taker.hear(LIMIT), HAS, "the sleeper gets the lock");
    }

    /// The takers have the lock, or get it, in any order, and give it up.
    fn done(takers: impl IntoIterator<Item = Survivor>) {
        let takers: Vec<_> = takers.into_iter().collect();
        takers.iter().for_each(|taker| taker.say(GO));
        for taker in takers {
            assert_eq!(taker.finish(LIMIT), 0);
        }
    }

    fn warm() {
        let other = leaked();
        for _ in 0..2 {
            drop((other.read(), other.read()));
            drop(other.write());
        }
    }

    /// Nobody living has the lock; says whether a writer's death is told of, which readers do not take back.
    fn must_be_free(lock: &RwLock) -> String {
        let told = lock.read_timeout(LIMIT).expect("nobody living writes").recovered();
        let guard = lock.write_timeout(LIMIT).expect("nobody living reads or writes");
        assert_eq!(guard.recovered(), told);
        drop(guard);
        assert!(!lock.read().recovered(), "a writer has come");
        if told { "a writer died" } else { "nothing to tell" }.to_owned()
    }

    fn none_told(report: &KillReport) {
        assert_eq!(report.count("nothing to tell"), report.points);
        assert!(report.points > 30);
    }

    pub(super) fn guards_in_a_forked_child_do_nothing() {
        for how in [As::Reader, As::Writer] {
            let lock = leaked();
            let kept = Cell::new(Some(take(lock, how)));
            let child = Survivor::fork(|control| {
                drop(kept.take());
                assert!(lock.try_write().is_none(), "the parent has the lock");
                control.say(HAS);
                assert_eq!(control.hear(), GO);
            });
            has_it(&child);
            assert_eq!(lock.try_read().is_some(), how == As::Reader);
            drop(child); // killed
            assert!(taker_times_out(lock));
            drop(kept.take());
            must_be_free(lock);
        }
    }

    fn taker_times_out(lock: &'static RwLock) -> bool {
        let child = Survivor::fork(|control| {
            control.say(1 + u8::from(lock.write_timeout(Duration::from_millis(5)).is_err()));
        });
        let late = child.hear(LIMIT) == 2;
        assert_eq!(child.finish(LIMIT), 0);
        late
    }

    pub(super) fn a_reader_dies_alone() {
        watchdog_single_threaded("a_reader_dies_alone", Duration::from_secs(120), || {
            none_told(&kill_at_every_instruction(Scenario {
                name: "read twice, given up out of order",
                setup: &mut leaked,
                prepare: &|_| warm(),
                victim: &|lock| {
                    let (a, b) = (lock.read(), lock.read());
                    drop(a);
                    drop(b);
                },
                wake: None,
                check: &mut |lock, _| must_be_free(lock),
            }));
        });
    }

    pub(super) fn a_writer_dies_alone() {
        watchdog_single_threaded("a_writer_dies_alone", Duration::from_secs(120), || {
            let report = kill_at_every_instruction(Scenario {
                name: "write",
                setup: &mut leaked,
                prepare: &|_| warm(),
                victim: &|lock| drop(lock.write()),
                wake: None,
                check: &mut |lock, _| must_be_free(lock),
            });
            assert!(report.count("a writer died") > 0 && report.count("nothing to tell") > 0);
        });
    }

    type Kept = RefCell<Option<Guard>>;

    /// The victim gives a lock up, of which the guard was made in `prepare`, where `sleepers` wait for it.
    fn given_up(name: &str, how: As, setup: &mut dyn FnMut() -> &'static RwLock, sleepers: &[As]) -> KillReport {
        kill_at_every_instruction(Scenario {
            name,
            setup: &mut || {
                let lock = setup();
                let sleepers: Vec<_> = sleepers.iter().map(|&how| taker(lock, how)).collect();
                (lock, sleepers, Kept::default())
            },
            prepare: &|(lock, sleepers, kept)| {
                warm();
                *kept.borrow_mut() = Some(take(lock, how));
                sleepers.iter().for_each(put_to_sleep);
            },
            victim: &|(_, _, kept)| drop(kept.take()),
            wake: None,
            check: &mut |(lock, sleepers, _), _| {
                done(sleepers);
                must_be_free(lock)
            },
        })
    }

    pub(super) fn a_reader_dies_before_a_waiting_writer() {
        watchdog_single_threaded("a_reader_dies_before_a_waiting_writer", Duration::from_secs(240), || {
            none_told(&given_up("a reader's end, a writer waits", As::Reader, &mut leaked, &[As::Writer, As::Reader]));
        });
    }

    /// All cells are taken by threads that have forgotten their guards and live on in another process.
    fn crowded(crowd: &RefCell<Vec<Survivor>>) -> &'static RwLock {
        let lock = leaked();
        let readers = Survivor::fork(|control| {
            let all = std::sync::Barrier::new(121);
            std::thread::scope(|s| {
                for _ in 0..120 {
                    s.spawn(|| {
                        std::mem::forget(lock.read());
                        all.wait();
                        all.wait();
                    });
                }
                all.wait();
                control.say(HAS);
                assert_eq!(control.hear(), GO);
                all.wait();
            });
        });
        has_it(&readers);
        crowd.borrow_mut().clear();
        crowd.borrow_mut().push(readers);
        lock
    }

    /// Such a reader holds up others of his kind, and the next one has the lock when he is gone.
    pub(super) fn a_reader_without_a_cell_dies_before_a_writer() {
        watchdog_single_threaded("a_reader_without_a_cell_dies_before_a_writer", Duration::from_secs(240), || {
            let crowd = RefCell::default();
            let report = kill_at_every_instruction(Scenario {
                name: "a lone reader's end, another waits",
                setup: &mut || {
                    let lock = crowded(&crowd);
                    (lock, taker(lock, As::Reader), Kept::default())
                },
                prepare: &|(lock, sleeper, kept)| {
                    warm();
                    *kept.borrow_mut() = Some(take(lock, As::Reader));
                    put_to_sleep(sleeper);
                },
                victim: &|(_, _, kept)| drop(kept.take()),
                wake: None,
                check: &mut |(lock, sleeper, _), _| {
                    has_it(&sleeper);
                    done([sleeper]);
                    crowd.borrow_mut().clear(); // killed
                    must_be_free(lock)
                },
            });
            assert_eq!(report.count("nothing to tell"), report.points);
        });
    }

    pub(super) fn a_writer_dies_before_a_reader_and_a_writer() {
        watchdog_single_threaded("a_writer_dies_before_a_reader_and_a_writer", Duration::from_secs(240), || {
            let report =
                given_up("a writer's end, two wait", As::Writer, &mut leaked, &[As::Reader, As::Writer, As::Reader]);
            assert!(report.points > 30);
        });
    }

    /// `holder` has the lock; the victim waits for it, a reader and a writer behind the victim. The holder gives up, the
    /// victim is woken and dies on its way.
    ///
    /// Left out, for time: others behind a victim that dies before it sleeps, where only the harness comes, which reads and
    /// writes when the holder has given up; and the death of a thread that has never slept for such a lock before.
    fn before_two(name: &str, holder: As, victim: As, tick: Option<Duration>) -> KillReport {
        let busy = leaked();
        let keeper = taker(busy, holder);
        keeper.say(GO);
        has_it(&keeper);
        kill_at_every_instruction(Scenario {
            name,
            setup: &mut || {
                let lock = leaked();
                let holder = taker(lock, holder);
                holder.say(GO);
                has_it(&holder);
                (lock, holder, RefCell::new(Vec::new()))
            },
            prepare: &|_| {
                warm();
                // What a thread sets up when it sleeps for the first time.
                assert!(busy.write_timeout(Duration::from_micros(100)).is_err());
            },
            victim: &|(lock, ..)| std::mem::forget(take(lock, victim)), // kept to the end, that is past the last kill
            wake: Some(&|(lock, holder, sleepers)| {
                let mut sleepers = sleepers.borrow_mut();
                if sleepers.is_empty() {
                    sleepers.extend([taker(lock, As::Reader), taker_with_tick(lock, As::Writer, tick)]);
                    sleepers.iter().for_each(put_to_sleep);
                    holder.say(GO);
                }
                true
            }),
            check: &mut |(lock, holder, sleepers), _| {
                let sleepers = sleepers.into_inner();
                if sleepers.is_empty() {
                    holder.say(GO); // the victim never slept
                }
                assert_eq!(holder.finish(LIMIT), 0);
                done(sleepers);
                must_be_free(lock)
            },
        })
    }

    pub(super) fn a_writer_who_waits_for_a_reader_dies_before_others() {
        watchdog_single_threaded("a_writer_who_waits_for_a_reader_dies", Duration::from_secs(300), || {
            let report = before_two("write, a reader is there, two behind", As::Reader, As::Writer, None);
            assert!(report.points > 50);
        });
    }

    /// Between giving `writer` up and announcing the gate the tick is what wakes the writer.
    pub(super) fn a_reader_who_waits_for_a_writer_dies_before_others() {
        watchdog_single_threaded("a_reader_who_waits_for_a_writer_dies", Duration::from_secs(300), || {
            let tick = Some(Duration::from_millis(20));
            none_told(&before_two("read, a writer is there, two behind", As::Writer, As::Reader, tick));
        });
    }
}
