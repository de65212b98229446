//! Rounds of processes that make, open, grow, unlink and collect segments of the same names, while one of them is killed at
//! some moment: every segment that is found is whole, one that somebody holds keeps its name, and nothing stays.
//!
//! 1,000 rounds; `POLYPROC_ROUNDS=` says how many else, `POLYPROC_SEED=` which.

#[path = "named/place.rs"]
mod place;

use place::{CONTENT, LIMIT, TempPlace};
use polyproc_shm::{NamedFile, Place, SegmentError, Shape, gc};
use polyproc_sys::memory::{Access, load, store};
use polyproc_testing::{LeakCheck, Survivor, runner};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

fn main() -> ExitCode {
    runner::main(&[
        ("killed_processes_leave_no_segment_half_made_and_none_behind", rounds),
        ("openers_race_creators_and_collectors", race),
        ("the_last_to_leave_takes_the_name_away", last),
        ("a_collector_that_is_overtaken_takes_no_new_name", overtake),
        ("who_shrinks_keeps_the_name", shrink),
    ])
}

const LEN: u64 = 5000;
const MOST: u64 = 100_000;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn word(file: &NamedFile, at: u64) -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the callers know that the content is longer.
    unsafe { load(file.as_ptr().wrapping_add(usize::try_from(at).unwrap()), &mut bytes) };
    u64::from_ne_bytes(bytes)
}

/// A segment whose first and last words are the same number.
fn create(place: &Place, name: &str, number: u64) -> Result<NamedFile, SegmentError> {
    NamedFile::create(place, name, &CONTENT, Shape { limit: MOST, ..Shape::fixed(LEN) }, |at| {
        for offset in [0, LEN - 8] {
            // SAFETY: inside of the content, which nobody else sees yet.
            unsafe { store(at.wrapping_add(usize::try_from(offset).unwrap()), &number.to_ne_bytes()) };
        }
        Ok(())
    })
}

/// What is found is whole; what is not is told by the right error.
fn open(place: &Place, name: &str) -> Option<NamedFile> {
    match NamedFile::open(place, name, &CONTENT, Access::ReadWrite) {
        Ok(file) => {
            assert!((LEN..=MOST).contains(&file.len()));
            assert!(word(&file, 0) != 0 && word(&file, 0) == word(&file, LEN - 8), "half made");
            if file.len() > LEN + 8 {
                assert_eq!(word(&file, file.len() / 8 * 8 - 8), 0, "what has grown is zero");
            }
            Some(file)
        }
        Err(SegmentError::NotFound(_)) => None,
        Err(e) => panic!("{e}"),
    }
}

/// What one process does: `steps` random things to three names, and to one that somebody holds all the time.
fn work(place: &Place, kept: u128, random: &mut Random, steps: u64) {
    let mut held = Vec::new();
    for _ in 0..steps {
        let name = ["a", "b", "c"][usize::try_from(random.below(3)).unwrap()];
        match random.below(8) {
            0 | 1 => match create(place, name, random.below(1 << 30) + 1) {
                Ok(file) => held.push(file),
                Err(SegmentError::Exists(_)) => {}
                Err(e) => panic!("{e}"),
            },
            2 | 3 => held.extend(open(place, name)),
            4 => {
                if let Some(file) = held.last() {
                    file.grow(LEN + random.below(MOST - LEN)).unwrap();
                }
            }
            5 => match NamedFile::unlink(place, name) {
                Ok(()) | Err(SegmentError::NotFound(_)) => {}
                Err(e) => panic!("{e}"),
            },
            6 => {
                gc(place).unwrap();
                let file = open(place, "kept").expect("somebody holds it");
                assert_eq!(file.uuid(), kept);
            }
            _ => held.clear(),
        }
    }
}

fn rounds() {
    let seed = number("POLYPROC_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) | 1
    });
    let rounds = number("POLYPROC_ROUNDS").unwrap_or(1000);
    println!("POLYPROC_SEED={seed} POLYPROC_ROUNDS={rounds}");
    let leaks = LeakCheck::start();
    let place = TempPlace::new();
    let (mut random, mut dead) = (Random(seed), 0);
    for _ in 0..rounds {
        let kept = create(&place, "kept", 1).unwrap();
        let uuid = kept.uuid();
        let mut workers: Vec<_> = (0..4_u64)
            .map(|_| {
                let mut mine = Random(random.below(u64::MAX >> 33) << 8 | 1);
                let place = &place;
                Survivor::fork(move |control| {
                    control.say(1);
                    work(place, uuid, &mut mine, 60);
                })
            })
            .collect();
        let victim = workers.swap_remove(usize::try_from(random.below(4)).unwrap());
        assert_eq!(victim.hear(LIMIT), 1);
        let moment = Duration::from_micros(random.below(1500));
        let started = std::time::Instant::now();
        while started.elapsed() < moment {
            std::hint::spin_loop();
        }
        drop(victim); // killed, if it has not come to its end
        for worker in workers {
            assert_eq!(worker.finish(LIMIT), 0);
        }
        let found = gc(&place).unwrap();
        dead += found.removed;
        assert_eq!((found.in_use, found.persistent, found.foreign), (1, 0, 0));
        assert_eq!(place.files(), ["polyproc.kept"]);
        drop(kept);
        assert_eq!(place.files(), [""; 0]);
    }
    runner::report(&format!("{rounds} rounds, {dead} segments of killed processes"));
    drop(place);
    leaks.finish().unwrap();
}

