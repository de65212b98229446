//! Where everything lies in the family's file.
//!
//! ```text
//! 0        header, the holders lock in it           1 page
//! 4 Ki     process table                            4096 * 16 B
//! 68 Ki    participant table                        4096 * 64 B
//! 324 Ki   function table                           1024 * 32 B
//! 384 Ki   span table, backed as far as spans exist 4 Mi * 16 B
//! 64.4 Mi  spans of 64 KiB
//! ```

use super::{function::RawFunction, participant::RawParticipant, process::RawProcess, span::RawSpan};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const SPAN: u64 = 64 << 10;

pub(crate) const PROCESSES: u16 = 4096;
pub(crate) const PARTICIPANTS: u16 = 4096;
pub(crate) const FUNCTIONS: u32 = 1024;
/// Spans that the table has room for: 256 GiB.
pub(crate) const SPANS: u32 = 1 << 22;

pub(crate) const PROCESS_TABLE: u64 = PAGE;
pub(crate) const PARTICIPANT_TABLE: u64 = PROCESS_TABLE + PROCESSES as u64 * size_of::<RawProcess>() as u64;
pub(crate) const FUNCTION_TABLE: u64 = PARTICIPANT_TABLE + PARTICIPANTS as u64 * size_of::<RawParticipant>() as u64;
/// The bytes that are backed from the start.
pub(crate) const CONTROL: u64 = FUNCTION_TABLE + FUNCTIONS as u64 * size_of::<RawFunction>() as u64;
pub(crate) const SPAN_TABLE: u64 = CONTROL.next_multiple_of(SPAN);
pub(crate) const FIRST_SPAN: u64 = SPAN_TABLE + SPANS as u64 * size_of::<RawSpan>() as u64;

const _: () = assert!(CONTROL.is_multiple_of(PAGE) && FIRST_SPAN.is_multiple_of(SPAN));
/// The address space that a founder asks for; where it gets less the family's memory is limited to that (H2).
pub(crate) const RESERVE: u64 = 256 << 30;

/// Where span `i` starts.
#[inline]
pub(crate) fn span_offset(i: u32) -> u64 {
    FIRST_SPAN + u64::from(i) * SPAN
}

/// The span that `offset` lies in, if it lies in any.
#[inline]
pub(crate) fn span_of(offset: u64) -> Option<u32> {
    u32::try_from(offset.checked_sub(FIRST_SPAN)? / SPAN).ok()
}

/// The whole spans of a file of `size` bytes.
#[inline]
pub(crate) fn spans_in(size: u64) -> u32 {
    u32::try_from(size.saturating_sub(FIRST_SPAN) / SPAN).unwrap_or(SPANS).min(SPANS)
}
