//! Simulated lung opacities and look-alikes, for training where annotated lesions are few.
//!
//! Model: film brightness falls roughly with the logarithm of dose, so tissue in the beam adds brightness. An opacity
//! raises the smooth part of the image towards the brightness of soft tissue, in a soft, irregular region inside the
//! lung; it keeps (ground glass) or hides (consolidation) the vessels. Pixels are 0 (black) to 1 (white).

use ndarray::{Array2, ArrayView2};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::fields::{blur, chance, fractal_noise, log_uniform, normal, quantile, smoothstep, uniform, value_noise};

/// What simulated opacities look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpacityOptions {
    /// Smallest and largest share of the lung's area that is covered; sampled evenly in the logarithm.
    pub extent: [f32; 2],
    /// Faintest and densest: 0 leaves the lung as it is, 1 reaches the brightness of soft tissue.
    pub density: [f32; 2],
    /// Share of lesions that are copied from annotated images in place of simulated ones; where it is above 0, regions of normal images are
    /// copied as well, and lesions are also laid on images that are annotated as free of them.
    pub transplanted: f32,
}

impl Default for OpacityOptions {
    fn default() -> Self {
        Self { extent: [0.03, 0.35], density: [0.25, 0.95], transplanted: 0.0 }
    }
}

/// An image with a simulated opacity.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// The image, 0 to 1.
    pub image: Array2<f32>,
    /// The opacity, 0 or 1, `[row, column]`.
    pub mask: Array2<f32>,
}

/// Adds an opacity inside `lung` (0 to 1, in the size of `image`); `None` where the sizes differ or the lung has fewer than 200
/// pixels.
pub fn simulate_opacity(
    image: ArrayView2<'_, f32>,
    lung: ArrayView2<'_, f32>,
    options: &OpacityOptions,
    rng: &mut impl Rng,
) -> Option<Simulated> {
    if image.dim() != lung.dim() {
        return None;
    }
    let (rows, columns) = image.dim();
    let side = rows.max(columns) as f32;
    let inside: Vec<(usize, usize)> = lung.indexed_iter().filter(|(_, v)| **v > 0.5).map(|(at, _)| at).collect();
    if inside.len() < 200 {
        return None;
    }
    let lung_level = quantile(inside.iter().map(|at| image[*at]), 0.5)?;
    let tissue = tissue_level(image, lung, lung_level);
    // Foci lie where the lung shows air: behind the heart nobody could see them, and a mask there would teach nonsense.
    let aerated = (lung_level + tissue) / 2.0;
    let seen: Vec<(usize, usize)> = inside.iter().copied().filter(|at| image[*at] < aerated).collect();
    let extent = log_uniform(rng, options.extent[0], options.extent[1]).clamp(0.005, 0.9);
    let (field, radius) = shape_field(if seen.len() < 100 { &inside } else { &seen }, extent, (rows, columns), rng);
    let threshold = quantile(inside.iter().map(|at| field[*at]), 1.0 - extent)?;
    // Soft edges: the spread of the field inside the lung sets what soft means.
    let high = quantile(inside.iter().map(|at| field[*at]), 0.995)?;
    let softness = (high - threshold).max(1e-3) * uniform(rng, 0.4, 1.0);
    // Where the field is flat around the focus, a soft edge would otherwise cover the whole lung.
    let rim = quantile(inside.iter().map(|at| field[*at]), 1.0 - (1.7 * extent).min(1.0))?;
    let low = (threshold - softness).max(rim).min(threshold - 1e-3);
    let soft_lung = blur(&lung.to_owned(), side * 0.008);
    let mut alpha = field;
    for (value, lung) in alpha.iter_mut().zip(&soft_lung) {
        *value = smoothstep(low, threshold + softness, *value) * smoothstep(0.25, 0.8, *lung);
    }

    // A small focus has little depth in the beam, so it cannot be as dense as a lobe.
    let densest = (0.4 + 6.0 * radius / side).min(1.0);
    let density = uniform(rng, options.density[0], options.density[1]).clamp(0.0, densest);
    let consolidated = smoothstep(0.45, 0.8, density);
    let base = blur(&image.to_owned(), side * 0.02);
    let target = lung_level + (tissue - lung_level) * uniform(rng, 0.8, 1.05);
    let cell = side * uniform(rng, 0.015, 0.04);
    let texture = fractal_noise(rows, columns, cell, 3, rng);
    let mottle = uniform(rng, 0.03, 0.18);
    let bronchi =
        if chance(rng, 0.5 * consolidated) { air_bronchogram(&inside, &alpha, (rows, columns), rng) } else { None };

    let mut output = image.to_owned();
    for ((at, value), alpha) in output.indexed_iter_mut().zip(&alpha) {
        if *alpha <= 0.0 {
            continue;
        }
        let strength = (alpha * density * (1.0 + mottle * texture[at])).clamp(0.0, 1.0);
        let detail = *value - base[at];
        // Where the film is brighter already (ribs, heart) tissue still adds a little.
        let lift = (target - base[at]).max(0.12 * (1.0 - base[at])).max(0.0);
        let air = bronchi.as_ref().map_or(0.0, |bronchi: &Array2<f32>| bronchi[at] * strength * 0.35);
        *value = base[at] + strength * lift * (1.0 - air) + detail * (1.0 - 0.65 * strength * consolidated);
    }
    output.mapv_inplace(|v| v.clamp(0.0, 1.0));
    let mask = alpha.mapv(|v| f32::from(u8::from(v > MASK_FROM)));
    Some(Simulated { image: output, mask })
}

