//! Families of named objects that this process has given up, to be used again: references to them last as long as the process.

use super::membership::Membership;
use super::seat::Hold;
use crate::family::Family;
use crate::map::Map;
use polyproc_sys::memory::Reservation;
use polyproc_sys::per_process::PerProcess;

/// A forked child leaves those of its parent alone.
static RETIRED: PerProcess<Retired> = PerProcess::new();

#[derive(Default)]
struct Retired {
    /// With nothing mapped.
    vacant: Vec<&'static Family>,
    /// With their tables, where threads are named to the kernel.
    waiting: Vec<(&'static Family, Reservation)>,
}

impl Retired {
    /// Gives up the tables that all threads have left.
    fn settle(&mut self) {
        let mut i = 0;
        while let Some((family, _)) = self.waiting.get(i) {
            if family.threads.are_gone() {
                let (family, space) = self.waiting.swap_remove(i);
                family.map.vacate();
                drop(space);
                self.vacant.push(family);
            } else {
                i += 1;
            }
        }
    }
}

/// The last hold of the family's segment has gone: its memory is given up, the tables as soon as no thread is in them.
pub(super) fn retire(family: &'static Family, space: Reservation) {
    family.map.forget_size();
    if !family.threads.are_gone() {
        // SAFETY: who looks at spans keeps the segment open, or has a block, and so a hold.
        unsafe { space.blank(Map::END_OF_TABLES) };
    }
    let mut retired = RETIRED.lock();
    retired.waiting.push((family, space));
    retired.settle();
}

/// The content of a named segment, that of a family: a vacant one, or a new one.
pub(super) fn occupy(space: Reservation, member: Membership) -> (&'static Family, Hold<'static>) {
    let vacant = {
        let mut retired = RETIRED.lock();
        retired.settle();
        retired.vacant.pop()
    };
    let family = vacant.unwrap_or_else(Family::vacant);
    family.renew();
    family.map.occupy(&space);
    let seat = family.map.seat().expect("it was made for a segment with a name");
    // SAFETY: a new family, or one that was retired when its last hold went, and nobody else has from there.
    (family, unsafe { seat.take(member, space) })
}
