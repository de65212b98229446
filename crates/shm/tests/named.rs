//! Segments with names: found, held, left, unlinked and collected, by processes that live and by processes that die.
//!
//! One thread, so that it may fork.

#[path = "named/place.rs"]
mod place;

use place::{CONTENT, LIMIT, TempPlace, create, open};
use polyproc_shm::{Collected, Content, Kind, NamedFile, Place, SegmentError, Shape, gc};
use polyproc_sys::dir::Dir;
use polyproc_sys::fork::{kill_child, spawn_child, wait_child};
use polyproc_sys::memory::Access;
use polyproc_testing::{LeakCheck, Survivor, runner};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

fn main() -> ExitCode {
    runner::main(tests![
        the_last_holder_takes_the_name_away,
        a_taken_name_is_an_error,
        a_segment_whose_holder_was_killed_is_dead,
        a_persistent_segment_survives_its_holders,
        an_unlinked_segment_is_kept_by_its_holders,
        the_exit_of_an_old_holder_leaves_a_new_segment_alone,
        a_forked_child_keeps_its_segment,
        a_child_that_runs_a_program_keeps_nothing,
        names_that_no_file_can_have_are_refused,
        what_is_no_segment_is_not_touched,
        another_type_is_refused_by_name,
        a_damaged_header_is_an_error,
        a_truncated_segment_is_an_error,
        a_reader_cannot_write,
        a_failed_build_leaves_nothing,
        nobody_waits_for_who_was_stopped,
        who_does_not_want_a_segment_may_be_the_last_to_leave_it,
        a_place_must_be_a_directory,
        the_mode_is_what_was_asked_for,
        two_openers_of_a_persistent_segment_do_not_hinder_each_other,
    ])
}

fn collected(place: &Place) -> (u64, u64, u64) {
    let Collected { removed, in_use, persistent, .. } = gc(place).unwrap();
    (removed, in_use, persistent)
}

fn the_last_holder_takes_the_name_away() {
    let leaks = LeakCheck::start();
    let place = TempPlace::new();
    let first = create(&place, "a").unwrap();
    let second = open(&place, "a").unwrap();
    assert_eq!((first.len(), second.len(), first.uuid() == second.uuid()), (100, 100, true));
    // SAFETY: 100 bytes, and nobody else uses them now.
    unsafe { first.as_ptr().write(7) };
    // SAFETY: as above.
    assert_eq!(unsafe { second.as_ptr().read() }, 7);
    drop(first);
    assert_eq!(place.files(), ["polyproc.a"]);
    assert_eq!(collected(&place), (0, 1, 0));
    drop(second);
    assert_eq!(place.files(), [""; 0]);
    assert!(matches!(open(&place, "a"), Err(SegmentError::NotFound(at)) if at.name == "a"));
    drop(place);
    leaks.finish().unwrap();
}

fn a_taken_name_is_an_error() {
    let place = TempPlace::new();
    let _held = create(&place, "a").unwrap();
    let error = create(&place, "a").unwrap_err();
    assert!(matches!(error, SegmentError::Exists(_)));
    assert!(error.to_string().contains("\"a\" in /"), "{error}");
    create(&place, "b").unwrap();
}

/// Leaves the segment `name` as a killed process leaves it.
fn dead(place: &Place, name: &str, persistent: bool) {
    let pid = spawn_child(|| {
        let held = create(place, name).unwrap();
        held.persist(persistent).unwrap();
        kill_child(std::process::id());
        drop(held);
        0
    });
    assert_eq!(wait_child(pid), 128 + 9);
}

