//! The family's file as this process sees it: the mapping, and what is known of the file's size.
//!
//! The one place where offsets become pointers. The mapping of the process's own family is never taken down, that of a named
//! segment when nobody [holds](Map::keep_open) it any more: as long live references to its atomics, whatever their type says.
//! The size is asked of the kernel, never read from the file, and only grows.

use crate::error::ShmError;
use crate::ids::BlockRef;
use crate::named::{Hold, Seat};
use crate::raw::cell::RawCell;
use crate::raw::function::RawFunction;
use crate::raw::header::RawHeader;
use crate::raw::layout::{self, PAGE, SPAN};
use crate::raw::participant::RawParticipant;
use crate::raw::process::RawProcess;
use crate::raw::segment::CONTENT;
use crate::raw::slab::Class;
use crate::raw::span::RawSpan;
use crate::raw::tag::{SLAB, Tag};
use crate::{kind::Kind, raw::tag};
use polyproc_sys::SysError;
use polyproc_sys::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use polyproc_sys::memory::{MemFd, Reservation, SharedFile};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};

/// Invariants:
/// M1. The control region is backed. A span below `spans()` exists in the file, and so does its entry of the span table.
/// M2. `size` is never more than the size of the file, nor than the reservation.
#[derive(Debug)]
pub(crate) struct Map {
    file: Backing,
    /// Where in the file the family's memory starts: behind the header of a named segment.
    start: u64,
    tables: Tables,
    /// Null while it is vacant.
    base: AtomicPtr<u8>,
    /// H2.
    reserved: AtomicU64,
    /// What the kernel said about the file's size; may be stale, never ahead.
    size: AtomicU64,
}

/// How much of its tables a family uses, powers of two; the layout is the same for all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    pub(crate) processes: u16,
    pub(crate) participants: u16,
    pub(crate) functions: u32,
    /// Spans by which the file grows at least.
    pub(crate) step: u32,
}

impl Tables {
    pub(crate) const FAMILY: Self = Self {
        processes: layout::PROCESSES,
        participants: layout::PARTICIPANTS,
        functions: layout::FUNCTIONS,
        step: 16,
    };
    /// Of a named segment: 40 KiB. Functions are at other addresses in other programs.
    pub(crate) const NAMED: Self = Self { processes: 256, participants: 512, functions: 0, step: 1 };

    /// The bytes that are backed from the start: two ranges, by offset and length.
    pub(crate) fn ranges(self) -> [(u64, u64); 2] {
        let processes = u64::from(self.processes) * size_of::<RawProcess>() as u64;
        let participants = u64::from(self.participants) * size_of::<RawParticipant>() as u64;
        [(0, layout::PROCESS_TABLE + processes), (layout::PARTICIPANT_TABLE, participants)]
    }
}

/// Where the memory comes from.
#[derive(Debug)]
enum Backing {
    Anonymous(MemFd, #[expect(dead_code, reason = "it is mapped as long as this is there")] Reservation),
    /// As long as this process holds the segment; then it may be another one's.
    Named(Box<Seat>),
}

impl Backing {
    fn with<R>(&self, f: impl FnOnce(&SharedFile) -> Result<R, SysError>) -> Result<R, SysError> {
        match self {
            Self::Anonymous(file, _) => f(file),
            Self::Named(seat) => match seat.hold() {
                Some(hold) => f(hold.file()),
                None => Err(SysError::new("a segment that this process has given up", ErrorKind::NotFound.into())),
            },
        }
    }
}

/// Where a block lies and whose word says so.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) tag: &'static AtomicU64,
    pub(crate) kind: Kind,
    pub(crate) capacity: u64,
    pub(crate) at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Block `index` of the slab in span `span`.
    Slab { span: u32, class: Class, index: u32 },
    /// The run of spans that starts at this one.
    Run(u32),
}

impl Map {
    /// Of a named segment: what is behind this offset, in its file, are spans.
    pub(crate) const END_OF_TABLES: u64 = CONTENT + layout::SPAN_TABLE;

