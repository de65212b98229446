//! The name of a segment, and where.

use super::place::Place;

/// A name in a [`Place`]; a text alone is a name in `/dev/shm`.
///
/// ```
/// use polyproc_shm::{Name, Place};
/// assert_eq!(Name::from("jobs").place(), &Place::default());
/// let place = Place::dir("/tmp")?;
/// assert_eq!(place.name("jobs").text(), "jobs");
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
