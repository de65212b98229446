//! Segments with names: files that processes without kinship find, hold and leave.

mod collect;
mod draft;
mod error;
mod file;
mod grow;
mod lease;
mod membership;
mod name;
mod object;
mod open;
mod place;
mod reference;
mod retired;
mod root;
mod seat;
mod shape;

pub use collect::{Collected, gc};
pub use error::{SegmentError, SegmentName};
pub use file::NamedFile;
pub(crate) use membership::Membership;
pub use name::Name;
pub(crate) use name::open_or_create;
pub use place::Place;
pub(crate) use place::check as check_name;
pub(crate) use reference::NamedRef;
pub(crate) use seat::{Hold, Seat};
pub use shape::{Content, Shape};
