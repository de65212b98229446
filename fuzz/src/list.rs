//! Lists whose header and slots a relative has written over, and regions of any bytes as lists of Python.

use super::input::Input;
use super::memory::{Region, reference, tickets};
use core::cell::Cell;
use polyproc_shm::{Family, Message};
use polyproc_values::{Item, PyList, ShareableList};

/// The most steps with one list.
const STEPS: usize = 64;
/// The bytes of a list's header.
const HEADER: u64 = 144;
/// The word of the header where the reference of its slots lies.
const SLOTS: usize = 9;

/// Uses a list while `data` writes over it.
///
/// # Panics
/// If anything is wrong with the library.
pub fn list(data: &[u8]) {
    let input = &mut Input::new(data);
    match input.byte() % 4 {
        0 | 1 => scribbled(input),
        2 => {
            let items = items(input);
            let mut bytes = vec![0; PyList::<&[Cell<u8>]>::size(&items) + input.below(20)];
            let cells = Cell::from_mut(&mut bytes[..]).as_slice_of_cells();
            python(input, Some(PyList::create(cells, &items).expect("there is room for it")), cells);
        }
        _ => {
            let (mut steps, mut bytes) = (Input::new(input.some(20)), input.rest().to_vec());
            python(&mut steps, None, Cell::from_mut(&mut bytes[..]).as_slice_of_cells());
        }
    }
    let list = ShareableList::new(["text", "another"]).expect("there is memory for a list");
    list.set(0, 7).expect("it is short");
    assert_eq!(list.to_vec(), [Item::Int(7), Item::from("another")]);
}

fn scribbled(input: &mut Input<'_>) {
    let family = Family::get().expect("there is memory for a family");
    let list = ShareableList::new(items(input)).expect("there is memory for a list");
    let Ok(Message::Block(message)) = Message::encode(family, &list) else { panic!("a handle lies in a block") };
    let (_, object) = tickets(&message)[0];
    let header = Region::new(family, object, HEADER).expect("the list is in the family's memory");
    let description = reference(header, SLOTS);
    let slots = Region::new(family, description.offset, description.len).expect("so are its slots");
    let mut lists = vec![list];
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        let list = &lists[usize::from(step / 16) % lists.len()];
        let i = input.below(list.len() + 1);
        match step % 16 {
            0..=2 if i < list.len() => drop(list.set(i, item(input))),
            0..=2 => assert_eq!(list.iter().count(), list.len()),
            3 => assert!(list.index(&item(input)).is_none_or(|i| i < list.len())),
            4 => assert!(list.count(&item(input)) <= list.len()),
            5 => drop(list.format()),
            6 => assert!(!format!("{list:?}").is_empty()),
            7..=9 => slots.scribble(input),
            10 => {
                header.scribble(input);
                header.disown_lock();
            }
            11 => slots.write(i + 1, input.word()), // where a slot starts
            12 if i < list.len() => {
                // A slot's selector, and what the copy that counts says of its length.
                let start = usize::try_from(slots.read(i + 1)).unwrap_or(0);
                let at = start.saturating_add(input.below(list.capacity(i) / 4 + 3)).min(slots.words() - 1);
                slots.write(at, input.word());
            }
            13 if step >= 224 => header.forge_owner(),
            13 => header.write(7 + input.below(11), input.word()),
            14 => drop(list.clone()),
            _ => {
                let sent = Message::encode(family, list);
                if let Ok(arrived) = sent.and_then(|m| m.decode::<ShareableList>(family)) {
                    lists.truncate(3);
                    lists.push(arrived);
                }
            }
        }
    }
}

/// Uses a list in Python's bytes while somebody writes over them.
fn python<'a>(input: &mut Input<'_>, made: Option<PyList<&'a [Cell<u8>]>>, bytes: &'a [Cell<u8>]) {
    let mut lists: Vec<_> = made.into_iter().chain(PyList::open(bytes)).collect();
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        if step.is_multiple_of(4) && !bytes.is_empty() {
            bytes[input.below(bytes.len())].set(input.byte());
        }
        if step.is_multiple_of(5) {
            lists.extend(PyList::open(bytes));
        }
        if lists.is_empty() {
            continue;
        }
        let list = &lists[usize::from(step) % lists.len()];
        let i = input.below(list.len() + 1);
        match step % 8 {
            0..=2 if i < list.len() => drop(list.set(i, item(input))),
            3 | 4 if i < list.len() => {
                assert!(list.capacity(i) >= 8);
                drop(list.get(i).map_err(|e| assert!(!e.to_string().is_empty())));
            }
            5 => assert!(list.to_vec().is_ok_and(|items| items.len() == list.len()) || !list.is_empty()),
            6 => drop(list.format()),
            _ => assert!(!format!("{list:?}").is_empty()),
        }
    }
    let _ = PyList::create(bytes, &items(input));
}

fn items(input: &mut Input<'_>) -> Vec<Item> {
    (0..input.byte() % 6).map(|_| item(input)).collect()
}

fn item(input: &mut Input<'_>) -> Item {
    let n = input.byte();
    match n % 6 {
        0 => Item::None,
        1 => Item::Int(i64::from(n)),
        2 => Item::Float(f64::from(n)),
        3 => Item::Bool(n >= 128),
        4 => Item::from("ü".repeat(usize::from(n) / 8)),
        _ => Item::from(vec![n; usize::from(n) / 4]),
    }
}
