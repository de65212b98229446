//! Queues whose header and slots a relative has written over.

use super::input::Input;
use super::memory::{Region, reference, tickets};
use super::ring::ring;
use core::time::Duration;
use polyproc_queue::Queue;
use polyproc_shm::{Family, Kind, Message};
use polyproc_sync::Lock;
use polyproc_sys::Deadline;
use serde::{Serialize, de::DeserializeOwned};

/// The most steps with one queue.
const STEPS: usize = 64;
/// The words of a queue's header where its slots' reference lies.
const SLOTS: usize = 27;
/// Marks a payload that lies in a block.
const IN_BLOCK: u64 = 1 << 63;

/// Uses a queue, or a bare ring, while `data` writes over its header and its slots.
///
/// # Panics
/// If anything is wrong with the library.
pub fn queue(data: &[u8]) {
    let input = &mut Input::new(data);
    match input.byte() % 4 {
        0 => scribbled(input, u64::from),
        1 => scribbled(input, |n| "x".repeat(usize::from(n) * 3)),
        2 => scribbled(input, |n| (n, Lock::new().ok())),
        _ => ring(input),
    }
    let queue = Queue::bounded(2).expect("there is memory for a queue");
    queue.try_put("text".repeat(20)).expect("there is room in a new queue");
    assert_eq!(queue.try_get().expect("it was put"), "text".repeat(20));
}

fn scribbled<T: Serialize + DeserializeOwned + 'static>(input: &mut Input<'_>, item: fn(u8) -> T) {
    let family = Family::get().expect("there is memory for a family");
    let queue = Queue::<T>::bounded(1 << (input.byte() % 5)).expect("there is memory for a queue");
    let Ok(Message::Block(message)) = Message::encode(family, &queue) else { panic!("a handle lies in a block") };
    let (_, object) = tickets(&message)[0];
    let header = Region::new(family, object, 256).expect("the queue is in the family's memory");
    let description = reference(header, SLOTS);
    let slots = Region::new(family, description.offset, description.len).expect("so are its slots");
    let width = slots.words() / queue.capacity();
    let spare = family.alloc(200, Kind::Data).expect("there is memory for a block");
    // What a payload may name: a block that is free to be taken, one that is not, and the queue's own slots.
    let names = [spare.into_ref(), message.ref_(), description];
    let mut queues = vec![queue];
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        let queue = &queues[usize::from(step / 16) % queues.len()];
        match step % 16 {
            0 | 1 => drop(queue.try_put(item(input.byte()))),
            2 => drop(queue.put_deadline(item(input.byte()), Deadline::PAST)),
            3 | 4 => drop(queue.try_get()),
            5 => drop(queue.get_timeout(Duration::ZERO)),
            6 => assert!(queue.len() <= queue.capacity() && !format!("{queue:?}").is_empty()),
            7 | 8 => header.scribble(input),
            9 | 10 => slots.scribble(input),
            11 => {
                // The hints: head, or tail.
                let (line, to) = (input.below(2) * 8, input.word());
                header.write(line, to);
            }
            12 => {
                // A slot's word: turn, owner, phase.
                let (slot, turn, owner, phase) =
                    (input.below(queue.capacity()), input.word(), input.word(), input.byte());
                slots.write(slot * width, turn << 32 | (owner & 0x3fff_ffff) << 2 | u64::from(phase & 3));
            }
            13 => {
                // A payload that names a block.
                let (slot, name) = (input.below(queue.capacity()), names[input.below(names.len())]);
                let payload = [IN_BLOCK].into_iter().chain(name.to_words());
                for (word, value) in payload.enumerate().take(width - 1) {
                    slots.write(slot * width + 1 + word, value);
                }
            }
            14 => {
                // Another description that fits the block: its capacity, and the words of a slot.
                let words = input.below(6);
                header.write(24, slots.words() as u64 >> words);
                header.write(25, 1 << words);
            }
            _ => {
                // The handle goes on a journey.
                let sent = Message::encode(family, queue);
                if let Ok(arrived) = sent.and_then(|m| m.decode::<Queue<T>>(family)) {
                    queues.truncate(3);
                    queues.push(arrived);
                }
            }
        }
    }
    drop(queues);
    drop(message);
    drop(family.claim(names[0])); // if nothing else has claimed it
}
