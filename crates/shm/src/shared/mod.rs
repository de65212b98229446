//! Bytes that processes share: [`SharedMemory`], [`ReadOnlyMemory`].

mod builder;
mod memory;
mod plain;
mod read_only;
mod slices;
mod unnamed;
mod view;
mod wire;

pub use builder::MemoryBuilder;
pub use memory::SharedMemory;
pub use read_only::ReadOnlyMemory;
