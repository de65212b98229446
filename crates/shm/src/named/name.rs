//! The name of a segment, and where.

use super::error::SegmentError;
use super::place::{Place, patiently};

/// A name in a [`Place`]; a text alone is a name in `/dev/shm`, where the file of `jobs` is `polyproc.jobs`.
///
/// The name goes with the last handle that is *dropped*, in whatever process. Handles in a `static`, or forgotten, are not: then it
/// stays as if the process had been killed, until somebody opens or creates it, or calls [`gc`](crate::gc). All things of polyproc's
/// that have names share them: [`SharedMemory::unlink`](crate::SharedMemory::unlink) takes any away at once.
///
/// What holds items says of which type they are by the type's path and size; fields are not compared. So programs that share
/// a struct take it from one crate, in one version.
///
/// ```
/// use polyproc_shm::{Name, Place};
/// assert_eq!(Name::from("jobs").place(), &Place::default());
/// let place = Place::dir("/tmp")?;
/// assert_eq!(place.name("jobs").text(), "jobs");
/// assert_eq!(Name::from(format!("jobs-{}", 7)).text(), "jobs-7");
/// # Ok::<(), polyproc_shm::SegmentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    place: Place,
    text: String,
}

impl Name {
    pub(crate) fn new(place: &Place, text: &str) -> Self {
        Self { place: place.clone(), text: text.to_owned() }
    }

    /// Where.
    ///
    /// See [`Name`].
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The name itself.
    ///
    /// See [`Name`].
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::new(&Place::default(), text)
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self { place: Place::default(), text }
    }
}

impl From<&Self> for Name {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

/// What has the name, opened, or made if there is nothing; again while others make and unlink it, for a second.
pub(crate) fn open_or_create<T>(
    name: &Name,
    mut open: impl FnMut() -> Result<T, SegmentError>,
    mut create: impl FnMut() -> Result<T, SegmentError>,
) -> Result<T, SegmentError> {
    let found = patiently(|| match open() {
        Err(SegmentError::NotFound(_)) => match create() {
            Err(SegmentError::Exists(_)) => Ok(None),
            made => made.map(Some),
        },
        opened => opened.map(Some),
    })?;
    found.ok_or_else(|| SegmentError::Busy(name.place().named(name.text())))
}
