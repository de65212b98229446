//! Values and arrays, killed at every instruction of their writers: survivors read the old or the new, never half, and
//! get the lock.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("a_setter_of_a_value_dies", tests::a_setter_of_a_value_dies),
        ("an_updater_of_a_value_dies", tests::an_updater_of_a_value_dies),
        ("a_guard_of_a_value_dies", tests::a_guard_of_a_value_dies),
        ("a_guard_of_a_value_dies_before_a_sleeper", tests::a_guard_of_a_value_dies_before_a_sleeper),
        ("an_adder_to_a_value_dies", tests::an_adder_to_a_value_dies),
        ("a_setter_of_a_bound_value_dies", tests::a_setter_of_a_bound_value_dies),
        ("an_owner_of_a_chunk_dies", tests::an_owner_of_a_chunk_dies),
        ("a_claimer_of_a_dead_ones_chunk_dies", tests::a_claimer_of_a_dead_ones_chunk_dies),
        ("a_cutter_of_an_array_dies", tests::a_cutter_of_an_array_dies),
        ("a_setter_of_a_narrow_element_dies", tests::a_setter_of_a_narrow_element_dies),
        ("a_setter_of_a_wide_element_dies", tests::a_setter_of_a_wide_element_dies),
        ("a_repairer_of_a_wide_element_dies", tests::a_repairer_of_a_wide_element_dies),
        ("a_writer_of_many_elements_dies", tests::a_writer_of_many_elements_dies),
        ("a_guard_of_an_array_dies", tests::a_guard_of_an_array_dies),
        ("a_setter_of_an_item_dies", tests::a_setter_of_an_item_dies),
        ("a_maker_of_a_list_dies", tests::a_maker_of_a_list_dies),
        ("a_maker_of_an_array_dies", tests::a_maker_of_an_array_dies),
        ("a_dropper_of_an_array_dies", tests::a_dropper_of_an_array_dies),
        ("a_forked_child_has_no_guard", tests::a_forked_child_has_no_guard),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_shm::{Family, Kind, Message, message};
    use polyproc_sync::Lock;
    use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
    use polyproc_testing::{KillReport, Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use polyproc_values::{Array, Chunks, ClaimError, Item, ShareableList, Value, ValueGuard};
    use std::cell::RefCell;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_secs(300);

    /// Large enough to be half written: five words.
    type Five = [u64; 5];
    const OLD: Five = [1; 5];
    const NEW: Five = [2; 5];

    fn label(new: bool, died: bool) -> String {
        format!("{}, {}", if new { "new" } else { "old" }, if died { "told" } else { "free" })
    }

    /// What is there without the lock, under it, and after another change, with the lock free for everybody.
    fn check_value(value: &Value<Five>) -> String {
        let now = value.get();
        assert!(now == OLD || now == NEW, "{now:?}");
        let mut guard = value.lock_timeout(LIMIT).expect("nobody living holds the lock");
        let died = guard.recovered();
        assert_eq!(*guard, now);
        *guard = [3; 5];
        drop(guard);
        assert_eq!(value.get(), [3; 5]);
        assert!(!value.lock().recovered(), "told once");
        label(now == NEW, died)
    }

    fn all_of_it(report: &KillReport) {
        assert!(report.points > 50, "{report}");
        for outcome in ["old, free", "old, told", "new, told", "new, free"] {
            assert!(report.count(outcome) > 0, "{outcome}: {report}");
        }
    }

    fn kill_value(name: &str, victim: &dyn Fn(&Value<Five>)) {
        watchdog_single_threaded(name, LONG, || {
            all_of_it(&kill_at_every_instruction(Scenario {
                name,
                setup: &mut || Value::new(OLD).unwrap(),
                prepare: &|_| victim(&Value::new(OLD).unwrap()),
                victim: &|value| victim(value),
                wake: None,
                check: &mut |value, _| check_value(&value),
            }));
        });
    }

    pub(super) fn a_setter_of_a_value_dies() {
        kill_value("set of 40 bytes", &|value| value.set(NEW));
    }

    pub(super) fn an_updater_of_a_value_dies() {
        kill_value("update of 40 bytes", &|value| value.update(|v| v.iter_mut().for_each(|n| *n += 1)));
    }

    pub(super) fn a_guard_of_a_value_dies() {
        kill_value("lock, change, drop of 40 bytes", &|value| {
            let mut guard = value.lock();
            guard[0] += 1;
            guard[1..].fill(2);
        });
    }

    pub(super) fn an_adder_to_a_value_dies() {
        watchdog_single_threaded("an_adder_to_a_value_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "fetch_add of a u64",
                setup: &mut || Value::new(1_u64).unwrap(),
                prepare: &|_| assert_eq!(Value::new(1_u64).unwrap().fetch_add(1), 1),
                victim: &|value| assert_eq!(value.fetch_add(1), 1),
                wake: None,
                check: &mut |value, _| {
                    let now = value.get();
                    assert_eq!(value.fetch_add(10), now, "nobody living holds the lock");
                    let died = value.lock_timeout(LIMIT).expect("nobody living holds the lock").recovered();
                    assert!(value.get() == 11 || value.get() == 12);
                    label(now == 2, died)
                },
            });
            all_of_it(&report);
        });
    }

    /// The lock of one is that of the other: its next guard tells of the death.
    pub(super) fn a_setter_of_a_bound_value_dies() {
        watchdog_single_threaded("a_setter_of_a_bound_value_dies", LONG, || {
            let fresh = || {
                let lock = Lock::new().unwrap();
                (Value::with_lock(OLD, &lock).unwrap(), Value::with_lock(OLD, &lock).unwrap(), lock)
            };
            let both = |(a, b, lock): &(Value<Five>, Value<Five>, Lock)| {
                let mut guard = lock.lock();
                *a.locked_by(&mut guard) = NEW;
                *b.locked_by(&mut guard) = NEW;
            };
            let report = kill_at_every_instruction(Scenario {
                name: "lock, two values changed, unlock",
                setup: &mut || fresh(),
                prepare: &|_| both(&fresh()),
                victim: &|values| both(values),
                wake: None,
                check: &mut |(a, b, lock), _| {
                    let (first, second) = (a.get(), b.get());
                    assert!(first == NEW || first == OLD, "{first:?}");
                    assert!(second == OLD || (second, first) == (NEW, NEW), "{first:?} {second:?}");
                    let died = b.lock_timeout(LIMIT).expect("nobody living holds the lock").recovered();
                    assert!(died || first == second, "nobody is told of {first:?} {second:?}");
                    assert!(!lock.lock().recovered() && !a.lock().recovered(), "told once");
                    label(first == NEW, died)
                },
            });
            all_of_it(&report);
        });
    }

    /// Chunk 1 of bytes, which begins and ends within words: its neighbours must stay what they are.
    pub(super) fn an_owner_of_a_chunk_dies() {
        watchdog_single_threaded("an_owner_of_a_chunk_dies", LONG, || {
            let fresh = || Array::new(60, 1_u8).unwrap().chunks(20).unwrap();
            let write = |chunks: &Chunks<u8>| chunks.claim(1).unwrap().write(.., &[2; 20]);
            let report = kill_at_every_instruction(Scenario {
                name: "claim, write 20 bytes, give up",
                setup: &mut || fresh(),
                prepare: &|_| write(&fresh()),
                victim: &|chunks| write(chunks),
                wake: None,
                check: &mut |chunks, _| {
                    let now = chunks.array().to_vec();
                    assert!(now[..20] == [1; 20] && now[40..] == [1; 20], "the neighbours: {now:?}");
                    let new = now[20..40].iter().take_while(|n| **n == 2).count();
                    assert_eq!(now[20 + new..40], vec![1; 20 - new], "{now:?}");
                    let chunk = chunks.claim(1).expect("no living thread has it");
                    let died = chunk.recovered();
                    assert!(died || new == 0 || new == 20, "nobody is told of {now:?}");
                    chunk.fill(.., 3);
                    drop(chunk);
                    assert_eq!(chunks.array().to_vec()[20..40], [3; 20]);
                    assert!(!chunks.claim(1).unwrap().recovered(), "told once");
                    label(new == 20, died)
                },
            });
            all_of_it(&report);
        });
    }

    /// Two deaths in a row: whoever takes a dead one's chunk is killed, too.
    pub(super) fn a_claimer_of_a_dead_ones_chunk_dies() {
        watchdog_single_threaded("a_claimer_of_a_dead_ones_chunk_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "claim of a dead one's chunk, write, give up",
                setup: &mut || {
                    let chunks = Array::new(4, OLD).unwrap().chunks(2).unwrap();
                    let dead = Survivor::fork(|_| core::mem::forget(chunks.claim(1).unwrap()));
                    assert_eq!(dead.finish(LIMIT), 0);
                    chunks
                },
                prepare: &|_| {
                    let chunks = Array::new(4, OLD).unwrap().chunks(2).unwrap();
                    chunks.claim(1).unwrap().set(0, NEW);
                },
                victim: &|chunks| chunks.claim(1).unwrap().set(0, NEW),
                wake: None,
                check: &mut |chunks, _| {
                    let now = chunks.array().get(2);
                    assert!(now == OLD || now == NEW, "{now:?}");
                    let chunk = chunks.claim(1).expect("no living thread has it");
                    let died = chunk.recovered();
                    assert!(died || now == NEW, "nobody has been told of the first death");
                    chunk.set(0, [3; 5]);
                    assert_eq!(chunk.get(0), [3; 5]);
                    label(now == NEW, died)
                },
            });
            assert!(report.count("old, told") > 0 && report.count("new, free") > 0, "{report}");
        });
    }

    pub(super) fn a_cutter_of_an_array_dies() {
        watchdog_single_threaded("a_cutter_of_an_array_dies", LONG, || {
            kill_at_every_instruction(Scenario {
                name: "first cut of an array into chunks",
                setup: &mut || Array::new(8, 1_u64).unwrap(),
                prepare: &|_| drop(Array::new(8, 1_u64).unwrap().chunks(4).unwrap()),
                victim: &|array| drop(array.chunks(4).unwrap()),
                wake: None,
                check: &mut |array, _| {
                    let [_, data] = bury();
                    let cut = data == 2;
                    assert!(cut || data == 1, "{data} blocks: one for the elements, one for the claims");
                    let chunks = array.chunks(4).unwrap();
                    assert!(!chunks.claim(1).unwrap().recovered());
                    assert_eq!(bury(), [1, 2]);
                    drop((chunks, array));
                    assert_eq!(bury(), [0, 0]);
                    if cut { "cut" } else { "not cut" }.to_owned()
                },
            });
        });
    }

    thread_local! {
        static GUARD: RefCell<Option<ValueGuard<'static, Five>>> = const { RefCell::new(None) };
        static ARRAY: RefCell<Option<Array<u64>>> = const { RefCell::new(None) };
    }

    pub(super) fn a_guard_of_a_value_dies_before_a_sleeper() {
        watchdog_single_threaded("a_guard_of_a_value_dies_before_a_sleeper", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "drop of a changed guard, an updater sleeps",
                setup: &mut || {
                    let value: &'static Value<Five> = Box::leak(Box::new(Value::new(OLD).unwrap()));
                    let sleeper = Survivor::fork(move |control| {
                        assert_eq!(control.hear(), 1);
                        value.update(|v| v[0] += 10);
                        control.say(2);
                    });
                    (value, sleeper)
                },
                prepare: &|(value, sleeper)| {
                    drop(value.lock());
                    let mut guard = value.lock();
                    *guard = NEW;
                    GUARD.set(Some(guard));
                    sleeper.say(1);
                    sleeper.wait_until_asleep(LIMIT);
                },
                victim: &|_| drop(GUARD.take()),
                wake: None,
                check: &mut |(value, sleeper), _| {
                    assert_eq!(sleeper.hear(LIMIT), 2, "the sleeper gets the lock");
                    assert_eq!(sleeper.finish(LIMIT), 0);
                    let now = value.get();
                    assert!(now == [11, 1, 1, 1, 1] || now == [12, 2, 2, 2, 2], "{now:?}");
                    let died = value.lock_timeout(LIMIT).expect("nobody living holds the lock").recovered();
                    label(now[0] == 12, died)
                },
            });
            assert!(report.points > 50, "{report}");
            assert!(report.count("old, told") > 0 && report.count("new, told") > 0, "{report}");
        });
    }

    /// Element 1 of three, of which the neighbours must stay what they are.
    fn check_array<T: polyproc_values::Plain + PartialEq + core::fmt::Debug>(array: &Array<T>, all: [T; 3]) -> String {
        let [old, new, third] = all;
        let now = array.get(1);
        assert!(now == old || now == new, "{now:?}");
        let guard = array.lock_timeout(LIMIT).expect("nobody living holds the lock");
        let died = guard.recovered();
        assert_eq!(guard.to_vec(), [old, now, old]);
        drop(guard);
        array.set(0, third);
        assert_eq!(array.to_vec(), [third, now, old]);
        assert!(!array.lock().recovered(), "told once");
        label(now == new, died)
    }

    fn kill_array<T: polyproc_values::Plain + PartialEq + core::fmt::Debug>(
        name: &str,
        all: [T; 3],
        victim: &dyn Fn(&Array<T>),
    ) {
        let fresh = || Array::new(3, all[0]).unwrap();
        watchdog_single_threaded(name, LONG, || {
            all_of_it(&kill_at_every_instruction(Scenario {
                name,
                setup: &mut || fresh(),
                prepare: &|_| victim(&fresh()),
                victim: &|array| victim(array),
                wake: None,
                check: &mut |array, _| check_array(&array, all),
            }));
        });
    }

    pub(super) fn a_setter_of_a_narrow_element_dies() {
        kill_array("set of an element of 4 bytes", [1_u32, 2, 3], &|array| array.set(1, 2));
    }

    pub(super) fn a_setter_of_a_wide_element_dies() {
        kill_array("set of an element of 40 bytes", [OLD, NEW, [3; 5]], &|array| array.set(1, NEW));
    }

    pub(super) fn a_guard_of_an_array_dies() {
        kill_array("lock, set of an element of 40 bytes, unlock", [OLD, NEW, [3; 5]], &|array| {
            let guard = array.lock();
            guard.set(1, guard.get(1).map(|n| n + 1));
        });
    }

    /// Two deaths in a row: a process is killed with a store under way, and the next holder in his repair.
    pub(super) fn a_repairer_of_a_wide_element_dies() {
        watchdog_single_threaded("a_repairer_of_a_wide_element_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "set of an element of 40 bytes, after a death in another's",
                setup: &mut || half_stored(),
                prepare: &|_| Array::new(3, OLD).unwrap().set(0, OLD),
                victim: &|array| array.set(0, [4; 5]),
                wake: None,
                check: &mut |array, _| {
                    let [zero, one] = [array.get(0), array.get(1)];
                    assert!(zero == OLD || zero == [4; 5], "{zero:?}");
                    assert_eq!(one, NEW, "what was published stays");
                    let guard = array.lock_timeout(LIMIT).expect("nobody living holds the lock");
                    let died = guard.recovered();
                    assert_eq!(guard.to_vec(), [zero, NEW, OLD]);
                    label(zero != OLD, died)
                },
            });
            assert!(report.points > 100 && report.count("new, told") > 0 && report.count("old, told") > 0, "{report}");
        });
    }

    /// An array whose element 1 was being stored by a process that died: the spare counts, the place is half written.
    fn half_stored() -> Array<Five> {
        let array = Array::new(3, OLD).unwrap();
        array.set(1, NEW); // the spare holds it now, too
        let family = Family::get().unwrap();
        let message = Message::encode(family, &array).unwrap();
        let (header, None::<()>) = message.decode::<(Header, _)>(family).unwrap() else {
            panic!("it has a lock of its own")
        };
        // Words of the header: 5 is the version, 6 the index, 9 where the elements are.
        let header = |i: u64| word(header.0.offset() + i * 8);
        header(5).store(header(5).load(Relaxed) + 1, Relaxed);
        header(6).store(1, Relaxed);
        for i in 2..4 {
            word(header(9).load(Relaxed) + 40 + i * 8).store(OLD[0], Relaxed);
        }
        array
    }

    /// A word of the family's memory.
    fn word(offset: u64) -> &'static AtomicU64 {
        let place = Family::get().unwrap().at(offset, 8).unwrap();
        // SAFETY: eight bytes that are mapped for ever, as `at` has checked; headers and elements are atomics for everybody.
        unsafe { &*place.cast() }
    }

    /// A handle of an array's header.
    struct Header(std::sync::Arc<polyproc_shm::Object>);

    impl<'de> serde::Deserialize<'de> for Header {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            message::deserialize_handle(Kind::Array, 104, d).map(Self)
        }
    }

    pub(super) fn a_writer_of_many_elements_dies() {
        watchdog_single_threaded("a_writer_of_many_elements_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "write of 6 elements of 2 bytes",
                setup: &mut || Array::new(8, 1_u16).unwrap(),
                prepare: &|_| Array::new(8, 1_u16).unwrap().write(1..7, &[2; 6]),
                victim: &|array| array.write(1..7, &[2; 6]),
                wake: None,
                check: &mut |array, _| {
                    let now = array.to_vec();
                    assert_eq!((now[0], now[7]), (1, 1), "the neighbours");
                    assert!(now[1..7].iter().rev().is_sorted() && now.iter().all(|n| [1, 2].contains(n)), "{now:?}");
                    let died = array.lock_timeout(LIMIT).expect("nobody living holds the lock").recovered();
                    if !died {
                        assert!(now[1..7] == [1; 6] || now[1..7] == [2; 6], "nobody is told of {now:?}");
                    }
                    format!("{} new, {}", now.iter().filter(|n| **n == 2).count(), if died { "told" } else { "free" })
                },
            });
            assert!(report.count("0 new, free") > 0 && report.count("6 new, free") > 0, "{report}");
        });
    }

    /// Clears up after the victim, of which the harness has proof.
    fn bury() -> [u64; 2] {
        let family = Family::get().unwrap();
        assert!(!family.reap().skipped);
        let stats = family.stats();
        [stats.blocks(Kind::Array), stats.blocks(Kind::Data)]
    }

    /// A text becomes a longer one of bytes: length, type and content change together.
    pub(super) fn a_setter_of_an_item_dies() {
        let fresh =
            || ShareableList::new([Item::from("x".repeat(30)), Item::from("the old one"), Item::from(7)]).unwrap();
        let new = || Item::from(vec![0; 15]);
        watchdog_single_threaded("a_setter_of_an_item_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "set of an item of 15 bytes",
                setup: &mut || fresh(),
                prepare: &|_| fresh().set(1, new()).unwrap(),
                victim: &|list| list.set(1, new()).unwrap(),
                wake: None,
                check: &mut |list, _| {
                    let now = list.get(1);
                    assert!(now == new() || now == Item::from("the old one"), "{now:?}");
                    assert_eq!((list.get(0), list.get(2)), (Item::from("x".repeat(30)), Item::from(7)));
                    list.set(1, "another").unwrap(); // nobody living holds the lock
                    assert_eq!(list.get(1), Item::from("another"));
                    if now == new() { "new" } else { "old" }.to_owned()
                },
            });
            assert!(report.points > 100 && report.count("old") > 0 && report.count("new") > 0, "{report}");
        });
    }

    pub(super) fn a_maker_of_a_list_dies() {
        watchdog_single_threaded("a_maker_of_a_list_dies", LONG, || {
            kill_at_every_instruction(Scenario {
                name: "make and drop a list",
                setup: &mut || (),
                prepare: &|()| drop(ShareableList::new([1, 2]).unwrap()),
                victim: &|()| drop(ShareableList::new([1, 2]).unwrap()),
                wake: None,
                check: &mut |(), _| {
                    assert_eq!(bury(), [0, 0]);
                    "came back".to_owned()
                },
            });
        });
    }

    pub(super) fn a_maker_of_an_array_dies() {
        watchdog_single_threaded("a_maker_of_an_array_dies", LONG, || {
            kill_at_every_instruction(Scenario {
                name: "make and drop an array",
                setup: &mut || (),
                prepare: &|()| drop(Array::new(8, 1_u64).unwrap()),
                victim: &|()| drop(Array::new(8, 1_u64).unwrap()),
                wake: None,
                check: &mut |(), _| {
                    assert_eq!(bury(), [0, 0]);
                    "came back".to_owned()
                },
            });
        });
    }

    /// The last holder dies while he drops it.
    pub(super) fn a_dropper_of_an_array_dies() {
        watchdog_single_threaded("a_dropper_of_an_array_dies", LONG, || {
            kill_at_every_instruction(Scenario {
                name: "drop of an array that was shared, by its last holder",
                setup: &mut || {
                    let family = Family::get().unwrap();
                    let message = Message::encode(family, &Array::new(8, 1_u64).unwrap()).unwrap();
                    let Message::Block(block) = message else { panic!("it carries a handle") };
                    block.into_ref()
                },
                prepare: &|message| {
                    drop(Array::new(8, 1_u64).unwrap());
                    let block = Family::get().unwrap().claim(*message).unwrap();
                    ARRAY.set(Some(message::decode_block(block).unwrap()));
                },
                victim: &|_| drop(ARRAY.take()),
                wake: None,
                check: &mut |_, _| {
                    assert_eq!(bury(), [0, 0]);
                    "came back".to_owned()
                },
            });
        });
    }

    /// What a child inherits by fork is a copy of the guard, not the lock.
    pub(super) fn a_forked_child_has_no_guard() {
        let (value, array) = (Value::new(OLD).unwrap(), Array::new(2, OLD).unwrap());
        let guard = RefCell::new(Some(value.lock()));
        let elements = array.lock();
        let chunks = Array::new(2, 1_u8).unwrap().chunks(1).unwrap();
        let chunk = RefCell::new(Some(chunks.claim(0).unwrap()));
        let child = Survivor::fork(|control| {
            let mut copy = guard.take().unwrap();
            *copy = NEW;
            drop(copy);
            let set = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| elements.set(0, NEW)));
            let copy = chunk.take().unwrap();
            let store = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| copy.set(0, 2)));
            drop(copy);
            assert!(matches!(chunks.claim(0), Err(ClaimError::Claimed { chunk: 0 })), "nor the chunk");
            control.say(u8::from(set.is_err() && store.is_err()));
        });
        assert_eq!(child.hear(LIMIT), 1, "it is told that it does not hold the lock");
        assert_eq!(child.finish(LIMIT), 0);
        assert_eq!((value.get(), elements.to_vec()), (OLD, vec![OLD; 2]));
        *guard.borrow_mut().as_deref_mut().unwrap() = NEW;
        drop(guard);
        assert_eq!(value.get(), NEW, "the parent held it all the time");
        chunk.borrow().as_ref().unwrap().set(0, 3);
        assert_eq!(chunks.array().to_vec(), [3, 1]);
    }
}
