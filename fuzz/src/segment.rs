//! Files of segments with names that somebody has written over, cut off, or written himself.

use super::input::Input;
use super::place::Folder;
use super::things::{Thing, What};
use polyproc_shm::{Family, SharedMemory, gc};
use polyproc_sys::liveness::tid_is_dead;
use polyproc_sys::robust::{TID, thread_id};
use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// The most changes before anybody opens the file, and the most steps with it.
const STEPS: usize = 32;
/// The longest file: whoever opens a plain one backs all of it.
const LONGEST: u64 = 80 << 20;
/// Where the content starts, and the parts of a named object's file that are not zero: header, tables, spans.
const CONTENT: u64 = 4096;
const PARTS: [(u64, u64); 4] =
    [(0, CONTENT + 8192), (CONTENT + (68 << 10), 4096), (CONTENT + (384 << 10), 4096), (FIRST_SPAN, u64::MAX)];
const FIRST_SPAN: u64 = CONTENT + (384 << 10) + (64 << 20);
/// The word of the lock that whoever drops handles waits for.
const HOLDERS: u64 = CONTENT + 128;

/// Writes a file as `data` says, and opens, uses, unlinks and collects it.
///
/// # Panics
/// If anything is wrong with the library.
pub fn segment(data: &[u8]) {
    let input = &mut Input::new(data);
    let folder = Folder::new();
    play(input, &folder);
    let place = folder.place();
    gc(place).expect("the folder can be read");
    let memory = SharedMemory::create(place.name("fresh"), 100).expect("there is memory for it");
    memory.write(0, b"text").expect("it is long enough");
    let again = SharedMemory::open(place.name("fresh")).expect("it has its name");
    assert_eq!(again.get::<[u8; 4]>(0).expect("it is long enough"), *b"text");
    drop((memory, again));
    assert_eq!(gc(place).expect("the folder can be read").in_use, 0);
}

fn play(input: &mut Input<'_>, folder: &Folder) {
    let first = input.byte();
    let Some(what) = What::of(first) else {
        let plain = first.is_multiple_of(2);
        let file = whole(input, folder, plain);
        return steps(input, folder, What::Memory, &file);
    };
    let file = copy(folder, what);
    for _ in 0..input.byte() % 16 {
        scribble(&file, input);
    }
    let len = file.metadata().expect("it is open").len();
    match input.byte() % 4 {
        0 => file.set_len(input.word() % (len + 1)),
        1 => file.set_len(input.word() % LONGEST),
        _ => Ok(()),
    }
    .expect("it can be written");
    if input.byte().is_multiple_of(2) {
        file.lock_shared().expect("nobody else has a lock"); // now somebody holds the segment
    }
    steps(input, folder, what, &file);
}

/// A file of any bytes, plain or with the name of a segment.
fn whole(input: &mut Input<'_>, folder: &Folder, plain: bool) -> File {
    let name = if plain { NAME } else { FILE };
    let file = open(folder, name);
    let len = usize::from(input.byte());
    file.write_all_at(input.some(len), 0).expect("there is memory for it");
    file.set_len(input.word() % (1 << 20)).expect("it can be written");
    file
}

fn steps(input: &mut Input<'_>, folder: &Folder, what: What, file: &File) {
    let mut things: Vec<Thing> = Vec::new();
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        // As what it is, or as something else.
        let what = if step < 224 { what } else { What::of(input.byte()).unwrap_or(what) };
        let i = usize::from(step / 16) % things.len().max(1);
        match step % 16 {
            0..=3 => things.extend(match step % 4 {
                0 | 1 => Thing::open(folder, NAME, what),
                2 => Thing::open_or_create(folder, NAME, what),
                _ => Thing::create(folder, NAME, what),
            }),
            4 => things.extend(Thing::attach(file, step >= 128)),
            5 => things.extend(Thing::read(folder, NAME)),
            6 => things.extend(Thing::plain(folder, NAME, step >= 128)),
            7 => drop(SharedMemory::unlink(folder.place().name(NAME))),
            8 => drop(gc(folder.place()).expect("the folder can be read")),
            9 if i < things.len() => drop(things.swap_remove(i)),
            10 if i < things.len() => {
                // A handle goes on a journey.
                let family = Family::get().expect("there is memory for a family");
                things.truncate(4);
                let arrived = things.get(i).and_then(|thing| thing.send(family));
                things.extend(arrived);
            }
            11 | 12 => scribble(file, input),
            _ => {
                if let Some(thing) = things.get_mut(i) {
                    thing.use_it(input);
                }
            }
        }
    }
}

/// The name of the segment, and that of its file.
const NAME: &str = "it";
const FILE: &str = "polyproc.it";

fn open(folder: &Folder, name: &str) -> File {
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(folder.path().join(name)).expect("the folder can be written")
}

/// A file as it is when nobody has written over it: its length, and what of it is not zero.
struct Known {
    what: What,
    len: u64,
    parts: [(u64, Vec<u8>); 4],
}

impl Known {
    fn new(folder: &Folder, what: What) -> Self {
        let _thing = Thing::create(folder, NAME, what).expect("nobody has the name");
        let file = open(folder, FILE);
        let len = file.metadata().expect("it is open").len();
        let parts = PARTS.map(|(at, part)| {
            let mut bytes = vec![0; usize::try_from(part.min(len.saturating_sub(at))).expect("it is mapped")];
            file.read_exact_at(&mut bytes, at).expect("it is so long");
            (at, bytes)
        });
        Self { what, len, parts }
    }
}

/// Such a file.
fn copy(folder: &Folder, what: What) -> File {
    thread_local! {
        static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        if known.iter().all(|k| k.what != what) {
            known.push(Known::new(folder, what));
        }
        let known = known.iter().find(|k| k.what == what).expect("it is known by now");
        let file = open(folder, FILE);
        file.set_len(known.len).expect("there is memory for it");
        known.parts.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).expect("there is memory for it"));
        file
    })
}

/// Changes a word of the header, of the tables, or of a span.
fn scribble(file: &File, input: &mut Input<'_>) {
    let at = match input.byte() % 8 {
        0..=2 => input.below(64) as u64 * 8,
        3 => CONTENT + input.below(24) as u64 * 8,
        4 => CONTENT + 4096 + input.below(512) as u64 * 8,
        5 => CONTENT + (384 << 10) + input.below(8) as u64 * 8,
        6 => CONTENT + (68 << 10) + input.below(64) as u64 * 8, // of eight threads, their links among them
        _ => FIRST_SPAN + input.below(8192) as u64 * 8 * (u64::from(input.byte() % 3) + 1),
    };
    let mut word = [0; 8];
    if file.read_exact_at(&mut word, at).is_err() {
        return; // it is shorter
    }
    let how = input.byte();
    let new = if how.is_multiple_of(2) { input.word() } else { input.word() ^ u64::from_ne_bytes(word) };
    file.write_all_at(&new.to_ne_bytes(), at).expect("the file is so long");
    disown(file);
}

/// Takes the lock of the tables from the living: who holds it is waited for, for ever.
fn disown(file: &File) {
    let mut word = [0; 4];
    if file.read_exact_at(&mut word, HOLDERS).is_err() {
        return;
    }
    let owner = u32::from_ne_bytes(word) & TID;
    if owner != 0 && owner != thread_id() && !tid_is_dead(owner) {
        file.write_all_at(&[0; 4], HOLDERS).expect("the file is so long");
    }
}
