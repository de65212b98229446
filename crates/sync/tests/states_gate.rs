//! The gate in the explicit-state checker ([`polyproc_testing::model`]): as `states_lock.rs` does for the lock.
//!
//! In every end nobody living sleeps on a side whose state is ready, but after a death while it stood between its look
//! and its sleep, which is left to the tick. Too small to show what the epoch is for (G5): that takes three waiters.
//!
//! The state is a slot for each poster, changed by a plain store, which is the hardest case for M1; or one slot between
//! two sides, as a queue of one message. Left out: `ring_all`, the count of idle rings (here any ring may be the last
//! of them), and where the kernel refuses the barrier. The waiter's fence says nothing here, since a read-modify-write
//! is one on x86.
#![cfg(not(polyproc_loom))]

use At::{
    Announce, AskAgain, Change, Done, End, FenceCas, FenceLoad, GiveCas, GiveLoad, GivesUp, Heavy, Mark, OtherClear,
};
use At::{
    OtherLook, OtherWake, RingClear, RingFence, RingLook, RingLook2, RingWake, RingWatch, SettleGive, SettleTake,
};
use At::{Sleep, TryCas, TryLoad, WaitFenced, WaiterFence, WantOr};
use Role::{Gets, Posts, Puts, Takes};
use polyproc_testing::model::{Got, Life, Op, Program, Report, Setup, Thread, World, explore};

/// Words of memory.
const WORD: usize = 0;
const FENCE: usize = 1;
const SLOTS: usize = 2;

/// Bits of `fence`, as in `raw/gate.rs`.
const WANTED: u64 = 1;
const FENCED: u64 = 1 << 1;
const EPOCH: u64 = 0xffff_ffff & !(WANTED | FENCED);
const ONE_EPOCH: u64 = 1 << 2;

/// What a slot holds.
const EMPTY: u64 = 0;
const FULL: u64 = 1;
const TAKEN: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Takers,
    Givers,
}

impl Side {
    fn mark(self) -> u64 {
        if self == Side::Takers { 1 << 31 } else { 1 << 30 }
    }

    fn other(self) -> Self {
        if self == Side::Takers { Side::Givers } else { Side::Takers }
    }

    fn class(self) -> u8 {
        if self == Side::Takers { 1 } else { 2 }
    }
}

/// What a thread does in each of its rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    /// Fills the next slot of its own.
    Posts,
    /// Takes from any slot of a poster.
    Takes,
    /// Puts into the one slot, or takes from it.
    Puts,
    Gets,
}

impl Role {
    fn side(self) -> Side {
        if self == Role::Puts { Side::Givers } else { Side::Takers }
    }
}

/// A place, named after the instruction there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Announce,
    Change,
    TryLoad,
    TryCas,
    Mark,
    WaitFenced,
    WantOr,
    Heavy,
    FenceLoad,
    FenceCas,
    WaiterFence,
    SettleTake,
    SettleGive,
    Sleep,
    RingWatch,
    RingLook,
    RingFence,
    RingLook2,
    RingClear,
    RingWake,
    GivesUp,
    OtherLook,
    OtherClear,
    OtherWake,
    GiveLoad,
    GiveCas,
    /// Of a broken twin: looks before it marks.
    AskAgain,
    Done,
    End,
}

