//! Loom models of the claims of chunks (C1, C2, M1), and of narrow elements in one word that have two writers (E1).
//!
//! What loom cannot see: death (the kill harness); here a thread is dead if the model says so. Run by `ci/loom.sh`.
#![cfg(polyproc_loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use polyproc_values::raw::{Elements, Journal, RawClaim};

/// A chunk that its owners alone write; loom checks that.
struct Chunk {
    claim: RawClaim,
    content: UnsafeCell<u64>,
}

// SAFETY: `content` is touched by the owner of the chunk alone; loom checks it.
unsafe impl Sync for Chunk {}
// SAFETY: as above.
unsafe impl Send for Chunk {}

impl Chunk {
    fn new() -> Arc<Self> {
        Arc::new(Self { claim: RawClaim::new(), content: UnsafeCell::new(0) })
    }

    /// Adds one to the content if the chunk is to be had.
    fn add(&self, me: u32, dead: u32) -> Option<bool> {
        let recovered = self.claim.claim(me, |owner| owner == dead).ok()?;
        // SAFETY: this thread owns the chunk.
        self.content.with_mut(|p| unsafe { *p += 1 });
        self.claim.give_up();
        Some(recovered)
    }
}

#[test]
fn two_owners_one_after_the_other() {
    loom::model(|| {
        let chunk = Chunk::new();
        let other = {
            let chunk = Arc::clone(&chunk);
            thread::spawn(move || chunk.add(1, 9))
        };
        let mine = chunk.add(2, 9);
        let other = other.join().expect("the other one ended well");
        assert!(mine.is_some() || other.is_some(), "one of two gets it");
        assert!(mine != Some(true) && other != Some(true), "nobody died");
        let both = u64::from(mine.is_some()) + u64::from(other.is_some());
        assert_eq!(chunk.claim.claim(3, |_| false), Ok(false));
        // SAFETY: this thread owns the chunk.
        chunk.content.with(|p| assert_eq!(unsafe { *p }, both));
    });
}

#[test]
fn a_dead_ones_chunk_is_recovered_once() {
    loom::model(|| {
        let chunk = Chunk::new();
        assert_eq!(chunk.claim.claim(9, |_| false), Ok(false)); // and dies
        let other = {
            let chunk = Arc::clone(&chunk);
            thread::spawn(move || chunk.add(1, 9))
        };
        let mine = chunk.add(2, 9);
        let other = other.join().expect("the other one ended well");
        let told = u32::from(mine == Some(true)) + u32::from(other == Some(true));
        assert_eq!(told, 1, "{mine:?} {other:?}");
    });
}

/// Whoever sees the claim of a thread that has just registered knows of the registration (M2). Either goes first.
#[test]
fn a_living_owner_is_not_taken_for_its_predecessor() {
    type Shared = (RawClaim, AtomicU64);
    fn register_and_claim(shared: &Shared) -> bool {
        shared.1.store(1, Relaxed); // registered
        shared.0.claim(1, |_| false).is_ok()
    }
    fn claim(shared: &Shared) -> Result<bool, u32> {
        let mine = shared.0.claim(2, |owner| owner == 1 && shared.1.load(Relaxed) == 0);
        assert_ne!(mine, Ok(true), "taken from the living");
        mine
    }
    for newcomer_first in [false, true] {
        loom::model(move || {
            let shared = Arc::new((RawClaim::new(), AtomicU64::new(0)));
            let theirs = Arc::clone(&shared);
            let (newcomer, other) = if newcomer_first {
                let other = thread::spawn(move || claim(&theirs));
                (register_and_claim(&shared), other.join().expect("the other one ended well"))
            } else {
                let newcomer = thread::spawn(move || register_and_claim(&theirs));
                let other = claim(&shared);
                (newcomer.join().expect("the newcomer ended well"), other)
            };
            assert!(newcomer || other == Ok(false));
        });
    }
}

/// Two writers of different elements of one word, of which each stores twice.
#[test]
fn neighbours_in_one_word() {
    struct Word {
        journal: Journal,
        words: [AtomicU64; 1],
    }
    impl Word {
        fn store(&self, i: usize, n: u64) {
            let elements = Elements::new(&self.journal, &self.words, 8, 1).expect("one word");
            elements.alone(i..i + 1).store(i, |_| n);
        }
    }
    loom::model(|| {
        let word = Arc::new(Word { journal: Journal::new(), words: [AtomicU64::new(0)] });
        let other = {
            let word = Arc::clone(&word);
            thread::spawn(move || (1..=2).for_each(|n| word.store(0, n)))
        };
        (1..=2).for_each(|n| word.store(1, n));
        other.join().expect("the other one ended well");
        assert_eq!(word.words[0].load(Relaxed), 0x0202);
    });
}
