//! Put and get of every class of messages, killed at every instruction: in the slot, small and large blocks, with and
//! without serde, a buffer that is not copied, an item with a handle.
//!
//! Minutes in a debug build: run by ci/kill.sh.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[
        ("wide_in_the_slot", tests::wide_in_the_slot),
        ("serde_in_a_small_block", tests::serde_in_a_small_block),
        ("serde_in_a_larger_block", tests::serde_in_a_larger_block),
        ("bytes_in_a_small_block", tests::bytes_in_a_small_block),
        ("bytes_in_a_span", tests::bytes_in_a_span),
        ("a_buffer", tests::a_buffer),
        ("a_handle", tests::a_handle),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_queue::Queue;
    use polyproc_shm::{Buffer, Family, Kind};
    use polyproc_sync::Lock;
    use polyproc_testing::{Scenario, kill_at_every_instruction, watchdog_single_threaded};
    use serde::{Serialize, de::DeserializeOwned};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_secs(1200); // for a machine with much else to do

    pub(super) fn wide_in_the_slot() {
        both("24 bytes, serde", |n| ([n; 12], [n; 12]));
    }

    pub(super) fn serde_in_a_small_block() {
        both("300 bytes, serde", |n| (n, vec![n; 300]));
    }

    pub(super) fn serde_in_a_larger_block() {
        both("2000 bytes, serde", |n| (n, String::from(char::from(n)).repeat(2000)));
    }

    pub(super) fn bytes_in_a_small_block() {
        both("1000 bytes", |n| vec![n; 1000]);
    }

    pub(super) fn bytes_in_a_span() {
        both("64 KiB", |n| vec![n; 64 << 10]);
    }

    pub(super) fn a_buffer() {
        both("buffer of 64 KiB", |n| Buffer::copy_of(&[n; 64 << 10]).unwrap());
    }

    pub(super) fn a_handle() {
        let lock = Lock::new().unwrap();
        both("a lock's handle", |n| Named(n, lock.clone()));
    }

    /// A handle cannot be compared, so its number is.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Named(u8, Lock);

    impl PartialEq for Named {
        fn eq(&self, other: &Self) -> bool {
            drop(self.1.try_lock().expect("nobody holds it"));
            self.0 == other.0
        }
    }

    fn both<T>(name: &'static str, item: impl Fn(u8) -> T)
    where
        T: Serialize + DeserializeOwned + PartialEq + 'static,
    {
        watchdog_single_threaded(name, LONG, || {
            put(name, &item);
            get(name, &item);
        });
    }

    /// Clears up after the victim, of which the harness has proof.
    fn bury() {
        assert!(!Family::get().unwrap().reap().skipped);
    }

    fn assert_left(expected: [u64; 3]) {
        assert_eq!(left(), expected, "blocks of data, locks or cells leaked, or were freed too early");
    }

    /// The blocks that may hold a message or a part of one.
    fn left() -> [u64; 3] {
        let stats = Family::get().unwrap().stats();
        [Kind::Data, Kind::Lock, Kind::Cell].map(|kind| stats.blocks(kind))
    }

    fn pass<T: Serialize + DeserializeOwned + 'static>(item: T) {
        let other = Queue::bounded(4).unwrap();
        other.put(item).unwrap();
        drop(other.get().unwrap());
    }

    fn put<T>(name: &str, item: &impl Fn(u8) -> T)
    where
        T: Serialize + DeserializeOwned + PartialEq + 'static,
    {
        let name = format!("put of {name}");
        let report = kill_at_every_instruction(Scenario {
            name: &name,
            setup: &mut || {
                pass(item(0));
                let q = Queue::<T>::bounded(4).unwrap();
                let empty = left();
                q.put(item(b'a')).unwrap();
                (q, empty)
            },
            prepare: &|_| pass(item(b'x')),
            victim: &|(q, _)| assert!(q.put(item(b'b')).is_ok()),
            wake: None,
            check: &mut |(q, empty), _| {
                bury();
                q.put(item(b'c')).unwrap();
                let next = || q.get_timeout(LIMIT).expect("the claim of the dead is skipped");
                assert!(next() == item(b'a'), "what was there before");
                let second = next();
                let delivered = second == item(b'b');
                assert!(if delivered { next() == item(b'c') } else { second == item(b'c') });
                drop(second);
                assert_left(empty);
                if delivered { "delivered" } else { "never was" }.to_owned()
            },
        });
        assert!(report.count("never was") > 0 && report.count("delivered") > 0);
    }

    fn get<T>(name: &str, item: &impl Fn(u8) -> T)
    where
        T: Serialize + DeserializeOwned + PartialEq + 'static,
    {
        let name = format!("get of {name}");
        let report = kill_at_every_instruction(Scenario {
            name: &name,
            setup: &mut || {
                pass(item(0));
                let q = Queue::<T>::bounded(2).unwrap();
                let empty = left();
                q.put(item(b'a')).unwrap();
                q.put(item(b'b')).unwrap();
                (q, empty)
            },
            prepare: &|_| pass(item(b'x')),
            victim: &|(q, _)| drop(q.get().unwrap()),
            wake: None,
            check: &mut |(q, empty), _| {
                bury();
                let left: Vec<T> = core::iter::from_fn(|| q.try_get().ok()).collect();
                let taken = left.len() == 1;
                assert!(left == if taken { vec![item(b'b')] } else { vec![item(b'a'), item(b'b')] });
                drop(left);
                assert_left(empty);
                (0..2).for_each(|n| assert!(q.try_put(item(n)).is_ok(), "all of its room is there"));
                if taken { "taken" } else { "not taken" }.to_owned()
            },
        });
        assert!(report.count("taken") > 0 && report.count("not taken") > 0);
    }
}
