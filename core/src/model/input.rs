//! From an image to what the network sees.

use candle_core::{Device, Tensor};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};

use crate::study::{Affine, letterbox, warp};

/// Intensities 0 to 1 become `(v - INPUT_MEAN) * INPUT_SCALE`.
pub const INPUT_MEAN: f32 = 0.5;
/// See [`INPUT_MEAN`].
pub const INPUT_SCALE: f32 = 4.0;

/// Percentiles of the image that become black and white: radiographs come with any window.
const PERCENTILES: (f32, f32) = (0.01, 0.99);

/// What a network is shown: one image in any units, or a slab of slices in the modality's units; `[channel, row, column]`.
#[derive(Debug, Clone)]
pub struct NetworkImage {
    channels: Array3<f32>,
}

/// A network's input and how it lies over the image.
#[derive(Debug, Clone)]
pub struct ModelInput {
    /// `[channel, row, column]`, square, scaled for the network.
    pub values: Array3<f32>,
    /// Image coordinates from input coordinates.
    pub image_from_input: Affine,
}

impl NetworkImage {
    /// One image (any units, brighter is denser): percentiles 1 and 99 become 0 and 1. Values that are not finite count as black.
    pub fn gray(image: ArrayView2<'_, f32>) -> Self {
        Self { channels: stretch(image).insert_axis(Axis(0)) }
    }

    /// Slices of one size, in the modality's units; `window` becomes 0 to 1. Values that are not finite count as black.
    pub fn slab(mut slices: Array3<f32>, window: [f32; 2]) -> Self {
        let [low, high] = window;
        slices.mapv_inplace(|v| if v.is_finite() { ((v - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 });
        Self { channels: slices }
    }

    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        let (_, rows, columns) = self.channels.dim();
        (rows, columns)
    }

    /// Whether there is nothing to see.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// All of it, `[channel, row, column]`, 0 to 1: one channel, or three of a slab.
    pub fn channels(&self) -> ArrayView3<'_, f32> {
        self.channels.view()
    }

    /// What is asked about, 0 to 1: the image, or the middle slice.
    pub fn picture(&self) -> ArrayView2<'_, f32> {
        self.channels.index_axis(Axis(0), self.channels.dim().0 / 2)
    }

    /// Laid into a square of `size`: aspect is kept, the rest is black.
    pub fn input(&self, size: usize) -> ModelInput {
        let (rows, columns) = self.dim();
        let image_from_input = letterbox(rows, columns, size);
        let mut values = Array3::zeros((self.channels.dim().0, size, size));
        for (channel, mut target) in self.channels.outer_iter().zip(values.outer_iter_mut()) {
            target.assign(&warp(channel, &image_from_input, (size, size), 0.0));
        }
        values.mapv_inplace(|v| (v - INPUT_MEAN) * INPUT_SCALE);
        ModelInput { values, image_from_input }
    }
}

impl ModelInput {
    /// As a batch of one, (1, channel, side, side).
    pub fn tensor(&self, device: &Device) -> candle_core::Result<Tensor> {
        let (channels, rows, columns) = self.values.dim();
        let values = Tensor::from_iter(self.values.iter().copied(), &Device::Cpu)?;
        values.reshape((1, channels, rows, columns))?.to_device(device)
    }
}

/// Maps percentiles 1 and 99 to 0 and 1 and clips; constant images become 0.
pub fn stretch(image: ArrayView2<'_, f32>) -> Array2<f32> {
    let (low, high) = percentiles(image);
    let scale = if high > low { 1.0 / (high - low) } else { 0.0 };
    image.mapv(|v| if v.is_finite() { ((v - low) * scale).clamp(0.0, 1.0) } else { 0.0 })
}

/// The two percentiles, from at most about 64,000 evenly spread values.
fn percentiles(image: ArrayView2<'_, f32>) -> (f32, f32) {
    let step = (image.len() / 65_536).max(1);
    let mut values: Vec<f32> = image.iter().copied().step_by(step).filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let last = values.len() - 1;
    let mut at = |share: f32| {
        let index = (share * last as f32).round() as usize;
        *values.select_nth_unstable_by(index, f32::total_cmp).1
    };
    (at(PERCENTILES.0), at(PERCENTILES.1))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{ModelInput, NetworkImage, stretch};

    fn input_from_values(image: ndarray::ArrayView2<'_, f32>, size: usize) -> ModelInput {
        NetworkImage::gray(image).input(size)
    }

    #[test]
    fn a_slab_keeps_its_units() {
        let slices = ndarray::Array3::from_shape_fn((3, 32, 32), |(k, _, _)| [-2000.0, -300.0, f32::NAN][k]);
        let image = NetworkImage::slab(slices, [-1000.0, 400.0]);
        assert_eq!(image.picture()[[3, 3]], 0.5);
        let input = image.input(32);
        assert_eq!([0, 1, 2].map(|k| input.values[[k, 9, 9]]), [-2.0, 0.0, -2.0]);
        assert_eq!(input.tensor(&candle_core::Device::Cpu).unwrap().dims(), [1, 3, 32, 32]);
    }

    #[test]
    fn any_window_gives_the_same_input() {
        let image = Array2::from_shape_fn((40, 60), |(r, c)| (r * 7 + c * 3) as f32);
        let other = image.mapv(|v| v * 16.0 - 1000.0);
        let (a, b) = (input_from_values(image.view(), 32), input_from_values(other.view(), 32));
        assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-3));
        // The image is wider than high: rows above and below it are black.
        assert_eq!(a.values[[0, 0, 16]], -2.0);
        assert!(a.values[[0, 16, 16]] > -2.0);
    }

    #[test]
    fn odd_images_do_not_panic() {
        assert!(stretch(Array2::zeros((0, 0)).view()).is_empty());
        assert!(stretch(Array2::from_elem((3, 3), f32::NAN).view()).iter().all(|v| *v == 0.0));
        assert!(stretch(Array2::from_elem((3, 3), 7.0).view()).iter().all(|v| *v == 0.0));
        assert_eq!(input_from_values(Array2::zeros((1, 900)).view(), 32).values.dim(), (1, 32, 32));
    }
}
