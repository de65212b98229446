//! A process that sees one CPU: it does not spin before it sleeps, so that a victim has no thousand kill points in that.

use core::mem::MaybeUninit;
use libc::cpu_set_t;

/// Keeps this process, and all that it starts, on the first of the CPUs that it may use; to be called before anything has
/// asked how many there are.
///
/// ```
/// polyproc_testing::stay_on_one_cpu();
/// assert_eq!(std::thread::available_parallelism().unwrap().get(), 1);
/// ```
///
/// # Panics
/// If the kernel refuses.
pub fn stay_on_one_cpu() {
    let size = size_of::<cpu_set_t>();
    // SAFETY: zero bytes are the empty set.
    let [mut allowed, mut one]: [cpu_set_t; 2] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: a set of that size, of this frame.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) }, 0, "the kernel tells the CPUs");
    let limit = usize::try_from(libc::CPU_SETSIZE).expect("a number of bits");
    // SAFETY: the number is below the size of a set.
    let first = (0..limit).find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &allowed) }).expect("this process runs on a CPU");
    // SAFETY: as above.
    unsafe { libc::CPU_SET(first, &mut one) };
    // SAFETY: a set of that size, of this frame.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size, &raw const one) }, 0, "a CPU that was allowed is allowed");
}
