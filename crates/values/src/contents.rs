//! What arrays own besides their own bytes, for the family's clearing up after the dead.

use crate::raw::array::RawArray;
use polyproc_shm::{BlockRef, Family, Kind, KindHooks, register_kind};

/// Tells the family what an array owns: the block of its elements, and that of
/// its claims. Every process of a program that uses arrays does so
/// before `main`, so that each can clear up after the others.
pub(crate) extern "C" fn register_array() {
    // SAFETY: an array owns these two blocks, which `trace` names and `free` frees; only here is the kind defined.
    unsafe { register_kind(Kind::Array, KindHooks { trace: trace_array, drop: free_array, holder_died: |_, _| {} }) };
}

#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER_ARRAY: extern "C" fn() = register_array;

fn trace_array(family: &'static Family, offset: u64, name: &mut dyn FnMut(BlockRef)) {
    if let Ok(Some(raw)) = RawArray::at(family, offset) {
        name(raw.data());
        raw.claims().map(name);
    }
}

fn free_array(family: &'static Family, offset: u64) {
    if let Ok(Some(raw)) = RawArray::at(family, offset) {
        drop(family.claim(raw.data()));
        drop(raw.claims().map(|r| family.claim(r)));
    }
}
