//! Finding free blocks: the cursors of this process, new slabs, runs of spans, growth.
//!
//! Nothing here is shared but the words; a process that is killed anywhere leaves words that say so.

use crate::error::ShmError;
use crate::family::Family;
use crate::ids::ProcessId;
use crate::kind::{KINDS, Kind};
use crate::map::{At, Map, Place, no_space, slab_tag};
use crate::raw::layout::{self, PAGE, SPAN, span_offset};
use crate::raw::slab::{CLASSES, Class, LARGEST};
use crate::raw::tag::Tag;
use crate::trim::LARGE;
use polyproc_sys::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Where this process looks first. Only hints: any value is right, for any thread.
#[derive(Debug)]
pub(crate) struct Cursors {
    /// By kind and class: span + 1 in the upper half, block in the lower; 0 is unset.
    slabs: [[AtomicU64; CLASSES]; KINDS],
    /// By kind and class: where the search beyond that slab goes on, see [`Search`].
    searches: [[AtomicU64; CLASSES]; KINDS],
    /// The span at which the next run may start.
    pub(crate) run: AtomicU64,
    /// Spans that were freed in runs since the last look at what is free.
    pub(crate) freed: AtomicU64,
}

impl Cursors {
    pub(crate) const fn new() -> Self {
        Self {
            slabs: [const { [const { AtomicU64::new(0) }; CLASSES] }; KINDS],
            searches: [const { [const { AtomicU64::new(0) }; CLASSES] }; KINDS],
            run: AtomicU64::new(0),
            freed: AtomicU64::new(0),
        }
    }

    /// As new: it is another family now.
    pub(crate) fn forget(&self) {
        let words = self.slabs.iter().chain(&self.searches).flatten();
        words.chain([&self.run, &self.freed]).for_each(|word| word.store(0, Relaxed));
    }

    #[inline]
    fn of(&self, kind: Kind, class: Class) -> &AtomicU64 {
        &self.slabs[kind as usize][class.index()]
    }
}

#[inline]
fn pack(span: u32, index: u32) -> u64 {
    (u64::from(span) + 1) << 32 | u64::from(index)
}

#[expect(clippy::cast_possible_truncation, reason = "takes apart what `pack` put together")]
fn unpack(cursor: u64) -> Option<(u32, u32)> {
    Some((((cursor >> 32) as u32).checked_sub(1)?, cursor as u32))
}

/// Where the search for a free block goes on, and how much of a search the next ones may save.
///
/// A search that has seen all slabs and found them full is expensive, and likely to end like that again: it earns the right
/// to make an eighth as many slabs after short searches only. So the cost for each new slab is bounded, and for each slab
/// that is made without need, because others have freed blocks meanwhile, there are eight that were full. Short searches
/// start where the last one stopped: free blocks are found wherever they are.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// The span to look at first.
    from: u32,
    /// Slabs that may be made after short searches.
    credit: u32,
}

impl Search {
    #[expect(clippy::cast_possible_truncation, reason = "takes apart what `pack` put together")]
    fn unpack(word: u64) -> Self {
        Self { from: word as u32, credit: (word >> 32) as u32 }
    }

    fn pack(self) -> u64 {
        u64::from(self.from) | u64::from(self.credit) << 32
    }
}

/// A fresh block: where it is, its generation, its capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    pub(crate) offset: u64,
    pub(crate) generation: u32,
    pub(crate) capacity: u64,
}

/// Slabs that a short search looks through ([`Search`]).
const SHORT: u32 = 16;
/// A search that found all slabs full saves one search for each so many of them ([`Search`]).
const SAVED: u32 = 8;

impl Family {
    /// Takes a free block of at least `len` bytes for this process.
    #[inline]
    pub(crate) fn take_block(&self, len: u64, kind: Kind, me: ProcessId) -> Result<Fresh, ShmError> {
        let Some(class) = Class::for_len(len) else {
            return if kind == Kind::Data { self.take_run(len, me) } else { Err(ShmError::TooLarge { len }) };
        };
        let cursor = self.cursors.of(kind, class).load(Relaxed);
        if let Some((span, index)) = unpack(cursor)
            && let Some(fresh) = self.take_at(span, index, kind, class, me)
        {
            return Ok(fresh);
        }
        self.take_elsewhere(kind, class, me)
    }

    /// Tries the one block under the cursor: the way of a program that frees what it allocates.
    #[inline]
    fn take_at(&self, span: u32, index: u32, kind: Kind, class: Class, me: ProcessId) -> Option<Fresh> {
        let tag = self.map.tag(span, class, index)?;
        let old = Tag(tag.load(Relaxed));
        let new = old.taken(me);
        // SYNC(A1)
        if !old.is_free() || tag.compare_exchange(old.0, new.0, Acquire, Relaxed).is_err() {
            return None;
        }
        let next = if index + 1 == class.count() { 0 } else { index + 1 };
        self.cursors.of(kind, class).store(pack(span, next), Relaxed);
        let offset = span_offset(span) + class.block_at(index);
        Some(Fresh { offset, generation: new.generation(), capacity: class.size() })
    }

