//! The kill harness, the survivors and the runner, over toy protocols in shared memory.
#![allow(clippy::disallowed_methods, reason = "the toys must not depend on what the harness is to test")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use polyproc_testing::kill::ENDED_EARLY;
use polyproc_testing::{
    Deaths, Kill, KillReport, LeakCheck, Pair, Scenario, Survivor, Victim, kill_at_every_instruction, kill_pairs,
    runner,
};

const LIMIT: Duration = Duration::from_secs(30);
const BIG: usize = 64 << 10;

/// What the toys work on; all zero at first.
#[repr(C)]
struct Words {
    a: AtomicU32,
    b: AtomicU32,
    big: [u8; BIG],
}

/// Memory shared with forked processes.
struct Shared {
    words: ptr::NonNull<Words>,
}

impl Shared {
    fn new() -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping somewhere.
        let memory = unsafe { libc::mmap(ptr::null_mut(), size_of::<Words>(), protection, flags, -1, 0) };
        assert!(memory != libc::MAP_FAILED);
        Self { words: ptr::NonNull::new(memory.cast()).unwrap() }
    }

    fn a(&self) -> &AtomicU32 {
        // SAFETY: mapped until drop, and only used as an atomic.
        unsafe { &(*self.words.as_ptr()).a }
    }

    fn b(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { &(*self.words.as_ptr()).b }
    }

    fn words(&self) -> (u32, u32) {
        (self.a().load(Ordering::Relaxed), self.b().load(Ordering::Relaxed))
    }

    fn big(&self) -> *mut u8 {
        self.words.as_ptr().cast::<u8>().wrapping_add(offset_of!(Words, big))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; nobody keeps a reference.
        unsafe { libc::munmap(self.words.as_ptr().cast(), size_of::<Words>()) };
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: `word` lives; a null time limit means none.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, ptr::null::<libc::timespec>()) };
}

/// Sleeps until the word is not 0.
fn wait(word: &AtomicU32) {
    while word.load(Ordering::Acquire) == 0 {
        futex(word, libc::FUTEX_WAIT, 0);
    }
}

fn set(word: &AtomicU32) {
    word.store(1, Ordering::Release);
    futex(word, libc::FUTEX_WAKE, 1);
}

fn a_then_b(shared: &Shared) {
    shared.a().store(1, Ordering::Release);
    shared.b().store(1, Ordering::Release);
}

/// Kills `victim` everywhere; `b` must never be set without `a`.
fn b_implies_a(name: &str, victim: &dyn Fn(&Shared)) -> KillReport {
    kill_at_every_instruction(Scenario {
        name,
        setup: &mut Shared::new,
        prepare: &|_| (),
        victim,
        wake: None,
        check: &mut |shared, kill| {
            let words = shared.words();
            assert!(words != (0, 1), "b without a");
            assert!(!kill.completed || words == (1, 1), "completed, but {words:?}");
            format!("{words:?}")
        },
    })
}

fn smoke() {
    let report = b_implies_a("a then b", &a_then_b);
    assert_eq!(report.points, report.outcomes.values().sum());
    assert!(report.steps > 0 && report.elapsed > Duration::ZERO);
}

fn exactly_the_prefix_states_are_seen() {
    let report = b_implies_a("prefixes", &a_then_b);
    let seen: Vec<&str> = report.outcomes.keys().map(String::as_str).collect();
    assert_eq!(seen, ["(0, 0)", "(1, 0)", "(1, 1)"]);
    // Nothing depends on time here, so every run is the same.
    let again = b_implies_a("prefixes again", &a_then_b);
    assert_eq!((again.points, again.steps, again.outcomes), (report.points, report.steps, report.outcomes));
}

fn a_wrong_order_is_found() {
    let wrong = |shared: &Shared| {
        shared.b().store(1, Ordering::Release);
        shared.a().store(1, Ordering::Release);
    };
    let found = catch_unwind(AssertUnwindSafe(|| b_implies_a("b then a", &wrong)));
    let message = *found.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("b then a: broken when killed after "), "{message}");
    assert!(message.ends_with(": b without a"), "{message}");
}

fn every_point_is_one_instruction_further() {
    let addresses = Cell::new(Vec::new());
    let report = kill_at_every_instruction(Scenario {
        name: "addresses",
        setup: &mut Shared::new,
        prepare: &|_| (),
        victim: &a_then_b,
        wake: None,
        check: &mut |_, kill: &Kill| {
            let mut all = addresses.take();
            all.push((kill.step, kill.address));
            addresses.set(all);
            String::from("killed")
        },
    });
    let mut all = addresses.take();
    all.sort_unstable();
    let steps: Vec<usize> = all.iter().map(|&(step, _)| step).collect();
    assert_eq!(steps, (0..report.points).collect::<Vec<_>>());
    assert!(all.windows(2).all(|pair| pair[0].1 != pair[1].1));
}

