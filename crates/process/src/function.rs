//! Functions by numbers: the family's table, and calling what was entered there.
//!
//! What crosses from one process to another is an index and a hash. The index finds an entry of the family's function
//! table; the hash, over the names and sizes of all types involved, must be that of the entry. The entry names two
//! places in the program: a trampoline, which knows the types, and the function that it calls. Each process checks
//! both against the executable segments of its own image before it jumps anywhere.

use crate::error::{CallError, ProcessError};
use core::cell::RefCell;
use core::hash::{Hash, Hasher};
use polyproc_shm::{Entry, Family, Message, ShmError};
use polyproc_sys::per_process::PerProcess;
use polyproc_sys::process::image;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A function that was entered into the family's table: two numbers, the same in all processes of the family.
///
/// ```
/// use polyproc_process::function::{self, FnRef};
/// use polyproc_shm::{Family, Message};
///
/// let double = function::enter(|x: u64| 2 * x).unwrap();
/// let words = double.to_words(); // … travel to another process …
/// let family = Family::get().unwrap();
/// let answer = FnRef::from_words(words).call(Message::encode(family, &21u64).unwrap()).unwrap();
/// assert_eq!(answer.decode::<u64>(family).unwrap(), 42);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FnRef {
    index: u32,
    hash: u64,
}

impl FnRef {
    /// The function as two words.
    ///
    /// ```
    /// use polyproc_process::function::FnRef;
    /// assert_eq!(FnRef::from_words([3, 4]).to_words(), [3, 4]);
    /// ```
    #[must_use]
    #[inline]
    pub fn to_words(self) -> [u64; 2] {
        [self.index.into(), self.hash]
    }

    /// The function that two words stand for; any words are allowed, [`FnRef::call`] checks them.
    ///
    /// ```
    /// use polyproc_process::function::FnRef;
    /// assert_eq!(FnRef::from_words([3, 4]), FnRef::from_words([3, 4]));
    /// ```
    #[must_use]
    #[inline]
    pub fn from_words([index, hash]: [u64; 2]) -> Self {
        // No table has as many entries as a u32 counts: an index beyond is as unknown as the last one.
        Self { index: u32::try_from(index).unwrap_or(u32::MAX), hash }
    }

    /// Decodes the argument, calls the function, encodes its result. A panic of the function is caught.
    ///
    /// # Errors
    /// See [`CallError`].
    ///
    /// # Examples
    /// ```
    /// use polyproc_process::{CallError, function::{self, FnRef}};
    /// use polyproc_shm::{Family, Message};
    ///
    /// let family = Family::get().unwrap();
    /// let picky = function::enter(|x: u64| assert_eq!(x, 1, "I want one")).unwrap();
    /// let error = picky.call(Message::encode(family, &2u64).unwrap()).unwrap_err();
    /// assert!(matches!(error, CallError::Panicked { message } if message.contains("I want one")));
    ///
    /// let forged = FnRef::from_words([77, 77]);
    /// let error = forged.call(Message::encode(family, &2u64).unwrap()).unwrap_err();
    /// assert!(matches!(error, CallError::Unknown(_)));
    /// ```
    #[inline]
    pub fn call(self, args: Message) -> Result<Message, CallError> {
        if self.role() != Role::Answer as u64 {
            return Err(self.bad().into());
        }
        let family = Family::get()?;
        let place = self.find(family)?;
        // SAFETY: entries of this role are made by `enter` alone, with an `Answer` for their code; the entry was
        // authentic, and the address lies in the program's code.
        let answer = unsafe { core::mem::transmute::<*const (), Answer>(place.code) };
        // SAFETY: the target is the one that was entered with this trampoline.
        unsafe { answer(family, place.target, args) }
    }

    pub(crate) fn role(self) -> u64 {
        self.hash & ROLE
    }

    pub(crate) fn bad(self) -> ShmError {
        ShmError::BadFunction { index: self.index }
    }

    /// Looks the function up, in this thread's memory first.
    #[inline]
    pub(crate) fn find(self, family: &Family) -> Result<Place, ShmError> {
        let known = KNOWN.with_borrow(|known| known.get(self.index as usize).copied().flatten());
        match known {
            Some((hash, place)) if hash == self.hash => Ok(place),
            _ => self.look_up(family),
        }
    }