fn a_segment_whose_holder_was_killed_is_dead() {
    let place = TempPlace::new();
    dead(&place, "a", false);
    assert_eq!(place.files(), ["polyproc.a"]);
    assert!(matches!(open(&place, "a"), Err(SegmentError::NotFound(_))));
    assert_eq!(place.files(), [""; 0]);

    dead(&place, "a", false);
    let new = create(&place, "a").unwrap();
    assert_eq!(open(&place, "a").unwrap().uuid(), new.uuid());
    drop(new);

    dead(&place, "a", false);
    dead(&place, "b", false);
    let found = gc(&place).unwrap();
    assert_eq!((found.removed, found.in_use), (2, 0));
    assert!(found.bytes >= 2 * 4196, "{found:?}");
    assert_eq!(place.files(), [""; 0]);
}

fn a_persistent_segment_survives_its_holders() {
    let place = TempPlace::new();
    dead(&place, "a", true);
    assert_eq!(collected(&place), (0, 0, 1));
    assert!(matches!(create(&place, "a"), Err(SegmentError::Exists(_))));
    let held = open(&place, "a").unwrap();
    assert!(held.is_persistent());
    drop(held);
    let held = open(&place, "a").unwrap();
    held.persist(false).unwrap();
    drop(held);
    assert_eq!(place.files(), [""; 0]);
    dead(&place, "b", true);
    NamedFile::unlink(&place, "b").unwrap();
    assert_eq!(place.files(), [""; 0]);
}

fn an_unlinked_segment_is_kept_by_its_holders() {
    let place = TempPlace::new();
    let held = create(&place, "a").unwrap();
    NamedFile::unlink(&place, "a").unwrap();
    assert!(matches!(NamedFile::unlink(&place, "a"), Err(SegmentError::NotFound(_))));
    assert!(matches!(open(&place, "a"), Err(SegmentError::NotFound(_))));
    // SAFETY: 100 bytes, nobody else uses them.
    unsafe { held.as_ptr().write_bytes(1, 100) };
    assert_eq!(held.len(), 100);
}

fn the_exit_of_an_old_holder_leaves_a_new_segment_alone() {
    let place = TempPlace::new();
    let old = create(&place, "a").unwrap();
    NamedFile::unlink(&place, "a").unwrap();
    let new = create(&place, "a").unwrap();
    drop(old);
    assert_eq!(open(&place, "a").unwrap().uuid(), new.uuid());
}

fn a_forked_child_keeps_its_segment() {
    let place = TempPlace::new();
    let held = create(&place, "a").unwrap();
    let uuid = held.uuid();
    let mut held = Some(held);
    let child = Survivor::fork(|control| {
        control.say(1);
        let _ = control.hear();
        drop(held.take());
        control.say(2);
        let _ = control.hear();
    });
    assert_eq!(child.hear(LIMIT), 1);
    drop(held.take()); // the child's `take` was on its own copy
    assert_eq!(collected(&place), (0, 1, 0));
    assert_eq!(open(&place, "a").unwrap().uuid(), uuid);
    child.say(0);
    assert_eq!(child.hear(LIMIT), 2);
    assert_eq!(place.files(), [""; 0], "its exit is that of the last holder");
    child.say(0);
    assert_eq!(child.finish(LIMIT), 0);

    let held = create(&place, "b").unwrap();
    let child = Survivor::fork(|control| {
        control.say(1);
        let _ = control.hear();
    });
    assert_eq!(child.hear(LIMIT), 1);
    drop(held);
    assert_eq!(collected(&place), (0, 1, 0));
    drop(child); // killed
    assert_eq!(collected(&place), (1, 0, 0));
}

