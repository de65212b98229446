//! What a model consists of: instructions, the step machines made of them, and what may befall them.

use super::world::{Thread, World};
use std::fmt;
use std::hash::Hash;

/// One instruction, or one system call.
///
/// ```
/// use polyproc_testing::model::Op;
/// assert_ne!(Op::Load(0), Op::Store(0, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a word.
    Load(usize),
    /// Writes a word, by way of the buffer.
    Store(usize, u64),
    /// Compares a word with the first value and replaces it by the second.
    Cas(usize, u64, u64),
    /// Sets bits.
    Or(usize, u64),
    /// Keeps only these bits.
    And(usize, u64),
    /// A full fence.
    Fence,
    /// The heavy side of the asymmetric barrier.
    Barrier,
    /// `FUTEX_WAIT` with a class of sleepers.
    Wait {
        /// The word.
        word: usize,
        /// What it must be, as far as `bits` go.
        expected: u64,
        /// The bits that the kernel compares: its word may be part of a wider one, at the lower end.
        bits: u64,
        /// Who may wake this sleeper.
        class: u8,
        /// When it was decided how long to sleep: if time has come since, the sleep is over at once.
        since: u8,
    },
    /// `FUTEX_WAKE`; says how many were woken.
    Wake {
        /// The word.
        word: usize,
        /// Whom.
        class: u8,
        /// All of them, not one.
        all: bool,
    },
    /// Names a word in the pending slot.
    Announce(usize),
    /// Clears the pending slot.
    Done,
    /// Either 0 or 1.
    Choose,
    /// Nothing more to do.
    End,
}

/// What an instruction came to.
///
/// ```
/// use polyproc_testing::model::Got;
/// assert!(Got { value: 7, ok: true, now: 0 }.ok);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    /// The word as it was before; how many were woken; [`Slept`] as a number; what was chosen.
    pub value: u64,
    /// A compare-and-swap succeeded.
    pub ok: bool,
    /// [`World::time`].
    pub now: u8,
}

/// How a wait ended: `Got::value` is one of these `as u64`.
///
/// ```
/// assert_eq!(polyproc_testing::model::Slept::Woken as u64, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// By a wake-up.
    Woken,
    /// The word was another one; or a signal came.
    Changed,
    /// The time that it may last was over.
    TimedOut,
}

/// What `N` threads do.
///
/// See [`explore`](super::explore) for an example.
pub trait Program<const N: usize>: Copy + Eq + Hash + fmt::Debug {
    /// The places between instructions.
    type At: Copy + Eq + Hash + fmt::Debug;
    /// A thread's registers.
    type Local: Copy + Eq + Hash + fmt::Debug;
    /// What no machine has: who is inside, whose death is to be told.
    type Ghost: Copy + Eq + Hash + Default + fmt::Debug;

    /// Where a thread begins.
    fn start(&self, thread: usize) -> (Self::At, Self::Local);
    /// The instruction at a place.
    fn issue(&self, thread: usize, at: Self::At, local: &Self::Local) -> Op;
    /// What comes behind it.
    fn after(
        &self,
        thread: usize,
        at: Self::At,
        local: &mut Self::Local,
        got: Got,
        ghost: &mut Self::Ghost,
    ) -> Self::At;
    /// A thread that sleeps in an end: whether it must not.
    fn is_stranded(&self, world: &World<Self, N>, thread: usize) -> bool;

    /// The kernel has marked the pending word of a dead thread that owned it.
    fn marked(&self, _thread: usize, _ghost: &mut Self::Ghost) {}
    /// The kernel looks at the pending word of a dead thread now: from here on others may know of its death.
    fn exits(&self, _thread: usize, _ghost: &mut Self::Ghost) {}
    /// The kernel passes a dead thread's wake-up on, and nobody sleeps there.
    fn unheard(&self, _threads: &[Thread<Self, N>; N], _ghost: &mut Self::Ghost) {}
    /// What to say of an end beside the places where the dead were killed.
    fn remark(&self, _ghost: &Self::Ghost) -> &'static str {
        ""
    }
    /// What is kept of the registers of a thread that was killed: what [`Program::place`] tells of them, since the rest
    /// only makes states different that are not.
    fn remains(&self, thread: usize, _local: &Self::Local) -> Self::Local {
        self.start(thread).1
    }
    /// Invariants of every state.
    ///
    /// # Errors
    /// What is broken.
    fn check(&self, _world: &World<Self, N>) -> Result<(), &'static str> {
        Ok(())
    }
    /// The name of a place where a thread was killed.
    fn place(&self, thread: &Thread<Self, N>) -> String {
        format!("{:?}", thread.at)
    }
}

/// Who may die, and what else may happen.
///
/// ```
/// use polyproc_testing::model::Setup;
/// let setup = Setup { kills: 1, victims: [true, true, false], ..Setup::new("two of three may die, one does") };
/// assert_eq!(setup.process, [0, 1, 2]); // each is a process of its own
/// ```
#[derive(Clone, Debug)]
pub struct Setup<const N: usize> {
    /// For reports.
    pub name: &'static str,
    /// How many processes are killed at most.
    pub kills: u8,
    /// Threads whose death may be the first of their process.
    pub victims: [bool; N],
    /// The process of each thread. When one thread of a process was killed, the others die too, each at any time after.
    pub process: [u8; N],
    /// How many sleeps end by a signal at most.
    pub interrupts: u8,
    /// How often all sleeps end by time at most, and those that were decided on before and have not begun.
    pub ticks: u8,
    /// The search stops at the first end in which somebody is stranded.
    pub first: bool,
    /// More states than these are too many.
    pub most: usize,
}

impl<const N: usize> Setup<N> {
    /// Nobody dies.
    ///
    /// ```
    /// assert_eq!(polyproc_testing::model::Setup::<2>::new("nobody dies").kills, 0);
    /// ```
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let process = std::array::from_fn(|i| u8::try_from(i).expect("few threads"));
        Self { name, kills: 0, victims: [true; N], process, interrupts: 0, ticks: 0, first: false, most: 10_000_000 }
    }
}
