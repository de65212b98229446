//! Blocks: allocation, reuse, runs, claims.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod common;

use common::{Random, family, isolated};
use polyproc_shm::{Block, BlockRef, Family, Kind, ProcessId, ShmError};
use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};

#[test]
fn smoke() {
    let block = family().alloc(100, Kind::Data).unwrap();
    assert!(block.capacity() >= 100);
    assert_eq!(block.len(), 100);
    // SAFETY: 100 bytes of our own.
    unsafe { block.as_ptr().write_bytes(1, 100) };
}

#[test]
fn every_length_gets_a_block_that_holds_it() {
    let mut random = Random::seeded();
    let mut live: Vec<(Block, u8)> = Vec::new();
    for i in 0..3000_u64 {
        let len = match i % 4 {
            0 => random.below(64),
            1 => random.below(5000),
            2 => random.below(70_000),
            _ => random.below(400_000),
        };
        let block = family().alloc(len, Kind::Data).unwrap();
        assert!(block.capacity() >= len);
        assert_eq!(block.as_ptr().addr() % if len > 32 { 64 } else { 16 }, 0);
        let mark = i as u8;
        // SAFETY: the block is ours and has `capacity` bytes.
        unsafe { block.as_ptr().write_bytes(mark, block.capacity() as usize) };
        live.push((block, mark));
        if live.len() > 40 {
            let (block, mark) = live.swap_remove(random.below(40) as usize);
            for at in [0, block.capacity() / 2, block.capacity() - 1] {
                // SAFETY: inside the block, initialized above.
                let now = unsafe { block.as_ptr().wrapping_add(at as usize).read() };
                assert_eq!(now, mark, "somebody wrote into our block");
            }
        }
    }
}

#[test]
fn a_freed_block_is_used_again_at_once() {
    let block = family().alloc(4000, Kind::Board).unwrap();
    let offset = block.offset();
    drop(block);
    let again = family().alloc(4000, Kind::Board).unwrap();
    assert_eq!(again.offset(), offset);
}

#[test]
fn all_kinds_but_data_are_zeroed() {
    for _ in 0..2 {
        let block = family().alloc(256, Kind::Event).unwrap();
        for i in 0..256 {
            // SAFETY: inside the block.
            assert_eq!(unsafe { block.as_ptr().wrapping_add(i).read() }, 0);
        }
        // SAFETY: inside the block.
        unsafe { block.as_ptr().write_bytes(0xff, 256) };
    }
}

#[test]
fn bytes_of_one_kind_are_never_used_for_another() {
    let lock = family().alloc(64, Kind::Semaphore).unwrap();
    let offset = lock.offset();
    drop(lock);
    for _ in 0..2000 {
        assert_ne!(family().alloc(64, Kind::Barrier).unwrap().into_ref().offset, offset);
    }
}

#[test]
fn only_data_may_be_large() {
    assert!(matches!(family().alloc(32641, Kind::Lock), Err(ShmError::TooLarge { len: 32641 })));
    assert!(family().alloc(32640, Kind::Lock).is_ok());
    assert!(family().alloc(32641, Kind::Data).is_ok());
}

#[test]
fn more_than_there_is_room_for_is_an_error() {
    for len in [u64::MAX, u64::MAX - 70_000, 1 << 40, 1 << 50] {
        assert!(matches!(family().alloc(len, Kind::Data), Err(ShmError::NoAddressSpace { .. })), "{len}");
    }
}

#[test]
fn a_claimed_block_cannot_be_claimed_again() {
    let r = family().alloc(5000, Kind::Data).unwrap().into_ref();
    let block = family().claim(r).unwrap();
    assert!(matches!(family().claim(r), Err(ShmError::Gone(_))));
    drop(block);
    assert!(matches!(family().claim(r), Err(ShmError::Gone(_))));
}

#[test]
fn a_reference_to_an_earlier_use_claims_nothing() {
    for len in [100, 100_000] {
        let block = family().alloc(len, Kind::Value).or_else(|_| family().alloc(len, Kind::Data)).unwrap();
        let old = block.ref_();
        drop(block);
        let new = family().alloc(len, if len > 32640 { Kind::Data } else { Kind::Value }).unwrap();
        if new.offset() == old.offset {
            assert_ne!(new.generation(), old.generation);
        }
        assert!(matches!(family().claim(old), Err(ShmError::Gone(_))));
    }
}

