//! Families of named objects that this process has given up, to be used again: their address space cannot be given back while
//! threads are named to the kernel by words in it, and references to them last as long as the process.

use super::membership::Membership;
use super::seat::Hold;
use crate::family::Family;
use crate::fork_lock::lock;
use crate::map::Map;
use polyproc_sys::memory::Reservation;
use std::sync::Mutex;

static RETIRED: Mutex<Vec<&'static Family>> = Mutex::new(Vec::new());

/// The family is to be used again, when the last thread has left its tables. If that is now, so does this process.
pub(super) fn retire(family: &'static Family) {
    if family.threads.are_gone() {
        // SAFETY: its last hold has gone, and with it the last block; no thread is in its tables.
        unsafe { family.map.detach() };
    }
    if let Some(mut retired) = lock(&RETIRED) {
        retired.push(family);
    }
}

/// The content of a named segment, that of a family: a retired one with as much address space, or a new one.
pub(super) fn occupy(space: Reservation, member: Membership) -> (&'static Family, Hold<'static>) {
    let mut space = Some(space);
    let family = again(&mut space).unwrap_or_else(|| {
        let space = space.take().expect("it was given back where it did not fit");
        Family::leak(Map::named(space))
    });
    let seat = family.map.seat().expect("it was made for a segment with a name");
    // SAFETY: a new family, or one that nobody else has from the retired, which are empty.
    (family, unsafe { seat.take(member) })
}

/// A retired family with the content of `space`, which is taken then.
fn again(space: &mut Option<Reservation>) -> Option<&'static Family> {
    let wanted = space.as_ref()?.len();
    let mut retired = lock(&RETIRED)?;
    let fits = |family: &&'static Family| family.map.address_space() == wanted && family.threads.are_gone();
    let i = retired.iter().position(fits)?;
    let family = retired.swap_remove(i);
    // SAFETY: it was retired when its last hold went, and with it the last block; no thread is in its tables.
    match unsafe { family.map.replace(space.take()?) } {
        Ok(()) => {
            family.renew();
            Some(family)
        }
        Err(unmoved) => {
            *space = Some(unmoved);
            retired.push(family);
            None
        }
    }
}
