//! Damaged words in the family's memory are errors: no panic, no access outside of it, no endless loop.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod common;

use common::{Lock, Mailbox, Random, family, isolated, watchdog};
use polyproc_shm::{BlockRef, Buffer, Entry, Kind, Message, MessageError, ShmError, message};
use std::time::Duration;

/// The holders lock, the function table, the span table and the first span, as `raw/layout.rs` has them.
const HOLDERS: u64 = 128;
const FUNCTIONS: u64 = 4096 + (64 << 10) + (256 << 10);
const SPAN_TABLE: u64 = 384 << 10;
const FIRST_SPAN: u64 = SPAN_TABLE + (64 << 20);

fn scribble(at: u64, value: u64) {
    let first = family().at(FIRST_SPAN, 8).unwrap();
    let forth = at.wrapping_sub(FIRST_SPAN) as usize; // or back, around the end
    // SAFETY: `at` is in a backed part of the mapping, aligned; what lies there is meant to be damaged.
    unsafe { first.wrapping_add(forth).cast::<u64>().write_volatile(value) };
}

fn peek(at: u64) -> u64 {
    let first = family().at(FIRST_SPAN, 8).unwrap();
    let forth = at.wrapping_sub(FIRST_SPAN) as usize; // or back, around the end
    // SAFETY: as in `scribble`; any bits are valid.
    unsafe { first.wrapping_add(forth).cast::<u64>().read_volatile() }
}

fn use_everything(random: &mut Random) {
    let mut blocks = Vec::new();
    for len in [8, 64, 3000, 30_000, 70_000, 300_000] {
        for kind in [Kind::Data, Kind::Lock, Kind::Cell] {
            if let Ok(block) = family().alloc(len, kind) {
                // SAFETY: the block has at least so many bytes.
                unsafe { block.as_ptr().write_bytes(1, len as usize) };
                blocks.push(block);
            }
        }
    }
    for block in blocks {
        if random.below(2) == 0 {
            let _ = family().claim(block.into_ref());
        }
    }
    let lock = Lock::new(64);
    let mailbox = Mailbox::mailbox();
    if let Ok(message) = Message::encode(family(), &(lock.clone(), mailbox, "text".repeat(50))) {
        let _ = message.decode::<(Lock, Mailbox, String)>(family());
    }
    if let Ok(Message::Block(block)) = Message::encode(family(), &vec![lock; 3]) {
        let mut words = block.into_ref().to_words();
        if random.below(2) == 0 {
            words[random.below(4) as usize] ^= 1 << random.below(64);
        }
        if let Ok(block) = family().claim(BlockRef::from_words(words)) {
            let _ = message::decode_block::<Vec<Lock>>(block);
        }
    }
    let _ = family().claim(BlockRef::from_words([
        FIRST_SPAN + random.below(1 << 22),
        random.next(),
        random.next(),
        random.next(),
    ]));
    // SAFETY: nobody calls what these hashes stand for.
    let _ = unsafe { family().enter_function(Entry { code: random.next(), target: 0, hash: 0 }) };
    let _ = family().function(random.below(10) as u32, 0);
}

