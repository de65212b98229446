//! Values one behind the other in a run of bytes, and functions that are called for each of them: for pools.
//!
//! Unlike a message, the bytes stand by themselves: they carry no handles.
//!
//! # Format
//! | the type's codec | an item is |
//! |---|---|
//! | `Raw` | the value's bytes, whose number the type tells |
//! | `Bytes` | a `u64` length, little-endian, and the bytes |
//! | `Postcard` | a `u32` length, little-endian, and what postcard made of the value |
//!
//! So where an item ends is known without its type's `Deserialize`, and a value that is refused does not move the next.

use crate::error::{CallError, ProcessError};
use crate::function::{FnRef, Place, Role, enter_place, hash_of, text_of};
use core::any::Any;
use polyproc_shm::{Buffer, Codec, Family, Message, MessageError, Whole, message};
use serde::{Serialize, de::DeserializeOwned};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Adds a value to the end of `bytes`.
///
/// ```
/// use polyproc_process::items;
/// let mut bytes = Vec::new();
/// items::push(&7_u32, &mut bytes)?;
/// items::push(&("seven".to_owned(), 7_u8), &mut bytes)?;
/// let mut rest = &bytes[..];
/// assert_eq!(items::take::<u32>(&mut rest)?, 7);
/// assert_eq!(items::take::<(String, u8)>(&mut rest)?, ("seven".to_owned(), 7));
/// assert!(rest.is_empty());
/// # Ok::<(), polyproc_shm::MessageError>(())
/// ```
///
/// # Errors
/// [`MessageError::Encode`] if the value's `Serialize` fails, or makes 4 GiB or more; handles fail, since they travel in
/// messages only. `bytes` is as it was then, also if `Serialize` panics.
#[inline]
pub fn push<T: Serialize + 'static>(value: &T, bytes: &mut Vec<u8>) -> Result<(), MessageError> {
    match Codec::of::<T>() {
        Codec::Raw { size } => {
            // Raw values need no memory of the family: the words hold them.
            if let Message::Inline { words, .. } = Message::encode(Family::get()?, value)? {
                bytes.extend_from_slice(&first_bytes(words)[..size]);
            }
            Ok(())
        }
        Codec::Bytes => {
            let any: &dyn Any = value;
            let run = (any.downcast_ref::<String>().map(String::as_bytes))
                .or_else(|| any.downcast_ref::<Vec<u8>>().map(Vec::as_slice))
                .or_else(|| any.downcast_ref::<Buffer>().map(|buffer| &**buffer))
                .ok_or_else(|| MessageError::Encode {
                    what: core::any::type_name::<T>(),
                    why: unknown(Codec::Bytes),
                })?;
            bytes.extend_from_slice(&(run.len() as u64).to_le_bytes());
            bytes.extend_from_slice(run);
            Ok(())
        }
        Codec::Postcard => push_serialized(value, bytes),
        codec => Err(MessageError::Encode { what: core::any::type_name::<T>(), why: unknown(codec) }),
    }
}

fn push_serialized<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), MessageError> {
    let wrong = |why: String| MessageError::Encode { what: core::any::type_name::<T>(), why };
    let start = bytes.len();
    let unfinished = Unfinished { start, bytes };
    unfinished.bytes.extend_from_slice(&[0; LENGTH]);
    postcard::serialize_with_flavor(&Whole(value), End(&mut *unfinished.bytes))
        .map_err(|e| MessageError::unencodable::<T>(&e))?;
    let value = start + LENGTH;
    let len = u32::try_from(unfinished.bytes.len() - value).map_err(|_| wrong("it takes 4 GiB or more".to_owned()))?;
    unfinished.bytes[start..value].copy_from_slice(&len.to_le_bytes());
    core::mem::forget(unfinished);
    Ok(())
}

/// The bytes of the length before a serialized value.
const LENGTH: usize = size_of::<u32>();

/// Takes back what an item has written, unless it is forgotten.
struct Unfinished<'a> {
    start: usize,
    bytes: &'a mut Vec<u8>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.start);
    }
}

