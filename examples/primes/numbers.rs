//! The work itself, the same in the workers and in the main process: which numbers are primes.

/// The primes of `first..=last`.
pub(crate) fn primes(first: u64, last: u64) -> Vec<u64> {
    (first..=last).filter(|n| is_prime(*n)).collect()
}

/// Trial division by 2, 3, and what lies beside the multiples of 6.
fn is_prime(n: u64) -> bool {
    if n < 4 || n.is_multiple_of(2) || n.is_multiple_of(3) {
        return n == 2 || n == 3;
    }
    let root = n.isqrt(); // below 2^32, so that `by` cannot overflow
    let mut by = 5;
    while by <= root {
        if n.is_multiple_of(by) || n.is_multiple_of(by + 2) {
            return false;
        }
        by += 6;
    }
    true
}
