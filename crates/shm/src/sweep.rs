//! Clearing up after a dead process: everything that only it held comes back.

use crate::family::Family;
use crate::holds::{Orphan, kinds_in_use};
use crate::ids::{BlockRef, ProcessId};
use crate::kind::{self, Kind};
use crate::map::Place;
use crate::raw::tag::Tag;
use polyproc_sys::atomic::Ordering::Acquire;
use std::collections::HashSet;

/// What came back when dead processes were cleared up.
///
/// ```
/// use polyproc_shm::{Family, Reclaimed};
/// let family = Family::get()?;
/// family.reap();
/// assert_eq!(family.reap(), Reclaimed::default()); // everything was cleared up just now
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reclaimed {
    /// Dead processes that were cleared up.
    pub processes: u32,
    /// Blocks that were freed.
    pub blocks: u64,
    /// Holds on shared objects that were released.
    pub holds: u64,
    /// Tickets of messages that are gone.
    pub tickets: u64,
    /// Objects that nobody held any more.
    pub objects: u64,
    /// There are objects of a kind whose hooks this process lacks ([`register_kind`](crate::register_kind)): it cannot tell
    /// what the dead process's blocks are still needed for, so nothing was done. Another process clears up, or this one if
    /// it is asked again when those objects are gone. Or it could not begin: see [`ShmError::Stuck`](crate::ShmError::Stuck).
    pub skipped: bool,
}

impl core::ops::AddAssign for Reclaimed {
    fn add_assign(&mut self, other: Self) {
        self.processes += other.processes;
        self.blocks += other.blocks;
        self.holds += other.holds;
        self.tickets += other.tickets;
        self.objects += other.objects;
        self.skipped |= other.skipped;
    }
}

impl Family {
    /// Takes back what only the dead process `p` held: its blocks, its holds on shared objects, its slot.
    ///
    /// Blocks that a live object refers to stay: messages that it sent and nobody has taken. The kernel is asked whether
    /// the process is dead, as it says after `waitid` and when the process's pidfd is readable: nothing happens for one
    /// that is not, nor for one that was cleared up already. May be called again, by anybody at any time.
    ///
    /// It takes time in proportion to the number of blocks, and holds up who sends or drops handles meanwhile.
    ///
    /// ```
    /// use polyproc_shm::{Family, ProcessId, Reclaimed};
    /// let family = Family::get()?;
    /// let stranger = ProcessId { slot: 7, generation: 1 };
    /// assert_eq!(family.process_died(stranger), Reclaimed::default()); // no such process
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn process_died(&'static self, p: ProcessId) -> Reclaimed {
        let Ok(_open) = self.map.keep_open() else { return Reclaimed::default() };
        if p == self.registered_me() || !self.identity(p).is_some_and(|process| process.is_dead()) {
            return Reclaimed::default();
        }
        self.clear_up(p)
    }

    /// [`Family::process_died`], with proof.
    fn clear_up(&'static self, p: ProcessId) -> Reclaimed {
        self.with_holders(|orphans| if self.is_registered(p) { self.sweep(p, orphans) } else { Reclaimed::default() })
            .unwrap_or(Reclaimed { skipped: true, ..Reclaimed::default() })
    }

