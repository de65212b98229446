//! Shared memory: unnamed, with a name, read only, as a foreign file; how it travels, grows, shrinks and ends.
//!
//! One thread, so that it may fork.

#[path = "named/place.rs"]
mod place;

use place::{LIMIT, TempPlace};
use polyproc_shm::{
    Family, Kind, Message, MessageError, Place, ReadOnlyMemory, SegmentError, SharedMemory, ShmError, gc, message,
};
use polyproc_sys::fork::{kill_child, spawn_child, wait_child};
use polyproc_testing::{LeakCheck, Survivor, runner};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

fn main() -> ExitCode {
    runner::main(tests![
        unnamed_memory_goes_with_its_last_handle,
        unnamed_memory_of_a_killed_process_comes_back,
        a_child_writes_into_memory_that_it_was_sent,
        named_memory_travels_by_its_name,
        named_memory_that_is_gone_when_it_arrives_is_an_error,
        a_name_that_means_another_segment_by_now_is_an_error,
        a_plain_file_travels_by_its_name,
        accesses_beside_the_end_are_errors,
        growth_is_seen_by_others,
        many_grow_at_once,
        only_the_only_holder_shrinks,
        what_was_given_back_is_zero_and_backed_again,
        two_programs_make_or_open_one,
        a_reader_sees_what_is_written,
        a_received_descriptor_is_a_hold_of_its_own,
        a_descriptor_of_something_else_is_refused,
        a_plain_file_has_nothing_but_its_bytes,
        python_sees_our_files_and_we_see_its,
        lack_of_space_names_the_place_and_the_size,
    ])
}

fn family() -> &'static Family {
    Family::get().unwrap()
}

fn blocks() -> (u64, u64) {
    let stats = family().stats();
    (stats.blocks(Kind::Memory), stats.blocks(Kind::Data))
}

fn sent(memory: &SharedMemory) -> Message {
    Message::encode(family(), &vec![memory.clone()]).unwrap()
}

fn arrived(message: Message) -> Result<SharedMemory, MessageError> {
    message.decode::<Vec<SharedMemory>>(family()).map(|mut all| all.remove(0))
}

fn unnamed_memory_goes_with_its_last_handle() {
    let before = blocks();
    for len in [0, 1, 100, 4096, 100_000, 3 << 20] {
        let memory = SharedMemory::new(len).unwrap();
        assert_eq!((memory.len(), memory.limit(), memory.name().is_none()), (len, len, true));
        let mut bytes = vec![1; usize::try_from(len).unwrap()];
        memory.read(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&b| b == 0));
        memory.write(0, &vec![7; bytes.len()]).unwrap(); // to be found if the next one were not zeroed
        let other = arrived(sent(&memory)).unwrap();
        drop(memory);
        other.read(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&b| b == 7));
        drop(other);
        assert_eq!(blocks(), before);
        drop(sent(&SharedMemory::new(len).unwrap()));
        assert_eq!(blocks(), before);
    }
}

fn unnamed_memory_of_a_killed_process_comes_back() {
    let before = blocks();
    let pid = spawn_child(|| {
        let alone = SharedMemory::new(100_000).unwrap();
        let shared = SharedMemory::new(100).unwrap();
        let message = sent(&shared);
        kill_child(std::process::id());
        drop((alone, shared, message));
        0
    });
    assert_eq!(wait_child(pid), 128 + 9);
    assert_eq!(family().reap().processes, 1);
    assert_eq!(blocks(), before);
}

fn a_child_writes_into_memory_that_it_was_sent() {
    let memory = SharedMemory::new(64).unwrap();
    let Message::Block(block) = sent(&memory) else { panic!("inline") };
    let r = block.into_ref();
    let pid = spawn_child(|| {
        let mine: Vec<SharedMemory> = message::decode_block(family().claim(r).unwrap()).unwrap();
        mine[0].set::<u64>(3, 42).unwrap();
        0
    });
    assert_eq!(wait_child(pid), 0);
    assert_eq!(memory.get::<u64>(3).unwrap(), 42);
    family().reap();
}

