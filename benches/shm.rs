//! Shared memory beside the bare calls of C: `cargo bench -p polyproc-benches --bench shm`.

use criterion::Criterion;
use polyproc::SharedMemory;
use polyproc_benches::rounds::{Rounds, times};
use polyproc_benches::shm::{
    Bare, LEN, find, find_by_crate, make, make_by_crate, make_by_python, make_lock, make_unnamed, name,
};

fn main() {
    polyproc::init();
    let mut c = Criterion::default().configure_from_args();
    made(&mut c);
    found(&mut c);
    unnamed(&mut c);
    c.final_summary();
}

/// So often before anything is measured.
const CHECK: u64 = 10;

fn made(c: &mut Criterion) {
    let (name, bare) = (name(), Bare::new(&name()));
    let mut g = Rounds::new("shm/named, made and left", CHECK);
    g.rival("floor: shm_open + mmap + unlink", |n| {
        times(n, || {
            bare.make();
            bare.unlink();
        })
    });
    g.rival("polyproc", |n| times(n, || make(&name)));
    g.rival("shared_memory", |n| times(n, || make_by_crate(&name)));
    if make_by_python(&name, 1).is_some() {
        g.rival("Python", |n| make_by_python(&name, n).expect("it was there before"));
    }
    g.measure(c);
}

fn found(c: &mut Criterion) {
    let (name, bare) = (name(), Bare::new(&name()));
    let held = SharedMemory::create(&name, LEN).expect("memory");
    held.set(0, 7_u64).expect("a word");
    bare.make();
    let mut g = Rounds::new("shm/named, found and left", CHECK);
    g.rival("floor: shm_open + mmap", |n| times(n, || bare.find()));
    g.rival("polyproc", |n| times(n, || find(&name)));
    g.rival("shared_memory", |n| times(n, || find_by_crate(&name)));
    g.measure(c);
    bare.unlink();
}

fn unnamed(c: &mut Criterion) {
    let mut g = Rounds::new("shm/made and dropped", CHECK);
    g.rival("polyproc, 4 KiB", |n| times(n, make_unnamed));
    g.rival("polyproc Lock", |n| times(n, make_lock));
    g.measure(c);
}
