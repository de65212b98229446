//! Copies between private bytes and bytes that others may write meanwhile.
//!
//! Each access is an atomic one, without order: what races is old or new, word by word, and never undefined. A piece of 1, 2,
//! 4 or 8 bytes that is aligned to its size goes in one access: it is never torn. So are the aligned words of longer ones.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// The length of the bytes before the first aligned word, at most `len`.
fn head(at: *const u8, len: usize) -> usize {
    at.align_offset(8).min(len)
}

/// Copies bytes that others may write meanwhile to `to`.
///
/// # Safety
/// * `to.len()` bytes from `from` on are mapped until the call returns, and whoever writes them meanwhile does so by atomic
///   accesses, or in another process.
///
/// # Examples
/// ```
/// use polyproc_sys::memory::{load, store};
/// let mut shared = [1_u8, 2, 3];
/// let at = shared.as_mut_ptr();
/// // SAFETY: three bytes that nobody else uses.
/// unsafe { store(at, &[4, 5]) };
/// let mut bytes = [0; 3];
/// // SAFETY: as above.
/// unsafe { load(at, &mut bytes) };
/// assert_eq!(bytes, [4, 5, 3]);
/// ```
#[inline]
pub unsafe fn load(from: *const u8, to: &mut [u8]) {
    macro_rules! whole {
        ($atomic:ty) => {{
            // SAFETY: mapped by the caller's duty, aligned as was looked at; any bits are valid.
            let word = unsafe { &*from.cast::<$atomic>() };
            to.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }};
    }
    match to.len() {
        1 => whole!(AtomicU8),
        2 if from.addr().is_multiple_of(2) => whole!(AtomicU16),
        4 if from.addr().is_multiple_of(4) => whole!(AtomicU32),
        8 if from.addr().is_multiple_of(8) => whole!(AtomicU64),
        // SAFETY: the caller's duty.
        _ => unsafe { load_many(from, to) },
    }
}

/// Copies `from` to bytes that others may read and write meanwhile.
///
/// # Safety
/// * As of [`load`], for `from.len()` bytes from `to` on, which may be written.
///
/// # Examples
/// See [`load`].
#[inline]
pub unsafe fn store(to: *mut u8, from: &[u8]) {
    macro_rules! whole {
        ($atomic:ty, $word:ty) => {{
            // SAFETY: mapped by the caller's duty, aligned as was looked at; any bits are valid.
            let word = unsafe { &*to.cast::<$atomic>() };
            word.store(<$word>::from_ne_bytes(from.try_into().expect("the length was looked at")), Relaxed);
        }};
    }
    match from.len() {
        1 => whole!(AtomicU8, u8),
        2 if to.addr().is_multiple_of(2) => whole!(AtomicU16, u16),
        4 if to.addr().is_multiple_of(4) => whole!(AtomicU32, u32),
        8 if to.addr().is_multiple_of(8) => whole!(AtomicU64, u64),
        // SAFETY: the caller's duty.
        _ => unsafe { store_many(to, from) },
    }
}

/// # Safety
/// * As of [`load`].
unsafe fn load_many(from: *const u8, to: &mut [u8]) {
    let (first, rest) = to.split_at_mut(head(from, to.len()));
    // SAFETY: the first part of the caller's bytes.
    let bytes = unsafe { core::slice::from_raw_parts(from.cast::<AtomicU8>(), first.len()) };
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = from.load(Relaxed));
    if rest.is_empty() {
        return; // perhaps before the first aligned word
    }
    let from = from.wrapping_add(first.len());
    let (words, last) = rest.as_chunks_mut::<8>();
    // SAFETY: the second part of them, aligned by `head`.
    let shared = unsafe { core::slice::from_raw_parts(from.cast::<AtomicU64>(), words.len()) };
    words.iter_mut().zip(shared).for_each(|(to, from)| *to = from.load(Relaxed).to_ne_bytes());
    let from = from.wrapping_add(words.len() * 8);
    // SAFETY: the last part of them.
    let bytes = unsafe { core::slice::from_raw_parts(from.cast::<AtomicU8>(), last.len()) };
    last.iter_mut().zip(bytes).for_each(|(to, from)| *to = from.load(Relaxed));
}

/// # Safety
/// * As of [`store`].
unsafe fn store_many(to: *mut u8, from: &[u8]) {
    let (first, rest) = from.split_at(head(to, from.len()));
    // SAFETY: the first part of the caller's bytes.
    let bytes = unsafe { core::slice::from_raw_parts(to.cast::<AtomicU8>(), first.len()) };
    first.iter().zip(bytes).for_each(|(from, to)| to.store(*from, Relaxed));
    if rest.is_empty() {
        return; // as in `load_many`
    }
    let to = to.wrapping_add(first.len());
    let (words, last) = rest.as_chunks::<8>();
    // SAFETY: the second part of them, aligned by `head`.
    let shared = unsafe { core::slice::from_raw_parts(to.cast::<AtomicU64>(), words.len()) };
    words.iter().zip(shared).for_each(|(from, to)| to.store(u64::from_ne_bytes(*from), Relaxed));
    let to = to.wrapping_add(words.len() * 8);
    // SAFETY: the last part of them.
    let bytes = unsafe { core::slice::from_raw_parts(to.cast::<AtomicU8>(), last.len()) };
    last.iter().zip(bytes).for_each(|(from, to)| to.store(*from, Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_at_every_place_arrives() {
        let mut shared = [0_u64; 8];
        let base: *mut u8 = shared.as_mut_ptr().cast();
        let pattern: [u8; 40] = core::array::from_fn(|i| u8::try_from(i + 1).unwrap());
        for at in 0..16 {
            for len in 0..=40 {
                // SAFETY: 64 bytes of this frame, which nobody else uses.
                unsafe { base.write_bytes(0, 64) };
                // SAFETY: as above; 16 + 40 are less.
                unsafe { store(base.wrapping_add(at), &pattern[..len]) };
                let mut all = [1; 64];
                // SAFETY: as above.
                unsafe { load(base, &mut all) };
                assert_eq!(all[at..at + len], pattern[..len]);
                assert!(all[..at].iter().chain(&all[at + len..]).all(|&b| b == 0));
                let mut part = vec![0; len];
                // SAFETY: as above.
                unsafe { load(base.wrapping_add(at), &mut part) };
                assert_eq!(part, pattern[..len]);
            }
        }
    }
}