/// How many bytes of `big` are not 0.
fn copied(shared: &Shared) -> usize {
    // SAFETY: mapped, and whoever wrote there is dead.
    let bytes = unsafe { std::slice::from_raw_parts(shared.big(), BIG) };
    bytes.iter().filter(|&&byte| byte != 0).count()
}

/// Kills come in the order of their steps, the traced one (the end) first: what was done must never become less.
fn assert_never_less(done: usize, kill: &Kill, before: &mut usize) {
    assert!(kill.completed || done >= *before, "{done} after {before}");
    if !kill.completed {
        *before = done;
    }
}

fn a_big_copy_is_reduced() {
    let source = vec![7_u8; BIG];
    let mut before = 0;
    let report = kill_at_every_instruction(Scenario {
        name: "64 KiB memcpy",
        setup: &mut Shared::new,
        prepare: &|_| (),
        // SAFETY: the target has BIG bytes, and only this process writes there.
        victim: &|shared| unsafe { ptr::copy_nonoverlapping(source.as_ptr(), shared.big(), BIG) },
        wake: None,
        check: &mut |shared, kill| {
            let done = copied(&shared);
            assert!(!kill.completed || done == BIG);
            assert_never_less(done, kill, &mut before);
            match done {
                0 => "nothing",
                BIG => "all",
                _ => "a part",
            }
            .into()
        },
    });
    assert!(report.points < 2000, "{report}");
    assert!(report.count("all") >= 1 && report.count("nothing") >= 1 && report.count("a part") >= 8, "{report}");
}

fn a_plain_loop_is_reduced() {
    const ROUNDS: u32 = 1000;
    let mut before = 0;
    let report = kill_at_every_instruction(Scenario {
        name: "loop of 1000",
        setup: &mut Shared::new,
        prepare: &|_| (),
        victim: &|shared| {
            for i in 0..ROUNDS {
                shared.a().store(std::hint::black_box(i), Ordering::Relaxed);
            }
            shared.b().store(1, Ordering::Relaxed);
        },
        wake: None,
        check: &mut |shared, kill| {
            let (a, b) = shared.words();
            assert!(b == 0 || a == ROUNDS - 1);
            assert!(b == 1 || !kill.completed);
            assert_never_less(a as usize, kill, &mut before);
            if b == 1 { "over" } else { "within" }.into()
        },
    });
    assert_eq!(before, ROUNDS as usize - 1);
    assert!(report.points < 2000, "{report}");
    assert!(report.count("within") > 18 && report.count("over") > 1, "{report}");
}

fn a_sleeping_victim_is_killed_asleep_and_last() {
    let report = kill_at_every_instruction(Scenario {
        name: "futex wait",
        setup: &mut Shared::new,
        prepare: &|_| (),
        victim: &|shared| {
            shared.b().store(1, Ordering::Relaxed);
            wait(shared.a());
            shared.b().store(2, Ordering::Relaxed);
        },
        wake: None,
        check: &mut |shared, kill| {
            assert!(!kill.completed && shared.words().1 < 2);
            assert!(!kill.asleep || shared.words().1 == 1);
            if kill.asleep { "asleep" } else { "awake" }.into()
        },
    });
    assert_eq!(report.count("asleep"), 1);
    assert_eq!(report.count("awake"), report.points - 1);
}

fn a_woken_victim_is_killed_on_its_further_way() {
    let report = kill_at_every_instruction(Scenario {
        name: "futex wait, woken",
        setup: &mut Shared::new,
        prepare: &|_| (),
        victim: &|shared| {
            wait(shared.a());
            shared.b().store(2, Ordering::Relaxed);
        },
        wake: Some(&|shared| {
            set(shared.a());
            true
        }),
        check: &mut |shared, kill| {
            assert!(!kill.completed || shared.words() == (1, 2));
            if kill.asleep { "asleep".into() } else { format!("{:?}", shared.words()) }
        },
    });
    let seen: Vec<&str> = report.outcomes.keys().map(String::as_str).collect();
    assert_eq!(seen, ["(0, 0)", "(1, 0)", "(1, 2)", "asleep"]);
    assert_eq!(report.count("asleep"), 1);
}

