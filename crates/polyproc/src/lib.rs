#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;

pub use error::{Error, Result};
pub use polyproc_pool::{AsyncResult, Builder as PoolBuilder, ImapUnordered, Pool, PoolError, TaskError};
pub use polyproc_process::{
    Builder as ProcessBuilder, CurrentProcess, Function, NotStarted, Process, ProcessError, active_children,
    current_process, init, init_for_tests,
};
pub use polyproc_queue::{GetError, PutError, Queue, QueueError};
pub use polyproc_shm::{
    Buffer, Collected, Family, MemoryBuilder, MessageError, Name, Place, ReadOnlyMemory, SegmentError, SegmentName,
    SharedMemory, ShmError, Stats, gc,
};
pub use polyproc_sync::deadlock;
#[cfg(feature = "raw-sync")]
pub use polyproc_sync::pthread;
pub use polyproc_sync::{
    AcquireError, Barrier, BarrierError, BarrierWait, CheckedError, Condition, ConditionError, Event, Lock, LockError,
    LockGuard, Lockable, OwnerDied, Permit, RLock, RLockGuard, ReadGuard, RwLock, Semaphore, TooManyPermits, Waitable,
    WriteGuard, wait_any,
};
pub use polyproc_sys::{Deadline, SysError};
pub use polyproc_values::{
    Array, ArrayGuard, ChunkGuard, Chunks, ClaimError, CutError, Integer, Item, Logic, Plain, PyList, PyListError,
    Region, ShareableList, TooLong, Value, ValueError, ValueGuard,
};

/// The parts for whoever builds a pool, a queue or a lock of his own.
pub mod parts {
    pub use polyproc_process::{CallError, function, items};
    pub use polyproc_queue::{Board, BoardError, Job, Results};
    pub use polyproc_shm as shm;
    pub use polyproc_sync::raw as sync;
    pub use polyproc_sys as sys;
    pub use polyproc_values::raw as values;
}
