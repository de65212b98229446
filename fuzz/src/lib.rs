//! What a relative can write, as arbitrary bytes: each target is a function that must return, whatever it is given.
//!
//! A relative that writes where it should not may cause errors and garbage values. It must not cause a panic, an access
//! outside of the family's memory, or a wait beyond a deadline that is past. Each target sets something true up, lets the
//! input write over it, uses it, and then checks that what was not written over still works.
//!
//! The fuzzer calls these functions, and so does a test that replays the kept corpus (`crates/polyproc/tests/fuzz_corpus.rs`).
//! What they know of the layout is what `raw/` says of it: where a queue's slots are, where a ticket names its object.

mod board;
mod handles;
mod input;
mod memory;
mod queue;
mod ring;

pub use board::board;
pub use handles::handles;
pub use queue::queue;
