//! Processes that are killed at every instruction of what they do with segments that have names: whoever comes next finds
//! a whole segment or none, and what the dead held is collected.
//!
//! Run it with `--release`: debug builds have ten times as many instructions.

#[path = "named/place.rs"]
mod place;

use place::{CONTENT, TempPlace, create, open};
use polyproc_shm::{NamedFile, Place, SegmentError, Shape, gc};
use polyproc_sys::fork::{kill_child, spawn_child, wait_child};
use polyproc_testing::{Kill, Scenario, kill_at_every_instruction, runner};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Minutes each: for people.
    let long: [runner::Test<'_>; 2] = [
        ("a_segment_is_created_in_place_of_a_dead_one", a_segment_is_created_in_place_of_a_dead_one),
        ("a_dead_segment_is_opened", a_dead_segment_is_opened),
    ];
    let tests: &[runner::Test<'_>] = &[
        ("a_segment_is_created", a_segment_is_created),
        ("a_segment_is_opened_and_left", a_segment_is_opened_and_left),
        ("the_last_holder_leaves", the_last_holder_leaves),
        ("a_segment_is_unlinked", a_segment_is_unlinked),
        ("segments_are_collected", segments_are_collected),
        ("a_segment_grows", a_segment_grows),
        ("a_segment_shrinks_and_grows", a_segment_shrinks_and_grows),
    ];
    runner::main_with_ignored(tests, &long)
}

/// A segment whose content says that it is whole.
fn whole(place: &Place) -> Result<NamedFile, SegmentError> {
    NamedFile::create(place, "a", &CONTENT, Shape::fixed(100), |at| {
        // SAFETY: 100 bytes that nobody else sees yet.
        unsafe { at.write_bytes(7, 100) };
        Ok(())
    })
}

/// What an opener finds: a whole segment, or none.
fn look(place: &Place) -> bool {
    match open(place, "a") {
        Ok(found) => {
            assert_eq!(found.len(), 100);
            // SAFETY: 100 bytes, which nobody writes any more.
            let bytes = unsafe { core::slice::from_raw_parts(found.as_ptr(), 100) };
            assert_eq!(bytes, [7; 100], "half made");
            true
        }
        Err(SegmentError::NotFound(_)) => false,
        Err(e) => panic!("{e}"),
    }
}

/// Before each victim: what one that was killed and not judged has left is cleared up.
fn settle(place: &Place) {
    let _ = NamedFile::unlink(place, "a");
}

/// Leaves a segment that nobody holds.
fn dead(place: &Place, name: &str) {
    let pid = spawn_child(|| {
        let held = create(place, name);
        kill_child(std::process::id());
        drop(held);
        0
    });
    assert_eq!(wait_child(pid), 128 + 9);
}

/// Kills `victim` at every instruction of what it does beside nobody; nothing is left behind `gc`.
fn nothing_stays(name: &str, setup: &dyn Fn(&Place), victim: &dyn Fn(&Place)) {
    let place = TempPlace::new();
    kill_at_every_instruction(Scenario {
        name,
        setup: &mut || setup(&place),
        prepare: &|()| {
            let warm = TempPlace::new();
            setup(&warm);
            victim(&warm);
        },
        victim: &|()| victim(&place),
        wake: None,
        check: &mut |(), kill: &Kill| {
            let left = !place.files().is_empty();
            // Every other time nobody opens it first.
            if kill.step.is_multiple_of(2) {
                assert!(!look(&place), "a segment that nobody holds was found");
            }
            let found = gc(&place).unwrap();
            assert_eq!((found.in_use, found.persistent, found.foreign), (0, 0, 0));
            assert_eq!(place.files(), [""; 0]);
            drop(whole(&place).unwrap()); // and everything works
            assert_eq!(place.files(), [""; 0]);
            if left { "a dead segment" } else { "nothing" }.into()
        },
    });
}

fn a_segment_is_created() {
    nothing_stays("a segment is created and dropped", &|_| (), &|place| drop(whole(place).unwrap()));
}

fn a_segment_is_created_in_place_of_a_dead_one() {
    let setup = |place: &Place| dead(place, "a");
    nothing_stays("a segment is created in place of a dead one", &setup, &|place| drop(whole(place).unwrap()));
}

fn a_dead_segment_is_opened() {
    let setup = |place: &Place| dead(place, "a");
    nothing_stays("a dead segment is opened", &setup, &|place| assert!(!look(place)));
}

fn segments_are_collected() {
    let setup = |place: &Place| {
        dead(place, "a");
        dead(place, "b");
    };
    nothing_stays("dead segments are collected", &setup, &|place| {
        gc(place).unwrap();
    });
}

