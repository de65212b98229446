//! This thread's robust list: the pending slot, and the list of further held words.
//!
//! # State (private to the thread)
//! | what | meaning |
//! |---|---|
//! | `head.pending` | the word that this thread is taking, holds, or owes a wake-up on; null if none |
//! | `head.next …` | the list: words that this thread holds besides, libc's own robust mutexes among them |
//! | `linked[..count]` | our nodes of that list, the oldest first: what we believe instead of the bytes in the segment |
//! | `gate` | the pending word is a gate: nobody owns it, it has no node, it is never linked |
//!
//! # Invariants
//! R1. A word that this thread owns is the pending one or in the list, from before it is taken until after it is given up.
//! R2. A pointer that lies in a segment is followed only if it is the head, one of `linked`, or was a foreign node when
//!     ours was put before it.
//! R3. A foreign node's `prev` is right: libc unlinks its own nodes by it. Nobody reads that of one of ours, or the head's.
//!
//! # Memory ordering
//! The only other reader is the kernel, on this very thread's behalf: program order suffices, so plain stores with
//! compiler fences between them.

use super::list::{read_node, write_node};
use crate::futex::Futex;
use core::cell::Cell;
use core::ffi::{c_long, c_void};
use core::marker::PhantomData;
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

/// The kernel's `struct robust_list_head`; nodes are addresses of `next` fields.
#[repr(C)]
struct Head {
    next: Node,
    futex_offset: c_long,
    pending: Node,
}

pub(super) type Node = *mut c_void;

/// From the word to its node, the offset of glibc; the kernel gets its negative.
const NODE: usize = 32;
pub(super) const MOST: usize = 128; // words that a thread can own when it asks for another one
pub(super) const LIVES: usize = 64; // words that are linked for the thread's life
/// Room in the list: for those and one more lock, a lock of our own, and one that makes way for another that is recalled.
pub(super) const ROOM: usize = MOST + LIVES + 3;

pub(super) struct State {
    tid: Cell<u32>,
    head: Cell<*mut Head>,
    pub(super) gate: Cell<bool>,
    pub(super) count: Cell<usize>,
    /// How many of those are linked for the thread's life.
    pub(super) lives: Cell<usize>,
    /// Whether the others are [`MOST`].
    pub(super) full: Cell<bool>,
    pub(super) linked: [Cell<Node>; ROOM],
    /// `foreign[i]`: the node behind `linked[i]` was not ours when that was linked.
    pub(super) foreign: [Cell<bool>; ROOM],
}

thread_local! {
    pub(super) static STATE: State = const {
        State {
            tid: Cell::new(0),
            head: Cell::new(core::ptr::null_mut()),
            gate: Cell::new(false),
            count: Cell::new(0),
            lives: Cell::new(0),
            full: Cell::new(false),
            linked: [const { Cell::new(core::ptr::null_mut()) }; ROOM],
            foreign: [const { Cell::new(false) }; ROOM],
        }
    };
}

impl State {
    pub(super) fn set_count(&self, count: usize) {
        self.count.set(count);
        let full = count - self.lives.get() >= MOST;
        if self.full.get() != full {
            self.full.set(full);
        }
    }
}

/// This thread as the kernel knows it: its id and its robust list.
///
/// ```
/// use polyproc_sys::robust::{Thread, thread_id};
/// assert_eq!(Thread::current().id(), thread_id());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    tid: u32,
    head: *mut Head,
    /// The head belongs to one thread: the type is neither `Send` nor `Sync`.
    _local: PhantomData<*mut ()>,
}

impl Thread {
    /// The calling thread; its first call asks the kernel.
    ///
    /// ```
    /// assert_ne!(polyproc_sys::robust::Thread::current().id(), 0);
    /// ```
    #[must_use]
    #[inline]
    pub fn current() -> Self {
        STATE.with(|s| {
            let tid = s.tid.get();
            if tid == 0 { enter_thread(s) } else { Self { tid, head: s.head.get(), _local: PhantomData } }
        })
    }

    /// The calling thread without its id, if it has a head. It changes no more than the thread's own word for that, and
    /// takes no lock: it may be called in an asynchronous signal handler.
    #[inline]
    pub(super) fn not_entered() -> Option<Self> {
        STATE.with(|s| {
            let head = s.head.get();
            let head = if head.is_null() { registered_head() } else { head };
            s.head.set(head);
            (!head.is_null()).then_some(Self { tid: 0, head, _local: PhantomData })
        })
    }

    /// The thread's id, `gettid`.
    ///
    /// ```
    /// assert!(polyproc_sys::robust::Thread::current().id() > 0);
    /// ```
    #[must_use]
    #[inline]
    pub fn id(self) -> u32 {
        self.tid
    }