    /// Looks through the slab under the cursor, then through others ([`Search`]), then makes one.
    #[cold]
    fn take_elsewhere(&self, kind: Kind, class: Class, me: ProcessId) -> Result<Fresh, ShmError> {
        let start = unpack(self.cursors.of(kind, class).load(Relaxed));
        // Processes that have no cursor yet start at different blocks, so as not to meet at one cache line.
        let index = start.map_or(u32::from(me.slot) * 8, |s| s.1) % class.count();
        self.map.refresh()?;
        if let Some(fresh) = start.and_then(|(span, _)| self.take_in(span, index, kind, class, me)) {
            return Ok(fresh);
        }
        let hint = &self.cursors.searches[kind as usize][class.index()];
        let (spans, mut search, mut tried) = (self.map.spans(), Search::unpack(hint.load(Relaxed)), 0);
        let from = search.from.min(spans);
        for span in (from..spans).chain(0..from) {
            if self.map.slab(span) != Some((kind, class)) {
                continue;
            }
            if let Some(fresh) = self.take_in(span, index, kind, class, me) {
                hint.store(Search { from: span, ..search }.pack(), Relaxed);
                return Ok(fresh);
            }
            tried += 1;
            if search.credit > 0 && tried == SHORT {
                search.from = span + 1;
                break;
            }
        }
        search.credit = search.credit.checked_sub(1).unwrap_or(tried / SAVED);
        hint.store(search.pack(), Relaxed);
        loop {
            let span = self.make_slab(kind, class, me)?;
            for i in 0..class.count() {
                if let Some(fresh) = self.take_at(span, i, kind, class, me) {
                    return Ok(fresh);
                }
            }
        }
    }

    /// Takes a free block of a slab, from block `index` on.
    fn take_in(&self, span: u32, index: u32, kind: Kind, class: Class, me: ProcessId) -> Option<Fresh> {
        if self.map.slab(span) != Some((kind, class)) {
            return None;
        }
        (index..class.count()).chain(0..index).find_map(|i| self.take_at(span, i, kind, class, me))
    }

    fn make_slab(&self, kind: Kind, class: Class, me: ProcessId) -> Result<u32, ShmError> {
        let (first, generation) = self.take_spans(1, 0, me)?;
        let start = self.map.check(span_offset(first), SPAN)?;
        #[expect(clippy::cast_possible_truncation, reason = "below 64 KiB")]
        let prefix = class.prefix() as usize;
        // SAFETY: the span was just taken by this process alone, and `check` found all of it in the file.
        unsafe { start.write_bytes(0, prefix) }; // S1
        let span = self.map.span(first).ok_or(ShmError::NoBlock { offset: span_offset(first) })?;
        let (old, new) = (Tag::owned(generation, me), slab_tag(generation, kind, class));
        let _ = span.word.compare_exchange(old.0, new.0, Release, Relaxed); // fails only if somebody scribbled
        Ok(first)
    }

    #[cold]
    fn take_run(&self, len: u64, me: ProcessId) -> Result<Fresh, ShmError> {
        debug_assert!(len > LARGEST);
        let reserved = self.map.reserved();
        let wanted = u32::try_from(len.div_ceil(SPAN)).ok().filter(|&n| n < layout::SPANS);
        let n = wanted.ok_or(ShmError::NoAddressSpace { asked: len, reserved })?;
        #[expect(clippy::cast_possible_truncation, reason = "a span's number")]
        let hint = self.cursors.run.load(Relaxed) as u32;
        let (first, generation) = self.take_spans(n, hint, me)?;
        self.cursors.run.store(u64::from(first) + u64::from(n), Relaxed);
        Ok(Fresh { offset: span_offset(first), generation, capacity: u64::from(n) * SPAN })
    }

    /// Takes `n` free spans in a row, from `hint` on if there are any, then anywhere, then behind the end of the file.
    fn take_spans(&self, n: u32, hint: u32, me: ProcessId) -> Result<(u32, u32), ShmError> {
        loop {
            let spans = self.map.spans();
            let hint = hint.min(spans);
            let mut from = hint;
            let mut wrapped = hint == 0;
            loop {
                match find_free(&self.map, n, from, spans) {
                    Some(first) => match self.try_take_spans(first, n, me)? {
                        Ok(generation) => return Ok((first, generation)),
                        Err(lost) => from = lost + 1,
                    },
                    None if wrapped => break,
                    None => (from, wrapped) = (0, true),
                }
            }
            let before = self.map.spans();
            self.map.refresh()?;
            if self.map.spans() == before {
                self.grow(n)?;
            }
        }
    }

