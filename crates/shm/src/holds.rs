//! Who holds the shared objects: cells, counts and the lock under which they change.
//!
//! The states and invariants are those of `raw/cell.rs` and `raw/tag.rs`. Every function here may be killed at any
//! instruction: cells are written before and cleared before the count that they stand for, and a count that a dead process
//! left wrong is counted anew by the next one inside.

use crate::block::Block;
use crate::error::ShmError;
use crate::family::Family;
use crate::ids::ProcessId;
use crate::kind::{self, KINDS, Kind};
use crate::map::{At, Place};
use crate::object::Object;
use crate::raw::cell::{RawCell, Record};
use crate::raw::holders::Stuck;
use crate::raw::layout::span_offset;
use crate::raw::tag::Tag;
use polyproc_sys::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::collections::HashMap;
use std::sync::Arc;

/// An object that nobody holds any more and that this process has made its own, to be dropped outside of the lock.
#[derive(Debug)]
pub(crate) struct Orphan {
    offset: u64,
    generation: u32,
    kind: Kind,
}

/// A handle's place in a message: the block of its ticket and that block's generation.
pub(crate) type Ticket = (u64, u32);

impl Family {
    /// Runs `f` under the holders lock, then drops the objects that came to nobody's hands.
    ///
    /// # Errors
    /// [`ShmError::Stuck`] if a living thread seems to hold the lock and does not give it up; then nothing is done.
    pub(crate) fn with_holders<R>(&'static self, f: impl FnOnce(&mut Vec<Orphan>) -> R) -> Result<R, ShmError> {
        let mut orphans = Vec::new();
        let known = self.stuck.load(Relaxed);
        let inside = self.map.header().holders.lock(known).map_err(|Stuck(thread)| {
            self.stuck.store(thread, Relaxed);
            ShmError::Stuck { thread }
        })?;
        if known != 0 {
            self.stuck.store(0, Relaxed);
        }
        if inside.died {
            self.recount(&mut orphans);
        }
        let result = f(&mut orphans);
        drop(inside);
        for orphan in orphans {
            self.finish(&orphan);
        }
        Ok(result)
    }

    /// Drops an object that this process has made its own.
    fn finish(&'static self, orphan: &Orphan) {
        let me = self.registered_me();
        if me == ProcessId::NOBODY {
            return; // not registered yet: a later sweep finds the object, nobody's
        }
        if let Some(hooks) = kind::hooks(orphan.kind) {
            (hooks.drop)(self, orphan.offset);
        }
        if let Ok(place) = self.map.place(orphan.offset) {
            self.free_block(&place, orphan.generation, me);
        }
    }

    /// Whether this process knows all that objects of this kind own.
    pub(crate) fn can_drop(&self, kind: Kind) -> bool {
        self.map.header().kinds.load(Acquire) & 1 << kind as u8 == 0 || kind::hooks(kind).is_some()
    }

    pub(crate) fn is_shared(&self, offset: u64, generation: u32) -> bool {
        self.map.place(offset).is_ok_and(|p| {
            let tag = Tag(p.tag.load(Acquire));
            tag.generation() == generation && tag.count().is_some()
        })
    }

    /// Visits every block that is in use.
    pub(crate) fn for_each_block(&self, mut f: impl FnMut(u64, &Place, Tag)) {
        let _ = self.map.refresh();
        let mut i = 0;
        while let Some(span) = self.map.span(i) {
            if let Some((kind, class)) = self.map.slab(i) {
                for index in 0..class.count() {
                    let Some(tag) = self.map.tag(i, class, index) else { break };
                    let now = Tag(tag.load(Acquire));
                    if now.owner().is_some() || now.count().is_some() {
                        let at = At::Slab { span: i, class, index };
                        let place = Place { tag, kind, capacity: class.size(), at };
                        f(span_offset(i) + class.block_at(index), &place, now);
                    }
                }
            } else if span.is_run()
                && let Ok(place) = self.map.place(span_offset(i))
            {
                f(span_offset(i), &place, Tag(place.tag.load(Acquire)));
            }
            i += 1;
        }
    }

