//! Heat maps, contours and colour bars over an image.

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Colormap, Rgba, Voi, VoiMapping, automatic_window, paint};
use crate::study::{Frame, Suv};

/// How a map of values is laid over an image. Threshold, ramp and range are in the map's own units: probability, share, SUV.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeatStyle {
    /// Colours; the value alone chooses the colour, so that a colour bar over the range is true for every threshold.
    pub colormap: Colormap,
    /// Values with the first and the last colour; those beyond take the nearer one.
    pub range: [f32; 2],
    /// Below it nothing is drawn.
    pub threshold: f32,
    /// Opacity of values well above the threshold, 0 to 1.
    pub opacity: f32,
    /// Over this range above the threshold the opacity grows from nothing to `opacity`; 0 is a hard edge.
    pub ramp: f32,
}

impl HeatStyle {
    /// Lesion evidence: warm, a nearly hard edge at the finding's threshold.
    pub const LESION: Self =
        Self { colormap: Colormap::Ember, range: [0.0, 1.0], threshold: 0.5, opacity: 0.55, ramp: 0.05 };
    /// Attention: cool, weak values nearly clear.
    pub const ATTENTION: Self =
        Self { colormap: Colormap::Lagoon, range: [0.0, 1.0], threshold: 0.05, opacity: 0.55, ramp: 0.5 };

    /// Another series over an image (fusion), by a slice of it: uptake from 0 to 7 g/mL where its values are SUV, else its first window or the
    /// automatic one. Low values are clear, so that the image below stays readable.
    pub fn fusion(sample: &Frame) -> Self {
        let range = if sample.display.units == Suv::UNITS {
            [0.0, 7.0]
        } else {
            let window = match Voi::of_frame(sample).mapping {
                VoiMapping::Window(window) => window,
                VoiMapping::Lut(_) => automatic_window(sample),
            };
            [window.center - window.width / 2.0, window.center + window.width / 2.0].map(|end| end as f32)
        };
        Self { colormap: Colormap::HotIron, range, threshold: 0.0, opacity: 0.6, ramp: 0.0 }.between(range)
    }

    /// With another range, from whose lower end values fade in over a quarter of it.
    #[must_use]
    pub fn between(self, range: [f32; 2]) -> Self {
        Self { range, threshold: range[0], ramp: 0.25 * (range[1] - range[0]), ..self }
    }

    /// Place of `value` in the range: 0 at its lower end, 1 at its upper.
    pub fn share(&self, value: f32) -> f32 {
        let [low, high] = self.range;
        (value - low) / (high - low).max(f32::MIN_POSITIVE)
    }

    /// Opacity of `value`, 0 to 1; 0 below the threshold and for NaN.
    pub fn alpha(&self, value: f32) -> f32 {
        if value.is_nan() || value < self.threshold {
            return 0.0;
        }
        let grown = if self.ramp > 0.0 { ((value - self.threshold) / self.ramp).min(1.0) } else { 1.0 };
        (self.opacity * grown).clamp(0.0, 1.0)
    }
}

/// The map alone, one pixel a value, transparent where nothing is drawn: a texture to lay over the image.
pub fn heat_layer(values: &Array2<f32>, style: &HeatStyle) -> Rgba {
    let (height, width) = values.dim();
    let contiguous = values.as_standard_layout();
    let pixels = contiguous
        .as_slice()
        .unwrap_or(&[])
        .par_iter()
        .with_min_len(1 << 12)
        .map(|value| {
            let [r, g, b] = style.colormap.color(style.share(*value));
            let alpha = (style.alpha(*value) * 255.0).round() as u8;
            if alpha == 0 { [0, 0, 0, 0] } else { [r, g, b, alpha] }
        })
        .collect();
    Rgba { width, height, pixels }
}

/// Lays a map over an image of the same size.
pub fn blend_heat(base: &mut Rgba, values: &Array2<f32>, style: &HeatStyle) {
    base.draw_layer(&heat_layer(values, style));
}

/// Draws closed contours of (row, column) vertices on an image with one pixel a frame pixel times `scale`.
pub fn draw_contours(image: &mut Rgba, contours: &[Vec<(f32, f32)>], scale: f32, width: f32, color: [u8; 3]) {
    let [r, g, b] = color;
    for contour in contours {
        let points: Vec<(f32, f32)> =
            contour.iter().map(|(row, column)| ((column + 0.5) * scale, (row + 0.5) * scale)).collect();
        // A dark rim keeps the line visible over bright bone and bright colours.
        paint::stroke(image, &points, true, width + 1.5, [0, 0, 0, 110]);
        paint::stroke(image, &points, true, width, [r, g, b, 255]);
    }
}