    /// Clears up after every process of the family whose death is proven.
    ///
    /// It asks the kernel about each process of the family: some microseconds for each.
    ///
    /// ```
    /// let family = polyproc_shm::Family::get()?;
    /// assert!(!family.reap().skipped);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub fn reap(&'static self) -> Reclaimed {
        let mut all = Reclaimed::default();
        let Ok(_open) = self.map.keep_open() else { return all };
        for (id, process) in self.processes() {
            if id != self.registered_me() && process.is_dead() {
                all += self.clear_up(id);
            }
        }
        all
    }

    /// Tells an object that a process which held it has died.
    fn tell_of_death(&'static self, (object, generation): (u64, u32)) {
        let Ok(place) = self.map.place(object) else { return };
        let tag = Tag(place.tag.load(Acquire));
        if tag.generation() == generation
            && tag.count().is_some()
            && let Some(hooks) = kind::hooks(place.kind)
        {
            (hooks.holder_died)(self, object);
        }
    }

    /// Under the holders lock. Every step finds what it looks for by the words alone and can be done again.
    fn sweep(&'static self, p: ProcessId, orphans: &mut Vec<Orphan>) -> Reclaimed {
        let mut done = Reclaimed::default();
        let missing = self.map.header().kinds.load(Acquire) & !kind::registered();
        let _ = self.map.refresh();
        if missing & kinds_in_use(self) != 0 {
            done.skipped = true;
            return done;
        }
        let me = self.registered_me();
        let is_dead = |q: ProcessId| q != me && (q == p || !self.is_registered(q));
        let dead_owner = |tag: Tag| tag.owner().filter(|&q| is_dead(q));

        // 1. Its holds, and cells that it never finished. In a family with a name all members hold the object that has it.
        self.tell_of_death(self.root_block());
        self.for_each_cell(|_, place, tag, cell| {
            let Some(owner) = dead_owner(tag) else { return };
            match cell.read() {
                None => {
                    self.free_block(place, tag.generation(), owner);
                }
                Some(record) if record.message.is_none() => {
                    self.tell_of_death((record.object, record.generation));
                    self.release_cell(place, tag, cell, orphans);
                    done.holds += 1;
                }
                Some(_) => {} // a ticket: judged in step 5
            }
        });
        // 2. What it left half counted.
        self.recount(orphans);

        // 3. What live objects refer to, then its own objects, which are dropped like any other, and what those refer to.
        let mut kept: HashSet<(u64, u32, ProcessId)> = HashSet::new();
        let mut trace = |offset: u64, kind: Kind| {
            if let Some(hooks) = kind::hooks(kind) {
                let mut keep = |r: BlockRef| {
                    kept.insert((r.offset, r.generation, r.owner));
                };
                (hooks.trace)(self, offset, &mut keep);
            }
        };
        self.for_each_block(|offset, place, tag| {
            if dead_owner(tag).is_none() {
                trace(offset, place.kind);
            }
        });
        let mut own: Vec<(u64, Place, Tag, ProcessId)> = Vec::new();
        self.for_each_block(|offset, place, tag| {
            if let Some(owner) = dead_owner(tag).filter(|_| place.kind != Kind::Cell) {
                own.push((offset, *place, tag, owner));
            }
        });
        let is_kept =
            |kept: &HashSet<_>, b: &(u64, Place, Tag, ProcessId)| kept.contains(&(b.0, b.2.generation(), b.3));
        let (objects, own): (Vec<_>, Vec<_>) = own.into_iter().partition(|b| kind::hooks(b.1.kind).is_some());
        for b in &objects {
            if !is_kept(&kept, b)
                && self.adopt_object(b.0, &b.1, b.2, orphans)
                && let Some(hooks) = kind::hooks(b.1.kind)
            {
                (hooks.trace)(self, b.0, &mut |r| {
                    kept.insert((r.offset, r.generation, r.owner));
                });
            }
        }

        // 4. Its other blocks become ours: from here on nobody claims them.
        let mut freed: HashSet<u64> = HashSet::new();
        for b in own.iter().filter(|b| !is_kept(&kept, b)) {
            let generation = b.2.generation();
            if self.take_over(&b.1, (b.3, generation), (me, generation)) {
                freed.insert(b.0);
            }
        }
        // 5. The tickets of messages that are gone, or go now.
        self.for_each_cell(|_, place, tag, cell| {
            let Some((message, generation)) = cell.read().and_then(|r| r.message) else { return };
            let alive = !freed.contains(&message)
                && self.map.place(message).is_ok_and(|m| {
                    let now = Tag(m.tag.load(Acquire));
                    now.owner().is_some() && now.continues(generation)
                });
            if !alive {
                self.release_cell(place, tag, cell, orphans);
                done.tickets += 1;
            }
        });
        // 6. Free the blocks, then the slot: nothing names the process any more but messages that somebody will take.
        for b in &own {
            if freed.contains(&b.0) && self.free_block(&b.1, b.2.generation(), me) {
                done.blocks += 1;
            }
        }
        if let Some((pid, generation, _)) = self.map.process(p.slot).occupant()
            && generation == p.generation
        {
            self.map.process(p.slot).release(pid, generation);
            done.processes = 1;
        }
        done.objects = orphans.len() as u64;
        done
    }
}