    /// Makes the file of a new family.
    pub(crate) fn create() -> Result<Self, ShmError> {
        let file = MemFd::create("polyproc-family")?;
        file.back(0, layout::CONTROL).map_err(|e| no_space(layout::CONTROL, 0, e))?;
        let space = Reservation::map(&file, layout::RESERVE)?;
        Self::anonymous(file, space)
    }

    /// Maps the file of a family whose header `check` accepts: as much of it as its founder did (H2).
    pub(crate) fn join(file: MemFd, check: impl FnOnce(&RawHeader) -> Result<(), ShmError>) -> Result<Self, ShmError> {
        if file.size()? < layout::CONTROL {
            return Err(ShmError::BadFamily("the file is too short"));
        }
        let start = Reservation::exact(&file, PAGE)?;
        // SAFETY: the file has more than a page, and `start` lives longer than the reference; atomics, any bits are valid.
        let header: &RawHeader = unsafe { &*start.base().cast() };
        check(header)?;
        let reserved = header.reserved.load(Relaxed);
        if !(layout::FIRST_SPAN..=layout::RESERVE).contains(&reserved) || !reserved.is_multiple_of(PAGE) {
            return Err(ShmError::BadFamily("its header was damaged"));
        }
        let space = Reservation::exact(&file, reserved).map_err(|e| match e.source.kind() {
            // The latter is valgrind's word for too much.
            ErrorKind::OutOfMemory | ErrorKind::InvalidInput => {
                ShmError::NoAddressSpace { asked: reserved, reserved: 0 }
            }
            _ => ShmError::Sys(e),
        })?;
        Self::anonymous(file, space)
    }

    /// Room for the content of named segments, one after the other.
    pub(crate) fn vacant() -> Self {
        Self::new(Backing::Named(Box::new(Seat::new())), CONTENT, Tables::NAMED)
    }

    fn new(file: Backing, start: u64, tables: Tables) -> Self {
        let (base, reserved) = (AtomicPtr::new(core::ptr::null_mut()), AtomicU64::new(0));
        Self { base, file, start, tables, reserved, size: AtomicU64::new(0) }
    }

    fn anonymous(file: MemFd, space: Reservation) -> Result<Self, ShmError> {
        let (base, len) = (space.base(), space.len());
        let map = Self::new(Backing::Anonymous(file, space), 0, Tables::FAMILY);
        map.base.store(base, Relaxed);
        map.reserved.store(len, Relaxed);
        map.refresh()?;
        Ok(map)
    }

    /// The content of a named segment, whose tables are backed, is here now; nobody holds it yet, and its size is not known.
    pub(crate) fn occupy(&self, space: &Reservation) {
        #[expect(clippy::cast_possible_truncation, reason = "a page")]
        self.base.store(space.base().wrapping_add(self.start as usize), Relaxed);
        self.reserved.store(space.len() - self.start, Relaxed);
        self.forget_size();
    }

    /// Nothing is here any more. Who has kept a reference to the family finds the segment [given up](Map::keep_open).
    pub(crate) fn vacate(&self) {
        self.base.store(core::ptr::null_mut(), Relaxed);
    }

    /// There are no spans any more: the kernel is not asked for the size of a segment that was given up.
    pub(crate) fn forget_size(&self) {
        self.size.store(0, Relaxed); // M2
    }

    /// Who holds the segment, if it is one with a name.
    pub(crate) fn seat(&self) -> Option<&Seat> {
        match &self.file {
            Backing::Anonymous(..) => None,
            Backing::Named(seat) => Some(seat),
        }
    }

    pub(crate) fn is_named(&self) -> bool {
        self.seat().is_some()
    }

