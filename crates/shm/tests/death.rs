//! Processes that die, fork, and join: what the family knows of them and takes back.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod common;

use common::{Lock, Mailbox, Random, family, isolated, until, watchdog, word};
use polyproc_shm::{BOOT_ENV, Boot, Family, Kind, Message, Participant, Reclaimed, ShmError, message};
use polyproc_sys::atomic::Ordering::SeqCst;
use polyproc_sys::fork::{kill_child, spawn_child, wait_child};
use std::os::fd::IntoRawFd;
use std::process::Command;
use std::time::Duration;

fn forever() -> ! {
    loop {
        std::thread::park();
    }
}

macro_rules! alone {
    ($($(#[doc = $doc:literal])* $name:ident / $inner:ident $body:block)*) => { $(
        #[test]
        fn $name() {
            isolated(stringify!($inner));
        }

        $(#[doc = $doc])*
        #[test]
        #[ignore = "runs in a process of its own"]
        fn $inner() {
            watchdog(Duration::from_secs(60));
            $body
        }
    )* };
}

alone! {
    a_thread_is_alive_until_it_ends / thread_alone {
        let me = family().participant().unwrap();
        let (to, from) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            to.send(family().participant().unwrap()).unwrap();
            let _ = ended.recv();
        });
        let other = from.recv().unwrap();
        assert_ne!(me, other);
        assert!(family().is_alive(me) && family().is_alive(other));
        assert!(!family().is_alive(Participant { generation: other.generation.wrapping_add(1), ..other }));
        assert!(!family().is_alive(Participant { slot: u16::MAX, generation: 1 }));
        drop(end);
        thread.join().unwrap();
        until(|| !family().is_alive(other));
        assert!(family().is_alive(me));
    }

    a_killed_process_has_no_threads_alive / killed_threads_alone {
        let lock = Lock::new(64);
        let parent = family().participant().unwrap();
        let pid = spawn_child(|| {
            let me = family().participant().unwrap();
            assert_ne!(me, parent);
            word(&lock.0, 0).store(u64::from(me.to_word()) | 1 << 32, SeqCst);
            forever()
        });
        until(|| word(&lock.0, 0).load(SeqCst) != 0);
        let child = Participant::from_word(word(&lock.0, 0).load(SeqCst) as u32);
        assert!(family().is_alive(child) && family().is_alive(parent));
        kill_child(pid);
        assert_eq!(wait_child(pid), 137);
        assert!(!family().is_alive(child)); // the kernel has marked it before wait returns
    }

    slots_of_threads_are_used_again / slots_alone {
        for _ in 0..5000 {
            std::thread::spawn(|| family().participant().unwrap()).join().unwrap();
        }
        until(|| family().stats().participants <= 1);
    }

    the_sweep_frees_what_only_the_dead_one_held / sweep_alone {
        let mailbox = Mailbox::mailbox();
        let ready = Lock::new(64);
        drop(Message::encode(family(), &vec![mailbox.clone()]).unwrap());
        let mine = family().alloc(1000, Kind::Data).unwrap();
        let before = family().stats();
        let pid = spawn_child(|| {
            for (i, len) in [10, 5000, 100_000].into_iter().enumerate() {
                mailbox.put(i as u64, family().alloc(len, Kind::Data).unwrap().into_ref()); // kept
                let _ = family().alloc(len, Kind::Data).unwrap().into_ref(); // lost
            }
            std::mem::forget(Lock::new(64));
            word(&ready.0, 0).store(1, SeqCst);
            forever()
        });
        until(|| word(&ready.0, 0).load(SeqCst) == 1);
        let id = family().process_of(pid).unwrap();
        assert_eq!(family().reap(), Reclaimed::default()); // it lives
        assert_eq!(family().process_died(id), Reclaimed::default()); // whatever the caller believes
        kill_child(pid);
        assert_eq!(wait_child(pid), 137);
        let reclaimed = family().process_died(id);
        assert_eq!((reclaimed.processes, reclaimed.blocks), (1, 4), "{reclaimed:?}");
        assert_eq!(family().process_died(id), Reclaimed::default());
        assert_eq!(family().stats().blocks(Kind::Data), before.blocks(Kind::Data) + 3);
        assert_eq!(family().stats().blocks(Kind::Lock), before.blocks(Kind::Lock));
        // Long after: what it sent can be taken.
        for i in 0..3 {
            drop(family().claim(mailbox.peek(i).unwrap()).unwrap());
            mailbox.clear(i);
        }
        assert_eq!(family().stats().blocks(Kind::Data), before.blocks(Kind::Data));
        drop((mine, mailbox, ready));
        assert_eq!(family().stats().all_blocks(), 0);
    }

    a_sent_handle_outlives_its_sender / handle_alone {
        let mailbox = Mailbox::mailbox();
        let pid = spawn_child(|| {
            let lock = Lock::new(64);
            word(&lock.0, 1).store(42, SeqCst);
            let Message::Block(block) = Message::encode(family(), &("lock", lock)).unwrap() else { return 1 };
            mailbox.put(0, block.into_ref());
            0
        });
        assert_eq!(wait_child(pid), 0);
        for _ in 0..2 {
            let reclaimed = family().reap();
            assert_eq!((reclaimed.tickets, reclaimed.objects), (0, 0));
        }
        let block = family().claim(mailbox.peek(0).unwrap()).unwrap();
        mailbox.clear(0);
        let (_, lock): (String, Lock) = message::decode_block(block).unwrap();
        assert_eq!(word(&lock.0, 1).load(SeqCst), 42);
        drop((lock, mailbox));
        assert_eq!(family().stats().all_blocks(), 0);
    }

    what_a_forked_child_inherited_is_not_freed_by_it / inherited_alone {
        let (lock, block) = (Lock::new(64), family().alloc(100, Kind::Data).unwrap());
        let shared = Lock::new(64);
        drop(Message::encode(family(), &vec![shared.clone()]).unwrap());
        let before = family().stats();
        let (mut lock, mut block, mut shared) = (Some(lock), Some(block), Some(shared));
        let pid = spawn_child(|| {
            word(&lock.as_ref().unwrap().0, 1).store(5, SeqCst);
            drop((lock.take(), shared.take()));
            assert!(block.take().unwrap().free().is_err());
            0
        });
        assert_eq!(wait_child(pid), 0);
        family().reap();
        assert_eq!(family().stats().blocks(Kind::Lock), before.blocks(Kind::Lock));
        assert_eq!(family().stats().blocks(Kind::Data), before.blocks(Kind::Data));
        assert_eq!(word(&lock.as_ref().unwrap().0, 1).load(SeqCst), 5);
        drop((lock.take(), block.take(), shared.take()));
        assert_eq!(family().stats().all_blocks(), 0);
    }

    a_forked_child_may_send_on_what_it_inherited / inherited_sent_alone {
        let mailbox = Mailbox::mailbox();
        let lock = Lock::new(64); // never shared before the fork
        word(&lock.0, 1).store(9, SeqCst);
        let pid = spawn_child(|| {
            let Message::Block(block) = Message::encode(family(), &vec![lock.clone()]).unwrap() else { return 1 };
            mailbox.put(0, block.into_ref());
            0
        });
        assert_eq!(wait_child(pid), 0);
        family().reap();
        drop(lock); // the message holds it
        assert_eq!(family().stats().blocks(Kind::Lock), 1);
        let block = family().claim(mailbox.peek(0).unwrap()).unwrap();
        mailbox.clear(0);
        let locks: Vec<Lock> = message::decode_block(block).unwrap();
        assert_eq!(word(&locks[0].0, 1).load(SeqCst), 9);
        drop((locks, mailbox));
        assert_eq!(family().stats().all_blocks(), 0);
    }

    one_of_many_processes_claims_a_block / claims_alone {
        let mailbox = Mailbox::mailbox();
        let scores = Lock::new(64); // word 0: round, 1: claims, 2: arrivals
        let kids: Vec<_> = (0..3)
            .map(|_| {
                spawn_child(|| {
                    for round in 1..=300 {
                        until(|| word(&scores.0, 0).load(SeqCst) >= round);
                        if family().claim(mailbox.peek(0).unwrap()).is_ok() {
                            word(&scores.0, 1).fetch_add(1, SeqCst);
                        }
                        word(&scores.0, 2).fetch_add(1, SeqCst);
                    }
                    0
                })
            })
            .collect();
        for round in 1..=300 {
            mailbox.put(0, family().alloc(200, Kind::Data).unwrap().into_ref());
            word(&scores.0, 0).store(round, SeqCst);
            until(|| word(&scores.0, 2).load(SeqCst) == round * 3);
            assert_eq!(word(&scores.0, 1).load(SeqCst), round);
        }
        assert!(kids.into_iter().all(|k| wait_child(k) == 0));
    }

    /// A child works with blocks, handles and the lock until it is killed at some moment; two at a time, hundreds of times.
    killed_at_any_moment_they_leave_nothing / storm_alone {
        let mut random = Random::seeded();
        let mailbox = Mailbox::mailbox();
        drop(Message::encode(family(), &vec![mailbox.clone()]).unwrap());
        let before = family().stats();
        for _ in 0..300 {
            let seeds = [random.next(), random.next()];
            let kids = seeds.map(|seed| spawn_child(|| work(seed, &mailbox)));
            std::thread::sleep(Duration::from_micros(random.below(6000)));
            for kid in kids {
                kill_child(kid);
                assert_eq!(wait_child(kid), 137);
                assert!(!family().reap().skipped);
            }
            for slot in 0..common::SLOTS {
                if let Some(r) = mailbox.peek(slot) {
                    if let Ok(block) = family().claim(r) {
                        message::decode_block::<(Lock, String)>(block).unwrap();
                    }
                    mailbox.clear(slot);
                }
            }
            let now = family().stats();
            assert_eq!(now.all_blocks(), before.all_blocks(), "{now:?}");
            assert_eq!(now.processes, 1);
        }
        drop(mailbox);
        assert_eq!(family().stats().all_blocks(), 0);
    }

    a_child_that_has_not_joined_is_told / not_joined_alone {
        let exe = std::env::current_exe().unwrap();
        let out = Command::new(exe)
            .args(["child_without_family", "--exact", "--ignored", "--nocapture"])
            .env(BOOT_ENV, family().boot().to_string())
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&out.stdout).contains("1 passed"), "{out:?}");
    }

    a_spawned_child_joins_the_family / joins_alone {
        let mailbox = Mailbox::mailbox();
        let lock = Lock::new(64);
        word(&lock.0, 1).store(11, SeqCst);
        let Message::Block(block) = Message::encode(family(), &(lock.clone(), "hello".to_owned())).unwrap() else { panic!() };
        let words = block.into_ref().to_words().map(|w| w.to_string()).join(" ");
        // SAFETY: nobody calls what these hashes stand for.
        let index = unsafe { family().enter_function(polyproc_shm::Entry { code: 1, target: 2, hash: 3 }) }.unwrap();
        let exe = std::env::current_exe().unwrap();
        let out = Command::new(exe)
            .args(["child_joins", "--exact", "--ignored", "--nocapture"])
            .env(BOOT_ENV, family().boot().to_string())
            .env("TEST_PARENT", std::process::id().to_string())
            .env("TEST_BLOCK", words)
            .env("TEST_FUNCTION", index.to_string())
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&out.stdout).contains("1 passed"), "{out:?}");
        assert_eq!(word(&lock.0, 1).load(SeqCst), 12);
        assert_eq!(family().reap().processes, 1);
        drop((lock, mailbox));
        assert_eq!(family().stats().all_blocks(), 0);
    }

    a_process_with_less_address_space_than_the_founder_cannot_join / less_alone {
        let child = |test, kib| {
            let exe = std::env::current_exe().unwrap();
            let run = format!("ulimit -v {kib} && exec \"$0\" {test} --exact --ignored --nocapture");
            let out = Command::new("sh")
                .args(["-c".as_ref(), run.as_ref(), exe.as_os_str()])
                .env("TEST_PARENT", std::process::id().to_string())
                .env("TEST_FAMILY", family().boot().to_string())
                .output()
                .unwrap();
            assert!(String::from_utf8_lossy(&out.stdout).contains("1 passed"), "{test}: {out:?}");
        };
        child("child_with_little_address_space", 8 << 20);
        // One that founds a family under the limit leaves room for its heap, and its children can join.
        child("joins_alone", 3 << 20);
    }

    an_object_that_is_dropped_while_a_forked_child_shares_it_is_dropped_or_shared / race_alone {
        let (outer, flags) = (Mailbox::mailbox(), Lock::new(64));
        let kinds = [Kind::Data, Kind::Cell, Kind::Queue];
        let before = family().stats();
        let mut shared = 0;
        for round in 1..=300 {
            let inner = Mailbox::mailbox();
            inner.put(0, family().alloc(500, Kind::Data).unwrap().into_ref());
            let pid = spawn_child(|| {
                family().try_me().unwrap();
                word(&flags.0, 0).store(round, SeqCst);
                while word(&flags.0, 1).load(SeqCst) != round {}
                let Ok(Message::Block(block)) = Message::encode(family(), &vec![inner.clone()]) else { return 0 };
                outer.put(1, block.into_ref());
                1
            });
            until(|| word(&flags.0, 0).load(SeqCst) == round);
            word(&flags.0, 1).store(round, SeqCst);
            for _ in 0..round * 100 {
                std::hint::spin_loop();
            }
            drop(inner);
            if wait_child(pid) == 1 {
                shared += 1;
                let block = family().claim(outer.peek(1).unwrap()).unwrap();
                let inner: Vec<Mailbox> = message::decode_block(block).unwrap();
                assert!(family().claim(inner[0].peek(0).unwrap()).is_ok(), "shared, and its contents are gone");
                inner[0].clear(0);
                outer.clear(1);
            }
            assert_eq!(family().reap().processes, 1);
            assert_eq!(kinds.map(|k| family().stats().blocks(k)), kinds.map(|k| before.blocks(k)), "round {round}");
        }
        eprintln!("{shared} of 300 were shared");
    }
}

