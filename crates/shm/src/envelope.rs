//! The table of handles behind the bytes of a message.
//!
//! ```text
//! +0            the encoded value, `len` bytes
//! +len, to 8    the family's id
//! +8            for each handle: the ticket's block, its generation        16 bytes
//! ```
//! `len` and the number of handles are in the block's reference.

use crate::block::Block;
use crate::error::ShmError;
use crate::holds::Ticket;

const ENTRY: u64 = 16;

/// The bytes of a block for a message of `len` bytes and `handles` handles.
pub(crate) fn size(len: u64, handles: usize) -> u64 {
    match handles {
        0 => len,
        n => table(len) + 8 + n as u64 * ENTRY,
    }
}

fn table(len: u64) -> u64 {
    len.next_multiple_of(8)
}

/// Writes the table of the message in `block`, which was made with room for it.
pub(crate) fn write(block: &mut Block, tickets: &[Ticket]) {
    let (Ok(handles), true) = (u16::try_from(tickets.len()), size(block.len(), tickets.len()) <= block.capacity())
    else {
        return;
    };
    let words = tickets.iter().flat_map(|&(offset, generation)| [offset, u64::from(generation)]);
    let mut at = block.offset() + table(block.len());
    for word in core::iter::once(block.family().id()).chain(words) {
        // SAFETY: the size was compared with the block's capacity above; the block is this process's own, aligned to 16.
        unsafe { block.family().map.pointer(at).cast::<u64>().write(word) };
        at += 8;
    }
    block.set_handles(handles);
}

/// The tickets of the message in `block`; none if the table does not fit into the block.
///
/// # Errors
/// [`ShmError::OtherFamily`].
pub(crate) fn tickets(block: &Block) -> Result<Vec<Ticket>, ShmError> {
    let n = usize::from(block.handles());
    if n == 0 || block.len() > block.capacity() || size(block.len(), n) > block.capacity() {
        return Ok(Vec::new());
    }
    let read = |i: u64| {
        let at = block.offset() + table(block.len()) + i * 8;
        // SAFETY: the size was compared with the block's capacity above, which lies in the file; any bits are valid.
        unsafe { block.family().map.pointer(at).cast::<u64>().read() }
    };
    if read(0) != block.family().id() {
        return Err(ShmError::OtherFamily);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a generation has 21 bits; another number finds no ticket")]
    let tickets = (0..n as u64).map(|i| (read(1 + 2 * i), read(2 + 2 * i) as u32)).collect();
    Ok(tickets)
}
