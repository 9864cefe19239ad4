//! Pooling, resampling and putting together, channels-last.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::super::raw::vectorised;
use super::super::resize::taps;
use super::runner::{Io, Kernel, plain};
use super::{Size, Window};

/// Maximum over windows; what lies beside the input never wins.
pub(super) struct MaxPool {
    pub(super) x: Size,
    pub(super) y: Size,
    pub(super) window: Window,
}

impl Window {
    /// Inputs of `0..size` along `axis` that `output` sees.
    fn range(&self, axis: usize, output: usize, size: usize) -> std::ops::Range<usize> {
        let start = output * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.before[axis]).min(size);
        start.saturating_sub(self.before[axis]).min(end)..end
    }
}

impl Kernel for MaxPool {
    fn run(&self, io: Io<'_>) {
        let Self { x, y, window } = self;
        let channels = x.channels;
        let values = io.reads[0];
        io.gives.par_chunks_exact_mut(y.columns * channels).enumerate().for_each(|(line, to)| {
            let (image, row) = (line / y.rows, line % y.rows);
            let values = &values[image * x.pixels() * channels..][..x.pixels() * channels];
            let rows = window.range(0, row, x.rows);
            vectorised(|| {
                for (column, to) in to.chunks_exact_mut(channels).enumerate() {
                    to.fill(f32::NEG_INFINITY);
                    let columns = window.range(1, column, x.columns);
                    for row in rows.clone() {
                        let line = &values[(row * x.columns + columns.start) * channels..][..columns.len() * channels];
                        for pixel in line.chunks_exact(channels) {
                            to.iter_mut().zip(pixel).for_each(|(to, value)| *to = to.max(*value));
                        }
                    }
                }
            });
        });
    }
}

/// Mean over the cells of a grid, cut as PyTorch's adaptive pooling cuts them.
pub(super) struct AveragePool {
    pub(super) x: Size,
    pub(super) y: Size,
}

impl Kernel for AveragePool {
    fn run(&self, io: Io<'_>) {
        let Self { x, y } = self;
        let channels = x.channels;
        let values = io.reads[0];
        let cell = |index: usize, from: usize, to: usize| index * from / to..((index + 1) * from).div_ceil(to);
        io.gives.par_chunks_exact_mut(channels).enumerate().for_each(|(pixel, to)| {
            let (image, row, column) = (pixel / y.pixels(), pixel / y.columns % y.rows, pixel % y.columns);
            let values = &values[image * x.pixels() * channels..][..x.pixels() * channels];
            let (rows, columns) = (cell(row, x.rows, y.rows), cell(column, x.columns, y.columns));
            let share = 1.0 / (rows.len() * columns.len()) as f32;
            vectorised(|| {
                to.fill(0.0);
                for row in rows {
                    let line = &values[(row * x.columns + columns.start) * channels..][..columns.len() * channels];
                    for pixel in line.chunks_exact(channels) {
                        to.iter_mut().zip(pixel).for_each(|(to, value)| *to += value);
                    }
                }
                to.iter_mut().for_each(|to| *to *= share);
            });
        });
    }
}

/// A fine map plus a coarse one, resampled to its size.
pub(super) struct AddResized {
    fine: Size,
    coarse: Size,
    rows: Vec<(usize, usize, f32)>,
    columns: Vec<(usize, usize, f32)>,
}

impl AddResized {
    pub(super) fn new(fine: Size, coarse: Size) -> Self {
        Self { fine, coarse, rows: taps(coarse.rows, fine.rows), columns: taps(coarse.columns, fine.columns) }
    }
}

impl Kernel for AddResized {
    fn run(&self, io: Io<'_>) {
        let [fine, coarse] = io.reads;
        let channels = self.fine.channels;
        let line_len = self.fine.columns * channels;
        let lines = io.gives.par_chunks_exact_mut(line_len).zip(fine.par_chunks_exact(line_len)).enumerate();
        lines.for_each(|(line, (to, fine))| {
            let (image, row) = (line / self.fine.rows, line % self.fine.rows);
            let coarse = &coarse[image * self.coarse.pixels() * channels..];
            let (upper, lower, down) = self.rows[row];
            let pixel =
                |row: usize, column: usize| &coarse[(row * self.coarse.columns + column) * channels..][..channels];
            vectorised(|| {
                let pixels = to.chunks_exact_mut(channels).zip(fine.chunks_exact(channels)).zip(&self.columns);
                for ((to, fine), &(left, right, along)) in pixels {
                    let (a, b) = (pixel(upper, left), pixel(lower, left));
                    let (c, d) = (pixel(upper, right), pixel(lower, right));
                    for channel in 0..channels {
                        let left = a[channel] + down * (b[channel] - a[channel]);
                        let right = c[channel] + down * (d[channel] - c[channel]);
                        to[channel] = fine[channel] + left + along * (right - left);
                    }
                }
            });
        });
    }
}

