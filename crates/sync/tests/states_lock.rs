//! The lock in the explicit-state checker ([`polyproc_testing::model`]): every interleaving of a few threads with store
//! buffers, the real barrier, and deaths at every instruction.
//!
//! Checked in every state: mutual exclusion; a death while the lock was held is told to the next holder, and no other
//! (L1); nobody sleeps uncounted (I1, I2); `FENCED` is set only while somebody is counted, cleared only while nobody is
//! (I5). In every end: nobody living sleeps, but after the double deaths of [`WINDOWS`], which are left to the tick.
//!
//! The step machine is written by hand after `raw/lock.rs`; each place of it names the line that it stands for, and
//! `the_machine_has_every_instruction_of_the_lock` compares the two. Left out: spinning, which only looks again; nested
//! locks; a full count; the robbing of an owner that the kernel did not mark, and of one who had the taker's number;
//! giving up at a tick for a deadlock, which leaves nothing behind: it is between `TickDone` and `TickAnnounce`.
#![cfg(not(polyproc_loom))]

use polyproc_testing::model::{Got, Op, Program, Report, Setup, Slept, Thread, World, explore};

/// Words of memory.
const WORD: usize = 0;
const WAIT: usize = 1;

/// Bits of `word` and of `wait`, as in `raw/lock.rs` and `raw/waiters.rs`; the expiry counts `World::time`.
const TID: u64 = 0x3fff_ffff;
const DIED: u64 = 0x4000_0000;
const WAITERS: u64 = 0x8000_0000;
const FENCED: u64 = 1;
const ONE: u64 = 1 << 1;
const COUNT: u64 = 0x7fff << 1;
const EXPIRY_SHIFT: u32 = 16;
const EXPIRY: u64 = 0xffff_ffff << EXPIRY_SHIFT;
const GENERATION: u64 = 0xffff << 48;
const ONE_GENERATION: u64 = 1 << 48;

/// A place, named after the instruction there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Announce,
    FastCas,
    NoteLoad,
    NoteOr,
    SlowLoad,
    SlowCount,
    SlowCas,
    IsPast,
    CountLoad,
    CountCas,
    FencedLoad,
    Heavy,
    FenceLoad,
    FenceCas,
    WaiterFence,
    WaiterLoad,
    MarkCas,
    Sleep,
    RetractLoad,
    RetractCas,
    FirstLook,
    Release,
    SecondLook,
    CountedLoad,
    GivesUp,
    ReleaseCounted,
    WakerFence,
    WakerLoad,
    GiveUpFence,
    Wake,
    WakerRetractLoad,
    WakerRetractCas,
    ThrowAway,
    Done,
    TickDone,
    TickAnnounce,
    /// Of a broken twin.
    DoneEarly,
    End,
}

