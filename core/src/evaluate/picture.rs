//! Small pictures of cases: the truth on the left, the answer on the right.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use ndarray::{Array2, ArrayView2};

use crate::study::{Affine, warp};

/// Longest side of one panel, pixels.
const PANEL: usize = 400;
/// Colour of the truth.
const TRUTH: [u8; 3] = [0x5f, 0xd0, 0xc5];
/// Colour of the answer.
const ANSWER: [u8; 3] = [0xf2, 0xa8, 0x4e];

/// What the network said.
pub(super) enum Prediction<'a> {
    /// A heat map, 0 to 1.
    Heat(ArrayView2<'a, f32>),
    /// A mask, 0 or 1.
    Mask(Array2<u8>),
}

/// JPEG of the image twice: with the outlines of the truth, and with the answer. `None` where it cannot be encoded.
pub(super) fn side_by_side(
    image: ArrayView2<'_, u8>,
    truth: &[Array2<u8>],
    prediction: &Prediction<'_>,
) -> Option<Vec<u8>> {
    let (rows, columns) = image.dim();
    let scale = (rows.max(columns) as f32 / PANEL as f32).max(1.0);
    let size = (((rows as f32 / scale) as usize).max(1), ((columns as f32 / scale) as usize).max(1));
    let shrink = Affine { linear: [[scale, 0.0], [0.0, scale]], offset: [(scale - 1.0) / 2.0; 2] };
    let gray = warp(image, &shrink, size, 0.0);
    let panel = || Panel { size, rgb: gray.iter().flat_map(|v| [*v as u8; 3]).collect() };
    let (mut left, mut right) = (panel(), panel());
    for mask in truth {
        left.outline(&warp(mask.view(), &shrink, size, 0.0), TRUTH);
    }
    match prediction {
        Prediction::Heat(heat) => right.heat(&warp(*heat, &shrink, size, 0.0)),
        Prediction::Mask(mask) => right.outline(&warp(mask.view(), &shrink, size, 0.0), ANSWER),
    }
    let mut rgb = Vec::with_capacity(left.rgb.len() * 2);
    for (a, b) in left.rgb.chunks_exact(3 * size.1).zip(right.rgb.chunks_exact(3 * size.1)) {
        rgb.extend_from_slice(a);
        rgb.extend_from_slice(b);
    }
    let picture = image::RgbImage::from_raw(2 * size.1 as u32, size.0 as u32, rgb)?;
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&picture).ok()?;
    Some(bytes.into_inner())
}

struct Panel {
    size: (usize, usize),
    rgb: Vec<u8>,
}

impl Panel {
    fn blend(&mut self, row: usize, column: usize, color: [u8; 3], alpha: f32) {
        let start = 3 * (row * self.size.1 + column);
        if let Some(pixel) = self.rgb.get_mut(start..start + 3) {
            for (value, color) in pixel.iter_mut().zip(color) {
                *value = (f32::from(*value) * (1.0 - alpha) + f32::from(color) * alpha).round() as u8;
            }
        }
    }

    /// Draws pixels inside that have a neighbour outside.
    fn outline(&mut self, coverage: &Array2<f32>, color: [u8; 3]) {
        let inside = |r: usize, c: usize| coverage.get((r, c)).is_some_and(|v| *v >= 0.5);
        for ((r, c), value) in coverage.indexed_iter() {
            let open = !inside(r.wrapping_sub(1), c)
                || !inside(r + 1, c)
                || !inside(r, c.wrapping_sub(1))
                || !inside(r, c + 1);
            if *value >= 0.5 && open {
                self.blend(r, c, color, 0.95);
            }
        }
    }

    /// Draws a heat map: nothing below 0.1, opaque enough to read at 1.
    fn heat(&mut self, heat: &Array2<f32>) {
        for ((r, c), value) in heat.indexed_iter() {
            let value = value.clamp(0.0, 1.0);
            if value > 0.1 {
                let hot = [0xf2, (0xb8 as f32 - 120.0 * value).max(0.0) as u8, 0x3a];
                self.blend(r, c, hot, 0.15 + 0.5 * value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_panels_are_drawn() {
        let image = Array2::<u8>::from_elem((100, 50), 128);
        let mut truth = Array2::<u8>::zeros((100, 50));
        truth.slice_mut(ndarray::s![20..60, 10..40]).fill(1);
        let answer = Prediction::Mask(truth.clone());
        let jpeg = side_by_side(image.view(), &[truth], &answer).expect("encoded");
        let picture = image::load_from_memory(&jpeg).expect("a JPEG").into_rgb8();
        assert_eq!(picture.dimensions(), (100, 100));
        // On the left edge of the block green beats red in the truth's panel, red beats blue in the answer's.
        let (left, right) = (picture.get_pixel(10, 40), picture.get_pixel(60, 40));
        assert!(left[1] > left[0] && right[0] > right[2], "{left:?} {right:?}");
    }
}