/// Share of its full strength from which a pixel belongs to the opacity.
const MASK_FROM: f32 = 0.3;

/// Brightness of soft tissue: the upper part of what is not lung and not background.
fn tissue_level(image: ArrayView2<'_, f32>, lung: ArrayView2<'_, f32>, lung_level: f32) -> f32 {
    let body = image.iter().zip(lung).filter(|(v, l)| **l < 0.2 && **v > lung_level).map(|(v, _)| *v);
    quantile(body, 0.6).unwrap_or(0.0).max(lung_level + 0.12).min(1.0)
}

/// A field that is high where the opacity is (one focus, several, or patches over the whole lung), and the radius of a focus.
fn shape_field(
    inside: &[(usize, usize)],
    extent: f32,
    (rows, columns): (usize, usize),
    rng: &mut impl Rng,
) -> (Array2<f32>, f32) {
    let side = rows.max(columns) as f32;
    let foci = match rng.random_range(0..100u8) {
        0..=54 => 1,
        55..=79 => rng.random_range(2..=3usize),
        _ => rng.random_range(4..=8usize),
    };
    let radius = (extent * inside.len() as f32 / foci as f32 / std::f32::consts::PI).sqrt().max(2.0);
    let (first, last) = inside.iter().fold((rows, 0), |(a, b), (r, _)| (a.min(*r), b.max(*r)));
    let lower_first = chance(rng, 0.6);
    let mut field = Array2::<f32>::zeros((rows, columns));
    for _ in 0..foci {
        let mut centre = inside[rng.random_range(0..inside.len())];
        if lower_first {
            // Pneumonia is commoner below: the lower of two draws.
            let other = inside[rng.random_range(0..inside.len())];
            if (other.0 as i64 - first as i64) > (centre.0 as i64 - first as i64) && other.0 <= last {
                centre = other;
            }
        }
        let (long, short) = (radius * uniform(rng, 0.9, 1.7), radius * uniform(rng, 0.7, 1.1));
        let (sin, cos) = uniform(rng, 0.0, std::f32::consts::PI).sin_cos();
        let power = uniform(rng, 1.4, 3.0);
        let weight = uniform(rng, 0.7, 1.0);
        for ((r, c), value) in field.indexed_iter_mut() {
            let (dr, dc) = (r as f32 - centre.0 as f32, c as f32 - centre.1 as f32);
            let (u, v) = ((cos * dr + sin * dc) / long, (cos * dc - sin * dr) / short);
            let distance = (u * u + v * v).sqrt();
            if distance < 4.0 {
                *value = value.max(weight * (-0.7 * distance.powf(power)).exp());
            }
        }
    }
    // Irregular outline: noise as coarse as the focus, and finer.
    let roughness = uniform(rng, 0.08, 0.25);
    let noise = fractal_noise(rows, columns, (radius * uniform(rng, 0.5, 1.2)).clamp(side * 0.02, side * 0.2), 3, rng);
    field.zip_mut_with(&noise, |value, noise| *value += roughness * noise * (0.25 + *value));
    (field, radius)
}

