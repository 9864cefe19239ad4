//! Winograd's F(4x4, 3x3), channels-last: see [`super::super::winograd`] for the algebra.

use super::super::packed::Packed;
use super::super::product::{Activation, End, Right, Rows, Threads, multiply, pack, packed_len};
use super::super::raw::{vectorised, with_scratch};
use super::super::winograd::{IN, OUT, POINTS, Winograd as Planes, input_step, load, output_step, store};
use super::{Size, Window};

use rayon::prelude::*;

/// Channels that are transformed at once.
const LANES: usize = 16;

/// Transformed values that all threads hold together: a few megabytes, the share of a third-level cache.
const HELD: usize = 1 << 20;
/// Transformed values that a thread holds on its own: part of a second-level cache.
const OWN: usize = 96 << 10;
/// Most transformed weights that then share that cache with them.
const OWN_WEIGHTS: usize = 160 << 10;

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
    /// Every thread works on blocks of its own, from input to output; else all work on one block, step by step, so that large weights are
    /// read once.
    own: bool,
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
        let own = POINTS * x.channels * y.channels <= OWN_WEIGHTS;
        let block = if own {
            // Threads have equally many blocks.
            let threads = rayon::current_num_threads();
            let blocks = (x.batch * tile_rows.div_ceil((OWN / row).max(1))).next_multiple_of(threads);
            (1, tile_rows.div_ceil(blocks.div_ceil(x.batch)))
        } else {
            let rows = (HELD / row).clamp(1, tile_rows);
            (if rows < tile_rows { 1 } else { (HELD / (row * tile_rows)).clamp(1, x.batch) }, rows)
        };
        Some(Self { x, y, before: window.before, tile_rows, tile_columns, block, own })
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

    /// Values that all threads share.
    pub(super) fn scratch(&self) -> usize {
        if self.own { 0 } else { self.block_len() }
    }

    fn block_len(&self) -> usize {
        self.block_rows() * self.tile_columns * POINTS * (self.x.channels + self.y.channels)
    }

    fn images<'a>(&self, x: &'a [f32]) -> impl Fn(usize) -> &'a [f32] {
        let len = self.x.pixels() * self.x.channels;
        move |image| &x[image * len..(image + 1) * len]
    }

    pub(super) fn run(&self, x: &[f32], weights: &[f32], end: End<'_>, y: &mut [f32], scratch: &mut [f32]) {
        if self.own { self.run_own(x, weights, end, y) } else { self.run_together(x, weights, end, y, scratch) }
    }

    /// The product of one point over `tiles` tiles of `v`.
    fn product(&self, v: &[f32], weights: &[f32], point: usize, tiles: usize, m: &mut [f32]) {
        let (inputs, outputs) = (self.x.channels, self.y.channels);
        let len = packed_len(outputs, inputs);
        let rows = Tiles { values: v, point, columns: self.tile_columns, channels: inputs };
        let values = Packed::Single(&weights[point * len..(point + 1) * len]);
        let right = Right { values, outputs, depth: inputs };
        multiply(&rows, tiles, right, End::default(), (m, outputs), Threads::One);
    }

    fn run_own(&self, x: &[f32], weights: &[f32], end: End<'_>, y: &mut [f32]) {
        let (inputs, outputs) = (self.x.channels, self.y.channels);
        let (y_image, y_row) = (self.y.pixels() * outputs, OUT * self.y.columns * outputs);
        let rows = self.block.1;
        let images = self.images(x);
        let blocks = y.par_chunks_mut(y_image).enumerate();
        let blocks = blocks.flat_map(|(image, y)| {
            y.par_chunks_mut(rows * y_row).enumerate().map(move |(block, y)| (image, block * rows, y))
        });
        blocks.for_each(|(image, first, y)| {
            with_scratch(self.block_len(), |scratch| {
                let lines = y.len().div_ceil(y_row);
                let tiles = lines * self.tile_columns;
                let (v, m) = scratch.split_at_mut(self.block_rows() * self.tile_columns * POINTS * inputs);
                for (row, v) in v.chunks_exact_mut(self.tile_columns * POINTS * inputs).take(lines).enumerate() {
                    self.transform_input(images(image), first + row, v);
                }
                for (point, m) in m.chunks_exact_mut(tiles * outputs).take(POINTS).enumerate() {
                    self.product(v, weights, point, tiles, m);
                }
                for (row, y) in y.chunks_mut(y_row).enumerate() {
                    let at = image * y_image + (first + row) * y_row;
                    let residual = end.residual.map(|residual| &residual[at..at + y.len()]);
                    self.transform_output(m, (row * self.tile_columns, tiles), End { residual, ..end }, y);
                }
            });
        });
    }

    fn run_together(&self, x: &[f32], weights: &[f32], end: End<'_>, y: &mut [f32], scratch: &mut [f32]) {
        let (images, rows) = self.block;
        let (inputs, outputs) = (self.x.channels, self.y.channels);
        let (y_image, y_row) = (self.y.pixels() * outputs, OUT * self.y.columns * outputs);
        let (v, m) = scratch.split_at_mut(self.block_rows() * self.tile_columns * POINTS * inputs);
        let inputs_of = self.images(x);
        for image in (0..self.x.batch).step_by(images) {
            let images = images.min(self.x.batch - image);
            for first in (0..self.tile_rows).step_by(rows) {
                let rows = rows.min(self.tile_rows - first);
                let tiles = images * rows * self.tile_columns;
                // (tile row, point, tile column, channel).
                let v = &mut v[..tiles * POINTS * inputs];
                v.par_chunks_exact_mut(self.tile_columns * POINTS * inputs).enumerate().for_each(|(index, v)| {
                    self.transform_input(inputs_of(image + index / rows), first + index % rows, v);
                });
                // (point, tile, channel).
                let m = &mut m[..tiles * POINTS * outputs];
                m.par_chunks_exact_mut(tiles * outputs).enumerate().for_each(|(point, m)| {
                    self.product(v, weights, point, tiles, m);
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
                                if end.add {
                                    let mut other = [0.0f32; LANES];
                                    load(&y[at..at + count], &mut other);
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
