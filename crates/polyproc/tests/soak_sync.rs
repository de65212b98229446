//! Random kills of processes that hammer a mix of all that synchronises: locks of each kind, permits, an event, a condition
//! and a barrier. Somebody dies every few milliseconds and is replaced, and nobody may hang or see anything half done.
//!
//! | what | how it is checked |
//! |---|---|
//! | `Lock`, `RLock`, `RwLock` | two words, changed one after the other, are equal whenever nobody writes; whoever is told of a death makes them so |
//! | `Semaphore` | owned permits: as many are there at the end as at the start, and while one is held there is one less |
//! | `Event` | waits and sets go on |
//! | `Condition` | tokens are produced less consumed, whoever died at it |
//! | `Barrier` | whoever passes sees the words of all parties of his round; when a party dies, all others are told |
//!
//! `POLYPROC_SOAK_SECONDS` says for how long (3), `POLYPROC_SEED` how to throw the dice.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod field;

use field::{Field, Random, from_environment, held};
use polyproc::parts::sys::atomic::Ordering::{Relaxed, SeqCst};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::{Barrier, BarrierError, Condition, Event, Family, Lock, Process, RLock, RwLock, Semaphore};
use polyproc_testing::{LeakCheck, watchdog};
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

polyproc::init_for_tests!();

const MIXERS: usize = 3;
const PARTIES: usize = 3;
const PERMITS: u32 = 2;
/// Without any progress of one kind for so long, something hangs.
const HANG: Duration = Duration::from_secs(20);

// The words of the field.
const STOP: usize = 0;
const WRONG: usize = 1;
/// Pairs of words, by lock.
const LOCK: usize = 2;
const RLOCK: usize = 4;
const RWLOCK: usize = 6;
const PRODUCED: usize = 8;
const CONSUMED: usize = 9;
const TOKENS: usize = 10;
/// How often the parties were told to begin anew.
const BEGINNING: usize = 11;
const RECOVERED: usize = 12;
/// How much was done, by [`WHAT`].
const DONE: usize = 16;
/// The round of each party, which it leaves there until all begin anew: others may still have to look.
const ROUND: usize = 32;
/// The beginning that each party waits for.
const READY: usize = ROUND + PARTIES;
const WORDS: usize = READY + PARTIES;

const WHAT: [&str; 9] =
    ["Lock", "RLock", "RwLock read", "RwLock write", "permits", "event", "condition +", "condition -", "barrier"];

// What `WRONG` says.
const UNEQUAL: u64 = 1;
const TOO_MANY: u64 = 2;
const MISCOUNTED: u64 = 3;
const NOT_WHOLE: u64 = 4;
const BROKEN: u64 = 5;

#[derive(Clone, Serialize, Deserialize)]
struct World {
    lock: Lock,
    rlock: RLock,
    rwlock: RwLock,
    permits: Semaphore,
    event: Event,
    condition: Condition,
    field: Field,
}

impl World {
    fn done(&self, what: usize) {
        self.field.word(DONE + what).fetch_add(1, Relaxed);
    }

    /// Changes two words, one after the other; whoever was told of a death makes them equal first.
    fn change(&self, first: usize, recovered: bool) {
        let (a, b) = (self.field.word(first), self.field.word(first + 1));
        if recovered {
            b.store(a.load(Relaxed), Relaxed);
            self.field.word(RECOVERED).fetch_add(1, Relaxed);
        } else if a.load(Relaxed) != b.load(Relaxed) {
            self.field.set(WRONG, UNEQUAL);
        }
        a.store(a.load(Relaxed) + 1, Relaxed);
        (0..50).for_each(|_| core::hint::spin_loop());
        b.store(b.load(Relaxed) + 1, Relaxed);
    }

    fn lock(&self) {
        let guard = self.lock.lock();
        self.change(LOCK, guard.recovered());
        drop(guard);
        self.done(0);
    }

    fn rlock(&self) {
        let outer = self.rlock.lock();
        let inner = self.rlock.lock();
        self.change(RLOCK, outer.recovered());
        drop(outer);
        drop(inner);
        self.done(1);
    }

    fn read(&self) {
        let guard = self.rwlock.read();
        let look = |i| self.field.word(RWLOCK + i).load(Relaxed);
        let (a, b) = (look(0), look(1));
        if !guard.recovered() && (a != b || (look(0), look(1)) != (a, b)) {
            self.field.set(WRONG, UNEQUAL);
        }
        drop(guard);
        self.done(2);
    }

    fn write(&self) {
        let guard = self.rwlock.write();
        self.change(RWLOCK, guard.recovered());
        drop(guard);
        self.done(3);
    }

    fn permits(&self) {
        let Ok(permit) = self.permits.acquire_owned() else { return self.field.set(WRONG, BROKEN) };
        if self.permits.available() >= u64::from(PERMITS) {
            self.field.set(WRONG, TOO_MANY); // this thread's own is out
        }
        drop(permit);
        self.done(4);
    }