/// Where postcard writes to.
struct End<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for End<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn unknown(codec: Codec) -> String {
    format!("items know no codec {codec:?}")
}

/// Takes a value off the front of `bytes`, and its bytes with it also if they are refused: what follows is the next item.
///
/// See [`push`] for an example.
///
/// # Errors
/// [`MessageError::Decode`] if the bytes do not start with a `T`, or if the item has more bytes than the `T`. If the
/// bytes end before the item does, none are left.
#[inline]
pub fn take<T: DeserializeOwned + 'static>(bytes: &mut &[u8]) -> Result<T, MessageError> {
    let wrong = |why: &str| MessageError::Decode { what: core::any::type_name::<T>(), why: why.to_owned() };
    let item = split_off::<T>(bytes)?;
    match Codec::of::<T>() {
        Codec::Raw { size } => {
            let mut words = [[0; 8]; 6];
            words.as_flattened_mut()[..size].copy_from_slice(item);
            message::decode_inline(Family::get()?, &words.map(u64::from_le_bytes), size)
        }
        Codec::Bytes => {
            let mut value = None::<T>;
            let any: &mut dyn Any = &mut value;
            if let Some(text) = any.downcast_mut::<Option<String>>() {
                *text = Some(String::from_utf8(item.to_vec()).map_err(|e| wrong(&e.to_string()))?);
            } else if let Some(vec) = any.downcast_mut::<Option<Vec<u8>>>() {
                *vec = Some(item.to_vec());
            } else if let Some(buffer) = any.downcast_mut::<Option<Buffer>>() {
                *buffer = Some(Buffer::copy_of(item)?);
            }
            value.ok_or_else(|| wrong("it is neither text nor bytes"))
        }
        Codec::Postcard => match postcard::take_from_bytes(item) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(wrong("its bytes go on behind it")),
            Err(e) => Err(MessageError::undecodable::<T>(&e)),
        },
        codec => Err(wrong(&unknown(codec))),
    }
}

/// Takes a value off the front of `bytes` without decoding it.
///
/// ```
/// use polyproc_process::items;
/// let mut bytes = Vec::new();
/// items::push(&("seven".to_owned(), 7_u8), &mut bytes)?;
/// items::push(&8_u32, &mut bytes)?;
/// let mut rest = &bytes[..];
/// items::skip::<(String, u8)>(&mut rest)?;
/// assert_eq!(items::take::<u32>(&mut rest)?, 8);
/// # Ok::<(), polyproc_shm::MessageError>(())
/// ```
///
/// # Errors
/// [`MessageError::Decode`] if the bytes end before the value does; none are left then.
#[inline]
pub fn skip<T: 'static>(bytes: &mut &[u8]) -> Result<(), MessageError> {
    split_off::<T>(bytes).map(drop)
}

