//! What the benches share: the contenders, the processes that measure together with this one, and the table of the bars.

pub mod bars;
pub mod contest;
pub mod cpu;
pub mod death;
pub mod helper;
pub mod lock;
pub mod meeting;
pub mod page;
pub mod partner;
pub mod pool;
pub mod queue;
pub mod results;
pub mod rounds;
pub mod rwlock;
pub mod semaphore;
pub mod shm;
pub mod wake;

/// The first line of a bench's `main`: children of all kinds do their work here and do not return.
pub fn begin() {
    pool::end_if_told();
    polyproc::init();
    procspawn::init();
}