/// The line of `raw/lock.rs` that each place stands for; places that no line is named for belong to the model.
const LINES: &[(At, &str)] = &[
    (At::Announce, "let announced = unsafe { me.announce_lock(&raw const lock.word) };"),
    (At::FastCas, "if lock.word.compare_exchange(0, me.id(), Acquire, Relaxed).is_ok() {"),
    (At::NoteLoad, "if self.wait.load(Relaxed) & COUNT != 0 {"),
    (At::NoteOr, "self.word.fetch_or(WAITERS, Relaxed);"),
    (At::SlowLoad, "let word = lock.word.load(Acquire);"),
    (At::SlowCount, "let mark = if lock.wait.load(Relaxed) & COUNT == 0 { 0 } else { WAITERS };"),
    (At::SlowCas, "if lock.word.compare_exchange(word, me.id() | mark, Acquire, Relaxed).is_ok() {"),
    (At::IsPast, "if deadline.is_past() {"),
    (At::CountLoad, "let mut seen = self.wait.load(Relaxed);"),
    (At::CountCas, "match self.wait.compare_exchange_weak(seen, next, SeqCst, Relaxed) {"),
    (At::FencedLoad, "if self.wait.load(Relaxed) & FENCED == 0 {"),
    (At::Heavy, "if asym::heavy() {"),
    (At::FenceLoad, "raise_fence(&self.wait, generation);"),
    (At::FenceLoad, "let mut seen = wait.load(Relaxed);"),
    (At::FenceCas, "match wait.compare_exchange_weak(seen, seen | FENCED, Relaxed, Relaxed) {"),
    (At::WaiterFence, "fence(SeqCst); // SYNC(L2)"),
    (At::WaiterLoad, "let word = self.word.load(Relaxed);"),
    (At::MarkCas, "if word == marked || self.word.compare_exchange(word, marked, AcqRel, Relaxed).is_ok() {"),
    (At::Sleep, "how = self.word.wait(marked, until);"),
    (At::RetractLoad, "self.retract(generation);"),
    (At::RetractLoad, "retract(&self.wait, generation);"),
    (At::RetractLoad, "let mut seen = wait.load(Relaxed);"),
    (At::RetractCas, "match wait.compare_exchange_weak(seen, seen - ONE, Relaxed, Relaxed) {"),
    (At::FirstLook, "if self.wait.load(Relaxed) & (COUNT | FENCED) != 0 {"),
    (At::Release, "self.word.store(free, Release);"),
    (At::SecondLook, "if self.wait.load(Relaxed) & (COUNT | FENCED) != 0 {"),
    (At::CountedLoad, "let counted = self.wait.load(Relaxed) & COUNT != 0;"),
    (At::GivesUp, "let give_up_fence = idle >= IDLE;"),
    (At::ReleaseCounted, "self.release(free | if counted { WAITERS } else { 0 });"),
    (At::WakerFence, "fence(SeqCst); // SYNC(L2)"),
    (At::WakerLoad, "let seen = self.wait.load(Relaxed);"),
    (At::GiveUpFence, "let _ = self.wait.compare_exchange(seen, seen & !FENCED, Relaxed, Relaxed);"),
    (At::Wake, "} else if Futex::wake(&raw const self.word, 1) == 1 {"),
    (At::WakerRetractLoad, "self.retract(seen & GENERATION);"),
    (At::ThrowAway, "let _ = self.wait.compare_exchange(seen, none, Relaxed, Relaxed);"),
    (At::Done, "me.done();"),
    (At::TickDone, "me.done();"),
    (At::TickAnnounce, "let _ = unsafe { me.announce_lock(&raw const lock.word) };"),
];

/// A machine that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Twin {
    Sound,
    WaiterRunsNoBarrier,
    WakerDoesNotFence,
    NobodyLooksAgain,
    FencedBeforeTheBarrier,
    FencedWhileNobodyIsCounted,
    UnlockDropsTheMark,
    TakerDoesNotNote,
    SlowTakerDropsTheMark,
    DoneBeforeTheWake,
    AnnouncedAfterTheCas,
    TheWokenCountsItselfOut,
    NotCounted,
    DeathIsNotTold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lock {
    rounds: u8,
    /// Who dies with the lock's protected state half changed leaves it to a holder that gives it up unrepaired.
    unrepaired: bool,
    /// Threads that may give up waiting at any time, by number.
    impatient: u8,
    twin: Twin,
}

