//! The picture: the same whoever renders it and whoever is killed, and what is refused.

mod common;
#[path = "primes/running.rs"]
#[allow(dead_code, reason = "its other user needs the rest")]
mod running;

use polyproc_testing::watchdog;
use running::{Running, kill};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use std::{env, fs, process, thread};

const LIMIT: Duration = Duration::from_secs(90);

/// A file's name of this test's own; nothing is left of it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(what: &str) -> Self {
        Self(env::temp_dir().join(format!("polyproc-mandelbrot-{what}-{}.png", process::id())))
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn mandelbrot(args: &[&str]) -> Output {
    watchdog(LIMIT, || common::example("mandelbrot", args).output().unwrap())
}

/// The lines of a run that must end well.
fn lines(args: &[&str]) -> Vec<String> {
    let output = mandelbrot(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Width, height and the pixels.
fn decode(file: &Scratch) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(BufReader::new(File::open(&file.0).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    (info.width, info.height, pixels)
}

#[test]
fn the_picture_is_the_same_whatever_the_workers_and_the_tiles() {
    let file = Scratch::new("same");
    let mut pictures = Vec::new();
    for (workers, tile) in [("1", "64"), ("3", "64"), ("2", "7"), ("3", "1024")] {
        let args = ["--size", "157x101", "--workers", workers, "--tile", tile, "--out", file.name()];
        let lines = lines(&args);
        assert!(lines[0].starts_with("157 x 101 pixels, "), "{lines:?}");
        assert!(lines[4].ends_with(" in the main process alone, and the picture is the same"), "{lines:?}");
        assert_eq!(lines[2], "tiles that dead workers had left: 0");
        pictures.push((lines[1].clone(), decode(&file)));
    }
    assert!(pictures.iter().all(|picture| *picture == pictures[0]));
    let (checksum, (width, height, pixels)) = &pictures[0];
    assert!(checksum.starts_with("checksum: "), "{checksum}");
    assert_eq!((*width, *height, pixels.len()), (157, 101, 157 * 101 * 3));
    let centre = (50 * 157 + 78) * 3;
    assert_eq!(pixels[centre..centre + 3], [0; 3], "it belongs to the set");
    assert_ne!(pixels[..3], [0; 3], "the corner does not");
}

#[test]
fn kills_of_workers_do_not_change_the_picture() {
    let (file, killed) = (Scratch::new("whole"), Scratch::new("killed"));
    let args = |out| ["--size", "1000x800", "--tile", "20", "--workers", "3", "--no-serial", "--out", out];
    let whole = lines(&args(file.name()));
    let printed = watchdog(LIMIT, || {
        let mut running = Running(common::example("mandelbrot", &args(killed.name())).spawn().unwrap());
        let mut kills = 0;
        while kills < 40 && running.0.try_wait().unwrap().is_none() {
            // They are killed one after the other, and a little apart: a pool gives up when none comes to work any more.
            if let Some(worker) = running.workers().get(kills % 2) {
                kill(*worker, libc::SIGKILL);
                kills += 1;
            }
            thread::sleep(Duration::from_micros(997 * (kills as u64 % 7)));
        }
        assert!(kills >= 5, "the example ended after {kills} kills: give it a larger picture");
        running.wait_until_all_ended();
        assert!(running.0.wait().unwrap().success());
        let mut printed = String::new();
        running.0.stdout.as_mut().unwrap().read_to_string(&mut printed).unwrap();
        println!("{kills} workers were killed\n{printed}");
        printed
    });
    assert_eq!(printed.lines().nth(1), Some(whole[1].as_str()), "the checksum");
    assert_eq!(decode(&file), decode(&killed));
}

#[test]
fn the_smallest_picture_is_one_pixel() {
    let file = Scratch::new("small");
    lines(&["--size", "1x1", "--out", file.name()]);
    assert_eq!(decode(&file).2.len(), 3);
}

#[test]
fn bad_arguments_are_refused_with_advice() {
    let size = "give width and height from 1 to 16384, as in 1200x900";
    let nowhere = ["--out", "/no/such/folder/picture.png"];
    let cases: &[(&[&str], &str)] = &[
        (&["--size", "0x1"], size),
        (&["--size", "800"], size),
        (&["--size", "16385x1"], size),
        (&["--size=-1x5"], size),
        (&["--workers", "0"], "give a whole number from 1 to 1024"),
        (&["--tile", "1025"], "give a whole number from 1 to 1024"),
        (&nowhere, "give --out another name"),
        (&["--out", "/tmp"], "give --out another name"),
        (&["5"], "unexpected argument"),
    ];
    for (args, advice) in cases {
        let output = mandelbrot(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(advice), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn help_tells_the_options() {
    let output = mandelbrot(&["--help"]);
    assert!(output.status.success());
    for option in ["--size", "--workers", "--tile", "--out", "--no-serial"] {
        assert!(String::from_utf8_lossy(&output.stdout).contains(option), "{output:?}");
    }
}
