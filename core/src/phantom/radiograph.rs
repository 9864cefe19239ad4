//! The projection radiograph: rays through the standing patient, a detector, and the processing of a digital radiography
//! system.

use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{Array2, Array3, Axis, Zip};
use rayon::prelude::*;

use crate::task::{Cancelled, Task};

use super::filter::{gaussian, quantile, sharpen};
use super::geometry::{Vec3, v};
use super::paint::{Grid, Painted};
use super::random::{Stream, hash01};
use super::thorax::{CARDIOMEDIASTINUM, LEFT_LUNG, LESION_SHIFT, ORGAN_MASK, RIGHT_LUNG};

/// Source to detector, mm.
pub const SOURCE_TO_DETECTOR_MM: f64 = 1800.0;
/// Side of the square detector, mm.
pub const DETECTOR_MM: f64 = 430.0;
/// Largest number of lesions that the label maps hold.
pub(super) const MAX_LESIONS: usize = 63;

/// Where source, detector and patient are. Detector rows run down the patient, columns to the patient's left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beam {
    /// Pixels along a side.
    pub size: usize,
    /// Turn of the patient about z, radians.
    pub rotation: f32,
    /// Height of the central ray, mm.
    pub height: f32,
    /// y of the detector in front of the patient, mm.
    pub detector_y: f32,
}

impl Beam {
    pub fn pixel_mm(&self) -> f32 {
        DETECTOR_MM as f32 / self.size as f32
    }

    /// Source and pixel centre in the patient's own coordinates.
    fn ray(&self, row: f32, column: f32) -> (Vec3, Vec3) {
        let half = (self.size as f32 - 1.0) * 0.5;
        let pixel = v((column - half) * self.pixel_mm(), self.detector_y, self.height - (row - half) * self.pixel_mm());
        let source = v(0.0, self.detector_y + SOURCE_TO_DETECTOR_MM as f32, self.height);
        (self.patient_from(source), self.patient_from(pixel))
    }

    fn patient_from(&self, p: Vec3) -> Vec3 {
        let (s, c) = self.rotation.sin_cos();
        v(c * p.x + s * p.y, -s * p.x + c * p.y, p.z)
    }

    /// The projection as a matrix: `(x, y, z, 1)` in the patient to `(column * w, row * w, w)`.
    pub fn matrix(&self) -> [[f64; 4]; 3] {
        let (s, c) = f64::from(self.rotation).sin_cos();
        let source_y = f64::from(self.detector_y) + SOURCE_TO_DETECTOR_MM;
        let pixels = SOURCE_TO_DETECTOR_MM / f64::from(self.pixel_mm());
        let half = (self.size as f64 - 1.0) * 0.5;
        let depth = [-s, -c, 0.0, source_y];
        let mut column = depth.map(|d| d * half);
        let mut row = column;
        column[0] += pixels * c;
        column[1] -= pixels * s;
        row[2] -= pixels;
        row[3] += pixels * f64::from(self.height);
        [column, row, depth]
    }

    /// Row and column (fractional) onto which a point of the patient is projected.
    pub fn project(&self, p: Vec3) -> (f32, f32) {
        let (s, c) = self.rotation.sin_cos();
        let w = v(c * p.x - s * p.y, s * p.x + c * p.y, p.z);
        let source_y = self.detector_y + SOURCE_TO_DETECTOR_MM as f32;
        let magnification = SOURCE_TO_DETECTOR_MM as f32 / (source_y - w.y);
        let half = (self.size as f32 - 1.0) * 0.5;
        (half - (w.z - self.height) * magnification / self.pixel_mm(), half + w.x * magnification / self.pixel_mm())
    }
}

/// Path lengths along the rays.
pub(super) struct Paths {
    /// Water-equivalent length, mm.
    pub water: Array2<f32>,
    /// Mineral above water, in mm of water's attenuation at 70 keV.
    pub mineral: Array2<f32>,
    /// Left lung, right lung, cardiomediastinum, mm.
    pub organs: [Array2<f32>; 3],
    /// Each lesion, mm, in the order of their numbers from 1.
    pub lesions: Vec<Array2<f32>>,
}

