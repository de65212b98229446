//! A CPU for each of two workers: left to itself, the scheduler puts a child that was just woken onto the CPU of whoever
//! woke it, and short runs are over before it moves one of them away.

use core::mem::MaybeUninit;
use libc::cpu_set_t;

/// Keeps this thread on one CPU until it is dropped.
#[derive(Debug)]
pub struct Pinned {
    before: Option<cpu_set_t>,
}

/// Puts this thread on the `n`th of the CPUs that it may use, if there are so many. Threads and processes that it starts
/// meanwhile stay there too.
pub fn pin(n: usize) -> Pinned {
    let _ = polyproc::parts::sys::spin::cpus(); // asked once a process: not while there seems to be one
    // SAFETY: zero bytes are the empty set.
    let mut before: cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: a set of that size, of this frame.
    if unsafe { libc::sched_getaffinity(0, size_of::<cpu_set_t>(), &raw mut before) } != 0 {
        return Pinned { before: None };
    }
    let limit = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: the number is below the size of a set.
    let mut allowed = (0..limit).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &before) });
    let Some(cpu) = allowed.nth(n) else { return Pinned { before: None } };
    // SAFETY: zero bytes are the empty set.
    let mut one: cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the number is below the size of a set.
    unsafe { libc::CPU_SET(cpu, &mut one) };
    set(&one);
    Pinned { before: Some(before) }
}

fn set(cpus: &cpu_set_t) {
    // SAFETY: a set of that size. A refusal only means more noise.
    let _ = unsafe { libc::sched_setaffinity(0, size_of::<cpu_set_t>(), cpus) };
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            set(before);
        }
    }
}