const LOCK: Lock = Lock { rounds: 1, unrepaired: false, impatient: 0, twin: Twin::Sound };

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Local {
    round: u8,
    since: u8,
    recovered: bool,
    give_up: bool,
    counted: bool,
    timed_out: bool,
    word: u64,
    seen: u64,
    generation: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Ghost {
    /// Bit by thread: between the CAS that took the lock and the store that gives it up.
    holders: u8,
    /// A holder died, and nobody repaired what it left.
    dirty: bool,
    broken: Option<&'static str>,
}

impl Ghost {
    fn took(&mut self, thread: usize, recovered: bool) {
        if self.holders != 0 {
            self.broken = Some("two hold the lock");
        }
        if recovered != self.dirty {
            self.broken = Some(if self.dirty { "a death is not told" } else { "a death is told that there was not" });
        }
        self.holders |= 1 << thread;
    }
}

fn tid(thread: usize) -> u64 {
    thread as u64 + 1
}

impl Lock {
    fn wakes_fenced(self) -> At {
        if self.twin == Twin::WakerDoesNotFence { At::WakerLoad } else { At::WakerFence }
    }

    fn took(self, thread: usize, local: &mut Local, ghost: &mut Ghost, recovered: bool) -> At {
        *local = Local { round: local.round, recovered, ..Local::default() };
        ghost.took(thread, recovered);
        if self.twin == Twin::AnnouncedAfterTheCas {
            return At::Announce;
        }
        if self.twin == Twin::TakerDoesNotNote { self.unlocks(local) } else { At::NoteLoad }
    }

    fn unlocks(self, local: &Local) -> At {
        if local.recovered && self.unrepaired { At::CountedLoad } else { At::FirstLook }
    }

    /// The store that gives the lock up is executed: its holder is outside.
    fn left(self, thread: usize, local: &Local, ghost: &mut Ghost) {
        ghost.holders &= !(1 << thread);
        ghost.dirty = local.recovered && self.unrepaired;
    }

    fn free(self, local: &Local) -> u64 {
        if local.recovered && self.unrepaired { DIED } else { 0 }
    }

    fn counted_as(local: &Local) -> u64 {
        let next = local.seen + ONE;
        if local.seen & COUNT == 0 || u64::from(local.since) > (local.seen & EXPIRY) >> EXPIRY_SHIFT {
            (next & !EXPIRY) | u64::from(local.since) << EXPIRY_SHIFT
        } else {
            next
        }
    }

    fn raise_fence(self, local: &mut Local, seen: u64) -> At {
        local.seen = seen;
        let thrown_away = seen & GENERATION != local.generation && self.twin != Twin::FencedWhileNobodyIsCounted;
        if thrown_away || seen & FENCED != 0 { self.behind_the_fence(local) } else { At::FenceCas }
    }

    fn behind_the_fence(self, local: &mut Local) -> At {
        local.seen = 0;
        if self.twin == Twin::FencedBeforeTheBarrier { At::Heavy } else { At::WaiterFence }
    }

    /// `retract`, for the waiter itself or for its waker.
    fn retract(local: &mut Local, got: Got, cas: At, then: At) -> At {
        local.seen = got.value;
        let is_counted = local.seen & GENERATION == local.generation && local.seen & COUNT != 0;
        if is_counted { cas } else { Self::forgets(local, then) }
    }

    /// What the registers held is of no use behind here: fewer states.
    fn forgets(local: &mut Local, then: At) -> At {
        *local = Local { round: local.round, ..Local::default() };
        then
    }
}

impl<const N: usize> Program<N> for Lock {
    type At = At;
    type Local = Local;
    type Ghost = Ghost;

    fn start(&self, _: usize) -> (At, Local) {
        let first = if self.twin == Twin::AnnouncedAfterTheCas { At::FastCas } else { At::Announce };
        (first, Local::default())
    }

    fn issue(&self, thread: usize, at: At, local: &Local) -> Op {
        let me = tid(thread);
        match at {
            At::Announce | At::TickAnnounce => Op::Announce(WORD),
            At::FastCas => Op::Cas(WORD, 0, me),
            At::NoteOr => Op::Or(WORD, WAITERS),
            At::SlowLoad | At::WaiterLoad => Op::Load(WORD),
            At::SlowCas => {
                let dropped = self.twin == Twin::SlowTakerDropsTheMark;
                let mark = if local.seen & COUNT == 0 || dropped { 0 } else { WAITERS };
                Op::Cas(WORD, local.word, me | mark)
            }
            At::IsPast | At::GivesUp => Op::Choose,
            At::NoteLoad
            | At::SlowCount
            | At::CountLoad
            | At::FencedLoad
            | At::FenceLoad
            | At::RetractLoad
            | At::FirstLook => Op::Load(WAIT),
            At::SecondLook | At::CountedLoad | At::WakerLoad | At::WakerRetractLoad => Op::Load(WAIT),
            At::CountCas => Op::Cas(WAIT, local.seen, Self::counted_as(local)),
            At::Heavy => Op::Barrier,
            At::FenceCas => Op::Cas(WAIT, local.seen, local.seen | FENCED),
            At::WaiterFence | At::WakerFence => Op::Fence,
            At::MarkCas => Op::Cas(WORD, local.word, local.word | WAITERS),
            At::Sleep => {
                Op::Wait { word: WORD, expected: local.word | WAITERS, bits: !0, class: 0, since: local.since }
            }
            At::RetractCas | At::WakerRetractCas => Op::Cas(WAIT, local.seen, local.seen - ONE),
            At::Release => Op::Store(WORD, self.free(local)),
            At::ReleaseCounted => {
                let keeps = local.counted && self.twin != Twin::UnlockDropsTheMark;
                Op::Store(WORD, self.free(local) | if keeps { WAITERS } else { 0 })
            }
            At::GiveUpFence => Op::Cas(WAIT, local.seen, local.seen & !FENCED),
            At::Wake => Op::Wake { word: WORD, class: 0, all: false },
            At::ThrowAway => {
                let generation = (local.seen & GENERATION).wrapping_add(ONE_GENERATION);
                Op::Cas(WAIT, local.seen, (local.seen & !COUNT & !GENERATION) | generation)
            }
            At::Done | At::DoneEarly | At::TickDone => Op::Done,
            At::End => Op::End,
        }
    }

    fn after(&self, thread: usize, at: At, local: &mut Local, got: Got, ghost: &mut Ghost) -> At {
        let twin = self.twin;
        let nobody_counted = got.value & (COUNT | FENCED) == 0;
        match at {
            At::Announce if twin == Twin::AnnouncedAfterTheCas => At::NoteLoad,
            At::Announce => At::FastCas,
            At::FastCas if got.ok => self.took(thread, local, ghost, false),
            At::FastCas => At::SlowLoad,
            At::NoteLoad if got.value & COUNT != 0 => At::NoteOr,
            At::NoteLoad | At::NoteOr => self.unlocks(local),
            At::SlowLoad => {
                if got.value & TID == 0 {
                    local.word = got.value;
                    At::SlowCount
                } else if self.impatient & (1 << thread) != 0 {
                    At::IsPast
                } else {
                    At::CountLoad
                }
            }
            At::SlowCount => {
                local.seen = got.value;
                At::SlowCas
            }
            At::SlowCas if got.ok => {
                let recovered = local.word & DIED != 0 && twin != Twin::DeathIsNotTold;
                self.took(thread, local, ghost, recovered)
            }
            At::SlowCas => Self::forgets(local, At::SlowLoad),
            At::IsPast if got.value == 1 => Self::forgets(local, At::Done),
            At::IsPast => Self::forgets(local, At::CountLoad),
            At::CountLoad if twin == Twin::NotCounted => At::WaiterFence,
            At::CountLoad => {
                local.since = got.now;
                local.seen = got.value;
                At::CountCas
            }
            At::CountCas if got.ok => {
                local.generation = local.seen & GENERATION;
                local.seen = 0;
                At::FencedLoad
            }
            At::CountCas => {
                local.seen = got.value;
                At::CountCas
            }
            At::FencedLoad if got.value & FENCED != 0 || twin == Twin::WaiterRunsNoBarrier => At::WaiterFence,
            At::FencedLoad if twin == Twin::FencedBeforeTheBarrier => At::FenceLoad,
            At::FencedLoad => At::Heavy,
            At::Heavy if twin == Twin::FencedBeforeTheBarrier => At::WaiterFence,
            At::Heavy => At::FenceLoad,
            At::FenceLoad => self.raise_fence(local, got.value),
            At::FenceCas if got.ok => {
                if got.value & COUNT == 0 {
                    ghost.broken = Some("FENCED is set while nobody is counted");
                }
                self.behind_the_fence(local)
            }
            At::FenceCas => self.raise_fence(local, got.value),
            At::WaiterFence => At::WaiterLoad,
            At::WaiterLoad => {
                local.word = got.value;
                match local.word {
                    word if word & TID == 0 => At::RetractLoad,
                    word if word & WAITERS != 0 => At::Sleep,
                    _ => At::MarkCas,
                }
            }
            At::MarkCas if got.ok => At::Sleep,
            At::MarkCas => At::RetractLoad,
            At::Sleep if got.value == Slept::Woken as u64 && twin != Twin::TheWokenCountsItselfOut => {
                Self::forgets(local, At::SlowLoad)
            }
            At::Sleep => {
                local.timed_out = got.value == Slept::TimedOut as u64;
                At::RetractLoad
            }
            At::TickDone => At::TickAnnounce,
            At::TickAnnounce => At::SlowLoad,
            At::RetractCas if got.ok => Self::forgets(local, if local.timed_out { At::TickDone } else { At::SlowLoad }),
            At::RetractLoad | At::RetractCas => {
                let then = if local.timed_out { At::TickDone } else { At::SlowLoad };
                Self::retract(local, got, At::RetractCas, then)
            }
            At::FirstLook if nobody_counted => At::Release,
            At::FirstLook => At::CountedLoad,
            At::Release => {
                self.left(thread, local, ghost);
                if twin == Twin::NobodyLooksAgain { At::Done } else { At::SecondLook }
            }
            At::SecondLook if nobody_counted => Self::forgets(local, At::Done),
            At::SecondLook => {
                local.give_up = false;
                self.wakes_fenced()
            }
            At::CountedLoad => {
                local.counted = got.value & COUNT != 0;
                if local.counted { At::ReleaseCounted } else { At::GivesUp }
            }
            At::GivesUp => {
                local.give_up = got.value == 1;
                At::ReleaseCounted
            }
            At::ReleaseCounted => {
                self.left(thread, local, ghost);
                if twin == Twin::DoneBeforeTheWake { At::DoneEarly } else { self.wakes_fenced() }
            }
            At::DoneEarly => self.wakes_fenced(),
            At::WakerFence => At::WakerLoad,
            At::WakerLoad => {
                if got.value & COUNT != 0 {
                    *local = Local {
                        round: local.round,
                        counted: local.counted,
                        seen: got.value,
                        generation: got.value & GENERATION,
                        ..Local::default()
                    };
                    At::Wake
                } else if local.give_up && got.value & FENCED != 0 {
                    local.seen = got.value;
                    At::GiveUpFence
                } else {
                    Self::forgets(local, At::Done)
                }
            }
            At::GiveUpFence | At::ThrowAway => Self::forgets(local, At::Done),
            At::Wake if got.value == 1 => At::WakerRetractLoad,
            At::Wake if u64::from(got.now) > (local.seen & EXPIRY) >> EXPIRY_SHIFT => At::ThrowAway,
            At::Wake => Self::forgets(local, At::Done),
            At::WakerRetractLoad => Self::retract(local, got, At::WakerRetractCas, At::Done),
            At::WakerRetractCas if got.ok => Self::forgets(local, At::Done),
            At::WakerRetractCas => Self::retract(local, got, At::WakerRetractCas, At::Done),
            At::Done => {
                let round = local.round + 1;
                *local = Local { round, ..Local::default() };
                if round < self.rounds { <Self as Program<N>>::start(self, thread).0 } else { At::End }
            }
            At::End => At::End,
        }
    }

    fn marked(&self, thread: usize, ghost: &mut Ghost) {
        ghost.holders &= !(1 << thread);
        ghost.dirty = true;
    }

    fn remains(&self, _: usize, local: &Local) -> Local {
        Local { counted: local.counted, ..Local::default() }
    }

    fn place(&self, thread: &Thread<Self, N>) -> String {
        format!("{:?}{}", thread.at, if thread.local.counted { " (counted)" } else { "" })
    }

    fn check(&self, world: &World<Self, N>) -> Result<(), &'static str> {
        let asleep = (0..N).filter(|&thread| world.sleeps(thread)).count() as u64;
        if (world.memory[WAIT] & COUNT) / ONE < asleep {
            return Err("somebody sleeps uncounted");
        }
        world.ghost.broken.map_or(Ok(()), Err)
    }

    fn is_stranded(&self, _: &World<Self, N>, _: usize) -> bool {
        true // nobody holds the lock in an end
    }
}

