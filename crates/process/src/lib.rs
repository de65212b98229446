//! Processes that run Rust functions, with arguments over shared memory