    /// Whether this is the calling thread still: it is not in a forked child, which inherited the value.
    ///
    /// ```
    /// assert!(polyproc_sys::robust::Thread::current().is_current());
    /// ```
    #[must_use]
    #[inline]
    pub fn is_current(self) -> bool {
        STATE.with(|s| s.tid.get() == self.tid)
    }

    /// Announces `word` to the kernel: if this thread dies while it owns it, the word is marked and a sleeper woken.
    ///
    /// Call before the word is taken. A word that was announced before and is still owned is linked into the list. `false`,
    /// and nothing done, if that word is `word` itself.
    ///
    /// # Panics
    /// If the thread owns 128 words already.
    ///
    /// # Safety
    /// * `word` starts [`NODE_SIZE`](super::NODE_SIZE) bytes, aligned to 8, that stay mapped until [`Thread::done`].
    /// * Only the owner of the word uses the node in those bytes.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::{futex::Futex, robust::Thread};
    /// #[repr(C, align(8))]
    /// struct Word(Futex, [u64; 4]);
    /// let word = Word(Futex::new(0), [0; 4]);
    /// let thread = Thread::current();
    /// // SAFETY: 40 bytes, aligned, that outlive `done`.
    /// assert!(unsafe { thread.announce_lock(&word.0) });
    /// assert!(thread.announces(&word.0));
    /// thread.done();
    /// assert!(!thread.announces(&word.0));
    /// ```
    #[inline]
    #[must_use]
    pub unsafe fn announce_lock(self, word: *const Futex) -> bool {
        if !self.pending().is_null() || STATE.with(|s| s.full.get()) {
            return self.announce_another(word, MOST);
        }
        self.set_pending(node_of(word));
        true
    }

    /// [`Thread::announce_lock`] for a lock of polyproc's own, which nothing else is taken under: also for who owns 128.
    ///
    /// # Safety
    /// * As for [`Thread::announce_lock`].
    ///
    /// # Examples
    /// See [`Thread::announce_lock`].
    #[must_use]
    pub unsafe fn announce_inner_lock(self, word: *const Futex) -> bool {
        self.announce_another(word, MOST + 2)
    }

    /// While the pending slot may name something already, or the list may be full.
    #[inline(never)]
    fn announce_another(self, word: *const Futex, most: usize) -> bool {
        let (node, pending) = (node_of(word), self.pending());
        if pending == node {
            return false;
        }
        STATE.with(|s| {
            let is_owned = !s.gate.get() && !pending.is_null();
            // Here, and not when a word goes into the list: a guard that is dropped out of order, and a wake-up, put one there.
            let owned = s.count.get() - s.lives.get() + usize::from(is_owned);
            assert!(owned < most, "one thread holds more than {MOST} locks at once");
            if is_owned {
                self.link(s, pending);
            } else {
                s.gate.set(false);
            }
        });
        self.set_pending(node);
        true
    }

    /// Whether words of this thread are in the list: what it owns beside the pending one.
    ///
    /// ```
    /// assert!(!polyproc_sys::robust::Thread::current().has_linked());
    /// ```
    #[must_use]
    pub fn has_linked(self) -> bool {
        STATE.with(|s| s.count.get() > s.lives.get())
    }

    /// Whether `word` is what the pending slot names.
    ///
    /// ```
    /// use polyproc_sys::{futex::Futex, robust::Thread};
    /// assert!(!Thread::current().announces(&Futex::new(0)));
    /// ```
    #[must_use]
    #[inline]
    pub fn announces(self, word: *const Futex) -> bool {
        self.pending() == node_of(word)
    }

    /// The word that this thread owns at the address `at`: pending or in the list, by what the thread itself believes.
    ///
    /// ```
    /// use polyproc_sys::{futex::Futex, robust::Thread};
    /// #[repr(C, align(8))]
    /// struct Word(Futex, [u64; 4]);
    /// let word = Word(Futex::new(0), [0; 4]);
    /// let thread = Thread::current();
    /// assert!(thread.owned_at((&raw const word).addr()).is_none());
    /// // SAFETY: 40 bytes, aligned, that outlive `done`.
    /// assert!(unsafe { thread.announce_lock(&word.0) });
    /// assert_eq!(thread.owned_at((&raw const word).addr()), Some(&raw const word.0));
    /// thread.done();
    /// ```
    #[must_use]
    pub fn owned_at(self, at: usize) -> Option<*const Futex> {
        let word_of = |node: Node| node.cast_const().cast::<u8>().wrapping_sub(NODE).cast::<Futex>();
        STATE.with(|s| {
            let pending = (!s.gate.get()).then(|| self.pending()).filter(|node| !node.is_null());
            let mut owned = pending.into_iter().chain(s.linked[..s.count.get()].iter().map(Cell::get));
            owned.find(|&node| word_of(node).addr() == at).map(word_of)
        })
    }