/// Deaths that leave a sleeper to the tick: the one that gives the lock up has not woken anybody yet, and the next
/// holder has not looked at the count, or not marked the word. "If the owner dies" in `raw/lock.rs` says so.
const WINDOWS: &[&str] = &[
    "NoteLoad + SecondLook",
    "NoteLoad + Wake",
    "NoteLoad + WakerFence",
    "NoteLoad + WakerLoad",
    "NoteOr + SecondLook",
    "NoteOr + Wake",
    "NoteOr + WakerFence",
    "NoteOr + WakerLoad",
];

fn run<const N: usize>(lock: Lock, setup: &Setup<N>) -> Report {
    let report = explore(&lock, setup);
    println!("{}", report.to_string().lines().next().unwrap_or_default());
    report
}

#[test]
fn two_threads_two_rounds() {
    run(Lock { rounds: 2, ..LOCK }, &Setup::<2>::new("two threads, two rounds")).expect(&[]);
}

#[test]
fn two_threads_three_rounds_of_which_one_dies() {
    let setup = Setup { kills: 1, ..Setup::<2>::new("two threads, three rounds, one death") };
    run(Lock { rounds: 3, ..LOCK }, &setup).expect(&[]);
}

#[test]
fn three_threads_of_which_one_dies() {
    run(LOCK, &Setup { kills: 1, ..Setup::<3>::new("three threads, one death") }).expect(&[]);
}

