//! Items in a run of bytes: one that is refused leaves its neighbours as they are.

use polyproc_process::items::{self, enter_items};
use polyproc_process::{CallError, function::FnRef};
use polyproc_shm::{Buffer, Codec, Family, MessageError};
use polyproc_sys::atomic::{AtomicU32, Ordering};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// Even numbers only, as far as decoding is concerned; 13 cannot be encoded, and 17 panics.
#[derive(Clone, Debug, PartialEq)]
struct Even(u32, String);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 17, "I cannot stand it");
        if self.0 == 13 {
            return Err(S::Error::custom("unlucky"));
        }
        (&self.1, self.0, self.0 == 99).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (text, n) = <(String, u32)>::deserialize(d)?; // the flag is not read by itself
        if n % 2 == 1 { Err(D::Error::custom("odd")) } else { Ok(Self(n, text)) }
    }
}

/// The same, reading all that was written.
#[derive(Clone, Debug, PartialEq)]
struct Picky(u32);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        ("some text before", self.0, "and some behind").serialize(s)
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (_, n, _) = <(String, u32, String)>::deserialize(d)?;
        if n % 2 == 1 { Err(D::Error::custom("odd")) } else { Ok(Self(n)) }
    }
}

#[test]
fn every_type_that_is_its_bytes_is_an_item() {
    fn there_and_back<T: Serialize + serde::de::DeserializeOwned + PartialEq + core::fmt::Debug + 'static>(value: &T) {
        assert_eq!(Codec::of::<T>(), Codec::Bytes);
        let mut bytes = Vec::new();
        items::push(value, &mut bytes).unwrap();
        items::push(&7_u8, &mut bytes).unwrap();
        let mut rest = &bytes[..];
        assert_eq!(items::take::<T>(&mut rest).unwrap(), *value);
        assert_eq!(items::take::<u8>(&mut rest).unwrap(), 7);
    }
    for len in [0, 1, 100, 100_000] {
        there_and_back(&"x".repeat(len));
        there_and_back(&vec![3_u8; len]);
        there_and_back(&Buffer::copy_of(&vec![4; len]).unwrap());
    }
}

#[test]
fn refused_values_leave_their_neighbours_alone() {
    let mut bytes = Vec::new();
    for n in 0..6 {
        items::push(&Picky(n), &mut bytes).unwrap();
        items::push(&n, &mut bytes).unwrap();
        items::push(&format!("text {n}"), &mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    for n in 0..6 {
        match items::take::<Picky>(&mut rest) {
            Ok(value) => assert!(n % 2 == 0 && value == Picky(n)),
            Err(e) => assert!(n % 2 == 1 && e.to_string().contains("Picky"), "{n}: {e}"),
        }
        assert_eq!(items::take::<u32>(&mut rest).unwrap(), n);
        assert_eq!(items::take::<String>(&mut rest).unwrap(), format!("text {n}"));
    }
    assert!(rest.is_empty());
}

#[test]
fn bytes_behind_the_value_are_refused() {
    let mut bytes = Vec::new();
    items::push(&Even(2, "a".into()), &mut bytes).unwrap();
    items::push(&5_u8, &mut bytes).unwrap();
    let mut rest = &bytes[..];
    let error = items::take::<Even>(&mut rest).unwrap_err();
    assert!(error.to_string().contains("go on behind it"), "{error}");
    assert_eq!(items::take::<u8>(&mut rest).unwrap(), 5);
}

#[test]
fn refused_raw_values_and_texts_are_used_up() {
    let bytes = [vec![0xff; 4], vec![2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe], vec![7]].concat();
    let mut rest = &bytes[..];
    items::take::<char>(&mut rest).unwrap_err();
    items::take::<String>(&mut rest).unwrap_err();
    assert_eq!(rest, [7]);
    items::take::<u32>(&mut rest).unwrap_err();
    assert!(rest.is_empty(), "nothing can be found behind an item that does not end");
}

#[test]
fn items_that_end_too_early_are_refused() {
    let mut bytes = Vec::new();
    items::push(&("a".to_owned(), 1_u8), &mut bytes).unwrap();
    for n in 0..bytes.len() {
        items::take::<(String, u8)>(&mut &bytes[..n]).unwrap_err();
        items::skip::<(String, u8)>(&mut &bytes[..n]).unwrap_err();
        items::take::<String>(&mut &bytes[..n]).unwrap_err();
    }
    items::take::<(String, u8)>(&mut &[0xff; 64][..]).unwrap_err();
    items::take::<Vec<u8>>(&mut &[0xff; 64][..]).unwrap_err();
}

/// Counts how often it is decoded.
#[derive(Serialize)]
struct Counted(String);

static DECODED: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        String::deserialize(d).map(Self)
    }
}

#[test]
fn items_are_skipped_without_decoding() {
    fn length(x: Counted) -> usize {
        x.0.len()
    }
    let family = Family::get().unwrap();
    let f: FnRef = enter_items(length).unwrap();
    let mut bytes = Vec::new();
    for n in [1, 2, 4] {
        items::push(&Counted("x".repeat(n)), &mut bytes).unwrap();
    }
    items::push(&3_u8, &mut bytes).unwrap();
    let mut rest = &bytes[..];
    for _ in 0..3 {
        f.skip_item(family, &mut rest).unwrap();
    }
    assert_eq!(items::take::<u8>(&mut rest).unwrap(), 3);
    let mut rest = &bytes[..];
    items::skip::<Counted>(&mut rest).unwrap();
    items::skip::<Counted>(&mut rest).unwrap();
    items::skip::<Counted>(&mut rest).unwrap();
    assert_eq!(rest, [3]);
    items::skip::<u8>(&mut rest).unwrap();
    items::skip::<u8>(&mut rest).unwrap_err();
    assert_eq!(DECODED.load(Ordering::Relaxed), 0);
    items::take::<Counted>(&mut &bytes[..]).unwrap();
    assert_eq!(DECODED.load(Ordering::Relaxed), 1);
}

#[test]
fn calls_go_on_behind_a_refused_argument() {
    fn half(x: Picky) -> u32 {
        x.0 / 2
    }
    let family = Family::get().unwrap();
    let f = enter_items(half).unwrap();
    let (mut bytes, mut result) = (Vec::new(), vec![42]);
    for n in 0..4 {
        items::push(&Picky(n), &mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    for n in 0..4 {
        result.truncate(1);
        match f.call_item(family, &mut rest, &mut result) {
            Ok(()) => assert_eq!(items::take::<u32>(&mut &result[1..]).unwrap(), n / 2),
            Err(e) => assert!(n % 2 == 1 && matches!(e, CallError::Undecodable(_)), "{n}: {e}"),
        }
        assert_eq!(result[0], 42);
    }
    assert!(rest.is_empty());
}

#[test]
fn push_keeps_what_was_there_when_it_fails() {
    let mut bytes = vec![1, 2, 3];
    let error = items::push(&(Even(2, "long enough".into()), Even(13, String::new())), &mut bytes).unwrap_err();
    assert!(matches!(error, MessageError::Encode { .. }));
    assert_eq!(bytes, [1, 2, 3]);
    let panics = || items::push(&(Even(2, "long enough".into()), Even(17, String::new())), &mut bytes);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).unwrap_err();
    assert_eq!(bytes, [1, 2, 3]);
}