fn named_memory_travels_by_its_name() {
    let place = TempPlace::new();
    let memory = SharedMemory::create(place.name("a"), 10).unwrap();
    let other = arrived(sent(&memory)).unwrap();
    other.set::<u8>(0, 9).unwrap();
    assert_eq!(memory.get::<u8>(0).unwrap(), 9);
    drop(memory);
    assert_eq!(place.files(), ["polyproc.a"]);
    drop(other);
    assert_eq!(place.files(), [""; 0]);
}

fn named_memory_that_is_gone_when_it_arrives_is_an_error() {
    let place = TempPlace::new();
    let message = sent(&SharedMemory::create(place.name("a"), 10).unwrap());
    let error = arrived(message).unwrap_err();
    assert!(matches!(&error, MessageError::Segment(SegmentError::Gone(at)) if at.name == "a"), "{error}");
    assert!(error.to_string().contains("keep a handle"), "{error}");
}

fn a_name_that_means_another_segment_by_now_is_an_error() {
    let place = TempPlace::new();
    let message = sent(&SharedMemory::create(place.name("a"), 10).unwrap());
    let _other = SharedMemory::create(place.name("a"), 10).unwrap();
    assert!(matches!(arrived(message), Err(MessageError::Segment(SegmentError::Gone(_)))));
}

fn a_plain_file_travels_by_its_name() {
    let place = TempPlace::new();
    let memory = SharedMemory::create_plain(place.name("a"), 10).unwrap();
    arrived(sent(&memory)).unwrap().set::<u8>(0, 9).unwrap();
    assert_eq!(memory.get::<u8>(0).unwrap(), 9);
    let message = sent(&memory);
    SharedMemory::unlink_plain(place.name("a")).unwrap();
    assert!(matches!(arrived(message), Err(MessageError::Segment(SegmentError::NotFound(_)))));
}

fn accesses_beside_the_end_are_errors() {
    let place = TempPlace::new();
    for memory in [
        SharedMemory::new(10).unwrap(),
        SharedMemory::create(place.name("a"), 10).unwrap(),
        SharedMemory::create_plain(place.name("b"), 10).unwrap(),
        SharedMemory::builder().growable(10_000).create(place.name("c"), 10).unwrap(),
        SharedMemory::builder().growable(10_000).unnamed(10).unwrap(),
    ] {
        let mut bytes = [1; 4];
        for offset in [7, 10, 11, u64::MAX - 1, u64::MAX] {
            let error = memory.read(offset, &mut bytes).unwrap_err();
            assert!(matches!(error, SegmentError::OutOfBounds { size: 10, len: 4, .. }), "{error}");
            assert!(matches!(memory.write(offset, &bytes), Err(SegmentError::OutOfBounds { .. })));
        }
        assert_eq!(bytes, [1; 4]);
        memory.write(6, &bytes).unwrap();
        memory.write(10, &[]).unwrap();
        assert!(memory.get::<u64>(0).is_ok() && memory.get::<u64>(1).is_err() && memory.get::<u64>(u64::MAX).is_err());
        assert!(memory.set::<u16>(4, 1).is_ok() && memory.set::<u16>(5, 1).is_err());
        let mut all = [0; 10];
        memory.read(0, &mut all).unwrap();
        assert_eq!(all, [0, 0, 0, 0, 0, 0, 1, 1, 1, 0]);
    }
}

fn growth_is_seen_by_others() {
    let place = TempPlace::new();
    for memory in [
        SharedMemory::builder().growable(1 << 30).create(place.name("a"), 10).unwrap(),
        SharedMemory::builder().growable(1 << 20).unnamed(10).unwrap(),
    ] {
        let other = arrived(sent(&memory)).unwrap();
        let child = Survivor::fork(|control| {
            assert!(other.get::<u8>(10).is_err());
            control.say(1);
            let _ = control.hear();
            assert_eq!((other.len(), other.get::<u8>(99_999).unwrap()), (100_000, 5));
            other.grow(200_000).unwrap();
        });
        assert_eq!(child.hear(LIMIT), 1);
        let before = memory.as_ptr();
        memory.grow(100_000).unwrap();
        memory.set::<u8>(99_999, 5).unwrap();
        child.say(1);
        assert_eq!(child.finish(LIMIT), 0);
        assert_eq!((memory.len(), memory.as_ptr()), (200_000, before));
        memory.grow(5).unwrap();
        assert_eq!(memory.len(), 200_000);
        assert!(matches!(memory.grow(1 << 40), Err(SegmentError::NotGrowable { .. })));
    }
    family().reap();
    let fixed = SharedMemory::create(place.name("b"), 10).unwrap();
    assert!(fixed.grow(11).unwrap_err().to_string().contains("growable"));
}

