//! Winograd's F(4x4, 3x3), channels-last: see [`super::super::winograd`] for the algebra.

use super::super::product::{Activation, End, Right, Rows, Threads, multiply, pack, packed_len};
use super::super::raw::vectorised;
use super::super::winograd::{IN, OUT, POINTS, Winograd as Planes, input_step, load, output_step, store};
use super::{Size, Window};

use rayon::prelude::*;

/// Channels that are transformed at once.
const LANES: usize = 16;

/// Transformed values that are held at once, in bytes of a few megabytes: the share of a third-level cache.
const HELD: usize = 1 << 20;

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Winograd {
    x: Size,
    y: Size,
    before: [usize; 2],
    tile_rows: usize,
    tile_columns: usize,
    /// Images, and tile rows of an image, that are worked on at once.
    block: (usize, usize),
}

impl Winograd {
    /// `None` where the window is another, or where it does not pay: few channels leave the products too small, few tiles the transformed
    /// weights too large.
    pub(super) fn new(x: Size, y: Size, window: Window) -> Option<Self> {
        let plain = window.kernel == [3; 2] && window.stride == [1; 2] && window.dilation == 1;
        let (tile_rows, tile_columns) = (y.rows.div_ceil(OUT), y.columns.div_ceil(OUT));
        let pays = x.channels >= 16 && y.channels >= 16 && x.batch * tile_rows * tile_columns >= 12;
        let small = y.rows < 2 * OUT || y.columns < 2 * OUT;
        if !plain || !pays || small {
            return None;
        }
        let row = tile_columns * POINTS * (x.channels + y.channels);
        let rows = (HELD / row).clamp(1, tile_rows);
        let images = if rows < tile_rows { 1 } else { (HELD / (row * tile_rows)).clamp(1, x.batch) };
        Some(Self { x, y, before: window.before, tile_rows, tile_columns, block: (images, rows) })
    }

