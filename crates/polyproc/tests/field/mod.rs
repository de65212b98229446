//! Words that the processes of a soak share, and the dice that they throw.

#![allow(dead_code, reason = "each soak uses what it needs")]

use polyproc::parts::shm::{Kind, Object, message};
use polyproc::parts::sys::atomic::{AtomicU64, Ordering::SeqCst};
use polyproc::{Family, Stats};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// Words of shared memory, as many as it was made with.
#[derive(Clone)]
pub(crate) struct Field(Arc<Object>);

impl Field {
    pub(crate) fn new(words: usize) -> Self {
        Self(Arc::new(Object::create(Family::get().unwrap(), words as u64 * 8, Kind::User).unwrap()))
    }

    pub(crate) fn word(&self, i: usize) -> &AtomicU64 {
        assert!((i as u64 + 1) * 8 <= self.0.capacity());
        // SAFETY: inside the object, which is aligned and stays mapped; any bits are an atomic.
        unsafe { &*self.0.as_ptr().cast::<AtomicU64>().wrapping_add(i) }
    }

    pub(crate) fn get(&self, i: usize) -> u64 {
        self.word(i).load(SeqCst)
    }

    pub(crate) fn set(&self, i: usize, value: u64) {
        self.word(i).store(value, SeqCst);
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        message::serialize_handle(&self.0, s)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        message::deserialize_handle(Kind::User, 8, d).map(Self)
    }
}

/// A generator of numbers that look random.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub(crate) fn mix(mut n: u64) -> u64 {
    n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

pub(crate) fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What must be the same afterwards.
pub(crate) fn held(stats: &Stats) -> (Vec<u64>, u32, u32) {
    let blocks = (0..=u8::MAX).filter_map(Kind::from_u8).map(|kind| stats.blocks(kind)).collect();
    (blocks, stats.processes, stats.participants)
}