/// Two deaths one after the other are the same: when the first has died, the second may die at any time, or finish
/// first.
#[test]
fn two_threads_of_one_process_die_by_one_kill() {
    let victims = [true, true, false];
    let setup =
        Setup { kills: 1, victims, process: [0, 0, 1], ..Setup::<3>::new("two threads of a process and a third") };
    run(Lock { unrepaired: true, ..LOCK }, &setup).expect(WINDOWS);
}

/// Who gives up waiting has consumed no wake-up that another needed.
#[test]
fn some_give_up_waiting_and_one_dies() {
    let setup = Setup { kills: 1, victims: [true, true, false], ..Setup::<3>::new("two impatient threads, one death") };
    run(Lock { impatient: 0b011, ..LOCK }, &setup).expect(&[]);
}

#[test]
fn a_sleep_is_interrupted() {
    run(LOCK, &Setup { interrupts: 2, ..Setup::<3>::new("three threads, two signals") }).expect(&[]);
}

/// The lease: a count that only the dead hold is thrown away, and nobody is counted out by those that were in it.
#[test]
fn the_time_of_all_sleeps_comes() {
    let setup = Setup { ticks: 1, kills: 1, victims: [true, false], ..Setup::<2>::new("two threads, a tick, a death") };
    run(Lock { rounds: 2, ..LOCK }, &setup).expect(&[]);
}

