//! Segments with names: files that processes without kinship find, hold and leave.

mod collect;
mod error;
mod file;
mod open;
mod place;
mod shape;

pub use collect::{Collected, gc};
pub use error::{SegmentError, SegmentName};
pub use file::NamedFile;
pub use place::Place;
pub use shape::{Content, Shape};
