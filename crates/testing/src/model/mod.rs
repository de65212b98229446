//! An explicit-state model checker: every interleaving of a few threads, down to store buffers, sleeping and death.
//!
//! Loom runs the real code, but under loom that is another program: barriers are fences, a plain store is a swap,
//! nobody dies. Here the code is written once more, as a step machine of one memory instruction a step ([`Program`]),
//! and everything else is as on the machine that it is for ([`World`]): x86's store buffers, `membarrier`, futexes, and
//! what the kernel does with a robust list's pending word when a thread dies.
//!
//! There is no clock: a wake-up that only a tick would repair is an end in which a living thread sleeps for ever. Each
//! such end is reported under the places where the dead were killed, so that a test can say which it knows and that
//! there is no other.
//!
//! # What a step is
//! | step | rule |
//! |---|---|
//! | a load | sees the thread's own youngest store to the word, else memory |
//! | a store | goes into the thread's buffer, first in, first out |
//! | a drain | the oldest store of a buffer reaches memory, at any time |
//! | a read-modify-write, a fence, a system call | waits until the own buffer is empty |
//! | the barrier | empties all buffers at once |
//! | a wait | compares and falls asleep in one step; a wake-up takes any one of the sleepers of its class |
//! | a kill | the thread leaves the futex's queue; what it has executed reaches memory |
//! | its exit, later | the kernel looks at the pending word once; where that is due it wakes one sleeper, later still |
//!
//! # Limits
//! * Total store order: what ARM reorders beside is not seen. Loom sees that.
//! * A buffer holds 3 stores; one thread announces one word; nobody's sleep ends by itself (but see
//!   [`Setup::interrupts`], [`Setup::ticks`]).
//! * States are told apart by 64-bit fingerprints: with ten million of them one is missed with a probability of 3 in a
//!   million.

mod explore;
mod program;
mod world;

pub use explore::{Report, explore};
pub use program::{Got, Op, Program, Setup, Slept};
pub use world::{Life, Thread, World};