/// Dark branching lines (air in bronchi) running through the opacity, 0 to 1.
fn air_bronchogram(
    inside: &[(usize, usize)],
    alpha: &Array2<f32>,
    (rows, columns): (usize, usize),
    rng: &mut impl Rng,
) -> Option<Array2<f32>> {
    let dense: Vec<(usize, usize)> = inside.iter().copied().filter(|at| alpha[*at] > 0.7).collect();
    let side = rows.max(columns) as f32;
    let mut lines = Array2::<f32>::zeros((rows, columns));
    let start = *dense.get(rng.random_range(0..dense.len().max(1)))?;
    // Bronchi run away from the midline and downwards, each branch bending a little.
    let outward = if (start.1 as f32) < columns as f32 / 2.0 { -1.0f32 } else { 1.0 };
    for _ in 0..rng.random_range(2..=4u8) {
        let mut angle = uniform(rng, -0.6, 1.1);
        let (mut row, mut column) = (start.0 as f32 - side * 0.03, start.1 as f32 - outward * side * 0.05);
        let width = side * uniform(rng, 0.0025, 0.005);
        for step in 0..(side * 0.18) as usize {
            angle += 0.06 * normal(rng);
            row += angle.sin();
            column += outward * angle.cos();
            let fade = 1.0 - step as f32 / (side * 0.18);
            stamp(&mut lines, (row, column), width.max(0.6), fade, f32::max);
        }
    }
    Some(lines)
}

/// Draws a soft dot of standard deviation `radius` pixels and height `strength` with `join(old, new)`.
fn stamp(map: &mut Array2<f32>, (row, column): (f32, f32), radius: f32, strength: f32, join: fn(f32, f32) -> f32) {
    let (rows, columns) = map.dim();
    let reach = (radius * 3.0).ceil();
    let range = |centre: f32, length: usize| {
        let first = (centre - reach).max(0.0) as usize;
        let last = ((centre + reach + 1.0).max(0.0) as usize).min(length);
        first.min(last)..last
    };
    for r in range(row, rows) {
        for c in range(column, columns) {
            let squared = (r as f32 - row).powi(2) + (c as f32 - column).powi(2);
            let value = strength * (-0.5 * squared / (radius * radius)).exp();
            map[[r, c]] = join(map[[r, c]], value);
        }
    }
}

/// Adds up to a few things that are no lesions: tubes and wires, electrodes, side markers, calcifications, nipple shadows,
/// skin folds. They belong on images with and without opacities alike, so that they say nothing about the class.
pub fn simulate_distractors(image: &mut Array2<f32>, rng: &mut impl Rng) {
    let (rows, columns) = image.dim();
    if rows < 16 || columns < 16 {
        return;
    }
    let side = rows.max(columns) as f32;
    let mut light = Array2::<f32>::zeros((rows, columns));
    if chance(rng, 0.35) {
        for _ in 0..rng.random_range(1..=3u8) {
            wire(&mut light, side, rng);
        }
    }
    if chance(rng, 0.25) {
        marker(&mut light, side, rng);
    }
    if chance(rng, 0.25) {
        for _ in 0..rng.random_range(1..=4u8) {
            let at = (uniform(rng, 0.15, 0.85) * rows as f32, uniform(rng, 0.15, 0.85) * columns as f32);
            let (radius, strength) = (side * uniform(rng, 0.003, 0.008), uniform(rng, 0.1, 0.4));
            stamp(&mut light, at, radius, strength, f32::max);
        }
    }
    if chance(rng, 0.15) {
        // Nipples: a faint round shadow at the same height on both sides.
        let (row, offset) = (uniform(rng, 0.55, 0.75), uniform(rng, 0.2, 0.3));
        let (radius, strength) = (side * uniform(rng, 0.01, 0.016), uniform(rng, 0.04, 0.12));
        for sign in [-1.0, 1.0] {
            let at = ((row + 0.01 * normal(rng)) * rows as f32, (0.5 + sign * offset) * columns as f32);
            stamp(&mut light, at, radius, strength, f32::max);
        }
    }
    if chance(rng, 0.1) {
        skin_fold(&mut light, rng);
    }
    image.zip_mut_with(&light, |v, l| *v = (*v + l * (1.0 - 0.5 * *v)).clamp(0.0, 1.0));
}

