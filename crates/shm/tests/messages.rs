//! Messages: every type arrives as it was sent, handles too, and anything else is an error.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]

mod common;

use common::{Lock, Mailbox, Random, family, isolated, word};
use polyproc_shm::{BlockRef, Codec, Kind, Message, MessageError, ShmError, message};
use polyproc_sys::atomic::Ordering::SeqCst;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fmt::Debug;

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: &T) -> Message {
    for _ in 0..2 {
        let message = Message::encode(family(), value).unwrap();
        assert_eq!(&message.decode::<T>(family()).unwrap(), value);
    }
    // By the words of a queue's slot.
    match Message::encode(family(), value).unwrap() {
        Message::Inline { words, len } => {
            assert_eq!(&message::decode_inline::<T>(family(), &words, usize::from(len)).unwrap(), value);
        }
        Message::Block(block) => {
            let words = block.into_ref().to_words();
            let block = family().claim(BlockRef::from_words(words)).unwrap();
            assert_eq!(&message::decode_block::<T>(block).unwrap(), value);
        }
    }
    // As bytes.
    let bytes = Message::encode(family(), value).unwrap().to_vec().unwrap();
    assert_eq!(&Message::from_bytes(family(), &bytes).unwrap().decode::<T>(family()).unwrap(), value);
    Message::encode(family(), value).unwrap()
}

fn is_inline(message: &Message) -> bool {
    matches!(message, Message::Inline { .. })
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Path(Vec<(i32, i32)>),
    Named(String, Option<Box<Shape>>),
}

#[test]
fn smoke() {
    round_trip(&(1_u8, "two".to_owned(), vec![3.0]));
}

#[test]
fn raw_types_are_inline() {
    macro_rules! each {
        ($($v:expr),*) => { $(
            let message = round_trip(&$v);
            assert!(is_inline(&message));
            assert_eq!(message.len(), size_of_val(&$v) as u64);
            assert!(matches!(codec_of(&$v), Codec::Raw { .. }));
        )* };
    }
    fn codec_of<T: 'static>(_: &T) -> Codec {
        Codec::of::<T>()
    }
    each!(0_u8, u16::MAX, 7_u32, u64::MAX, u128::MAX - 5, usize::MAX, -1_i8, i16::MIN, i32::MIN, i64::MIN, i128::MIN);
    each!(isize::MIN, 1.5_f32, f64::MIN_POSITIVE, true, false, 'ß', '\u{10ffff}', ());
}

#[test]
fn wrong_raw_values_are_errors() {
    let two = [2, 0, 0, 0, 0, 0];
    assert!(message::decode_inline::<bool>(family(), &two, 1).is_err());
    assert!(message::decode_inline::<char>(family(), &[0xd800, 0, 0, 0, 0, 0], 4).is_err());
    assert!(message::decode_inline::<u64>(family(), &two, 4).is_err());
    assert!(message::decode_inline::<()>(family(), &two, 1).is_err());
    assert!(message::decode_inline::<u8>(family(), &two, 1000).is_err());
    assert!(message::decode_inline::<String>(family(), &[0xff, 0, 0, 0, 0, 0], 1).is_err());
    assert!(message::decode_inline::<Vec<u8>>(family(), &two, usize::MAX).is_ok_and(|v| v.len() == 48));
    let block = family().alloc(100, Kind::Data).unwrap();
    assert!(message::decode_block::<u64>(block).is_err());
}

#[test]
fn text_and_bytes_of_every_length_arrive() {
    for len in (0..200).chain([4095, 4096, 4097, 32_640, 32_641, 65_536, 65_537, 1 << 20]) {
        let text: String = (0..len).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
        let message = round_trip(&text.clone().into_bytes());
        assert_eq!(is_inline(&message), len <= 48);
        assert_eq!(message.len(), len);
        round_trip(&text);
        round_trip(&(len, text));
    }
}