/// A vertical colour bar: the highest value on top. Below the threshold it is gray, as nothing is drawn there.
pub fn color_bar(width: usize, height: usize, style: &HeatStyle) -> Rgba {
    let mut bar = Rgba::new(width, height, [0, 0, 0, 255]);
    for (row, line) in bar.pixels.chunks_exact_mut(width.max(1)).enumerate() {
        let share = 1.0 - row as f32 / height.saturating_sub(1).max(1) as f32;
        let value = style.range[0] + share * (style.range[1] - style.range[0]);
        let [r, g, b] = if value < style.threshold { [60, 60, 60] } else { style.colormap.color(share) };
        line.fill([r, g, b, 255]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::study::{DisplayAttributes, GrayPixels, Pixels, Window};

    #[test]
    fn below_the_threshold_the_image_is_untouched() {
        let values = array![[0.0, 0.49, 0.5], [0.9, 1.0, f32::NAN]];
        let mut image = Rgba::new(3, 2, [50, 50, 50, 255]);
        let style = HeatStyle { ramp: 0.0, opacity: 1.0, ..HeatStyle::LESION };
        blend_heat(&mut image, &values, &style);
        let untouched: Vec<bool> = image.pixels.iter().map(|p| *p == [50, 50, 50, 255]).collect();
        assert_eq!(untouched, [true, true, false, false, false, true]);
        let [r, g, b] = Colormap::Ember.color(0.9);
        assert_eq!(image.pixels[3], [r, g, b, 255]);
    }

    #[test]
    fn the_ramp_grows_from_the_threshold() {
        let style =
            HeatStyle { colormap: Colormap::Lagoon, range: [0.0, 1.0], threshold: 0.2, opacity: 0.8, ramp: 0.4 };
        assert_eq!(style.alpha(0.19), 0.0);
        assert!((style.alpha(0.4) - 0.4).abs() < 1e-6);
        assert!((style.alpha(0.9) - 0.8).abs() < 1e-6);
    }

    #[test]
    fn a_series_over_another_is_coloured_in_its_own_units() {
        let frame = |units: &str, windows: Vec<Window>| Frame {
            pixels: Pixels::Gray(GrayPixels::F32(array![[0.0, 3.5], [7.0, 14.0]])),
            display: DisplayAttributes { units: units.to_owned(), windows, ..DisplayAttributes::default() },
        };
        let style = HeatStyle { opacity: 1.0, ..HeatStyle::fusion(&frame(Suv::UNITS, Vec::new())) };
        let layer = heat_layer(&array![[-1.0, 0.875, 3.5, 7.0, 99.0, f32::NAN]], &style);
        let iron = |share: f32| Colormap::HotIron.color(share);
        // Clear below 0, half covered after an eighth of the range, wholly from a quarter on; entry 128 of the table in its middle.
        assert_eq!(layer.pixels[0][3], 0);
        assert_eq!(layer.pixels[1][3], 128);
        assert_eq!((layer.pixels[2], iron(0.5)), ([255, 0, 0, 255], [255, 0, 0]));
        assert_eq!((layer.pixels[3], layer.pixels[4]), ([255; 4], [255; 4]));
        assert_eq!(layer.pixels[5], [0; 4]);
        let in_window = HeatStyle::fusion(&frame("Bq/mL", vec![Window::linear(2000.0, 3000.0)]));
        assert_eq!((in_window.range, in_window.threshold), ([500.0, 3500.0], 500.0));
        let bar = color_bar(1, 101, &HeatStyle { threshold: 2000.0, ..in_window });
        assert_eq!((bar.get(0, 0), bar.get(0, 60)), (Some([255; 4]), Some([60, 60, 60, 255])));
        assert_ne!(bar.get(0, 49), Some([60, 60, 60, 255]), "2030 Bq/mL is above the threshold");
    }

    #[test]
    fn the_bar_is_highest_on_top_and_gray_below_the_threshold() {
        let bar = color_bar(4, 101, &HeatStyle::LESION);
        let [r, g, b] = Colormap::Ember.color(1.0);
        assert_eq!(bar.get(0, 0), Some([r, g, b, 255]));
        assert_eq!(bar.get(3, 100), Some([60, 60, 60, 255]));
        assert_eq!(bar.get(3, 51), Some([60, 60, 60, 255]));
        assert_ne!(bar.get(3, 50), Some([60, 60, 60, 255]));
    }

    #[test]
    fn contours_pass_through_pixel_centres() {
        let mut image = Rgba::new(10, 10, [0, 0, 0, 255]);
        draw_contours(&mut image, &[vec![(2.0, 2.0), (2.0, 7.0), (7.0, 7.0), (7.0, 2.0)]], 1.0, 1.0, [255, 255, 255]);
        assert_eq!(image.get(4, 2), Some([255, 255, 255, 255]));
        assert_eq!(image.get(7, 5), Some([255, 255, 255, 255]));
        assert_eq!(image.get(4, 4), Some([0, 0, 0, 255]));
    }
}
