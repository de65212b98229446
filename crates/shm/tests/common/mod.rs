//! What the tests of several files need: processes of their own, and a kind with contents.

#![allow(dead_code, reason = "not every file needs all of it")]

use polyproc_shm::{BlockRef, Family, Kind, KindHooks, Object, message, register_kind};
use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the ignored test `name` of this file in a fresh process, so that it has a family of its own.
#[track_caller]
pub(crate) fn isolated(name: &str) {
    let exe = std::env::current_exe().unwrap();
    let out = Command::new(exe).args([name, "--exact", "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{name} failed in its own process: {}\n{text}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Ends the process, with a message, if a test blocks.
pub(crate) fn watchdog(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("blocked for {limit:?}: {:?}", Family::existing().map(|f| f.stats()));
        std::process::abort();
    });
}

pub(crate) fn family() -> &'static Family {
    Family::get().unwrap()
}

/// An atomic word in shared memory at `object`.
pub(crate) fn word(object: &Object, i: u64) -> &AtomicU64 {
    assert!((i + 1) * 8 <= object.capacity());
    // SAFETY: inside the object, aligned; any bits are valid.
    unsafe { &*object.as_ptr().cast::<AtomicU64>().wrapping_add(i as usize) }
}

pub(crate) fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::yield_now();
    }
}

/// A handle of an object of kind `K`.
#[derive(Clone, Debug)]
pub(crate) struct Handle<const K: u8>(pub(crate) Arc<Object>);
pub(crate) type Lock = Handle<{ Kind::Lock as u8 }>;
pub(crate) type Mailbox = Handle<{ Kind::Queue as u8 }>;

impl<const K: u8> Handle<K> {
    pub(crate) fn new(len: u64) -> Self {
        Self(Arc::new(Object::create(family(), len, Kind::from_u8(K).unwrap()).unwrap()))
    }
}

impl<const K: u8> Serialize for Handle<K> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.0, s)
    }
}

impl<'de, const K: u8> Deserialize<'de> for Handle<K> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::from_u8(K).unwrap(), 8, d).map(Self)
    }
}

/// Slots of a mailbox, each with the four words of a reference; the second word is stored last. Length + 1, 0 is empty.
pub(crate) const SLOTS: u64 = 8;

impl Mailbox {
    pub(crate) fn mailbox() -> Self {
        // SAFETY: `trace` names what the slots hold, and nobody else registers the kind in the tests.
        unsafe { register_kind(Kind::Queue, KindHooks { trace, drop: drain, holder_died }) };
        let mailbox = Self::new(SLOTS * 32 + 8);
        word(&mailbox.0, SLOTS * 4).store(0, SeqCst);
        mailbox
    }

    /// How often a process has died that held it.
    pub(crate) fn deaths(&self) -> u64 {
        word(&self.0, SLOTS * 4).load(SeqCst)
    }

    pub(crate) fn put(&self, slot: u64, r: BlockRef) {
        let words = r.to_words();
        for i in [0, 2, 3] {
            word(&self.0, slot * 4 + i).store(words[i as usize], SeqCst);
        }
        word(&self.0, slot * 4 + 1).store(words[1] + 1, SeqCst);
    }

    pub(crate) fn peek(&self, slot: u64) -> Option<BlockRef> {
        read(family(), self.0.offset(), slot)
    }

    pub(crate) fn clear(&self, slot: u64) {
        word(&self.0, slot * 4 + 1).store(0, SeqCst);
    }
}

fn holder_died(family: &'static Family, object: u64) {
    let at = family.at(object + SLOTS * 32, 8).unwrap().cast::<AtomicU64>();
    // SAFETY: `at` checked that 8 bytes are there; aligned; any bits are valid.
    unsafe { &*at }.fetch_add(1, SeqCst);
}

fn read(family: &Family, object: u64, slot: u64) -> Option<BlockRef> {
    let at = family.at(object + slot * 32, 32).ok()?.cast::<AtomicU64>();
    // SAFETY: `at` checked that 32 bytes are there; aligned; any bits are valid.
    let words = [0, 1, 2, 3].map(|i| unsafe { &*at.wrapping_add(i) }.load(SeqCst));
    let len = words[1].checked_sub(1)?;
    Some(BlockRef::from_words([words[0], len, words[2], words[3]]))
}

fn trace(family: &'static Family, object: u64, keep: &mut dyn FnMut(BlockRef)) {
    (0..SLOTS).filter_map(|s| read(family, object, s)).for_each(keep);
}

fn drain(family: &'static Family, object: u64) {
    for r in (0..SLOTS).filter_map(|s| read(family, object, s)) {
        drop(family.claim(r));
    }
}

/// A small generator of numbers that look random.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("POLYPROC_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(|| polyproc_sys::deadline::now_ns() | 1);
        eprintln!("POLYPROC_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
