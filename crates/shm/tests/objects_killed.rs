//! Processes that are killed at every instruction of making, opening, using and leaving objects that have names.
//!
//! Run it with `--release`: debug builds have ten times as many instructions.

#[path = "named/place.rs"]
mod place;

use place::TempPlace;
use polyproc_shm::{Content, Kind, Object, Place, SegmentError, gc};
use polyproc_testing::{Kill, Scenario, kill_at_every_instruction, runner, watchdog_single_threaded};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);
const CONTENT: Content<'static> = Content { kind: Kind::Lock, type_name: "64 bytes", type_hash: 64 };

fn main() -> ExitCode {
    // Ten minutes each: for people, by `--ignored`.
    let long: [runner::Test<'_>; 2] = [
        ("an_object_is_made_and_dropped", || {
            watchdog_single_threaded("an_object_is_made_and_dropped", LONG, an_object_is_made_and_dropped);
        }),
        ("an_object_is_opened_used_and_left", || {
            watchdog_single_threaded("an_object_is_opened_used_and_left", LONG, an_object_is_opened_used_and_left);
        }),
    ];
    runner::main_with_ignored(&[], &long)
}

fn make(place: &Place) -> Arc<Object> {
    Object::create_named(place.name("a"), &CONTENT, 0, |family| Object::create(family, 64, Kind::Lock)).unwrap()
}

fn open(place: &Place) -> Result<Arc<Object>, SegmentError> {
    Object::open_named(place.name("a"), &CONTENT, 64)
}

fn an_object_is_made_and_dropped() {
    let place = TempPlace::new();
    kill_at_every_instruction(Scenario {
        name: "an object with a name is made and dropped",
        setup: &mut || {
            let _ = gc(&place); // what a victim that ended early has left
        },
        prepare: &|()| drop(make(&TempPlace::new())),
        victim: &|()| drop(make(&place)),
        wake: None,
        check: &mut |(), kill: &Kill| {
            let left = !place.files().is_empty();
            if kill.step.is_multiple_of(2) {
                assert!(matches!(open(&place), Err(SegmentError::NotFound(_))), "nobody holds it");
            }
            let found = gc(&place).unwrap();
            assert_eq!((found.in_use, found.persistent, found.foreign), (0, 0, 0));
            assert_eq!(place.files(), [""; 0]);
            drop(make(&place)); // and everything works
            assert_eq!(place.files(), [""; 0]);
            if left { "a dead segment" } else { "nothing" }.into()
        },
    });
}

/// Opens it, takes memory from it, is known as a thread there, and leaves.
fn visit(place: &Place) {
    let object = open(place).unwrap();
    let family = object.family();
    family.participant().unwrap();
    drop(family.alloc(100, Kind::Data).unwrap());
}

fn an_object_is_opened_used_and_left() {
    let place = TempPlace::new();
    let held = make(&place);
    visit(&place); // the memory that visits need is there from now on
    let before = held.family().stats();
    kill_at_every_instruction(Scenario {
        name: "an object with a name is opened, used and left",
        setup: &mut || (),
        prepare: &|()| visit(&place),
        victim: &|()| visit(&place),
        wake: None,
        check: &mut |(), _| {
            drop(open(&place).unwrap()); // clears up after the dead
            let after = held.family().stats();
            let kept = |s: &polyproc_shm::Stats| (s.all_blocks(), s.processes, s.participants, s.spans);
            assert_eq!(kept(&after), kept(&before), "something of the dead is left");
            assert_eq!(gc(&place).unwrap().in_use, 1);
            "alive".into()
        },
    });
    drop(held);
    assert_eq!(place.files(), [""; 0]);
}
