//! The machine and the kernel of a model: words with store buffers, futexes, kills and exits.

use super::program::{Got, Op, Program, Setup, Slept};

/// Words of memory.
const WORDS: usize = 8;
/// Stores that a buffer holds.
const BUFFER: usize = 3;
/// What the kernel reads and writes in a word: as in `polyproc_sys::robust`.
const TID: u64 = 0x3fff_ffff;
const DIED: u64 = 0x4000_0000;
const WAITERS: u64 = 0x8000_0000;

/// Whether a thread executes instructions, and if not, why.
///
/// ```
/// use polyproc_testing::model::Life;
/// assert_ne!(Life::Runs, Life::Dead);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// It does.
    Runs,
    /// It sleeps on a word, in a class.
    Sleeps(u8, u8),
    /// It was killed, and the kernel has not looked at its pending word yet.
    Killed,
    /// The kernel has, and owes a wake-up on a word.
    Owes(u8),
    /// Nothing is left of it.
    Dead,
}

/// One thread.
///
/// See [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread<P: Program<N>, const N: usize> {
    /// The next instruction; where it was killed.
    pub at: P::At,
    /// Its registers.
    pub local: P::Local,
    /// What it does.
    pub life: Life,
    pending: Option<u8>,
    buffer: [(u8, u64); BUFFER],
    stores: u8,
}

/// One state of a model.
///
/// ```
/// # use polyproc_testing::model::{Got, Op, Program, Setup, World};
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
/// struct Nothing;
/// impl Program<1> for Nothing {
///     type At = ();
///     type Local = ();
///     type Ghost = ();
///     fn start(&self, _: usize) -> ((), ()) { ((), ()) }
///     fn issue(&self, _: usize, (): (), (): &()) -> Op { Op::End }
///     fn after(&self, _: usize, (): (), (): &mut (), _: Got, (): &mut ()) {}
///     fn is_stranded(&self, _: &World<Self, 1>, _: usize) -> bool { false }
/// }
/// let world = World::new(&Nothing, &Setup::new("nothing happens"));
/// assert_eq!(world.memory[0], 0);
/// assert!(!world.sleeps(0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World<P: Program<N>, const N: usize> {
    /// What all threads see, all zero at first.
    pub memory: [u64; WORDS],
    /// The threads.
    pub threads: [Thread<P, N>; N],
    /// What no machine has.
    pub ghost: P::Ghost,
    /// How often the time of all sleeps has come.
    pub time: u8,
    /// Processes that were killed.
    killed: u8,
    kills: u8,
    interrupts: u8,
}

/// A step, for traces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Step(usize),
    Drain(usize),
    Kill(usize),
    Exit(usize),
    Interrupt(usize),
    Tick,
}

impl<P: Program<N>, const N: usize> World<P, N> {
    /// The first one.
    ///
    /// See [`World`] for an example.
    #[must_use]
    pub fn new(program: &P, setup: &Setup<N>) -> Self {
        let threads = std::array::from_fn(|i| {
            let (at, local) = program.start(i);
            Thread { at, local, life: Life::Runs, pending: None, buffer: [(0, 0); BUFFER], stores: 0 }
        });
        let Setup { kills, interrupts, .. } = *setup;
        Self { memory: [0; WORDS], threads, ghost: P::Ghost::default(), time: 0, killed: 0, kills, interrupts }
    }

    /// Whether a thread sleeps.
    ///
    /// See [`World`] for an example.
    #[must_use]
    pub fn sleeps(&self, thread: usize) -> bool {
        matches!(self.threads[thread].life, Life::Sleeps(..))
    }

