//! The queue, killed at every instruction, as producer and as consumer, of 8 bytes, with a sleeping partner.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("a_producer_of_numbers_dies", tests::a_producer_of_numbers_dies),
        ("a_producer_dies_before_a_sleeping_consumer", tests::a_producer_dies_before_a_sleeping_consumer),
        ("a_consumer_of_numbers_dies", tests::a_consumer_of_numbers_dies),
        ("a_consumer_dies_before_a_sleeping_producer", tests::a_consumer_dies_before_a_sleeping_producer),
        ("a_sleeping_consumer_dies_before_another", tests::a_sleeping_consumer_dies_before_another),
        ("a_sleeping_producer_dies_before_another", tests::a_sleeping_producer_dies_before_another),
        ("a_worker_of_a_board_dies", tests::a_worker_of_a_board_dies),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_queue::raw::board::Phase;
    use polyproc_queue::{Board, Queue};
    use polyproc_shm::{Family, Kind, Message};
    use polyproc_sys::Deadline;
    use polyproc_testing::{Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::cell::Cell;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_secs(1200); // for a machine with much else to do
    const GO: u8 = 1;

    /// Clears up after the victim, of which the harness has proof.
    fn bury() {
        assert!(!Family::get().unwrap().reap().skipped);
    }

    /// Nothing but the given blocks of data is left of a queue's messages.
    fn assert_data_blocks(expected: u64) {
        let stats = Family::get().unwrap().stats();
        assert_eq!(stats.blocks(Kind::Data), expected, "a block leaked or was freed too early");
    }

    pub(super) fn a_producer_of_numbers_dies() {
        watchdog_single_threaded("a_producer_of_numbers_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "put of 8 bytes",
                setup: &mut || Queue::<u64>::bounded(4).unwrap(),
                prepare: &|_| {
                    let other = Queue::<u64>::bounded(4).unwrap();
                    other.put(1).unwrap();
                    other.get().unwrap();
                },
                victim: &|q| q.put(7).unwrap(),
                wake: None,
                check: &mut |q, _| {
                    q.put(8).unwrap();
                    let first = q.get_timeout(LIMIT).expect("the claim of the dead is skipped");
                    if first == 8 {
                        return "never was".to_owned();
                    }
                    assert_eq!((first, q.get_timeout(LIMIT).unwrap()), (7, 8));
                    assert!(q.is_empty());
                    "delivered".to_owned()
                },
            });
            assert!(report.count("never was") > 0 && report.count("delivered") > 0);
        });
    }

    fn consumer(q: &Queue<u64>) -> Survivor {
        let q = q.clone();
        Survivor::fork(move |control| {
            assert_eq!(control.hear(), GO);
            let n = q.get().unwrap();
            control.say(u8::try_from(n).unwrap());
        })
    }

    fn producer(q: &Queue<u64>, n: u64) -> Survivor {
        let q = q.clone();
        Survivor::fork(move |control| {
            assert_eq!(control.hear(), GO);
            q.put(n).unwrap();
            control.say(GO);
        })
    }

    fn until_empty(q: &Queue<u64>) {
        let deadline = Deadline::after(LIMIT);
        while !q.is_empty() {
            assert!(!deadline.is_past(), "the sleeper sleeps on: {q:?}");
            std::thread::yield_now();
        }
    }

    fn put_to_sleep(survivor: &Survivor) {
        survivor.say(GO);
        survivor.wait_until_asleep(LIMIT);
    }

    pub(super) fn a_producer_dies_before_a_sleeping_consumer() {
        watchdog_single_threaded("a_producer_dies_before_a_sleeping_consumer", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "put of 8 bytes, a consumer sleeps",
                setup: &mut || {
                    let q = Queue::<u64>::bounded(4).unwrap();
                    let consumer = consumer(&q);
                    put_to_sleep(&consumer);
                    (q, consumer)
                },
                prepare: &|_| {
                    let other = Queue::<u64>::bounded(4).unwrap();
                    other.put(1).unwrap();
                    other.get().unwrap();
                },
                victim: &|(q, _)| q.put(7).unwrap(),
                wake: None,
                check: &mut |(q, consumer), _| {
                    // What the victim put or only claimed, the sleeper takes or skips without further help.
                    until_empty(&q);
                    q.put(8).unwrap();
                    let n = consumer.hear(LIMIT);
                    assert_eq!(consumer.finish(LIMIT), 0);
                    while q.try_get().is_ok() {}
                    if n == 7 { "delivered" } else { "never was" }.to_owned()
                },
            });
            assert!(report.count("never was") > 0 && report.count("delivered") > 0);
        });
    }

    pub(super) fn a_consumer_of_numbers_dies() {
        watchdog_single_threaded("a_consumer_of_numbers_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "get of 8 bytes",
                setup: &mut || {
                    let q = Queue::<u64>::bounded(2).unwrap();
                    (7..9).for_each(|n| q.put(n).unwrap());
                    q
                },
                prepare: &|_| {
                    let other = Queue::<u64>::bounded(4).unwrap();
                    other.put(1).unwrap();
                    other.get().unwrap();
                },
                victim: &|q| assert_eq!(q.get().unwrap(), 7),
                wake: None,
                check: &mut |q, _| {
                    let left: Vec<u64> = core::iter::from_fn(|| q.try_get().ok()).collect();
                    assert!(left == [8] || left == [7, 8], "{left:?}");
                    (0..2).for_each(|n| q.try_put(n).unwrap()); // all of its room is there
                    if left.len() == 1 { "taken" } else { "not taken" }.to_owned()
                },
            });
            assert!(report.count("taken") > 0 && report.count("not taken") > 0);
        });
    }

    pub(super) fn a_consumer_dies_before_a_sleeping_producer() {
        watchdog_single_threaded("a_consumer_dies_before_a_sleeping_producer", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "get of 8 bytes, a producer sleeps",
                setup: &mut || {
                    let q = Queue::<u64>::bounded(1).unwrap();
                    q.put(7).unwrap();
                    let producer = producer(&q, 8);
                    put_to_sleep(&producer);
                    (q, producer)
                },
                prepare: &|_| {
                    let other = Queue::<u64>::bounded(4).unwrap();
                    other.put(1).unwrap();
                    other.get().unwrap();
                },
                victim: &|(q, _)| assert_eq!(q.get().unwrap(), 7),
                wake: None,
                check: &mut |(q, producer), _| {
                    let n = q.get_timeout(LIMIT).unwrap();
                    assert_eq!(producer.hear(LIMIT), GO, "the sleeping producer has room");
                    assert_eq!(producer.finish(LIMIT), 0);
                    if n == 7 {
                        assert_eq!(q.get_timeout(LIMIT).unwrap(), 8);
                    }
                    if n == 7 { "not taken" } else { "taken" }.to_owned()
                },
            });
            assert!(report.count("taken") > 0 && report.count("not taken") > 0);
        });
    }

    /// The victim sleeps for a message, another consumer sleeps behind it, one message comes.
    pub(super) fn a_sleeping_consumer_dies_before_another() {
        watchdog_single_threaded("a_sleeping_consumer_dies_before_another", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "get, empty, another sleeps behind",
                setup: &mut || {
                    let q = Queue::<u64>::bounded(4).unwrap();
                    let other = consumer(&q);
                    (q, other, Cell::new(false))
                },
                prepare: &|_| {
                    let _ = polyproc_sys::spin::cpus(); // asks the system once, in thousands of instructions that are not ours
                    let other = Queue::<u64>::bounded(4).unwrap();
                    other.put(1).unwrap();
                    other.get().unwrap();
                },
                victim: &|(q, ..)| assert_eq!(q.get().unwrap(), 7),
                wake: Some(&|(q, other, woken)| {
                    if !woken.replace(true) {
                        put_to_sleep(other);
                        q.put(7).unwrap();
                    }
                    true
                }),
                check: &mut |(q, other, woken), kill| {
                    if q.is_empty() {
                        q.put(8).unwrap(); // taken by the victim, or never put
                    }
                    if !woken.get() {
                        other.say(GO); // the victim never slept
                    }
                    let n = other.hear(LIMIT);
                    assert_eq!(other.finish(LIMIT), 0);
                    assert!(!(kill.completed && n == 7), "doubled");
                    if n == 7 { "the other got it" } else { "taken" }.to_owned()
                },
            });
            assert!(report.count("the other got it") > 0 && report.count("taken") > 0);
        });
    }

    /// The victim sleeps for room, another producer sleeps behind it, one slot becomes free.
    pub(super) fn a_sleeping_producer_dies_before_another() {
        watchdog_single_threaded("a_sleeping_producer_dies_before_another", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "put, full, another sleeps behind",
                setup: &mut || {
                    let q = Queue::<u64>::bounded(1).unwrap();
                    q.put(1).unwrap();
                    let other = producer(&q, 8);
                    (q, other, Cell::new(false))
                },
                prepare: &|_| {
                    let _ = polyproc_sys::spin::cpus(); // asks the system once, in thousands of instructions that are not ours
                    let other = Queue::<u64>::bounded(4).unwrap();
                    other.put(1).unwrap();
                    other.get().unwrap();
                },
                victim: &|(q, ..)| q.put(7).unwrap(),
                wake: Some(&|(q, other, woken)| {
                    if !woken.replace(true) {
                        put_to_sleep(other);
                        assert_eq!(q.get().unwrap(), 1);
                    }
                    true
                }),
                check: &mut |(q, other, woken), _| {
                    if !woken.get() {
                        other.say(GO); // the victim never slept
                    }
                    let mut seen = Vec::new();
                    while !seen.contains(&8) {
                        seen.push(q.get_timeout(LIMIT).expect("the other producer has room"));
                    }
                    assert_eq!(other.finish(LIMIT), 0);
                    seen.retain(|n| *n != 1);
                    seen.extend(core::iter::from_fn(|| q.try_get().ok()));
                    assert!(seen == [8] || seen == [7, 8] || seen == [8, 7], "{seen:?}");
                    if seen.len() == 1 { "never was" } else { "delivered" }.to_owned()
                },
            });
            assert!(report.count("never was") > 0 && report.count("delivered") > 0);
        });
    }

    /// A worker takes a task of three items, finishes it, and is killed somewhere on the way.
    pub(super) fn a_worker_of_a_board_dies() {
        watchdog_single_threaded("a_worker_of_a_board_dies", LONG, || {
            const WORKER: u32 = 77;
            let work = |board: &Board| {
                let mut job = board.take(WORKER, Deadline::NEVER).unwrap().unwrap();
                job.push(b"first").unwrap();
                job.push(&[2; 500]).unwrap(); // moves to a block
                job.push(&[3; 5000]).unwrap(); // moves to a larger one
                job.finish().unwrap();
            };
            let post = |board: &Board, cell| {
                let args = Message::encode(Family::get().unwrap(), &()).unwrap();
                board.post(cell, 1, [0; 4], &args).unwrap();
            };
            let report = kill_at_every_instruction(Scenario {
                name: "a task of three items",
                setup: &mut || {
                    let board = Board::new(4).unwrap();
                    post(&board, 2);
                    board
                },
                prepare: &|_| {
                    let other = Board::new(4).unwrap();
                    post(&other, 0);
                    work(&other);
                    other.collect(0, 2).unwrap();
                },
                victim: &work,
                wake: None,
                check: &mut |board, _| {
                    bury();
                    let found = board.bury(WORKER).unwrap();
                    let outcome = match found[..] {
                        [] => {
                            let job = board.take(78, Deadline::PAST).unwrap().expect("the task is still posted");
                            drop(job);
                            "not begun".to_owned()
                        }
                        [(2, 1, phase)] => {
                            let results = board.collect(2, 2).unwrap();
                            let whole = [&b"first"[..], &[2; 500], &[3; 5000]].concat();
                            let len = [0, 5, 505, 5505][results.items as usize];
                            assert_eq!(results.bytes, whole[..len], "half a result");
                            assert!(phase != Phase::Done(WORKER) || results.items == 3);
                            format!("{} of 3", results.items)
                        }
                        _ => panic!("{found:?}"),
                    };
                    assert_data_blocks(1); // the cells
                    outcome
                },
            });
            assert!((0..4).all(|n| report.count(&format!("{n} of 3")) > 0) && report.count("not begun") > 0);
        });
    }
}
