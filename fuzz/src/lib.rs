//! What a relative can write, as arbitrary bytes: each target is a function that must return, whatever it is given.
//!
//! A relative that writes where it should not may cause errors and garbage values. It must not cause a panic, an access
//! outside of the memory, or a wait beyond a deadline that is past. Each target sets something true up, lets the input
//! write over it, uses it, and then checks that what was not written over still works.
//!
//! | target | what is written over |
//! |---|---|
//! | [`handles`] | messages, their tables of handles, tickets, the first bytes of objects; names in handles |
//! | [`queue`], [`board`] | headers, slots, cells, rings |
//! | [`values`], [`list`] | locks, selectors, copies, journals, claims; lists in Python's bytes |
//! | [`allocator`] | header, tables of processes and threads, spans, tags, cells, between allocations and sweeps |
//! | [`segment`] | files of what has a name: headers, tables, contents; cut off, made longer, or of any bytes |
//!
//! Some calls have no deadline: they wait for whoever holds a lock, and rightly so if he is alive. So no target writes
//! the number of a living thread into a lock's word, but for that of the thread which then asks for it. And no file is
//! cut off while somebody has it mapped: that kills by SIGBUS, as the documentation says.
//!
//! The fuzzer calls these functions, and so does a test that replays the kept corpus
//! (`crates/polyproc/tests/fuzz_corpus.rs`). What they know of the layout is what `raw/` says of it: where a queue's
//! slots are, where a ticket names its object.

mod allocator;
mod board;
mod handles;
mod input;
mod list;
mod memory;
mod place;
mod queue;
mod ring;
mod segment;
mod things;
mod values;

pub use allocator::allocator;
pub use board::board;
pub use handles::handles;
pub use list::list;
pub use queue::queue;
pub use segment::segment;
pub use values::values;
