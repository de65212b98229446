//! Lists in CPython's bytes: beside a CPython, where there is one.
#![cfg(not(polyproc_loom))]

use polyproc_shm::SharedMemory;
use polyproc_testing::watchdog;
use polyproc_values::{Item, PyList, PyListError, TooLong};
use proptest::prelude::*;
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

type Bytes<'a> = &'a [Cell<u8>];

fn cells(bytes: &mut [u8]) -> Bytes<'_> {
    Cell::from_mut(bytes).as_slice_of_cells()
}

fn howdy() -> Vec<Item> {
    vec![
        Item::from("howdy"),
        Item::from(b"HoWdY".to_vec()),
        Item::from(-273.154),
        Item::from(100),
        Item::None,
        Item::from(true),
        Item::from(false),
        Item::from(i64::MIN),
        Item::from("exactly8"),
        Item::from(""),
        Item::from("\u{1F980}\u{e9}"),
        Item::from(vec![0, 1, 255]),
    ]
}

fn write(items: &[Item]) -> Vec<u8> {
    let mut bytes = vec![0xaa; PyList::<Bytes<'_>>::size(items)];
    PyList::create(cells(&mut bytes), items).unwrap();
    bytes
}

#[test]
fn smoke() {
    let mut bytes = write(&howdy());
    let list = PyList::open(cells(&mut bytes)).unwrap();
    assert_eq!(list.to_vec().unwrap(), howdy());
    assert_eq!(list.format().unwrap(), "8s8sdqxxxxxx?xxxxxxxx?xxxxxxx?q16s8s8s8s");
    list.set(3, "some").unwrap();
    list.set(4, 2.5).unwrap();
    list.set(8, Item::None).unwrap();
    let long = list.set(1, "nine byte").unwrap_err();
    assert_eq!(long, PyListError::TooLong(TooLong { index: 1, len: 9, room: 8 }));
    assert_eq!((list.get(1), list.get(3)), (Ok(Item::from(b"HoWdY".to_vec())), Ok(Item::from("some"))));
    assert_eq!((list.get(4), list.get(8)), (Ok(Item::from(2.5)), Ok(Item::None)));
    list.set(8, "sixteen bytes ok").unwrap();
    assert_eq!(list.get(8), Ok(Item::from("sixteen bytes ok")));
}

#[test]
fn zeros_at_the_end_are_lost_as_in_python() {
    let mut bytes = write(&[Item::from("zeros\0\0"), Item::from(vec![0, 0])]);
    let list = PyList::open(cells(&mut bytes)).unwrap();
    assert_eq!(list.to_vec().unwrap(), [Item::from("zeros"), Item::from(vec![])]);
}

#[test]
fn what_is_no_list_is_refused() {
    let open = |bytes: &mut [u8]| PyList::open(cells(bytes)).map(|list| list.to_vec());
    assert_eq!(open(&mut [0; 15]).unwrap_err(), PyListError::TooSmall { need: 16, have: 15 });
    let good = write(&howdy());
    for len in 0..good.len() {
        assert!(matches!(open(&mut good.clone()[..len]), Err(PyListError::TooSmall { .. })), "{len} bytes of it");
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        open(&mut bytes)
    };
    assert!(matches!(with(7, 0x80), Err(PyListError::NoList(_))), "a negative length");
    assert!(matches!(with(16, 0), Err(PyListError::NoList(_))), "a slot without bytes");
    let formats = 8 * 14 + 8 * 13;
    assert!(matches!(with(formats, b'9'), Ok(Err(PyListError::Format { index: 0, .. }))), "longer than its slot");
    assert!(matches!(with(8 * 14, 0xff), Ok(Err(PyListError::NotUtf8 { index: 0 }))));
}

/// Where Python's blocks of shared memory are files; removed in the end, however the test ends.
struct Block(String);

impl Block {
    fn new(what: &str) -> Self {
        Self(format!("polyproc-test-{what}-{}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path()); // Python has done so, as a rule
    }
}

/// Runs a script; what it printed, or `None` if there is no Python that has lists of this format.
fn python(script: &str, block: &Block) -> Option<String> {
    let head = "import sys\n\
        if sys.version_info < (3, 11): sys.exit(77)\n\
        from multiprocessing import resource_tracker\n\
        from multiprocessing.shared_memory import ShareableList, SharedMemory\n\
        name = sys.argv[1]\n";
    let child = Command::new("python3")
        .args(["-", &block.0])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("SKIPPED: there is no python3");
        return None;
    };
    child.stdin.take().unwrap().write_all((head.to_owned() + script).as_bytes()).unwrap();
    let output = watchdog(LIMIT, || child.wait_with_output().unwrap());
    if output.status.code() == Some(77) {
        println!("SKIPPED: python3 is older than 3.11");
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn what_python_writes_is_read_and_the_other_way_round() {
    // No slots that Python makes too small: its texts are ASCII here but for the one that has room.
    let make = "items = ['howdy', b'HoWdY', -273.154, 100, None, True, False, -2**63, 'exactly8', '',\n\
        '\\U0001F980\\u00e9', b'\\x00\\x01\\xff']\n\
        l = ShareableList(items, name=name)\n\
        print(l.format)\n\
        print(bytes(l.shm.buf[:l._offset_back_transform_codes + len(l)]).hex())\n\
        l.shm.close(); l.shm.unlink()\n";
    let block = Block::new("made");
    let Some(printed) = python(make, &block) else { return };
    let (format, hex) = printed.trim().split_once('\n').unwrap();
    let mut bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    assert_eq!(bytes, write(&howdy()), "byte for byte");
    let list = PyList::open(cells(&mut bytes)).unwrap();
    assert_eq!(list.to_vec().unwrap(), howdy());
    assert_eq!(list.format().unwrap(), format);
}

#[test]
fn what_is_written_here_is_read_and_changed_by_python() {
    let block = Block::new("read");
    let mut bytes = write(&howdy());
    PyList::open(cells(&mut bytes)).unwrap().set(3, "now text").unwrap();
    std::fs::write(block.path(), &bytes).unwrap();
    let change = "l = ShareableList(name=name)\n\
        resource_tracker.unregister(l.shm._name, 'shared_memory')\n\
        print(ascii(list(l)))\n\
        print(l.format)\n\
        l[0] = 'bye'; l[1] = 17; l[2] = None; l[4] = b'by'; l[5] = False; l[8] = 'sixteen letters.'\n\
        l.shm.close()\n";
    let Some(printed) = python(change, &block) else { return };
    let (items, format) = printed.trim().split_once('\n').unwrap();
    assert_eq!(
        items,
        "['howdy', b'HoWdY', -273.154, 'now text', None, True, False, -9223372036854775808, 'exactly8', '', \
         '\\U0001f980\\xe9', b'\\x00\\x01\\xff']"
    );
    let mut bytes = std::fs::read(block.path()).unwrap();
    let list = PyList::open(cells(&mut bytes)).unwrap();
    assert_eq!(format, "8s8sd8sxxxxxx?xxxxxxxx?xxxxxxx?q16s8s8s8s");
    let mut expected = howdy();
    expected[3] = Item::from("now text");
    expected[0] = Item::from("bye");
    expected[1] = Item::from(17);
    expected[2] = Item::None;
    expected[4] = Item::from(b"by".to_vec());
    expected[5] = Item::from(false);
    expected[8] = Item::from("sixteen letters.");
    assert_eq!(list.to_vec().unwrap(), expected);
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        Just(Item::None),
        any::<i64>().prop_map(Item::Int),
        (-1e300..1e300).prop_map(Item::Float),
        any::<bool>().prop_map(Item::Bool),
        "[^\0]{0,40}".prop_map(Item::Str),
        proptest::collection::vec(1_u8.., 0..40).prop_map(Item::Bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_goes_into_a_list_comes_out_of_it(
        mut items in proptest::collection::vec(item(), 0..20),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), item()), 0..20),
    ) {
        let mut bytes = write(&items);
        let list = PyList::open(cells(&mut bytes)).unwrap();
        prop_assert_eq!(list.to_vec().unwrap(), items.clone());
        for (i, item) in changes {
            if items.is_empty() {
                break;
            }
            let i = i.index(items.len());
            if list.set(i, item.clone()).is_ok() {
                items[i] = item;
            }
        }
        prop_assert_eq!(list.to_vec().unwrap(), items);
    }

    /// An error or an item, never more.
    #[test]
    fn any_bytes_are_refused_or_read(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..100),
        change in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let _ = PyList::open(cells(&mut bytes)).map(|list| list.to_vec());
        let mut bytes = write(&howdy());
        for (at, byte) in change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(list) = PyList::open(cells(&mut bytes)) {
            let _ = (list.to_vec(), list.format());
            for i in 0..list.len() {
                let _ = list.set(i, "12345678");
            }
        }
    }
}

/// Both have it mapped at the same time.
#[test]
fn a_list_in_plain_memory_is_shared_with_python() {
    let block = Block::new("shared");
    let items = [Item::from("howdy"), Item::from(1.5)];
    let len = PyList::<SharedMemory>::size(&items) as u64;
    let memory = SharedMemory::create_plain(&block.0, len).unwrap();
    let list = PyList::create(memory, &items).unwrap();
    let change = "l = ShareableList(name=name)\n\
        resource_tracker.unregister(l.shm._name, 'shared_memory')\n\
        print(l[0], l[1]); l[0] = 'hello'; l[1] = 7\n\
        l.shm.close()\n";
    let Some(printed) = python(change, &block) else { return };
    assert_eq!(printed.trim(), "howdy 1.5");
    assert_eq!(list.to_vec().unwrap(), [Item::from("hello"), Item::from(7)]);
}