#[test]
fn serde_types_arrive() {
    let shapes = vec![
        Shape::Point,
        Shape::Circle { radius: 1.5 },
        Shape::Path((0..1000).map(|i| (i, -i)).collect()),
        Shape::Named("x".repeat(300), Some(Box::new(Shape::Point))),
    ];
    for shape in &shapes {
        round_trip(shape);
    }
    round_trip(&shapes);
    round_trip(&(0..500).map(|i| (i, format!("value {i}"))).collect::<BTreeMap<i32, String>>());
    assert!(is_inline(&round_trip(&Shape::Circle { radius: 2.0 })));
    round_trip(&Some(vec![(); 3]));
}

#[test]
fn the_wrong_type_is_an_error() {
    let message = || Message::encode(family(), &(1_u8, "some text".to_owned())).unwrap();
    assert!(matches!(message().decode::<(u8, String, u64)>(family()), Err(MessageError::Decode { .. })));
    assert!(matches!(message().decode::<(u8, u8)>(family()), Err(MessageError::Decode { .. })));
    let big = Message::encode(family(), &vec![1_u64; 1000]).unwrap();
    assert!(big.decode::<Vec<String>>(family()).is_err());
}

#[test]
fn damaged_bytes_are_errors_or_values() {
    let value =
        (Shape::Named("name".repeat(40), Some(Box::new(Shape::Path(vec![(1, 2); 30])))), vec!["a".to_owned(); 9]);
    let bytes = Message::encode(family(), &value).unwrap().to_vec().unwrap();
    let mut random = Random::seeded();
    for _ in 0..20_000 {
        let mut bad = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bad.len() as u64) as usize;
            bad[at] = random.next() as u8;
        }
        bad.truncate(random.below(bad.len() as u64 + 1) as usize);
        let _ = Message::from_bytes(family(), &bad).unwrap().decode::<(Shape, Vec<String>)>(family());
    }
}

#[test]
fn a_value_that_cannot_be_encoded_is_an_error() {
    struct Bad;
    impl Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    assert!(matches!(Message::encode(family(), &(1, Bad)), Err(MessageError::Encode { .. })));
}

#[test]
fn a_value_that_changes_while_it_is_encoded_is_an_error_or_arrives_whole() {
    struct Growing(std::cell::Cell<usize>);
    impl Serialize for Growing {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            self.0.set(self.0.get() + 1);
            "x".repeat(1000 * self.0.get()).serialize(s)
        }
    }
    assert!(matches!(Message::encode(family(), &Growing(1.into())), Err(MessageError::Encode { .. })));
}

#[test]
fn handles_outside_of_a_message_are_errors() {
    let lock = Lock::new(64);
    assert!(postcard::to_allocvec(&lock).is_err());
    assert!(postcard::from_bytes::<Lock>(&[0]).is_err());
}

#[test]
fn a_message_with_handles_stays_in_the_family() {
    let message = Message::encode(family(), &(1, Lock::new(64))).unwrap();
    assert_eq!(message.handles(), 1);
    assert!(matches!(message.to_vec(), Err(MessageError::HasHandles)));
}

#[test]
fn the_table_of_another_family_is_refused() {
    let Message::Block(block) = Message::encode(family(), &vec![Lock::new(64)]).unwrap() else { panic!("no block") };
    // The family's id is the first word behind the bytes, which are two.
    // SAFETY: our own block, which has room for a table.
    unsafe { block.as_ptr().wrapping_add(8).cast::<u64>().write(family().id() ^ 1) };
    assert!(matches!(message::decode_block::<Vec<Lock>>(block), Err(MessageError::Shm(ShmError::OtherFamily))));
}

#[test]
fn a_handle_of_another_kind_is_refused() {
    let message = Message::encode(family(), &vec![Lock::new(256)]).unwrap();
    let error = message.decode::<Vec<Mailbox>>(family()).unwrap_err();
    assert!(matches!(error, MessageError::Shm(ShmError::WrongKind { found: Kind::Lock, .. })), "{error}");
}

#[test]
fn a_handle_of_too_small_an_object_is_refused() {
    #[derive(Debug)]
    struct Large;
    impl<'de> serde::Deserialize<'de> for Large {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            message::deserialize_handle(Kind::Lock, 257, d).map(|_| Self)
        }
    }
    let message = |len| Message::encode(family(), &vec![Lock::new(len)]).unwrap();
    let error = message(256).decode::<Vec<Large>>(family()).unwrap_err();
    assert!(matches!(error, MessageError::Shm(ShmError::BadHandle)), "{error}");
    assert_eq!(message(257).decode::<Vec<Large>>(family()).unwrap().len(), 1);
}

