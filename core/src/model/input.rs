//! From an image to what the network sees.

use ndarray::{Array2, ArrayView2};

use crate::study::{Affine, letterbox, warp};

/// Intensities 0 to 1 become `(v - INPUT_MEAN) * INPUT_SCALE`.
pub const INPUT_MEAN: f32 = 0.5;
/// See [`INPUT_MEAN`].
pub const INPUT_SCALE: f32 = 4.0;

/// Percentiles of the image that become black and white: radiographs come with any window.
const PERCENTILES: (f32, f32) = (0.01, 0.99);

/// A network's input and how it lies over the image.
#[derive(Debug, Clone)]
pub struct ModelInput {
    /// `[row, column]`, square, scaled for the network.
    pub values: Array2<f32>,
    /// Image coordinates from input coordinates.
    pub image_from_input: Affine,
}

/// Puts an image (any units, brighter is denser) into a square of `size`: percentiles 1 and 99 become 0 and 1, aspect is kept, the rest is
/// black. Values that are not finite count as black.
pub fn input_from_values(image: ArrayView2<'_, f32>, size: usize) -> ModelInput {
    let stretched = stretch(image);
    let (rows, columns) = image.dim();
    let image_from_input = letterbox(rows, columns, size);
    let mut values = warp(stretched.view(), &image_from_input, (size, size), 0.0);
    values.mapv_inplace(|v| (v - INPUT_MEAN) * INPUT_SCALE);
    ModelInput { values, image_from_input }
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

    use super::{input_from_values, stretch};

    #[test]
    fn any_window_gives_the_same_input() {
        let image = Array2::from_shape_fn((40, 60), |(r, c)| (r * 7 + c * 3) as f32);
        let other = image.mapv(|v| v * 16.0 - 1000.0);
        let (a, b) = (input_from_values(image.view(), 32), input_from_values(other.view(), 32));
        assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-3));
        // The image is wider than high: rows above and below it are black.
        assert_eq!(a.values[[0, 16]], -2.0);
        assert!(a.values[[16, 16]] > -2.0);
    }

    #[test]
    fn odd_images_do_not_panic() {
        assert!(stretch(Array2::zeros((0, 0)).view()).is_empty());
        assert!(stretch(Array2::from_elem((3, 3), f32::NAN).view()).iter().all(|v| *v == 0.0));
        assert!(stretch(Array2::from_elem((3, 3), 7.0).view()).iter().all(|v| *v == 0.0));
        assert_eq!(input_from_values(Array2::zeros((1, 900)).view(), 32).values.dim(), (32, 32));
    }
}
