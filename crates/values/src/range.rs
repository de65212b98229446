//! Ranges of elements, as slices have them.

use core::ops::{Bound, Range, RangeBounds};

/// The numbers of a range, if `len` elements have them.
#[track_caller]
pub(crate) fn checked(range: &impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let start = match range.start_bound() {
        Bound::Included(&i) => i,
        Bound::Excluded(&i) => i.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&i) => i.saturating_add(1),
        Bound::Excluded(&i) => i,
        Bound::Unbounded => len,
    };
    assert!(start <= end && end <= len, "range {start}..{end} is out of bounds: there are {len} elements");
    start..end
}
