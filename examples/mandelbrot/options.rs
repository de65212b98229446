//! The command line.

use crate::number::between;
use crate::view::View;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::thread;

/// The longest edge: the largest picture has 800 MB.
const MOST_PIXELS: u64 = 16_384;
/// As many workers as a pool may have.
const MOST_WORKERS: u64 = 1024;
const MOST_TILE: u64 = 1024;

/// Renders the Mandelbrot set with a pool of worker processes, which write their tiles straight into shared memory.
///
/// Killing workers does not change the picture.
#[derive(Debug, Parser)]
#[command(name = "mandelbrot", allow_negative_numbers = true)]
pub(crate) struct Options {
    /// Width and height of the picture in pixels, each 1 to 16384
    #[arg(long, value_name = "WxH", default_value = "1200x900", value_parser = size)]
    size: (usize, usize),
    /// Worker processes, 1 to 1024 [default: as many as CPUs]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<usize>,
    /// Pixels of a tile's edge, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = tile)]
    tile: usize,
    /// The PNG file that is written
    #[arg(long, value_name = "FILE", default_value = "mandelbrot.png")]
    pub(crate) out: PathBuf,
    /// Does not render once more in the main process alone, to compare pictures and times
    #[arg(long)]
    pub(crate) no_serial: bool,
}

impl Options {
    pub(crate) fn view(&self) -> View {
        let (width, height) = self.size;
        View { width, height, tile: self.tile.min(width.max(height)) }
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(1024))
    }

    /// The file for the picture; ends the program with exit code 2 if it cannot be written.
    pub(crate) fn open_out(&self) -> Out {
        Out::create(self.out.clone()).unwrap_or_else(|e| {
            let text = format!("'{}' cannot be written: {e}; give --out another name", self.out.display());
            Options::command().error(ErrorKind::Io, text).exit()
        })
    }
}

/// A file that has its name only when it is complete.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) file: File,
    name: PathBuf,
    part: PathBuf,
}

impl Out {
    fn create(name: PathBuf) -> io::Result<Self> {
        if name.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut part = name.clone().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        Ok(Self { file: File::create(&part)?, name, part })
    }

    /// The file is complete.
    pub(crate) fn finish(self) -> io::Result<()> {
        fs::rename(&self.part, &self.name)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part); // it is gone if the picture is complete
    }
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let advice = || format!("give width and height from 1 to {MOST_PIXELS}, as in 1200x900");
    let (width, height) = text.split_once('x').ok_or_else(advice)?;
    let edge = |text| between(text, 1, MOST_PIXELS).ok().and_then(|n| usize::try_from(n).ok()).ok_or_else(advice);
    Ok((edge(width)?, edge(height)?))
}

fn workers(text: &str) -> Result<usize, String> {
    between(text, 1, MOST_WORKERS).map(|n| usize::try_from(n).expect("it is 1024 at most"))
}

fn tile(text: &str) -> Result<usize, String> {
    between(text, 1, MOST_TILE).map(|n| usize::try_from(n).expect("it is 1024 at most"))
}