#[test]
fn the_time_of_all_sleeps_comes_to_three() {
    run(LOCK, &Setup { ticks: 1, ..Setup::<3>::new("three threads, a tick") }).expect(&[]);
}

#[test]
#[ignore = "by hand"]
fn large_two_rounds_of_three_threads() {
    run(Lock { rounds: 2, ..LOCK }, &Setup { most: 30_000_000, ..Setup::<3>::new("three threads, two rounds") })
        .expect(&[]);
}

#[test]
#[ignore = "by hand"]
fn large_any_two_of_three_threads_die() {
    run(Lock { unrepaired: true, ..LOCK }, &Setup { kills: 2, ..Setup::<3>::new("three threads, any two die") })
        .expect(WINDOWS);
}

#[test]
#[ignore = "by hand"]
fn large_a_tick_and_a_death_among_three() {
    let setup = Setup {
        ticks: 1,
        kills: 1,
        victims: [true, false, false],
        ..Setup::<3>::new("three threads, a tick, a death")
    };
    run(LOCK, &setup).expect(&[]);
}

/// What the checker finds in a machine that is broken: it is not blind there.
fn broken(twin: Twin) -> Report {
    let setup =
        Setup { kills: 1, victims: [true, false], first: true, ..Setup::<2>::new("a broken twin, two threads") };
    let found = run(Lock { twin, rounds: 2, ..LOCK }, &setup);
    if !found.is_clean() {
        return found;
    }
    let victims = [true, true, false];
    let setup = Setup { kills: 1, victims, first: true, ..Setup::<3>::new("a broken twin, three threads") };
    let found = run(Lock { twin, ..LOCK }, &setup);
    assert!(!found.is_clean(), "{twin:?} is not found");
    found
}

#[test]
fn broken_twins_strand_a_sleeper() {
    for twin in [
        Twin::WaiterRunsNoBarrier,
        Twin::WakerDoesNotFence,
        Twin::NobodyLooksAgain,
        Twin::FencedBeforeTheBarrier,
        Twin::SlowTakerDropsTheMark,
        Twin::DoneBeforeTheWake,
        Twin::AnnouncedAfterTheCas,
    ] {
        assert!(broken(twin).broken.is_none(), "{twin:?}");
    }
}

