//! What runs in a worker process: tasks off the board, one after the other.

use polyproc_process::function::FnRef;
use polyproc_process::{CallError, items};
use polyproc_queue::{Board, BoardError, Job};
use polyproc_shm::{Family, Message, MessageError};
use polyproc_sys::Deadline;
use serde::{Serialize, de::DeserializeOwned};

/// How the result of an item begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// The value follows.
    Value = 0,
    /// What the panic said follows.
    Panicked = 1,
    /// What went wrong follows.
    NotRun = 2,
}

/// The initializer of a worker: a function, and its argument.
pub(crate) type Initializer<I> = Option<([u64; 2], I)>;

/// The head of a task: the function, the items to leave out, the items in all.
pub(crate) fn head(function: FnRef, start: u32, count: u32) -> [u64; 4] {
    let [index, hash] = function.to_words();
    [index, hash, twice(start), twice(count)]
}

/// A number and its complement: a worker that calls a function too often, because of a damaged word, might do so for ever.
fn twice(n: u32) -> u64 {
    u64::from(n) | u64::from(!n) << 32
}

/// What [`twice`] made the word of.
#[expect(clippy::cast_possible_truncation, reason = "its low half")]
fn once(word: u64) -> Result<u32, BoardError> {
    Some(word as u32).filter(|n| twice(*n) == word).ok_or(BoardError::Broken)
}

/// The work of a worker process: until the board is closed and empty.
pub(crate) fn work<I>(board: Board, number: u32, initializer: Initializer<I>) -> Result<(), String>
where
    I: Serialize + DeserializeOwned + 'static,
{
    if let Some((function, argument)) = initializer {
        let family = Family::get().map_err(|e| e.to_string())?;
        let argument = Message::encode(family, &argument).map_err(|e| e.to_string())?;
        FnRef::from_words(function).call(argument).map_err(|e| format!("the initializer failed: {e}"))?;
    }
    board.arrive();
    let mut result = Vec::new();
    loop {
        match board.take(number, Deadline::NEVER) {
            Ok(Some(job)) => run(job, &mut result).map_err(|e| e.to_string())?,
            Ok(None) => return Ok(()),
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// Runs the items of a task that are left; each result counts as soon as it is on the board.
fn run(mut job: Job<'_>, result: &mut Vec<u8>) -> Result<(), BoardError> {
    let [index, hash, start, count] = job.head();
    let (function, start, count) = (FnRef::from_words([index, hash]), once(start)?, once(count)?);
    let args = job.args()?;
    let mut rest = &args[..];
    let family = Family::get()?;
    for _ in 0..start {
        let _ = function.skip_item(family, &mut rest); // where the bytes end too early, each item below tells so
    }
    for _ in start..count {
        result.clear();
        result.push(Tag::Value as u8);
        match function.call_item(family, &mut rest, result) {
            Ok(()) => {}
            Err(CallError::Panicked { message }) => fail(result, Tag::Panicked, &message),
            Err(e) => fail(result, Tag::NotRun, &e.to_string()),
        }
        job.push(result)?;
    }
    job.finish()
}

fn fail(result: &mut Vec<u8>, tag: Tag, text: &str) {
    result.clear();
    result.push(tag as u8);
    if items::push(&text.to_owned(), result).is_err() {
        result.extend_from_slice(&0_u64.to_le_bytes()); // an empty text
    }
}

/// Takes one result off the front of `bytes`.
pub(crate) fn take_result<R: DeserializeOwned + 'static>(bytes: &mut &[u8]) -> Result<R, Failure> {
    let Some((tag, rest)) = bytes.split_first() else {
        return Err(Failure::NotRun("its result is missing".to_owned()));
    };
    *bytes = rest;
    let text = |bytes: &mut &[u8]| items::take::<String>(bytes).unwrap_or_else(|e| e.to_string());
    match *tag {
        t if t == Tag::Value as u8 => items::take(bytes).map_err(|e: MessageError| Failure::NotRun(e.to_string())),
        t if t == Tag::Panicked as u8 => Err(Failure::Panicked(text(bytes))),
        _ => Err(Failure::NotRun(text(bytes))),
    }
}

/// A result that is none.
#[derive(Debug)]
pub(crate) enum Failure {
    Panicked(String),
    NotRun(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_number_of_items_is_none() {
        for n in [0, 1, 512, u32::MAX] {
            assert_eq!(once(twice(n)).unwrap(), n);
            for bit in 0..64 {
                assert!(matches!(once(twice(n) ^ 1 << bit), Err(BoardError::Broken)));
            }
        }
        assert!(once(0).is_err() && once(7).is_err() && once(u64::MAX).is_err());
    }
}
