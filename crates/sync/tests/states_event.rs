//! The event in the explicit-state checker ([`polyproc_testing::model`]): as `states_lock.rs` does for the lock.
//!
//! Checked in every state: who sleeps is counted in the epoch that he remembers, or that has ended (E1); a set event
//! has nobody counted (E4). In every end nobody living sleeps for an epoch that has ended, but after the deaths that
//! each test names, which are left to the tick.
//!
//! Left out: limits of time, and a count that sticks.
#![cfg(not(polyproc_loom))]

use polyproc_testing::model::{Got, Op, Program, Report, Setup, World, explore};

/// The word, its halves changed round: the one that the kernel compares comes first.
const STATE: usize = 0;
const KERNEL: u64 = 0xffff_ffff;

/// Bits of the state, as in `raw/event.rs`.
const SET: u64 = 1;
const OWED: u64 = 1 << 1;
const ONE: u64 = 1 << 2;
const ASLEEP: u64 = 15 << 2;
const ONE_EPOCH: u64 = 1 << 6;
const EPOCH: u64 = 0x3ff_ffff << 6;
const TURN_SHIFT: u32 = 62 - 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    Set,
    Clear,
    Wait,
}

/// A place, named after the instruction there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    SetLoad,
    SetCas,
    SetAnnounce,
    SlowLoad,
    SlowCas,
    WakeAll,
    OwedCas,
    ClearLoad,
    ClearAnd,
    IsSet,
    WaitAnnounce,
    CountLoad,
    CountCas,
    Sleep,
    NowLoad,
    Done,
    End,
}

/// The line of `raw/event.rs` that each place stands for.
const LINES: &[(At, &str)] = &[
    (At::SetLoad, "let mut seen = self.state.load(Relaxed);"),
    (At::SetCas, "match self.state.compare_exchange_weak(seen, seen | SET, AcqRel, Relaxed) {"),
    (At::SetAnnounce, "let _owes = robust::announce_briefly(self.state.word());"),
    (At::SlowLoad, "let mut seen = self.state.load(Relaxed);"),
    (At::SlowCas, "match self.state.compare_exchange_weak(seen, next, AcqRel, Relaxed) {"),
    (At::WakeAll, "WideFutex::wake_all(&raw const self.state);"),
    (At::OwedCas, "match self.state.compare_exchange_weak(now, now & !OWED, AcqRel, Relaxed) {"),
    (At::ClearLoad, "if self.state.load(Relaxed) & SET != 0 {"),
    (At::ClearAnd, "self.state.fetch_and(!SET, AcqRel);"),
    (At::IsSet, "self.state.load(Acquire) & SET != 0"),
    (At::WaitAnnounce, "let _owes = robust::announce(self.state.word());"),
    (At::CountLoad, "let mut seen = self.state.load(Acquire);"),
    (At::CountCas, "match self.state.compare_exchange_weak(seen, next, AcqRel, Acquire) {"),
    (At::Sleep, "self.state.wait(now, deadline.earlier(Deadline::after(futex::tick())));"),
    (At::NowLoad, "now = self.state.load(Acquire);"),
];