/// Integrates along all rays.
pub(super) fn project(
    body: &Painted,
    grid: &Grid,
    beam: &Beam,
    lesions: usize,
    task: &Task,
) -> Result<Paths, Cancelled> {
    let n = beam.size;
    let lesions = lesions.min(MAX_LESIONS);
    // One row of the detector at a time: water, mineral, three organs, lesions.
    let planes = 5 + lesions;
    let mut sums = Array3::<f32>::zeros((n, planes, n));
    let done = AtomicU64::new(0);
    sums.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each(|(row, mut sums)| {
        task.check()?;
        for column in 0..n {
            let (source, pixel) = beam.ray(row as f32, column as f32);
            march(body, grid, source, pixel, |length, hu, label| {
                sums[[0, column]] += length * (hu.min(40.0) + 1000.0).max(0.0) * 1e-3;
                sums[[1, column]] += length * (hu - 40.0).max(0.0) * 1e-3;
                match label & ORGAN_MASK {
                    LEFT_LUNG => sums[[2, column]] += length,
                    RIGHT_LUNG => sums[[3, column]] += length,
                    CARDIOMEDIASTINUM => sums[[4, column]] += length,
                    _ => {}
                }
                let lesion = usize::from(label >> LESION_SHIFT);
                if lesion > 0 && lesion <= lesions {
                    sums[[4 + lesion, column]] += length;
                }
            });
        }
        task.progress("Projecting", 1 + done.fetch_add(1, Ordering::Relaxed), n as u64);
        Ok(())
    })?;
    let plane = |i: usize| sums.index_axis(Axis(1), i).to_owned();
    Ok(Paths {
        water: plane(0),
        mineral: plane(1),
        organs: [plane(2), plane(3), plane(4)],
        lesions: (5..planes).map(plane).collect(),
    })
}

/// Visits the coronal planes of voxels that a ray passes: length in the plane, interpolated HU, nearest label.
fn march(body: &Painted, grid: &Grid, source: Vec3, pixel: Vec3, mut visit: impl FnMut(f32, f32, u8)) {
    let [nx, ny, nz] = grid.size;
    let way = pixel - source;
    if way.y.abs() < 1e-3 {
        return;
    }
    let step = grid.spacing.y * way.length() / way.y.abs();
    let (Some(hu), Some(labels)) = (body.hu.as_slice(), body.label.as_slice()) else { return };
    // Position along x and z is linear in the plane's index.
    let at = |j: f32| {
        let t = (grid.origin.y + j * grid.spacing.y - source.y) / way.y;
        let p = source + way * t;
        ((p.x - grid.origin.x) / grid.spacing.x, (p.z - grid.origin.z) / grid.spacing.z)
    };
    let (x0, z0) = at(0.0);
    let (x1, z1) = at(1.0);
    let (dx, dz) = (x1 - x0, z1 - z0);
    for j in 0..ny {
        let (x, z) = (x0 + dx * j as f32, z0 + dz * j as f32);
        if x < 0.0 || z < 0.0 || x >= (nx - 1) as f32 || z >= (nz - 1) as f32 {
            continue;
        }
        let (i, k) = (x as usize, z as usize);
        let (u, w) = (x - i as f32, z - k as f32);
        let low = (k * ny + j) * nx + i;
        let high = low + ny * nx;
        let value = |at: usize| f32::from(hu[at]);
        let a = value(low) + (value(low + 1) - value(low)) * u;
        let b = value(high) + (value(high + 1) - value(high)) * u;
        let hu = a + (b - a) * w;
        if hu < -995.0 {
            continue;
        }
        let nearest = if w < 0.5 { low } else { high } + usize::from(u >= 0.5);
        visit(step, hu, labels[nearest]);
    }
}

/// Attenuation of water per mm, of mineral against water (1 at 70 keV), and share of the detected energy, for a filtered
/// 110 kVp beam behind a patient in three lines (NIST XCOM, water and cortical bone).
const SPECTRUM: [(f32, f32, f32); 3] = [(0.0227, 1.55, 0.35), (0.0200, 1.15, 0.45), (0.0180, 0.85, 0.20)];