/// A tube or a wire along a quadratic curve, at times ending in an electrode.
fn wire(light: &mut Array2<f32>, side: f32, rng: &mut impl Rng) {
    let (rows, columns) = light.dim();
    let mut point = || (uniform(rng, -0.05, 1.05) * rows as f32, uniform(rng, -0.05, 1.05) * columns as f32);
    let (a, b, c) = (point(), point(), point());
    let tube = chance(rng, 0.4);
    let width = side * uniform(rng, 0.0015, 0.004);
    let gap = if tube { side * uniform(rng, 0.006, 0.012) } else { 0.0 };
    let strength = uniform(rng, 0.12, 0.5);
    let length = ((a.0 - b.0).hypot(a.1 - b.1) + (b.0 - c.0).hypot(b.1 - c.1)).max(1.0);
    let steps = (length / 0.8) as usize;
    for step in 0..=steps {
        let t = step as f32 / steps.max(1) as f32;
        let along = |x: f32, y: f32, z: f32| (1.0 - t).powi(2) * x + 2.0 * t * (1.0 - t) * y + t * t * z;
        let slope = |x: f32, y: f32, z: f32| 2.0 * (1.0 - t) * (y - x) + 2.0 * t * (z - y);
        let (row, column) = (along(a.0, b.0, c.0), along(a.1, b.1, c.1));
        let (dr, dc) = (slope(a.0, b.0, c.0), slope(a.1, b.1, c.1));
        let norm = dr.hypot(dc).max(1e-3);
        for sign in if tube { &[-0.5f32, 0.5][..] } else { &[0.0][..] } {
            let at = (row + sign * gap * dc / norm, column - sign * gap * dr / norm);
            stamp(light, at, width.max(0.5), strength, f32::max);
        }
    }
    if !tube && chance(rng, 0.5) {
        let (radius, strength) = (side * uniform(rng, 0.008, 0.016), uniform(rng, 0.2, 0.6));
        for r in 0..rows {
            for column in 0..columns {
                let distance = (r as f32 - c.0).hypot(column as f32 - c.1);
                let value = strength * (1.0 - smoothstep(radius * 0.85, radius * 1.1, distance));
                light[[r, column]] = light[[r, column]].max(value);
            }
        }
    }
}

/// A side marker: the strokes of an L or an R in a corner.
fn marker(light: &mut Array2<f32>, side: f32, rng: &mut impl Rng) {
    const L: &[[f32; 4]] = &[[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.6]];
    const R: &[[f32; 4]] = &[
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.5],
        [0.0, 0.5, 0.25, 0.62],
        [0.25, 0.62, 0.5, 0.5],
        [0.5, 0.5, 0.5, 0.0],
        [0.5, 0.25, 1.0, 0.6],
    ];
    let (rows, columns) = light.dim();
    let height = side * uniform(rng, 0.03, 0.07);
    let near = |rng: &mut _, length: usize| {
        let margin = uniform(rng, 0.03, 0.16);
        if chance(rng, 0.5) { margin * length as f32 } else { (1.0 - margin) * length as f32 - height }
    };
    let (top, left) = (uniform(rng, 0.02, 0.3) * rows as f32, near(rng, columns));
    let strength = uniform(rng, 0.5, 1.0);
    let width = (height * uniform(rng, 0.05, 0.1)).max(0.5);
    for [r0, c0, r1, c1] in if chance(rng, 0.5) { L } else { R } {
        let steps = ((r1 - r0).hypot(c1 - c0) * height * 1.5) as usize + 1;
        for step in 0..=steps {
            let t = step as f32 / steps as f32;
            let at = (top + height * (r0 + t * (r1 - r0)), left + height * (c0 + t * (c1 - c0)));
            stamp(light, at, width, strength, f32::max);
        }
    }
}