/// Until it is killed.
fn work(seed: u64, mailbox: &Mailbox) -> i32 {
    let mut random = Random(seed);
    let mut locks: Vec<Lock> = Vec::new();
    let mut blocks = Vec::new();
    loop {
        match random.below(6) {
            0 => blocks.push(family().alloc(random.below(200_000), Kind::Data).unwrap()),
            1 => locks.push(Lock::new(64)),
            2 if !locks.is_empty() => {
                let lock = locks[random.below(locks.len() as u64) as usize].clone();
                let text = "x".repeat(random.below(300) as usize);
                let Ok(Message::Block(block)) = Message::encode(family(), &(lock, text)) else { return 1 };
                let slot = random.below(common::SLOTS);
                // Only for itself, as two would need a queue's slots: the lower half is the first's.
                let slot = slot / 2 + if seed.is_multiple_of(2) { 4 } else { 0 };
                if mailbox.peek(slot).is_none() {
                    mailbox.put(slot, block.ref_());
                    let _ = block.into_ref();
                }
            }
            3 => {
                if let Some(block) = mailbox.peek(random.below(8)).and_then(|r| family().claim(r).ok())
                    && let Ok((lock, _)) = message::decode_block::<(Lock, String)>(block)
                {
                    locks.push(lock);
                }
            }
            4 => drop(Message::encode(family(), &(Mailbox::mailbox(), locks.clone())).unwrap()),
            _ => {
                locks.truncate(random.below(5) as usize);
                blocks.truncate(random.below(5) as usize);
            }
        }
    }
}

