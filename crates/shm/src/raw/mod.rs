//! The bytes of the family's memory and the algorithms on them.

pub(crate) mod cell;
pub(crate) mod function;
pub(crate) mod header;
pub(crate) mod holders;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod participant;
pub(crate) mod process;
pub(crate) mod segment;
pub(crate) mod slab;
pub(crate) mod span;
pub(crate) mod tag;