    /// The descriptor of an anonymous family's memory.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        match &self.file {
            Backing::Anonymous(file, _) => Some(file.as_raw_fd()),
            Backing::Named(_) => None,
        }
    }

    pub(crate) fn tables(&self) -> Tables {
        self.tables
    }

    /// Backs `len` bytes from `offset` on with memory.
    pub(crate) fn back(&self, offset: u64, len: u64) -> Result<(), SysError> {
        self.file.with(|file| file.back(self.start + offset, len))
    }

    /// Gives the memory under `len` bytes from `offset` on back to the system.
    pub(crate) fn punch(&self, offset: u64, len: u64) -> Result<(), SysError> {
        self.file.with(|file| file.punch(self.start + offset, len))
    }

    /// The bytes of memory that the file takes.
    pub(crate) fn backed(&self) -> u64 {
        self.file.with(SharedFile::backed).unwrap_or(0)
    }

    /// How large the file can become; the same in all processes of the family (H2).
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Relaxed)
    }

    /// Keeps the segment, if it is one with a name, from being given up meanwhile.
    ///
    /// # Errors
    /// If this process has given it up: then there are no spans any more.
    #[inline]
    pub(crate) fn keep_open(&self) -> Result<Option<Hold<'_>>, ShmError> {
        self.seat().map(|seat| seat.hold().ok_or(ShmError::GivenUp)).transpose()
    }

    /// Whether this process has given the segment up.
    pub(crate) fn is_closed(&self) -> bool {
        self.seat().is_some_and(Seat::is_empty)
    }

    /// Asks the kernel for the size of the file.
    #[cold]
    pub(crate) fn refresh(&self) -> Result<u64, SysError> {
        self.file.with(|file| {
            // While the segment is held: what comes after it must not get its size.
            let size = file.size()?.saturating_sub(self.start).min(self.reserved());
            self.size.fetch_max(size, Relaxed);
            Ok(size)
        })
    }

    /// How many spans this process knows of.
    #[inline]
    pub(crate) fn spans(&self) -> u32 {
        layout::spans_in(self.size.load(Relaxed))
    }

    /// Checks that `len` bytes from `offset` on lie in spans of the file.
    #[inline]
    pub(crate) fn check(&self, offset: u64, len: u64) -> Result<*mut u8, ShmError> {
        let outside = || ShmError::OutOfRange { offset, len };
        let end = offset.checked_add(len).ok_or_else(outside)?;
        if offset < layout::FIRST_SPAN {
            return Err(outside());
        }
        if end > self.size.load(Relaxed) && end > self.refresh()? {
            return Err(outside());
        }
        Ok(self.pointer(offset))
    }

    /// The address of `offset`, which must have been checked before it is used.
    #[inline]
    pub(crate) fn pointer(&self, offset: u64) -> *mut u8 {
        #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits on all platforms of this crate")]
        self.base.load(Relaxed).wrapping_add(offset as usize)
    }

    #[inline]
    pub(crate) fn header(&self) -> &'static RawHeader {
        // SAFETY: M1, the header is in the control region; it consists of atomics, and any bits are valid.
        unsafe { &*self.base.load(Relaxed).cast() }
    }

    #[inline]
    pub(crate) fn process(&self, slot: u16) -> &'static RawProcess {
        let slot = slot & (self.tables.processes - 1);
        let at = layout::PROCESS_TABLE + u64::from(slot) * size_of::<RawProcess>() as u64;
        // SAFETY: M1, the slot was cut to the table's length; atomics, any bits are valid.
        unsafe { &*self.pointer(at).cast() }
    }

    #[inline]
    pub(crate) fn participant(&self, slot: u16) -> &'static RawParticipant {
        let slot = slot & (self.tables.participants - 1);
        let at = layout::PARTICIPANT_TABLE + u64::from(slot) * size_of::<RawParticipant>() as u64;
        // SAFETY: M1, the slot was cut to the table's length; atomics, any bits are valid; the node is never read here.
        unsafe { &*self.pointer(at).cast() }
    }

    pub(crate) fn function(&self, index: u32) -> &'static RawFunction {
        let index = index % layout::FUNCTIONS;
        let at = layout::FUNCTION_TABLE + u64::from(index) * size_of::<RawFunction>() as u64;
        // SAFETY: M1, the index was cut to the table's length; atomics, any bits are valid.
        unsafe { &*self.pointer(at).cast() }
    }

    /// Entry `i` of the span table, if this process knows the span.
    #[inline]
    pub(crate) fn span(&self, i: u32) -> Option<&'static RawSpan> {
        if i >= self.spans() {
            return None;
        }
        let at = layout::SPAN_TABLE + u64::from(i) * size_of::<RawSpan>() as u64;
        // SAFETY: M1, the span exists, so its entry is backed; atomics, any bits are valid.
        Some(unsafe { &*self.pointer(at).cast() })
    }

    /// What the slab in span `i` is cut into, if it is a slab.
    #[inline]
    pub(crate) fn slab(&self, i: u32) -> Option<(Kind, Class)> {
        slab_of(self.span(i)?.tag())
    }

    /// The tag of block `index` of a slab of `class`; `None` if there is no such block.
    #[inline]
    pub(crate) fn tag(&self, span: u32, class: Class, index: u32) -> Option<&'static AtomicU64> {
        if span >= self.spans() || index >= class.count() {
            return None;
        }
        // SAFETY: M1, the span exists; a tag of the class lies inside of it, aligned to 8; any bits are valid.
        Some(unsafe { &*self.pointer(layout::span_offset(span) + class.tag_at(index)).cast() })
    }

    /// The cell in block `index` of a slab of cells.
    pub(crate) fn cell(&self, offset: u64) -> Option<&'static RawCell> {
        let place = self.place(offset).ok()?;
        if place.kind != Kind::Cell || place.capacity < size_of::<RawCell>() as u64 {
            return None;
        }
        // SAFETY: `place` found a block of 32 bytes and more in an existing span, aligned to 32 by the geometry of its
        // class; atomics, any bits are valid.
        Some(unsafe { &*self.pointer(offset).cast() })
    }

    /// Finds the block that starts at `offset`, which may be any number.
    pub(crate) fn place(&self, offset: u64) -> Result<Place, ShmError> {
        let none = || ShmError::NoBlock { offset };
        let i = layout::span_of(offset).ok_or_else(none)?;
        if i >= self.spans() {
            self.refresh()?;
        }
        let span = self.span(i).ok_or_else(none)?;
        let inside = offset - layout::span_offset(i);
        if let Some((kind, class)) = slab_of(span.tag()) {
            let index = class.block_of(inside).ok_or_else(none)?;
            let tag = self.tag(i, class, index).ok_or_else(none)?;
            return Ok(Place { tag, kind, capacity: class.size(), at: At::Slab { span: i, class, index } });
        }
        if inside != 0 || span.tag().state() == tag::PART {
            return Err(none());
        }
        let length = self.run_length(i, span);
        Ok(Place { tag: &span.word, kind: Kind::Data, capacity: u64::from(length) * SPAN, at: At::Run(i) })
    }

    /// The length of the run that starts at span `i`, cut to what exists.
    pub(crate) fn run_length(&self, i: u32, span: &RawSpan) -> u32 {
        let length = span.run_length();
        if length > self.spans().saturating_sub(i) {
            let _ = self.refresh(); // at worst the length is cut to what was known before
        }
        length.min(self.spans().saturating_sub(i)).max(1)
    }

    /// Finds the block of a reference and checks that its length fits.
    pub(crate) fn place_of(&self, r: &BlockRef) -> Result<Place, ShmError> {
        let place = self.place(r.offset)?;
        if r.len > place.capacity {
            return Err(ShmError::OutOfRange { offset: r.offset, len: r.len });
        }
        Ok(place)
    }
}

/// What a span's word says about a slab.
#[inline]
pub(crate) fn slab_of(tag: Tag) -> Option<(Kind, Class)> {
    if tag.state() != SLAB {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the low byte is the kind")]
    let kind = Kind::from_u8(tag.rest() as u8)?;
    Some((kind, Class::from_index(tag.rest() >> 8)?))
}

/// The word of a span that is a slab.
pub(crate) fn slab_tag(generation: u32, kind: Kind, class: Class) -> Tag {
    Tag::new(SLAB, generation, u64::from(kind as u8) | (class.index() as u64) << 8)
}

pub(crate) fn no_space(asked: u64, backed: u64, source: SysError) -> ShmError {
    ShmError::NoSpace { asked, backed, source }
}
