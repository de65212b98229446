//! What lies in the family's memory.

pub(crate) mod start;
