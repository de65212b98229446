//! Tools for the tests of polyproc: kill at every instruction, survivors, watchdogs, leak check, re-exec, a small
//! test runner.
//!
//! | module           | what for                                                                           |
//! |------------------|------------------------------------------------------------------------------------|
//! | [`kill`]         | single-step a victim, SIGKILL it after every instruction, check what is left       |
//! | [`pair`]         | two victims, killed at every pair of their instructions                            |
//! | [`interleave`]  | stop a subject before each system call, let another one act, see what comes of it      |
//! | [`model`]        | every interleaving of a few step machines, with store buffers, futexes and death   |
//! | [`survivor`]     | forked processes that live beside the victim and must be able to go on             |
//! | [`mod@watchdog`] | a test that hangs says where it hangs and aborts                                   |
//! | [`leaks`]        | no child, file descriptor or `/dev/shm` entry may be left behind                   |
//! | [`reexec`]       | death tests in ordinary libtest binaries: one ignored test in a process of its own |
//! | [`scribble`]     | a hostile peer: writes at random over the memory that others use                   |
//! | [`runner`]       | test binaries with `harness = false`: one thread, so that they may fork            |
//!
//! What forks (kill, survivors) refuses to run in a process with other threads: use [`runner`] or [`reexec`].
//! This crate is not published; it names libc and std atomics because it must not depend on what it tests.

pub mod interleave;
pub mod kill;
pub mod leaks;
pub mod model;
pub mod pair;
pub mod reexec;
pub mod runner;
pub mod scribble;
pub mod survivor;
pub mod watchdog;

mod fork;
mod one_cpu;
mod plan;
mod proc;
mod tracee;

pub use interleave::{Interleaving, interleave_at_every_system_call};
pub use kill::{Kill, KillReport, Scenario, kill_at_every_instruction};
pub use leaks::{LeakCheck, Leaks};
pub use one_cpu::stay_on_one_cpu;
pub use pair::{Deaths, Pair, Victim, kill_pairs};
pub use scribble::Scribbler;
pub use survivor::{Control, Survivor};
pub use watchdog::{watchdog, watchdog_single_threaded};