    pub(super) fn check(&self, program: &P) -> Result<(), &'static str> {
        program.check(self)
    }

    /// Where the dead were killed, in the order of the text.
    pub(super) fn deaths(&self, program: &P) -> String {
        let dead = self.threads.iter().filter(|t| t.life == Life::Dead);
        let mut places: Vec<String> = dead.map(|t| program.place(t)).collect();
        places.sort();
        let places = if places.is_empty() { "nobody died".to_owned() } else { places.join(" + ") };
        places + program.remark(&self.ghost)
    }

    pub(super) fn describe(&self, program: &P, action: Action, after: &Self) -> String {
        let (Action::Step(i) | Action::Drain(i) | Action::Kill(i) | Action::Exit(i) | Action::Interrupt(i)) = action
        else {
            return "the time of all sleeps is over".to_owned();
        };
        let thread = &self.threads[i];
        let what = match action {
            Action::Step(_) => format!("{:?}: {:?}", thread.at, program.issue(i, thread.at, &thread.local)),
            Action::Drain(_) => format!("({:x?} reaches memory)", thread.buffer[0]),
            Action::Kill(_) => format!("is killed at {:?}, {:?}", thread.at, thread.life),
            Action::Exit(_) => format!("({:?} -> {:?} in the kernel)", thread.life, after.threads[i].life),
            _ => "is interrupted".to_owned(),
        };
        let woken: String = (0..N)
            .filter(|&j| j != i && self.sleeps(j) && !after.sleeps(j))
            .map(|j| format!(", wakes {}", name(j)))
            .collect();
        format!("{} {what}{woken}  {:x?}", name(i), &after.memory[..5])
    }

    /// Whether anything happens still, kills that need not be left out.
    pub(super) fn goes_on(&self, program: &P, setup: &Setup<N>) -> bool {
        let mut any = false;
        self.next(program, setup, &mut |action, _| {
            any |= match action {
                Action::Kill(i) => self.is_doomed(setup, i),
                Action::Interrupt(_) | Action::Tick => false,
                _ => true,
            };
        });
        any
    }

    fn is_doomed(&self, setup: &Setup<N>, i: usize) -> bool {
        self.killed & (1 << setup.process[i]) != 0
    }

    /// Every state that can come next, in an order that depends on this one alone.
    pub(super) fn next(&self, program: &P, setup: &Setup<N>, visit: &mut impl FnMut(Action, Self)) {
        // What concerns nobody else, of a thread that cannot be killed, can as well happen first.
        for (i, thread) in self.threads.iter().enumerate() {
            let may_die = self.is_doomed(setup, i) || self.kills > 0 && setup.victims[i];
            if thread.life == Life::Runs && !may_die && matches!(self.op(program, i), Op::Announce(_) | Op::Done) {
                self.step(program, i, visit);
                return;
            }
        }
        for (i, thread) in self.threads.iter().enumerate() {
            if thread.stores > 0 {
                let mut next = *self;
                next.drain(i);
                visit(Action::Drain(i), next);
            }
            match thread.life {
                Life::Runs => self.step(program, i, visit),
                Life::Sleeps(..) if self.interrupts > 0 => {
                    let mut next = *self;
                    next.interrupts -= 1;
                    next.wake(program, i, Slept::Changed);
                    visit(Action::Interrupt(i), next);
                }
                Life::Killed if thread.stores == 0 => {
                    let mut next = *self;
                    next.exit(program, i);
                    visit(Action::Exit(i), next);
                }
                Life::Owes(word) => {
                    let mut woke = false;
                    for j in self.sleepers(word, None) {
                        woke = true;
                        let mut next = *self;
                        next.threads[i].life = Life::Dead;
                        next.wake(program, j, Slept::Woken);
                        visit(Action::Exit(i), next);
                    }
                    if !woke {
                        let mut next = *self;
                        next.threads[i].life = Life::Dead;
                        program.unheard(&self.threads, &mut next.ghost);
                        visit(Action::Exit(i), next);
                    }
                }
                _ => {}
            }
            self.kill(program, setup, i, visit);
        }
        if self.time < setup.ticks {
            let mut next = *self;
            next.time += 1;
            (0..N).filter(|&i| self.sleeps(i)).for_each(|i| next.wake(program, i, Slept::TimedOut));
            visit(Action::Tick, next);
        }
    }

    fn kill(&self, program: &P, setup: &Setup<N>, i: usize, visit: &mut impl FnMut(Action, Self)) {
        let thread = &self.threads[i];
        let lives = thread.life == Life::Runs && self.op(program, i) != Op::End || self.sleeps(i);
        let doomed = self.is_doomed(setup, i);
        if lives && (doomed || self.kills > 0 && setup.victims[i]) {
            let mut next = *self;
            next.kills -= u8::from(!doomed);
            next.killed |= 1 << setup.process[i];
            next.threads[i].life = Life::Killed;
            next.threads[i].local = program.remains(i, &self.threads[i].local);
            visit(Action::Kill(i), next);
        }
    }

    fn op(&self, program: &P, i: usize) -> Op {
        program.issue(i, self.threads[i].at, &self.threads[i].local)
    }

    /// What the kernel does with the pending word of a thread whose stores have all reached memory.
    fn exit(&mut self, program: &P, i: usize) {
        self.threads[i].life = Life::Dead;
        program.exits(i, &mut self.ghost);
        let Some(word) = self.threads[i].pending else { return };
        let value = self.memory[usize::from(word)];
        if value & TID == 0 {
            self.threads[i].life = Life::Owes(word);
        } else if value & TID == i as u64 + 1 {
            self.memory[usize::from(word)] = value & WAITERS | DIED;
            program.marked(i, &mut self.ghost);
            if value & WAITERS != 0 {
                self.threads[i].life = Life::Owes(word);
            }
        }
    }

    fn sleepers(&self, word: u8, class: Option<u8>) -> impl Iterator<Item = usize> {
        let asleep =
            move |life: Life| matches!(life, Life::Sleeps(w, c) if w == word && class.is_none_or(|class| class == c));
        (0..N).filter(move |&i| asleep(self.threads[i].life))
    }

    fn wake(&mut self, program: &P, i: usize, how: Slept) {
        self.threads[i].life = Life::Runs;
        self.advance(program, i, how as u64, false);
    }

    fn advance(&mut self, program: &P, i: usize, value: u64, ok: bool) {
        let got = Got { value, ok, now: self.time };
        let thread = &mut self.threads[i];
        thread.at = program.after(i, thread.at, &mut thread.local, got, &mut self.ghost);
    }

    fn drain(&mut self, i: usize) {
        let thread = &mut self.threads[i];
        let (word, value) = thread.buffer[0];
        thread.buffer.copy_within(1.., 0);
        thread.buffer[BUFFER - 1] = (0, 0);
        thread.stores -= 1;
        self.memory[usize::from(word)] = value;
    }

    fn load(&self, i: usize, word: usize) -> u64 {
        let thread = &self.threads[i];
        let own = thread.buffer[..usize::from(thread.stores)].iter().rev().find(|(at, _)| usize::from(*at) == word);
        own.map_or(self.memory[word], |&(_, value)| value)
    }

    /// The next instruction of a running thread, if it can be executed now.
    fn step(&self, program: &P, i: usize, visit: &mut impl FnMut(Action, Self)) {
        let op = self.op(program, i);
        let stores = usize::from(self.threads[i].stores);
        let waits = match op {
            Op::Load(_) | Op::Announce(_) | Op::Done | Op::Choose => false,
            Op::Store(..) => stores == BUFFER,
            Op::End => true,
            _ => stores > 0,
        };
        if waits {
            return;
        }
        let mut next = *self;
        let (mut value, mut ok) = (0, false);
        match op {
            Op::Load(word) => value = self.load(i, word),
            Op::Store(word, new) => {
                next.threads[i].buffer[stores] = (small(word), new);
                next.threads[i].stores += 1;
            }
            Op::Cas(word, expected, new) => {
                (value, ok) = (self.memory[word], self.memory[word] == expected);
                if ok {
                    next.memory[word] = new;
                }
            }
            Op::Or(word, bits) => {
                value = self.memory[word];
                next.memory[word] |= bits;
            }
            Op::And(word, bits) => {
                value = self.memory[word];
                next.memory[word] &= bits;
            }
            Op::Barrier => (0..N).for_each(|j| (0..self.threads[j].stores).for_each(|_| next.drain(j))),
            Op::Wait { word, expected, bits, class, since } => {
                let same = (self.memory[word] ^ expected) & bits == 0;
                if same && since == self.time {
                    next.threads[i].life = Life::Sleeps(small(word), class);
                    return visit(Action::Step(i), next);
                }
                value = if same { Slept::TimedOut } else { Slept::Changed } as u64;
            }
            Op::Wake { word, class, all: false } => {
                let mut woke = false;
                for j in self.sleepers(small(word), Some(class)) {
                    woke = true;
                    let mut next = *self;
                    next.wake(program, j, Slept::Woken);
                    next.advance(program, i, 1, false);
                    visit(Action::Step(i), next);
                }
                if woke {
                    return;
                }
            }
            Op::Wake { word, class, all: true } => {
                for j in self.sleepers(small(word), Some(class)) {
                    next.wake(program, j, Slept::Woken);
                    value += 1;
                }
            }
            Op::Announce(word) => next.threads[i].pending = Some(small(word)),
            Op::Done => next.threads[i].pending = None,
            Op::Choose => {
                let mut other = next;
                other.advance(program, i, 1, false);
                visit(Action::Step(i), other);
            }
            Op::Fence | Op::End => {}
        }
        next.advance(program, i, value, ok);
        visit(Action::Step(i), next);
    }
}

fn small(word: usize) -> u8 {
    u8::try_from(word).expect("few words")
}

fn name(thread: usize) -> char {
    char::from(b'A' + u8::try_from(thread).expect("few threads"))
}
