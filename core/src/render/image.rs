//! The pixels that rendering works on.

use rayon::prelude::*;

/// An image for the screen: 8-bit sRGB with straight alpha, `[red, green, blue, alpha]`, rows from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgba {
    /// Pixels in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// `width * height` pixels.
    pub pixels: Vec<[u8; 4]>,
}

impl Rgba {
    /// An image of one colour.
    pub fn new(width: usize, height: usize, color: [u8; 4]) -> Self {
        Self { width, height, pixels: vec![color; width * height] }
    }

    /// The pixel in column `x` of row `y`; `None` outside.
    pub fn get(&self, x: usize, y: usize) -> Option<[u8; 4]> {
        if x < self.width { self.pixels.get(y * self.width + x).copied() } else { None }
    }

    /// All bytes, red first.
    pub fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.pixels)
    }

    /// The image as PNG; opaque images are stored without alpha, gray ones with one channel.
    ///
    /// # Errors
    /// Where the image is empty or larger than PNG allows.
    pub fn to_png(&self) -> Result<Vec<u8>, image::ImageError> {
        use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
        let mut bytes = Vec::new();
        let (width, height) = (self.width as u32, self.height as u32);
        let encoder = PngEncoder::new(&mut bytes);
        if self.pixels.iter().any(|p| p[3] != 255) {
            encoder.write_image(self.as_bytes(), width, height, ExtendedColorType::Rgba8)?;
        } else if self.pixels.iter().all(|p| p[0] == p[1] && p[1] == p[2]) {
            let gray: Vec<u8> = self.pixels.iter().map(|p| p[0]).collect();
            encoder.write_image(&gray, width, height, ExtendedColorType::L8)?;
        } else {
            let rgb: Vec<u8> = self.pixels.iter().flat_map(|p| [p[0], p[1], p[2]]).collect();
            encoder.write_image(&rgb, width, height, ExtendedColorType::Rgb8)?;
        }
        Ok(bytes)
    }

    /// Lays `color` over a pixel with an extra coverage from 0 to 1; outside the image it does nothing.
    pub fn blend(&mut self, x: usize, y: usize, color: [u8; 4], coverage: f32) {
        if x < self.width
            && let Some(pixel) = self.pixels.get_mut(y * self.width + x)
        {
            *pixel = over(*pixel, color, coverage);
        }
    }

    /// Lays `top` over this image, its first pixel at (`x`, `y`); what falls outside is cut.
    pub fn draw(&mut self, top: &Rgba, x: i64, y: i64) {
        for (row, line) in top.pixels.chunks_exact(top.width.max(1)).enumerate() {
            let Ok(target_row) = usize::try_from(y + row as i64) else { continue };
            for (column, color) in line.iter().enumerate() {
                if let Ok(target_column) = usize::try_from(x + column as i64) {
                    self.blend(target_column, target_row, *color, 1.0);
                }
            }
        }
    }

    /// Lays an image of the same size over this one.
    pub fn draw_layer(&mut self, layer: &Rgba) {
        if (self.width, self.height) == (layer.width, layer.height) {
            self.pixels.par_iter_mut().zip(&layer.pixels).for_each(|(base, top)| *base = over(*base, *top, 1.0));
        } else {
            self.draw(layer, 0, 0);
        }
    }
}

/// `top` with alpha times `coverage` over `base`, by the usual "over" rule for straight alpha.
fn over(base: [u8; 4], top: [u8; 4], coverage: f32) -> [u8; 4] {
    let alpha = f32::from(top[3]) / 255.0 * coverage.clamp(0.0, 1.0);
    if alpha <= 0.0 {
        return base;
    }
    let base_alpha = f32::from(base[3]) / 255.0;
    let out_alpha = alpha + base_alpha * (1.0 - alpha);
    let mix = |t: u8, b: u8| {
        ((f32::from(t) * alpha + f32::from(b) * base_alpha * (1.0 - alpha)) / out_alpha).round().clamp(0.0, 255.0) as u8
    };
    [
        mix(top[0], base[0]),
        mix(top[1], base[1]),
        mix(top[2], base[2]),
        (out_alpha * 255.0).round().clamp(0.0, 255.0) as u8,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_follows_the_rule() {
        let mut image = Rgba::new(2, 1, [0, 0, 0, 255]);
        image.blend(0, 0, [255, 255, 255, 255], 0.5);
        image.blend(5, 0, [255, 255, 255, 255], 1.0);
        assert_eq!(image.pixels, [[128, 128, 128, 255], [0, 0, 0, 255]]);
        let mut clear = Rgba::new(1, 1, [0, 0, 0, 0]);
        clear.blend(0, 0, [200, 100, 0, 128], 1.0);
        assert_eq!(clear.pixels, [[200, 100, 0, 128]], "over nothing the colour stays as it is");
    }

    #[test]
    fn png_round_trip_in_each_kind() {
        let gray = Rgba::new(3, 2, [7, 7, 7, 255]);
        let colour = Rgba::new(3, 2, [7, 8, 9, 255]);
        let clear = Rgba::new(3, 2, [7, 8, 9, 10]);
        for image in [gray, colour, clear] {
            let png = image.to_png().expect("small images encode");
            let back = image::load_from_memory(&png).expect("what was written reads").to_rgba8();
            assert_eq!(back.as_raw().as_slice(), image.as_bytes());
        }
        assert!(Rgba::new(0, 0, [0; 4]).to_png().is_err());
    }

    #[test]
    fn drawing_is_cut_at_the_edges() {
        let mut base = Rgba::new(4, 4, [0, 0, 0, 255]);
        base.draw(&Rgba::new(3, 3, [255, 0, 0, 255]), -1, 2);
        assert_eq!(base.get(1, 2), Some([255, 0, 0, 255]));
        assert_eq!(base.get(2, 2), Some([0, 0, 0, 255]));
        assert_eq!(base.get(0, 1), Some([0, 0, 0, 255]));
        assert_eq!(base.get(4, 0), None);
    }
}
