//! Chunks of an array, which several threads and processes write at the same time.

use crate::array::Array;
use crate::error::{ClaimError, CutError};
use crate::held::INHERITED;
use crate::plain::{Plain, word_of};
use crate::range::checked;
use crate::raw::{Elements, RawClaim};
use core::ops::{Range, RangeBounds};
use polyproc_shm::{Kind, Participant};
use polyproc_sys::robust::Thread;

/// An array cut into chunks of elements, each of which one thread claims and writes while others write other ones: without
/// the array's lock, and as fast as private memory. Made by [`Array::chunks`].
///
/// The claims lie beside the array: the chunks of all its handles, in all processes, are the same ones.
///
/// # Beside the lock and readers
/// A claim excludes other claims of the chunk, nothing else. Readers of the array wait for nobody, and see each element as it
/// was before or after a store. [`Array::set`] and the guard of [`Array::lock`] reach into claimed chunks: what they store
/// there may be overwritten by the chunk's owner together with its neighbours in the same eight bytes. So, while chunks are
/// claimed, write elements through them. Chunks need not end where eight bytes do: owners never undo what their neighbours do.
///
/// Elements of more than 8 bytes stay whole by the array's one journal, so owners of chunks take turns for them: each
/// operation takes the array's lock.
///
/// # When a process dies
/// Its chunks can be claimed at once. Each element is old or new, but of a chunk that was being written some are old and
/// others new: [`ChunkGuard::recovered`] tells the next owner, once. A panic while a chunk is claimed undoes nothing.
///
/// # Examples
/// ```
/// use polyproc_values::{Array, ClaimError};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let picture = Array::<u8>::zeroed(10)?;
/// let tiles = picture.chunks(4)?; // of 4, 4 and 2 bytes
/// std::thread::scope(|s| {
///     for i in 0..tiles.len() {
///         let tiles = &tiles;
///         s.spawn(move || tiles.claim(i).unwrap().fill(.., i as u8));
///     }
/// });
/// assert_eq!(picture.to_vec(), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Chunks<T: Plain> {
    array: Array<T>,
    claims: &'static [RawClaim],
    /// Elements in a chunk.
    cut: usize,
}

impl<T: Plain> Array<T> {
    /// Cuts the array into chunks of `n` elements each; the last one may be shorter. The first call does so for all
    /// handles in all processes, for ever; 8 bytes of memory for each chunk.
    ///
    /// # Errors
    /// [`CutError::CutBefore`] if it was cut into chunks of another size. [`CutError::Shm`]: the family has no memory left.
    ///
    /// # Panics
    /// If `n` is 0. At the first call, if this thread holds the lock of this array, or 128 others.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Array, CutError};
    /// let array = Array::new(10, 0_u64).unwrap();
    /// assert_eq!(array.chunks(3)?.len(), 4);
    /// assert!(matches!(array.chunks(4), Err(CutError::CutBefore { have: 3, want: 4 })));
    /// # Ok::<(), CutError>(())
    /// ```
    #[track_caller]
    pub fn chunks(&self, n: usize) -> Result<Chunks<T>, CutError> {
        assert!(n > 0, "a chunk has at least one element");
        let family = self.object().family();
        if self.parts().raw.cut() == 0 {
            let _held = self.briefly();
            if self.parts().raw.cut() == 0 {
                let bytes = self.len().div_ceil(n) as u64 * 8;
                let claims = family.alloc(bytes, Kind::Data)?;
                let len = usize::try_from(bytes).unwrap_or(0);
                // SAFETY: a block that this process alone owns, of at least so many bytes.
                unsafe { claims.as_ptr().write_bytes(0, len) };
                self.parts().raw.set_claims(n as u64, claims.into_ref());
            }
        }
        let have = usize::try_from(self.parts().raw.cut()).unwrap_or(0);
        if have != n {
            return Err(CutError::CutBefore { have, want: n });
        }
        let claims = self.parts().claims(family, n)?.ok_or(CutError::Damaged)?;
        Ok(Chunks { array: self.clone(), claims, cut: n })
    }
}

