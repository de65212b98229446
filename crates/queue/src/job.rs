//! A task in the hands of a worker.

use crate::board::Board;
use crate::error::BoardError;
use crate::payload::reference;
use crate::raw::board::{ARGS, Cell, HEAD, INLINE, Place, Progress};
use crate::raw::queue::IN_BLOCK;
use polyproc_shm::{Block, Kind};
use polyproc_sys::atomic::Ordering::Relaxed;

/// A task that this worker has taken; dropped without [`Job::finish`] it stays taken, as if the worker had died.
///
/// See [`Board`] for an example.
#[must_use = "the poster waits for it to be finished"]
pub struct Job<'a> {
    board: &'a Board,
    cell: Cell<'static>,
    number: u32,
    turn: u32,
    worker: u32,
    head: [u64; HEAD],
    args: [u64; ARGS],
    progress: Progress,
    /// A copy of the results in the cell.
    small: [u8; INLINE],
    block: Option<Block>,
}

impl<'a> Job<'a> {
    pub(crate) fn new(board: &'a Board, cell: Cell<'static>, [number, turn, worker]: [u32; 3]) -> Self {
        let (head, args) = cell.task();
        let progress = Progress { items: 0, bytes: 0, place: Place::Cell };
        Self { board, cell, number, turn, worker, head, args, progress, small: [0; INLINE], block: None }
    }

    /// The task's head.
    #[must_use]
    pub fn head(&self) -> [u64; HEAD] {
        self.head
    }

    /// A copy of the bytes of the task's arguments.
    ///
    /// # Errors
    /// [`BoardError`] if they are not where the cell says: somebody scribbled over it.
    pub fn args(&self) -> Result<Vec<u8>, BoardError> {
        if self.args[0] & IN_BLOCK == 0 {
            let len = usize::try_from(self.args[0]).unwrap_or(usize::MAX).min((ARGS - 1) * 8);
            let bytes: Vec<u8> = self.args[1..].iter().flat_map(|w| w.to_le_bytes()).collect();
            return Ok(bytes[..len].to_vec());
        }
        let r = reference(&self.args);
        let from = self.board.family().at(r.offset, r.len)?;
        let len = usize::try_from(r.len).map_err(|_| BoardError::Broken)?;
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: `len` bytes are mapped from there on, and `bytes` has room for them; the poster keeps the block.
        unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
        // SAFETY: so many bytes were just written.
        unsafe { bytes.set_len(len) };
        Ok(bytes)
    }

    /// Adds the result of the next item and counts the item as finished: it survives the death of this worker.
    ///
    /// # Errors
    /// [`BoardError::Shm`] if there is no memory for it, [`BoardError::TooLarge`] if the task's results exceed 4 GiB.
    pub fn push(&mut self, result: &[u8]) -> Result<(), BoardError> {
        let start = self.progress.bytes as usize;
        let too_many = || BoardError::TooLarge;
        let end = start.checked_add(result.len()).ok_or_else(too_many)?;
        let bytes = u32::try_from(end).map_err(|_| too_many())?;
        let mut next = Progress { items: self.progress.items + 1, bytes, ..self.progress };
        if next.place == Place::Cell && end <= INLINE {
            self.small[start..end].copy_from_slice(result);
            for (word, bytes) in self.cell.inline().iter().zip(self.small.chunks_exact(8)).take(end.div_ceil(8)) {
                word.store(u64::from_le_bytes(bytes.try_into().expect("chunks of eight")), Relaxed);
            }
        } else {
            if self.block.as_ref().is_none_or(|b| b.capacity() < end as u64) {
                next.place = self.grow(end)?;
            }
            let block = self.block.as_ref().expect("made just now, or before");
            // SAFETY: the block has `end` bytes at least; a buffer's may overlap with it, in damaged memory.
            unsafe { block.as_ptr().wrapping_add(start).copy_from(result.as_ptr(), result.len()) };
        }
        self.progress = next;
        self.cell.set_progress(next);
        Ok(())
    }

    /// Moves the results to a larger block; where its reference is.
    fn grow(&mut self, needed: usize) -> Result<Place, BoardError> {
        const FIRST: u64 = 4096;
        let size = (needed as u64).max(FIRST).checked_next_power_of_two().unwrap_or(needed as u64);
        let size = if self.block.is_none() { size } else { size.saturating_mul(2) };
        let block = self.board.family().alloc(size, Kind::Data)?;
        let have = self.progress.bytes as usize;
        let from = self.block.as_ref().map_or(self.small.as_ptr(), |b| b.as_ptr().cast_const());
        // SAFETY: `have` bytes are in the old place, and the new block is larger; in damaged memory they may overlap.
        unsafe { block.as_ptr().copy_from(from, have) };
        let place = if self.progress.place == Place::First { Place::Second } else { Place::First };
        self.cell.set_reference(place, block.ref_().to_words());
        // The old block must not go before `progress` points to the new one.
        let moved = Progress { place, ..self.progress };
        self.progress = moved;
        self.cell.set_progress(moved);
        self.block = Some(block);
        Ok(place)
    }

    /// Tells the poster that the task is finished.
    ///
    /// # Errors
    /// [`BoardError`] if this thread cannot join the family.
    pub fn finish(mut self) -> Result<(), BoardError> {
        if let Some(block) = self.block.take() {
            let _ = block.into_ref(); // the poster claims it
        }
        self.board.tell_done(self.cell, [self.number, self.turn, self.worker])
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            let _ = block.into_ref(); // the cell names it
        }
    }
}

impl core::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { number, turn, worker, .. } = self;
        f.debug_struct("Job").field("cell", number).field("turn", turn).field("worker", worker).finish_non_exhaustive()
    }
}