fn a_segment_is_opened_and_left() {
    let place = TempPlace::new();
    kill_at_every_instruction(Scenario {
        name: "a segment is opened and left",
        setup: &mut || whole(&place).unwrap(),
        prepare: &|_| drop(open(&place, "a").unwrap()),
        victim: &|_| drop(open(&place, "a").unwrap()),
        wake: None,
        check: &mut |held: NamedFile, _| {
            assert!(look(&place), "it is held");
            assert_eq!(gc(&place).unwrap().in_use, 1);
            drop(held);
            assert_eq!(place.files(), [""; 0]);
            "alive".into()
        },
    });
}

/// It changes its mind about what is to stay, too.
fn the_last_holder_leaves() {
    let place = TempPlace::new();
    kill_at_every_instruction(Scenario {
        name: "the last holder leaves",
        setup: &mut || settle(&place),
        prepare: &|()| drop(whole(&place).unwrap()),
        victim: &|()| {
            let held = whole(&place).unwrap();
            held.persist(true).unwrap();
            held.persist(false).unwrap();
        },
        wake: None,
        check: &mut |(), _| {
            let found = gc(&place).unwrap();
            assert_eq!(found.in_use, 0);
            let what = if found.persistent == 1 { "persistent" } else { "not persistent" };
            if found.persistent == 1 {
                assert!(look(&place));
                NamedFile::unlink(&place, "a").unwrap();
            }
            assert_eq!(place.files(), [""; 0]);
            what.into()
        },
    });
}

fn a_segment_is_unlinked() {
    let place = TempPlace::new();
    kill_at_every_instruction(Scenario {
        name: "a segment is unlinked",
        setup: &mut || whole(&place).unwrap(),
        prepare: &|_| assert!(NamedFile::unlink(&place, "b").is_err()),
        victim: &|_| NamedFile::unlink(&place, "a").unwrap(),
        wake: None,
        check: &mut |held: NamedFile, _| {
            let found = look(&place);
            if !found {
                drop(whole(&place).unwrap());
            }
            drop(held);
            assert_eq!(place.files(), [""; 0]);
            if found { "still there" } else { "unlinked" }.into()
        },
    });
}

/// One that the harness holds as well: it is as long as before or as it was to be, all of it is there, and it grows on.
fn a_segment_grows() {
    const OLD: u64 = 5000;
    const NEW: u64 = 20_000;
    let place = TempPlace::new();
    kill_at_every_instruction(Scenario {
        name: "a segment grows",
        setup: &mut || {
            let shape = Shape { limit: 1 << 20, ..Shape::fixed(OLD) };
            NamedFile::create(&place, "a", &CONTENT, shape, |_| Ok(())).unwrap()
        },
        prepare: &|held| held.grow(OLD).unwrap(),
        victim: &|held| held.grow(NEW).unwrap(),
        wake: None,
        check: &mut |held: NamedFile, _| {
            let len = held.len();
            assert!(len == OLD || len == NEW);
            zeros(&held);
            held.grow(NEW + 1).unwrap();
            assert_eq!(held.len(), NEW + 1);
            zeros(&held);
            drop(held);
            gc(&place).unwrap();
            assert_eq!(place.files(), [""; 0]);
            if len == OLD { "as before" } else { "longer" }.into()
        },
    });
}

fn zeros(held: &NamedFile) {
    // SAFETY: so many bytes are there, and nobody writes.
    let bytes = unsafe { core::slice::from_raw_parts(held.as_ptr(), usize::try_from(held.len()).unwrap()) };
    assert!(bytes.iter().all(|&b| b == 0));
}

/// Nobody may hold it beside the one who shrinks it: it is persistent, and looked at afterwards.
fn a_segment_shrinks_and_grows() {
    let place = TempPlace::new();
    kill_at_every_instruction(Scenario {
        name: "a segment shrinks and grows",
        setup: &mut || {
            settle(&place);
            whole(&place).unwrap().persist(true).unwrap();
        },
        prepare: &|()| {
            let mut other = create(&place, "b").unwrap();
            other.shrink(1).unwrap();
            other.grow(2).unwrap();
        },
        victim: &|()| {
            let mut held = open(&place, "a").unwrap();
            held.shrink(50).unwrap();
            held.grow(100).unwrap();
        },
        wake: None,
        check: &mut |(), _| {
            gc(&place).unwrap();
            let mut held = open(&place, "a").unwrap();
            let len = held.len();
            held.grow(100).unwrap();
            // SAFETY: 100 bytes, and nobody writes.
            let bytes = unsafe { core::slice::from_raw_parts(held.as_ptr(), 100) };
            assert_eq!(bytes[..50], [7; 50]);
            assert!(bytes[50..] == [7; 50] || bytes[50..] == [0; 50] || len == 50);
            held.shrink(10).unwrap();
            assert_eq!(held.len(), 10, "nobody else holds it");
            held.persist(false).unwrap();
            drop(held);
            assert_eq!(place.files(), [""; 0]);
            format!("{len} bytes")
        },
    });
}
