//! The holes that were found on paper (rows 1, 2, 3, 6 and 7 of the list), each as a test, and what other users of the
//! robust list, forks, threads and signals do to a lock.
//!
//! Row 5, a process killed at every instruction while it makes, takes and drops handles, is in polyproc-shm's tests/kill.rs:
//! `an_object_is_shared`, `a_handle_is_taken_and_dropped`, `a_message_is_put`, `the_last_hold_is_dropped`.
//!
//! The tick is a minute unless a test says otherwise, so that what only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(tests::NO_TICK);
    polyproc_testing::runner::main_with_ignored(
        &[
            ("all_locks_are_marked_after_another_segment_was_unmapped", tests::all_locks_are_marked),
            ("a_sleeper_gets_the_lock_of_two_threads_that_die_at_once", tests::two_threads_die_at_once),
            ("a_sleeper_gets_the_lock_when_unlocker_and_next_holder_die", tests::the_unlocker_and_the_next_holder_die),
            ("the_next_is_told_again_when_the_recoverer_dies", tests::the_recoverer_dies),
            ("later_sleepers_on_a_lock_need_no_barrier", tests::barriers_of_a_lock),
            ("later_sleepers_at_a_gate_need_no_barrier", tests::barriers_of_a_gate),
            ("an_old_claim_is_dead_although_its_slot_has_a_new_user", tests::an_old_claim_is_dead),
            ("a_dead_producers_claim_is_skipped_although_its_slot_has_a_new_user", tests::a_dead_claim_is_skipped),
            ("glibc_around_a_lock_of_ours", tests::glibc_around_a_lock_of_ours),
            ("glibc_inside_a_lock_of_ours", tests::glibc_inside_a_lock_of_ours),
            ("a_guard_in_a_forked_child_does_nothing", tests::a_guard_in_a_forked_child_does_nothing),
            ("a_thread_that_ends_leaves_its_locks_recovered", tests::a_thread_ends),
            ("a_holder_that_runs_another_program_leaves_its_lock_recovered", tests::a_holder_execs),
            ("a_count_that_only_the_dead_hold_is_thrown_away", tests::a_count_of_the_dead),
            ("a_stopped_holder_is_not_robbed", tests::a_stopped_holder_is_not_robbed),
            // Last: the sweeps of the others would have all of its slabs to look through.
            ("bytes_of_a_lock_only_become_a_lock", tests::bytes_of_a_lock_only_become_a_lock),
            ("glibc_around_locks_given_up_out_of_order", tests::glibc_around_locks_given_up_out_of_order),
        ],
        &[("bystander", tests::bystander)],
    )
}

