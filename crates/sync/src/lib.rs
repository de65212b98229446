//! Locks between processes that survive the death of any of them.

pub mod raw;
