//! `cargo +nightly fuzz run allocator`: see `polyproc_fuzz::allocator`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| polyproc_fuzz::allocator(data));
