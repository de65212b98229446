//! The types whose bytes may lie in shared memory, and their way in and out word by word.

use bytemuck::{CheckedBitPattern, NoUninit, Zeroable};

/// A type that can lie in shared memory as its bytes: numbers and arrays of them, `bool`, `char`, and structs and enums with
/// [bytemuck](https://docs.rs/bytemuck)'s derives (in arrays only if they are `Pod`: no `[bool; 3]`). No references, no
/// `String`, no `Vec`: they are addresses, which mean nothing in another process.
///
/// All such types are `Plain` by themselves. For your own, derive [`NoUninit`] and [`CheckedBitPattern`], or `Pod` and
/// `Zeroable` if any bits are a value:
///
/// ```
/// use bytemuck::{CheckedBitPattern, NoUninit};
///
/// #[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
/// #[repr(u8)]
/// enum State {
///     Idle,
///     Busy,
/// }
///
/// let state = polyproc_values::Value::new(State::Idle)?;
/// state.set(State::Busy);
/// assert_eq!(state.get(), State::Busy);
/// # Ok::<(), polyproc_values::ValueError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in shared memory as its bytes",
    label = "no value, nor an element of an array",
    note = "numbers, arrays of numbers, `bool` and `char` can (for `[bool; N]` take `[u8; N]`); texts and lists travel through a `Queue`",
    note = "a struct or an enum of your own: `#[derive(Clone, Copy, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]` and `#[repr(C)]`, without gaps between its fields (put a field where one is)"
)]
pub trait Plain: CheckedBitPattern + NoUninit + Send + Sync {}

#[diagnostic::do_not_recommend]
impl<T: CheckedBitPattern + NoUninit + Send + Sync> Plain for T {}

/// How many words a `T` takes.
pub(crate) const fn words<T>() -> usize {
    size_of::<T>().div_ceil(8)
}

/// Word `i` of a value's bytes; what lies behind them is zero.
#[inline]
pub(crate) fn word_of<T: Plain>(value: &T, i: usize) -> u64 {
    let bytes = bytemuck::bytes_of(value);
    let mut word = [0; 8];
    let some = bytes.get(i * 8..).unwrap_or_default();
    let some = &some[..some.len().min(8)];
    word[..some.len()].copy_from_slice(some);
    u64::from_le_bytes(word)
}

/// A private copy of bytes that may be a `T` or not.
pub(crate) struct Bits<T: Plain>(T::Bits);

impl<T: Plain> Bits<T> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(T::Bits::zeroed())
    }

    /// Word `i` of the bytes; what lies behind them is dropped.
    #[inline]
    pub(crate) fn put(&mut self, i: usize, word: u64) {
        let Some(n) = size_of::<T>().checked_sub(i * 8).map(|left| left.min(8)) else { return };
        let bytes = word.to_le_bytes();
        let to = (&raw mut self.0).cast::<u8>().wrapping_add(i * 8);
        // SAFETY: `n` bytes from `8 * i` on are inside of `T::Bits`, which has the size of `T` by its contract, and any bytes
        // are a `T::Bits`; a private array cannot overlap with it.
        unsafe { bytes.as_ptr().copy_to_nonoverlapping(to, n) };
    }

    /// The value, if the bytes are one.
    #[inline]
    pub(crate) fn value(&self) -> Option<T> {
        T::is_valid_bit_pattern(&self.0).then(|| {
            // SAFETY: the bits are those of a `T`, which has the layout of `T::Bits`, and a `T` is `Copy`.
            unsafe { (&raw const self.0).cast::<T>().read() }
        })
    }
}
