//! The file with all primes, one on each line.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A list that is being written. The file gets its name when it is complete; until then `.part` is added to the name.
#[derive(Debug)]
pub(crate) struct List {
    out: BufWriter<File>,
    /// What to rename at the end, and to what; `None` where nothing can be renamed: a pipe, a link.
    names: Option<(PathBuf, PathBuf)>,
}

impl List {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let (file, names) = match fs::symlink_metadata(path) {
            Ok(there) if !there.is_file() => (File::create(path)?, None), // refused if it is a directory
            Ok(_) => {
                File::options().append(true).open(path)?; // may it be changed?
                Self::create_part(path)?
            }
            Err(_) => Self::create_part(path)?,
        };
        Ok(Self { out: BufWriter::new(file), names })
    }

    fn create_part(path: &Path) -> io::Result<(File, Option<(PathBuf, PathBuf)>)> {
        let part = path.with_added_extension("part");
        Ok((File::create(&part)?, Some((part, path.to_owned()))))
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
