//! What the main process keeps of what the workers find.

use crate::list::List;
use std::collections::BTreeMap;
use std::io;

/// How many of the last primes are shown.
const SHOWN: usize = 5;

/// Count, last primes, and the list if one is wanted. Chunks come in any order; each counts once.
#[derive(Debug)]
pub(crate) struct Tally {
    list: Option<List>,
    count: u64,
    /// The last primes of all chunks before `next`.
    last: Vec<u64>,
    /// The first chunk that is missing.
    next: u64,
    /// What is still needed of the chunks that came before their turn: some tens, as the pool asks no further ahead.
    early: BTreeMap<u64, Vec<u64>>,
}

impl Tally {
    pub(crate) fn new(list: Option<List>) -> Self {
        Self { list, count: 0, last: Vec::new(), next: 0, early: BTreeMap::new() }
    }

    /// Takes a chunk in; `false` if it was there already.
    pub(crate) fn add(&mut self, chunk: u64, mut primes: Vec<u64>) -> io::Result<bool> {
        if chunk < self.next || self.early.contains_key(&chunk) {
            return Ok(false);
        }
        self.count += primes.len() as u64;
        if self.list.is_none() {
            primes = last_of(primes);
        }
        self.early.insert(chunk, primes);
        while let Some(primes) = self.early.remove(&self.next) {
            if let Some(list) = &mut self.list {
                list.add(&primes)?;
            }
            self.last.extend(last_of(primes));
            self.last = last_of(core::mem::take(&mut self.last));
            self.next += 1;
        }
        Ok(true)
    }

    /// The primes so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether every chunk up to this one has come.
    pub(crate) fn is_complete(&self, last: u64) -> bool {
        self.next > last
    }

    /// The count and the last primes; the list is complete now.
    pub(crate) fn finish(self) -> io::Result<(u64, Vec<u64>)> {
        if let Some(list) = self.list {
            list.finish()?;
        }
        Ok((self.count, self.last))
    }
}

fn last_of(mut primes: Vec<u64>) -> Vec<u64> {
    primes.split_off(primes.len().saturating_sub(SHOWN))
}