/// 12-bit pixels for presentation (MONOCHROME2), and the rectangle that was exposed (row, column, height, width).
pub(super) fn develop(paths: &Paths, beam: &Beam, seed: u64) -> (Array2<u16>, [usize; 4]) {
    let n = beam.size;
    let mm = 1.0 / beam.pixel_mm();
    let mut random = Stream::new(seed, "detector");
    let mut light = Array2::zeros((n, n));
    Zip::from(&mut light).and(&paths.water).and(&paths.mineral).par_for_each(|i, w, b| {
        *i = SPECTRUM.iter().map(|(mu, k, share)| share * (-mu * (w + k * b)).exp()).sum::<f32>();
    });
    // The field is collimated to the patient; beyond it only a trace of scatter arrives.
    let edge = |r: &mut Stream, low: f32, high: f32| (r.range(low, high) * mm).round().max(1.0) as usize;
    let (top, bottom) = (edge(&mut random, 4.0, 9.0), edge(&mut random, 6.0, 16.0));
    let (left, right) = (edge(&mut random, 5.0, 13.0), edge(&mut random, 5.0, 13.0));
    let field = [top, left, n - top - bottom, n - left - right];
    marker(&mut light, beam, &mut random, field);
    let open = Array2::from_shape_fn((n, n), |(r, c)| {
        let inside = (top..n - bottom).contains(&r) && (left..n - right).contains(&c);
        if inside { 1.0 } else { 0.0 }
    });
    // The collimator is far from the detector: its edge is soft over about a millimetre.
    let open = gaussian(&open, 0.7 * mm);
    light *= &open;
    // Focal spot and scintillator, then what scatter the grid lets through.
    let mut light = gaussian(&light, 0.13 * mm);
    let scatter = gaussian(&light, 38.0 * mm) * 0.16 + gaussian(&light, 12.0 * mm) * 0.08;
    light += &scatter;
    light += 4e-5;
    quantum_noise(&mut light, beam, seed);
    let density = light.mapv(|i| -i.max(1e-6).ln());
    (curve(density, paths, beam, field), field)
}

/// Photon noise, slightly blurred as in a scintillator.
fn quantum_noise(light: &mut Array2<f32>, beam: &Beam, seed: u64) {
    // Photons a square millimetre in the open beam that are detected.
    let photons = 9.0e5 * beam.pixel_mm() * beam.pixel_mm();
    let salt = seed as u32 ^ 0x00d1_ce00;
    let white = Array2::from_shape_fn(light.dim(), |(r, c)| {
        // The sum of four uniforms is close to normal.
        let sum: f32 = (0..4).map(|k| hash01(c as i32, r as i32, k, salt)).sum();
        (sum - 2.0) * 1.732
    });
    let grain = gaussian(&white, 0.55) * 1.7;
    Zip::from(light).and(&grain).for_each(|i, g| *i += g * (*i / photons).sqrt());
}

/// The lead letter that the technologist puts on the detector: the patient's left.
fn marker(light: &mut Array2<f32>, beam: &Beam, random: &mut Stream, field: [usize; 4]) {
    let mm = 1.0 / beam.pixel_mm();
    let (height, width) = (16.0 * mm, 9.0 * mm);
    let stroke = 1.5 * mm;
    let angle = random.range(-0.09, 0.09);
    let row = field[0] as f32 + random.range(26.0, 38.0) * mm;
    let column = (field[1] + field[3]) as f32 - random.range(22.0, 32.0) * mm;
    let (s, c) = angle.sin_cos();
    for ((r, q), i) in light.indexed_iter_mut() {
        let (dr, dq) = (r as f32 - row, q as f32 - column);
        if dr.abs() > 1.2 * height || dq.abs() > 1.2 * height {
            continue;
        }
        let (y, x) = (c * dr - s * dq, s * dr + c * dq);
        let stem = (x.abs() - stroke).max(y.abs() - height * 0.5);
        let foot = ((x - width * 0.5 + stroke).abs() - width * 0.5).max((y - height * 0.5 + stroke).abs() - stroke);
        let cover = (0.5 - stem.min(foot)).clamp(0.0, 1.0);
        *i *= 1.0 - 0.985 * cover;
    }
}

