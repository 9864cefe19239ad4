//! Normalisation, channels-last.

use candle_core::Result;
use rayon::prelude::*;

use super::super::activation::gelu_value;
use super::super::norm::Norm;
use super::super::product::Activation;
use super::super::raw::vectorised;
use super::runner::{Io, Kernel, plain};
use super::{GroupNorm, Size};

/// Layer normalisation of each pixel or token.
pub(super) struct LayerNorm {
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    pub(super) eps: f32,
}

impl Kernel for LayerNorm {
    fn run(&self, io: Io<'_>) {
        let norm = Norm { rows_per_item: 1, affine_repeat: 1, eps: self.eps, relu: false };
        norm.forward_into(io.reads[0], &self.gamma, &self.beta, io.gives);
    }
}

/// Channels whose sums are held in registers.
const LANES: usize = 16;
/// Pixels whose sums are formed at once: they are read twice, the second time from the nearest cache. Fixed, so that a result does not depend
/// on the number of threads.
const PIXELS: usize = 64;

/// Group normalisation in place, residual and activation behind it.
pub(super) struct PreparedNorm {
    size: Size,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    groups: usize,
    eps: f32,
}

impl PreparedNorm {
    pub(super) fn new(norm: &GroupNorm, size: Size) -> Result<Self> {
        let GroupNorm { gamma, beta, groups, eps } = norm;
        Ok(Self { size, gamma: plain(gamma)?, beta: plain(beta)?, groups: *groups, eps: *eps })
    }

    fn parts(&self) -> usize {
        self.size.pixels().div_ceil(PIXELS)
    }

    /// Sums and squared deviations of each part and channel; then scale and shift of each channel.
    pub(super) fn scratch(&self) -> usize {
        (self.parts() + 1) * 2 * self.size.channels
    }

    pub(super) fn run(&self, y: &mut [f32], residual: Option<&[f32]>, activation: Activation, scratch: &mut [f32]) {
        let channels = self.size.channels;
        let (affine, sums) = scratch.split_at_mut(2 * channels);
        let sums = &mut sums[..self.parts() * 2 * channels];
        for (image, y) in y.chunks_exact_mut(self.size.pixels() * channels).enumerate() {
            let parts = sums.par_chunks_exact_mut(2 * channels).zip(y.par_chunks(PIXELS * channels));
            parts.with_min_len(4).for_each(|(sums, y)| vectorised(|| part_sums(y, channels, sums)));
            self.affine(sums, affine);
            let (scale, shift) = affine.split_at(channels);
            let start = image * self.size.pixels() * channels;
            let parts = y.par_chunks_mut(PIXELS * channels).enumerate();
            parts.with_min_len(4).for_each(|(part, y)| {
                let at = start + part * PIXELS * channels;
                let residual = residual.map(|residual| &residual[at..at + y.len()]);
                vectorised(|| apply(y, residual, (scale, shift), activation));
            });
        }
    }

    /// Scale and shift of each channel from the sums of all parts (Chan et al., 1979).
    fn affine(&self, sums: &[f32], affine: &mut [f32]) {
        let channels = self.size.channels;
        let width = channels / self.groups;
        let (scale, shift) = affine.split_at_mut(channels);
        let pixels = |part: usize| (self.size.pixels() - part * PIXELS).min(PIXELS) as f64;
        let count = (self.size.pixels() * width) as f64;
        for group in 0..self.groups {
            let of_group = group * width..(group + 1) * width;
            let parts = || sums.chunks_exact(2 * channels).map(|part| part.split_at(channels)).enumerate();
            let sum = |values: &[f32]| values[of_group.clone()].iter().map(|value| f64::from(*value)).sum::<f64>();
            let mean = parts().map(|(_, (sums, _))| sum(sums)).sum::<f64>() / count;
            let mut squares = 0.0;
            for (part, (sums, deviations)) in parts() {
                let pixels = pixels(part);
                squares += sum(deviations);
                for value in &sums[of_group.clone()] {
                    squares += pixels * (f64::from(*value) / pixels - mean).powi(2);
                }
            }
            let by = 1.0 / (squares / count + f64::from(self.eps)).sqrt();
            for channel in of_group.clone() {
                scale[channel] = self.gamma[channel] * by as f32;
                shift[channel] = (f64::from(self.beta[channel]) - mean * by * f64::from(self.gamma[channel])) as f32;
            }
        }
    }
}

/// Sums and sums of squared deviations from the part's own mean, by channel.
#[inline(always)]
fn part_sums(y: &[f32], channels: usize, to: &mut [f32]) {
    let pixels = y.len() / channels;
    let (sums, deviations) = to.split_at_mut(channels);
    for first in (0..channels).step_by(LANES) {
        let count = LANES.min(channels - first);
        let mut sum = [0.0f32; LANES];
        let mut squares = [0.0f32; LANES];
        if count == LANES {
            let lanes = || y.chunks_exact(channels).filter_map(|pixel| pixel[first..].first_chunk::<LANES>());
            lanes().for_each(|pixel| sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value));
            let mean = sum.map(|sum| sum / pixels as f32);
            lanes().for_each(|pixel| {
                for lane in 0..LANES {
                    squares[lane] += (pixel[lane] - mean[lane]) * (pixel[lane] - mean[lane]);
                }
            });
        } else {
            let lanes = || y.chunks_exact(channels).map(|pixel| &pixel[first..first + count]);
            lanes().for_each(|pixel| sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value));
            let mean = sum.map(|sum| sum / pixels as f32);
            lanes().for_each(|pixel| {
                for ((square, value), mean) in squares.iter_mut().zip(pixel).zip(&mean) {
                    *square += (value - mean) * (value - mean);
                }
            });
        }
        sums[first..first + count].copy_from_slice(&sum[..count]);
        deviations[first..first + count].copy_from_slice(&squares[..count]);
    }
}

#[inline(always)]
fn apply(y: &mut [f32], residual: Option<&[f32]>, (scale, shift): (&[f32], &[f32]), activation: Activation) {
    let floor = if activation == Activation::Relu { 0.0 } else { f32::NEG_INFINITY };
    let channels = scale.len();
    match residual {
        Some(residual) => {
            for (y, residual) in y.chunks_exact_mut(channels).zip(residual.chunks_exact(channels)) {
                for (((y, residual), scale), shift) in y.iter_mut().zip(residual).zip(scale).zip(shift) {
                    *y = (*y * scale + shift + residual).max(floor);
                }
            }
        }
        None => {
            for y in y.chunks_exact_mut(channels) {
                for ((y, scale), shift) in y.iter_mut().zip(scale).zip(shift) {
                    *y = (*y * scale + shift).max(floor);
                }
            }
        }
    }
    if activation == Activation::Gelu {
        y.iter_mut().for_each(|value| *value = gelu_value(*value));
    }
}
