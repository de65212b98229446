//! The family's table of functions: what a message may ask another process to call.

use crate::error::ShmError;
use crate::family::Family;
use polyproc_sys::atomic::Ordering::{Acquire, Release};
use std::hash::{DefaultHasher, Hasher};

/// A function, as it is entered in the family's table.
///
/// ```
/// use polyproc_shm::{Entry, Family};
/// let family = Family::get()?;
/// let entry = Entry { code: 0x1000, target: 0x2000, hash: 42 };
/// // SAFETY: nobody looks for this hash to call what it stands for.
/// let index = unsafe { family.enter_function(entry) }?;
/// assert_eq!(family.function(index, 42)?, entry);
/// assert!(family.function(index, 43).is_err());
/// # Ok::<(), polyproc_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Where the trampoline lies, relative to an anchor in the executable.
    pub code: u64,
    /// Where the function lies that it calls, likewise.
    pub target: u64,
    /// A hash of the types of argument and result.
    pub hash: u64,
}

impl Family {
    /// Enters a function, or finds it: the same entry has the same index in all processes of the family.
    ///
    /// # Errors
    /// [`ShmError::TooManyFunctions`] if the table has 1024 entries.
    ///
    /// # Safety
    /// * Whoever looks the entry up and calls it relies on it: `code` and `target` are what the `hash` stands for, to those
    ///   who look for that hash.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Entry, Family};
    /// let family = Family::get()?;
    /// let entry = Entry { code: 1, target: 2, hash: 3 };
    /// // SAFETY: nobody looks for this hash to call what it stands for.
    /// let enter = || unsafe { family.enter_function(entry) };
    /// assert_eq!(enter()?, enter()?);
    /// # Ok::<(), polyproc_shm::ShmError>(())
    /// ```
    pub unsafe fn enter_function(&'static self, entry: Entry) -> Result<u32, ShmError> {
        let same = |i| self.map.function(i).read()[..3] == [entry.code, entry.target, entry.hash];
        let known = |from, to| (from..to).find(|&i| same(i) && self.read(i) == Some(entry));
        let complete = || self.map.header().functions.load(Acquire).min(self.map.tables().functions); // SYNC(E1)
        let before = complete();
        if let Some(index) = known(0, before) {
            return Ok(index);
        }
        self.with_holders(|_| {
            let index = complete();
            if let Some(index) = known(0, index) {
                return Ok(index);
            }
            if index == self.map.tables().functions {
                return Err(ShmError::TooManyFunctions);
            }
            let Entry { code, target, hash } = entry;
            self.map.function(index).write([code, target, hash, self.mac(index, entry)]);
            self.map.header().functions.store(index + 1, Release); // SYNC(E1)
            Ok(index)
        })?
    }

    /// The function with this index, if its types have this hash and nobody has tampered with the entry.
    ///
    /// # Errors
    /// [`ShmError::BadFunction`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Family, ShmError};
    /// assert!(matches!(Family::get()?.function(999_999, 1), Err(ShmError::BadFunction { .. })));
    /// # Ok::<(), ShmError>(())
    /// ```
    pub fn function(&self, index: u32, hash: u64) -> Result<Entry, ShmError> {
        let _open = self.map.keep_open()?;
        let bad = ShmError::BadFunction { index };
        if index >= self.map.header().functions.load(Acquire).min(self.map.tables().functions) {
            return Err(bad); // SYNC(E1)
        }
        self.read(index).filter(|e| e.hash == hash).ok_or(bad)
    }

    /// How many functions have been entered.
    pub(crate) fn functions(&self) -> u32 {
        self.map.header().functions.load(Acquire).min(self.map.tables().functions)
    }

    /// The entry, if its check is right (F1).
    fn read(&self, index: u32) -> Option<Entry> {
        let [code, target, hash, mac] = self.map.function(index).read();
        let entry = Entry { code, target, hash };
        (self.mac(index, entry) == mac).then_some(entry)
    }

    /// `SipHash` of everything, keyed by the family's secret in front.
    fn mac(&self, index: u32, entry: Entry) -> u64 {
        let mut hasher = DefaultHasher::new();
        for word in [self.secret(), u64::from(index), entry.code, entry.target, entry.hash, self.secret()] {
            hasher.write_u64(word);
        }
        hasher.finish()
    }
}