#[test]
fn broken_twins_break_an_invariant() {
    for (twin, what) in [
        (Twin::NotCounted, "somebody sleeps uncounted"),
        (Twin::TheWokenCountsItselfOut, "somebody sleeps uncounted"),
        (Twin::DeathIsNotTold, "a death is not told"),
    ] {
        assert_eq!(broken(twin).broken.expect("an invariant breaks").0, what);
    }
}

/// What hazard 2 asks for: without it, one kill strands a sleeper at more places.
#[test]
fn a_broken_twin_opens_the_window_of_one_kill() {
    let victims = [true, true, false];
    let setup = Setup { kills: 1, victims, process: [0, 0, 1], ..Setup::<3>::new("a broken twin") };
    let found = run(Lock { twin: Twin::UnlockDropsTheMark, ..LOCK }, &setup);
    assert!(found.broken.is_none() && found.stranded.contains_key("NoteLoad + Wake (counted)"), "{found}");
}

#[test]
#[ignore = "by hand"]
fn large_a_broken_twin_that_does_not_note_waiters() {
    let victims = [true, true, false];
    let setup = Setup { kills: 1, victims, process: [0, 0, 1], ..Setup::<3>::new("a broken twin") };
    let found = run(Lock { twin: Twin::TakerDoesNotNote, ..LOCK }, &setup);
    assert!(found.broken.is_none() && found.stranded.contains_key("FirstLook + Wake"), "{found}");
}

/// A waiter that stands still between the barrier and `FENCED` until its time has come.
#[test]
fn a_broken_twin_fences_without_a_barrier() {
    let lock = Lock { twin: Twin::FencedWhileNobodyIsCounted, ..LOCK };
    let found = run(lock, &Setup { ticks: 1, ..Setup::<3>::new("a broken twin") });
    assert_eq!(found.broken.expect("an invariant breaks").0, "FENCED is set while nobody is counted");
}

const SOURCES: [&str; 2] = [include_str!("../src/raw/lock.rs"), include_str!("../src/raw/waiters.rs")];

/// Instructions that are not in the machine, and why.
const LEFT_OUT: &[&str] = &[
    "self.deaths.load(Relaxed)",                   // the holder's own word
    "lock.deaths.store(lock.deaths.load(Relaxed)", // likewise
    "let word = self.word.load(Relaxed);",         // deaths()
    "let tid = self.word.load(Relaxed) & TID;",    // owner(): for people
    "self.word.swap(free, Release); // SYNC(L3)",  // loom's
    "self.idle.load(Relaxed)",                     // the holder's own word
    "self.idle.store(if give_up_fence",            // likewise
    "return Futex::new(0).wait(0, until);",        // 32,767 waiters
    "let word = self.word.load(Relaxed);",         // rob_the_dead, and WaiterLoad
    "self.word.compare_exchange(word, (word & WAITERS) | DIED, AcqRel, Relaxed);", // rob_the_dead
];

#[test]
fn the_machine_has_every_instruction_of_the_lock() {
    for (at, line) in LINES {
        assert!(SOURCES.iter().any(|source| source.contains(line)), "{at:?} stands for a line that is gone: {line}");
    }
    let code = SOURCES.map(|source| source.split("#[cfg(all(test").next().expect("the code before its tests"));
    let instructions = [
        ".load(",
        ".store(",
        ".swap(",
        "compare_exchange",
        ".fetch_",
        "fence(SeqCst)",
        ".wait(",
        "Futex::wake(",
        "asym::heavy()",
        "announce_lock(",
        "me.done()",
        "self.release(free |",
        "raise_fence(&",
        "self.retract(",
        "retract(&self.wait",
    ];
    for line in code.iter().flat_map(|code| code.lines()).map(str::trim).filter(|line| !line.starts_with("//")) {
        let is_instruction = instructions.iter().any(|instruction| line.contains(instruction));
        let is_known =
            LINES.iter().any(|(_, known)| line.contains(known)) || LEFT_OUT.iter().any(|known| line.contains(known));
        assert!(!is_instruction || is_known, "not in the machine: {line}");
    }
}