#[test]
fn one_of_many_claimers_wins() {
    const THREADS: usize = 4;
    let barrier = Arc::new(Barrier::new(THREADS));
    let slot: Arc<[AtomicU64; 4]> = Arc::default();
    let won = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|t| {
            let (barrier, slot, won) = (barrier.clone(), slot.clone(), won.clone());
            std::thread::spawn(move || {
                for round in 0..500 {
                    if t == 0 {
                        let r =
                            family().alloc(if round % 2 == 0 { 300 } else { 70_000 }, Kind::Data).unwrap().into_ref();
                        slot.iter().zip(r.to_words()).for_each(|(s, w)| s.store(w, SeqCst));
                    }
                    barrier.wait();
                    let r = BlockRef::from_words([0, 1, 2, 3].map(|i| slot[i].load(SeqCst)));
                    let mine = family().claim(r);
                    won.fetch_add(u64::from(mine.is_ok()), SeqCst);
                    barrier.wait();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(won.load(SeqCst), 500);
}

#[test]
fn a_given_block_belongs_to_the_other() {
    let other = ProcessId { slot: 99, generation: 5 };
    let block = family().alloc(10, Kind::Data).unwrap();
    let stale = block.ref_();
    let r = family().block_give(block, other).unwrap();
    assert_eq!(r.owner, other);
    assert!(family().claim(stale).is_err());
    assert!(family().claim(r).is_ok());
}

#[test]
fn damaged_references_are_errors() {
    isolated("damaged_references_are_errors_alone"); // a damaged reference may name a block of another test
}

#[test]
#[ignore = "runs in a process of its own"]
fn damaged_references_are_errors_alone() {
    let block = family().alloc(64, Kind::Lock).unwrap();
    let good = block.ref_();
    let mut random = Random::seeded();
    for i in 0..200_000_u64 {
        let mut words = good.to_words();
        match i % 4 {
            0 => words[0] = random.next(),
            1 => words[0] ^= 1 << random.below(40),
            2 => words[1] = random.next(),
            _ => words = [random.next(), random.next(), random.next(), random.next()],
        }
        let r = BlockRef::from_words(words);
        if r != good {
            assert!(family().claim(r).is_err(), "{r:?}");
        }
        let _ = family().at(words[0], words[1]).map(|_| ());
    }
    assert!(family().claim(good).is_ok());
    std::mem::forget(block);
}

#[test]
fn addresses_are_given_for_existing_bytes_only() {
    let block = family().alloc(100, Kind::Data).unwrap();
    assert_eq!(family().at(block.offset(), 100).unwrap(), block.as_ptr());
    for (offset, len) in
        [(0, 8), (4096, 8), (u64::MAX, 1), (block.offset(), u64::MAX), (block.offset(), 1 << 50), (1 << 45, 1)]
    {
        assert!(matches!(family().at(offset, len), Err(ShmError::OutOfRange { .. })), "{offset} {len}");
    }
}

#[test]
fn threads_do_not_get_each_others_blocks() {
    const N: u64 = 25_000;
    let threads: Vec<_> = (0..4_u64)
        .map(|t| {
            std::thread::spawn(move || {
                let mut live: Vec<Block> = Vec::new();
                for i in 0..N {
                    let block = family().alloc(64, Kind::Control).unwrap();
                    // SAFETY: 64 bytes of our own.
                    unsafe { block.as_ptr().cast::<u64>().write(t << 32 | i) };
                    live.push(block);
                    if live.len() > 20 {
                        let block = live.swap_remove(usize::try_from(i % 20).unwrap());
                        // SAFETY: our own, written above.
                        assert_eq!(unsafe { block.as_ptr().cast::<u64>().read() } >> 32, t);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn everything_dropped_leaves_nothing() {
    isolated("everything_dropped_leaves_nothing_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn everything_dropped_leaves_nothing_alone() {
    let before = family().stats();
    assert_eq!((before.all_blocks(), before.processes), (0, 1));
    let blocks: Vec<_> = (0..1000_u64).map(|i| family().alloc(i * i % 200_000, Kind::Data).unwrap()).collect();
    let stats = family().stats();
    assert_eq!(stats.blocks(Kind::Data), 1000);
    assert!(stats.bytes_in_use <= stats.bytes_backed);
    drop(blocks);
    assert_eq!((family().stats().all_blocks(), family().stats().bytes_in_use), (0, 0));
}

#[test]
fn freed_memory_is_used_again_and_large_runs_are_given_back() {
    isolated("freed_memory_is_used_again_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn freed_memory_is_used_again_alone() {
    for round in 0..50 {
        let block = family().alloc(1 << 20, Kind::Data).unwrap();
        // SAFETY: 1 MiB of our own.
        unsafe { block.as_ptr().write_bytes(round, 1 << 20) };
    }
    assert!(family().stats().bytes_backed < 8 << 20);
    for _ in 0..3 {
        let block = family().alloc(100 << 20, Kind::Data).unwrap();
        // SAFETY: 100 MiB of our own.
        unsafe { block.as_ptr().write_bytes(7, 100 << 20) };
        assert!(family().stats().bytes_backed >= 100 << 20);
        drop(block);
        assert!(family().stats().bytes_backed < 20 << 20, "{:?}", family().stats());
    }
    // Part of what was given back, as slabs and smaller runs: it must be backed again first.
    let blocks: Vec<_> = (0..2000).map(|_| family().alloc(30_000, Kind::Data).unwrap()).collect();
    for block in &blocks {
        // SAFETY: our own.
        unsafe { block.as_ptr().write_bytes(7, 30_000) };
    }
    let stats = family().stats();
    assert!(stats.bytes_backed >= stats.bytes_in_use);
}

#[test]
fn many_objects_cost_no_more_each() {
    isolated("many_objects_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn many_objects_alone() {
    const N: u64 = 100_000;
    let locks: Vec<_> = (0..N).map(|_| family().alloc(64, Kind::Lock).unwrap()).collect();
    let stats = family().stats();
    assert_eq!(stats.blocks(Kind::Lock), N);
    assert!(u64::from(stats.slabs) * 65536 < N * 80, "{stats:?}");
    drop(locks);
    assert_eq!(family().stats().all_blocks(), 0);
}

#[test]
fn a_burst_of_large_blocks_gives_its_memory_back() {
    isolated("large_burst_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn large_burst_alone() {
    const MIB: u64 = 1 << 20;
    let fill = |byte: u8| {
        let block = family().alloc(MIB, Kind::Data).unwrap();
        // SAFETY: the block is this process's, and has a MiB.
        unsafe { block.as_ptr().write_bytes(byte, 1 << 20) };
        block
    };
    let before = family().stats().bytes_backed;
    for byte in 0..3 {
        let burst: Vec<Block> = (0..300).map(|_| fill(byte)).collect();
        assert!(family().stats().bytes_backed >= before + 300 * MIB);
        drop(burst);
        let left = family().stats().bytes_backed;
        // 64 MiB are kept, up to 64 MiB more were freed since the last look, and the file grew by as much in advance.
        assert!(left <= before + 192 * MIB, "{} MiB are left", left / MIB);
    }
    // What is used again is backed again: lack of memory would be told by the allocation.
    let block = family().alloc(200 * MIB, Kind::Data).unwrap();
    let backed = family().stats().bytes_backed;
    // SAFETY: as above.
    unsafe { block.as_ptr().write_bytes(7, 200 << 20) };
    assert_eq!(family().stats().bytes_backed, backed);
    drop(block);
    assert_eq!(family().stats().all_blocks(), 0);
}

#[test]
fn lack_of_address_space_is_told() {
    let family: &Family = family();
    let error = family.at(u64::MAX, 1).unwrap_err();
    assert!(error.to_string().contains("outside"));
}

#[test]
fn blocks_that_others_freed_are_found_behind_many_full_slabs() {
    isolated("bursts_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn bursts_alone() {
    const BURST: usize = 64; // 32 slabs
    let take = || family().alloc(30_000, Kind::Value).unwrap();
    let long: Vec<Block> = std::iter::repeat_with(take).take(1000).collect(); // 500 slabs
    let before = family().stats().slabs;
    for _ in 0..100 {
        let burst: Vec<BlockRef> = std::iter::repeat_with(|| take().into_ref()).take(BURST).collect();
        let pid = polyproc_sys::fork::spawn_child(|| {
            burst.iter().for_each(|&r| drop(family().claim(r).unwrap()));
            0
        });
        assert_eq!(polyproc_sys::fork::wait_child(pid), 0);
        family().reap();
    }
    let after = family().stats();
    assert_eq!(after.blocks(Kind::Value), long.len() as u64);
    // What a burst needs, an eighth of all for searches that were saved, and a few for cells and the like.
    assert!(after.slabs <= before + 32 + (before + 32) / 8 + 8, "{before} slabs, then {}", after.slabs);
}
