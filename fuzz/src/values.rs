//! Values, arrays and chunks whose bytes a relative has written over.

use super::input::Input;
use super::memory::{Region, reference, tickets};
use core::fmt::Debug;
use core::time::Duration;
use polyproc_shm::{Family, Message};
use polyproc_sync::Lock;
use polyproc_values::{Array, Plain, Value};

/// The most steps with one value.
const STEPS: usize = 64;
/// The words of a value's header: its lock, and the selector of its copies.
const SELECTOR: usize = 5;
/// The bytes of an array's header.
const HEADER: u64 = 144;
/// The words of the header where the references of its elements and of its claims lie, each behind a length.
const ELEMENTS: usize = 9;
const CLAIMS: usize = 14;

/// Uses a value or an array, and chunks of it, while `data` writes over it.
///
/// # Panics
/// If anything is wrong with the library.
pub fn values(data: &[u8]) {
    let input = &mut Input::new(data);
    match input.byte() % 12 {
        0 => value(input, u64::from),
        1 => value(input, char::from),
        2 => value(input, |n| n >= 128),
        3 => value(input, |n| [u32::from(n); 5]),
        4 => value(input, |n| [n; 700]),
        5 => array(input, |n| n),
        6 => array(input, u32::from),
        7 => array(input, char::from),
        8 => array(input, |n| n >= 128),
        9 => array(input, |n| [u32::from(n); 5]),
        10 => array(input, u64::from),
        _ => array(input, u128::from),
    }
    let (value, array) = (Value::new('a'), Array::new(3, 1.5));
    let (value, array) = (value.expect("there is memory for a value"), array.expect("there is memory for an array"));
    value.set('b');
    array.set(1, 2.5);
    assert_eq!((value.get(), array.to_vec()), ('b', vec![1.5, 2.5, 1.5]));
}

/// The object that a handle names.
fn object_of(message: &Message) -> u64 {
    let Message::Block(message) = message else { panic!("a handle lies in a block") };
    tickets(message)[0].1
}

fn value<T: Plain + Debug + PartialEq + 'static>(input: &mut Input<'_>, of: fn(u8) -> T) {
    let family = Family::get().expect("there is memory for a family");
    let lock = input.byte().is_multiple_of(4).then(|| Lock::new().expect("there is memory for a lock"));
    let value = match &lock {
        None => Value::new(of(1)),
        Some(lock) => Value::with_lock(of(1), lock),
    };
    let value = value.expect("there is memory for a value");
    let message = Message::encode(family, &value).expect("there is memory for a message");
    let len = 48 + 16 * size_of::<T>().div_ceil(8) as u64;
    let header = Region::new(family, object_of(&message), len).expect("the value is in the family's memory");
    let mut values = vec![value];
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        let value = &values[usize::from(step / 16) % values.len()];
        match step % 16 {
            0 => value.set(of(input.byte())),
            1 => value.update(|old| *old = of(1)),
            2 => drop(value.get()),
            3 => {
                let _ = value.try_lock().map(|mut guard| *guard = of(2));
            }
            4 => {
                let _ = value.lock_timeout(Duration::ZERO).map(|guard| guard.recovered());
            }
            5 => drop(value.swap(of(input.byte()))),
            6 => drop(value.compare_exchange(of(input.byte()), of(9))),
            7 => assert!(!format!("{value:?}").is_empty()),
            8..=10 => {
                header.scribble(input);
                header.disown_lock();
            }
            11 if step >= 224 => header.forge_owner(),
            11 => header.write(SELECTOR, input.word()),
            12 => {
                let guard = value.try_lock();
                header.scribble(input);
                header.disown_lock();
                drop(guard);
            }
            13 => {
                if let Some(mut guard) = lock.as_ref().and_then(Lock::try_lock) {
                    *value.locked_by(&mut guard) = of(3);
                }
            }
            14 => drop(value.clone()),
            _ => {
                let sent = Message::encode(family, value);
                if let Ok(arrived) = sent.and_then(|m| m.decode::<Value<T>>(family)) {
                    values.truncate(3);
                    values.push(arrived);
                }
            }
        }
    }
}

