//! What lies in a slot behind the slot's word: a number, a length and bytes, or the reference of a block.

use crate::raw::Ring;
use crate::raw::queue::{IN_BLOCK, WIDE};
use crate::raw::ring::{NotNow, Owner, Take, Unchecked};
use core::any::{Any, TypeId};
use polyproc_shm::{Block, BlockRef, Family, Participant};
use polyproc_sync::raw::{RawGate, gate::Side};

/// Takes the next payload, if there is one; under an announcement.
#[inline(always)] // as `Ring::get`
pub(crate) fn try_take<const WIDTH: usize, const N: usize>(
    ring: &Ring<'_, WIDTH>,
    gate: &RawGate,
    family: &'static Family,
    decide: impl FnMut(&[u64; N], Unchecked<'_>) -> Take,
) -> Result<[u64; N], NotNow> {
    let mut skipped = false;
    let skip = |owner| {
        let dead = is_dead(family)(owner);
        skipped |= dead;
        dead
    };
    let mut words = [0; N];
    let got = ring.get(&mut words, skip, decide);
    if skipped {
        gate.ring(Side::Givers); // there is room where the dead producer's claim was
    }
    got.map(|()| words)
}

/// Makes the block of a wide payload, if it has one, this process's own: whoever claims it has the message, and a consumer
/// that dies after that takes it with it.
#[inline]
pub(crate) fn claim(
    family: &'static Family,
    payload: &[u64; WIDE - 1],
    read: Unchecked<'_>,
    block: &mut Option<Block>,
) -> Take {
    if payload[0] & IN_BLOCK == 0 {
        return Take::Yes;
    }
    if !read.is_whole() {
        return Take::Torn;
    }
    match family.claim(reference(payload)) {
        Ok(claimed) => {
            *block = Some(claimed);
            Take::Claimed
        }
        Err(_) => Take::Skip,
    }
}

pub(crate) fn reference(payload: &[u64]) -> BlockRef {
    BlockRef::from_words(core::array::from_fn(|i| payload.get(i + 1).copied().unwrap_or(0)))
}

pub(crate) fn owner(p: Participant) -> Owner {
    Owner::new(p.slot, p.generation)
}

pub(crate) fn is_dead(family: &'static Family) -> impl Fn(Owner) -> bool {
    |owner| !family.is_alive(Participant { slot: owner.slot(), generation: owner.generation() })
}

/// `value` as a `T`, if that is its type.
pub(crate) fn cast<V: 'static, T: 'static>(value: V) -> Result<T, V> {
    if TypeId::of::<V>() != TypeId::of::<T>() {
        return Err(value);
    }
    let mut value = Some(value);
    let any: &mut dyn Any = &mut value;
    Ok(any.downcast_mut::<Option<T>>().and_then(Option::take).expect("the types are the same"))
}
