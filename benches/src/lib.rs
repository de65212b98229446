//! What the benches and `quick` share: the contenders, and processes that measure together with this one.

pub mod cpu;
pub mod helper;
pub mod lock;
pub mod page;
pub mod pool;
pub mod queue;
pub mod semaphore;
