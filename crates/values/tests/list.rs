//! Lists: round trips, and what CPython's own tests of `ShareableList` want.
#![cfg(not(polyproc_loom))]

use polyproc_process::Process;
use polyproc_queue::Queue;
use polyproc_shm::{Family, Kind, Message};
use polyproc_testing::watchdog;
use polyproc_values::{Array, Item, ShareableList, TooLong};
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

polyproc_process::init_for_tests!();

const LIMIT: Duration = Duration::from_secs(60);

/// One test at a time: some count blocks of the whole family.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn again<T: serde::Serialize + 'static, U: serde::de::DeserializeOwned + 'static>(t: &T) -> Result<U, String> {
    let family = Family::get().unwrap();
    Message::encode(family, t).unwrap().decode(family).map_err(|e| e.to_string())
}

fn howdy() -> [Item; 7] {
    [
        Item::from("howdy"),
        Item::from(b"HoWdY".to_vec()),
        Item::from(-273.154),
        Item::from(100),
        Item::None,
        Item::from(true),
        Item::from(42),
    ]
}

/// `test_shared_memory_ShareableList_basics` of CPython, as far as it is not about names.
#[test]
fn shared_memory_shareable_list_basics() {
    let _alone = alone();
    let sl = ShareableList::new(howdy()).unwrap();
    assert_eq!(sl.format(), "8s8sdqxxxxxx?xxxxxxxx?q");
    assert_eq!(sl.len(), 7);
    assert_eq!(sl.to_vec(), howdy());
    assert_eq!(format!("{sl:?}"), format!("ShareableList{:?}", howdy()));

    // Index, count, items that are not there.
    assert_eq!(sl.index(&Item::from(100)), Some(3));
    assert_eq!(sl.index(&Item::from("100")), None);
    assert_eq!(sl.count(&Item::from(42)), 1);
    assert_eq!(sl.count(&Item::from(b"adios".to_vec())), 0);
    let out_of_range = catch_unwind(AssertUnwindSafe(|| drop(sl.get(7))));
    assert!(out_of_range.is_err() && catch_unwind(AssertUnwindSafe(|| sl.set(7, 1).ok())).is_err());

    // Changes without a change of the type.
    for (i, item) in [(0, Item::from("bye")), (3, Item::from(1729)), (5, Item::from(false))] {
        sl.set(i, item.clone()).unwrap();
        assert_eq!(sl.get(i), item);
    }
    // A change of the type in place.
    sl.set(4, "some").unwrap();
    assert_eq!(sl.get(4), Item::from("some"));
    sl.set(4, "12345678").unwrap(); // exactly the room that there is
    // What is too long changes nothing, nor does it touch the neighbours.
    assert_eq!(sl.set(4, "far too many").unwrap_err(), TooLong { index: 4, len: 12, room: 8 });
    assert_eq!(sl.get(4), Item::from("12345678"));
    assert_eq!((sl.get(3), sl.get(5)), (Item::from(1729), Item::from(false)));
    assert_eq!(sl.format(), "8s8sdq8sxxxxxxx?q");

    // A copy is another list; a second handle is not.
    let copy = ShareableList::new(sl.iter()).unwrap();
    let tethered: ShareableList = again(&sl).unwrap();
    sl.set(6, -1).unwrap();
    assert_eq!((copy.get(6), tethered.get(6)), (Item::from(42), Item::from(-1)));
    tethered.set(6, -2).unwrap();
    assert_eq!(sl.get(6), Item::from(-2));

    let empty = ShareableList::new::<Item>([]).unwrap();
    assert!(empty.is_empty() && empty.to_vec().is_empty() && empty.format().is_empty());
    assert_eq!(empty.count(&Item::None), 0);
    assert_eq!(empty.index(&Item::from(100)), None);
}

/// `test_shared_memory_ShareableList_pickling` and `_pickling_dead_object`: handles travel, and keep the list alive.
#[test]
fn shared_memory_shareable_list_pickling() {
    let _alone = alone();
    let before = [Kind::Array, Kind::Data].map(|kind| Family::get().unwrap().stats().blocks(kind));
    let sl = ShareableList::new(0..10).unwrap();
    let family = Family::get().unwrap();
    let message = Message::encode(family, &sl).unwrap();
    drop(sl);
    let arrived: ShareableList = message.decode(family).unwrap();
    assert!(arrived.iter().eq((0..10).map(Item::from)));
    assert!(again::<_, Array<u64>>(&arrived).is_err(), "it is no array");
    assert!(again::<_, ShareableList>(&Array::new(100, 3_u64).unwrap()).is_err(), "nor is an array a list");
    drop(arrived);
    assert_eq!([Kind::Array, Kind::Data].map(|kind| family.stats().blocks(kind)), before);
}

/// Python's issues 106939 and 145261, and one that its slots were too small for.
#[test]
fn zeros_at_the_end_and_long_letters_are_kept() {
    let _alone = alone();
    let items = [
        Item::from("ends in zeros\0\0"),
        Item::from(vec![0, 0, 0]),
        Item::from("\u{1F980}\u{1F980}\u{1F980}\u{1F980}\u{1F980}"),
        Item::from(""),
        Item::from("\0"),
    ];
    let list = ShareableList::new(items.clone()).unwrap();
    assert_eq!(list.to_vec(), items);
    list.set(2, "\u{e9}".repeat(10).as_str()).unwrap();
    assert_eq!(list.get(2), Item::from("\u{e9}".repeat(10)));
}

