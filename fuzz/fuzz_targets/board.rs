//! `cargo +nightly fuzz run board`: see `polyproc_fuzz::board`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyproc_fuzz::board(data));
