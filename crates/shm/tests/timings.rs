//! How long the common operations take: `cargo test --release -p polyproc-shm --test timings -- --ignored --nocapture`.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod common;

use common::{Lock, family};
use polyproc_shm::{Kind, Message};
use std::hint::black_box;
use std::time::Instant;

fn time(name: &str, n: u32, mut f: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        for _ in 0..n {
            f();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(n));
    }
    println!("{name:40} {best:10.1} ns");
}

#[test]
#[ignore = "measures, asserts nothing"]
fn timings() {
    let start = Instant::now();
    let _ = polyproc_sys::robust::thread_id();
    println!("the first thread id {:?}", start.elapsed());
    let start = Instant::now();
    let family = family();
    println!("founding a family {:?}", start.elapsed());
    let start = Instant::now();
    drop(family.alloc(64, Kind::Lock).unwrap());
    println!("first block {:?}", start.elapsed());
    for (name, len, kind) in [
        ("lock, 64 B", 64, Kind::Lock),
        ("data, 64 B", 64, Kind::Data),
        ("data, 4 KiB", 4096, Kind::Data),
        ("data, 32640 B", 32640, Kind::Data),
        ("data, 64 KiB", 65536, Kind::Data),
        ("data, 1 MiB", 1 << 20, Kind::Data),
    ] {
        time(&format!("alloc + free, {name}"), 100_000, || drop(black_box(family.alloc(len, kind).unwrap())));
    }
    time("claim + free + alloc, 4 KiB", 100_000, || {
        let r = family.alloc(4096, Kind::Data).unwrap().into_ref();
        drop(family.claim(black_box(r)).unwrap());
    });
    time("Arc<Object> new + drop", 100_000, || drop(black_box(Lock::new(64))));
    time("encode + decode u64", 1_000_000, || {
        let m = Message::encode(family, &black_box(7_u64)).unwrap();
        black_box(m.decode::<u64>(family).unwrap());
    });
    let pair = (7_u64, "some text".to_owned());
    time("encode + decode (u64, String), inline", 100_000, || {
        let m = Message::encode(family, black_box(&pair)).unwrap();
        black_box(m.decode::<(u64, String)>(family).unwrap());
    });
    let long = (7_u64, "some text".repeat(40));
    time("encode + decode (u64, String), 360 B", 100_000, || {
        let m = Message::encode(family, black_box(&long)).unwrap();
        black_box(m.decode::<(u64, String)>(family).unwrap());
    });
    let bytes = vec![7_u8; 1 << 20];
    time("encode + decode Vec<u8>, 1 MiB", 200, || {
        let m = Message::encode(family, black_box(&bytes)).unwrap();
        black_box(m.decode::<Vec<u8>>(family).unwrap());
    });
    time("memcpy in and out, 1 MiB", 200, || {
        let copy = black_box(bytes.clone());
        black_box(copy.clone());
    });
    let lock = Lock::new(64);
    time("encode + decode + drop of a handle", 20_000, || {
        let m = Message::encode(family, &black_box((1_u8, lock.clone()))).unwrap();
        black_box(m.decode::<(u8, Lock)>(family).unwrap());
    });
    let locks: Vec<_> = (0..100_000).map(|_| Lock::new(64)).collect();
    time("the same beside 100 000 locks", 20_000, || {
        let m = Message::encode(family, &black_box((1_u8, lock.clone()))).unwrap();
        black_box(m.decode::<(u8, Lock)>(family).unwrap());
    });
    time("alloc + free, lock, beside 100 000", 100_000, || drop(black_box(family.alloc(64, Kind::Lock).unwrap())));
    let start = Instant::now();
    black_box(family.stats());
    println!("stats beside 100 000 locks {:?}", start.elapsed());
    drop(locks);
    let me = family.participant().unwrap();
    time("is_alive", 1_000_000, || {
        black_box(family.is_alive(black_box(me)));
    });
}
