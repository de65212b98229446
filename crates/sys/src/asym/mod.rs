//! A store-load barrier whose price only the side pays that is about to sleep.
//!
//! Two sides each store a word and then load the other's; at least one of them must see the other's store. Normally
//! both need a full fence. Here the frequent side (unlock, put) only keeps the compiler from reordering ([`light`]),
//! and the rare side ([`heavy`]) makes the kernel run a full fence on every CPU that runs a registered process.

#[cfg(not(polyproc_loom))]
mod linux;
#[cfg(polyproc_loom)]
mod model;

#[cfg(not(polyproc_loom))]
pub(crate) use linux::register;
#[cfg(not(polyproc_loom))]
pub use linux::{heavy, light};
#[cfg(polyproc_loom)]
pub use model::{heavy, light};