    /// Weights (out, in, 3, 3), transformed and packed: 36 matrices.
    pub(super) fn prepare(&self, weights: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.x.channels, self.y.channels);
        let planes = Planes { in_channels: inputs, out_channels: outputs, height: 0, width: 0, padding: 0 };
        let points = planes.transform_weights(weights, false);
        let len = packed_len(outputs, inputs);
        let mut packed = vec![0.0; POINTS * len];
        for (point, to) in points.chunks_exact(outputs * inputs).zip(packed.chunks_exact_mut(len)) {
            pack(outputs, inputs, |output, k| point[output * inputs + k], to);
        }
        packed
    }

    fn block_rows(&self) -> usize {
        self.block.0 * self.block.1
    }

    pub(super) fn scratch(&self) -> usize {
        self.block_rows() * self.tile_columns * POINTS * (self.x.channels + self.y.channels)
    }

    pub(super) fn run(&self, x: &[f32], weights: &[f32], end: End<'_>, y: &mut [f32], scratch: &mut [f32]) {
        let (images, rows) = self.block;
        let (inputs, outputs) = (self.x.channels, self.y.channels);
        let (x_image, y_image) = (self.x.pixels() * inputs, self.y.pixels() * outputs);
        let (v, m) = scratch.split_at_mut(self.block_rows() * self.tile_columns * POINTS * inputs);
        let y_row = OUT * self.y.columns * outputs;
        for image in (0..self.x.batch).step_by(images) {
            let images = images.min(self.x.batch - image);
            for first in (0..self.tile_rows).step_by(rows) {
                let rows = rows.min(self.tile_rows - first);
                let tiles = images * rows * self.tile_columns;
                // (tile row, point, tile column, channel).
                let v = &mut v[..tiles * POINTS * inputs];
                v.par_chunks_exact_mut(self.tile_columns * POINTS * inputs).enumerate().for_each(|(index, v)| {
                    let image = image + index / rows;
                    self.transform_input(&x[image * x_image..(image + 1) * x_image], first + index % rows, v);
                });
                // (point, tile, channel).
                let m = &mut m[..tiles * POINTS * outputs];
                let len = packed_len(outputs, inputs);
                m.par_chunks_exact_mut(tiles * outputs).enumerate().for_each(|(point, m)| {
                    let from = Tiles { values: v, point, columns: self.tile_columns, channels: inputs };
                    let right = Right { values: &weights[point * len..(point + 1) * len], outputs, depth: inputs };
                    multiply(&from, tiles, right, End::default(), (m, outputs), Threads::One);
                });
                let start = image * y_image + first * y_row;
                let stop = (image + images - 1) * y_image + ((first + rows) * y_row).min(y_image);
                let lines = y[start..stop].par_chunks_mut(y_image).enumerate();
                lines.flat_map(|(i, y)| y.par_chunks_mut(y_row).enumerate().map(move |(r, y)| (i, r, y))).for_each(
                    |(i, r, y)| {
                        let tile = (i * rows + r) * self.tile_columns;
                        let at = start + i * y_image + r * y_row;
                        let residual = end.residual.map(|residual| &residual[at..at + y.len()]);
                        self.transform_output(m, (tile, tiles), End { residual, ..end }, y);
                    },
                );
            }
        }
    }

    /// `Bᵀ d B` of the tiles of one row.
    fn transform_input(&self, x: &[f32], tile_row: usize, v: &mut [f32]) {
        let channels = self.x.channels;
        let point_len = self.tile_columns * channels;
        vectorised(
            #[inline(always)]
            || {
                for tile in 0..self.tile_columns {
                    for first in (0..channels).step_by(LANES) {
                        let count = LANES.min(channels - first);
                        // First down the columns of the tile, then along its rows.
                        let mut down = [[[0.0f32; LANES]; IN]; IN];
                        for (j, down) in down.iter_mut().enumerate() {
                            let column = (tile * OUT + j).wrapping_sub(self.before[1]);
                            if column >= self.x.columns {
                                continue;
                            }
                            let mut d = [[0.0f32; LANES]; IN];
                            for (i, d) in d.iter_mut().enumerate() {
                                let row = (tile_row * OUT + i).wrapping_sub(self.before[0]);
                                if row < self.x.rows {
                                    let at = (row * self.x.columns + column) * channels + first;
                                    load(&x[at..at + count], d);
                                }
                            }
                            *down = input_step(&d);
                        }
                        // (row, column) from (column, row).
                        let rows: [[[f32; LANES]; IN]; IN] =
                            std::array::from_fn(|i| std::array::from_fn(|j| down[j][i]));
                        for (i, row) in rows.iter().enumerate() {
                            let along = input_step(row);
                            for (j, values) in along.iter().enumerate() {
                                let at = (i * IN + j) * point_len + tile * channels + first;
                                store(&mut v[at..at + count], values);
                            }
                        }
                    }
                }
            },
        );
    }

    /// `Aᵀ M A` of the tiles of one row, from `tile` on, of `tiles`, finished into the lines of `y` that they cover.
    fn transform_output(&self, m: &[f32], (tile, tiles): (usize, usize), end: End<'_>, y: &mut [f32]) {
        let channels = self.y.channels;
        let lines = y.len() / (self.y.columns * channels);
        let floor = if end.activation == Activation::Relu { 0.0 } else { f32::NEG_INFINITY };
        vectorised(
            #[inline(always)]
            || {
                for index in 0..self.tile_columns {
                    for first in (0..channels).step_by(LANES) {
                        let count = LANES.min(channels - first);
                        let mut bias = [0.0f32; LANES];
                        if let Some(values) = end.bias {
                            load(&values[first..first + count], &mut bias);
                        }
                        let mut down = [[[0.0f32; LANES]; IN]; OUT];
                        for j in 0..IN {
                            let mut column = [[0.0f32; LANES]; IN];
                            for (i, column) in column.iter_mut().enumerate() {
                                let at = ((i * IN + j) * tiles + tile + index) * channels + first;
                                load(&m[at..at + count], column);
                            }
                            for (down, values) in down.iter_mut().zip(&output_step(&column)) {
                                down[j] = *values;
                            }
                        }
                        for (line, down) in down.iter().enumerate().take(lines) {
                            let along = output_step(down);
                            let columns = (self.y.columns - index * OUT).min(OUT);
                            for (column, values) in along.iter().enumerate().take(columns) {
                                let at = (line * self.y.columns + index * OUT + column) * channels + first;
                                let mut values: [f32; LANES] = std::array::from_fn(|lane| values[lane] + bias[lane]);
                                if let Some(residual) = end.residual {
                                    let mut other = [0.0f32; LANES];
                                    load(&residual[at..at + count], &mut other);
                                    values.iter_mut().zip(&other).for_each(|(value, other)| *value += other);
                                }
                                values.iter_mut().for_each(|value| *value = value.max(floor));
                                store(&mut y[at..at + count], &values);
                            }
                        }
                    }
                }
            },
        );
    }
}

/// Transformed tiles of one point as rows.
struct Tiles<'a> {
    values: &'a [f32],
    point: usize,
    columns: usize,
    channels: usize,
}

impl Rows for Tiles<'_> {
    #[inline(always)]
    fn fill(&self, row: usize, from: usize, to: &mut [f32]) {
        let (tile_row, column) = (row / self.columns, row % self.columns);
        let at = ((tile_row * POINTS + self.point) * self.columns + column) * self.channels + from;
        to.copy_from_slice(&self.values[at..at + to.len()]);
    }
}
