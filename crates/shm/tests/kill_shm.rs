//! Processes that are killed at every instruction of what this crate does, and what is left of them: nothing.
//!
//! Run it with `--release`: debug builds have ten times as many instructions.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod common;

use common::{Lock, Mailbox, family, until, word};
use polyproc_shm::{BlockRef, Entry, Family, Kind, Message, Reclaimed, SharedMemory, Stats, message};
use polyproc_sys::atomic::Ordering::SeqCst;
use polyproc_sys::fork::{kill_child, spawn_child, wait_child};
use polyproc_testing::{Kill, Scenario, kill_at_every_instruction, runner};
use std::process::ExitCode;
use std::sync::OnceLock;

fn main() -> ExitCode {
    // The tick must not be what saves us.
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    // Minutes each: for people.
    let long: [runner::Test<'_>; 2] = [("the_sweep", the_sweep), ("registration", registration)];
    let tests: &[runner::Test<'_>] = &[
        ("a_block", a_block),
        ("a_run_of_spans", a_run_of_spans),
        ("a_new_slab", a_new_slab),
        ("unnamed_memory", unnamed_memory),
        ("a_claim", a_claim),
        ("registration_of_a_thread", registration_of_a_thread),
        ("a_function_is_entered", a_function_is_entered),
        ("an_object_is_shared", an_object_is_shared),
        ("a_handle_is_taken_and_dropped", a_handle_is_taken_and_dropped),
        ("a_message_is_put", a_message_is_put),
        ("the_last_hold_is_dropped", the_last_hold_is_dropped),
    ];
    runner::main_with_ignored(tests, &long)
}

/// Blocks by kind, processes: what must be the same afterwards.
fn in_use(stats: &Stats) -> ([u64; 6], u32) {
    let kinds = [Kind::Data, Kind::Cell, Kind::Lock, Kind::Queue, Kind::Value, Kind::Memory];
    (kinds.map(|k| stats.blocks(k)), stats.processes)
}

/// Over all kills of a test together: a span that each of them loses comes to more.
const SPANS: u32 = 64;

#[track_caller]
fn nothing_is_left(before: &Stats) {
    static FIRST: OnceLock<u32> = OnceLock::new();
    let after = family().stats();
    assert_eq!(in_use(&after), in_use(before), "after the sweep");
    let first = *FIRST.get_or_init(|| before.spans);
    assert!(after.spans <= first + SPANS, "spans are lost: {first} at first, {after:?}");
}

fn warm(family: &'static Family) {
    family.try_me().unwrap();
    family.participant().unwrap();
    let lock = Lock::new(64);
    let mailbox = Mailbox::mailbox();
    let message = Message::encode(family, &(lock, mailbox, "x".repeat(100))).unwrap();
    message.decode::<(Lock, Mailbox, String)>(family).unwrap();
    drop(family.alloc(200_000, Kind::Data));
}

/// Before each victim: whoever was killed before and not judged is cleared up.
fn settle() {
    family().reap();
}

/// Kills `victim`, clears up, and compares with what was there before.
fn nothing_stays(name: &str, victim: &dyn Fn(&'static Family)) {
    warm(family());
    kill_at_every_instruction(Scenario {
        name,
        setup: &mut || {
            settle();
            family().stats()
        },
        prepare: &|_| warm(family()),
        victim: &|_| victim(family()),
        wake: None,
        check: &mut |before: Stats, _: &Kill| {
            let reclaimed = family().reap();
            assert_eq!((reclaimed.processes, reclaimed.skipped), (1, false));
            nothing_is_left(&before);
            warm(family()); // and everything works
            nothing_is_left(&before);
            if reclaimed.blocks + reclaimed.holds > 0 { "had something" } else { "had nothing" }.into()
        },
    });
}

fn a_block() {
    nothing_stays("alloc and free of a block", &|family| drop(family.alloc(64, Kind::Lock)));
}

fn a_run_of_spans() {
    nothing_stays("alloc and free of a run", &|family| drop(family.alloc(200_000, Kind::Data)));
}

fn a_new_slab() {
    nothing_stays("alloc out of a new slab", &|family| {
        let blocks: [_; 3] = std::array::from_fn(|_| family.alloc(30_000, Kind::Value).unwrap());
        drop(blocks);
    });
}

fn unnamed_memory() {
    nothing_stays("unnamed memory is made, grown and dropped", &|_| {
        let memory = SharedMemory::builder().growable(200).unnamed(100).unwrap();
        memory.grow(200).unwrap();
    });
}

/// Of a process that is registered; most instructions of that one's registration only read `/proc`.
fn registration_of_a_thread() {
    let before = family().stats();
    kill_at_every_instruction(Scenario {
        name: "registration of a thread",
        setup: &mut settle,
        prepare: &|()| {
            family().try_me().unwrap();
        },
        victim: &|()| {
            family().participant().unwrap();
        },
        wake: None,
        check: &mut |(), _| {
            assert_eq!(family().reap().processes, 1);
            assert_eq!((family().stats().processes, family().stats().participants), (1, before.participants));
            "dead".into()
        },
    });
}

fn registration() {
    let before = family().stats();
    kill_at_every_instruction(Scenario {
        name: "registration of a process and a thread",
        setup: &mut settle,
        prepare: &|()| (),
        victim: &|()| {
            family().try_me().unwrap();
            family().participant().unwrap();
        },
        wake: None,
        check: &mut |(), _| {
            let reclaimed = family().reap();
            assert_eq!((family().stats().processes, family().stats().participants), (1, before.participants));
            if reclaimed.processes == 1 { "registered" } else { "not registered" }.into()
        },
    });
}

fn a_claim() {
    let mailbox = Mailbox::mailbox();
    let empty = family().stats();
    kill_at_every_instruction(Scenario {
        name: "claim and free",
        setup: &mut || {
            settle();
            let r = family().alloc(500, Kind::Data).unwrap().into_ref();
            mailbox.put(0, r);
            r
        },
        prepare: &|_| warm(family()),
        victim: &|&r: &BlockRef| {
            let block = family().claim(r).unwrap();
            mailbox.clear(0);
            drop(block);
        },
        wake: None,
        check: &mut |r: BlockRef, _| {
            assert_eq!(family().reap().processes, 1);
            let claimed = family().claim(r).is_ok();
            mailbox.clear(0);
            nothing_is_left(&empty);
            if claimed { "not taken" } else { "taken" }.into()
        },
    });
}

fn a_function_is_entered() {
    warm(family());
    let mut code = 0;
    kill_at_every_instruction(Scenario {
        name: "a function is entered",
        setup: &mut || {
            settle();
            code = family().stats().functions as u64;
            code
        },
        prepare: &|_| warm(family()),
        victim: &|&code: &u64| {
            // SAFETY: nobody calls what these hashes stand for.
            unsafe { family().enter_function(Entry { code, target: 1, hash: 2 }) }.unwrap();
        },
        wake: None,
        check: &mut |code: u64, _| {
            assert_eq!(family().reap().processes, 1);
            let entered = family().stats().functions as u64 > code;
            let entry = Entry { code, target: 1, hash: 2 };
            // SAFETY: nobody calls what these hashes stand for.
            let index = unsafe { family().enter_function(entry) }.unwrap();
            assert_eq!(family().function(index, 2).unwrap(), entry);
            if entered { "entered" } else { "not entered" }.into()
        },
    });
}

fn an_object_is_shared() {
    nothing_stays("objects are shared and the message dropped", &|family| {
        let lock = Lock::new(64);
        drop(Message::encode(family, &(lock.clone(), lock)).unwrap());
    });
}

/// The harness holds a lock and sends it; the victim takes the handle, uses it, sends it to itself and drops it.
fn a_handle_is_taken_and_dropped() {
    warm(family());
    let lock = Lock::new(64);
    drop(Message::encode(family(), &vec![lock.clone()]).unwrap());
    let before = family().stats();
    kill_at_every_instruction(Scenario {
        name: "a handle is taken and dropped",
        setup: &mut || {
            settle();
            let Message::Block(block) = Message::encode(family(), &vec![lock.clone()]).unwrap() else {
                panic!("inline")
            };
            block.into_ref()
        },
        prepare: &|_| warm(family()),
        victim: &|&r: &BlockRef| {
            let mine: Vec<Lock> = message::decode_block(family().claim(r).unwrap()).unwrap();
            word(&mine[0].0, 3).fetch_add(1, SeqCst);
        },
        wake: None,
        check: &mut |r: BlockRef, _| {
            assert_eq!(family().reap().processes, 1);
            let unread = family().claim(r).map(message::decode_block::<Vec<Lock>>);
            let what = if unread.is_ok() { "not taken" } else { "taken" };
            unread.map(Result::unwrap).ok();
            nothing_is_left(&before);
            assert!(lock.0.is_shared());
            what.into()
        },
    });
    drop(lock);
    assert_eq!(family().stats().blocks(Kind::Lock), before.blocks(Kind::Lock) - 1);
}

/// A message with a handle, put into a shared mailbox: nothing, or the whole message.
fn a_message_is_put() {
    warm(family());
    let mailbox = Mailbox::mailbox();
    drop(Message::encode(family(), &vec![mailbox.clone()]).unwrap());
    let before = family().stats();
    kill_at_every_instruction(Scenario {
        name: "a message with a handle is put",
        setup: &mut || {
            settle();
            drop(mailbox.peek(1).map(|r| family().claim(r)));
            mailbox.clear(1);
        },
        prepare: &|()| warm(family()),
        victim: &|()| {
            let lock = Lock::new(64);
            word(&lock.0, 1).store(7, SeqCst);
            let Message::Block(block) = Message::encode(family(), &vec![lock]).unwrap() else { panic!("inline") };
            mailbox.put(1, block.ref_());
            let _ = block.into_ref();
        },
        wake: None,
        check: &mut |(), _| {
            assert_eq!(family().reap().processes, 1);
            assert_eq!(family().reap(), Reclaimed::default());
            let Some(r) = mailbox.peek(1) else {
                nothing_is_left(&before);
                return "nothing".into();
            };
            let locks: Vec<Lock> = message::decode_block(family().claim(r).unwrap()).unwrap();
            mailbox.clear(1);
            assert_eq!(word(&locks[0].0, 1).load(SeqCst), 7);
            drop(locks);
            nothing_is_left(&before);
            "the whole message".into()
        },
    });
}

/// The victim is the last to hold a mailbox that is full of messages of a live process.
fn the_last_hold_is_dropped() {
    warm(family());
    let before = family().stats();
    kill_at_every_instruction(Scenario {
        name: "the last hold of a full mailbox is dropped",
        setup: &mut || {
            settle();
            let mailbox = Mailbox::mailbox();
            mailbox.put(0, family().alloc(500, Kind::Data).unwrap().into_ref());
            let Message::Block(block) = Message::encode(family(), &vec![Lock::new(64)]).unwrap() else {
                panic!("inline")
            };
            mailbox.put(1, block.into_ref());
            let Message::Block(block) = Message::encode(family(), &vec![mailbox]).unwrap() else { panic!("inline") };
            block.into_ref()
        },
        prepare: &|_| warm(family()),
        victim: &|&r: &BlockRef| {
            let mailbox: Vec<Mailbox> = message::decode_block(family().claim(r).unwrap()).unwrap();
            drop(mailbox);
        },
        wake: None,
        check: &mut |r: BlockRef, _| {
            assert_eq!(family().reap().processes, 1);
            let unread = family().claim(r).is_ok();
            nothing_is_left(&before);
            if unread { "not taken" } else { "taken" }.into()
        },
    });
}

/// The victim clears up after a dead process, and is killed meanwhile.
fn the_sweep() {
    warm(family());
    let shared = Mailbox::mailbox();
    drop(Message::encode(family(), &vec![shared.clone()]).unwrap());
    let before = family().stats();
    kill_at_every_instruction(Scenario {
        name: "the sweep",
        setup: &mut || {
            settle();
            let ready = Lock::new(64);
            let pid = spawn_child(|| {
                let own = Mailbox::mailbox();
                own.put(0, family().alloc(100_000, Kind::Data).unwrap().into_ref());
                let lock = Lock::new(64);
                let held: Vec<Lock> = Message::encode(family(), &vec![lock.clone()]).unwrap().decode(family()).unwrap();
                let Message::Block(sent) = Message::encode(family(), &(held, own.clone())).unwrap() else { return 1 };
                shared.put(2, sent.into_ref());
                let Message::Block(lost) = Message::encode(family(), &vec![lock.clone()]).unwrap() else { return 1 };
                let _ = lost.into_ref();
                word(&ready.0, 0).store(1, SeqCst);
                loop {
                    std::thread::park();
                }
            });
            until(|| word(&ready.0, 0).load(SeqCst) == 1);
            kill_child(pid);
            assert_eq!(wait_child(pid), 128 + 9);
        },
        prepare: &|()| warm(family()),
        victim: &|()| assert!(!family().reap().skipped),
        wake: None,
        check: &mut |(), _| {
            let reclaimed = family().reap();
            assert!((1..=2).contains(&reclaimed.processes), "{reclaimed:?}");
            let r = shared.peek(2).unwrap();
            let (locks, own): (Vec<Lock>, Mailbox) = message::decode_block(family().claim(r).unwrap()).unwrap();
            shared.clear(2);
            assert_eq!(family().stats().blocks(Kind::Lock), before.blocks(Kind::Lock) + 1);
            assert!((1..=2).contains(&own.deaths()), "its holder's death is told, by each sweep that came so far");
            assert_eq!(shared.deaths(), 0, "a forked child is no holder");
            drop((locks, own));
            nothing_is_left(&before);
            if reclaimed.processes == 2 { "not yet cleared up" } else { "cleared up" }.into()
        },
    });
}