/// A machine that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Twin {
    Sound,
    TheWokenWakesNobody,
    NoTurn,
    OneIsWoken,
    NotCounted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Event<const N: usize> {
    acts: [&'static [Act]; N],
    twin: Twin,
}

const fn event<const N: usize>(acts: [&'static [Act]; N]) -> Event<N> {
    Event { acts, twin: Twin::Sound }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Local {
    act: u8,
    counted: u64,
    seen: u64,
    /// In `wake_all`: for a waiter, who goes on looking.
    waits: bool,
}

fn turned(state: u64) -> u64 {
    state.rotate_left(32)
}

impl<const N: usize> Event<N> {
    fn begin(self, thread: usize, act: u8) -> At {
        match self.acts[thread].get(usize::from(act)) {
            Some(Act::Set) => At::SetLoad,
            Some(Act::Clear) => At::ClearLoad,
            Some(Act::Wait) => At::IsSet,
            None => At::End,
        }
    }

    fn ended(self, thread: usize, local: &mut Local) -> At {
        *local = Local { act: local.act + 1, ..Local::default() };
        self.begin(thread, local.act)
    }

    fn end_epoch(self, seen: u64) -> u64 {
        let epoch = seen.wrapping_add(ONE_EPOCH) & EPOCH;
        let owed = if seen & ASLEEP == ONE { seen & OWED } else { OWED };
        SET | owed | epoch | if self.twin == Twin::NoTurn { 0 } else { epoch << TURN_SHIFT }
    }

    fn next(self, seen: u64) -> u64 {
        if seen & ASLEEP == 0 { seen | SET } else { self.end_epoch(seen) }
    }

    fn counts(self, local: &mut Local, seen: u64) -> At {
        local.seen = seen;
        if seen & SET == 0 { At::CountCas } else { At::Done }
    }

    fn sets(local: &mut Local, seen: u64) -> At {
        local.seen = seen;
        if seen & (ASLEEP | OWED) == 0 { At::SetCas } else { At::SetAnnounce }
    }

    /// After a wake-up of all, or a change meanwhile, to `now`.
    fn clears_owed(local: &mut Local, now: u64) -> At {
        if now & EPOCH == local.seen & EPOCH && now & OWED != 0 {
            local.seen = now;
            return At::OwedCas;
        }
        Self::woke(local)
    }

    fn woke(local: &mut Local) -> At {
        let ended = local.seen & EPOCH != local.counted & EPOCH;
        local.seen = 0;
        if local.waits && !ended { At::Sleep } else { At::Done }
    }
}

impl<const N: usize> Program<N> for Event<N> {
    type At = At;
    type Local = Local;
    type Ghost = ();

    fn start(&self, thread: usize) -> (At, Local) {
        (self.begin(thread, 0), Local::default())
    }

    fn issue(&self, _: usize, at: At, local: &Local) -> Op {
        let cas = |next: u64| Op::Cas(STATE, turned(local.seen), turned(next));
        match at {
            At::SetLoad | At::SlowLoad | At::ClearLoad | At::IsSet | At::CountLoad | At::NowLoad => Op::Load(STATE),
            At::SetCas => cas(local.seen | SET),
            At::SlowCas => cas(self.next(local.seen)),
            At::OwedCas => cas(local.seen & !OWED),
            At::CountCas => cas(local.seen + if self.twin == Twin::NotCounted { 0 } else { ONE }),
            At::SetAnnounce | At::WaitAnnounce => Op::Announce(STATE),
            At::WakeAll => Op::Wake { word: STATE, class: 0, all: self.twin != Twin::OneIsWoken },
            At::ClearAnd => Op::And(STATE, turned(!SET)),
            // Whoever sleeps again on what he has seen since sees the same epoch, so the same half for the kernel.
            At::Sleep => Op::Wait { word: STATE, expected: turned(local.counted), bits: KERNEL, class: 0, since: 0 },
            At::Done => Op::Done,
            At::End => Op::End,
        }
    }

    fn after(&self, thread: usize, at: At, local: &mut Local, got: Got, (): &mut ()) -> At {
        let now = turned(got.value);
        match at {
            At::SetLoad => Self::sets(local, now),
            At::SetCas if got.ok => self.ended(thread, local),
            At::SetCas => Self::sets(local, now),
            At::SetAnnounce => At::SlowLoad,
            At::SlowLoad => {
                local.seen = now;
                At::SlowCas
            }
            At::SlowCas if got.ok && local.seen & (ASLEEP | OWED) == 0 => At::Done,
            At::SlowCas if got.ok => {
                local.seen = self.next(local.seen);
                At::WakeAll
            }
            At::SlowCas => {
                local.seen = now;
                At::SlowCas
            }
            At::WakeAll => Self::clears_owed(local, local.seen),
            At::OwedCas if got.ok => Self::woke(local),
            At::OwedCas => Self::clears_owed(local, now),
            At::ClearLoad if now & SET != 0 => At::ClearAnd,
            At::ClearLoad | At::ClearAnd => self.ended(thread, local),
            At::IsSet if now & SET != 0 => self.ended(thread, local),
            At::IsSet => At::WaitAnnounce,
            At::WaitAnnounce => At::CountLoad,
            At::CountLoad => self.counts(local, now),
            At::CountCas if got.ok => {
                *local = Local { act: local.act, counted: local.seen + ONE, seen: 0, waits: true };
                if self.twin == Twin::NotCounted {
                    local.counted -= ONE;
                }
                At::Sleep
            }
            At::CountCas => self.counts(local, now),
            At::Sleep => At::NowLoad,
            At::NowLoad => {
                local.seen = now;
                if now & OWED != 0 && self.twin != Twin::TheWokenWakesNobody { At::WakeAll } else { Self::woke(local) }
            }
            At::Done => self.ended(thread, local),
            At::End => At::End,
        }
    }

    fn check(&self, world: &World<Self, N>) -> Result<(), &'static str> {
        let state = turned(world.memory[STATE]);
        let remembers = |thread: &usize| world.threads[*thread].local.counted & EPOCH == state & EPOCH;
        let asleep = (0..N).filter(|&thread| world.sleeps(thread)).filter(remembers).count() as u64;
        if (state & ASLEEP) / ONE < asleep {
            return Err("somebody sleeps uncounted");
        }
        if state & SET != 0 && state & ASLEEP != 0 {
            return Err("somebody is counted although the event is set");
        }
        Ok(())
    }

    fn is_stranded(&self, world: &World<Self, N>, thread: usize) -> bool {
        world.threads[thread].local.counted & EPOCH != turned(world.memory[STATE]) & EPOCH
    }
}

const SETS: &[Act] = &[Act::Set];
const SETS_AND_CLEARS: &[Act] = &[Act::Set, Act::Clear];
const CLEARS: &[Act] = &[Act::Clear];
const WAITS: &[Act] = &[Act::Wait];
const WAITS_TWICE: &[Act] = &[Act::Wait, Act::Wait];

/// Where one death leaves a sleeper to the tick: the event was cleared, another one fell asleep, and the kernel wakes
/// that one in the dead setter's place. It does so only for one of higher priority; the model wakes any.
const WINDOWS: &[&str] = &["WakeAll"];

fn run<const N: usize>(event: Event<N>, setup: &Setup<N>) -> Report {
    let report = explore(&event, setup);
    println!("{}", report.to_string().lines().next().unwrap_or_default());
    report
}

#[test]
fn nobody_is_stranded_when_nobody_dies() {
    run(event([SETS, SETS, WAITS, WAITS]), &Setup::new("two set, two wait")).expect(&[]);
    run(event([SETS_AND_CLEARS, SETS_AND_CLEARS, WAITS_TWICE]), &Setup::new("two set and clear, one waits"))
        .expect(&[]);
    run(event([SETS_AND_CLEARS, WAITS, WAITS, WAITS]), &Setup::new("one sets and clears, three wait")).expect(&[]);
}

#[test]
fn one_of_a_setter_and_three_sleepers_dies() {
    let setup = Setup { kills: 1, ..Setup::new("a setter, three wait, one death") };
    run(event([SETS, WAITS, WAITS, WAITS]), &setup).expect(&[]);
}

#[test]
fn one_of_two_setters_and_two_sleepers_dies() {
    let setup = Setup { kills: 1, ..Setup::new("one sets and clears, one sets, two wait, one death") };
    run(event([SETS_AND_CLEARS, SETS, WAITS, WAITS]), &setup).expect(WINDOWS);
}

#[test]
fn a_setter_dies_beside_one_that_clears() {
    let setup = Setup { kills: 1, ..Setup::new("one sets, one clears, two wait, one death") };
    run(event([SETS, CLEARS, WAITS, WAITS]), &setup).expect(WINDOWS);
}

fn broken(twin: Twin) -> Report {
    let setup = Setup { kills: 1, victims: [true, false, false], ..Setup::new("a broken twin") };
    run(Event { twin, ..event([SETS, WAITS, WAITS]) }, &setup)
}

#[test]
fn broken_twins_are_found() {
    assert!(broken(Twin::Sound).is_clean());
    assert_eq!(broken(Twin::NotCounted).broken.expect("an invariant breaks").0, "somebody sleeps uncounted");
    assert!(broken(Twin::TheWokenWakesNobody).stranded.contains_key("WakeAll"));
    assert!(broken(Twin::NoTurn).stranded.contains_key("nobody died"), "set between a count and a sleep");
    assert!(broken(Twin::OneIsWoken).stranded.contains_key("nobody died"));
}

const SOURCE: &str = include_str!("../src/raw/event.rs");

/// Instructions that are not in the machine, and why.
const LEFT_OUT: &[&str] = &[
    "self.state.store(0, Release);",          // reset(): nobody uses it yet
    "self.state.load(Relaxed) & ASLEEP != 0", // has_sleepers(): a hint
];

#[test]
fn the_machine_has_every_instruction_of_the_event() {
    for (at, line) in LINES {
        assert!(SOURCE.contains(line), "{at:?} stands for a line that is gone: {line}");
    }
    let code = SOURCE.split("#[cfg(all(test").next().expect("the code before its tests");
    let instructions =
        [".load(", ".store(", ".swap(", "compare_exchange", ".fetch_", "fence(", "state.wait(", "::wake", "robust::"];
    for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with("use ")) {
        let is_instruction = instructions.iter().any(|instruction| line.contains(instruction));
        let is_known = LINES.iter().any(|(_, known)| line.contains(known));
        let is_left_out = LEFT_OUT.iter().any(|known| line.contains(known));
        assert!(!is_instruction || is_known || is_left_out, "not in the machine: {line}");
    }
}