#[cfg(not(polyproc_loom))]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

    use polyproc_queue::Queue;
    use polyproc_shm::{Block, Family, Kind, Participant};
    use polyproc_sync::raw::gate::Side;
    use polyproc_sync::raw::{RawGate, RawLock};
    use polyproc_sync::{Lock, LockError};
    use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
    use polyproc_sys::deadline::now_ns;
    use polyproc_sys::fork::kill_child;
    use polyproc_sys::futex::set_tick;
    use polyproc_sys::memory::{MemFd, Reservation};
    use polyproc_sys::{Deadline, robust};
    use polyproc_testing::{Kill, Scenario, Survivor, kill_at_every_instruction, runner, watchdog_single_threaded};
    use std::cell::Cell;
    use std::mem::{ManuallyDrop, forget};
    use std::time::{Duration, Instant};

    pub(super) const NO_TICK: Duration = Duration::from_secs(60);
    const SHORT_TICK: Duration = Duration::from_millis(20);
    const TINY_TICK: Duration = Duration::from_millis(2);
    const LIMIT: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_secs(1200); // for a machine with much else to do
    const GO: u8 = 1;
    const FREE: u8 = 2;
    const RECOVERED: u8 = 3;
    const KILLED: i32 = -9;

    /// A foreign thing of C, for which the tests of this crate have no other door.
    mod c {
        /// `pthread_mutex_t` has 40 or 48 bytes.
        #[repr(C, align(16))]
        pub(super) struct Mutex(pub(super) [u64; 8]);
        /// `pthread_mutexattr_t` has 4 or 8 bytes.
        #[repr(C, align(16))]
        pub(super) struct Attributes(pub(super) [u64; 2]);
        #[repr(C)]
        pub(super) struct Timespec(pub(super) i64, pub(super) i64);
        #[repr(C)]
        pub(super) struct Filter(pub(super) u16, pub(super) u8, pub(super) u8, pub(super) u32);
        #[repr(C)]
        pub(super) struct Program(pub(super) u16, pub(super) *const Filter);

        pub(super) const SIGCONT: i32 = 18;
        pub(super) const SIGSTOP: i32 = 19;
        pub(super) const SIGSYS: i32 = 31;
        pub(super) const EOWNERDEAD: i32 = 130;

        unsafe extern "C" {
            pub(super) fn kill(pid: i32, signal: i32) -> i32;
            pub(super) fn prctl(option: i32, a: usize, b: usize, c: usize, d: usize) -> i32;
            pub(super) fn sched_setaffinity(pid: i32, size: usize, set: *const u64) -> i32;
            pub(super) fn pthread_mutexattr_init(a: *mut Attributes) -> i32;
            pub(super) fn pthread_mutexattr_setpshared(a: *mut Attributes, shared: i32) -> i32;
            pub(super) fn pthread_mutexattr_setrobust(a: *mut Attributes, robust: i32) -> i32;
            pub(super) fn pthread_mutex_init(m: *mut Mutex, a: *const Attributes) -> i32;
            pub(super) fn pthread_mutex_lock(m: *mut Mutex) -> i32;
            pub(super) fn pthread_mutex_timedlock(m: *mut Mutex, at: *const Timespec) -> i32;
            pub(super) fn pthread_mutex_consistent(m: *mut Mutex) -> i32;
            pub(super) fn pthread_mutex_unlock(m: *mut Mutex) -> i32;
        }
    }

    fn family() -> &'static Family {
        Family::get().unwrap()
    }

    /// A page of words that forked processes share.
    struct Words(Block);

    impl Words {
        fn new() -> Self {
            let block = family().alloc(4096, Kind::Data).unwrap();
            // SAFETY: the block is ours and has 4096 bytes.
            unsafe { block.as_ptr().write_bytes(0, 4096) };
            Self(block)
        }

        fn word(&self, i: usize) -> &AtomicU64 {
            assert!(i < 512);
            // SAFETY: inside the block, aligned, mapped for ever; any bits are an atomic.
            unsafe { &*self.0.as_ptr().cast::<AtomicU64>().wrapping_add(i) }
        }

        fn get(&self, i: usize) -> u64 {
            self.word(i).load(SeqCst)
        }

        fn set(&self, i: usize, value: u64) {
            self.word(i).store(value, SeqCst);
        }
    }

    /// The lock must be free for everybody, now; whether its last holder died.
    fn recovered(lock: &Lock) -> bool {
        lock.lock_timeout(LIMIT).expect("nobody living holds the lock").recovered()
    }

    /// A process that says how it got the lock, each time that it is told to take it; 0 ends it.
    fn locker(lock: &Lock) -> Survivor {
        let lock = lock.clone();
        Survivor::fork(move |control| {
            while control.hear() == GO {
                let guard = lock.lock();
                let how = if guard.recovered() { RECOVERED } else { FREE };
                drop(guard);
                control.say(how);
            }
        })
    }

    fn put_to_sleep(sleeper: &Survivor) {
        sleeper.say(GO);
        sleeper.wait_until_asleep(LIMIT);
    }

    fn finish(survivor: Survivor) {
        survivor.say(0);
        assert_eq!(survivor.finish(LIMIT), 0);
    }

    fn kill(survivor: Survivor) {
        kill_child(survivor.pid().unsigned_abs());
        assert_eq!(survivor.finish(LIMIT), KILLED);
    }

    fn warm(lock: &Lock) {
        for _ in 0..2 {
            drop(lock.lock());
        }
    }

    /// Row 1: the kernel's walk along the list must not meet a node whose memory is gone.
    pub(super) fn all_locks_are_marked() {
        let locks = [(); 3].map(|()| Lock::new().unwrap());
        let words = Words::new();
        let mut sleeper = Some(locker(&locks[2]));
        let victim = Survivor::fork(|control| {
            let me = family().participant().unwrap();
            words.set(0, u64::from(me.to_word()));
            let file = MemFd::create("hazards").unwrap();
            file.back(0, 4096).unwrap();
            let segment = Reservation::map(&file, 1 << 30).unwrap();
            let other = segment.base().cast::<RawLock>();
            // Once as the only one, once linked into the list, given up while another lock is held.
            for nested in [false, true] {
                // SAFETY: the segment has 4096 zeroed bytes, a free lock, and stays mapped until both are given up.
                unsafe { RawLock::lock(other, Deadline::NEVER) }.unwrap();
                let inner = nested.then(|| locks[0].lock());
                // SAFETY: this thread holds it.
                unsafe { RawLock::unlock(other, false) };
                drop(inner);
            }
            drop(segment); // unmapped
            locks.iter().for_each(|lock| forget(lock.lock()));
            control.say(GO);
            let _ = control.hear();
        });
        assert_eq!(victim.hear(LIMIT), GO);
        let participant = Participant::from_word(words.get(0) as u32);
        assert!(family().is_alive(participant));
        assert!(locks.iter().all(|lock| lock.try_lock().is_none()));
        put_to_sleep(sleeper.as_ref().unwrap());
        kill(victim);
        assert!(!family().is_alive(participant), "the life word is marked");
        assert!(recovered(&locks[0]) && recovered(&locks[1]), "what is in the list is marked");
        let sleeper = sleeper.take().unwrap();
        assert_eq!(sleeper.hear(LIMIT), RECOVERED, "what is pending is marked, and the sleeper woken");
        finish(sleeper);
        family().reap();
    }

    /// Row 2: a thread that unlocks and one that takes the lock at the same moment die by one SIGKILL.
    ///
    /// What lies between the two is left to the tick, as raw/lock.rs says: hence the tick of 100 ms here, and the count.
    pub(super) fn two_threads_die_at_once() {
        const ROUNDS: u32 = 400;
        const SLOW: Duration = Duration::from_millis(50);
        set_tick(Duration::from_millis(100));
        let lock = Lock::new().unwrap();
        let words = Words::new();
        let sleeper = {
            let lock = lock.clone();
            let words = &words;
            Survivor::fork(move |control| {
                while control.hear() == GO {
                    let mut recovered = false;
                    let round = words.get(0);
                    while words.get(1) < round {
                        recovered |= lock.lock().recovered(); // sleeps most of the time, behind the two threads
                    }
                    recovered |= lock.lock().recovered();
                    control.say(if recovered { RECOVERED } else { FREE });
                }
            })
        };
        let (mut slow, mut died, mut longest) = (0, 0, Duration::ZERO);
        for round in 1..=ROUNDS {
            words.set(0, u64::from(round));
            words.set(2, 0);
            let victim = {
                let (lock, words) = (lock.clone(), &words);
                Survivor::fork(move |control| {
                    std::thread::scope(|scope| {
                        for _ in 0..2 {
                            scope.spawn(|| {
                                loop {
                                    let guard = lock.lock();
                                    let n = words.word(2).fetch_add(1, SeqCst);
                                    // Held for a while, so that the sleeper sleeps and the other thread is about to take it.
                                    (0..n * 7 % 100).for_each(|_| core::hint::spin_loop());
                                    drop(guard);
                                }
                            });
                        }
                        let _ = control.hear();
                    });
                })
            };
            sleeper.say(GO);
            let start = Instant::now();
            while words.get(2) < 20 {
                assert!(start.elapsed() < LIMIT, "the threads get the lock");
                std::thread::yield_now();
            }
            // Somewhere in the next 300 µs; asleep, since the threads need the CPUs.
            std::thread::sleep(Duration::from_nanos(now_ns() % 300_000));
            kill_child(victim.pid().unsigned_abs());
            let killed = Instant::now();
            words.set(1, u64::from(round)); // the sleeper gets it once more, and says so
            let how = sleeper.hear(LIMIT);
            let took = killed.elapsed();
            assert_eq!(victim.finish(LIMIT), KILLED);
            slow += u32::from(took > SLOW);
            died += u32::from(how == RECOVERED);
            longest = longest.max(took);
            assert!(lock.lock_timeout(LIMIT).is_ok());
            family().reap();
        }
        finish(sleeper);
        set_tick(NO_TICK);
        runner::report(&format!(
            "{ROUNDS} rounds, {died} told of a death, {slow} needed more than {SLOW:?}, longest {longest:.1?}"
        ));
        family().reap();
    }

    /// Row 2, step by step: the unlocker is killed at every instruction, and somebody who looks for nothing but his moment
    /// takes the lock before that death if he can, and dies next. Between his taking and his death lies a message, so
    /// that what is left to the tick, his few instructions after the taking, is over.
    pub(super) fn the_unlocker_and_the_next_holder_die() {
        watchdog_single_threaded("the_unlocker_and_the_next_holder_die", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "unlock, somebody sleeps, somebody slips in and dies",
                setup: &mut || {
                    let (lock, words) = (Lock::new().unwrap(), Words::new());
                    let sleeper = Survivor::fork(|control| {
                        assert_eq!(control.hear(), GO);
                        let guard = lock.lock();
                        words.set(0, 1);
                        control.say(if guard.recovered() { RECOVERED } else { FREE });
                    });
                    let taker = Survivor::fork(|control| {
                        assert_eq!(control.hear(), GO);
                        loop {
                            if let Some(guard) = lock.try_lock() {
                                forget(guard);
                                control.say(GO);
                                let _ = control.hear();
                            }
                        }
                    });
                    (lock, sleeper, taker, words)
                },
                prepare: &|(lock, sleeper, taker, _)| {
                    warm(lock);
                    forget(lock.lock());
                    put_to_sleep(sleeper);
                    taker.say(GO);
                },
                // SAFETY: `prepare` took the lock on this thread and forgot the guard.
                victim: &|(lock, ..)| drop(unsafe { polyproc_sync::lock::guard_of_held(lock) }),
                wake: None,
                check: &mut |(lock, sleeper, taker, words), _| {
                    assert_eq!(taker.hear(LIMIT), GO);
                    let slipped_in = words.get(0) == 0;
                    kill(taker);
                    let how = sleeper.hear(LIMIT);
                    assert_eq!(sleeper.finish(LIMIT), 0);
                    assert!(how == RECOVERED || !slipped_in, "the sleeper is told");
                    assert_eq!(recovered(&lock), !slipped_in);
                    family().reap();
                    if slipped_in { "slipped in" } else { "too late" }.to_owned()
                },
            });
            assert!(report.count("slipped in") > 0);
        });
    }

    /// Row 2, the other role: the holder dies, the one that is told of it dies at every instruction of its recovery.
    pub(super) fn the_recoverer_dies() {
        watchdog_single_threaded("the_recoverer_dies", LONG, || {
            let report = kill_at_every_instruction(Scenario {
                name: "recover, before a sleeper",
                setup: &mut || {
                    let lock = Lock::new().unwrap();
                    let holder = {
                        let lock = lock.clone();
                        Survivor::fork(move |control| {
                            forget(lock.lock());
                            control.say(GO);
                            let _ = control.hear();
                        })
                    };
                    assert_eq!(holder.hear(LIMIT), GO);
                    let sleeper = locker(&lock);
                    (lock, holder, sleeper, Words::new(), Cell::new(false))
                },
                prepare: &|_| warm(&Lock::new().unwrap()),
                victim: &|(lock, _, _, words, _)| {
                    let guard = lock.lock();
                    assert!(guard.recovered());
                    words.set(0, 1); // from here on the next one need not be told
                    drop(guard);
                },
                wake: Some(&|(_, holder, sleeper, _, died)| {
                    if !died.replace(true) {
                        put_to_sleep(sleeper);
                        kill_child(holder.pid().unsigned_abs());
                    }
                    true
                }),
                check: &mut |(lock, holder, sleeper, words, died), kill| {
                    if !died.get() {
                        sleeper.say(GO); // the victim never slept
                        kill_child(holder.pid().unsigned_abs());
                    }
                    assert_eq!(holder.finish(LIMIT), KILLED);
                    let how = sleeper.hear(LIMIT);
                    finish(sleeper);
                    let repaired = words.get(0) == 1;
                    assert!(how == RECOVERED || repaired, "the next one is not told of two deaths");
                    assert!(how == FREE || !kill.completed, "told of a death that was repaired");
                    assert!(!recovered(&lock), "told twice");
                    family().reap();
                    match (repaired, how) {
                        (false, _) => "told again",
                        (true, RECOVERED) => "told although repaired",
                        _ => "repaired",
                    }
                    .to_owned()
                },
            });
            assert!(report.points > 50 && report.count("told again") > 0 && report.count("repaired") > 0);
            family().reap();
        });
    }

    /// Ends the calling process by SIGSYS if it asks for a barrier from now on.
    fn forbid_barriers() {
        #[cfg(target_arch = "x86_64")]
        const MEMBARRIER: u32 = 324;
        #[cfg(target_arch = "aarch64")]
        const MEMBARRIER: u32 = 283;
        let filter = [
            c::Filter(0x20, 0, 0, 0),           // load the number of the call
            c::Filter(0x15, 0, 1, MEMBARRIER),  // equal?
            c::Filter(0x06, 0, 0, 0x8000_0000), // kill the process
            c::Filter(0x06, 0, 0, 0x7fff_0000), // allow
        ];
        let program = c::Program(4, filter.as_ptr());
        // SAFETY: PR_SET_NO_NEW_PRIVS takes numbers.
        assert_eq!(unsafe { c::prctl(38, 1, 0, 0, 0) }, 0);
        // SAFETY: PR_SET_SECCOMP with a filter takes a program, which the kernel copies.
        assert_eq!(unsafe { c::prctl(22, 2, (&raw const program).expose_provenance(), 0, 0) }, 0);
    }

    /// How a process fares that sleeps once: `true` if it did so without a barrier, `false` if it died of asking for one.
    fn sleeps_without_barrier(sleep: impl FnOnce(), wake: impl FnOnce(&Survivor)) -> bool {
        let sleeper = Survivor::fork(|control| {
            forbid_barriers();
            assert_eq!(control.hear(), GO);
            sleep();
        });
        sleeper.say(GO);
        let start = Instant::now();
        let zombie = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "));
        while !sleeper.is_asleep() && !zombie(sleeper.pid()) {
            assert!(start.elapsed() < LIMIT, "it neither sleeps nor ends");
            std::thread::yield_now();
        }
        wake(&sleeper);
        match sleeper.finish(LIMIT) {
            0 => true,
            code => {
                assert_eq!(code, -c::SIGSYS);
                false
            }
        }
    }

    /// Row 3: the first sleeper asks for a barrier, later ones do not, until nobody has slept for a while.
    ///
    /// A short tick: the sleeper that dies here stays in the count until his sleep would have ended.
    pub(super) fn barriers_of_a_lock() {
        set_tick(SHORT_TICK);
        let lock = Lock::new().unwrap();
        let without = || {
            let guard = lock.lock();
            sleeps_without_barrier(|| drop(lock.lock()), |_| drop(guard))
        };
        let sleep_once = || {
            let guard = lock.lock();
            let sleeper = locker(&lock);
            put_to_sleep(&sleeper);
            drop(guard);
            assert_eq!(sleeper.hear(LIMIT), FREE);
            finish(sleeper);
        };
        for _ in 0..2 {
            assert!(!without(), "the first sleeper asks for a barrier");
            sleep_once();
            for _ in 0..10 {
                assert!(without(), "the unlockers fence: a later sleeper needs no barrier");
            }
            // Idle: what the dead one left is thrown away, then the fence is given up.
            let since = Instant::now();
            while since.elapsed() < 3 * SHORT_TICK {
                drop(lock.lock());
            }
            for _ in 0..200 {
                drop(lock.lock());
            }
        }
        set_tick(NO_TICK);
    }

    pub(super) fn barriers_of_a_gate() {
        let block = family().alloc(64, Kind::Event).unwrap();
        // SAFETY: 64 zeroed bytes, aligned, mapped for ever: a gate at which nobody sleeps.
        let gate = unsafe { &*block.as_ptr().cast::<RawGate>() };
        let words = Words::new();
        let sleep = || {
            let _owes = gate.announce();
            let take = || words.word(0).compare_exchange(1, 0, SeqCst, SeqCst).is_ok();
            assert!(gate.wait(Side::Takers, Deadline::NEVER, take, || ()));
        };
        let post = || {
            words.set(0, 1);
            let _owes = gate.announce();
            gate.ring(Side::Takers);
        };
        let without = || {
            let slept = sleeps_without_barrier(sleep, |_| post());
            words.set(0, 0);
            slept
        };
        for _ in 0..2 {
            assert!(!without(), "the first sleeper asks for a barrier");
            let sleeper = Survivor::fork(|_| sleep());
            sleeper.wait_until_asleep(LIMIT);
            post();
            assert_eq!(sleeper.finish(LIMIT), 0);
            for _ in 0..10 {
                assert!(without(), "the posters fence: a later sleeper needs no barrier");
            }
            for _ in 0..200 {
                let _owes = gate.announce();
                gate.ring(Side::Takers); // idle: the fence is given up
                gate.ring(Side::Givers); // whom a woken taker marks too
            }
        }
    }

    /// Row 3, the price for others; `cargo test -p polyproc-sync --test hazards -- --ignored bystander --nocapture`.
    ///
    /// A registered process counts on one CPU, 64 processes contend for a lock on another, and pause, in turns. More than
    /// 1 % is too much. On a machine that has other things to do the count by time on the CPU says more than that by the
    /// clock; it has the interrupts in it unless the kernel accounts for them apart (CONFIG_IRQ_TIME_ACCOUNTING). The
    /// function call interrupts of the CPU, barriers among them, are told as well.
    pub(super) fn bystander() {
        const WORKERS: usize = 64;
        const WINDOWS: usize = 20;
        const WINDOW: Duration = Duration::from_millis(250);
        let pin = |cpu: u32| {
            let set = 1_u64 << cpu;
            // SAFETY: one word of this frame; 0 is the calling thread.
            assert_eq!(unsafe { c::sched_setaffinity(0, 8, &raw const set) }, 0, "needs two CPUs");
        };
        let (lock, words) = (Lock::new().unwrap(), Words::new());
        let worker = || {
            Survivor::fork(|_| {
                pin(1);
                loop {
                    while words.get(0) == 0 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    let guard = lock.lock();
                    words.word(1).fetch_add(1, SeqCst);
                    std::thread::yield_now(); // so that others come to sleep
                    drop(guard);
                }
            })
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| worker()).collect();
        let busy = Survivor::fork(|_| {
            pin(0);
            let _registered = robust::thread_id();
            for count in 1.. {
                if count % 1000 == 0 {
                    words.set(2, count);
                }
            }
        });
        let first = |path: &str, line: &str, field: usize| -> f64 {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|l| l.trim_start().starts_with(line)).unwrap_or_default();
            line.split_ascii_whitespace().nth(field).and_then(|n| n.parse().ok()).unwrap_or(0.0)
        };
        // By the clock in seconds, on the CPU in seconds, function call interrupts of CPU 0, counted.
        let look = || {
            let on_cpu = first(&format!("/proc/{}/schedstat", busy.pid()), "", 0) / 1e9;
            [now_ns() as f64 / 1e9, on_cpu, first("/proc/interrupts", "CAL:", 1), words.get(2) as f64]
        };
        let mut sums = [[0.0; 4]; 2];
        for window in 0..2 * WINDOWS {
            let on = window % 2;
            words.set(0, on as u64);
            std::thread::sleep(Duration::from_millis(20)); // a measurement, no synchronisation
            let before = look();
            std::thread::sleep(WINDOW);
            let after = look();
            (0..4).for_each(|i| sums[on][i] += after[i] - before[i]);
        }
        let [off, on] = sums;
        let slower = |by: usize| (1.0 - on[3] / on[by] * off[by] / off[3]) * 100.0;
        runner::report(&format!(
            "{WORKERS} processes take a lock {} times a second: a busy loop is slowed by {:.2} % by time on the CPU, {:.2} % \
             by the clock (bar: 1 %), function call interrupts a second {:.0}, without them {:.0}",
            words.get(1) / (WINDOWS as u64 * WINDOW.as_millis() as u64 / 1000),
            slower(1),
            slower(0),
            on[2] / on[0],
            off[2] / off[0],
        ));
        drop((busy, workers));
    }

    /// Row 6: a late write of the kernel to a lock that is gone must find a lock.
    pub(super) fn bytes_of_a_lock_only_become_a_lock() {
        const LOCKS: usize = 3000; // several slabs
        let range = |block: &Block| (block.offset(), block.offset() + block.capacity());
        let overlap = |block: &Block, old: &[(u64, u64)]| {
            let (from, to) = range(block);
            let i = old.partition_point(|r| r.1 <= from); // both ends ascend
            old.get(i).is_some_and(|r| r.0 < to)
        };
        let make = |len, kind| family().alloc(len, kind).unwrap();
        let locks: Vec<Block> = (0..LOCKS).map(|_| make(size_of::<RawLock>() as u64, Kind::Lock)).collect();
        let mut old: Vec<_> = locks.iter().map(range).collect();
        old.sort_unstable();
        drop(locks);
        for kind in (0..=u8::MAX).filter_map(Kind::from_u8).filter(|kind| *kind != Kind::Lock) {
            for len in [16, 64, 128, 1000, 4096, 32_640] {
                let count = (1 << 20) / (len + 64); // a MiB of each
                let blocks: Vec<Block> = (0..count).map(|_| make(len, kind)).collect();
                assert!(blocks.iter().all(|b| !overlap(b, &old)), "{kind:?} of {len} bytes in the bytes of a lock");
            }
        }
        let large: Vec<Block> = (0..200).map(|i| make(40_000 + i * 1000, Kind::Data)).collect();
        assert!(large.iter().all(|b| !overlap(b, &old)), "a run of spans in the bytes of a lock");
        let again: Vec<Block> = (0..LOCKS).map(|_| make(size_of::<RawLock>() as u64, Kind::Lock)).collect();
        assert!(again.iter().any(|b| overlap(b, &old)), "the memory of locks is used again");
    }

    /// Registers threads, one after the other, until one has the participant slot of `old`; it goes on until `until` says so.
    fn move_in(old: Participant, until: impl FnOnce(Participant)) {
        for _ in 0..3 * 4096 {
            let (to, from) = std::sync::mpsc::channel();
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                let me = family().participant().unwrap();
                to.send(me).unwrap();
                if me.slot == old.slot {
                    let _ = ended.recv();
                }
            });
            let new = from.recv().unwrap();
            if new.slot == old.slot {
                until(new);
                drop(end);
                return thread.join().unwrap();
            }
            thread.join().unwrap();
        }
        panic!("no thread came into the slot");
    }

    /// Row 7.
    pub(super) fn an_old_claim_is_dead() {
        let body = Survivor::fork(|_| {
            let old = std::thread::spawn(|| family().participant().unwrap()).join().unwrap();
            for _ in 0..2 {
                move_in(old, |new| {
                    assert_ne!(new.generation, old.generation);
                    assert!(family().is_alive(new) && !family().is_alive(old));
                });
            }
        });
        assert_eq!(body.finish(LONG), 0);
        family().reap();
    }

    /// Row 7, in a queue: the producer dies with a claim, and a living thread moves into its slot before anybody looks.
    pub(super) fn a_dead_claim_is_skipped() {
        watchdog_single_threaded("a_dead_claim_is_skipped", LONG, || {
            let mut claims = 0;
            let report = kill_at_every_instruction(Scenario {
                name: "put, and the slot of the dead is taken",
                setup: &mut || (Queue::<u64>::bounded(4).unwrap(), Words::new()),
                prepare: &|(_, words)| {
                    let other = Queue::<u64>::bounded(4).unwrap();
                    other.put(1).unwrap();
                    other.get().unwrap();
                    words.set(0, u64::from(family().participant().unwrap().to_word()));
                },
                victim: &|(q, _)| q.put(7).unwrap(),
                wake: None,
                check: &mut |(q, words), kill: &Kill| {
                    family().reap();
                    if q.is_empty() || kill.completed {
                        return "no claim".to_owned();
                    }
                    claims += 1;
                    // To move in takes 4096 threads. The claim that is written stands first in the traced run, so among the first
                    // few; one in sixteen of the others will do.
                    if claims > 3 && claims % 16 != 0 {
                        return "not tried".to_owned();
                    }
                    let old = Participant::from_word(words.get(0) as u32);
                    let tenant = Survivor::fork(|control| {
                        move_in(old, |_| {
                            control.say(GO);
                            let _ = control.hear();
                        });
                    });
                    assert_eq!(tenant.hear(LIMIT), GO);
                    q.put(8).unwrap();
                    let first = q.get_timeout(LIMIT).expect("the claim of the dead is skipped");
                    if first == 7 {
                        assert_eq!(q.get_timeout(LIMIT).unwrap(), 8);
                    }
                    finish(tenant);
                    if first == 8 { "skipped" } else { "delivered" }.to_owned()
                },
            });
            assert!(report.count("skipped") > 0);
            family().reap();
        });
    }

    /// A robust mutex of glibc's between processes.
    struct Foreign(Block);

    impl Foreign {
        fn new() -> Self {
            let this = Self(family().alloc(64, Kind::User).unwrap());
            let mut attributes = c::Attributes([0; 2]);
            // SAFETY: attributes of this frame, large enough.
            assert_eq!(unsafe { c::pthread_mutexattr_init(&raw mut attributes) }, 0);
            // SAFETY: initialised above; 1 is PTHREAD_PROCESS_SHARED.
            assert_eq!(unsafe { c::pthread_mutexattr_setpshared(&raw mut attributes, 1) }, 0);
            // SAFETY: as above; 1 is PTHREAD_MUTEX_ROBUST.
            assert_eq!(unsafe { c::pthread_mutexattr_setrobust(&raw mut attributes, 1) }, 0);
            // SAFETY: 64 bytes of our own, aligned, that stay mapped.
            assert_eq!(unsafe { c::pthread_mutex_init(this.raw(), &raw const attributes) }, 0);
            this
        }

        fn raw(&self) -> *mut c::Mutex {
            self.0.as_ptr().cast()
        }

        fn lock(&self) {
            // SAFETY: a mutex that was initialised in `new`.
            assert_eq!(unsafe { c::pthread_mutex_lock(self.raw()) }, 0);
        }

        fn unlock(&self) {
            // SAFETY: as above; this thread holds it.
            assert_eq!(unsafe { c::pthread_mutex_unlock(self.raw()) }, 0);
        }

        /// It must be free for everybody; whether its last holder died.
        fn recovered(&self) -> bool {
            let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + LIMIT;
            let soon = c::Timespec(soon.as_secs().cast_signed(), soon.subsec_nanos().into());
            // SAFETY: as in `lock`; a timespec of this frame.
            let how = unsafe { c::pthread_mutex_timedlock(self.raw(), &raw const soon) };
            assert!(how == 0 || how == c::EOWNERDEAD, "{how}");
            if how != 0 {
                // SAFETY: this thread holds it, and was told of a death.
                assert_eq!(unsafe { c::pthread_mutex_consistent(self.raw()) }, 0);
            }
            self.unlock();
            how != 0
        }
    }

    /// Kills a thread at every instruction of steps with two locks of ours (`A`, `B`) and one of glibc's (`G`); small
    /// letters give up. Both kinds must be free afterwards. Says how many were told of a death: ours, glibc's.
    fn with_glibc(steps: &str) -> (usize, usize) {
        let (mut ours, mut theirs) = (0, 0);
        kill_at_every_instruction(Scenario {
            name: steps,
            setup: &mut || (Lock::new().unwrap(), Lock::new().unwrap(), Foreign::new()),
            prepare: &|_| {
                warm(&Lock::new().unwrap());
                let foreign = Foreign::new();
                foreign.lock();
                foreign.unlock();
            },
            victim: &|(a, b, g)| {
                let mut guards = [None, None];
                for step in steps.bytes() {
                    match step {
                        b'A' => guards[0] = Some(a.lock()),
                        b'B' => guards[1] = Some(b.lock()),
                        b'a' => guards[0] = None,
                        b'b' => guards[1] = None,
                        b'G' => g.lock(),
                        _ => g.unlock(),
                    }
                }
            },
            wake: None,
            check: &mut |(a, b, g), _| {
                let died = [recovered(&a), recovered(&b), g.recovered()].map(usize::from);
                ours += died[0] + died[1];
                theirs += died[2];
                family().reap(); // the table of processes has an end
                format!("A {} B {} G {}", died[0], died[1], died[2])
            },
        });
        (ours, theirs)
    }

    /// glibc's mutex around our critical section: it is in the list, ours is pending, and neither knows of the other.
    pub(super) fn glibc_around_a_lock_of_ours() {
        watchdog_single_threaded("glibc_around_a_lock_of_ours", LONG, || {
            let (ours, theirs) = with_glibc("GAag");
            assert!(ours > 0 && theirs > 0, "somebody was killed while he held them");
        });
    }

    /// Two locks of ours inside of glibc's; the outer one is given up first.
    pub(super) fn glibc_around_locks_given_up_out_of_order() {
        watchdog_single_threaded("glibc_around_locks_given_up_out_of_order", LONG, || {
            let (ours, theirs) = with_glibc("GABabg");
            assert!(ours > 0 && theirs > 0, "somebody was killed while he held them");
        });
    }

    /// glibc's mutex inside our critical section, or given up there: whatever glibc does with it clears the pending slot,
    /// which named our lock. If the holder is killed then the kernel does not know of it, and the tick finds out: the one
    /// case that is left to it. Locks of ours that were linked into the list, by a second one, are exact all the same.
    pub(super) fn glibc_inside_a_lock_of_ours() {
        watchdog_single_threaded("glibc_inside_a_lock_of_ours", LONG, || {
            set_tick(TINY_TICK);
            for steps in ["AGga", "AGag", "GAga", "ABGgba"] {
                let (ours, theirs) = with_glibc(steps);
                assert!(ours > 0 && theirs > 0, "{steps}: somebody was killed while he held them");
            }
            set_tick(NO_TICK);
            // A is linked when B comes, then glibc clears the slot that names B, and then A is exact.
            let (a, b, g) = (Lock::new().unwrap(), Lock::new().unwrap(), Foreign::new());
            let victim = Survivor::fork(|control| {
                forget(a.lock());
                forget(b.lock());
                g.lock();
                control.say(GO);
                let _ = control.hear();
            });
            assert_eq!(victim.hear(LIMIT), GO);
            kill(victim);
            assert!(recovered(&a) && g.recovered());
            let left_to_the_tick = b.try_lock().is_none();
            set_tick(SHORT_TICK);
            assert!(recovered(&b));
            set_tick(NO_TICK);
            runner::report(&format!("the innermost lock around glibc's was left to the tick: {left_to_the_tick}"));
        });
    }

    pub(super) fn a_guard_in_a_forked_child_does_nothing() {
        let lock = Lock::new().unwrap();
        let mut guard = ManuallyDrop::new(lock.lock());
        let sleeper = locker(&lock);
        put_to_sleep(&sleeper);
        let held = format!("{lock:?}");
        let child = Survivor::fork(|control| {
            // SAFETY: dropped once in this process, whose copy it is.
            unsafe { ManuallyDrop::drop(&mut guard) };
            assert!(lock.try_lock().is_none(), "the parent holds it");
            let own = Lock::new().unwrap();
            forget(own.lock()); // named to the kernel where the parent's was
            control.say(GO);
            let _ = control.hear();
        });
        assert_eq!(child.hear(LIMIT), GO);
        assert_eq!(format!("{lock:?}"), held);
        kill(child);
        assert_eq!(format!("{lock:?}"), held, "the death of the child means nothing");
        assert_eq!(lock.lock_timeout(Duration::ZERO).unwrap_err(), LockError::Mine);
        assert!(sleeper.is_asleep());
        // SAFETY: dropped once in this process.
        unsafe { ManuallyDrop::drop(&mut guard) };
        assert_eq!(sleeper.hear(LIMIT), FREE);
        finish(sleeper);
        assert!(!recovered(&lock));
        family().reap();
    }

    pub(super) fn a_thread_ends() {
        let locks = [(); 3].map(|()| Lock::new().unwrap());
        let sleeper = locker(&locks[2]);
        let body = {
            let locks = locks.clone();
            Survivor::fork(move |control| {
                let (to, from) = std::sync::mpsc::channel();
                std::thread::scope(|scope| {
                    let (locks, control) = (&locks, &control);
                    scope.spawn(move || {
                        locks.iter().for_each(|lock| forget(lock.lock()));
                        to.send(()).unwrap();
                        assert_eq!(control.hear(), GO);
                    });
                    from.recv().unwrap();
                    assert!(locks.iter().all(|lock| lock.try_lock().is_none()));
                    control.say(GO);
                    // From here on they are waited for by a thread of the same process, too.
                    assert!(recovered(&locks[0]) && recovered(&locks[1]));
                });
            })
        };
        assert_eq!(body.hear(LIMIT), GO);
        put_to_sleep(&sleeper);
        body.say(GO);
        assert_eq!(sleeper.hear(LIMIT), RECOVERED);
        assert_eq!(body.finish(LIMIT), 0);
        finish(sleeper);
        assert!(locks.iter().all(|lock| !recovered(lock)));
        family().reap();
    }

    pub(super) fn a_holder_execs() {
        let lock = Lock::new().unwrap();
        let sleeper = locker(&lock);
        let holder = {
            let lock = lock.clone();
            Survivor::fork(move |control| {
                forget(lock.lock());
                control.say(GO);
                assert_eq!(control.hear(), GO);
                let error = std::os::unix::process::CommandExt::exec(std::process::Command::new("sleep").arg("1000"));
                panic!("exec: {error}");
            })
        };
        assert_eq!(holder.hear(LIMIT), GO);
        put_to_sleep(&sleeper);
        holder.say(GO);
        assert_eq!(sleeper.hear(LIMIT), RECOVERED);
        assert!(!holder.has_ended(), "the process goes on with another program");
        kill(holder);
        finish(sleeper);
        assert!(!recovered(&lock));
        family().reap();
    }

    /// The lease, between processes: a waiter that is killed asleep stays counted until its sleep would have ended.
    pub(super) fn a_count_of_the_dead() {
        set_tick(SHORT_TICK);
        let block = family().alloc(size_of::<RawLock>() as u64, Kind::Control).unwrap();
        let lock: *const RawLock = block.as_ptr().cast();
        // SAFETY: as many zeroed bytes as a lock has, which are a free lock, mapped for ever.
        let take = || unsafe { RawLock::lock(lock, Deadline::after(LIMIT)) }.expect("nobody living holds it");
        // SAFETY: held by this thread.
        let give_up = || unsafe { RawLock::unlock(lock, false) };
        let wait = || {
            // SAFETY: as above; all fields are atomics.
            let lock = unsafe { &*lock };
            let text = format!("{lock:?}");
            let digits: String =
                text.split("wait: ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().unwrap()
        };
        let counted = || wait() >> 1 & 0x7fff;
        let waiter = || {
            let waiter = Survivor::fork(|_| {
                take();
                give_up();
            });
            waiter.wait_until_asleep(LIMIT);
            waiter
        };
        take();
        kill(waiter());
        assert_eq!(counted(), 1, "only the waiter itself, or who has woken it, counts it out");
        let start = Instant::now();
        loop {
            give_up();
            if counted() == 0 {
                break;
            }
            assert!(start.elapsed() < LIMIT, "the count of the dead is thrown away");
            take();
        }
        assert_eq!(wait() >> 48, 1, "by a new generation, not by somebody's own hand");
        take();
        let living = waiter();
        assert_eq!(counted(), 1);
        give_up();
        assert_eq!(living.finish(LIMIT), 0);
        assert_eq!(counted(), 0);
        set_tick(NO_TICK);
    }

    pub(super) fn a_stopped_holder_is_not_robbed() {
        set_tick(SHORT_TICK);
        let lock = Lock::new().unwrap();
        let holder = {
            let lock = lock.clone();
            Survivor::fork(move |control| {
                let guard = lock.lock();
                control.say(GO);
                assert_eq!(control.hear(), GO);
                drop(guard);
            })
        };
        assert_eq!(holder.hear(LIMIT), GO);
        // SAFETY: plain numbers; a child that was not waited for.
        assert_eq!(unsafe { c::kill(holder.pid(), c::SIGSTOP) }, 0);
        let stopped = || std::fs::read_to_string(format!("/proc/{}/stat", holder.pid())).unwrap().contains(") T ");
        let start = Instant::now();
        while !stopped() {
            assert!(start.elapsed() < LIMIT, "it is stopped");
            std::thread::yield_now();
        }
        holder.say(GO); // it would give the lock up now
        assert_eq!(lock.lock_timeout(15 * SHORT_TICK).unwrap_err(), LockError::TimedOut);
        assert!(stopped());
        // SAFETY: as above.
        assert_eq!(unsafe { c::kill(holder.pid(), c::SIGCONT) }, 0);
        assert!(!recovered(&lock), "the holder gave it up itself");
        assert_eq!(holder.finish(LIMIT), 0);
        set_tick(NO_TICK);
        family().reap();
    }
}