/// A skin fold: one long edge, sharp on one side, fading on the other.
fn skin_fold(light: &mut Array2<f32>, rng: &mut impl Rng) {
    let (rows, columns) = light.dim();
    let side = rows.max(columns) as f32;
    let (sin, cos) = uniform(rng, -0.5, 0.5).sin_cos();
    let position = uniform(rng, 0.1, 0.9) * columns as f32;
    let bend = value_noise(rows, columns, side * 0.4, rng);
    let (strength, depth) = (uniform(rng, 0.05, 0.15), side * uniform(rng, 0.04, 0.12));
    for ((r, c), value) in light.indexed_iter_mut() {
        let distance = cos * (c as f32 - position) + sin * (r as f32 - rows as f32 / 2.0) + side * 0.03 * bend[[r, c]];
        if distance > -1.0 && distance < depth {
            *value = value.max(strength * (1.0 - distance.max(0.0) / depth));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::image_rng;

    /// Two dark ellipses on gray, as lungs go.
    fn chest() -> (Array2<f32>, Array2<f32>) {
        let lung = Array2::from_shape_fn((128, 128), |(r, c)| {
            let dr = (r as f32 - 64.0) / 45.0;
            let inside = [36.0, 92.0].iter().any(|centre| dr * dr + ((c as f32 - centre) / 22.0).powi(2) < 1.0);
            f32::from(u8::from(inside))
        });
        (lung.mapv(|l| 0.7 - 0.45 * l), lung)
    }

    #[test]
    fn opacities_lie_in_the_lung_and_brighten_it() {
        let (image, lung) = chest();
        let options = OpacityOptions::default();
        for id in 0..40 {
            let simulated =
                simulate_opacity(image.view(), lung.view(), &options, &mut image_rng(1, 0, id)).expect("a lung");
            let area = simulated.mask.sum();
            let outside = (&simulated.mask * &lung.mapv(|l| 1.0 - l)).sum();
            assert!(area > 20.0 && area < 0.6 * lung.sum(), "area {area} of {}", lung.sum());
            assert_eq!(outside, 0.0);
            let change = &simulated.image - &image;
            let within = (&change * &simulated.mask).sum() / area;
            assert!(within > 0.01, "{id}: brighter by {within}");
            assert!(simulated.image.iter().all(|v| (0.0..=1.0).contains(v)));
            let again =
                simulate_opacity(image.view(), lung.view(), &options, &mut image_rng(1, 0, id)).expect("a lung");
            assert_eq!(again, simulated);
        }
    }

    #[test]
    fn without_a_lung_there_is_none() {
        let (image, _) = chest();
        let none = Array2::zeros(image.dim());
        let options = OpacityOptions::default();
        assert_eq!(simulate_opacity(image.view(), none.view(), &options, &mut image_rng(1, 0, 0)), None);
        let other = Array2::ones((3, 3));
        assert_eq!(simulate_opacity(image.view(), other.view(), &options, &mut image_rng(1, 0, 0)), None);
    }

    #[test]
    fn distractors_only_add_light() {
        let (image, _) = chest();
        let mut changed = 0;
        for id in 0..60 {
            let mut with = image.clone();
            simulate_distractors(&mut with, &mut image_rng(2, 0, id));
            assert!(with.iter().zip(&image).all(|(a, b)| *a >= b - 1e-6 && *a <= 1.0));
            changed += usize::from(with != image);
        }
        assert!((20..60).contains(&changed), "{changed} of 60 images changed");
    }
}