    /// Makes `word`, which this thread owns and which was linked meanwhile, the pending one again, so that it can be given up.
    ///
    /// # Safety
    /// * This thread announced `word` with [`Thread::announce_lock`] and still owns it.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::{futex::Futex, robust::Thread};
    /// #[repr(C, align(8))]
    /// #[derive(Default)]
    /// struct Word(Futex, [u64; 4]);
    /// let (a, b) = (Word::default(), Word::default());
    /// let thread = Thread::current();
    /// // SAFETY: both are 40 aligned bytes that live until this thread is done with them.
    /// assert!(unsafe { thread.announce_lock(&a.0) });
    /// // SAFETY: as above.
    /// assert!(unsafe { thread.announce_lock(&b.0) }); // `a` goes into the list
    /// thread.done();
    /// // SAFETY: `a` was announced above.
    /// unsafe { thread.recall(&a.0) };
    /// assert!(thread.announces(&a.0));
    /// thread.done();
    /// ```
    #[inline(never)]
    pub unsafe fn recall(self, word: *const Futex) {
        if !self.pending().is_null() {
            self.spill();
        }
        self.set_pending(node_of(word)); // R1: named twice for a moment, which the kernel allows
        STATE.with(|s| self.unlink(s, node_of(word)));
    }

    /// Forgets the pending word: it was given up, or never taken.
    ///
    /// ```
    /// polyproc_sys::robust::Thread::current().done();
    /// ```
    #[inline]
    pub fn done(self) {
        self.set_pending(core::ptr::null_mut());
    }

    #[inline]
    pub(super) fn pending(self) -> Node {
        read_node(self.pending_slot())
    }

    #[inline]
    pub(super) fn set_pending(self, node: Node) {
        compiler_fence(SeqCst);
        write_node(self.pending_slot(), node);
        compiler_fence(SeqCst);
    }

    #[inline]
    fn pending_slot(self) -> Node {
        self.head.wrapping_byte_add(core::mem::offset_of!(Head, pending)).cast()
    }

    /// The head as a node: its `next` lies at its start.
    pub(super) fn head_node(self) -> Node {
        self.head.cast()
    }
}

pub(super) fn node_of(word: *const Futex) -> Node {
    word.cast_mut().cast::<u8>().wrapping_add(NODE).cast()
}

#[cold]
fn enter_thread(s: &State) -> Thread {
    enter_process();
    // SAFETY: the call takes nothing and cannot fail.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) };
    let tid = u32::try_from(tid).expect("thread ids are positive and below 2^22");
    let mut head = registered_head();
    if head.is_null() {
        // A thread without a head (a raw clone), or a libc with another layout: the thread gets a head of our own.
        head = Box::leak(Box::new(Head {
            next: core::ptr::null_mut(),
            futex_offset: OFFSET,
            pending: core::ptr::null_mut(),
        }));
        // SAFETY: `head` is valid and never freed; an empty list points to itself.
        unsafe { (*head).next = head.cast() };
        // SAFETY: `head` is a whole head and never freed.
        unsafe { libc::syscall(libc::SYS_set_robust_list, head, size_of::<Head>()) };
    }
    let thread = Thread { tid, head, _local: PhantomData };
    thread.done(); // after a fork it still names what the parent held
    s.head.set(head);
    s.lives.set(0);
    s.set_count(0);
    s.gate.set(false);
    s.tid.set(tid);
    thread
}

/// What the kernel adds to a node's address to find its word.
const OFFSET: c_long = -(NODE as c_long);

/// The head that the kernel knows of this thread, null if there is none or it has another layout. Async-signal-safe.
#[cold]
fn registered_head() -> *mut Head {
    let mut head: *mut Head = core::ptr::null_mut();
    let mut size = 0_usize;
    // SAFETY: both pointers are to variables of this frame; 0 is the calling thread.
    let r = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut size) };
    // SAFETY: a head that the kernel names is alive as long as the thread.
    let fits = r == 0 && !head.is_null() && unsafe { (*head).futex_offset } == OFFSET;
    if fits { head } else { core::ptr::null_mut() }
}

/// What a process needs once: the fork handler, the registration for barriers, the tick.
pub(super) fn enter_process() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        super::fork::install();
        crate::asym::register();
        crate::futex::tick_from_environment();
    });
}

/// The forked child owns nothing of what its parent's thread owned.
pub(super) fn reset_after_fork() {
    STATE.with(|s| {
        s.tid.set(0);
        let head = s.head.replace(core::ptr::null_mut());
        if !head.is_null() {
            Thread { tid: 0, head, _local: PhantomData }.done();
        }
    });
}
