//! What has a name travels by it: while a message is on its way, somebody must hold the segment, or its name goes.

use core::any::Any;
use core::cell::RefCell;
use core::fmt;
use std::sync::Arc;

type Held = Arc<dyn Any + Send + Sync>;

thread_local! {
    static KEEPING: RefCell<Option<Vec<Held>>> = const { RefCell::new(None) };
}

/// Holds of what has a name and was encoded meanwhile; see [`keeping`].
#[derive(Default)]
pub struct Kept(Vec<Held>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.0.len()).finish()
    }
}

/// Runs `f`, and holds what has a name and is encoded by it on this thread: messages say names, and the last holder takes a
/// name away. To be dropped when they have arrived. Without it, the sender must keep a handle itself.
///
/// ```
/// use polyproc_shm::{Family, Message, SharedMemory, message};
/// let memory = SharedMemory::create(&format!("doc-keeping-{}", std::process::id()), 10)?;
/// let (sent, kept) = message::keeping(|| Message::encode(Family::get()?, &memory));
/// drop(memory);
/// assert_eq!(sent?.decode::<SharedMemory>(Family::get()?)?.len(), 10); // in another process, as a rule
/// drop(kept);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn keeping<R>(f: impl FnOnce() -> R) -> (R, Kept) {
    struct Outer(Option<Vec<Held>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            KEEPING.with(|k| *k.borrow_mut() = self.0.take());
        }
    }
    let outer = Outer(KEEPING.with(|k| k.borrow_mut().replace(Vec::new())));
    let result = f();
    let kept = KEEPING.with(|k| k.borrow_mut().take()).unwrap_or_default();
    drop(outer);
    (result, Kept(kept))
}

/// Something that has a name is being encoded.
pub(crate) fn keep(held: impl FnOnce() -> Held) {
    KEEPING.with(|k| {
        if let Some(kept) = &mut *k.borrow_mut() {
            kept.push(held());
        }
    });
}
