//! Values that nobody else wants, and chunks of an array beside private memory:
//! `cargo bench -p polyproc-benches --bench values`.

use criterion::{Criterion, Throughput};
use polyproc::parts::sys::atomic::{AtomicU64, Ordering::AcqRel};
use polyproc::{Array, Value};
use polyproc_benches::page::Line;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

/// A tile of 64 by 64 pixels, written row by row.
const ROW: usize = 64 * 3;
const TILE: usize = 64 * ROW;

fn main() {
    polyproc::init();
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    counters(&mut c);
    tiles(&mut c);
    c.final_summary();
}

fn counters(c: &mut Criterion) {
    let mut g = c.benchmark_group("value/uncontended");
    let (floor, std) = (Line(AtomicU64::new(0)), Line(Mutex::new(0_u64)));
    let value = Value::new(0_u64).expect("a value");
    g.bench_function("floor: AtomicU64::fetch_add", |b| b.iter(|| black_box(&floor.0).fetch_add(1, AcqRel)));
    g.bench_function("polyproc, fetch_add", |b| b.iter(|| value.fetch_add(1)));
    g.bench_function("polyproc, update", |b| b.iter(|| value.update(|n| *n += 1)));
    g.bench_function("polyproc, guard", |b| b.iter(|| *value.lock() += 1));
    g.bench_function("polyproc, get", |b| b.iter(|| value.get()));
    g.bench_function("std Mutex (threads)", |b| b.iter(|| *std.0.lock().expect("nobody panics") += 1));
    g.finish();
    let before = value.get();
    assert_eq!((value.fetch_add(2), value.get()), (before, before + 2), "it counts");
}

fn tiles(c: &mut Criterion) {
    let mut g = c.benchmark_group("array/a tile of bytes, row by row");
    g.throughput(Throughput::Bytes(TILE as u64));
    let (row, mut private) = ([7; ROW], vec![0; TILE]);
    let array = Array::new(2 * TILE, 0_u8).expect("an array");
    let chunks = array.chunks(TILE).expect("its first cut");
    g.bench_function("floor: Vec", |b| {
        b.iter(|| black_box(&mut private).chunks_mut(ROW).for_each(|to| to.copy_from_slice(black_box(&row))));
    });
    g.bench_function("polyproc, claim and write of a chunk", |b| {
        b.iter(|| {
            let chunk = chunks.claim(1).expect("nobody has it");
            for y in 0..64 {
                chunk.write(y * ROW..(y + 1) * ROW, black_box(&row));
            }
        });
    });
    g.bench_function("polyproc, write of the array", |b| {
        b.iter(|| (64..128).for_each(|y| array.write(y * ROW..(y + 1) * ROW, black_box(&row))));
    });
    g.finish();
    chunks.claim(1).expect("nobody has it").write(ROW..2 * ROW, &row);
    let all = array.to_vec();
    assert!(all[..TILE].iter().all(|n| *n == 0) && all[TILE + ROW..TILE + 2 * ROW] == row, "it is written");
}
