//! Augmentation: random geometry and random film, drawn once an image and applied to image and masks alike.
//!
//! Pixels are 0 (black) to 1 (white). Geometry is composed with the letterbox, so that an image is sampled only once.

use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::fields::{blur, chance, log_uniform, normal, uniform, value_noise};
use crate::study::{Affine, Displacement, letterbox, warp_displaced};

/// The random numbers of one image in one epoch: the same on every platform and whatever the order of images.
pub fn image_rng(seed: u64, epoch: u64, image_id: u64) -> ChaCha8Rng {
    let mut bytes = [0u8; 32];
    for (chunk, value) in bytes.chunks_exact_mut(8).zip([seed, epoch, image_id, 0x6269_666f_6361_6c21]) {
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(bytes)
}

/// What may happen to an image in training. Ranges are sampled evenly unless said otherwise; 0 switches a part off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation by up to this many degrees to either side.
    pub rotation_degrees: f32,
    /// Magnification from and to; sampled evenly in the logarithm.
    pub scale: [f32; 2],
    /// Width against height changes by up to this factor minus 1.
    pub aspect: f32,
    /// Shear by up to this (tangent of the angle).
    pub shear: f32,
    /// Shift by up to this share of the output's side.
    pub translation: f32,
    /// Standard deviation of smooth local displacements, as a share of the output's side.
    pub elastic: f32,
    /// Probability of mirroring left and right. The caller must then exchange left and right classes.
    pub mirror: f32,
    /// Exponent from and to; sampled evenly in the logarithm.
    pub gamma: [f32; 2],
    /// Contrast about mid-gray, from and to.
    pub contrast: [f32; 2],
    /// Brightness is shifted by up to this.
    pub brightness: f32,
    /// Probability of a random monotone tone curve: another detector's or another printer's look.
    pub tone_curve: f32,
    /// Strength of smooth shading over the image.
    pub shading: f32,
    /// Largest standard deviation of noise.
    pub noise: f32,
    /// Largest blur, standard deviation in output pixels; applied to a third of the images.
    pub blur: f32,
    /// Largest unsharp-mask amount; applied to a third of the images.
    pub sharpen: f32,
    /// Largest change of coarse local contrast, as other makers' processing does it; applied to a half of the images.
    pub local_contrast: f32,
    /// Probability of collimated borders, whose masks are emptied too.
    pub collimation: f32,
    /// Probability of one to three erased rectangles (Zhong et al., 2020); masks stay.
    pub erase: f32,
    /// Probability of inverted gray: an unmarked MONOCHROME1.
    pub invert: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            rotation_degrees: 12.0,
            scale: [0.85, 1.2],
            aspect: 0.1,
            shear: 0.06,
            translation: 0.07,
            elastic: 0.008,
            mirror: 0.0,
            gamma: [0.6, 1.6],
            contrast: [0.7, 1.3],
            brightness: 0.1,
            tone_curve: 0.3,
            shading: 0.08,
            noise: 0.03,
            blur: 1.0,
            sharpen: 1.0,
            local_contrast: 0.0,
            collimation: 0.25,
            erase: 0.2,
            invert: 0.0,
        }
    }
}

impl Augmentation {
    /// Nothing happens.
    pub fn none() -> Self {
        Self {
            rotation_degrees: 0.0,
            scale: [1.0, 1.0],
            aspect: 0.0,
            shear: 0.0,
            translation: 0.0,
            elastic: 0.0,
            mirror: 0.0,
            gamma: [1.0, 1.0],
            contrast: [1.0, 1.0],
            brightness: 0.0,
            tone_curve: 0.0,
            shading: 0.0,
            noise: 0.0,
            blur: 0.0,
            sharpen: 0.0,
            local_contrast: 0.0,
            collimation: 0.0,
            erase: 0.0,
            invert: 0.0,
        }
    }