/// The line of `raw/gate.rs` that each place stands for; what is missing is in the caller.
const LINES: &[(At, &str)] = &[
    (Announce, "robust::announce(&raw const *self.word)"),
    (Mark, "let marked = self.word.fetch_or(mine, SeqCst) | mine;"),
    (WaitFenced, "if self.fence.load(Relaxed) & FENCED == 0 && !self.raise_fence() {"),
    (WantOr, "let epoch = self.fence.fetch_or(WANTED, SeqCst) & EPOCH;"),
    (Heavy, "if !asym::heavy() {"),
    (FenceLoad, "let mut seen = self.fence.load(Relaxed);"),
    (FenceCas, "match self.fence.compare_exchange_weak(seen, seen | FENCED, SeqCst, Relaxed) {"),
    (WaiterFence, "fence(SeqCst); // SYNC(M1)"),
    (Sleep, "woken = self.word.wait_class(marked, side.class(), until) != Wait::TimedOut;"),
    (RingWatch, "let fence = self.fence.load(Acquire) & !EPOCH; // SYNC(M1)"),
    (RingLook, "fence | self.word.load(Relaxed) != 0"),
    (RingFence, "fence(SeqCst); // SYNC(M1)"),
    (RingLook2, "let word = self.word.load(Relaxed);"),
    (RingClear, "if self.word.fetch_and(!side.mark(), SeqCst) & side.mark() != 0 {"),
    (RingWake, "Futex::wake_class(&raw const self.word, n, side.class());"),
    (GivesUp, "if idle < IDLE {"),
    (OtherLook, "if self.word.load(Relaxed) & other.mark() != 0 {"),
    (OtherClear, "if self.word.fetch_and(!other.mark(), SeqCst) & other.mark() != 0 {"),
    (OtherWake, "Futex::wake_class(&raw const self.word, 1, other.class());"),
    (GiveLoad, "let fenced = self.fence.load(Relaxed);"),
    (GiveCas, "self.fence.compare_exchange(fenced, (fenced & EPOCH).wrapping_add(ONE_EPOCH), SeqCst, Relaxed);"),
];

/// A machine that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Twin {
    Sound,
    NoBarrier,
    TheWokenMarksItsOwnSideOnly,
    TheTakerDoesNotSettle,
    DoneBeforeTheRing,
    LooksBeforeItMarks,
    PosterDoesNotFence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Gate<const N: usize> {
    roles: [Role; N],
    rounds: u8,
    /// A slot whose poster is dead is as good as a full one: the permits of a semaphore that have owners.
    owned: bool,
    /// How many rings in vain may be the last before the fence is given up: any so many of them.
    idle: u8,
    twin: Twin,
}

