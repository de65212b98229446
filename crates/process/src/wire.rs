//! A message as the eight words that lie in a start record.
//!
//! Word 0 is 0 for a block, whose reference follows; else it is 1 + the number of inline bytes, which follow.

use crate::raw::start::WORDS;
use polyproc_shm::{BlockRef, Family, Message};

/// Takes the message apart. A block in it is nobody's guard any more: [`receive`] or [`discard`] it.
pub(crate) fn send(message: Message) -> [u64; WORDS] {
    let mut all = [0; WORDS];
    match message {
        Message::Inline { words, len } => {
            all[0] = u64::from(len) + 1;
            all[1..7].copy_from_slice(&words);
        }
        Message::Block(block) => all[1..5].copy_from_slice(&block.into_ref().to_words()),
    }
    all
}

/// Makes this process the owner of a message that came as words; `None` if they are damaged or somebody else has it.
pub(crate) fn receive(family: &'static Family, words: [u64; WORDS]) -> Option<Message> {
    let [kind, rest @ ..] = words;
    if let Some(len) = kind.checked_sub(1) {
        let len = u8::try_from(len).ok().filter(|len| *len <= 48)?;
        let [a, b, c, d, e, f, _] = rest;
        return Some(Message::Inline { words: [a, b, c, d, e, f], len });
    }
    let [a, b, c, d, ..] = rest;
    family.claim(BlockRef::from_words([a, b, c, d])).ok().map(Message::Block)
}

/// Frees what the message has, if nobody took it.
pub(crate) fn discard(family: &'static Family, words: [u64; WORDS]) {
    drop(receive(family, words));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_and_block_messages_arrive_once() {
        let family = Family::get().unwrap();
        for text in ["short".to_owned(), "long".repeat(100)] {
            let words = send(Message::encode(family, &text).unwrap());
            assert_eq!(receive(family, words).unwrap().decode::<String>(family).unwrap(), text);
            assert_eq!(receive(family, words).is_some(), text.len() < 48, "a block can be claimed once");
        }
    }

    #[test]
    fn garbage_is_no_message() {
        let family = Family::get().unwrap();
        assert!(receive(family, [50; WORDS]).is_none());
        assert!(receive(family, [u64::MAX; WORDS]).is_none());
        assert!(receive(family, [0; WORDS]).is_none());
    }
}