    /// Draws what happens to an image of `rows` × `columns` on its way to a square of `size` pixels a side.
    pub fn draw(&self, rows: usize, columns: usize, size: usize, rng: &mut impl Rng) -> Draw {
        let side = size as f32;
        let magnify = 1.0 / log_uniform(rng, self.scale[0], self.scale[1]);
        let stretch = log_uniform(rng, 1.0 / (1.0 + self.aspect.abs()), 1.0 + self.aspect.abs()).sqrt();
        let mirrored = chance(rng, self.mirror);
        let across = if mirrored { -magnify / stretch } else { magnify / stretch };
        let shear = Affine {
            linear: [[1.0, uniform(rng, -self.shear, self.shear)], [uniform(rng, -self.shear, self.shear), 1.0]],
            offset: [0.0, 0.0],
        };
        let rotation = Affine::rotation(uniform(rng, -self.rotation_degrees, self.rotation_degrees));
        let shift = |rng: &mut _| uniform(rng, -self.translation, self.translation) * side;
        let shift = Affine::translation(shift(rng), shift(rng));
        let centre = ((side - 1.0) / 2.0, (side - 1.0) / 2.0);
        let in_output =
            Affine::scaling(magnify * stretch, across).then(&shear).then(&rotation).about(centre).then(&shift);
        let displacement = (self.elastic > 0.0).then(|| {
            let strength = self.elastic * side * rng.random::<f32>();
            Displacement {
                knots: Array2::from_shape_simple_fn((5, 5), || (strength * normal(rng), strength * normal(rng))),
            }
        });
        Draw {
            size,
            input_from_output: in_output.then(&letterbox(rows, columns, size)),
            displacement,
            mirrored,
            photometric: self.draw_photometric(size, rng),
        }
    }

    fn draw_photometric(&self, size: usize, rng: &mut impl Rng) -> Photometric {
        let side = size as f32;
        let gamma = log_uniform(rng, self.gamma[0], self.gamma[1]);
        let contrast = uniform(rng, self.contrast[0], self.contrast[1]);
        let brightness = uniform(rng, -self.brightness, self.brightness);
        let inverted = chance(rng, self.invert);
        let curve = chance(rng, self.tone_curve).then(|| tone_curve(rng));
        let tone = (0..TONE_STEPS)
            .map(|step| {
                let value = step as f32 / (TONE_STEPS - 1) as f32;
                let value = curve.as_ref().map_or(value, |curve| interpolate(curve, value));
                let value = (value.powf(gamma) - 0.5) * contrast + 0.5 + brightness;
                let value = value.clamp(0.0, 1.0);
                if inverted { 1.0 - value } else { value }
            })
            .collect();
        let shading = self.shading * rng.random::<f32>();
        let mut sharpness = 0.0;
        match rng.random_range(0..3u8) {
            0 => sharpness = -self.blur * rng.random::<f32>(),
            1 => sharpness = self.sharpen * rng.random::<f32>(),
            _ => {}
        }
        let noise = self.noise * rng.random::<f32>();
        let local_contrast = (self.local_contrast > 0.0 && chance(rng, 0.5)).then(|| {
            let amount = uniform(rng, -0.5, 1.0) * self.local_contrast;
            (amount, log_uniform(rng, 0.03, 0.12) * side)
        });
        let mut visible = [0.0, 0.0, side, side];
        if chance(rng, self.collimation) {
            for (index, edge) in visible.iter_mut().enumerate() {
                if chance(rng, 0.5) {
                    let cut = uniform(rng, 0.0, 0.12) * side;
                    *edge += if index < 2 { cut } else { -cut };
                }
            }
        }
        let mut erased = Vec::new();
        if chance(rng, self.erase) {
            for _ in 0..rng.random_range(1..=3u8) {
                let (height, width) = (uniform(rng, 0.04, 0.2) * side, uniform(rng, 0.04, 0.2) * side);
                let (top, left) = (uniform(rng, 0.0, side - height), uniform(rng, 0.0, side - width));
                erased.push(([top, left, top + height, left + width], rng.random::<f32>()));
            }
        }
        Photometric { tone, shading, sharpness, local_contrast, noise, visible, erased, seed: rng.random() }
    }
}

/// What happens to one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// Side of the square output, pixels.
    pub size: usize,
    /// From output to input pixels, letterbox included.
    pub input_from_output: Affine,
    /// Smooth local displacements, in output pixels.
    pub displacement: Option<Displacement>,
    /// Left and right are exchanged: so must be the classes.
    pub mirrored: bool,
    /// What happens to gray values.
    pub photometric: Photometric,
}

impl Draw {
    /// The letterbox alone, as in validation and inference.
    pub fn plain(rows: usize, columns: usize, size: usize) -> Self {
        Self {
            size,
            input_from_output: letterbox(rows, columns, size),
            displacement: None,
            mirrored: false,
            photometric: Photometric::none(size),
        }
    }

    /// Geometry alone: any map in the size of the image to the output's size; `fill` outside.
    pub fn warp<T: Copy + Into<f32>>(&self, map: ArrayView2<'_, T>, fill: f32) -> Array2<f32> {
        let size = (self.size, self.size);
        warp_displaced(map, &self.input_from_output, self.displacement.as_ref(), size, fill)
    }