#[test]
fn life_of_a_handle() {
    isolated("life_of_a_handle_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn life_of_a_handle_alone() {
    let stats = || {
        (family().stats().blocks(Kind::Lock), family().stats().blocks(Kind::Cell), family().stats().blocks(Kind::Data))
    };
    let lock = Lock::new(64);
    assert_eq!(stats(), (1, 0, 0));
    let message = Message::encode(family(), &(lock.clone(), "text", lock.clone())).unwrap();
    assert_eq!(message.handles(), 2);
    assert!(lock.0.is_shared());
    assert_eq!(stats(), (1, 3, 1)); // a hold, two tickets, the message
    let (a, text, b): (Lock, String, Lock) = message.decode(family()).unwrap();
    assert_eq!(text, "text");
    assert_eq!(stats(), (1, 3, 0)); // three holds
    word(&a.0, 1).store(42, SeqCst);
    drop(lock);
    assert_eq!(word(&b.0, 1).load(SeqCst), 42);
    drop(a);
    assert_eq!(stats(), (1, 1, 0));
    let message = Message::encode(family(), &vec![b]).unwrap();
    assert_eq!(stats(), (1, 1, 1)); // the message alone holds it
    let again = message.decode::<Vec<Lock>>(family()).unwrap();
    assert_eq!(word(&again[0].0, 1).load(SeqCst), 42);
    drop(again);
    assert_eq!(stats(), (0, 0, 0));
}

#[test]
fn a_message_that_nobody_reads_releases_its_handles() {
    isolated("a_message_that_nobody_reads_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn a_message_that_nobody_reads_alone() {
    let message = Message::encode(family(), &vec![Lock::new(64), Lock::new(64)]).unwrap();
    drop(message);
    assert_eq!(family().stats().all_blocks(), 0);
    // Read by half: the wrong type fails behind the first handle.
    let message = Message::encode(family(), &(Lock::new(64), Lock::new(64), 1_u8)).unwrap();
    assert!(message.decode::<(Lock, bool)>(family()).is_err()); // bytes are left
    assert_eq!(family().stats().all_blocks(), 0);
}

#[test]
fn an_object_with_contents_drains_them_when_the_last_hold_goes() {
    isolated("an_object_with_contents_alone");
}

#[test]
#[ignore = "runs in a process of its own"]
fn an_object_with_contents_alone() {
    let lock = Lock::new(64);
    let mailbox = Mailbox::mailbox();
    for i in 0..3 {
        let Message::Block(block) = Message::encode(family(), &(lock.clone(), i)).unwrap() else { panic!("no block") };
        mailbox.put(i, block.into_ref());
    }
    // A mailbox in a mailbox.
    let inner = Mailbox::mailbox();
    inner.put(0, family().alloc(5000, Kind::Data).unwrap().into_ref());
    let Message::Block(block) = Message::encode(family(), &vec![inner]).unwrap() else { panic!("no block") };
    mailbox.put(7, block.into_ref());
    drop(lock);
    let stats = family().stats();
    assert_eq!((stats.blocks(Kind::Lock), stats.blocks(Kind::Queue), stats.blocks(Kind::Data)), (1, 2, 5));
    let copy = Message::encode(family(), &vec![mailbox.clone()]).unwrap().decode::<Vec<Mailbox>>(family()).unwrap();
    drop(mailbox);
    assert_eq!(family().stats().blocks(Kind::Queue), 2);
    drop(copy);
    assert_eq!(family().stats().all_blocks(), 0);
}

#[test]
fn threads_send_handles_to_each_other() {
    let lock = Lock::new(64);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let lock = lock.clone();
            std::thread::spawn(move || {
                for i in 0..2000 {
                    let message = Message::encode(family(), &(lock.clone(), i)).unwrap();
                    let (copy, j): (Lock, i32) = message.decode(family()).unwrap();
                    assert_eq!((copy.0.offset(), i), (lock.0.offset(), j));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert!(lock.0.is_shared());
}