fn many_grow_at_once() {
    const STEP: u64 = 1000;
    let place = TempPlace::new();
    let memory = SharedMemory::builder().growable(1 << 24).create(place.name("a"), 0).unwrap();
    let children: Vec<_> = (0..4_u64)
        .map(|who| {
            let place = &place;
            Survivor::fork(move |_| {
                let mine = SharedMemory::open(place.name("a")).unwrap();
                for i in 0..200 {
                    let end = (i * 4 + who + 1) * STEP;
                    mine.grow(end).unwrap();
                    assert!(mine.len() >= end);
                    mine.set::<u8>(end - 1, 1).unwrap();
                }
            })
        })
        .collect();
    for child in children {
        assert_eq!(child.finish(LIMIT), 0);
    }
    assert_eq!(memory.len(), 800 * STEP);
    assert!((1..=800).all(|i| memory.get::<u8>(i * STEP - 1).unwrap() == 1));
}

fn only_the_only_holder_shrinks() {
    let place = TempPlace::new();
    let refused = |memory: &mut SharedMemory| {
        let error = memory.shrink(1).unwrap_err();
        assert!(matches!(error, SegmentError::InUse { .. }), "{error}");
        assert_eq!(memory.len(), 10);
    };
    let mut plain = SharedMemory::create_plain(place.name("p"), 10).unwrap();
    refused(&mut plain);
    let makers: [&dyn Fn() -> SharedMemory; 2] =
        [&|| SharedMemory::new(10).unwrap(), &|| SharedMemory::create(place.name("a"), 10).unwrap()];
    for make in makers {
        let mut memory = make();
        let clone = memory.clone();
        refused(&mut memory);
        drop(clone);
        let other = arrived(sent(&memory)).unwrap();
        refused(&mut memory);
        drop((other, memory));

        let mut memory = make();
        let child = Survivor::fork(|control| {
            let _ = control.hear();
        });
        refused(&mut memory);
        drop(child);
        drop(memory);
        let mut memory = make();
        memory.shrink(11).unwrap();
        memory.shrink(1).unwrap();
        assert_eq!(memory.len(), 1);
    }
    let mut memory = SharedMemory::create(place.name("b"), 10).unwrap();
    let reader = ReadOnlyMemory::open(place.name("b")).unwrap();
    refused(&mut memory);
    drop(reader);
    memory.shrink(3).unwrap();
    assert_eq!(SharedMemory::open(place.name("b")).unwrap().len(), 3);
    assert_eq!(gc(&place).unwrap().in_use, 1, "it is held again");
}

fn what_was_given_back_is_zero_and_backed_again() {
    let place = TempPlace::new();
    for mut memory in [SharedMemory::create(place.name("a"), 100_000).unwrap(), SharedMemory::new(100_000).unwrap()] {
        memory.write(0, &[7; 100_000]).unwrap();
        memory.shrink(5000).unwrap();
        assert!(memory.get::<u8>(5000).is_err());
        memory.grow(100_000).unwrap();
        let mut bytes = vec![1; 100_000];
        memory.read(0, &mut bytes).unwrap();
        assert!(bytes[..5000].iter().all(|&b| b == 7) && bytes[5000..].iter().all(|&b| b == 0));
    }
    let taken = || std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(place.path().join("polyproc.b")).unwrap());
    let mut memory = SharedMemory::create(place.name("b"), 1 << 20).unwrap();
    let full = taken();
    memory.shrink(0).unwrap();
    assert!(taken() < full / 100);
    memory.grow(1 << 20).unwrap();
    assert_eq!(taken(), full);
}

