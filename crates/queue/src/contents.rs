//! What queues and boards own besides their own bytes, for the family's clearing up after the dead.

use crate::board::RawBoard;
use crate::payload::{claim, reference, try_take};
use crate::raw::board::{Cell, Phase, WIDTH};
use crate::raw::queue::{IN_BLOCK, RawQueue, Slots, WIDE};
use polyproc_shm::{BlockRef, Family, Kind, KindHooks, register_kind};

/// Tells the family what a queue owns: its slots and the blocks of its messages. Every process of a program that uses
/// queues does so before `main`, so that each can clear up after the others.
pub(crate) extern "C" fn register_queue() {
    // SAFETY: `trace` names the slots and every message in them, `drain` frees these alone; only here is the kind defined.
    unsafe { register_kind(Kind::Queue, KindHooks { trace: trace_queue, drop: drain_queue, holder_died: |_, _| {} }) };
}

#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER_QUEUE: extern "C" fn() = register_queue;

fn trace_queue(family: &'static Family, offset: u64, name: &mut dyn FnMut(BlockRef)) {
    let Ok(Some(parts)) = RawQueue::at(family, offset) else { return };
    name(parts.slots);
    if let Slots::Wide(ring) = parts.ring {
        ring.for_each(&mut [0; WIDE - 1], |payload| {
            if payload[0] & IN_BLOCK != 0 {
                name(reference(payload));
            }
        });
    }
}

fn drain_queue(family: &'static Family, offset: u64) {
    let Ok(Some(parts)) = RawQueue::at(family, offset) else { return };
    if let Slots::Wide(ring) = parts.ring {
        let mut block = None;
        while try_take(&ring, &parts.raw.gate, family, |payload, read| claim(family, payload, read, &mut block)).is_ok()
        {
            block = None;
        }
    }
    drop(family.claim(parts.slots));
}

/// Tells the family what a board owns: its cells and rings, and the results that lie in blocks.
/// As for queues, before `main`.
pub(crate) extern "C" fn register_board() {
    // SAFETY: `trace` names the words and every result that a cell names, `free` frees these alone; only here is the kind
    // defined.
    unsafe { register_kind(Kind::Board, KindHooks { trace: trace_board, drop: free_board, holder_died: |_, _| {} }) };
}

#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER_BOARD: extern "C" fn() = register_board;

fn trace_board(family: &'static Family, offset: u64, name: &mut dyn FnMut(BlockRef)) {
    let Ok(Some(parts)) = RawBoard::at(family, offset) else { return };
    name(parts.words);
    for cell in parts.cells.chunks_exact(WIDTH).filter_map(Cell::new) {
        if matches!(cell.look().1, Phase::Running(_) | Phase::Done(_)) {
            // A block at the other place is on its way here, or was left: it is its owner's alone.
            name(BlockRef::from_words(cell.reference(cell.progress().place)));
        }
    }
}

fn free_board(family: &'static Family, offset: u64) {
    let Ok(Some(parts)) = RawBoard::at(family, offset) else { return };
    trace_board(family, offset, &mut |r| {
        if r != parts.words {
            drop(family.claim(r));
        }
    });
    drop(family.claim(parts.words));
}
