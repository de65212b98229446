//! A buffer's bytes are its own, whoever has seen references to its block.

use polyproc_shm::{Buffer, Family, Kind, Message, ShmError};

#[test]
fn two_buffers_are_never_the_same_bytes() {
    let family = Family::get().unwrap();
    let block = family.alloc(100, Kind::Data).unwrap();
    let twin = family.claim(block.ref_()).unwrap();
    let again = twin.ref_();
    assert!(matches!(Buffer::from_block(block), Err(ShmError::Gone(_))), "the twin has claimed it");
    let mut buffer = Buffer::from_block(twin).unwrap();
    buffer.fill(7);
    assert!(matches!(family.claim(again), Err(ShmError::Gone(_))), "an old reference is good for nothing");
}

#[test]
fn a_buffer_is_not_freed_under_its_owner() {
    let family = Family::get().unwrap();
    let block = Buffer::copy_of(&[7; 100]).unwrap().into_block();
    let reference = block.ref_();
    let buffer: Buffer = Message::Block(block).decode(family).unwrap();
    drop(family.claim(reference));
    let other = Buffer::copy_of(&[9; 100]).unwrap();
    assert_eq!((&*buffer, &*other), (&[7; 100][..], &[9; 100][..]));
}