/// First token, tokens with their places, further tokens.
pub(super) struct Sequence {
    /// Tokens of an image that are read.
    pub(super) tokens: usize,
    pub(super) first: Vec<f32>,
    pub(super) places: Option<Vec<f32>>,
    pub(super) last: Option<Vec<f32>>,
}

impl Kernel for Sequence {
    fn run(&self, io: Io<'_>) {
        let [tokens, before] = io.reads;
        let dimension = self.first.len();
        let behind = self.last.as_ref().map_or(0, |last| last.len());
        let image_len = (1 + self.tokens) * dimension + behind;
        for (image, to) in io.gives.chunks_exact_mut(image_len).enumerate() {
            let (first, to) = to.split_at_mut(dimension);
            let (middle, end) = to.split_at_mut(self.tokens * dimension);
            first.copy_from_slice(&self.first);
            if let Some(before) = before.get(image * dimension..(image + 1) * dimension) {
                first.iter_mut().zip(before).for_each(|(first, before)| *first += before);
            }
            middle.copy_from_slice(&tokens[image * self.tokens * dimension..][..self.tokens * dimension]);
            if let Some(places) = &self.places {
                middle.iter_mut().zip(places).for_each(|(token, place)| *token += place);
            }
            if let Some(last) = &self.last {
                end.copy_from_slice(last);
            }
        }
    }
}

/// Some of the tokens.
pub(super) struct Tokens {
    pub(super) from: usize,
    pub(super) x: Size,
    pub(super) y: Size,
}

impl Kernel for Tokens {
    fn run(&self, io: Io<'_>) {
        let channels = self.x.channels;
        let (len, from) = (self.x.pixels() * channels, self.from * channels);
        let images = io.gives.chunks_exact_mut(self.y.pixels() * channels).zip(io.reads[0].chunks_exact(len));
        for (to, values) in images {
            to.copy_from_slice(&values[from..from + to.len()]);
        }
    }
}

/// `w a + (1 - w) b`.
pub(super) struct Mix {
    pub(super) weight: Vec<f32>,
}

impl Kernel for Mix {
    fn run(&self, io: Io<'_>) {
        let [a, b] = io.reads;
        let channels = self.weight.len();
        let pixels = a.chunks_exact(channels).zip(b.chunks_exact(channels));
        for (to, (a, b)) in io.gives.chunks_exact_mut(channels).zip(pixels) {
            for (((to, a), b), weight) in to.iter_mut().zip(a).zip(b).zip(&self.weight) {
                *to = b + (a - b) * weight;
            }
        }
    }
}

/// A map plus its depthwise convolution.
pub(super) struct AddDepthwise {
    x: Size,
    window: Window,
    /// (tap, channel).
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl AddDepthwise {
    pub(super) fn new(x: Size, weight: &Tensor, bias: &Tensor, window: Window) -> Result<Self> {
        let (taps, channels) = (window.kernel[0] * window.kernel[1], x.channels);
        let w = plain(weight)?;
        let weight = (0..w.len()).map(|i| w[i % channels * taps + i / channels]).collect();
        Ok(Self { x, window, weight, bias: plain(bias)? })
    }
}

impl Kernel for AddDepthwise {
    fn run(&self, io: Io<'_>) {
        let Self { x, window, .. } = self;
        let channels = x.channels;
        let values = io.reads[0];
        io.gives.par_chunks_exact_mut(channels).enumerate().for_each(|(pixel, to)| {
            let (image, row, column) = (pixel / x.pixels(), pixel / x.columns % x.rows, pixel % x.columns);
            let own = &values[pixel * channels..][..channels];
            let values = &values[image * x.pixels() * channels..][..x.pixels() * channels];
            vectorised(|| {
                for ((to, own), bias) in to.iter_mut().zip(own).zip(&self.bias) {
                    *to = own + bias;
                }
                for (tap, weight) in self.weight.chunks_exact(channels).enumerate() {
                    let at = |place: usize, tap: usize, axis: usize| {
                        (place * window.stride[axis] + tap * window.dilation).wrapping_sub(window.before[axis])
                    };
                    let row = at(row, tap / window.kernel[1], 0);
                    let column = at(column, tap % window.kernel[1], 1);
                    if row < x.rows && column < x.columns {
                        let pixel = &values[(row * x.columns + column) * channels..][..channels];
                        for ((to, value), weight) in to.iter_mut().zip(pixel).zip(weight) {
                            *to += value * weight;
                        }
                    }
                }
            });
        });
    }
}
