//! The list of words that this thread owns beside the pending one: how they get in and out (R2, R3 of [`linux`](super::linux)).

use super::linux::{MOST, Node, ROOM, STATE, State, Thread};
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

const PREV: usize = 8; // before the node
const PI: usize = 1; // libc's mark on the address of a priority-inheriting mutex

impl Thread {
    /// Moves the pending word, which this thread owns, into the list. A gate is owned by nobody and is only forgotten.
    #[inline(never)]
    pub(super) fn spill(self) {
        STATE.with(|s| {
            if !s.gate.replace(false) {
                self.link(s, self.pending());
            }
        });
    }

    #[inline(always)] // in the way of every second lock
    pub(super) fn link(self, s: &State, node: Node) {
        let count = s.count.get();
        assert!(count < ROOM, "one thread holds more than {MOST} locks at once");
        let first = read_node(self.head_node());
        let last = if count > 0 { s.linked[count - 1].get() } else { self.head_node() };
        debug_assert!(!s.linked[..count].iter().any(|n| n.get() == node), "no word is linked twice");
        let foreign = first != last && !self.is_ours(s, first);
        s.linked[count].set(node);
        if s.foreign[count].get() != foreign {
            s.foreign[count].set(foreign);
        }
        write_node(node, first);
        s.set_count(count + 1);
        compiler_fence(SeqCst);
        write_node(self.head_node(), node); // this single store puts the node into the list
        compiler_fence(SeqCst);
        if foreign {
            write_prev(first.map_addr(|a| a & !PI), node); // R3
        }
    }

    #[inline]
    pub(super) fn unlink(self, s: &State, node: Node) {
        let count = s.count.get();
        if let Some(last) = count.checked_sub(1)
            && s.linked[last].get() == node
            && !s.foreign[last].get()
            && read_node(self.head_node()) == node
        {
            // The common case: the last one that was linked is the first of the list, and behind it is the one before (R2).
            let next = if last > 0 { s.linked[last - 1].get() } else { self.head_node() };
            write_node(self.head_node(), next);
            s.count.set(last);
            if s.full.get() {
                s.set_count(last);
            }
            return;
        }
        self.unlink_from_among(s, node);
    }

    #[cold]
    fn unlink_from_among(self, s: &State, node: Node) {
        let count = s.count.get();
        let Some(i) = s.linked[..count].iter().position(|n| n.get() == node) else {
            return; // recalled twice: nothing to do
        };
        let mut next = read_node(node);
        if !self.is_ours(s, next) && !s.foreign[i].get() {
            // R2. Somebody scribbled over our node: what we linked before it is the truth.
            next = if i > 0 { s.linked[i - 1].get() } else { self.head_node() };
        }
        let (before, walk) = match s.linked[..count].get(i + 1) {
            Some(ours) => (ours.get(), s.foreign[i + 1].get()), // R2
            None => (self.head_node(), true),
        };
        let before = if walk { self.predecessor(before, node) } else { before };
        compiler_fence(SeqCst);
        write_node(before, next);
        compiler_fence(SeqCst);
        if !next.is_null() && !self.is_ours(s, next) {
            write_prev(next.map_addr(|a| a & !PI), before); // R3
        }
        if i + 1 < count && s.foreign[i].get() {
            s.foreign[i + 1].set(true); // what was behind ours is behind that one now
        }
        for j in i..count - 1 {
            s.linked[j].set(s.linked[j + 1].get());
            s.foreign[j].set(s.foreign[j + 1].get());
        }
        s.set_count(count - 1);
    }

    /// The node whose `next` is `node`: `from`, or one of the foreign nodes that were linked between the two.
    fn predecessor(self, from: Node, node: Node) -> Node {
        const LONGEST: u32 = 2048; // the kernel's own limit
        let mut at = from;
        for _ in 0..LONGEST {
            let next = read_node(at).map_addr(|a| a & !PI);
            if next == node {
                return at;
            }
            if next.is_null() || next == self.head_node() {
                break;
            }
            at = next;
        }
        from
    }

    fn is_ours(self, s: &State, node: Node) -> bool {
        node == self.head_node() || s.linked[..s.count.get()].iter().any(|n| n.get() == node)
    }
}

#[inline]
pub(super) fn read_node(node: Node) -> Node {
    // SAFETY: a field of this thread's head, or a node of its list: eight mapped bytes (R2).
    unsafe { node.cast::<Node>().read_volatile() }
}

#[inline]
pub(super) fn write_node(node: Node, next: Node) {
    // SAFETY: as in `read_node`; the owner of a word owns its node.
    unsafe { node.cast::<Node>().write_volatile(next) };
}

fn write_prev(node: Node, prev: Node) {
    // SAFETY: a node of libc's has its `prev` before it (R3).
    unsafe { node.wrapping_byte_sub(PREV).cast::<Node>().write_volatile(prev) };
}
