//! `cargo +nightly fuzz run handles`: see `polyproc_fuzz::handles`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyproc_fuzz::handles(data));
