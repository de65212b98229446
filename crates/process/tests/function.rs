//! Functions by numbers: what a pool calls.

use polyproc_process::function::{FnRef, enter};
use polyproc_process::{CallError, Process};
use polyproc_shm::{Family, Message};
use std::time::Instant;

polyproc_process::init_for_tests!();

fn family() -> &'static Family {
    Family::get().unwrap()
}

fn call(f: FnRef, x: u64) -> Result<u64, CallError> {
    f.call(Message::encode(family(), &x).unwrap()).map(|m| m.decode(family()).unwrap())
}

fn double(x: u64) -> u64 {
    2 * x
}

fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn a_function_is_called_in_another_process() {
    fn child(words: [u64; 2], other: [u64; 2]) {
        assert_eq!(call(FnRef::from_words(words), 21).unwrap(), 42);
        assert_eq!(call(FnRef::from_words(other), 3).unwrap(), 9);
        assert_eq!(enter(double).unwrap().to_words(), words, "the same in the whole family");
    }
    let (double, square) = (enter(double).unwrap(), enter(square).unwrap());
    assert_ne!(double, square);
    assert!(Process::spawn(child, (double.to_words(), square.to_words())).unwrap().join().unwrap().success());
}

#[test]
fn panics_and_wrong_messages_are_errors() {
    let picky = enter(|x: u64| assert!(x < 10, "{x} is too much")).unwrap();
    let args = Message::encode(family(), &11u64).unwrap();
    assert!(matches!(picky.call(args), Err(CallError::Panicked { message }) if message == "11 is too much"));
    let odd = enter(|_: u64| -> u64 { std::panic::panic_any(5) }).unwrap();
    assert!(matches!(call(odd, 1), Err(CallError::Panicked { message }) if message.is_empty()));
    let args = Message::encode(family(), &"text".to_string()).unwrap();
    assert!(matches!(enter(double).unwrap().call(args), Err(CallError::Undecodable(_))));
}

#[test]
fn forged_references_are_errors() {
    let [index, hash] = enter(double).unwrap().to_words();
    let [other, _] = enter(square).unwrap().to_words();
    let alien = enter(|x: u32| x).unwrap().to_words();
    // The table also has the work of a process, which is no function to be called from outside.
    Process::spawn(|_: u64| {}, (1u64,)).unwrap().join().unwrap();
    assert!(call(FnRef::from_words([other, hash]), 3).is_ok(), "the same types: another function, nothing worse");
    for words in
        [[index, hash ^ 2], [index, hash ^ 1], [alien[0], hash], [index, alien[1]], [u64::MAX, hash], [1 << 40, hash]]
    {
        let error = call(FnRef::from_words(words), 3).unwrap_err();
        assert!(matches!(error, CallError::Unknown(_)), "{words:?}: {error}");
    }
    for index in 0..50 {
        for hash in [hash, hash ^ 1, alien[1], alien[1] ^ 1] {
            let _error_or_result = call(FnRef::from_words([index, hash]), 3);
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_call() {
    const N: u32 = 1_000_000;
    let f = enter(double).unwrap();
    let start = Instant::now();
    for x in 0..u64::from(N) {
        assert_eq!(call(f, x).unwrap(), 2 * x);
    }
    println!("encode, call, decode: {:?}", start.elapsed() / N);
    let start = Instant::now();
    for _ in 0..N {
        std::hint::black_box(enter(double).unwrap());
    }
    println!("enter again: {:?}", start.elapsed() / N);
}