fn gate<const N: usize>(roles: [Role; N]) -> Gate<N> {
    Gate { roles, rounds: 1, owned: false, idle: 1, twin: Twin::Sound }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Local {
    round: u8,
    /// Beyond the first try: in `wait`.
    waits: bool,
    woken: bool,
    done: bool,
    slot: u8,
    marked: u64,
    seen: u64,
    /// Whom a ring is for, and where it returns to.
    side: Side,
    then: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Ghost {
    /// Bit by thread.
    dead: u8,
    /// Rings that were the last of `Gate::idle`.
    idle: u8,
    /// The kernel has passed a wake-up on while a waiter had looked, in vain, and did not sleep yet.
    unheard: bool,
}

impl<const N: usize> Gate<N> {
    fn is_queue(self) -> bool {
        self.roles.iter().any(|role| matches!(role, Role::Puts | Role::Gets))
    }

    /// The posters' slots, `rounds` of each, or the one between two sides.
    fn slots(self) -> usize {
        let posters = self.roles.iter().filter(|role| **role == Role::Posts).count();
        if self.is_queue() { 1 } else { posters * usize::from(self.rounds) }
    }

    fn slot_of(self, thread: usize, round: u8) -> usize {
        let before = self.roles[..thread].iter().filter(|role| **role == Role::Posts).count();
        before * usize::from(self.rounds) + usize::from(round)
    }

    fn poster_of(self, slot: usize) -> usize {
        let nth = slot / usize::from(self.rounds);
        let posters = (0..N).filter(|&i| self.roles[i] == Role::Posts);
        posters.into_iter().nth(nth).expect("slots have posters")
    }

    /// Whether a side may take what a slot holds.
    fn is_ready(self, side: Side, slot: usize, value: u64, dead: u8) -> bool {
        match side {
            Side::Givers => value == EMPTY,
            Side::Takers => value == FULL || self.owned && value == EMPTY && dead & (1 << self.poster_of(slot)) != 0,
        }
    }

    fn tries(local: &mut Local) -> At {
        local.slot = 0;
        TryLoad
    }

    /// After a slot that is not to be had, or was taken by another.
    fn next_slot(self, thread: usize, local: &mut Local) -> At {
        local.slot += 1;
        if usize::from(local.slot) < self.slots() { TryLoad } else { self.tried(thread, local, false) }
    }

    fn tried(self, thread: usize, local: &mut Local, done: bool) -> At {
        local.done = done;
        (local.slot, local.seen) = (0, 0);
        let settles = local.woken || done && self.twin != Twin::TheTakerDoesNotSettle;
        match (local.waits, done) {
            (false, true) => self.took(thread, local),
            (false, false) => {
                local.waits = true;
                if self.twin == Twin::LooksBeforeItMarks { AskAgain } else { Mark }
            }
            (true, _) if settles => SettleTake,
            (true, _) => self.settled(thread, local),
        }
    }

    fn settled(self, thread: usize, local: &mut Local) -> At {
        local.slot = 0;
        if local.done {
            return self.took(thread, local);
        }
        if std::mem::take(&mut local.woken) { Mark } else { Sleep }
    }

    /// A queue rings for the side that gains by what was taken.
    fn took(self, thread: usize, local: &mut Local) -> At {
        (local.waits, local.woken, local.done, local.marked) = (false, false, false, 0);
        if self.is_queue() { Self::ring(local, self.roles[thread].side().other(), Done) } else { Done }
    }

    fn ring(local: &mut Local, side: Side, then: At) -> At {
        (local.side, local.then) = (side, then);
        RingWatch
    }

    fn rung(self, thread: usize, local: &mut Local) -> At {
        local.seen = 0;
        let then = std::mem::replace(&mut local.then, End);
        local.side = Side::Takers;
        match then {
            SettleGive if self.is_queue() => SettleGive,
            SettleGive | Sleep => self.settled(thread, local),
            then => then,
        }
    }

    fn raise_fence(local: &mut Local, seen: u64, epoch: u64) -> At {
        local.seen = seen;
        if seen & EPOCH == epoch && seen & FENCED == 0 {
            return FenceCas;
        }
        local.seen = 0;
        WaiterFence
    }
}

impl<const N: usize> Program<N> for Gate<N> {
    type At = At;
    type Local = Local;
    type Ghost = Ghost;

    fn start(&self, _: usize) -> (At, Local) {
        let side = Side::Takers;
        let (waits, woken, done) = (false, false, false);
        (Announce, Local { round: 0, waits, woken, done, slot: 0, marked: 0, seen: 0, side, then: End })
    }

    fn issue(&self, thread: usize, at: At, local: &Local) -> Op {
        let role = self.roles[thread];
        let slot = SLOTS + usize::from(local.slot);
        match at {
            Announce => Op::Announce(WORD),
            Change => Op::Store(SLOTS + self.slot_of(thread, local.round), FULL),
            TryLoad | SettleTake | SettleGive | AskAgain => Op::Load(slot),
            TryCas => Op::Cas(
                slot,
                local.seen,
                match role {
                    Role::Puts => FULL,
                    Role::Gets => EMPTY,
                    _ => TAKEN,
                },
            ),
            Mark => {
                let both = local.woken && self.twin != Twin::TheWokenMarksItsOwnSideOnly;
                let mine = if both { Side::Takers.mark() | Side::Givers.mark() } else { role.side().mark() };
                Op::Or(WORD, mine)
            }
            WaitFenced | FenceLoad | RingWatch | GiveLoad => Op::Load(FENCE),
            WantOr => Op::Or(FENCE, WANTED),
            Heavy => Op::Barrier,
            FenceCas => Op::Cas(FENCE, local.seen, local.seen | FENCED),
            WaiterFence | RingFence => Op::Fence,
            Sleep => Op::Wait { word: WORD, expected: local.marked, bits: !0, class: role.side().class(), since: 0 },
            RingLook | RingLook2 | OtherLook => Op::Load(WORD),
            RingClear => Op::And(WORD, !local.side.mark()),
            RingWake => Op::Wake { word: WORD, class: local.side.class(), all: false },
            GivesUp => Op::Choose,
            OtherClear => Op::And(WORD, !local.side.other().mark()),
            OtherWake => Op::Wake { word: WORD, class: local.side.other().class(), all: false },
            GiveCas => Op::Cas(FENCE, local.seen, (local.seen & EPOCH) + ONE_EPOCH),
            Done => Op::Done,
            End => Op::End,
        }
    }

    fn after(&self, thread: usize, at: At, local: &mut Local, got: Got, ghost: &mut Ghost) -> At {
        let (role, twin) = (self.roles[thread], self.twin);
        let slot = usize::from(local.slot);
        match at {
            Announce if role == Role::Posts => Change,
            Announce => Self::tries(local),
            Change if twin == Twin::DoneBeforeTheRing => Done,
            Change => Self::ring(local, Side::Takers, Done),
            TryLoad if self.is_ready(role.side(), slot, got.value, ghost.dead) => {
                local.seen = got.value;
                TryCas
            }
            TryLoad => self.next_slot(thread, local),
            TryCas if got.ok => self.tried(thread, local, true),
            TryCas => self.next_slot(thread, local),
            AskAgain => Mark,
            Mark => {
                let both = local.woken && twin != Twin::TheWokenMarksItsOwnSideOnly;
                let mine = if both { Side::Takers.mark() | Side::Givers.mark() } else { role.side().mark() };
                local.marked = got.value | mine;
                if twin == Twin::LooksBeforeItMarks { Sleep } else { WaitFenced }
            }
            WaitFenced if got.value & FENCED != 0 => WaiterFence,
            WaitFenced => WantOr,
            WantOr => {
                local.seen = got.value & EPOCH;
                if twin == Twin::NoBarrier { FenceLoad } else { Heavy }
            }
            Heavy => FenceLoad,
            FenceLoad => {
                let epoch = local.seen;
                Self::raise_fence(local, got.value, epoch)
            }
            FenceCas if got.ok => {
                local.seen = 0;
                WaiterFence
            }
            FenceCas => {
                let epoch = local.seen & EPOCH;
                Self::raise_fence(local, got.value, epoch)
            }
            WaiterFence => Self::tries(local),
            SettleTake if self.is_ready(Side::Takers, slot, got.value, ghost.dead) => {
                Self::ring(local, Side::Takers, SettleGive)
            }
            SettleTake if slot + 1 < self.slots() => {
                local.slot += 1;
                SettleTake
            }
            SettleTake if self.is_queue() => SettleGive,
            SettleTake => self.settled(thread, local),
            SettleGive if got.value == EMPTY => Self::ring(local, Side::Givers, Sleep),
            SettleGive => self.settled(thread, local),
            Sleep => {
                local.woken = true; // nobody's sleep ends by time
                local.marked = 0;
                Mark
            }
            RingWatch => {
                local.seen = got.value & !EPOCH;
                RingLook
            }
            RingLook if got.value | local.seen == 0 => self.rung(thread, local),
            RingLook => {
                local.seen = 0;
                if twin == Twin::PosterDoesNotFence { RingLook2 } else { RingFence }
            }
            RingFence => RingLook2,
            RingLook2 if got.value & local.side.mark() != 0 => RingClear,
            RingLook2 if ghost.idle < self.idle => GivesUp,
            RingLook2 => self.rung(thread, local),
            RingClear if got.value & local.side.mark() != 0 => RingWake,
            RingClear | RingWake => self.rung(thread, local),
            GivesUp if got.value == 0 => self.rung(thread, local),
            GivesUp => {
                ghost.idle += 1;
                OtherLook
            }
            OtherLook if got.value & local.side.other().mark() != 0 => OtherClear,
            OtherLook => GiveLoad,
            OtherClear if got.value & local.side.other().mark() != 0 => OtherWake,
            OtherClear | OtherWake => self.rung(thread, local),
            GiveLoad => {
                local.seen = got.value;
                GiveCas
            }
            GiveCas => self.rung(thread, local),
            Done => {
                let round = local.round + 1;
                *local = Local { round, ..self.start(thread).1 };
                if round < self.rounds { Announce } else { End }
            }
            End => End,
        }
    }

    fn exits(&self, thread: usize, ghost: &mut Ghost) {
        ghost.dead |= if self.owned { 1 << thread } else { 0 };
    }

    fn unheard(&self, threads: &[Thread<Self, N>; N], ghost: &mut Ghost) {
        let before_the_look = |t: &Thread<Self, N>| match t.at {
            Mark | WaitFenced | WantOr | Heavy | FenceLoad | FenceCas | WaiterFence => true,
            TryLoad => t.local.slot == 0,
            _ => false,
        };
        let looked =
            |t: &Thread<Self, N>| t.life == Life::Runs && t.local.waits && !t.local.done && !before_the_look(t);
        ghost.unheard |= threads.iter().any(looked);
    }

    fn remark(&self, ghost: &Ghost) -> &'static str {
        if ghost.unheard { UNHEARD } else { "" }
    }

    fn is_stranded(&self, world: &World<Self, N>, thread: usize) -> bool {
        let Life::Sleeps(_, class) = world.threads[thread].life else { return false };
        let side = if class == Side::Takers.class() { Side::Takers } else { Side::Givers };
        (0..self.slots()).any(|slot| self.is_ready(side, slot, world.memory[SLOTS + slot], world.ghost.dead))
    }
}

/// Told of an end in which a waiter sleeps that was about to fall asleep when somebody died.
const UNHEARD: &str = ", before the sleep";

/// Places of a poster whose change can be seen, and whose wake-up has not begun.
const POSTER: &[&str] = &["RingWatch", "RingLook", "RingFence", "RingLook2", "RingClear"];
/// Places of a waiter whose mark may stand where another's was cleared, before it has settled.
const WAITER: &[&str] = &[
    "WaitFenced",
    "WantOr",
    "Heavy",
    "FenceLoad",
    "FenceCas",
    "WaiterFence",
    "TryLoad",
    "TryCas",
    "SettleTake",
    "SettleGive",
];

fn run<const N: usize>(gate: Gate<N>, setup: &Setup<N>) -> Report {
    let report = explore(&gate, setup);
    println!("{}", report.to_string().lines().next().unwrap_or_default());
    report
}

/// Asserts that a death strands nobody but a waiter that had looked and did not sleep yet; and that this happens at
/// all, or else the documents say too much.
fn strands_only_before_the_sleep(report: &Report, happens: bool) {
    assert!(report.broken.is_none(), "{report}");
    for what in report.stranded.keys() {
        let place = what.strip_suffix(UNHEARD);
        let is_known = place.is_some_and(|place| POSTER.contains(&place) || WAITER.contains(&place));
        assert!(is_known, "{report}");
    }
    assert_eq!(!report.stranded.is_empty(), happens, "{report}");
}

#[test]
fn nobody_is_stranded_when_nobody_dies() {
    run(gate([Posts, Posts, Takes, Takes]), &Setup::new("two posters, two takers")).expect(&[]);
    run(Gate { rounds: 2, ..gate([Posts, Takes, Takes]) }, &Setup::new("a poster, two takers, two rounds")).expect(&[]);
    run(gate([Puts, Puts, Gets]), &Setup::new("a queue: two put, one gets")).expect(&[]);
    run(gate([Puts, Gets, Gets]), &Setup::new("a queue: one puts, two get")).expect(&[]);
    run(Gate { rounds: 2, ..gate([Puts, Gets]) }, &Setup::new("a queue: one puts, one gets, two rounds")).expect(&[]);
}

#[test]
fn a_poster_and_a_taker_of_whom_one_dies() {
    let setup = Setup { kills: 1, ..Setup::new("a poster, a taker, two rounds, one death") };
    strands_only_before_the_sleep(&run(Gate { rounds: 2, ..gate([Posts, Takes]) }, &setup), true);
}

#[test]
fn two_posters_and_a_taker_of_whom_one_dies() {
    let setup = Setup { kills: 1, ..Setup::new("two posters, a taker, one death") };
    strands_only_before_the_sleep(&run(gate([Posts, Posts, Takes]), &setup), false);
}

#[test]
fn a_poster_and_two_takers_of_whom_one_dies() {
    let setup = Setup { kills: 1, ..Setup::new("a poster, two takers, one death") };
    strands_only_before_the_sleep(&run(gate([Posts, Takes, Takes]), &setup), true);
}

#[test]
fn one_of_a_queue_dies() {
    let setup = Setup { kills: 1, ..Setup::new("a queue: one puts, one gets, two rounds, one death") };
    strands_only_before_the_sleep(&run(Gate { rounds: 2, ..gate([Puts, Gets]) }, &setup), true);
    let setup = Setup { kills: 1, victims: [true, false, true], ..Setup::new("a queue: two put, one gets, one death") };
    strands_only_before_the_sleep(&run(gate([Puts, Puts, Gets]), &setup), true);
    let setup = Setup { kills: 1, ..Setup::new("a queue: one puts, two get, one death") };
    strands_only_before_the_sleep(&run(gate([Puts, Gets, Gets]), &setup), true);
}

/// A permit that its owner's death gives back: found at the tick, too, if the owner has announced something else since.
#[test]
fn the_owner_of_a_permit_dies() {
    let setup = Setup { kills: 1, victims: [true, false, false], ..Setup::new("an owner, two takers") };
    let mut report = run(Gate { owned: true, ..gate([Posts, Takes, Takes]) }, &setup);
    assert!(report.stranded.remove("Announce").is_some(), "not announced: {report}");
    assert!(report.stranded.remove(&format!("Change{UNHEARD}")).is_some(), "he has it still: {report}");
    strands_only_before_the_sleep(&report, true);
}

#[test]
#[ignore = "by hand"]
fn large_queues() {
    let queue = Gate { rounds: 2, idle: 0, ..gate([Puts, Gets, Gets]) };
    run(queue, &Setup::new("a queue: one puts, two get, two rounds")).expect(&[]);
    run(Gate { rounds: 2, idle: 3, ..gate([Posts, Posts, Takes]) }, &Setup::new("the fence is given up often"))
        .expect(&[]);
}

fn first<const N: usize>() -> Setup<N> {
    Setup { first: true, ..Setup::new("a broken twin") }
}

#[test]
fn broken_twins_strand_a_waiter_though_nobody_dies() {
    for twin in [Twin::NoBarrier, Twin::DoneBeforeTheRing, Twin::LooksBeforeItMarks, Twin::PosterDoesNotFence] {
        let found = run(Gate { twin, rounds: 2, ..gate([Posts, Takes]) }, &first());
        assert!(!found.is_clean(), "{twin:?} is not found");
    }
    let twin = Twin::TheTakerDoesNotSettle;
    let found = run(Gate { twin, ..gate([Posts, Posts, Takes, Takes]) }, &first());
    assert!(!found.is_clean(), "{twin:?} is not found");
}

/// G2: the kernel wakes a waiter of the other side in place of a dead poster that had cleared the mark.
#[test]
fn a_broken_twin_strands_the_other_side() {
    let twin = Twin::TheWokenMarksItsOwnSideOnly;
    let setup = Setup { kills: 1, victims: [true, false, false], ..Setup::new("a broken twin") };
    let found = run(Gate { twin, idle: 0, ..gate([Puts, Puts, Gets]) }, &setup);
    assert!(found.stranded.keys().any(|what| !what.ends_with(UNHEARD)), "{found}");
}

const SOURCE: &str = include_str!("../src/raw/gate.rs");

/// Instructions that are not in the machine, and why.
const LEFT_OUT: &[&str] = &[
    "self.word.load(Relaxed) & side.mark() != 0", // is_marked(): for people
    "self.idle.load(Relaxed)",                    // the machine chooses
    "self.idle.store(",                           // likewise
    // arm(): one who takes nothing; see loom_wait_any.rs and kill_wait_any.rs.
    "self.rovers.",
    "let word = self.word.fetch_or(marks, SeqCst) | marks;",
    "let is_fenced = self.fence.load(Relaxed) & FENCED != 0 || self.raise_fence();",
];

#[test]
fn the_machine_has_every_instruction_of_the_gate() {
    for (at, line) in LINES {
        assert!(SOURCE.contains(line), "{at:?} stands for a line that is gone: {line}");
    }
    let code = SOURCE.split("#[cfg(all(test").next().expect("the code before its tests");
    let instructions = [
        ".load(",
        ".store(",
        ".swap(",
        "compare_exchange",
        ".fetch_",
        "fence(SeqCst)",
        "wait_class(",
        "wake_class(",
        "asym::heavy()",
        "robust::announce(",
    ];
    for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let is_instruction = instructions.iter().any(|instruction| line.contains(instruction));
        let is_known = |known: &&str| line.contains(known);
        let is_known = LINES.iter().any(|(_, known)| is_known(known)) || LEFT_OUT.iter().any(is_known);
        assert!(!is_instruction || is_known, "not in the machine: {line}");
    }
}