    #[cold]
    fn look_up(self, family: &Family) -> Result<Place, ShmError> {
        let entry = family.function(self.index, self.hash)?;
        let Some(code) = image::address_of(entry.code) else { return Err(self.bad()) };
        let target = match entry.target {
            NO_TARGET => core::ptr::null(),
            offset => match image::address_of(offset) {
                Some(target) => target,
                None => return Err(self.bad()),
            },
        };
        let place = Place { code, target };
        KNOWN.with_borrow_mut(|known| {
            let i = self.index as usize;
            if known.len() <= i {
                known.resize(i + 1, None); // the table is small, and the index was found in it
            }
            known[i] = Some((self.hash, place));
        });
        Ok(place)
    }
}

/// Code of this process, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) code: *const (),
    /// Null if the trampoline needs none.
    pub(crate) target: *const (),
}

/// What kind of trampoline an entry has: two bits of its hash, so that none is ever called as one of another kind.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Role {
    /// Made by `enter`.
    Answer = 0,
    /// Made by [`crate::task::enter`].
    Task = 1,
    /// Made by [`crate::items::enter_items`].
    Item = 2,
}
/// The bits of the hash that hold the [`Role`].
const ROLE: u64 = 3;

/// The offset that stands for "no target".
const NO_TARGET: u64 = u64::MAX;

/// A trampoline made by [`enter`]. Its caller's duty: the pointer is that of the function entered with it.
type Answer = unsafe fn(&'static Family, *const (), Message) -> Result<Message, CallError>;

thread_local! {
    /// What this thread has looked up, by index: the hash that it was looked up with, and what was found.
    static KNOWN: RefCell<Vec<Option<(u64, Place)>>> = const { RefCell::new(Vec::new()) };
}

/// What this process has entered; a fork of it finds the same entries in the table.
static ENTERED: PerProcess<HashMap<[u64; 3], u32>> = PerProcess::new();

/// Enters `f` into the family's function table, if it is not there yet: for pools and other users of [`FnRef::call`].
///
/// # Errors
/// * [`ProcessError::NotInProgram`] if the function lies in a shared library.
/// * [`ProcessError::Memory`] if the table is full, or there is no family.
///
/// # Examples
/// ```
/// use polyproc_process::function;
/// fn work(x: u64) -> String {
///     x.to_string()
/// }
/// assert_eq!(function::enter(work).unwrap(), function::enter(work).unwrap());
/// ```
pub fn enter<A, R>(f: fn(A) -> R) -> Result<FnRef, ProcessError>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let code: Answer = answer::<A, R>;
    let hash = hash_of::<(fn(A) -> R, A, R)>(Role::Answer, size_of::<A>(), size_of::<R>());
    enter_place(Place { code: code as *const (), target: f as *const () }, hash, core::any::type_name::<fn(A) -> R>())
}

/// Enters a trampoline and its target.
pub(crate) fn enter_place(place: Place, hash: u64, function: &'static str) -> Result<FnRef, ProcessError> {
    let outside = || ProcessError::NotInProgram { function };
    let code = image::offset_of(place.code).ok_or_else(outside)?;
    let target = match place.target {
        target if target.is_null() => NO_TARGET,
        target => image::offset_of(target).ok_or_else(outside)?,
    };
    let mut entered = ENTERED.lock();
    if let Some(&index) = entered.get(&[code, target, hash]) {
        return Ok(FnRef { index, hash });
    }
    let family = Family::get()?;
    // SAFETY: the hash has the role of the trampoline in it, and stands for the types that it was made for; only this
    // module looks for such hashes.
    let index = unsafe { family.enter_function(Entry { code, target, hash }) }?;
    entered.insert([code, target, hash], index);
    Ok(FnRef { index, hash })
}

/// A hash of types and sizes with the role in it, the same in all processes that run the same program.
pub(crate) fn hash_of<Types>(role: Role, args: usize, result: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (role, core::any::type_name::<Types>(), args, result).hash(&mut hasher);
    hasher.finish() & !ROLE | role as u64
}

unsafe fn answer<A, R>(family: &'static Family, target: *const (), args: Message) -> Result<Message, CallError>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    // SAFETY: the target is the `fn(A) -> R` that was entered with this trampoline, by the caller's duty.
    let f = unsafe { core::mem::transmute::<*const (), fn(A) -> R>(target) };
    let work = || {
        let args = args.decode::<A>(family).map_err(CallError::Undecodable)?;
        Message::encode(family, &f(args)).map_err(CallError::Unencodable)
    };
    // Unwind safe: the arguments are gone with the panic, and the rest is the function's own affair, as in a thread.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(CallError::Panicked { message: text_of(payload) }))
}

pub(crate) fn text_of(payload: Box<dyn core::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => (*text).to_owned(),
            Err(payload) => {
                core::mem::forget(payload); // its drop may panic again
                String::new()
            }
        },
    }
}
