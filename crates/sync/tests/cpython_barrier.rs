//! CPython's `_TestBarrier` (`Lib/test/_test_multiprocessing.py`), test by test, under its names: with processes, and
//! below `threads` with threads. A list that several append to is a semaphore here: it counts.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    use tests::*;
    polyproc_testing::runner::main(&[
        ("test_barrier", || processes(test_barrier)),
        ("test_barrier_10", || processes(test_barrier_10)),
        ("test_wait_return", || processes(test_wait_return)),
        ("test_action", || processes(test_action)),
        ("test_abort", || processes(test_abort)),
        ("test_reset", || processes(test_reset)),
        ("test_abort_and_reset", || processes(test_abort_and_reset)),
        ("test_timeout", || processes(test_timeout)),
        ("test_default_timeout", || processes(test_default_timeout)),
        ("test_single_thread", || processes(test_single_thread)),
        ("test_thousand", || processes(test_thousand)),
        ("threads::test_barrier", || threads(test_barrier)),
        ("threads::test_barrier_10", || threads(test_barrier_10)),
        ("threads::test_wait_return", || threads(test_wait_return)),
        ("threads::test_action", || threads(test_action)),
        ("threads::test_abort", || threads(test_abort)),
        ("threads::test_reset", || threads(test_reset)),
        ("threads::test_abort_and_reset", || threads(test_abort_and_reset)),
        ("threads::test_timeout", || threads(test_timeout)),
        ("threads::test_default_timeout", || threads(test_default_timeout)),
        ("threads::test_single_thread", || threads(test_single_thread)),
        ("threads::test_thousand", || threads(test_thousand)),
    ])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::{Barrier, BarrierError, Semaphore};
    use polyproc_testing::{Survivor, watchdog, watchdog_single_threaded};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(60);
    const PARTIES: u32 = 5;
    const N: usize = 5;
    const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(50);

    /// Runs a body `N` times at once.
    pub(super) type Run<'a> = &'a dyn Fn(&(dyn Fn() + Sync));

    pub(super) fn processes(test: fn(Run<'_>)) {
        watchdog_single_threaded("a test with processes", LIMIT, || {
            test(&|body| {
                let others: Vec<_> = (1..N).map(|_| Survivor::fork(|_| body())).collect();
                body();
                others.into_iter().for_each(|other| assert_eq!(other.finish(LIMIT), 0));
            });
        });
    }

    pub(super) fn threads(test: fn(Run<'_>)) {
        watchdog(LIMIT, || {
            test(&|body| {
                std::thread::scope(|s| {
                    (1..N).for_each(|_| drop(s.spawn(body)));
                    body();
                });
            });
        });
    }

    fn barrier() -> Barrier {
        Barrier::new(PARTIES).unwrap().with_timeout(DEFAULT_TIMEOUT)
    }

    struct List(Semaphore);

    impl List {
        fn new() -> Self {
            Self(Semaphore::new(0).unwrap())
        }

        fn append(&self) {
            self.0.release().unwrap();
        }

        fn len(&self) -> usize {
            usize::try_from(self.0.available()).unwrap()
        }
    }

    fn wait(barrier: &Barrier) -> Result<usize, BarrierError> {
        barrier.wait().map(|pass| pass.index())
    }

    fn passes(run: Run<'_>, n: usize) {
        let (barrier, results) = (barrier(), [List::new(), List::new()]);
        run(&|| {
            assert_eq!(barrier.parties(), N);
            for i in 0..n {
                results[0].append();
                assert_eq!(results[1].len(), i * N);
                barrier.wait().unwrap();
                results[1].append();
                assert_eq!(results[0].len(), (i + 1) * N);
                barrier.wait().unwrap();
            }
            assert_eq!(barrier.waiting(), 0);
            assert!(!barrier.is_broken());
        });
    }

    pub(super) fn test_barrier(run: Run<'_>) {
        passes(run, 1);
    }

    pub(super) fn test_barrier_10(run: Run<'_>) {
        passes(run, 10);
    }

    pub(super) fn test_wait_return(run: Run<'_>) {
        let (barrier, zeros, all) = (barrier(), List::new(), List::new());
        run(&|| {
            all.append();
            if wait(&barrier).unwrap() == 0 {
                zeros.append();
            }
        });
        assert_eq!((zeros.len(), all.len()), (1, N));
    }

    pub(super) fn test_action(run: Run<'_>) {
        let (barrier, results) = (barrier(), List::new());
        run(&|| {
            barrier.wait_with(|| results.append()).unwrap();
            assert_eq!(results.len(), 1);
        });
        assert_eq!(results.len(), 1);
    }

    /// One of those that have passed breaks it, the others come again.
    fn abort(barrier: &Barrier, results: &[List; 3]) {
        if wait(barrier).unwrap() == N / 2 {
            barrier.abort();
        } else {
            results[usize::from(barrier.wait().is_err())].append();
        }
    }

    pub(super) fn test_abort(run: Run<'_>) {
        let (barrier, results) = (barrier(), [(); 3].map(|()| List::new()));
        run(&|| abort(&barrier, &results));
        assert_eq!((results[0].len(), results[1].len()), (0, N - 1));
        assert!(barrier.is_broken());
    }

    pub(super) fn test_reset(run: Run<'_>) {
        let (barrier, results) = (barrier(), [(); 3].map(|()| List::new()));
        run(&|| {
            if wait(&barrier).unwrap() == N / 2 {
                while barrier.waiting() < N - 1 {
                    std::thread::yield_now();
                }
                barrier.reset();
            } else {
                results[usize::from(barrier.wait().is_err())].append();
            }
            barrier.wait().unwrap();
            results[2].append();
        });
        assert_eq!(results.each_ref().map(List::len), [0, N - 1, N]);
    }

    pub(super) fn test_abort_and_reset(run: Run<'_>) {
        let (barrier, second, results) = (barrier(), barrier(), [(); 3].map(|()| List::new()));
        run(&|| {
            abort(&barrier, &results);
            if wait(&second).unwrap() == N / 2 {
                barrier.reset();
            }
            second.wait().unwrap();
            barrier.wait().unwrap();
            results[2].append();
        });
        assert_eq!(results.each_ref().map(List::len), [0, N - 1, N]);
    }

    /// One is late: it comes when the others have given up.
    fn late(barrier: &Barrier, results: &List, first: Duration, second: impl Fn() -> bool) {
        if barrier.wait_timeout(first).unwrap().index() == N / 2 {
            while !barrier.is_broken() {
                std::thread::yield_now();
            }
        }
        if second() {
            results.append();
        }
    }

    pub(super) fn test_timeout(run: Run<'_>) {
        let (barrier, results) = (barrier(), List::new());
        run(&|| late(&barrier, &results, DEFAULT_TIMEOUT, || barrier.wait_timeout(SHORT).is_err()));
        assert_eq!(results.len(), N);
    }

    pub(super) fn test_default_timeout(run: Run<'_>) {
        let (barrier, results) = (Barrier::new(PARTIES).unwrap().with_timeout(SHORT), List::new());
        run(&|| late(&barrier, &results, DEFAULT_TIMEOUT, || barrier.wait().is_err()));
        assert_eq!(results.len(), N);
    }

    pub(super) fn test_single_thread(_: Run<'_>) {
        let barrier = Barrier::new(1).unwrap();
        barrier.wait().unwrap();
        barrier.wait().unwrap();
    }

    /// CPython sends numbers through a pipe, which arrive in order; here each counts, and sees that no round is ahead.
    pub(super) fn test_thousand(run: Run<'_>) {
        let (barrier, results) = (barrier(), List::new());
        run(&|| {
            for i in 0..1000 {
                barrier.wait().unwrap();
                results.append();
                assert!((i * N + 1..(i + 2) * N).contains(&results.len()));
            }
        });
        assert_eq!(results.len(), 1000 * N);
    }
}
