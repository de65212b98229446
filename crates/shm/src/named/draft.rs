//! Segments that are being made, and how they get their names.

use super::collect::make_way;
use super::error::{SegmentError, SegmentName};
use super::file::{header, map};
use super::lease::{Exit, Lease};
use super::open::HeldFile;
use super::place::{Place, file_name, patiently};
use super::shape::{Content, Shape};
use crate::family::{boot_id, namespace, random};
use crate::kind::Kind;
use crate::raw::segment::{CONTENT, Facts, MOST};
use polyproc_sys::memory::{Access, Reservation, SharedFile};
use polyproc_sys::robust::forks;

/// A segment that is being made: nobody else sees it.
pub(super) struct Draft {
    space: Reservation,
    lease: Lease,
    facts: Facts,
    link: Link,
}

/// The name that a draft is to have.
pub(super) struct Link {
    place: Place,
    file_name: String,
    at: SegmentName,
    asked: u64,
}

impl Draft {
    /// The file with its header; the content is zero.
    pub(super) fn new(place: &Place, name: &str, content: &Content<'_>, shape: Shape) -> Result<Self, SegmentError> {
        let (at, file_name) = (place.named(name), file_name(name)?);
        let asked = shape.len;
        let failed = |source| SegmentError::of(&at, asked, source);
        let limit = shape.limit.max(asked);
        if limit > MOST {
            return Err(SegmentError::NoAddressSpace { at, asked: limit });
        }
        let before = forks();
        let file =
            place.as_dir().create_unnamed(shape.mode).map_err(|source| match SegmentError::of(&at, asked, source) {
                SegmentError::Sys { source, .. } => SegmentError::BadPlace { dir: place.path().to_owned(), source },
                no_space => no_space,
            })?;
        file.back(0, CONTENT + asked).map_err(failed)?;
        // What bytes mean does not depend on where they are.
        let (namespace, boot) = match content.kind {
            Kind::Memory => (0, 0),
            _ => (namespace().map_err(failed)?, boot_id()),
        };
        let facts = Facts {
            kind: content.kind,
            persistent: false,
            len: asked,
            limit,
            type_hash: content.type_hash,
            uuid: u128::from(random()) | u128::from(random()) << 64,
            namespace,
            boot,
            type_name: content.type_name.to_owned(),
            name: name.to_owned(),
        };
        let lease = Lease::new(HeldFile::new(file, before));
        let space = map(lease.file(), limit, Access::ReadWrite, &at)?;
        header(&space).fill(&facts);
        let link = Link { place: place.clone(), file_name, at, asked };
        Ok(Self { space, lease, facts, link })
    }

    pub(super) fn space(&self) -> &Reservation {
        &self.space
    }

    pub(super) fn into_parts(self) -> (Reservation, Lease, SegmentName, Facts, Link) {
        (self.space, self.lease, self.link.at.clone(), self.facts, self.link)
    }
}

impl Link {
    /// Gives the file its name: from here on others find it.
    pub(super) fn link(self, file: &SharedFile) -> Result<Exit, SegmentError> {
        let Self { place, file_name, at, asked } = self;
        let failed = |source| SegmentError::of(&at, asked, source);
        if !file.try_lock_shared().map_err(failed)? {
            return Err(SegmentError::Busy(at)); // nobody else has seen it
        }
        let linked = patiently(|| {
            if place.as_dir().link(file, &file_name).map_err(failed)? {
                return Ok::<_, SegmentError>(Some(()));
            }
            make_way(&place, &file_name, &at).map(|()| None)
        })?;
        linked.ok_or_else(|| SegmentError::Busy(at.clone()))?;
        Ok(Exit::new(place, file_name))
    }
}