fn array<T: Plain + Debug + 'static>(input: &mut Input<'_>, of: fn(u8) -> T) {
    let family = Family::get().expect("there is memory for a family");
    let array = Array::new(usize::from(input.byte() % 20), of(1)).expect("there is memory for an array");
    let message = Message::encode(family, &array).expect("there is memory for a message");
    let header = Region::new(family, object_of(&message), HEADER).expect("the array is in the family's memory");
    let found = reference(header, ELEMENTS);
    let elements = Region::new(family, found.offset, found.len);
    // One that was cut before anything was written over, as long as the input wants it.
    let mut cut = if input.byte() < 128 { array.chunks(input.below(5) + 1).ok() } else { None };
    let found = reference(header, CLAIMS);
    let claims = if cut.is_some() { Region::new(family, found.offset, found.len) } else { None };
    let mut arrays = vec![array];
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        let array = &arrays[usize::from(step / 16) % arrays.len()];
        match step % 16 {
            0 | 1 => access(input, array, of),
            2 => drop(array.to_vec()),
            3 => assert!(!format!("{array:?}").is_empty()),
            4 => {
                if let Some(guard) = array.try_lock() {
                    (0..guard.len()).for_each(|i| guard.set(i, of(input.byte())));
                    if step >= 128 {
                        header.scribble(input);
                        header.disown_lock();
                    }
                    assert_eq!(guard.to_vec().len(), guard.len());
                    if guard.len() > 1 {
                        guard.swap(0, 1);
                    }
                }
            }
            5 => {
                let _ = array.lock_timeout(Duration::ZERO).map(|guard| guard.recovered());
            }
            6 | 7 => {
                header.scribble(input);
                header.disown_lock();
            }
            8 if step >= 224 => header.forge_owner(),
            8 => header.write(5 + input.below(13), input.word()),
            9 => drop(elements.map(|region| region.scribble(input))),
            10 => drop(claims.map(|region| region.scribble(input))),
            11 => cut = array.chunks(input.below(5) + 1).map_err(|e| assert!(!e.to_string().is_empty())).ok(),
            12 | 13 => {
                let Some(chunks) = cut.as_ref().filter(|chunks| !chunks.is_empty()) else { continue };
                let Ok(chunk) = chunks.claim(input.below(chunks.len())) else { continue };
                let before = of(input.byte());
                chunk.fill(.., before);
                claims.into_iter().for_each(|region| region.scribble(input));
                assert_eq!(chunk.iter().count(), chunk.len());
                assert!(!format!("{chunk:?}{chunks:?}").is_empty());
                chunk.set(chunk.len() - 1, of(1));
            }
            14 => drop(array.clone()),
            _ => {
                let sent = Message::encode(family, array);
                if let Ok(arrived) = sent.and_then(|m| m.decode::<Array<T>>(family)) {
                    arrays.truncate(3);
                    arrays.push(arrived);
                }
            }
        }
    }
}

fn access<T: Plain + Debug>(input: &mut Input<'_>, array: &Array<T>, of: fn(u8) -> T) {
    let from = input.below(array.len() + 1);
    let to = from + input.below(array.len() + 1 - from);
    let mut some = vec![of(0); to - from];
    match input.byte() % 5 {
        0 => array.read(from..to, &mut some),
        1 => array.write(from..to, &some),
        2 => array.fill(from..to, of(5)),
        3 if from < array.len() => array.update(from, |old| *old = of(6)),
        3 => assert_eq!(array.iter().count(), array.len()),
        _ if from < array.len() => {
            array.set(from, of(input.byte()));
            let _ = array.get(from);
        }
        _ => {}
    }
}