    fn event(&self, random: &mut Random) {
        match random.below(4) {
            0 => self.event.clear(),
            1 => drop(self.event.wait_timeout(Duration::from_millis(1))),
            _ => self.event.set(),
        }
        self.done(5);
    }

    /// To be called under the condition's lock: what a dead one left is put right, or it must be right.
    fn count_tokens(&self, recovered: bool) -> u64 {
        let word = |i| self.field.word(i).load(Relaxed);
        let tokens = word(PRODUCED) - word(CONSUMED);
        if recovered {
            self.field.word(TOKENS).store(tokens, Relaxed);
        } else if word(TOKENS) != tokens {
            self.field.set(WRONG, MISCOUNTED);
        }
        tokens
    }

    fn produce(&self) {
        let guard = self.condition.lock();
        let tokens = self.count_tokens(guard.recovered());
        if tokens < 100 {
            self.field.word(PRODUCED).fetch_add(1, Relaxed);
            self.field.word(TOKENS).store(tokens + 1, Relaxed);
            if self.condition.notify(&guard).is_err() {
                self.field.set(WRONG, BROKEN);
            }
        }
        drop(guard);
        self.done(6);
    }

    fn consume(&self) {
        let mut guard = self.condition.lock();
        self.count_tokens(guard.recovered());
        let deadline = Instant::now() + Duration::from_millis(20);
        while self.field.word(PRODUCED).load(Relaxed) == self.field.word(CONSUMED).load(Relaxed) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.condition.wait_timeout(&mut guard, left) {
                Ok(_) => {
                    self.count_tokens(guard.recovered());
                }
                Err(_) => return self.field.set(WRONG, BROKEN),
            }
            if left.is_zero() {
                return;
            }
        }
        let tokens = self.count_tokens(guard.recovered());
        self.field.word(CONSUMED).fetch_add(1, Relaxed);
        self.field.word(TOKENS).store(tokens - 1, Relaxed);
        drop(guard);
        self.done(7);
    }
}

fn mixer(world: World, seed: u64) {
    let mut random = Random(seed);
    while world.field.get(STOP) == 0 {
        match random.below(9) {
            0 => world.lock(),
            1 => world.rlock(),
            2 | 3 => world.read(),
            4 => world.write(),
            5 => world.permits(),
            6 => world.event(&mut random),
            7 => world.produce(),
            _ => world.consume(),
        }
    }
}