#[test]
fn damaged_words_are_errors() {
    isolated("damaged_words_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn damaged_words_alone() {
    watchdog(Duration::from_secs(120));
    let mut random = Random::seeded();
    use_everything(&mut random);
    for round in 0..5000 {
        let spans = u64::from(family().stats().spans);
        for _ in 0..3 {
            let value = match random.below(4) {
                0 => random.next(),
                1 => 0,
                2 => u64::MAX,
                _ => random.below(8) << 61 | random.below(1 << 20) << 40 | random.below(1 << 18),
            };
            match random.below(3) {
                0 => scribble(SPAN_TABLE + random.below(spans * 2) * 8, value),
                1 => scribble(FIRST_SPAN + random.below(spans) * 65536 + random.below(512) * 8, value),
                _ => scribble(FIRST_SPAN + random.below(spans * 65536 / 8) * 8, value),
            }
        }
        scribble(FUNCTIONS + random.below(128) * 8, random.next());
        use_everything(&mut random);
        if round % 10 == 0 {
            let pid = polyproc_sys::fork::spawn_child(|| i32::from(family().try_me().is_err()));
            assert!(polyproc_sys::fork::wait_child(pid) < 2);
            family().reap();
        }
        if family().stats().bytes_backed > 1 << 30 {
            eprintln!("round {round}: {:?}", family().stats());
            break; // what was lost to the damage is lost
        }
    }
}

#[test]
fn a_forged_function_is_not_called() {
    isolated("a_forged_function_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn a_forged_function_alone() {
    drop(family().alloc(1, Kind::Data));
    // SAFETY: nobody calls what these hashes stand for.
    let index = unsafe { family().enter_function(Entry { code: 1, target: 2, hash: 3 }) }.unwrap();
    // SAFETY: nobody calls what these hashes stand for.
    let other = unsafe { family().enter_function(Entry { code: 4, target: 5, hash: 3 }) }.unwrap();
    for word in 0..4 {
        for value in [0, 4, 99] {
            let at = FUNCTIONS + u64::from(index) * 32 + word * 8;
            let right = peek(at);
            scribble(at, value);
            assert!(family().function(index, 3).is_err());
            scribble(at, right);
            assert!(family().function(index, 3).is_ok());
        }
    }
    // A whole entry, copied from elsewhere in the table, is a forgery too.
    for word in 0..4 {
        scribble(FUNCTIONS + u64::from(index) * 32 + word * 8, peek(FUNCTIONS + u64::from(other) * 32 + word * 8));
    }
    assert!(family().function(index, 3).is_err());
    assert!(family().function(other, 3).is_ok());
}

#[test]
fn a_forged_holder_of_the_table_of_handles_is_an_error() {
    isolated("a_forged_holder_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn a_forged_holder_alone() {
    watchdog(Duration::from_secs(60));
    polyproc_sys::futex::set_tick(Duration::from_millis(5)); // of which it waits a hundred
    let (lock, other) = (Lock::new(64), Lock::new(64));
    let message = Message::encode(family(), &other).unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        tell.send(polyproc_sys::robust::thread_id()).unwrap();
        let _ = ended.recv();
    });
    let living = told.recv().unwrap();
    scribble(HOLDERS, living.into());
    // SAFETY: nobody calls what these hashes stand for.
    let entered = unsafe { family().enter_function(Entry { code: 1, target: 2, hash: 3 }) };
    assert!(matches!(entered, Err(ShmError::Stuck { thread }) if thread == living), "{entered:?}");
    let encoded = Message::encode(family(), &lock);
    assert!(matches!(encoded, Err(MessageError::Shm(ShmError::Stuck { .. }))), "{encoded:?}");
    let decoded = message.decode::<Lock>(family());
    assert!(matches!(decoded, Err(MessageError::Shm(ShmError::Stuck { .. }))), "{decoded:?}");
    drop(other); // its hold stays until this process ends
    assert_eq!(peek(HOLDERS) as u32 & 0x3fff_ffff, living, "the lock is not taken from whoever lives");

    drop(end);
    thread.join().unwrap();
    let message = Message::encode(family(), &lock).unwrap(); // whoever is dead does not hold it up
    assert!(message.decode::<Lock>(family()).is_ok());
    scribble(HOLDERS, std::process::id().into()); // this time it is given up
    let later = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(20));
        scribble(HOLDERS, 0);
    });
    assert!(Message::encode(family(), &lock).is_ok());
    later.join().unwrap();
}

#[test]
fn a_buffer_may_be_copied_over_itself() {
    isolated("a_buffer_over_itself_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn a_buffer_over_itself_alone() {
    const TAGS: u64 = 481; // of a span with blocks of 128 bytes
    let buffer = Buffer::copy_of(&[7; 100]).unwrap();
    let first = family().at(FIRST_SPAN, 8).unwrap();
    let span = FIRST_SPAN + (buffer.as_ptr().addr() - first.addr()) as u64 / 65536 * 65536;
    for tag in 0..TAGS {
        scribble(span + 64 + tag * 8, 0); // free
    }
    // What is copied may not overlap with the copy, where the unoptimized build looks at that.
    let copies: Vec<Buffer> = (0..TAGS).map(|_| Buffer::copy_of(&buffer).unwrap()).collect();
    assert!(copies.iter().any(|copy| copy.as_ptr() == buffer.as_ptr()));
    assert!(copies.iter().all(|copy| copy[..] == [7; 100]));
    drop(copies);
    let messages: Vec<Message> = (0..TAGS).map(|_| Message::encode(family(), &buffer).unwrap()).collect();
    let is_there = |m: &Message| matches!(m, Message::Block(block) if block.as_ptr().cast_const() == buffer.as_ptr());
    assert!(messages.iter().any(is_there));
}
