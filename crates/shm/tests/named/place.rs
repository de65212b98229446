//! A directory of a test's own for segments, and the plain segment that the tests make in it.

#![allow(dead_code, reason = "not every file needs all of it")]

use polyproc_shm::{Content, Kind, NamedFile, Place, SegmentError, SegmentName, Shape};
use polyproc_sys::atomic::{AtomicU64, Ordering::Relaxed};
use polyproc_sys::memory::Access;
use std::time::Duration;

/// For what takes microseconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const CONTENT: Content<'static> = Content { kind: Kind::Memory, type_name: "u8", type_hash: 7 };

/// Removed with all that is in it.
pub(crate) struct TempPlace(Place);

impl TempPlace {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("polyproc-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::path::Path::new("/dev/shm").join(name);
        std::fs::create_dir(&path).unwrap();
        Self(Place::dir(path).unwrap())
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn name_of(&self, name: &str) -> SegmentName {
        SegmentName { name: name.to_owned(), dir: self.path().to_owned() }
    }
}

impl std::ops::Deref for TempPlace {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Drop for TempPlace {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.path());
    }
}

pub(crate) fn create(place: &Place, name: &str) -> Result<NamedFile, SegmentError> {
    NamedFile::create(place, name, &CONTENT, Shape::fixed(100), |_| Ok(()))
}

pub(crate) fn open(place: &Place, name: &str) -> Result<NamedFile, SegmentError> {
    NamedFile::open(place, name, &CONTENT, Access::ReadWrite)
}
