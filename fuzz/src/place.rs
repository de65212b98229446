//! Private folders where segments have their names.

use polyproc_shm::Place;
use polyproc_sys::atomic::{AtomicU32, Ordering::Relaxed};
use std::path::{Path, PathBuf};

/// A folder that goes with this value.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    place: Place,
}

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("polyproc-fuzz-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("the folder for temporary files can be written");
        let place = Place::dir(&path).expect("it is absolute");
        Self { path, place }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