/// Meets the other parties again and again: each says its round, all meet, each looks at what the others said, all meet.
fn party(world: World, barrier: Barrier, place: usize) {
    let field = &world.field;
    loop {
        // To be there when all begin anew.
        let beginning = field.get(BEGINNING);
        field.set(READY + place, beginning + 1);
        while field.get(BEGINNING) == beginning {
            if field.get(STOP) != 0 {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        for round in beginning << 32.. {
            field.set(ROUND + place, round);
            let met = barrier.wait();
            if met.is_ok() && (0..PARTIES).any(|i| field.get(ROUND + i) != round) {
                field.set(WRONG, NOT_WHOLE);
            }
            match met.and_then(|_| barrier.wait()) {
                Ok(_) => world.done(8),
                Err(BarrierError::Broken) => break,
                Err(_) => return field.set(WRONG, BROKEN),
            }
        }
    }
}

struct Soak {
    world: World,
    barrier: Barrier,
    random: Random,
    mixers: Vec<Process>,
    /// By place.
    parties: Vec<Process>,
    /// What was done when it was looked at last, and since when.
    last: [(u64, Instant); WHAT.len()],
    longest: [Duration; WHAT.len()],
    kills: [u64; 2],
    longest_break: Duration,
}

impl Soak {
    fn look(&mut self) {
        for (what, name) in WHAT.iter().enumerate() {
            let (now, (before, since)) = (self.world.field.get(DONE + what), &mut self.last[what]);
            let stall = since.elapsed();
            assert!(stall < HANG, "{name} hangs");
            if *before != now {
                self.longest[what] = self.longest[what].max(stall);
                (*before, *since) = (now, Instant::now());
            }
        }
        let wrong = self.world.field.get(WRONG);
        assert_eq!(
            wrong, 0,
            "words unequal {UNEQUAL}, too many permits {TOO_MANY}, tokens miscounted {MISCOUNTED}, a round that was not whole \
             {NOT_WHOLE}, an error {BROKEN}"
        );
    }

    fn mixer(&mut self) -> Process {
        Process::spawn(mixer, (self.world.clone(), self.random.next())).unwrap()
    }

    fn party(&self, place: usize) -> Process {
        self.world.field.set(READY + place, 0);
        Process::spawn(party, (self.world.clone(), self.barrier.clone(), place)).unwrap()
    }

    /// Waits until every party is there but, if there is one, that which died.
    fn wait_for_parties(&self, dead: Option<usize>) {
        let next = self.world.field.get(BEGINNING) + 1;
        let since = Instant::now();
        while (0..PARTIES).any(|i| Some(i) != dead && self.world.field.get(READY + i) != next) {
            assert!(since.elapsed() < HANG, "a party does not hear that the barrier is broken");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Lets the parties begin, when all are there.
    fn begin(&mut self) {
        self.wait_for_parties(None);
        self.barrier.reset();
        self.world.field.set(BEGINNING, self.world.field.get(BEGINNING) + 1);
    }

    fn kill(process: &Process) {
        process.kill().unwrap();
        let status = process.join_timeout(HANG).unwrap().expect("a killed process ends");
        assert_eq!(status.signal(), Some(9), "it ended by itself: {status}");
    }

    fn strike(&mut self) {
        if self.random.below(6) > 0 {
            let i = self.random.below(MIXERS as u64) as usize;
            Self::kill(&self.mixers[i]);
            self.mixers[i] = self.mixer();
            self.kills[0] += 1;
        } else {
            let place = self.random.below(PARTIES as u64) as usize;
            let since = Instant::now();
            Self::kill(&self.parties[place]);
            self.wait_for_parties(Some(place)); // they may still have to look at the words of its last round
            self.longest_break = self.longest_break.max(since.elapsed());
            self.parties[place] = self.party(place);
            self.begin();
            self.kills[1] += 1;
        }
    }
}

#[test]
fn soak() {
    let seconds = from_environment("POLYPROC_SOAK_SECONDS").unwrap_or(3);
    let seed = from_environment("POLYPROC_SEED").unwrap_or_else(|| now_ns() | 1);
    println!("POLYPROC_SEED={seed}");
    watchdog(Duration::from_secs(seconds + 120), || {
        let family = Family::get().unwrap();
        family.participant().unwrap();
        Process::spawn(|| {}, ()).unwrap().join().unwrap(); // the lifeline
        let (leaks, before) = (LeakCheck::start(), family.stats());
        run(Duration::from_secs(seconds), seed);
        let after = family.stats();
        if held(&after) != held(&before) {
            let reaped = family.reap();
            let then = family.stats();
            panic!("left in the family's memory: {before:?} {after:?}, after {reaped:?}: {then:?}");
        }
        leaks.finish().unwrap();
    });
}

fn run(duration: Duration, seed: u64) {
    let world = World {
        lock: Lock::new().unwrap(),
        rlock: RLock::new().unwrap(),
        rwlock: RwLock::new().unwrap(),
        permits: Semaphore::new(PERMITS).unwrap(),
        event: Event::new().unwrap(),
        condition: Condition::new().unwrap(),
        field: Field::new(WORDS),
    };
    // In cells, all of them, so that whoever counts them counts none twice.
    drop([world.permits.try_acquire_owned().unwrap(), world.permits.try_acquire_owned().unwrap()]);
    let mut soak = Soak {
        world,
        barrier: Barrier::new(PARTIES as u32).unwrap(),
        random: Random(seed),
        mixers: Vec::new(),
        parties: Vec::new(),
        last: [(0, Instant::now()); WHAT.len()],
        longest: [Duration::ZERO; WHAT.len()],
        kills: [0; 2],
        longest_break: Duration::ZERO,
    };
    for _ in 0..MIXERS {
        let mixer = soak.mixer();
        soak.mixers.push(mixer);
    }
    soak.parties = (0..PARTIES).map(|place| soak.party(place)).collect();
    soak.begin();
    let since = Instant::now();
    while since.elapsed() < duration {
        std::thread::sleep(Duration::from_micros(1000 + soak.random.below(5000)));
        soak.look();
        soak.strike();
    }
    soak.world.field.word(STOP).store(1, SeqCst);
    soak.barrier.abort();
    for process in soak.mixers.iter().chain(&soak.parties) {
        let status = process.join_timeout(HANG).unwrap().expect("all end when they are told to");
        assert!(status.success(), "{status}");
    }
    soak.look();
    let (world, field) = (&soak.world, &soak.world.field);
    world.lock();
    world.rlock();
    world.write();
    world.read();
    world.produce();
    world.consume();
    let all: Vec<_> = (0..PERMITS).map(|_| world.permits.try_acquire_owned().expect("no permit is lost")).collect();
    assert!(world.permits.try_acquire_owned().is_err(), "no permit is doubled");
    drop(all);
    assert_eq!(field.get(WRONG), 0);
    let done: Vec<_> = WHAT.iter().enumerate().map(|(i, what)| (*what, field.get(DONE + i))).collect();
    println!(
        "soak of sync: {} kills of mixers, {} of parties, {done:?}, recovered {}, longest stalls {:.0?}, longest until \
         the others heard of a party's death {:.0?}",
        soak.kills[0],
        soak.kills[1],
        field.get(RECOVERED),
        soak.longest,
        soak.longest_break,
    );
    assert!(soak.kills[0] > 0 && done.iter().all(|(_, n)| *n > 0), "nothing happened");
}
