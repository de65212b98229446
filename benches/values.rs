//! Values that nobody else wants, and chunks of an array beside private memory:
//! `cargo bench -p polyproc-benches --bench values`.

use criterion::Criterion;
use polyproc::parts::sys::atomic::{AtomicU64, Ordering::AcqRel};
use polyproc::{Array, Value};
use polyproc_benches::page::Line;
use polyproc_benches::rounds::{Rounds, times};
use std::hint::black_box;
use std::sync::Mutex;

/// A tile of 64 by 64 pixels, written row by row.
const ROW: usize = 64 * 3;
const TILE: usize = 64 * ROW;

fn main() {
    polyproc::init();
    let mut c = Criterion::default().configure_from_args();
    counters(&mut c);
    tiles(&mut c);
    c.final_summary();
}

fn counters(c: &mut Criterion) {
    let (floor, std) = (Line(AtomicU64::new(0)), Line(Mutex::new(0_u64)));
    let value = Value::new(0_u64).expect("a value");
    let mut g = Rounds::new("value/uncontended", 1000);
    g.rival("floor: AtomicU64::fetch_add", |n| {
        times(n, || {
            black_box(&floor.0).fetch_add(1, AcqRel);
        })
    });
    g.rival("polyproc, fetch_add", |n| {
        let before = value.get();
        let time = times(n, || {
            black_box(value.fetch_add(1));
        });
        assert_eq!(value.get(), before + n, "it counts");
        time
    });
    g.rival("polyproc, update", |n| times(n, || value.update(|n| *n += 1)));
    g.rival("polyproc, guard", |n| times(n, || *value.lock() += 1));
    g.rival("polyproc, get", |n| {
        times(n, || {
            black_box(value.get());
        })
    });
    g.rival("std Mutex (threads)", |n| times(n, || *std.0.lock().expect("nobody panics") += 1));
    g.measure(c);
}

fn tiles(c: &mut Criterion) {
    let (row, mut private) = ([7; ROW], vec![0; TILE]);
    let array = Array::new(2 * TILE, 0_u8).expect("an array");
    let chunks = array.chunks(TILE).expect("its first cut");
    let mut g = Rounds::new("array/a tile of bytes, row by row", 1).elements(TILE as u64);
    g.rival("floor: Vec", |n| {
        times(n, || black_box(&mut private).chunks_mut(ROW).for_each(|to| to.copy_from_slice(black_box(&row))))
    });
    g.rival("polyproc, claim and write of a chunk", |n| {
        times(n, || {
            let chunk = chunks.claim(1).expect("nobody has it");
            for y in 0..64 {
                chunk.write(y * ROW..(y + 1) * ROW, black_box(&row));
            }
        })
    });
    g.rival("polyproc, write of the array", |n| {
        times(n, || (0..64).for_each(|y| array.write(y * ROW..(y + 1) * ROW, black_box(&row))))
    });
    g.measure(c);
    assert_eq!(array.to_vec(), [7; 2 * TILE], "it is written");
}