/// Multi-scale processing and the characteristic curve of a presentation image.
fn curve(density: Array2<f32>, paths: &Paths, beam: &Beam, field: [usize; 4]) -> Array2<u16> {
    let n = beam.size;
    let mm = 1.0 / beam.pixel_mm();
    let [top, left, height, width] = field;
    // Only what was exposed may set the scale: outside, the nearest exposed value stands in.
    let inside = |r: usize, c: usize| {
        let margin = (2.0 * mm) as usize;
        density[[
            r.clamp(top + margin, (top + height).saturating_sub(margin + 1)),
            c.clamp(left + margin, (left + width).saturating_sub(margin + 1)),
        ]]
    };
    let exposed = Array2::from_shape_fn((n, n), |(r, c)| inside(r, c).max(0.6));
    let mut image = exposed.clone();
    // Dynamic range compression of the coarse structures, edge enhancement of the fine ones.
    let coarse = gaussian(&exposed, 26.0 * mm);
    let mean = coarse.mean().unwrap_or(0.0);
    Zip::from(&mut image).and(&coarse).for_each(|i, c| *i -= 0.40 * (c - mean));
    sharpen(&mut image, &exposed, &gaussian(&exposed, 5.0 * mm), 0.24);
    sharpen(&mut image, &exposed, &gaussian(&exposed, 1.3 * mm), 0.55);
    sharpen(&mut image, &exposed, &gaussian(&exposed, 0.45 * mm), 0.5);
    let step = (n / 512).max(1);
    let pick = |keep: &dyn Fn(usize, usize) -> bool| -> Vec<f32> {
        (top..top + height)
            .step_by(step)
            .flat_map(|r| (left..left + width).step_by(step).map(move |c| (r, c)))
            .filter(|&(r, c)| keep(r, c))
            .map(|(r, c)| image[[r, c]])
            .collect()
    };
    let lung = |r: usize, c: usize| {
        paths.organs[0][[r, c]].max(paths.organs[1][[r, c]]) > 110.0 && paths.organs[2][[r, c]] < 1.0
    };
    let dense = |r: usize, c: usize| paths.water[[r, c]] > 60.0;
    let (dark, bright) = (quantile(&mut pick(&lung), 0.30), quantile(&mut pick(&dense), 0.93));
    // A logistic curve through two points: dark lung at 0.23, dense abdomen and spine at 0.86.
    let logit = |p: f32| (p / (1.0 - p)).ln();
    let slope = (logit(0.86) - logit(0.23)) / (bright - dark).max(0.2);
    let middle = dark - logit(0.23) / slope;
    // Open beam becomes black.
    let open = |r: usize, c: usize| paths.water[[r, c]] < 4.0;
    let tone = |i: f32| 1.0 / (1.0 + (-slope * (i - middle)).exp());
    let mut air = pick(&open);
    let black = if air.len() > 50 { tone(quantile(&mut air, 0.8)).min(0.12) } else { 0.03 };
    Array2::from_shape_fn((n, n), |(r, c)| {
        let exposed = (top..top + height).contains(&r) && (left..left + width).contains(&c);
        if !exposed {
            return 0;
        }
        let y = ((tone(image[[r, c]]) - black) / (0.99 - black)).clamp(0.0, 1.0);
        (y * 4095.0).round() as u16
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ray_projection_and_matrix_agree() {
        let beam = Beam { size: 500, rotation: 0.03, height: -18.0, detector_y: -140.0 };
        let [column, row, depth] = beam.matrix();
        for (r, c) in [(0.0, 0.0), (100.0, 400.0), (499.0, 250.0)] {
            let (source, pixel) = beam.ray(r, c);
            let p = source.lerp(pixel, 0.9);
            let (row_found, column_found) = beam.project(p);
            assert!((row_found - r).abs() < 0.05 && (column_found - c).abs() < 0.05, "{row_found} {column_found}");
            let h = [p.x, p.y, p.z, 1.0].map(f64::from);
            let dot = |m: [f64; 4]| m.iter().zip(h).map(|(a, b)| a * b).sum::<f64>();
            assert!((dot(row) / dot(depth) - f64::from(r)).abs() < 0.05);
            assert!((dot(column) / dot(depth) - f64::from(c)).abs() < 0.05);
        }
    }

    #[test]
    fn a_slab_of_water_casts_its_thickness() {
        let grid = Grid { size: [60, 50, 60], origin: v(-60.0, -50.0, -60.0), spacing: v(2.0, 2.0, 2.0) };
        let mut hu = Array3::from_elem((60, 50, 60), -1000_i16);
        hu.slice_mut(ndarray::s![.., 10..30, ..]).fill(0);
        let mut label = Array3::zeros((60, 50, 60));
        label.slice_mut(ndarray::s![.., 10..20, ..]).fill(LEFT_LUNG | (2 << LESION_SHIFT));
        let beam = Beam { size: 64, rotation: 0.0, height: 0.0, detector_y: -140.0 };
        let paths = project(&Painted { hu, label }, &grid, &beam, 2, &Task::new()).expect("not cancelled");
        assert!((paths.water[[32, 32]] - 40.0).abs() < 0.1, "{}", paths.water[[32, 32]]);
        assert!((paths.organs[0][[32, 32]] - 20.0).abs() < 0.1);
        assert!((paths.lesions[1][[32, 32]] - 20.0).abs() < 0.1 && paths.lesions[0][[32, 32]] == 0.0);
        assert_eq!(paths.water[[0, 0]], 0.0);
    }
}
