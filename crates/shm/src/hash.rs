//! Numbers that stand for texts and types, the same in programs that were built apart.

/// A number that stands for the type `T`, by its name and size: the same in every program that names it alike, whatever
/// compiler built it.
///
/// What a named object holds is compared by it, so that no program takes it for something else by mistake.
///
/// ```
/// use polyproc_shm::type_hash;
/// assert_eq!(type_hash::<(u32, u32)>(), type_hash::<(u32, u32)>());
/// assert_ne!(type_hash::<(u32, u32)>(), type_hash::<u64>());
/// ```
#[must_use]
pub fn type_hash<T: 'static>() -> u64 {
    fnv(fnv(FNV_START, core::any::type_name::<T>().as_bytes()), &(size_of::<T>() as u64).to_le_bytes())
}

/// The hash of some bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    fnv(FNV_START, bytes)
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of 64 bits, from `state` on: fixed for ever, unlike the hashers of the standard library.
fn fnv(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn a_text_has_the_hash_that_the_authors_of_fnv_give() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
