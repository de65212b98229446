//! Bare rings over words of our own, where the fuzzer's sanitizers see every access.

use super::input::Input;
use polyproc_queue::raw::Ring;
use polyproc_queue::raw::ring::{Owner, Take, Unchecked};
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};

/// The most steps with one ring.
const STEPS: usize = 64;

/// Uses a ring while the input writes over its words.
pub(crate) fn ring(input: &mut Input<'_>) {
    let (capacity, width) = (usize::from(input.byte() % 33), input.byte());
    if width % 2 == 0 { play::<8, 7>(input, capacity) } else { play::<2, 1>(input, capacity) }
}

/// With slots of `WIDTH` words, `N` of them payload.
fn play<const WIDTH: usize, const N: usize>(input: &mut Input<'_>, capacity: usize) {
    let (head, tail) = (AtomicU64::new(input.word()), AtomicU64::new(input.word()));
    let words: Box<[AtomicU64]> = (0..capacity * WIDTH).map(|_| AtomicU64::new(0)).collect();
    let Some(ring) = Ring::<WIDTH>::new(&head, &tail, &words, capacity) else {
        assert!(!capacity.is_power_of_two());
        return;
    };
    let me = Owner::new(1, 1);
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        let (odd, kind) = (step & 16 != 0, step >> 5);
        let take = |_: &[u64], read: Unchecked<'_>| match kind {
            0..3 => Take::Yes,
            3 => Take::Claimed,
            4 => Take::Torn,
            5 if read.is_whole() => Take::Claimed,
            _ => Take::Skip,
        };
        match step % 8 {
            0 => drop(ring.put(me, &[input.word()])),
            1 => drop(ring.put(me, &[input.word(); N])),
            2 => drop(ring.get(&mut [0], |_| odd, |payload, read| take(payload, read))),
            3 => {
                let dead = |owner: Owner| owner.slot().is_multiple_of(2) == odd;
                let _ = ring.get(&mut [0; N], dead, |payload, read| take(payload, read));
            }
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
