//! How a handle of something that has a name travels: by that name, and the number that tells it from namesakes.

use super::error::SegmentError;
use super::file::NamedFile;
use super::membership::Membership;
use super::object::enter;
use super::place::Place;
use crate::kind::Kind;
use crate::object::Object;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// What a message says of an object that has a name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NamedRef {
    dir: PathBuf,
    name: String,
    uuid: u128,
}

impl NamedRef {
    pub(crate) fn of(member: &Membership) -> Self {
        let at = member.at();
        Self { dir: at.dir.clone(), name: at.name.clone(), uuid: member.uuid() }
    }

    /// Opens it. Its type's own check follows, as with any other handle: the message does not say the type.
    pub(crate) fn open(&self, kind: Kind, least: u64) -> Result<Arc<Object>, SegmentError> {
        let place = Place::dir(&self.dir)?;
        match NamedFile::open_any(&place, &self.name, kind) {
            Ok(file) if file.uuid() == self.uuid => enter(file, kind, least),
            Ok(_) | Err(SegmentError::NotFound(_)) => Err(SegmentError::Gone(place.named(&self.name))),
            Err(e) => Err(e),
        }
    }
}