    /// The image (0 to 255) as the network sees it: 0 to 1, black outside.
    pub fn image(&self, image: ArrayView2<'_, u8>) -> Array2<f32> {
        let mut output = self.warp(image, 0.0);
        output.mapv_inplace(|v| v / 255.0);
        self.photometric.apply(output)
    }

    /// A mask (0 or 1) as coverage, 0 to 1; empty where borders are collimated.
    pub fn mask(&self, mask: ArrayView2<'_, u8>) -> Array2<f32> {
        let mut output = self.warp(mask, 0.0);
        self.photometric.collimate(&mut output, 0.0);
        output
    }
}

const TONE_STEPS: usize = 513;

/// What happens to the gray values of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Photometric {
    /// Tone curve: output at evenly spaced inputs from 0 to 1.
    tone: Vec<f32>,
    /// Strength of smooth shading.
    shading: f32,
    /// Negative: blur, standard deviation in pixels; positive: amount of unsharp masking.
    sharpness: f32,
    /// Amount, and standard deviation in pixels, of coarse unsharp masking.
    local_contrast: Option<(f32, f32)>,
    /// Standard deviation of noise.
    noise: f32,
    /// First row, first column, end row, end column that are not collimated.
    visible: [f32; 4],
    /// Erased rectangles (first row, first column, end row, end column) and their gray.
    erased: Vec<([f32; 4], f32)>,
    /// Seeds shading and noise.
    seed: u64,
}

impl Photometric {
    /// Nothing happens.
    pub fn none(size: usize) -> Self {
        Self {
            tone: Vec::new(),
            shading: 0.0,
            sharpness: 0.0,
            local_contrast: None,
            noise: 0.0,
            visible: [0.0, 0.0, size as f32, size as f32],
            erased: Vec::new(),
            seed: 0,
        }
    }

    /// Applies everything to an image of 0 to 1.
    pub fn apply(&self, mut image: Array2<f32>) -> Array2<f32> {
        let (rows, columns) = image.dim();
        if !self.tone.is_empty() {
            image.mapv_inplace(|v| interpolate(&self.tone, v));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        if self.shading > 0.0 {
            let cell = rows.max(columns) as f32 / 2.5;
            image.scaled_add(self.shading, &value_noise(rows, columns, cell, &mut rng));
        }
        if let Some((amount, sigma)) = self.local_contrast {
            let coarse = blur(&image, sigma);
            image.zip_mut_with(&coarse, |v, c| *v += amount * (*v - c));
        }
        if self.sharpness < 0.0 {
            image = blur(&image, -self.sharpness);
        } else if self.sharpness > 0.0 {
            let soft = blur(&image, 1.2);
            image.zip_mut_with(&soft, |v, s| *v += self.sharpness * (*v - s));
        }
        if self.noise > 0.0 {
            add_noise(&mut image, self.noise, &mut rng);
        }
        image.mapv_inplace(|v| v.clamp(0.0, 1.0));
        for (rectangle, gray) in &self.erased {
            fill(&mut image, *rectangle, *gray);
        }
        self.collimate(&mut image, 0.0);
        image
    }

    /// What collimation leaves in sight: top, left, bottom, right in output pixels.
    pub fn visible(&self) -> [f32; 4] {
        self.visible
    }

    /// Sets everything outside the visible rectangle to `value`.
    pub fn collimate(&self, map: &mut Array2<f32>, value: f32) {
        let (rows, columns) = map.dim();
        let [top, left, bottom, right] = self.visible;
        let (rows, columns) = (rows as f32, columns as f32);
        fill(map, [0.0, 0.0, top, columns], value);
        fill(map, [bottom, 0.0, rows, columns], value);
        fill(map, [0.0, 0.0, rows, left], value);
        fill(map, [0.0, right, rows, columns], value);
    }
}

fn fill(map: &mut Array2<f32>, [top, left, bottom, right]: [f32; 4], value: f32) {
    let (rows, columns) = map.dim();
    let within = |v: f32, most: usize| (v.max(0.0) as usize).min(most);
    let (top, left) = (within(top, rows), within(left, columns));
    let (bottom, right) = (within(bottom, rows).max(top), within(right, columns).max(left));
    map.slice_mut(ndarray::s![top..bottom, left..right]).fill(value);
}

/// Noise that is near enough to normal: the sum of four bytes, two pixels a 64-bit number.
fn add_noise(image: &mut Array2<f32>, sigma: f32, rng: &mut impl Rng) {
    // Variance of the sum of four even bytes: 4 · (256² - 1) / 12.
    let unit = sigma / (4.0f32 * (65_536.0 - 1.0) / 12.0).sqrt();
    let mut pool = 0u64;
    for (index, value) in image.iter_mut().enumerate() {
        if index % 2 == 0 {
            pool = rng.next_u64();
        }
        let half = (pool >> (32 * (index % 2))) as u32;
        let sum: u32 = half.to_le_bytes().iter().map(|b| u32::from(*b)).sum();
        *value += unit * (sum as f32 - 510.0);
    }
}

/// A monotone curve from 0 to 1 through random knots.
fn tone_curve(rng: &mut impl Rng) -> Vec<f32> {
    let mut curve = vec![0.0f32];
    for _ in 0..5 {
        let step = uniform(rng, 0.3, 1.7);
        curve.push(curve.last().copied().unwrap_or(0.0) + step);
    }
    let last = curve.last().copied().unwrap_or(1.0);
    curve.iter().map(|v| v / last).collect()
}

/// Linear interpolation in values that are evenly spaced over 0 to 1.
fn interpolate(values: &[f32], at: f32) -> f32 {
    let position = at.clamp(0.0, 1.0) * (values.len().max(2) - 1) as f32;
    let first = (position as usize).min(values.len().saturating_sub(2));
    match values.get(first..first + 2) {
        Some([a, b]) => a + (position - first as f32) * (b - a),
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Array2<u8> {
        Array2::from_shape_fn((96, 64), |(r, c)| ((r * 2 + c) % 256) as u8)
    }

    #[test]
    fn none_is_the_letterbox() {
        let image = picture();
        let mut rng = image_rng(1, 2, 3);
        let drawn = Augmentation::none().draw(96, 64, 32, &mut rng);
        let plain = Draw::plain(96, 64, 32);
        let (a, b) = (drawn.image(image.view()), plain.image(image.view()));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3));
        assert_eq!(b[[16, 0]], 0.0, "left of a portrait image is padding");
    }