    /// Visits every cell; under the holders lock.
    pub(crate) fn for_each_cell(&self, mut f: impl FnMut(u64, &Place, Tag, &'static RawCell)) {
        self.for_each_block(|offset, place, tag| {
            if place.kind == Kind::Cell
                && let Some(cell) = self.map.cell(offset)
            {
                f(offset, place, tag, cell);
            }
        });
    }

    /// Counts the cells and sets every count right (C1); under the holders lock.
    pub(crate) fn recount(&self, orphans: &mut Vec<Orphan>) {
        let mut counts: HashMap<(u64, u32), u64> = HashMap::new();
        self.for_each_cell(|_, place, tag, cell| {
            let (Some(record), Some(owner)) = (cell.read(), tag.owner()) else { return };
            if record.message.is_none() && !self.is_shared(record.object, record.generation) {
                // A forked child died while it shared an object of its parent's: it gave the parent the cell, and did not
                // come to the count. The parent does not know of the cell, so nobody else frees its block.
                cell.clear();
                self.free_block(place, tag.generation(), owner);
                return;
            }
            *counts.entry((record.object, record.generation)).or_default() += 1;
        });
        self.for_each_block(|offset, place, tag| {
            let Some(count) = tag.count() else { return };
            let cells = counts.get(&(offset, tag.generation())).copied().unwrap_or(0);
            let right = cells + u64::from(self.is_root(offset, tag.generation()));
            if right != 0 && right != count {
                place.tag.store(Tag::shared(tag.generation(), right).0, Release);
            } else if right == 0 {
                self.orphan(offset, place, tag, orphans);
            }
        });
    }

    /// Makes an object that nobody holds this process's own, if this process can drop it.
    fn orphan(&self, offset: u64, place: &Place, tag: Tag, orphans: &mut Vec<Orphan>) {
        let (generation, kind) = (tag.generation(), place.kind);
        if !self.can_drop(kind) {
            place.tag.store(Tag::shared(generation, 0).0, Release); // a sweep by somebody who can finds it
            return;
        }
        let owned = Tag::owned(generation, self.registered_me());
        if place.tag.compare_exchange(tag.0, owned.0, AcqRel, Relaxed).is_ok() {
            orphans.push(Orphan { offset, generation, kind });
        }
    }

    /// Makes a dead process's object this process's own, to be dropped; under the holders lock.
    pub(crate) fn adopt_object(&self, offset: u64, place: &Place, tag: Tag, orphans: &mut Vec<Orphan>) -> bool {
        let before = orphans.len();
        self.orphan(offset, place, tag, orphans);
        orphans.len() > before
    }

    /// Clears a set cell, frees its block and lowers the count of its object; under the holders lock.
    pub(crate) fn release_cell(&self, place: &Place, tag: Tag, cell: &RawCell, orphans: &mut Vec<Orphan>) {
        let (Some(record), Some(owner)) = (cell.read(), tag.owner()) else { return };
        // First the owner: killed from here on, the cell is one that this process never finished, or never released.
        let (me, generation) = (self.registered_me(), tag.generation());
        if !self.take_over(place, (owner, generation), (me, generation)) {
            return;
        }
        cell.clear(); // C2: from here on the count may be one too high, which a recount sets right
        if let Ok(object) = self.map.place(record.object) {
            let now = Tag(object.tag.load(Acquire));
            if now.generation() == record.generation {
                match now.count() {
                    Some(0 | 1) => self.orphan(record.object, &object, now, orphans),
                    Some(n) => object.tag.store(Tag::shared(now.generation(), n - 1).0, Release),
                    None => {}
                }
            }
        }
        self.free_block(place, generation, me);
    }

    /// Makes a ticket for each of `objects`, which the message in the block (offset, generation) will carry.
    pub(crate) fn add_tickets(
        &'static self,
        objects: &[Arc<Object>],
        message: (u64, u32),
    ) -> Result<Vec<Ticket>, ShmError> {
        // The blocks of the cells first: there may be no memory for them.
        let mut spare = Vec::with_capacity(objects.len() * 2);
        for object in objects {
            for _ in 0..1 + u8::from(object.cell.load(Acquire) == 0) {
                spare.push(self.alloc(size_of::<RawCell>() as u64, Kind::Cell)?);
            }
        }
        self.with_holders(|orphans| {
            let mut tickets = Vec::with_capacity(objects.len());
            for object in objects {
                match self.add_ticket(object, message, &mut spare) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(e) => {
                        self.release_all(&tickets, message.0, orphans);
                        return Err(e);
                    }
                }
            }
            Ok(tickets)
        })?
    }

    fn add_ticket(&self, object: &Object, message: (u64, u32), spare: &mut Vec<Block>) -> Result<Ticket, ShmError> {
        let gone = || ShmError::ObjectGone { offset: object.offset };
        let place = self.map.place(object.offset)?;
        let mut tag = Tag(place.tag.load(Acquire));
        if tag.generation() != object.generation || place.kind != object.kind {
            return Err(gone());
        }
        if let Some(owner) = tag.owner() {
            let block = spare.pop().ok_or_else(gone)?;
            let cell = self.map.cell(block.offset()).ok_or_else(gone)?;
            cell.write(Record { object: object.offset, generation: object.generation, message: None });
            let hold = (block.offset(), block.generation());
            if owner == object.home && owner == block.owner() {
                object.cell.store(block.offset(), Release);
                let _ = block.into_ref();
            } else {
                // In a forked child: the hold is the parent's, and the parent will look for it.
                let r = block.into_ref();
                let place = self.map.place(r.offset)?;
                self.take_over(&place, (r.owner, r.generation), (owner, r.generation));
            }
            let shared = Tag::shared(tag.generation(), 1);
            if place.tag.compare_exchange(tag.0, shared.0, AcqRel, Relaxed).is_err() {
                // Its owner has just begun to drop it. The cell, which names nothing, goes with its block.
                object.cell.store(0, Release);
                cell.clear();
                if let Ok(place) = self.map.place(hold.0) {
                    self.free_block(&place, hold.1, owner);
                }
                return Err(gone());
            }
            tag = shared;
        }
        let count = tag.count().ok_or_else(gone)?;
        let block = spare.pop().ok_or_else(gone)?;
        let cell = self.map.cell(block.offset()).ok_or_else(gone)?;
        cell.write(Record { object: object.offset, generation: object.generation, message: Some(message) });
        place.tag.store(Tag::shared(tag.generation(), count + 1).0, Release); // C2
        let r = block.into_ref();
        Ok((r.offset, r.generation))
    }

