//! The word of a lock that counts its waiters, and says until when the count is to be believed; its bits are in the
//! table of [`lock`](super::lock).

use polyproc_sys::Deadline;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use polyproc_sys::deadline::now_ns;

pub(super) const FENCED: u64 = 1;
pub(super) const ONE: u64 = 1 << 1; // one waiter
pub(super) const COUNT: u64 = 0x7fff << 1;
const EXPIRY_SHIFT: u32 = 16;
const EXPIRY: u64 = 0xffff_ffff << EXPIRY_SHIFT;
pub(super) const GENERATION: u64 = 0xffff << 48;
pub(super) const ONE_GENERATION: u64 = 1 << 48;

/// How long a waiter sleeps that nobody may see.
pub(super) const SLICE: core::time::Duration = core::time::Duration::from_millis(1);

/// When whoever sleeps until `until` is certainly not counted any more, in milliseconds.
pub(super) fn expiry_at(until: Deadline) -> u32 {
    until.remaining().map_or(u32::MAX >> 1, |left| {
        low_ms(now_ns()).wrapping_add(u32::try_from(left.as_millis()).unwrap_or(u32::MAX >> 2)).wrapping_add(1)
    })
}

pub(super) fn with_expiry(wait: u64, expiry: u32) -> u64 {
    (wait & !EXPIRY) | u64::from(expiry) << EXPIRY_SHIFT
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds are counted modulo 2^32")]
fn low_ms(ns: u64) -> u32 {
    (ns / 1_000_000) as u32
}

pub(super) fn expiry_of(wait: u64) -> u32 {
    ((wait & EXPIRY) >> EXPIRY_SHIFT) as u32
}

/// Whether `a` comes after `b`, both modulo 2^32 and less than 2^31 apart.
pub(super) fn later(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

pub(super) fn expired(wait: u64) -> bool {
    later(low_ms(now_ns()), expiry_of(wait))
}

/// Sets `FENCED` for a waiter who has run the barrier since it was counted in `generation`. If its time has come and
/// the count was thrown away since, unlocks that saw nobody counted may still be on their way: they would not fence
/// (I5).
pub(super) fn raise_fence(wait: &AtomicU64, generation: u64) {
    let mut seen = wait.load(Relaxed);
    while seen & GENERATION == generation && seen & FENCED == 0 {
        match wait.compare_exchange_weak(seen, seen | FENCED, Relaxed, Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Takes one waiter out of the count, unless the whole count was thrown away since.
pub(super) fn retract(wait: &AtomicU64, generation: u64) {
    let mut seen = wait.load(Relaxed);
    while seen & GENERATION == generation && seen & COUNT != 0 {
        match wait.compare_exchange_weak(seen, seen - ONE, Relaxed, Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}