/// Whether the name means this segment: while somebody holds it, unless somebody unlinks it.
fn keeps_its_name(place: &Place, file: &NamedFile) -> bool {
    let held = std::fs::File::from(file.fd().try_clone_to_owned().unwrap()).metadata().unwrap();
    std::fs::metadata(place.path().join("polyproc.a")).is_ok_and(|named| named.ino() == held.ino())
}

/// Two make and leave one name, two open it, one collects: none sees a half made one, and none loses the name of its own.
fn race() {
    let place = TempPlace::new();
    side_by_side(&place, &[make, make, look, look, collect]);
    gc(&place).unwrap();
    assert_eq!(place.files(), [""; 0]);
}

/// What one process does, by its number.
type Role = fn(&Place, u64);

fn side_by_side(place: &Place, roles: &[Role]) {
    let all: Vec<_> = (1..).zip(roles).map(|(i, role)| Survivor::fork(move |_| role(place, i))).collect();
    for process in all {
        assert_eq!(process.finish(LIMIT), 0);
    }
}

fn make(place: &Place, who: u64) {
    for i in 1..3000 {
        match create(place, "a", i * 10 + who) {
            Ok(file) => assert!(keeps_its_name(place, &file)),
            Err(e) => assert!(matches!(e, SegmentError::Exists(_)), "{e}"),
        }
    }
}

fn look(place: &Place, _: u64) {
    for _ in 0..3000 {
        if let Some(file) = open(place, "a") {
            assert!(keeps_its_name(place, &file));
        }
    }
}

fn collect(place: &Place, _: u64) {
    for _ in 0..3000 {
        gc(place).unwrap();
    }
}

/// As above, but nobody collects: whoever was the last has taken the name away.
fn last() {
    let place = TempPlace::new();
    for _ in 0..20 {
        side_by_side(&place, &[make_some, make_some, look_some]);
        assert_eq!(place.files(), [""; 0]);
    }
}

fn make_some(place: &Place, who: u64) {
    (0..100).for_each(|i| drop(create(place, "a", i * 10 + who)));
}

fn look_some(place: &Place, _: u64) {
    (0..100).for_each(|_| drop(open(place, "a")));
}

/// One grows and shrinks what it holds, and goes from lock to lock meanwhile, while others come, go and collect (N4).
fn shrink() {
    let place = TempPlace::new();
    side_by_side(&place, &[grow_and_shrink, look_some, look_some, collect]);
    assert_eq!(place.files(), [""; 0]);
}

fn grow_and_shrink(place: &Place, who: u64) {
    let mut file = create(place, "a", who).unwrap();
    let mut shrunk = 0;
    while shrunk < 1000 {
        file.grow(MOST).unwrap();
        match file.shrink(LEN) {
            Ok(()) => shrunk += 1,
            Err(e) => assert!(matches!(e, SegmentError::InUse { .. }), "{e}"),
        }
        assert!(keeps_its_name(place, &file));
    }
}

/// One collects while another unlinks a dead segment and makes a new one of the same name (N3).
fn overtake() {
    let place = TempPlace::new();
    side_by_side(&place, &[unlink_and_make, collect, collect]);
    gc(&place).unwrap();
    assert_eq!(place.files(), [""; 0]);
}

fn unlink_and_make(place: &Place, _: u64) {
    const FLAGS: u64 = 24;
    for i in 1..3000 {
        let dead = create(place, "a", i).unwrap();
        dead.persist(true).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(place.path().join("polyproc.a")).unwrap();
        drop(dead);
        file.write_all_at(&[0; 8], FLAGS).unwrap(); // as if its holder had been killed
        match NamedFile::unlink(place, "a") {
            Ok(()) | Err(SegmentError::NotFound(_)) => {}
            Err(e) => panic!("{e}"),
        }
        let new = create(place, "a", i).unwrap();
        for _ in 0..10 {
            assert!(keeps_its_name(place, &new));
        }
    }
}