fn two_programs_make_or_open_one() {
    let place = TempPlace::new();
    let children: Vec<_> = (0..4)
        .map(|_| {
            Survivor::fork(|_| {
                for _ in 0..300 {
                    let memory = SharedMemory::open_or_create(place.name("a"), 8).unwrap();
                    assert_eq!(memory.len(), 8);
                    memory.set::<u64>(0, 1).unwrap();
                }
            })
        })
        .collect();
    for child in children {
        assert_eq!(child.finish(LIMIT), 0);
    }
    gc(&place).unwrap();
    assert_eq!(place.files(), [""; 0]);
}

fn a_reader_sees_what_is_written() {
    let place = TempPlace::new();
    let memory = SharedMemory::builder().growable(1 << 20).create(place.name("a"), 8).unwrap();
    let reader = ReadOnlyMemory::open(place.name("a")).unwrap();
    memory.grow(16).unwrap();
    memory.set(1, 7_u64).unwrap();
    assert_eq!((reader.len(), reader.get::<u64>(1).unwrap()), (16, 7));
    assert!(reader.get::<u64>(2).unwrap_err().to_string().contains("\"a\" in /"));
    drop(memory);
    assert_eq!(reader.get::<u64>(1).unwrap(), 7);
    assert_eq!(place.files(), ["polyproc.a"]);
}

fn a_received_descriptor_is_a_hold_of_its_own() {
    let leaks = LeakCheck::start();
    let place = TempPlace::new();
    let memory = SharedMemory::create(place.name("a"), 8).unwrap();
    let fd = memory.fd().unwrap().try_clone_to_owned().unwrap();
    let other = SharedMemory::attach(fd).unwrap();
    assert_eq!(other.name(), memory.name());
    let reader = ReadOnlyMemory::attach(memory.fd().unwrap().try_clone_to_owned().unwrap()).unwrap();
    drop(memory);
    assert_eq!(gc(&place).unwrap().in_use, 1);
    drop(other);
    assert_eq!(gc(&place).unwrap().in_use, 1);
    drop(reader);
    assert_eq!(place.files(), [""; 0]);

    // One that has lost its name meanwhile is as good.
    let memory = SharedMemory::create(place.name("a"), 8).unwrap();
    let fd = memory.fd().unwrap().try_clone_to_owned().unwrap();
    SharedMemory::unlink(place.name("a")).unwrap();
    let _new = SharedMemory::create(place.name("a"), 8).unwrap();
    let other = SharedMemory::attach(fd).unwrap();
    other.set(0, 5_u64).unwrap();
    assert_eq!(memory.get::<u64>(0).unwrap(), 5);
    drop((memory, other));
    assert_eq!(place.files(), ["polyproc.a"]);
    drop(_new);
    drop(place);
    leaks.finish().unwrap();
}

fn a_descriptor_of_something_else_is_refused() {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(SharedMemory::attach(one.as_fd().try_clone_to_owned().unwrap()).is_err());
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(SharedMemory::attach(file.into()).is_err());
}

fn a_plain_file_has_nothing_but_its_bytes() {
    let place = TempPlace::new();
    let memory = SharedMemory::create_plain(place.name("polyproc.looks-like-ours"), 10).unwrap();
    memory.write(0, b"0123456789").unwrap();
    let path = place.path().join("polyproc.looks-like-ours");
    assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
    assert!(matches!(
        SharedMemory::create_plain(place.name("polyproc.looks-like-ours"), 1),
        Err(SegmentError::Exists(_))
    ));
    drop(memory);
    assert_eq!(gc(&place).unwrap().foreign, 1);
    assert_eq!(place.files(), ["polyproc.looks-like-ours"]);
    SharedMemory::unlink_plain(place.name("polyproc.looks-like-ours")).unwrap();
    assert!(matches!(SharedMemory::open_plain(place.name("x")), Err(SegmentError::NotFound(_))));
    assert!(matches!(SharedMemory::open_plain(place.name("a/b")), Err(SegmentError::BadName { .. })));
}

