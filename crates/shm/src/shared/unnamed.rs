//! Shared memory without a name, in the memory of the family.

use crate::block::Block;
use crate::family::Family;
use crate::ids::BlockRef;
use crate::kind::{Kind, KindHooks, register_kind};
use crate::named::SegmentError;
use crate::object::Object;
use crate::raw::memory::RawMemory;
use polyproc_sys::memory::store;
use polyproc_sys::robust::forks;
use std::sync::Arc;

/// Tells the family what unnamed memory owns; every process does so before `main`, so that each can clear up after the
/// others.
extern "C" fn register() {
    // SAFETY: memory owns one block, which `trace` names and `free` frees; only here is the kind defined.
    unsafe { register_kind(Kind::Memory, KindHooks { trace, drop: free, holder_died: |_, _| {} }) };
}

#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;

fn trace(family: &'static Family, offset: u64, name: &mut dyn FnMut(BlockRef)) {
    if let Some(raw) = RawMemory::at(family, offset) {
        name(raw.data());
    }
}

fn free(family: &'static Family, offset: u64) {
    if let Some(raw) = RawMemory::at(family, offset) {
        drop(family.claim(raw.data()));
    }
}

/// A hold of unnamed memory.
#[derive(Clone, Debug)]
pub(super) struct Unnamed {
    pub(super) object: Arc<Object>,
    raw: &'static RawMemory,
    /// U2.
    at: *mut u8,
    limit: u64,
    /// How often this process had forked when it got this hold: a child that it forked later may use the memory.
    forks: u64,
}

// SAFETY: the pointer is to memory of the family, which is mapped for as long as the process lives; it is used by atomics,
// or by callers who see to it.
unsafe impl Send for Unnamed {}
// SAFETY: as above.
unsafe impl Sync for Unnamed {}

impl core::fmt::Debug for RawMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RawMemory").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Unnamed {
    /// `len` zeros, and room for `limit` bytes, which is memory from the start: the family's memory is backed when it is
    /// taken, so that nothing fails later.
    pub(super) fn create(len: u64, limit: u64) -> Result<Self, SegmentError> {
        let family = Family::get()?;
        let limit = limit.max(len);
        let data = family.alloc(limit, Kind::Data)?;
        zero(&data, limit);
        let object = Object::create(family, size_of::<RawMemory>() as u64, Kind::Memory)?;
        let raw = RawMemory::at(family, object.offset()).expect("a new object of its size, aligned to 16");
        let at = data.as_ptr();
        // The block becomes the object's when this process, which owns both, can no longer die between the two.
        raw.describe(data.ref_(), len);
        let _ = data.into_ref();
        Ok(Self { object: Arc::new(object), raw, at, limit, forks: forks() })
    }

    /// The memory of an object that arrived; `None` if its header makes no sense.
    pub(super) fn arrived(object: Arc<Object>) -> Option<Self> {
        let raw = RawMemory::at(object.family(), object.offset())?;
        let data = raw.data();
        let place = object.family().map.place_of(&data).ok()?;
        (place.kind == Kind::Data).then_some(())?;
        let at = object.family().at(data.offset, data.len).ok()?;
        Some(Self { object, raw, at, limit: data.len, forks: forks() })
    }

    #[inline]
    pub(super) fn len(&self) -> u64 {
        self.raw.len().min(self.limit)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.at
    }

    /// Up to the limit.
    pub(super) fn grow(&self, len: u64) {
        self.raw.raise_len(len.min(self.limit));
    }

    /// For the only holder; `false` if it is not.
    pub(super) fn shrink(&mut self, len: u64) -> bool {
        let old = self.len();
        if Arc::get_mut(&mut self.object).is_none_or(|object| object.is_shared()) || self.forks != forks() {
            return false;
        }
        if len < old {
            self.raw.lower_len(len);
            zeros(self.at, len, old - len);
        }
        true
    }
}

fn zero(block: &Block, len: u64) {
    zeros(block.as_ptr(), 0, len.min(block.capacity()));
}

/// Writes zeros to `len` bytes from `offset` on of memory at `at`, which its caller knows to be there.
fn zeros(at: *mut u8, offset: u64, len: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else { return };
    let mut done = 0;
    while done < len {
        let n = (len - done).min(ZEROS.len());
        // SAFETY: inside the block, as the caller knows.
        unsafe { store(at.wrapping_add(offset + done), &ZEROS[..n]) };
        done += n;
    }
}
