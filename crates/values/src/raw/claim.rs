//! The word that says who writes to a chunk of an array.
//!
//! # State
//! | bits | name | meaning | left by |
//! |---|---|---|---|
//! | 0 | `HELD` | the owner writes to the chunk | claim; the owner, who gives it up, and the next one after his death |
//! | 32..64 | owner | while `HELD`: a thread, as the caller numbers them | as above |
//!
//! # Transitions
//! ```text
//! claim     0 -> owner, HELD; or dead owner, HELD -> owner, HELD: then the chunk may be half written
//! give_up   (owner) -> 0
//! ```
//!
//! # Invariants
//! C1. A chunk is claimed by a CAS from the very word that was looked at: of several that claim it one wins.
//! C2. It is taken from an owner only if his thread is dead, which does not change any more.
//! C3. Only its owner stores to the chunk by its claim; others who do, under the array's lock, may be overwritten.
//!
//! # Memory ordering
//! M1. The release store of `give_up` pairs with the acquire CAS of `claim`: the next owner sees what the last one stored.
//!     What a dead one has stored is seen by whoever knows by an acquire load that he is dead.
//! M2. Whoever sees a claim acquires what its owner did before, so that he knows of the owner's registration and does not
//!     take him for his dead predecessor: release on the way in, acquire on every look.
//!
//! # If a process dies
//! Its claims name threads that are dead: whoever comes next takes the chunk and is told that it may be half written. A
//! claimer that is killed before his CAS leaves nothing, and one that is killed behind the store of `give_up` a free chunk.

use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};

const HELD: u64 = 1; // the zero page is chunks that nobody owns
const OWNER_SHIFT: u32 = 32;

/// The claim of one chunk: 8 bytes, zero at first.
///
/// ```
/// use polyproc_values::raw::RawClaim;
/// let claim = RawClaim::new();
/// assert_eq!(claim.claim(7, |_| false), Ok(false));
/// assert_eq!(claim.claim(8, |owner| owner != 7), Err(7)); // the thread 7 lives
/// assert_eq!(claim.claim(8, |owner| owner == 7), Ok(true)); // it has died: what it wrote may be half of it
/// claim.give_up();
/// assert_eq!(claim.claim(9, |_| false), Ok(false));
/// ```
#[derive(Debug)]
#[repr(transparent)]
pub struct RawClaim {
    /// See `# State`.
    word: AtomicU64,
}

#[cfg(not(polyproc_loom))] // loom's words have another size
const _: () = assert!(size_of::<RawClaim>() == 8);

impl RawClaim {
    /// A chunk that nobody owns.
    ///
    /// ```
    /// assert!(polyproc_values::raw::RawClaim::new().claim(1, |_| false).is_ok());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// Claims the chunk for the thread `me`; `true` if its last owner died while he had it. `dead` says of a thread whether
    /// it is dead, which must not change any more once it is so.
    ///
    /// # Errors
    /// The living owner, who may be `me`.
    ///
    /// # Examples
    /// ```
    /// let claim = polyproc_values::raw::RawClaim::new();
    /// assert_eq!(claim.claim(7, |_| false), Ok(false));
    /// assert_eq!(claim.claim(7, |_| false), Err(7));
    /// ```
    #[inline]
    pub fn claim(&self, me: u32, dead: impl Fn(u32) -> bool) -> Result<bool, u32> {
        let mine = u64::from(me) << OWNER_SHIFT | HELD;
        let mut seen = self.word.load(Acquire); // SYNC(M2)
        loop {
            let owner = (seen >> OWNER_SHIFT) as u32;
            if seen & HELD != 0 && !dead(owner) {
                return Err(owner); // C2
            }
            match self.word.compare_exchange(seen, mine, AcqRel, Acquire) {
                Ok(_) => return Ok(seen & HELD != 0), // C1, SYNC(M1), SYNC(M2)
                Err(now) => seen = now,
            }
        }
    }

    /// Gives the chunk up; for its owner alone.
    ///
    /// ```
    /// let claim = polyproc_values::raw::RawClaim::new();
    /// claim.claim(7, |_| false).unwrap();
    /// claim.give_up();
    /// assert_eq!(claim.claim(8, |_| false), Ok(false));
    /// ```
    #[inline]
    pub fn give_up(&self) {
        self.word.store(0, Release); // SYNC(M1)
    }
}

impl Default for RawClaim {
    fn default() -> Self {
        Self::new()
    }
}
