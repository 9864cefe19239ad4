//! Convolutions and linear layers: a product over pixels, or Winograd's.

use std::sync::Arc;

use candle_core::{Result, Tensor, TensorId};

use super::super::packed::PackedWeights;
use super::super::product::{Activation, Dense, End, Right, Rows, Threads, multiply, pack, packed_len};
use super::norm::PreparedNorm;
use super::runner::{Io, Kernel, PreparedWeights, plain};
use super::winograd::Winograd;
use super::{GroupNorm, Size, Window};

/// How the sums are formed, and the weights prepared for it.
enum How {
    /// Every pixel is a row.
    Pointwise(PackedWeights),
    /// Windows are copied into rows.
    Windows(Windows, PackedWeights),
    /// F(4x4, 3x3).
    Winograd(Winograd, Arc<[f32]>),
}

pub(super) struct Convolution {
    how: How,
    /// Pixels that are given.
    pixels: usize,
    depth: usize,
    outputs: usize,
    bias: Option<Vec<f32>>,
    norm: Option<PreparedNorm>,
    activation: Activation,
}

impl Convolution {
    pub(super) fn new(
        (x, y): (Size, Size),
        (weight, id, bias): (&Tensor, TensorId, Option<&Tensor>),
        window: Window,
        (norm, activation): (Option<&GroupNorm>, Activation),
        weights: &PreparedWeights,
    ) -> Result<Self> {
        let taps = window.kernel[0] * window.kernel[1];
        let (inputs, outputs, depth) = (x.channels, y.channels, x.channels * taps);
        let pointwise = taps == 1 && window.stride == [1; 2] && window.before == [0; 2];
        let packed = || {
            weights.packed((weight, id), |values| {
                let mut packed = vec![0.0; packed_len(outputs, depth)];
                // From (out, in, tap) to depth by taps, channels innermost.
                let at = |output: usize, k: usize| values[(output * inputs + k % inputs) * taps + k / inputs];
                pack(outputs, depth, at, &mut packed);
                packed
            })
        };
        // Winograd's end knows no GELU.
        let how = match Winograd::new(x, y, window).filter(|_| activation != Activation::Gelu || norm.is_some()) {
            Some(winograd) => {
                let points = weights.points((weight, id), |values| winograd.prepare(values))?;
                How::Winograd(winograd, points)
            }
            None if pointwise => How::Pointwise(packed()?),
            None => How::Windows(Windows { x, y, window }, packed()?),
        };
        Ok(Self {
            how,
            pixels: y.batch * y.pixels(),
            depth,
            outputs,
            bias: bias.map(plain).transpose()?,
            norm: norm.map(|norm| PreparedNorm::new(norm, y)).transpose()?,
            activation,
        })
    }

    fn right<'a>(&self, weights: &'a PackedWeights) -> Right<'a> {
        Right { values: weights.view(), outputs: self.outputs, depth: self.depth }
    }
}

impl Kernel for Convolution {
    fn scratch(&self) -> usize {
        let norm = self.norm.as_ref().map_or(0, PreparedNorm::scratch);
        match &self.how {
            How::Winograd(winograd, _) => norm.max(winograd.scratch()),
            _ => norm,
        }
    }

    fn run(&self, io: Io<'_>) {
        let Io { reads: [x, residual], gives: y, scratch, in_place, .. } = io;
        let residual = (!residual.is_empty()).then_some(residual);
        let bias = self.bias.as_deref();
        // What stands behind a normalisation is the normalisation's to do.
        let end = match self.norm {
            Some(_) => End { bias, ..End::default() },
            None => End { bias, residual, add: in_place, activation: self.activation },
        };
        let to = (&mut *y, self.outputs);
        match &self.how {
            How::Pointwise(weights) => {
                let rows = Dense { values: x, stride: self.depth };
                multiply(&rows, self.pixels, self.right(weights), end, to, Threads::All);
            }
            How::Windows(windows, weights) => {
                multiply(&windows.of(x), self.pixels, self.right(weights), end, to, Threads::All);
            }
            How::Winograd(winograd, points) => winograd.run(x, points, end, y, scratch),
        }
        if let Some(norm) = &self.norm {
            norm.run(y, residual, self.activation, scratch);
        }
    }
}

/// Windows as rows: taps row by row, channels innermost.
struct Windows {
    x: Size,
    y: Size,
    window: Window,
}

/// [`Windows`] over values.
struct WindowRows<'a> {
    windows: &'a Windows,
    values: &'a [f32],
}

impl Windows {
    fn of<'a>(&'a self, values: &'a [f32]) -> WindowRows<'a> {
        WindowRows { windows: self, values }
    }
}

impl Rows for WindowRows<'_> {
    #[inline(always)]
    fn fill(&self, row: usize, from: usize, to: &mut [f32]) {
        let Windows { x, y, window } = self.windows;
        let Window { kernel, stride, before, dilation } = *window;
        let (image, row, column) = (row / y.pixels(), row / y.columns % y.rows, row % y.columns);
        let image = &self.values[image * x.pixels() * x.channels..];
        let line_len = x.columns * x.channels;
        // Taps that lie side by side are copied at once.
        let step = if dilation == 1 { kernel[1] * x.channels } else { x.channels };
        let (mut taps, mut inside, mut left_over) = (from / step, from % step, to);
        while !left_over.is_empty() {
            let count = (step - inside).min(left_over.len());
            let (to, rest) = left_over.split_at_mut(count);
            left_over = rest;
            let (tap_row, first_column) =
                if dilation == 1 { (taps, 0) } else { (taps / kernel[1], taps % kernel[1] * dilation) };
            let at = (column * stride[1] + first_column) * x.channels + inside;
            (taps, inside) = (taps + 1, 0);
            // Counted from the border's first zero.
            let at_row = row * stride[0] + tap_row * dilation;
            if at_row < before[0] || at_row - before[0] >= x.rows {
                to.fill(0.0);
                continue;
            }
            let line = &image[(at_row - before[0]) * line_len..][..line_len];
            let border = before[1] * x.channels;
            let left = border.saturating_sub(at).min(count);
            let start = (at + left).saturating_sub(border).min(line_len);
            let right = (count - left).min(line_len - start);
            to[..left].fill(0.0);
            copy(&mut to[left..left + right], &line[start..start + right]);
            to[left + right..].fill(0.0);
        }
    }
}

/// Copies a few values without a call: windows of a stem are short.
#[inline(always)]
fn copy(to: &mut [f32], from: &[f32]) {
    match from.len() {
        4..=8 => copy_ends::<4>(to, from),
        9..=16 => copy_ends::<8>(to, from),
        17..=32 => copy_ends::<16>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// `N` values from either end, which overlap.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [f32], from: &[f32]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}
