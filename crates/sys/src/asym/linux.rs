//! membarrier(2), expedited and global: it reaches every process that registered, hence other processes too.

use core::sync::atomic::{Ordering, compiler_fence};

/// The frequent side of the barrier: an order for the compiler, no instruction.
///
/// ```
/// polyproc_sys::asym::light();
/// ```
#[inline]
pub fn light() {
    compiler_fence(Ordering::SeqCst);
}

/// The rare side of the barrier: after it, every [`light`] of a registered process is either before, with its earlier
/// stores visible here, or after, and then its later loads see our earlier stores.
///
/// Says `false` where the kernel refuses the call (a seccomp filter, gVisor): then sleep in short slices.
/// About 0.3 µs when the other CPUs are idle, some µs when they are busy.
///
/// ```
/// assert!(polyproc_sys::asym::heavy() || cfg!(miri));
/// ```
///
/// # References
/// * [membarrier(2)](https://man7.org/linux/man-pages/man2/membarrier.2.html), MEMBARRIER_CMD_GLOBAL_EXPEDITED
#[must_use]
pub fn heavy() -> bool {
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

/// Makes this process one that [`heavy`] of other processes reaches; once a process, anew after a fork.
pub(crate) fn register() {
    // A refusal shows at the first `heavy`, provided that the same filter applies to all relatives: a process that alone
    // may not register does not hear the others' barriers, and its wake-ups may be left to their tick.
    let _ = membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes no pointer.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