impl<T: Plain> Chunks<T> {
    /// How many chunks there are, for ever.
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::new(10, 'x')?.chunks(4).unwrap().len(), 3);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether there are none: the array is empty.
    ///
    /// ```
    /// assert!(polyproc_values::Array::new(0, 'x')?.chunks(4).unwrap().is_empty());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// The array.
    ///
    /// ```
    /// assert_eq!(polyproc_values::Array::new(10, 'x')?.chunks(4).unwrap().array().len(), 10);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn array(&self) -> &Array<T> {
        &self.array
    }

    /// Which elements of the array chunk `i` has.
    ///
    /// # Panics
    /// If there is no such chunk.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(polyproc_values::Array::new(10, 'x')?.chunks(4).unwrap().range(2), 8..10);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn range(&self, i: usize) -> Range<usize> {
        assert!(i < self.len(), "chunk {i} is out of bounds: there are {}", self.len());
        let start = i * self.cut;
        start..start.saturating_add(self.cut).min(self.array.len())
    }

    /// Claims chunk `i` for this thread, until the guard is dropped or the thread ends. Never blocks.
    ///
    /// # Errors
    /// [`ClaimError::Claimed`] if another thread has it, [`ClaimError::Mine`] if this one has. [`ClaimError::Shm`] if too
    /// many threads of the family are alive.
    ///
    /// # Panics
    /// If there is no such chunk.
    ///
    /// # Examples
    /// ```
    /// use polyproc_values::{Array, ClaimError};
    /// let rows = Array::new(8, 0_u32)?.chunks(4).unwrap();
    /// let row = rows.claim(1).unwrap();
    /// assert!(matches!(rows.claim(1), Err(ClaimError::Mine { chunk: 1 })));
    /// row.write(.., &[1, 2, 3, 4]);
    /// drop(row);
    /// assert!(rows.claim(1).is_ok());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn claim(&self, i: usize) -> Result<ChunkGuard<'_, T>, ClaimError> {
        let range = self.range(i);
        let family = self.array.object().family();
        let me = family.participant()?.to_word();
        let dead = |owner| !family.is_alive(Participant::from_word(owner));
        match self.claims[i].claim(me, dead) {
            Ok(recovered) => {
                let elements = self.array.elements().alone(range.clone());
                Ok(ChunkGuard { chunks: self, chunk: i, range, elements, recovered, thread: Thread::current() })
            }
            Err(owner) if family.is_this_thread(Participant::from_word(owner)) => Err(ClaimError::Mine { chunk: i }),
            Err(_) => Err(ClaimError::Claimed { chunk: i }),
        }
    }
}

impl<T: Plain> core::fmt::Debug for Chunks<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chunks").field("len", &self.len()).field("elements", &self.cut).finish_non_exhaustive()
    }
}

/// A chunk of an array that this thread has claimed, until it is dropped. Its elements have numbers of their own, from 0 on.
///
/// It stays on the thread that claimed the chunk:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// let chunks = polyproc_values::Array::new(1, 1).unwrap().chunks(1).unwrap();
/// send(chunks.claim(0).unwrap());
/// ```
#[must_use = "the chunk is given up as soon as the guard is dropped"]
pub struct ChunkGuard<'a, T: Plain> {
    chunks: &'a Chunks<T>,
    chunk: usize,
    range: Range<usize>,
    /// As the owner of the chunk stores them.
    elements: Elements<'static>,
    recovered: bool,
    /// Whose claim it is: not a forked child's, which inherited the guard.
    thread: Thread,
}

