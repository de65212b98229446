//! Loom models of the lock with readers and writers: a writer is alone (W2, W4), what one did is visible to the next (X1,
//! X2), and nobody sleeps for ever (W5, X3).
//!
//! A lost wake-up shows as a deadlock. What loom cannot see is as in `loom_lock.rs`; the death of a reader is a number of
//! which `who` knows from the start. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_sync::raw::{RawRwLock, lock::NotLocked, rwlock::Who};
use polyproc_sys::Deadline;

/// A reader that is dead; others live.
const DEAD: u32 = 9;

struct Shared<const N: usize> {
    lock: RawRwLock<N>,
    data: UnsafeCell<[u32; 2]>,
}

// SAFETY: `data` is used under the lock; loom checks that.
unsafe impl<const N: usize> Sync for Shared<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Send for Shared<N> {}

fn who(me: u32) -> impl Fn(u32) -> Who {
    move |owner| match owner {
        DEAD => Who::Dead,
        owner if owner == me => Who::Me,
        _ => Who::Other,
    }
}

impl<const N: usize> Shared<N> {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: RawRwLock::new(), data: UnsafeCell::new([0; 2]) })
    }

    /// Reads `nested` times at once, if there is time; says what it saw.
    fn read(&self, me: u32, nested: usize, deadline: Deadline) -> Option<u32> {
        let lock = &raw const self.lock;
        let readings: Vec<_> = (0..nested)
            .map_while(|_| {
                // SAFETY: the lock lives as long as the model.
                unsafe { RawRwLock::read(lock, Some(me), who(me), deadline) }.ok()
            })
            .collect();
        assert!(readings.is_empty() || readings.len() == nested, "who reads may read again");
        let mut seen = None;
        for reading in readings {
            // SAFETY: no writer is there; loom checks that.
            self.data.with(|p| seen = Some(unsafe { *p }));
            // SAFETY: as above; this thread reads.
            unsafe { RawRwLock::unlock_read(lock, reading) };
        }
        seen.map(|[a, b]| {
            assert_eq!(a, b);
            a
        })
    }

    /// Says whether there was time.
    fn write(&self, me: u32, deadline: Deadline) -> bool {
        let lock = &raw const self.lock;
        // SAFETY: the lock lives as long as the model.
        let how = unsafe { RawRwLock::write(lock, who(me), deadline) };
        if how.is_ok() {
            // SAFETY: nobody else is there; loom checks that.
            self.data.with_mut(|p| unsafe { (*p)[0] += 1 });
            // SAFETY: as above.
            self.data.with_mut(|p| unsafe { (*p)[1] += 1 });
            // SAFETY: the lock lives as long as the model; this thread writes.
            unsafe { RawRwLock::unlock_write(lock, false) };
        }
        how.is_ok()
    }

    fn end(&self, writes: u32) {
        assert_eq!(self.read(8, 1, Deadline::PAST), Some(writes), "all gave the lock up");
        assert!(self.write(8, Deadline::PAST));
    }
}

#[derive(Clone, Copy)]
enum Job {
    Read(u32),
    ReadTwice(u32),
    Write(u32),
}

fn check(bound: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Each thread does its job once, the last one in this thread; a dead reader's cell may lie in the way.
fn together<const N: usize, const T: usize>(jobs: [Job; T], bound: usize, dead: bool) {
    check(bound, move || {
        let shared = Shared::<N>::new();
        if dead {
            // SAFETY: the lock lives as long as the model.
            let reading = unsafe { RawRwLock::read(&raw const shared.lock, Some(DEAD), who(DEAD), Deadline::PAST) };
            core::mem::forget(reading.expect("nobody is there"));
        }
        let run = |shared: &Shared<N>, job| match job {
            Job::Read(me) => drop(shared.read(me, 1, Deadline::NEVER).expect("there is time")),
            Job::ReadTwice(me) => drop(shared.read(me, 2, Deadline::NEVER).expect("there is time")),
            Job::Write(me) => assert!(shared.write(me, Deadline::NEVER)),
        };
        let others: Vec<_> = jobs[1..]
            .iter()
            .map(|&job| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || run(&shared, job))
            })
            .collect();
        run(&shared, jobs[0]);
        for other in others {
            other.join().expect("a thread of the model ended well");
        }
        shared.end(jobs.iter().map(|job| u32::from(matches!(job, Job::Write(_)))).sum());
    });
}

#[test]
fn a_reader_and_a_writer() {
    together::<1, 2>([Job::Read(1), Job::Write(2)], 3, false);
    together::<1, 2>([Job::Write(2), Job::Read(1)], 3, false);
}

#[test]
fn two_writers() {
    together::<1, 2>([Job::Write(1), Job::Write(2)], 3, false);
}

#[test]
fn who_reads_reads_again_before_a_writer() {
    together::<1, 2>([Job::ReadTwice(1), Job::Write(2)], 3, false);
}

#[test]
fn a_dead_reader_is_in_the_way_of_a_reader_and_a_writer() {
    together::<1, 2>([Job::Read(1), Job::Write(2)], 3, true);
}

#[test]
fn two_readers_and_a_writer() {
    together::<2, 3>([Job::Read(1), Job::Write(3), Job::Read(2)], 2, false);
}

#[test]
fn a_reader_without_a_cell_keeps_a_writer_out() {
    check(2, || {
        let shared = Shared::<1>::new();
        let lock = &raw const shared.lock;
        // SAFETY: the lock lives as long as the model.
        let reading = unsafe { RawRwLock::read(lock, Some(1), who(1), Deadline::PAST) }.expect("nobody is there");
        let (reader, writer) = (Arc::clone(&shared), Arc::clone(&shared));
        let reader = thread::spawn(move || drop(reader.read(2, 2, Deadline::NEVER).expect("there is time")));
        let writer = thread::spawn(move || assert!(writer.write(3, Deadline::NEVER)));
        // SAFETY: as above; this thread reads.
        unsafe { RawRwLock::unlock_read(lock, reading) };
        reader.join().expect("the reader ended well");
        writer.join().expect("the writer ended well");
        shared.end(1);
    });
}

#[test]
fn a_reader_between_two_writers() {
    together::<1, 3>([Job::Write(1), Job::Read(2), Job::Write(3)], 2, false);
}

/// A writer without time, and a reader with: the reader gets the lock, and the writer may.
#[test]
fn a_writer_that_gives_up_lets_a_reader_in() {
    check(3, || {
        let shared = Shared::<1>::new();
        let writer = Arc::clone(&shared);
        let writer = thread::spawn(move || writer.write(2, Deadline::PAST));
        assert!(shared.read(1, 1, Deadline::NEVER).is_some());
        let wrote = writer.join().expect("the writer ended well");
        shared.end(u32::from(wrote));
    });
}

#[test]
fn one_thread_is_told_that_it_has_the_lock() {
    check(1, || {
        let shared = Shared::<1>::new();
        let lock = &raw const shared.lock;
        // SAFETY: the lock lives as long as the model.
        let reading = unsafe { RawRwLock::read(lock, Some(1), who(1), Deadline::PAST) }.expect("nobody is there");
        // SAFETY: as above.
        assert_eq!(unsafe { RawRwLock::write(lock, who(1), Deadline::NEVER) }, Err(NotLocked::Mine));
        // SAFETY: as above; this thread reads.
        unsafe { RawRwLock::unlock_read(lock, reading) };
        shared.end(0);
    });
}
