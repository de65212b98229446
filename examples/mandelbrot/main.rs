//! Renders a picture with a pool of processes that write it straight into shared memory:
//! `cargo run --release --example mandelbrot`, and look at `mandelbrot.png`.
//!
//! The picture is an array of bytes, cut into chunks: one for each tile. A worker claims a tile's chunk, writes its rows, and
//! gives it up; what it sends back is a word. The main process writes the picture to a file when all tiles are done.
//!
//! # If a worker dies
//! The pool starts another one and tries the tile again. Its chunk is free: who claims it is told that it may be half written,
//! and writes all of it. So `kill -9` of workers changes nothing in the picture.

#[path = "../number.rs"]
mod number;
mod options;
#[path = "../progress.rs"]
mod progress;
mod view;

use clap::Parser;
use options::{Options, Out};
use polyproc::{Array, Chunks, Pool};
use progress::Progress;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use view::{PIXEL, View};

/// Whatever went wrong, to be printed.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How often a tile whose worker was killed is tried again.
const RETRIES: u32 = 1000;

/// The picture, in a worker.
static PICTURE: OnceLock<(View, Chunks<u8>)> = OnceLock::new();

/// What a worker does first.
fn hand_over((view, picture): (View, Array<u8>)) {
    let tiles = picture.chunks(view.tile_bytes()).expect("the main process has cut the picture so");
    PICTURE.get_or_init(|| (view, tiles));
}

/// A worker's task: the pixels of a tile. Says whether a worker died in it before.
fn render(tile: usize) -> Result<bool, String> {
    let (view, tiles) = PICTURE.get().ok_or("the worker has no picture")?;
    let chunk = tiles.claim(tile).map_err(|e| e.to_string())?;
    for y in 0..view.tile {
        let row = view.row(tile, y);
        chunk.write(y * row.len()..(y + 1) * row.len(), &row);
    }
    Ok(chunk.recovered())
}

fn main() -> ExitCode {
    polyproc::init(); // first line of main: the workers do their work here

    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "mandelbrot: {e}"); // nobody listens: the exit code tells
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let view = options.view();
    let out = options.open_out();

    let begun = Instant::now();
    let (picture, taken_over) = in_parallel(options, view)?;
    let parallel = begun.elapsed();
    let checksum = write(out, view, &picture)?;

    let mut text = io::stdout();
    writeln!(text, "{} x {} pixels, {} tiles: {}", view.width, view.height, view.tiles(), options.out.display())?;
    writeln!(text, "checksum: {checksum:016x}")?;
    writeln!(text, "tiles that dead workers had left: {taken_over}")?;
    writeln!(text, "time: {} with {} worker processes, their start included", seconds(parallel), options.workers())?;
    if options.no_serial {
        return Ok(());
    }

    let begun = Instant::now();
    alone(view, &picture)?;
    let serial = begun.elapsed();
    writeln!(text, "serial time: {} in the main process alone, and the picture is the same", seconds(serial))?;
    writeln!(text, "speed-up: {:.2}", serial.as_secs_f64() / parallel.as_secs_f64())?;
    Ok(())
}

/// Lets a pool render all tiles; how many of them were half written by workers that died.
fn in_parallel(options: &Options, view: View) -> Result<(Array<u8>, usize), Failure> {
    let bytes = view.tiles() * view.tile_bytes();
    let picture =
        Array::zeroed(bytes).map_err(|e| format!("{bytes} bytes cannot be had: {e}; give a smaller --size"))?;
    picture.chunks(view.tile_bytes())?;
    let pool = Pool::builder()
        .workers(options.workers())
        .retries(RETRIES)
        .initializer(hand_over, (view, picture.clone()))
        .build()
        .map_err(|e| format!("{} worker processes cannot be started: {e}", options.workers()))?;
    let mut progress = Progress::new("rendering", "tiles", view.tiles() as u64);
    let mut taken_over = 0;
    for (rendered, done) in pool.imap_unordered(render, 0..view.tiles())?.zip(1..) {
        taken_over += usize::from(rendered??);
        progress.show(1, done);
    }
    Ok((picture, taken_over))
}

/// Renders in this process, tile by tile, and compares.
fn alone(view: View, picture: &Array<u8>) -> Result<(), Failure> {
    let mut progress = Progress::new("serial", "tiles", view.tiles() as u64);
    for tile in 0..view.tiles() {
        let mut there = vec![0; view.tile_bytes()];
        picture.read(tile * there.len()..(tile + 1) * there.len(), &mut there);
        for (y, row) in there.chunks(view.tile * PIXEL).enumerate() {
            if view.row(tile, y) != row {
                return Err(format!("row {y} of tile {tile} is another one: one of the two pictures is wrong").into());
            }
        }
        progress.show(1, tile as u64 + 1);
    }
    Ok(())
}

/// Writes the picture; a number that stands for all of its pixels.
fn write(out: Out, view: View, picture: &Array<u8>) -> Result<u64, Failure> {
    let (width, height) = (u32::try_from(view.width)?, u32::try_from(view.height)?);
    let mut encoder = png::Encoder::new(BufWriter::new(&out.file), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut header = encoder.write_header()?;
    let mut rows = header.stream_writer()?;
    let mut progress = Progress::new("writing", "rows", view.height as u64);
    let mut checksum = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
    let mut row = vec![0; view.width * PIXEL];
    for y in 0..view.height {
        let mut to = row.as_mut_slice();
        for range in view.ranges(y) {
            let (here, rest) = to.split_at_mut(range.len());
            picture.read(range, here);
            to = rest;
        }
        rows.write_all(&row)?;
        checksum = row.iter().fold(checksum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        progress.show(1, y as u64 + 1);
    }
    rows.finish()?;
    header.finish()?;
    out.finish()?;
    Ok(checksum)
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