fn a_child_that_runs_a_program_keeps_nothing() {
    let place = TempPlace::new();
    let held = create(&place, "a").unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    drop(held);
    assert_eq!(place.files(), [""; 0]);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn names_that_no_file_can_have_are_refused() {
    let place = TempPlace::new();
    let long = "x".repeat(201);
    for name in ["", ".", "..", "a/b", "/a", "a\0b", &long, &"ä".repeat(101)] {
        assert!(matches!(create(&place, name), Err(SegmentError::BadName { .. })), "{name:?}");
        assert!(matches!(open(&place, name), Err(SegmentError::BadName { .. })), "{name:?}");
        assert!(matches!(NamedFile::unlink(&place, name), Err(SegmentError::BadName { .. })), "{name:?}");
    }
    for name in ["...", " ", "a b\n", &long[..200], &"ä".repeat(100), "*", "polyproc.x"] {
        drop(create(&place, name).unwrap());
    }
    assert_eq!(place.files(), [""; 0]);
}

fn what_is_no_segment_is_not_touched() {
    let place = TempPlace::new();
    let path = |name: &str| place.path().join(name);
    fs::write(path("mine"), "x").unwrap();
    fs::write(path("polyproc.text"), "x").unwrap();
    fs::write(path("polyproc.zeros"), [0; 8192]).unwrap();
    fs::create_dir(path("polyproc.dir")).unwrap();
    symlink(path("mine"), path("polyproc.link")).unwrap();
    assert!(Command::new("mkfifo").arg(path("polyproc.pipe")).status().unwrap().success());
    let before = place.files();
    for name in ["text", "zeros", "dir", "link", "pipe"] {
        let error = open(&place, name).unwrap_err();
        assert!(matches!(error, SegmentError::Unusable { .. } | SegmentError::Sys { .. }), "{error}");
        assert!(matches!(create(&place, name), Err(SegmentError::Unusable { .. })), "{name}");
    }
    let found = gc(&place).unwrap();
    assert_eq!((found.removed, found.foreign), (0, 5));
    assert_eq!(place.files(), before);
}

fn another_type_is_refused_by_name() {
    let place = TempPlace::new();
    let _held = create(&place, "a").unwrap();
    for other in [Content { kind: Kind::Lock, ..CONTENT }, Content { type_hash: 8, type_name: "i8", ..CONTENT }] {
        let error = NamedFile::open(&place, "a", &other, Access::ReadWrite).unwrap_err();
        let SegmentError::WrongType { wanted, found, .. } = &error else { panic!("{error}") };
        assert!(found.contains("u8") && wanted.contains(other.type_name), "{error}");
    }
}

fn a_damaged_header_is_an_error() {
    let place = TempPlace::new();
    let mut seen = [0; 3];
    for at in 0..512 {
        for bit in [0, 7] {
            let held = create(&place, "a").unwrap();
            let file = fs::OpenOptions::new().read(true).write(true).open(place.path().join("polyproc.a")).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
            match open(&place, "a") {
                Ok(again) => {
                    assert!(again.len() <= 100, "{at}");
                    seen[0] += 1;
                }
                Err(SegmentError::Unusable { .. } | SegmentError::NoAddressSpace { .. }) => seen[1] += 1,
                Err(SegmentError::WrongType { .. }) => seen[2] += 1,
                Err(e) => panic!("byte {at}: {e}"),
            }
            assert!(held.len() <= 100);
            drop((held, file));
            gc(&place).unwrap();
            let _ = fs::remove_file(place.path().join("polyproc.a")); // damaged ones are nobody's
        }
    }
    assert!(seen.iter().all(|&n| n > 0), "{seen:?}");
}

fn a_truncated_segment_is_an_error() {
    let place = TempPlace::new();
    let held = create(&place, "a").unwrap();
    let file = fs::OpenOptions::new().write(true).open(place.path().join("polyproc.a")).unwrap();
    file.set_len(4096 + 50).unwrap();
    assert!(matches!(open(&place, "a"), Err(SegmentError::Unusable { .. })));
    file.set_len(10).unwrap();
    assert!(matches!(open(&place, "a"), Err(SegmentError::Unusable { .. })));
    drop(held);
    assert_eq!(gc(&place).unwrap().foreign, 1);
}

fn a_reader_cannot_write() {
    let place = TempPlace::new();
    let held = create(&place, "a").unwrap();
    let reader = NamedFile::open(&place, "a", &CONTENT, Access::ReadOnly).unwrap();
    assert!(matches!(reader.persist(true), Err(SegmentError::Unusable { .. })));
    assert!(!held.is_persistent());
    let pid = spawn_child(|| {
        // SAFETY: it is not allowed: the kernel ends this process.
        unsafe { reader.as_ptr().write_volatile(1) };
        0
    });
    assert_eq!(wait_child(pid), 128 + 11);
    drop(held);
    assert_eq!(place.files(), ["polyproc.a"], "a reader is a holder");
    drop(reader);
    assert_eq!(place.files(), [""; 0]);
}

fn a_failed_build_leaves_nothing() {
    let leaks = LeakCheck::start();
    let place = TempPlace::new();
    let fail = |_| Err(SegmentError::NotFound(place.name_of("inner")));
    assert!(matches!(
        NamedFile::create(&place, "a", &CONTENT, Shape::fixed(1), fail),
        Err(SegmentError::NotFound(at)) if at.name == "inner"
    ));
    assert_eq!(place.files(), [""; 0]);
    drop(place);
    leaks.finish().unwrap();
}

fn nobody_waits_for_who_was_stopped() {
    let place = TempPlace::new();
    dead(&place, "a", false);
    // As if somebody unlinked something, and was stopped.
    let started = Instant::now();
    let lock = Dir::new(place.path()).unwrap().try_lock().unwrap().unwrap();
    assert!(matches!(NamedFile::unlink(&place, "a"), Err(SegmentError::Busy(_))));
    assert!(started.elapsed() >= Duration::from_secs(1));
    drop(create(&place, "b").unwrap());
    assert_eq!(place.files(), ["polyproc.a"], "others need no lock of the directory");
    drop(lock);
    // As if somebody looked whether it is dead, and was stopped.
    let file = Dir::new(place.path()).unwrap().open("polyproc.a", Access::ReadOnly).unwrap().unwrap();
    assert!(file.try_lock_exclusive().unwrap());
    assert!(matches!(open(&place, "a"), Err(SegmentError::Busy(_))));
    assert!(matches!(create(&place, "a"), Err(SegmentError::Busy(_))));
    assert!(matches!(NamedFile::unlink(&place, "a"), Err(SegmentError::Busy(_))));
    assert_eq!(collected(&place), (0, 1, 0));
    drop(file);
    assert_eq!(collected(&place), (1, 0, 0));
}

fn who_does_not_want_a_segment_may_be_the_last_to_leave_it() {
    let place = TempPlace::new();
    for i in 0..200 {
        let held = create(&place, "a").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = Content { type_hash: 8, ..CONTENT };
                let error = NamedFile::open(&place, "a", &other, Access::ReadWrite).unwrap_err();
                assert!(matches!(error, SegmentError::WrongType { .. } | SegmentError::NotFound(_)), "{error}");
            });
            (0..i).for_each(|_| std::hint::spin_loop());
            drop(held);
        });
        assert_eq!(place.files(), [""; 0]);
    }
}

fn a_place_must_be_a_directory() {
    for path in ["/no/such/place", "/dev/null", "/proc"] {
        let place = Place::dir(path).unwrap();
        let error = create(&place, "a").unwrap_err();
        assert!(matches!(error, SegmentError::BadPlace { .. }), "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

fn the_mode_is_what_was_asked_for() {
    let place = TempPlace::new();
    for mode in [0o600, 0o640, 0o666] {
        let shape = Shape { mode, ..Shape::fixed(1) };
        let _held = NamedFile::create(&place, "a", &CONTENT, shape, |_| Ok(())).unwrap();
        let found = fs::metadata(place.path().join("polyproc.a")).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, mode);
    }
}

fn two_openers_of_a_persistent_segment_do_not_hinder_each_other() {
    let place = TempPlace::new();
    dead(&place, "a", true);
    let children: Vec<_> = (0..4)
        .map(|_| {
            Survivor::fork(|_| {
                for _ in 0..500 {
                    open(&place, "a").unwrap();
                }
            })
        })
        .collect();
    for child in children {
        assert_eq!(child.finish(LIMIT), 0);
    }
    NamedFile::unlink(&place, "a").unwrap();
}
