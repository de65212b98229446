//! CPython's `TestWait` (`Lib/test/_test_multiprocessing.py`), test by test, under its names, as far as there is something
//! to wait for: queues stand for its pipes, and the ends of processes are themselves.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
polyproc_process::init_for_tests!();

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_testing::runner::main(&[
        ("test_wait", tests::test_wait),
        ("test_wait_slow", tests::test_wait_slow),
        ("test_wait_timeout", tests::test_wait_timeout),
        ("test_wait_integer", tests::test_wait_integer),
        ("test_neg_timeout", tests::test_neg_timeout),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_process::Process;
    use polyproc_queue::Queue;
    use polyproc_sync::{Semaphore, Waitable, wait_any};
    use polyproc_sys::Deadline;
    use polyproc_testing::watchdog;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(60);

    fn child_test_wait(to: Queue<(u32, u32)>, pause: u64) {
        for i in 0..10 {
            std::thread::sleep(Duration::from_millis(pause));
            to.put((i, std::process::id())).unwrap();
        }
    }

    /// Four children send ten messages each; a child's end is that of its pipe.
    fn wait(pause: u64) {
        watchdog(LIMIT, || {
            let mut readers = Vec::new();
            for n in 0..4 {
                let queue = Queue::bounded(4).unwrap();
                let child = Process::spawn(child_test_wait, (queue.clone(), pause * n)).unwrap();
                readers.push((queue, child));
            }
            let mut expected: Vec<_> =
                readers.iter().flat_map(|(_, child)| (0..10).map(|i| (i, child.pid()))).collect();
            let mut messages = Vec::new();
            while !readers.is_empty() {
                let things: Vec<&dyn Waitable> = readers.iter().flat_map(|(q, c)| [q as _, c as _]).collect();
                let ready = wait_any(&things, Deadline::NEVER);
                assert!(!ready.is_empty());
                for at in ready.into_iter().rev() {
                    let (queue, child) = &readers[at / 2];
                    if at % 2 == 0 {
                        messages.extend(queue.try_get());
                    } else if queue.is_empty() {
                        assert!(child.join().unwrap().success());
                        drop(readers.remove(at / 2));
                    }
                }
            }
            messages.sort_unstable();
            expected.sort_unstable();
            assert_eq!(messages, expected);
        });
    }

    pub(super) fn test_wait() {
        wait(0);
    }

    pub(super) fn test_wait_slow() {
        wait(3);
    }

    fn pipe() -> [Queue<u64>; 2] {
        [(); 2].map(|()| Queue::bounded(1).unwrap())
    }

    pub(super) fn test_wait_timeout() {
        watchdog(LIMIT, || {
            let (timeout, [a, b]) = (Duration::from_millis(50), pipe());
            let start = Instant::now();
            assert!(wait_any(&[&a, &b], Deadline::after(timeout)).is_empty());
            assert!(start.elapsed() >= timeout);
            a.put(0).unwrap();
            assert_eq!(wait_any(&[&a, &b], Deadline::after(LIMIT)), [0]);
        });
    }

    fn signal_and_sleep(semaphore: Semaphore, time: u64) {
        semaphore.release().unwrap();
        std::thread::sleep(Duration::from_millis(time));
    }

    pub(super) fn test_wait_integer() {
        watchdog(LIMIT, || {
            let (semaphore, [a, b]) = (Semaphore::new(0).unwrap(), pipe());
            let child = Process::spawn(signal_and_sleep, (semaphore.clone(), 30)).unwrap();
            semaphore.acquire();
            let things: [&dyn Waitable; 3] = [&a, &child, &b];
            assert_eq!(wait_any(&things, Deadline::after(LIMIT)), [1]);
            b.put(0).unwrap();
            assert_eq!(wait_any(&things, Deadline::after(LIMIT)), [1, 2]);
            a.put(0).unwrap();
            assert_eq!(wait_any(&things, Deadline::after(LIMIT)), [0, 1, 2]);
            child.terminate().unwrap();
            child.join().unwrap();
        });
    }

    /// A time that is up before it begins; there are no others.
    pub(super) fn test_neg_timeout() {
        let [a, _] = pipe();
        assert!(wait_any(&[&a], Deadline::PAST).is_empty());
    }
}
