//! `cargo +nightly fuzz run segment`: see `polyproc_fuzz::segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyproc_fuzz::segment(data));
