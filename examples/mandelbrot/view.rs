//! The picture: which tile has which pixels, and what colour they are. The same in the workers and in the main process.

use serde::{Deserialize, Serialize};

/// Bytes of a pixel: red, green, blue.
pub(crate) const PIXEL: usize = 3;
/// How far a point is followed before it counts as one of the set.
const MOST_STEPS: u32 = 1000;
/// What is shown at least: a window of this size around this point.
const CENTRE: (f64, f64) = (-0.65, 0.0);
const WINDOW: (f64, f64) = (3.1, 2.4);

/// A picture that is cut into square tiles. In shared memory one tile lies behind the other, each with all of its pixels: so
/// each is a range of its own. Those at the right and lower edge reach beyond the picture.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Pixels of a tile's edge.
    pub(crate) tile: usize,
}

impl View {
    fn across(&self) -> usize {
        self.width.div_ceil(self.tile)
    }

    pub(crate) fn tiles(&self) -> usize {
        self.across() * self.height.div_ceil(self.tile)
    }

    /// The bytes of one tile.
    pub(crate) fn tile_bytes(&self) -> usize {
        self.tile * self.tile * PIXEL
    }

    /// The bytes of row `y` of a tile.
    pub(crate) fn row(&self, tile: usize, y: usize) -> Vec<u8> {
        let (left, top) = (tile % self.across() * self.tile, tile / self.across() * self.tile);
        (left..left + self.tile).flat_map(|x| self.colour(x, top + y)).collect()
    }

    /// Where the row `y` of the picture lies: a range of bytes for each tile that it goes through.
    pub(crate) fn ranges(&self, y: usize) -> impl Iterator<Item = core::ops::Range<usize>> + '_ {
        let first = y / self.tile * self.across();
        (0..self.across()).map(move |i| {
            let start = (first + i) * self.tile_bytes() + y % self.tile * self.tile * PIXEL;
            let pixels = self.tile.min(self.width - i * self.tile);
            start..start + pixels * PIXEL
        })
    }

    /// How soon the point of a pixel goes away, as a colour.
    fn colour(&self, x: usize, y: usize) -> [u8; PIXEL] {
        let scale = (WINDOW.0 / self.width as f64).max(WINDOW.1 / self.height as f64);
        let real = CENTRE.0 + (x as f64 + 0.5 - self.width as f64 / 2.0) * scale;
        let imaginary = CENTRE.1 + (y as f64 + 0.5 - self.height as f64 / 2.0) * scale;
        let (mut a, mut b) = (0.0, 0.0);
        for step in 0..MOST_STEPS {
            let (a2, b2) = (a * a, b * b);
            if a2 + b2 > 4.0 {
                let bright = |by: u32| (step * by % 511).abs_diff(255).try_into().map_or(0, |dark: u8| 255 - dark);
                return [bright(5), bright(9), bright(14)];
            }
            b = 2.0 * a * b + imaginary;
            a = a2 - b2 + real;
        }
        [0; PIXEL]
    }
}