#[test]
fn stress_items_are_never_half_and_readers_do_not_wait() {
    const N: usize = 20_000;
    let _alone = alone();
    let texts = ["a".repeat(100), "b".repeat(37)];
    let list = ShareableList::new([Item::from("-".repeat(100)), Item::from(7)]).unwrap();
    list.set(0, texts[0].as_str()).unwrap();
    watchdog(LIMIT, || {
        std::thread::scope(|s| {
            let writers = [0, 1].map(|k| {
                let (list, text) = (&list, &texts[k]);
                s.spawn(move || {
                    for n in 0..N {
                        if n % 10 == 0 {
                            list.set(0, vec![9; 50 + k]).unwrap();
                        } else {
                            list.set(0, text.as_str()).unwrap();
                        }
                    }
                })
            });
            while writers.iter().any(|w| !w.is_finished()) {
                match list.get(0) {
                    Item::Str(text) => assert!(texts.contains(&text), "{text}"),
                    Item::Bytes(bytes) => assert!(bytes == [9; 50] || bytes == [9; 51], "{bytes:?}"),
                    other => panic!("{other:?}"),
                }
                assert_eq!(list.get(1), Item::from(7));
            }
        });
    });
}

#[test]
fn lists_travel_through_queues_and_outlive_their_maker() {
    fn make(to: Queue<ShareableList>, from: Queue<ShareableList>) {
        to.put(ShareableList::new(howdy()).unwrap()).unwrap();
        let back = from.get().unwrap();
        back.set(0, "killed").unwrap();
        loop {
            std::thread::park();
        }
    }
    let _alone = alone();
    watchdog(LIMIT, || {
        let (to, from) = (Queue::bounded(1).unwrap(), Queue::bounded(1).unwrap());
        let child = Process::spawn(make, (to.clone(), from.clone())).unwrap();
        let list = to.get().unwrap();
        assert_eq!(list.to_vec(), howdy());
        from.put(list.clone()).unwrap();
        while list.get(0) != Item::from("killed") {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.join().unwrap();
        assert_eq!(list.to_vec()[1..], howdy()[1..]);
        list.set(0, "alive").unwrap();
    });
}

/// What a process makes that writes where it should not: refused when it arrives, or read as something.
#[test]
fn scribbles_are_refused_or_read_as_something() {
    struct Handle(std::sync::Arc<polyproc_shm::Object>);
    impl<'de> serde::Deserialize<'de> for Handle {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            polyproc_shm::message::deserialize_handle(Kind::Array, 144, d).map(Self)
        }
    }
    use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
    let _alone = alone();
    let list = ShareableList::new(howdy()).unwrap();
    let header: Handle = again(&list).unwrap();
    let word = |at: u64| -> &'static AtomicU64 {
        // SAFETY: checked by `at`; headers and lists are atomics for everybody.
        unsafe { &*Family::get().unwrap().at(at, 8).unwrap().cast() }
    };
    let data = word(header.0.offset() + 9 * 8).load(Relaxed);
    let words = word(header.0.offset() + 7 * 8).load(Relaxed);
    for i in 0..words {
        let at = word(data + i * 8);
        let before = at.load(Relaxed);
        for wrong in [0, 1, before ^ 1, before.wrapping_add(8), 0xff, 1 << 40, u64::MAX] {
            at.store(wrong, Relaxed);
            assert_eq!(list.to_vec().len(), 7, "this handle has its own copy of where the slots are");
            if let Ok(arrived) = again::<_, ShareableList>(&list) {
                assert_eq!(arrived.to_vec().len(), arrived.len());
                let _ = arrived.is_empty() || arrived.set(0, 1).is_ok();
            }
            at.store(before, Relaxed);
        }
    }
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        Just(Item::None),
        any::<i64>().prop_map(Item::Int),
        any::<f64>().prop_map(Item::Float),
        any::<bool>().prop_map(Item::Bool),
        ".{0,40}".prop_map(Item::Str),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Item::Bytes),
    ]
}

/// As the item's bits: a number that is none is not equal to itself.
fn bits(item: &Item) -> String {
    match item {
        Item::Float(x) => format!("{:x}", x.to_bits()),
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_goes_into_a_list_comes_out_of_it(
        mut items in proptest::collection::vec(item(), 0..20),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), item()), 0..20),
    ) {
        let _alone = alone();
        let list = ShareableList::new(items.clone()).unwrap();
        let rooms: Vec<usize> = items.iter().map(Item::room).collect();
        for (i, item) in changes {
            if items.is_empty() {
                break;
            }
            let i = i.index(items.len());
            let len = match &item {
                Item::Str(text) => text.len(),
                Item::Bytes(bytes) => bytes.len(),
                _ => 8,
            };
            prop_assert_eq!(list.capacity(i), rooms[i]);
            match list.set(i, item.clone()) {
                Ok(()) => items[i] = item,
                Err(e) => prop_assert_eq!(e, TooLong { index: i, len, room: rooms[i] }),
            }
            prop_assert_eq!(bits(&list.get(i)), bits(&items[i]));
        }
        prop_assert_eq!(list.iter().map(|i| bits(&i)).collect::<Vec<_>>(), items.iter().map(bits).collect::<Vec<_>>());
    }
}
