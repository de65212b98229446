//! `cargo +nightly fuzz run queue`: see `polyproc_fuzz::queue`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyproc_fuzz::queue(data));