/// Takes the next item's bytes off the front, without the length before them.
#[inline]
fn split_off<'a, T: 'static>(bytes: &mut &'a [u8]) -> Result<&'a [u8], MessageError> {
    let wrong = |why: String| MessageError::Decode { what: core::any::type_name::<T>(), why };
    let all = core::mem::take(bytes);
    let cut = match Codec::of::<T>() {
        Codec::Raw { size } => all.split_at_checked(size),
        Codec::Bytes => all.split_first_chunk().and_then(|(len, rest)| {
            let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
            rest.split_at_checked(len)
        }),
        Codec::Postcard => all.split_first_chunk().and_then(|(len, rest)| {
            let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
            rest.split_at_checked(len)
        }),
        codec => return Err(wrong(unknown(codec))),
    };
    let (item, rest) = cut.ok_or_else(|| wrong("the bytes end before it does".to_owned()))?;
    *bytes = rest;
    Ok(item)
}

fn first_bytes(words: [u64; 6]) -> [u8; 16] {
    (u128::from(words[0]) | u128::from(words[1]) << 64).to_le_bytes()
}

/// A trampoline made by [`enter_items`]. Its caller's duty: the pointer is that of the function entered with it.
type Item = unsafe fn(*const (), &mut &[u8], Option<&mut Vec<u8>>) -> Result<(), CallError>;

/// Enters `f` into the family's function table, to be called for values in a run of bytes ([`FnRef::call_item`]).
///
/// # Errors
/// As [`function::enter`](crate::function::enter).
///
/// # Examples
/// ```
/// use polyproc_process::items;
/// use polyproc_shm::Family;
/// let double = items::enter_items(|x: u64| 2 * x).unwrap();
/// let (mut args, mut results) = (Vec::new(), Vec::new());
/// items::push(&21_u64, &mut args).unwrap();
/// double.call_item(Family::get().unwrap(), &mut &args[..], &mut results).unwrap();
/// assert_eq!(items::take::<u64>(&mut &results[..]).unwrap(), 42);
/// ```
pub fn enter_items<A, R>(f: fn(A) -> R) -> Result<FnRef, ProcessError>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let code: Item = item::<A, R>;
    let hash = hash_of::<(fn(A) -> R, A, R)>(Role::Item, size_of::<A>(), size_of::<R>());
    enter_place(Place { code: code as *const (), target: f as *const () }, hash, core::any::type_name::<fn(A) -> R>())
}

impl FnRef {
    /// Takes an argument off the front of `args`, calls the function, and adds its result to the end of `result`. A panic
    /// of the function is caught.
    ///
    /// # Errors
    /// See [`CallError`]; nothing was added to `result` then. The argument is off `args` also if it was refused.
    ///
    /// # Examples
    /// See [`items::enter_items`](enter_items).
    #[inline]
    pub fn call_item(self, family: &Family, args: &mut &[u8], result: &mut Vec<u8>) -> Result<(), CallError> {
        self.item(family, args, Some(result))
    }

    /// Takes an argument off the front of `args` without decoding it, and does no more: no code of the argument's type
    /// runs.
    ///
    /// # Errors
    /// [`CallError::Undecodable`] if the bytes end too early, and [`CallError::Unknown`] if there is no such function.
    ///
    /// # Examples
    /// ```
    /// use polyproc_process::items;
    /// use polyproc_shm::Family;
    /// let f = items::enter_items(|x: u16| x).unwrap();
    /// let mut rest = &[0; 4][..];
    /// f.skip_item(Family::get().unwrap(), &mut rest).unwrap();
    /// assert_eq!(rest.len(), 2);
    /// ```
    pub fn skip_item(self, family: &Family, args: &mut &[u8]) -> Result<(), CallError> {
        self.item(family, args, None)
    }

    #[inline]
    fn item(self, family: &Family, args: &mut &[u8], result: Option<&mut Vec<u8>>) -> Result<(), CallError> {
        if self.role() != Role::Item as u64 {
            return Err(self.bad().into());
        }
        let place = self.find(family)?;
        // SAFETY: entries of this role are made by `enter_items` alone, with an `Item` for their code; the entry was
        // authentic, and the address lies in the program's code.
        let item = unsafe { core::mem::transmute::<*const (), Item>(place.code) };
        // SAFETY: the target is the one that was entered with this trampoline.
        unsafe { item(place.target, args, result) }
    }
}

unsafe fn item<A, R>(target: *const (), args: &mut &[u8], result: Option<&mut Vec<u8>>) -> Result<(), CallError>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    // SAFETY: the target is the `fn(A) -> R` that was entered with this trampoline, by the caller's duty.
    let f = unsafe { core::mem::transmute::<*const (), fn(A) -> R>(target) };
    let Some(result) = result else { return skip::<A>(args).map_err(CallError::Undecodable) };
    let argument = take::<A>(args).map_err(CallError::Undecodable)?;
    // Unwind safe: the argument is gone with the panic, and the rest is the function's own affair, as in a thread.
    catch_unwind(AssertUnwindSafe(|| push(&f(argument), result).map_err(CallError::Unencodable)))
        .unwrap_or_else(|payload| Err(CallError::Panicked { message: text_of(payload) }))
}