const PYTHON: &str = r"
import struct, sys
from multiprocessing import shared_memory, resource_tracker

def forget(shm): # before 3.13 its resource tracker would unlink what was only opened
    resource_tracker.unregister(shm._name, 'shared_memory')

ours, its = sys.argv[1:]
shm = shared_memory.SharedMemory(ours)
forget(shm)
assert bytes(shm.buf[:5]) == b'hello', bytes(shm.buf[:5])
assert struct.unpack_from('4d', shm.buf, 8) == (0.5, 1.5, 2.5, 3.5)
shm.buf[:5] = b'HELLO'
shm.close()
shm = shared_memory.SharedMemory(its, create=True, size=10000)
struct.pack_into('1000d', shm.buf, 0, *[i / 4 for i in range(1000)])
forget(shm)
shm.close()
";

/// In /dev/shm, where Python looks.
fn python_sees_our_files_and_we_see_its() {
    if !Command::new("python3").arg("-V").output().is_ok_and(|out| out.status.success()) {
        println!("no python3 here: not compared with it");
        return;
    }
    let (ours, its) = (format!("polyproc-ours-{}", std::process::id()), format!("polyproc-its-{}", std::process::id()));
    let memory = SharedMemory::create_plain(&ours, 40).unwrap();
    memory.write(0, b"hello").unwrap();
    for i in 0..4_u32 {
        memory.set(u64::from(i) + 1, f64::from(i) + 0.5).unwrap();
    }
    let out = Command::new("python3").args(["-c", PYTHON, &ours, &its]).output().unwrap();
    let theirs = SharedMemory::open_plain(&its);
    let gone = (SharedMemory::unlink_plain(&ours), SharedMemory::unlink_plain(&its));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    gone.0.unwrap();
    gone.1.unwrap();
    let theirs = theirs.unwrap();
    assert_eq!(memory.get::<[u8; 5]>(0).unwrap(), *b"HELLO");
    assert_eq!(theirs.len(), 10_000);
    assert!(
        (0..1000_u32).all(|i| theirs.get::<f64>(u64::from(i)).unwrap().to_bits() == (f64::from(i) / 4.0).to_bits())
    );
}

/// On a file system of 1 MiB where this process may mount one, else under a limit of the size of files.
fn lack_of_space_names_the_place_and_the_size() {
    let place = TempPlace::new();
    let inner = place.path().join("small");
    std::fs::create_dir(&inner).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&inner).output();
    let mounted = mount.is_ok_and(|out| out.status.success());
    let small = Place::dir(&inner).unwrap();
    let result = std::panic::catch_unwind(|| {
        if mounted {
            println!("on a tmpfs of 1 MiB");
            too_large(&small, 2 << 20);
        } else {
            println!("may not mount: no file system of 1 MiB, but one that cannot take 2^45 bytes");
            too_large(&small, 1 << 45);
        }
    });
    if mounted {
        assert!(Command::new("umount").arg(&inner).status().unwrap().success());
    }
    result.unwrap();
}

fn too_large(place: &Place, len: u64) {
    for error in [
        SharedMemory::create(place.name("a"), len).unwrap_err(),
        SharedMemory::create_plain(place.name("a"), len).unwrap_err(),
    ] {
        let SegmentError::NoSpace { at, asked, .. } = &error else { panic!("{error}") };
        assert_eq!((at.dir.as_path(), *asked), (place.path(), len));
        let text = error.to_string();
        assert!(text.contains(&len.to_string()) && text.contains("/dev/shm/polyproc-test"), "{text}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    // What can be had is had, and growing beyond it fails and changes nothing.
    let memory = SharedMemory::builder().growable(len).create(place.name("b"), 500_000).unwrap();
    memory.write(499_999, &[1]).unwrap();
    assert!(matches!(memory.grow(len), Err(SegmentError::NoSpace { .. })));
    assert_eq!(memory.len(), 500_000);
    drop(memory);
    assert!(matches!(
        SharedMemory::new(1 << 45),
        Err(SegmentError::Shm(ShmError::NoSpace { .. } | ShmError::NoAddressSpace { .. }))
    ));
}
