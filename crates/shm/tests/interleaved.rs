//! One process stopped before each system call of what it does with a segment, while another does all that it has to do:
//! nobody loses the name of what he holds (N1, N3, N4 of `NamedFile`), and the last one takes the name away.

#[path = "named/place.rs"]
mod place;

use core::cell::RefCell;
use place::{CONTENT, LIMIT, TempPlace, create, open};
use polyproc_shm::{Content, NamedFile, Place, SegmentError, gc};
use polyproc_sys::fork::{kill_child, spawn_child, wait_child};
use polyproc_sys::memory::Access;
use polyproc_testing::{Interleaving, Survivor, interleave_at_every_system_call, runner};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    runner::main(&[
        ("who_leaves_takes_no_new_name", who_leaves_takes_no_new_name),
        ("who_collects_takes_no_new_name", who_collects_takes_no_new_name),
        ("who_shrinks_keeps_the_name", who_shrinks_keeps_the_name),
        ("the_last_to_leave_is_found_whoever_looks", the_last_to_leave_is_found_whoever_looks),
        ("a_name_is_free_if_nobody_has_it", a_name_is_free_if_nobody_has_it),
    ])
}

/// One run: a directory, and who holds what.
struct Run {
    /// What the harness has made behind the fork: what is inherited is held by both.
    held: Vec<NamedFile>,
    /// What the subject has made.
    subjects: RefCell<Option<NamedFile>>,
    /// A process that holds a segment until it hears something.
    holder: Option<Survivor>,
    place: TempPlace,
}

impl Run {
    fn new() -> Self {
        Self { held: Vec::new(), subjects: RefCell::default(), holder: None, place: TempPlace::new() }
    }

    fn with_held() -> Self {
        let mut run = Self::new();
        let holder = Survivor::fork(|control| {
            let held = create(&run.place, "a").unwrap();
            control.say(1);
            let _ = control.hear();
            drop(held);
            control.say(2);
            let _ = control.hear();
        });
        assert_eq!(holder.hear(LIMIT), 1);
        run.holder = Some(holder);
        run
    }

    fn with_dead() -> Self {
        let run = Self::new();
        let pid = spawn_child(|| {
            let held = create(&run.place, "a").unwrap();
            kill_child(std::process::id());
            drop(held);
            0
        });
        assert_eq!(wait_child(pid), 128 + 9);
        run
    }

    fn holder_leaves(&mut self) {
        let holder = self.holder.as_ref().unwrap();
        holder.say(0);
        assert_eq!(holder.hear(LIMIT), 2);
    }

    /// In the subject.
    fn make(&self) {
        *self.subjects.borrow_mut() = Some(create(&self.place, "a").unwrap());
    }
}

/// What somebody does there, in words and in deed.
type Deed<'a> = (&'a str, &'a dyn Fn(&Place));

/// Whether the name means this segment.
fn keeps_its_name(place: &Place, file: &NamedFile) -> bool {
    let held = std::fs::File::from(file.fd().try_clone_to_owned().unwrap()).metadata().unwrap();
    std::fs::metadata(place.path().join("polyproc.a")).is_ok_and(|named| named.ino() == held.ino())
}

fn unlink_and_make(run: &mut Run) {
    match NamedFile::unlink(&run.place, "a") {
        Ok(()) | Err(SegmentError::NotFound(_)) => run.held.push(create(&run.place, "a").unwrap()),
        Err(SegmentError::Busy(_)) => {}
        Err(e) => panic!("{e}"),
    }
}

/// What the harness has made has its name; where it could not, the subject was in the middle of taking it away.
fn look_at_new(run: &mut Run) -> String {
    let Some(new) = run.held.pop() else { return "busy".into() };
    assert!(keeps_its_name(&run.place, &new), "somebody has taken the name of a segment in use away");
    drop(new);
    assert_eq!(run.place.files(), [""; 0]);
    "made".into()
}

