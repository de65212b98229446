//! Bare rings over words of our own, where the fuzzer's sanitizers see every access.

use super::input::Input;
use polyproc_queue::raw::Ring;
use polyproc_queue::raw::ring::{Owner, Take};
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};

/// The most steps with one ring.
const STEPS: usize = 64;

/// Uses a ring while the input writes over its words.
pub(crate) fn ring(input: &mut Input<'_>) {
    let (capacity, width) = (usize::from(input.byte() % 33), usize::from(input.byte() % 10));
    let (head, tail) = (AtomicU64::new(input.word()), AtomicU64::new(input.word()));
    let words: Box<[AtomicU64]> = (0..capacity * width).map(|_| AtomicU64::new(0)).collect();
    let Some(ring) = Ring::new(&head, &tail, &words, capacity) else {
        assert!(!capacity.is_power_of_two() || width < 2);
        return;
    };
    let me = Owner::new(1, 1);
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        let (odd, take) = (step & 16 != 0, [Take::Yes, Take::Claimed, Take::Skip][usize::from(step >> 5) % 3]);
        match step % 8 {
            0 => drop(ring.put(me, &[input.word()])),
            1 if width == 8 => drop(ring.put(me, &[input.word(); 7])),
            1 | 2 => drop(ring.get(&mut [0], |_| odd, |_| take)),
            3 => drop(ring.get(&mut [0; 7], |owner| (owner.slot() % 2 == 0) == odd, |_| take)),
            4 => {
                let _ = ring.has_message(|_| odd);
                let _ = ring.has_room();
                assert!(ring.len() <= ring.capacity());
            }
            5 => words[input.below(words.len())].store(input.word(), Relaxed),
            6 => if odd { &head } else { &tail }.store(input.word(), Relaxed),
            _ => ring.for_each(&mut [0; 3], |payload| assert_eq!(payload.len(), 3)),
        }
    }
}
