//! `cargo +nightly fuzz run values`: see `polyproc_fuzz::values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyproc_fuzz::values(data));