fn survivors_go_on_after_each_kill() {
    // The victim owes the survivor a wake-up; when it dies before, the check wakes in its place.
    let report = kill_at_every_instruction(Scenario {
        name: "set with a sleeping survivor",
        setup: &mut || {
            let shared = Shared::new();
            let survivor = Survivor::fork(|control| {
                control.say(b'r');
                wait(shared.a());
            });
            assert_eq!(survivor.hear(LIMIT), b'r');
            survivor.wait_until_asleep(LIMIT);
            (shared, survivor)
        },
        prepare: &|_| (),
        victim: &|(shared, _)| set(shared.a()),
        wake: None,
        check: &mut |(shared, survivor), kill| {
            let stored = shared.words().0 == 1;
            assert!(stored || survivor.is_asleep());
            if !kill.completed {
                set(shared.a());
            }
            assert_eq!(survivor.finish(LIMIT), 0);
            if stored { "set" } else { "not set" }.into()
        },
    });
    assert!(report.count("set") > 1 && report.count("not set") > 1, "{report}");
}

fn signals_reach_the_victim() {
    extern "C" fn handler(_: libc::c_int) {
        HANDLED.store(1, Ordering::Relaxed);
    }
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    let report = kill_at_every_instruction(Scenario {
        name: "signal",
        setup: &mut Shared::new,
        prepare: &|_| {
            // SAFETY: the handler only stores.
            unsafe { libc::signal(libc::SIGUSR1, (handler as extern "C" fn(libc::c_int)) as usize) };
        },
        victim: &|shared| {
            // SAFETY: no pointers.
            unsafe { libc::raise(libc::SIGUSR1) };
            shared.a().store(HANDLED.load(Ordering::Relaxed), Ordering::Relaxed);
            shared.b().store(1, Ordering::Relaxed);
        },
        wake: None,
        check: &mut |shared, kill| {
            assert!(shared.words() != (0, 1) && (!kill.completed || shared.words() == (1, 1)));
            format!("{:?}", shared.words())
        },
    });
    assert_eq!(report.count("(1, 1)") + report.count("(1, 0)") + report.count("(0, 0)"), report.points);
}

fn the_clock_of_the_vdso_does_no_harm() {
    let report = kill_at_every_instruction(Scenario {
        name: "clock",
        setup: &mut Shared::new,
        prepare: &|_| (),
        victim: &|shared| {
            let now = std::time::Instant::now();
            shared.a().store(1 + now.elapsed().subsec_nanos() % 2, Ordering::Relaxed);
        },
        wake: None,
        check: &mut |shared, kill| {
            assert!(!kill.completed || shared.words().0 != 0);
            String::from("fine")
        },
    });
    // How many ended early depends on time.
    assert!(report.count("fine") > 0, "{report}");
    assert_eq!(report.count("fine") + report.count(ENDED_EARLY), report.points);
}

/// Each victim counts up a word of its own, then sleeps if the other has not begun: every pair of what they leave is seen.
fn every_pair_is_seen() {
    for deaths in [Deaths::Together, Deaths::InTurn, Deaths::OneProcess] {
        let report = kill_pairs(Pair {
            name: "two that count",
            deaths,
            setup: &mut || Lent(Shared::new()),
            victims: [
                Victim { prepare: &|_| (), op: &|Lent(shared)| set(shared.a()), every: 1 },
                Victim { prepare: &|_| (), op: &|Lent(shared)| wait(shared.a()), every: 1 },
            ],
            between: &|Lent(shared)| assert!(shared.a().load(Ordering::Relaxed) <= 1),
            check: &mut |Lent(shared), [first, second]| {
                let is_set = shared.a().load(Ordering::Relaxed) == 1;
                assert!(is_set || !first.completed && !second.completed, "{deaths:?}: {first}, {second}");
                assert!(!(is_set && second.asleep), "nobody falls asleep beside a word that is set");
                format!("{is_set} {} {}", second.completed, second.asleep)
            },
        });
        let seen: Vec<&str> = report.outcomes.keys().map(String::as_str).collect();
        assert_eq!(seen, ["false false false", "false false true", "true false false", "true true false"], "{report}");
    }
}

/// Words that two threads of a victim may use at once.
struct Lent(Shared);

// SAFETY: they are used as atomics only.
unsafe impl Sync for Lent {}

fn a_panicking_victim_is_a_failure() {
    let found = catch_unwind(|| b_implies_a("panics", &|_| panic!("on purpose")));
    let message = *found.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(message, "panics: the victim ended by itself with exit code 101");
    let found = catch_unwind(|| {
        kill_at_every_instruction(Scenario {
            name: "panics in prepare",
            setup: &mut || (),
            prepare: &|()| panic!("on purpose"),
            victim: &|()| (),
            wake: None,
            check: &mut |(), _| String::new(),
        })
    });
    let message = *found.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(message, "panics in prepare: the victim ended in prepare with exit code 101");
}

