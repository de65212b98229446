//! `cargo +nightly fuzz run list`: see `polyproc_fuzz::list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyproc_fuzz::list(data));