    /// Takes exactly these spans; `Ok(Err(i))` if span `i` was taken by somebody else.
    pub(crate) fn try_take_spans(&self, first: u32, n: u32, me: ProcessId) -> Result<Result<u32, u32>, ShmError> {
        let missing = ShmError::NoBlock { offset: span_offset(first) };
        let head = self.map.span(first).ok_or(missing)?;
        let Some(generation) = head.take_first(n, me) else { return Ok(Err(first)) };
        let mut punched = head.is_punched();
        for i in first + 1..first + n {
            let part = self.map.span(i);
            if !part.is_some_and(|p| p.take_part(first)) {
                self.release_spans(first, i - first, generation, me);
                return Ok(Err(i));
            }
            punched |= part.is_some_and(crate::raw::span::RawSpan::is_punched);
        }
        if punched {
            let len = u64::from(n) * SPAN;
            if let Err(e) = self.map.back(span_offset(first), len) {
                self.release_spans(first, n, generation, me);
                return Err(no_space(len, self.map.backed(), e));
            }
            for i in first..first + n {
                self.map.span(i).inspect(|s| s.set_punched(false)); // N3
            }
        }
        Ok(Ok(generation))
    }

    pub(crate) fn release_spans(&self, first: u32, n: u32, generation: u32, owner: ProcessId) {
        for i in (first + 1..first + n).rev() {
            self.map.span(i).inspect(|s| s.free_part(first));
        }
        self.map.span(first).inspect(|s| s.free_first(generation, owner));
    }

    /// Frees the block at `place`, if its tag still says `OWNED` by `owner` in this generation. `false` if it does not.
    #[inline]
    pub(crate) fn free_block(&self, place: &Place, generation: u32, owner: ProcessId) -> bool {
        let old = Tag::owned(generation, owner);
        match place.at {
            At::Slab { span, class, index } => {
                // SYNC(A1)
                if place.tag.compare_exchange(old.0, old.freed().0, Release, Relaxed).is_err() {
                    return false;
                }
                self.cursors.of(place.kind, class).store(pack(span, index), Relaxed);
            }
            At::Run(first) => {
                if place.tag.load(Acquire) != old.0 {
                    return false;
                }
                self.free_run(first, generation, owner);
            }
        }
        true
    }

    /// Frees a run of this process, finished or not.
    fn free_run(&self, first: u32, generation: u32, owner: ProcessId) {
        let Some(head) = self.map.span(first) else { return };
        let said = self.map.run_length(first, head);
        // N2. Only what says that it belongs to this run: the length may be ahead of the parts, or damaged.
        let n = 1
            + (first + 1..first.saturating_add(said))
                .take_while(|&i| self.map.span(i).is_some_and(|s| s.is_part_of(first)))
                .count();
        let n = u32::try_from(n).unwrap_or(said);
        if n >= LARGE {
            self.punch_spans(first, n);
        }
        self.release_spans(first, n, generation, owner);
        self.cursors.run.store(u64::from(first), Relaxed);
        self.freed_run(n);
    }

    /// Makes the file larger, so that `n` spans more lie at its end.
    #[cold]
    fn grow(&self, n: u32) -> Result<(), ShmError> {
        let spans = self.map.spans();
        let asked = u64::from(n) * SPAN;
        let most = layout::spans_in(self.map.reserved());
        let tail = (0..spans).rev().take_while(|&i| self.map.span(i).is_some_and(|s| s.is_free())).count();
        let need = n.saturating_sub(u32::try_from(tail).unwrap_or(0)).max(1);
        if need > most.saturating_sub(spans) {
            return Err(ShmError::NoAddressSpace { asked, reserved: self.map.reserved() });
        }
        let step = need.max(self.map.tables().step).max((spans / 8).min(1024)).min(most - spans);
        let result = self.back_spans(spans, step);
        // A step that is too large is no reason to fail.
        let result = if result.is_err() && step > need { self.back_spans(spans, need) } else { result };
        result.map_err(|e| no_space(asked, self.map.backed(), e))?;
        self.map.refresh()?;
        Ok(())
    }

    /// Backs spans behind the end of the file: first their entries of the table, then, which makes them exist, themselves.
    fn back_spans(&self, from: u32, n: u32) -> Result<(), polyproc_sys::SysError> {
        let entry = |i: u32| layout::SPAN_TABLE + u64::from(i) * 16;
        let start = entry(from) / PAGE * PAGE;
        let end = entry(from + n).next_multiple_of(PAGE);
        self.map.back(start, end - start)?;
        self.map.back(span_offset(from), u64::from(n) * SPAN)
    }

    /// Makes `to` the owner of a block that `from` owns; `false` if the tag says otherwise.
    pub(crate) fn take_over(&self, place: &Place, from: (ProcessId, u32), to: (ProcessId, u32)) -> bool {
        let (old, new) = (Tag::owned(from.1, from.0), Tag::owned(to.1, to.0));
        place.tag.compare_exchange(old.0, new.0, AcqRel, Relaxed).is_ok() // SYNC(A2)
    }
}

/// The first of `n` free spans in a row, in `from..spans`.
fn find_free(map: &Map, n: u32, from: u32, spans: u32) -> Option<u32> {
    let mut start = from;
    for i in from..spans {
        if !map.span(i)?.is_free() {
            start = i + 1;
        } else if i + 1 - start == n {
            return Some(start);
        }
    }
    None
}