    #[test]
    fn draws_repeat_and_differ() {
        let image = picture();
        let augmentation = Augmentation { invert: 0.3, mirror: 0.5, ..Augmentation::default() };
        let make = |epoch| augmentation.draw(96, 64, 48, &mut image_rng(5, epoch, 9));
        assert_eq!(make(1), make(1));
        assert_eq!(make(1).image(image.view()), make(1).image(image.view()));
        assert_ne!(make(1), make(2));
        for epoch in 0..200 {
            let output = make(epoch).image(image.view());
            assert!(output.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn image_and_mask_move_together() {
        let mut mask = Array2::<u8>::zeros((128, 128));
        mask.slice_mut(ndarray::s![40..60, 70..100]).fill(1);
        let image = mask.mapv(|v| v * 255);
        let geometry = Augmentation {
            gamma: [1.0, 1.0],
            contrast: [1.0, 1.0],
            brightness: 0.0,
            tone_curve: 0.0,
            shading: 0.0,
            noise: 0.0,
            blur: 0.0,
            sharpen: 0.0,
            local_contrast: 0.0,
            erase: 0.0,
            ..Augmentation::default()
        };
        for epoch in 0..20 {
            let draw = geometry.draw(128, 128, 64, &mut image_rng(0, epoch, 0));
            let (image, mask) = (draw.image(image.view()), draw.mask(mask.view()));
            assert!(image.iter().zip(&mask).all(|(a, b)| (a - b).abs() < 1e-3));
            assert!(mask.sum() > 20.0, "the block stays in view");
        }
    }

    #[test]
    fn mirroring_turns_left_and_right() {
        let mut image = Array2::<u8>::zeros((64, 64));
        image.slice_mut(ndarray::s![.., ..16]).fill(255);
        let draw = Augmentation { mirror: 1.0, ..Augmentation::none() }.draw(64, 64, 64, &mut image_rng(0, 0, 0));
        assert!(draw.mirrored);
        let output = draw.image(image.view());
        assert!(output[[30, 60]] > 0.99 && output[[30, 3]] < 0.01);
    }

    #[test]
    fn noise_has_the_strength_asked_for() {
        let mut image = Array2::<f32>::zeros((200, 200));
        add_noise(&mut image, 0.1, &mut image_rng(0, 0, 0));
        assert!((image.std(0.0) - 0.1).abs() < 0.005 && image.mean().expect("not empty").abs() < 0.002);
    }

    #[test]
    fn configurations_reject_misspelt_names() {
        let parsed: Augmentation = toml::from_str("rotation_degrees = 3.0").expect("a configuration");
        assert_eq!(parsed.rotation_degrees, 3.0);
        assert_eq!(parsed.scale, Augmentation::default().scale);
        assert!(toml::from_str::<Augmentation>("rotation = 3.0").is_err());
    }
}