    /// Releases those of `tickets` that are tickets of the message in the block at `message`; under the holders lock.
    fn release_all(&self, tickets: &[Ticket], message: u64, orphans: &mut Vec<Orphan>) {
        for &ticket in tickets {
            if let Some((place, tag, cell, _)) = self.find_ticket(ticket, message) {
                self.release_cell(&place, tag, cell, orphans);
            }
        }
    }

    /// The cell of a ticket of the message in the block at `message`; under the holders lock.
    fn find_ticket(&self, ticket: Ticket, message: u64) -> Option<(Place, Tag, &'static RawCell, Record)> {
        let cell = self.map.cell(ticket.0)?;
        let place = self.map.place(ticket.0).ok()?;
        let tag = Tag(place.tag.load(Acquire));
        let record = cell.read()?;
        let is_its = record.message.is_some_and(|(offset, _)| offset == message);
        (tag.generation() == ticket.1 && tag.owner().is_some() && is_its).then_some((place, tag, cell, record))
    }

    /// Releases the tickets that are left of the message in `block`, which is about to be freed.
    pub(crate) fn release_tickets(&'static self, block: &Block) {
        let tickets = crate::envelope::tickets(block).unwrap_or_default(); // those of another family are not ours
        if !tickets.is_empty() {
            // Where it fails they stay as they are: a sweep finds that their message is gone.
            let _ = self.with_holders(|orphans| self.release_all(&tickets, block.offset(), orphans));
        }
    }

    /// Turns a ticket of the message in the block at `message` into a hold of this process.
    pub(crate) fn take_ticket(
        &'static self,
        message: u64,
        ticket: Ticket,
        (kind, least): (Kind, u64),
    ) -> Result<Object, ShmError> {
        let me = self.try_me()?;
        self.with_holders(|_| {
            let (place, tag, cell, record) = self.find_ticket(ticket, message).ok_or(ShmError::BadHandle)?;
            let gone = ShmError::ObjectGone { offset: record.object };
            let object = self.map.place(record.object)?;
            if !self.is_shared(record.object, record.generation) {
                return Err(gone);
            }
            if object.kind != kind {
                return Err(ShmError::WrongKind { wanted: kind, found: object.kind });
            }
            if object.capacity < least {
                return Err(ShmError::BadHandle);
            }
            let owner = tag.owner().ok_or(gone)?;
            // First the owner, then the hold: killed in between, it is a ticket of a message that dies with this process.
            self.take_over(&place, (owner, tag.generation()), (me, tag.generation()));
            cell.make_hold();
            Ok(Object::held(self, record.object, record.generation, kind, object.capacity, me, ticket.0))
        })?
    }

    /// Gives up this process's hold on a shared object; `cell` is its cell, or 0 if somebody else made it.
    #[cold]
    pub(crate) fn drop_hold(&'static self, object: &Object, cell: u64) {
        let mine = |tag: Tag, record: Option<Record>| {
            let hold = Record { object: object.offset, generation: object.generation, message: None };
            tag.owner() == Some(object.home) && record == Some(hold)
        };
        // Where it fails this process holds the object until it ends.
        let _ = self.with_holders(|orphans| {
            if let (Some(c), Ok(place)) = (self.map.cell(cell), self.map.place(cell)) {
                let tag = Tag(place.tag.load(Acquire));
                if mine(tag, c.read()) {
                    return self.release_cell(&place, tag, c, orphans);
                }
            }
            // Any other hold of this process on this object will do: they are all alike.
            let mut other = None;
            self.for_each_cell(|_, place, tag, c| {
                if mine(tag, c.read()) {
                    other = Some((*place, tag, c));
                }
            });
            if let Some((place, tag, c)) = other {
                self.release_cell(&place, tag, c, orphans);
            }
        });
    }
}

/// The kinds, as bits, of which some block is in use.
pub(crate) fn kinds_in_use(family: &Family) -> u64 {
    const { assert!(KINDS <= 64) };
    let mut kinds = 0;
    family.for_each_block(|_, place, _| kinds |= 1 << place.kind as u8);
    kinds
}