#[test]
#[ignore = "started by a_child_that_has_not_joined_is_told"]
fn child_without_family() {
    assert!(matches!(Family::get(), Err(ShmError::NotInitialised)));
}

#[test]
#[ignore = "started by a_spawned_child_joins_the_family"]
fn child_joins() {
    let var = |name| std::env::var(name).unwrap();
    let mut boot: Boot = var(BOOT_ENV).parse().unwrap();
    // The descriptor is closed on exec; a parent that spawns for real hands it on.
    let path = format!("/proc/{}/fd/{}", var("TEST_PARENT"), boot.fd);
    let open = || std::fs::File::options().read(true).write(true).open(&path).unwrap().into_raw_fd();
    boot.fd = open();
    let other = Boot { id: boot.id ^ 1, ..boot };
    // SAFETY: a fresh descriptor.
    assert!(matches!(unsafe { Family::adopt(&other) }, Err(ShmError::BadFamily(_))));
    boot.fd = open();
    // SAFETY: a fresh descriptor.
    let family = unsafe { Family::adopt(&boot) }.unwrap();
    // SAFETY: fails before it looks at the descriptor.
    assert!(matches!(unsafe { Family::adopt(&boot) }, Err(ShmError::AlreadyInitialised)));
    assert_eq!(family.id(), boot.id);
    let index = var("TEST_FUNCTION").parse().unwrap();
    assert_eq!(family.function(index, 3).unwrap().code, 1);
    let words: Vec<u64> = var("TEST_BLOCK").split(' ').map(|w| w.parse().unwrap()).collect();
    let r = polyproc_shm::BlockRef::from_words(words.try_into().unwrap());
    let (lock, text): (Lock, String) = message::decode_block(family.claim(r).unwrap()).unwrap();
    assert_eq!(text, "hello");
    word(&lock.0, 1).fetch_add(1, SeqCst);
    std::mem::forget(lock); // the sweep takes it back
}

#[test]
#[ignore = "started by a_process_with_less_address_space_than_the_founder_cannot_join"]
fn child_with_little_address_space() {
    let mut boot: Boot = std::env::var("TEST_FAMILY").unwrap().parse().unwrap();
    let path = format!("/proc/{}/fd/{}", std::env::var("TEST_PARENT").unwrap(), boot.fd);
    boot.fd = std::fs::File::options().read(true).write(true).open(&path).unwrap().into_raw_fd();
    // SAFETY: a fresh descriptor.
    let error = unsafe { Family::adopt(&boot) }.unwrap_err();
    assert!(matches!(error, ShmError::NoAddressSpace { .. }) && error.to_string().contains("RLIMIT_AS"), "{error}");
}
