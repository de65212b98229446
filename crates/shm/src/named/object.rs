//! Objects that have names: locks, queues and the like that programs without kinship share.
//!
//! Each lies in a segment of its own, which is the memory of a family like any other, only that its members need no
//! kinship: with a table of processes, one of threads, and an allocator for what the object needs. Its first object is
//! the one that has the name; it lives as long as the segment.

use super::collect::make_way;
use super::draft::Draft;
use super::error::SegmentError;
use super::file::NamedFile;
use super::membership::Membership;
use super::name::{Name, open_or_create};
use super::place::file_name;
use super::retired::occupy;
use super::shape::{Content, Shape};
use crate::error::ShmError;
use crate::family::Family;
use crate::kind::Kind;
use crate::map::Tables;
use crate::object::Object;
use crate::raw::layout::{self, SPAN};
use crate::raw::segment::CONTENT;
use polyproc_sys::memory::Access;
use std::sync::Arc;

/// Spans beyond what was asked for.
const SPARE: u64 = 16;
/// The least address space that is worth a try, where there is not as much as was asked for.
const LEAST: u64 = 64 << 20;

impl Object {
    /// A new object that has a name: `make` makes it, with all that it needs, in the family that it gets; that family has
    /// room for `room` bytes at least, if the address space has. Nobody sees the object before `make` has returned.
    ///
    /// Locks and queues are made like this. The name goes with the last process that holds the object.
    ///
    /// # Errors
    /// [`SegmentError::Exists`], [`SegmentError::BadName`], [`SegmentError::BadPlace`], [`SegmentError::NoSpace`], and what
    /// `make` says.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, Object, SegmentError};
    /// let name = format!("doc-object-{}", std::process::id());
    /// let content = Content { kind: Kind::User, type_name: "eight bytes", type_hash: 8 };
    /// let new = Object::create_named(&name, &content, 1 << 20, |family| Object::create(family, 8, Kind::User))?;
    /// let found = Object::open_named(&name, &content, 8)?; // by another program, as a rule
    /// assert_eq!((found.offset(), found.kind()), (new.offset(), Kind::User));
    /// drop((new, found));
    /// assert!(Object::open_named(&name, &content, 8).is_err());
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn create_named(
        name: impl Into<Name>,
        content: &Content<'_>,
        room: u64,
        make: impl FnOnce(&'static Family) -> Result<Self, ShmError>,
    ) -> Result<Arc<Self>, SegmentError> {
        let name = name.into();
        refuse_taken(&name)?;
        let draft = draft(&name, content, room)?;
        let (space, lease, at, facts, link) = draft.into_parts();
        let member = Membership::new(lease, at, facts.uuid);
        for (offset, len) in Tables::NAMED.ranges() {
            let failed = |source| SegmentError::of(member.at(), len, source);
            member.file().back(CONTENT + offset, len).map_err(failed)?;
        }
        let (family, member) = occupy(space, member);
        family.found_named()?;
        member.set_family(family);
        family.try_me()?;
        let object = make(family).map_err(|e| match e {
            ShmError::NoSpace { asked, source, .. } => SegmentError::NoSpace { at: member.at().clone(), asked, source },
            e => e.into(),
        })?;
        if object.family().id() != family.id() {
            return Err(ShmError::OtherFamily.into());
        }
        let object = object.into_root()?;
        member.lease().set_exit(link.link(member.file())?);
        Ok(Arc::new(object))
    }

    /// The object that has the name, if it is what `content` says and has at least `least` bytes.
    ///
    /// # Errors
    /// [`SegmentError::NotFound`], also if its last holder has gone; [`SegmentError::WrongType`]; [`SegmentError::Unusable`].
    ///
    /// # Examples
    /// See [`Object::create_named`].
    pub fn open_named(name: impl Into<Name>, content: &Content<'_>, least: u64) -> Result<Arc<Self>, SegmentError> {
        let name = name.into();
        enter(NamedFile::open(name.place(), name.text(), content, Access::ReadWrite)?, content.kind, least)
    }

    /// The object that has the name, which is made if there is none: [`Object::open_named`], [`Object::create_named`].
    ///
    /// # Errors
    /// As these two.
    ///
    /// # Examples
    /// ```
    /// use polyproc_shm::{Content, Kind, Object, SegmentError};
    /// let name = format!("doc-object-either-{}", std::process::id());
    /// let content = Content { kind: Kind::User, type_name: "eight bytes", type_hash: 8 };
    /// let make = || Object::open_or_create_named(&name, &content, 8, 1 << 20, |f| Object::create(f, 8, Kind::User));
    /// let (created, opened) = (make()?, make()?);
    /// assert_eq!(created.offset(), opened.offset());
    /// # Ok::<(), SegmentError>(())
    /// ```
    pub fn open_or_create_named(
        name: impl Into<Name>,
        content: &Content<'_>,
        least: u64,
        room: u64,
        mut make: impl FnMut(&'static Family) -> Result<Self, ShmError>,
    ) -> Result<Arc<Self>, SegmentError> {
        let name = name.into();
        open_or_create(
            &name,
            || Self::open_named(&name, content, least),
            || Self::create_named(&name, content, room, &mut make),
        )
    }
}

/// Maps what is held, and joins the family in it.
pub(crate) fn enter(file: NamedFile, kind: Kind, least: u64) -> Result<Arc<Object>, SegmentError> {
    let (space, lease, at, facts) = file.into_parts();
    let unusable = |why| SegmentError::Unusable { at: at.clone(), why };
    if facts.limit < layout::FIRST_SPAN + SPAN || facts.limit > layout::RESERVE {
        return Err(unusable("its header was damaged; unlink it"));
    }
    let member = Membership::new(lease, at.clone(), facts.uuid);
    let [_, (offset, len)] = Tables::NAMED.ranges();
    let size = member.file().size().map_err(|source| SegmentError::Sys { at: at.clone(), source })?;
    if size < CONTENT + offset + len {
        return Err(unusable("it was truncated; unlink it"));
    }
    let (family, member) = occupy(space, member);
    family.join_named().map_err(|e| if let ShmError::BadFamily(why) = e { unusable(why) } else { e.into() })?;
    member.set_family(family);
    family.try_me()?;
    let root = family.root(kind, least)?.ok_or_else(|| unusable("the object in it was damaged; unlink it"))?;
    family.reap();
    Ok(Arc::new(root))
}

/// Before anything is made: whether the name is taken.
fn refuse_taken(name: &Name) -> Result<(), SegmentError> {
    let at = name.place().named(name.text());
    make_way(name.place(), &file_name(name.text())?, &at)
}

/// The segment, with as much of the address space as there is.
fn draft(name: &Name, content: &Content<'_>, room: u64) -> Result<Draft, SegmentError> {
    const MOST: u64 = (layout::RESERVE - layout::FIRST_SPAN) / SPAN;
    // Small objects of each kind have spans of their own.
    let mut room = room.div_ceil(SPAN).saturating_add(SPARE).min(MOST) * SPAN;
    let (_, len) = Tables::NAMED.ranges()[0];
    loop {
        let shape = Shape { len, limit: layout::FIRST_SPAN + room, mode: 0o600 };
        match Draft::new(name.place(), name.text(), content, shape) {
            Err(SegmentError::NoAddressSpace { .. }) if room > LEAST => room = (room / 4).max(LEAST),
            result => return result,
        }
    }
}