impl<T: Plain> ChunkGuard<'_, T> {
    /// Whether the last owner died while he had the chunk: some of its elements may be new and others old.
    ///
    /// ```
    /// let chunks = polyproc_values::Array::new(4, 0)?.chunks(2).unwrap();
    /// assert!(!chunks.claim(0).unwrap().recovered());
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    /// Which elements of the array these are.
    ///
    /// ```
    /// let chunks = polyproc_values::Array::new(4, 0)?.chunks(2).unwrap();
    /// assert_eq!(chunks.claim(1).unwrap().range(), 2..4);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// How many elements it has: one at least.
    ///
    /// ```
    /// let chunks = polyproc_values::Array::new(3, 0)?.chunks(2).unwrap();
    /// assert_eq!(chunks.claim(1).unwrap().len(), 1);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no chunk is empty")]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Element `i` of the chunk.
    ///
    /// # Panics
    /// If there is no such element.
    ///
    /// # Examples
    /// ```
    /// let chunks = polyproc_values::Array::from_iter(0..4)?.chunks(2).unwrap();
    /// assert_eq!(chunks.claim(1).unwrap().get(0), 2);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn get(&self, i: usize) -> T {
        self.chunks.array.get(self.at(i..=i).start)
    }

    /// Makes `value` element `i` of the chunk.
    ///
    /// # Panics
    /// If there is no such element, or in a forked child that inherited the guard. For elements of more than 8 bytes also if
    /// this thread holds the lock of the array, or 128 others.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(4, 0_u16)?;
    /// array.chunks(2).unwrap().claim(1).unwrap().set(1, 7);
    /// assert_eq!(array.to_vec(), [0, 0, 0, 7]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn set(&self, i: usize, value: T) {
        self.store(self.at(i..=i), |to, range| to.store(range.start, |k| word_of(&value, k)));
    }

    /// The elements of the chunk one after the other.
    ///
    /// ```
    /// let chunks = polyproc_values::Array::from_iter(0..4)?.chunks(2).unwrap();
    /// assert!(chunks.claim(1).unwrap().iter().eq([2, 3]));
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + ExactSizeIterator + '_ {
        self.range().map(|i| self.chunks.array.get(i))
    }

    /// Copies the elements of `range` to `to`.
    ///
    /// # Panics
    /// If there are no such elements, or `to` has another length.
    ///
    /// # Examples
    /// ```
    /// let chunks = polyproc_values::Array::from_iter(0..9)?.chunks(3).unwrap();
    /// let mut two = [0; 2];
    /// chunks.claim(2).unwrap().read(1.., &mut two);
    /// assert_eq!(two, [7, 8]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>, to: &mut [T]) {
        self.chunks.array.read(self.at(range), to);
    }

    /// Makes the elements of `from` those of `range`, each for itself: eight bytes with each store, if the elements have no
    /// gaps between them.
    ///
    /// # Panics
    /// As [`ChunkGuard::set`], and if `from` has another length than the range.
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(6, 0_u8)?;
    /// array.chunks(3).unwrap().claim(1).unwrap().write(..2, &[1, 2]);
    /// assert_eq!(array.to_vec(), [0, 0, 0, 1, 2, 0]);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn write(&self, range: impl RangeBounds<usize>, from: &[T]) {
        let at = self.chunks.array.range_of(self.at(range), from.len());
        self.store(at, |to, range| self.chunks.array.store_slice(to, range, from));
    }

    /// Makes `value` every element of `range`, each for itself.
    ///
    /// # Panics
    /// As [`ChunkGuard::set`].
    ///
    /// # Examples
    /// ```
    /// let array = polyproc_values::Array::new(4, 'a')?;
    /// array.chunks(2).unwrap().claim(1).unwrap().fill(.., 'b');
    /// assert_eq!(array.to_vec(), ['a', 'a', 'b', 'b']);
    /// # Ok::<(), polyproc_values::ShmError>(())
    /// ```
    #[track_caller]
    pub fn fill(&self, range: impl RangeBounds<usize>, value: T) {
        self.store(self.at(range), |to, range| Array::<T>::store_range(to, range, |_| value));
    }

    /// The numbers in the array of a range of the chunk.
    #[inline]
    #[track_caller]
    fn at(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let range = checked(&range, self.len());
        self.range.start + range.start..self.range.start + range.end
    }

    /// Runs `f` with the elements as this guard may store them.
    #[inline]
    #[track_caller]
    fn store(&self, range: Range<usize>, f: impl FnOnce(&Elements<'_>, Range<usize>)) {
        assert!(self.thread.is_current(), "{INHERITED}");
        let array = &self.chunks.array;
        if Array::<T>::STRIDE > 8 {
            let held = array.briefly();
            f(&array.elements_of(&held), range);
        } else {
            f(&self.elements, range);
        }
    }
}

impl<T: Plain> Drop for ChunkGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.thread.is_current() {
            self.chunks.claims[self.chunk].give_up();
        }
    }
}

impl<T: Plain> core::fmt::Debug for ChunkGuard<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ChunkGuard")
            .field("range", &self.range)
            .field("recovered", &self.recovered)
            .finish_non_exhaustive()
    }
}
