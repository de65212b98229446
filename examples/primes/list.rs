//! The file with all primes, one on each line.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A list that is being written. The file gets its name when it is complete; until then `.part` is added to the name.
#[derive(Debug)]
pub(crate) struct List {
    out: BufWriter<File>,
    /// What to rename at the end, and to what; `None` where nothing can be renamed, as a pipe.
    names: Option<(PathBuf, PathBuf)>,
}

impl List {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let name = match File::options().append(true).open(path) {
            Ok(other) if !other.metadata()?.is_file() => return Ok(Self { out: BufWriter::new(other), names: None }),
            Ok(_) => path.canonicalize()?, // the file is replaced, not a link to it
            Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(e) => return Err(e),
        };
        let part = name.with_added_extension("part");
        Ok(Self { out: BufWriter::new(File::create(&part)?), names: Some((part, name)) })
    }

    pub(crate) fn add(&mut self, primes: &[u64]) -> io::Result<()> {
        primes.iter().try_for_each(|n| writeln!(self.out, "{n}"))
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        if let Some((part, name)) = &self.names {
            fs::rename(part, name)?;
        }
        self.names = None;
        Ok(())
    }
}

impl Drop for List {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.names {
            let _ = fs::remove_file(part); // incomplete; its name says so if it stays
        }
    }
}
