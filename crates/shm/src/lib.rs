#![doc = include_str!("../README.md")]

mod allocator;
mod block;
mod buffer;
mod codec;
mod envelope;
mod error;
mod family;
mod functions;
mod handle;
mod holds;
mod identity;
mod ids;
mod kind;
mod map;
pub mod message;
mod named;
mod object;
mod raw;
mod scope;
mod stats;
mod sweep;
mod whole;

pub use block::Block;
pub use buffer::Buffer;
pub use codec::Codec;
pub use error::{MessageError, ShmError};
pub use family::{BOOT_ENV, Boot, Family, ParseBootError};
pub use functions::Entry;
pub use ids::{BlockRef, Participant, ProcessId};
pub use kind::{Kind, KindHooks, register_kind};
pub use message::Message;
pub use named::{Collected, Content, Name, NamedFile, Place, SegmentError, SegmentName, Shape, gc};
pub use object::Object;
pub use stats::Stats;
pub use sweep::Reclaimed;
pub use whole::Whole;
