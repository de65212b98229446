//! The barrier of a model: a full fence on both sides, which is what the real one amounts to.

use loom::sync::atomic::{Ordering, fence};

/// The frequent side.
pub fn light() {
    fence(Ordering::SeqCst);
}

/// The rare side.
#[must_use]
pub fn heavy() -> bool {
    fence(Ordering::SeqCst);
    true
}