fn a_survivor_that_panics_exits_with_101() {
    assert_eq!(Survivor::fork(|_| panic!("on purpose")).finish(LIMIT), 101);
    let killed = Survivor::fork(|_| {
        // SAFETY: no pointers.
        unsafe { libc::raise(libc::SIGKILL) };
    });
    assert_eq!(killed.finish(LIMIT), -libc::SIGKILL);
}

fn destructors_of_the_parent_do_not_run_in_children() {
    struct Tell<'a>(&'a Shared);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.a().fetch_add(1, Ordering::Relaxed);
        }
    }
    let shared = Shared::new();
    let tell = Tell(&shared);
    assert_eq!(Survivor::fork(|_| ()).finish(LIMIT), 0);
    assert_eq!(Survivor::fork(|_| panic!("on purpose")).finish(LIMIT), 101);
    assert_eq!(shared.words().0, 0);
    drop(tell);
    assert_eq!(shared.words().0, 1);
}

fn a_dropped_survivor_is_killed_and_reaped() {
    let check = LeakCheck::start();
    let survivor = Survivor::fork(|control| assert_eq!(control.hear(), 0));
    let pid = survivor.pid();
    drop(survivor);
    // SAFETY: no pointers; signal 0 only asks.
    assert_eq!(unsafe { libc::kill(pid, 0) }, -1);
    check.finish().unwrap();
}

fn leaks_are_found() {
    let check = LeakCheck::start();
    let survivor = Survivor::fork(|control| assert_eq!(control.hear(), 0));
    let name = format!("/dev/shm/polyproc-testing-{}", std::process::id());
    std::fs::write(&name, "x").unwrap();
    let leaks = check.finish().unwrap_err();
    std::fs::remove_file(&name).unwrap();
    assert_eq!(leaks.children.len(), 1, "{leaks}");
    assert_eq!(leaks.files.len(), 1, "{leaks}");
    assert!(leaks.shm.iter().any(|entry| name.ends_with(entry.as_str())), "{leaks}");
    assert!(leaks.children[0].contains(&survivor.pid().to_string()), "{leaks}");
}

fn nothing_is_left_by_all_this() {
    let check = LeakCheck::start();
    survivors_go_on_after_each_kill();
    a_sleeping_victim_is_killed_asleep_and_last();
    check.finish().unwrap();
}

fn reports_are_one_line() {
    let report = KillReport {
        name: "toy".into(),
        points: 3,
        steps: 3,
        elapsed: Duration::from_millis(1234),
        outcomes: BTreeMap::new(),
    };
    assert_eq!(report.to_string(), "toy: 3 points, 3 steps, 1.23 s {}");
}

/// Child of tests/death.rs.
fn hangs_under_the_alarm() {
    let survivor = Survivor::fork(|control| assert_eq!(control.hear(), 0));
    polyproc_testing::watchdog_single_threaded("hanging toy", Duration::from_millis(100), || {
        std::thread::sleep(LIMIT);
    });
    drop(survivor);
}

/// Child of tests/death.rs.
fn fails() {
    panic!("on purpose");
}

fn main() -> ExitCode {
    let tests: &[runner::Test<'_>] = &[
        ("smoke", smoke),
        ("exactly_the_prefix_states_are_seen", exactly_the_prefix_states_are_seen),
        ("a_wrong_order_is_found", a_wrong_order_is_found),
        ("every_point_is_one_instruction_further", every_point_is_one_instruction_further),
        ("a_big_copy_is_reduced", a_big_copy_is_reduced),
        ("a_plain_loop_is_reduced", a_plain_loop_is_reduced),
        ("a_sleeping_victim_is_killed_asleep_and_last", a_sleeping_victim_is_killed_asleep_and_last),
        ("a_woken_victim_is_killed_on_its_further_way", a_woken_victim_is_killed_on_its_further_way),
        ("survivors_go_on_after_each_kill", survivors_go_on_after_each_kill),
        ("signals_reach_the_victim", signals_reach_the_victim),
        ("the_clock_of_the_vdso_does_no_harm", the_clock_of_the_vdso_does_no_harm),
        ("every_pair_is_seen", every_pair_is_seen),
        ("a_panicking_victim_is_a_failure", a_panicking_victim_is_a_failure),
        ("a_survivor_that_panics_exits_with_101", a_survivor_that_panics_exits_with_101),
        ("destructors_of_the_parent_do_not_run_in_children", destructors_of_the_parent_do_not_run_in_children),
        ("a_dropped_survivor_is_killed_and_reaped", a_dropped_survivor_is_killed_and_reaped),
        ("leaks_are_found", leaks_are_found),
        ("nothing_is_left_by_all_this", nothing_is_left_by_all_this),
        ("reports_are_one_line", reports_are_one_line),
    ];
    runner::main_with_ignored(tests, &[("hangs_under_the_alarm", hangs_under_the_alarm), ("fails", fails)])
}
