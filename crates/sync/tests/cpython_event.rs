//! CPython's `_TestEvent` (`Lib/test/_test_multiprocessing.py`), test by test, under its names: with processes and with
//! threads, which CPython calls "processes" and "threads".
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_testing::runner::main(&[("test_event", tests::test_event), ("test_repr", tests::test_repr)])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_sync::Event;
    use polyproc_testing::{Survivor, watchdog_single_threaded};
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(20);
    const TIMEOUT1: Duration = Duration::from_millis(82);

    /// What a wait says, and how long it takes at least.
    fn wait(event: &Event, timeout: Duration, at_least: Duration) -> bool {
        let start = Instant::now();
        let was_set = event.wait_timeout(timeout);
        assert!(start.elapsed() >= at_least);
        was_set
    }

    pub(super) fn test_event() {
        watchdog_single_threaded("test_event", LIMIT, || {
            let event = Event::new().unwrap();
            assert!(!event.is_set());
            assert!(!wait(&event, Duration::ZERO, Duration::ZERO));
            assert!(!wait(&event, TIMEOUT1, TIMEOUT1));
            event.set();
            assert!(event.is_set());
            assert!(wait(&event, Duration::MAX, Duration::ZERO));
            assert!(wait(&event, TIMEOUT1, Duration::ZERO));
            event.clear();
            let setter = Survivor::fork(|control| {
                let _ = control.hear();
                event.set();
            });
            setter.say(1);
            assert!(wait(&event, Duration::MAX, Duration::ZERO));
            assert_eq!(setter.finish(LIMIT), 0);
        });
        polyproc_testing::watchdog(LIMIT, || {
            let event = Event::new().unwrap();
            std::thread::scope(|s| {
                s.spawn(|| event.set());
                assert!(wait(&event, Duration::MAX, Duration::ZERO));
            });
        });
    }

    /// `<Event at .* unset>` there, `Event { is_set: false, .. }` here.
    pub(super) fn test_repr() {
        let event = Event::new().unwrap();
        assert_eq!(format!("{event:?}"), "Event { is_set: false, .. }");
        event.set();
        assert_eq!(format!("{event:?}"), "Event { is_set: true, .. }");
        event.clear();
        assert_eq!(format!("{event:?}"), "Event { is_set: false, .. }");
    }
}