fn who_leaves_takes_no_new_name() {
    let outcomes = interleave_at_every_system_call(Interleaving {
        name: "the last holder leaves beside one that unlinks and makes",
        setup: &mut Run::new,
        prepare: &|run| run.make(),
        subject: &|run| drop(run.subjects.take()),
        other: &mut unlink_and_make,
        check: &mut look_at_new,
    });
    assert!(outcomes["made"] > 2 && outcomes["busy"] > 0, "{outcomes:?}");
}

fn who_collects_takes_no_new_name() {
    let outcomes = interleave_at_every_system_call(Interleaving {
        name: "one collects beside one that unlinks and makes",
        setup: &mut Run::with_dead,
        prepare: &|_| (),
        subject: &|run| assert!(gc(&run.place).is_ok()),
        other: &mut unlink_and_make,
        check: &mut look_at_new,
    });
    assert!(outcomes["made"] > 2 && outcomes["busy"] > 0, "{outcomes:?}");
}

/// Where another one holds it too, to ask for the exclusive lock costs the shared one for a moment.
fn who_shrinks_keeps_the_name() {
    let others: [Deed<'_>; 3] = [
        ("leaves", &|_| ()),
        ("leaves and collects", &|place| assert!(gc(place).is_ok())),
        ("leaves and opens", &|place| drop(open(place, "a"))),
    ];
    for (does, other) in others {
        interleave_at_every_system_call(Interleaving {
            name: &format!("one shrinks beside one that {does}"),
            setup: &mut Run::with_held,
            prepare: &|run| *run.subjects.borrow_mut() = Some(open(&run.place, "a").unwrap()),
            subject: &|run| match run.subjects.borrow_mut().as_mut().unwrap().shrink(1) {
                Ok(()) | Err(SegmentError::InUse { .. }) => {}
                Err(e) => panic!("{e}"),
            },
            other: &mut |run| {
                run.holder_leaves();
                other(&run.place);
            },
            check: &mut |run| {
                assert_eq!(run.place.files(), ["polyproc.a"], "the subject holds it");
                assert_eq!(gc(&run.place).unwrap().in_use, 1);
                "kept".into()
            },
        });
    }
}

fn the_last_to_leave_is_found_whoever_looks() {
    let other_type = Content { type_hash: 8, ..CONTENT };
    let subjects: [Deed<'_>; 5] = [
        ("opens", &|place| drop(open(place, "a"))),
        ("opens it as something else", &|place| drop(NamedFile::open(place, "a", &other_type, Access::ReadWrite))),
        ("collects", &|place| assert!(gc(place).is_ok())),
        ("makes another", &|place| drop(create(place, "a"))),
        ("unlinks it", &|place| drop(NamedFile::unlink(place, "a"))),
    ];
    for (does, subject) in subjects {
        interleave_at_every_system_call(Interleaving {
            name: &format!("one {does} beside the last holder, who leaves"),
            setup: &mut Run::with_held,
            prepare: &|_| (),
            subject: &|run| subject(&run.place),
            other: &mut Run::holder_leaves,
            check: &mut |run| {
                assert_eq!(run.place.files(), [""; 0], "nobody holds it");
                "gone".into()
            },
        });
    }
}

fn a_name_is_free_if_nobody_has_it() {
    let outcomes = interleave_at_every_system_call(Interleaving {
        name: "one makes a segment in place of a dead one beside another that does the same",
        setup: &mut Run::with_dead,
        prepare: &|_| (),
        subject: &|run| drop(create(&run.place, "a")),
        other: &mut |run| match create(&run.place, "a") {
            Ok(new) => run.held.push(new),
            // While somebody looks at the dead one, it cannot be known to be dead.
            Err(SegmentError::Exists(_) | SegmentError::Busy(_)) => {}
            Err(e) => panic!("{e}"),
        },
        check: &mut |run| match run.held.pop() {
            Some(new) => {
                assert!(keeps_its_name(&run.place, &new));
                "made".into()
            }
            None => "not made".into(),
        },
    });
    assert!(outcomes["made"] > 2, "{outcomes:?}");
}
