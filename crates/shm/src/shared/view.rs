//! Looking at bytes that others change: checked places, one copy, no reference.

use crate::named::SegmentError;
use bytemuck::{NoUninit, Pod};
use polyproc_sys::memory::{load, store};

/// Bytes of a mapping that lives longer: invariant: `len` bytes from `at` on are mapped and backed.
pub(super) struct View {
    pub(super) at: *mut u8,
    pub(super) len: u64,
}

impl View {
    /// The address of `len` bytes from `offset` on.
    #[inline]
    fn place(&self, offset: u64, len: usize, what: impl FnOnce() -> String) -> Result<*mut u8, SegmentError> {
        let (len, size) = (len as u64, self.len);
        match offset.checked_add(len).filter(|end| *end <= size).and_then(|_| usize::try_from(offset).ok()) {
            Some(offset) => Ok(self.at.wrapping_add(offset)),
            None => Err(SegmentError::OutOfBounds { what: what(), offset, len, size }),
        }
    }

    #[inline]
    pub(super) fn read(&self, offset: u64, to: &mut [u8], what: impl FnOnce() -> String) -> Result<(), SegmentError> {
        let from = self.place(offset, to.len(), what)?;
        // SAFETY: so many bytes from there on are mapped, by `place`.
        unsafe { load(from, to) };
        Ok(())
    }

    /// The caller knows that the mapping may be written.
    #[inline]
    pub(super) fn write(&self, offset: u64, from: &[u8], what: impl FnOnce() -> String) -> Result<(), SegmentError> {
        let to = self.place(offset, from.len(), what)?;
        // SAFETY: so many bytes from there on are mapped, by `place`, for writing.
        unsafe { store(to, from) };
        Ok(())
    }

    #[inline]
    pub(super) fn get<T: Pod>(&self, i: u64, what: impl FnOnce() -> String) -> Result<T, SegmentError> {
        let mut value = T::zeroed();
        self.read(i.saturating_mul(size_of::<T>() as u64), bytemuck::bytes_of_mut(&mut value), what)?;
        Ok(value)
    }

    #[inline]
    pub(super) fn set<T: NoUninit>(&self, i: u64, value: T, what: impl FnOnce() -> String) -> Result<(), SegmentError> {
        self.write(i.saturating_mul(size_of::<T>() as u64), bytemuck::bytes_of(&value), what)
    }
}
