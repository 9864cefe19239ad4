//! The PET series of the same patient, in the same frame of reference: uptake by tissue, seen through a scanner's blur, on coarser voxels.

use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;

use super::filter::gaussian;
use super::random::hash01;
use super::thorax::{CARDIOMEDIASTINUM, LEFT_LUNG, RIGHT_LUNG};
use super::{Ct, Lesion, LesionKind};
use crate::task::{Cancelled, Task};

/// The simulated PET series.
#[derive(Debug, Clone)]
pub struct Pet {
    /// SUV by body weight, g/mL, `[slice, row, column]`, ordered as [`Ct::hu`].
    pub suv: Array3<f32>,
    /// Centre of the first voxel in the patient (LPS), mm: on no voxel of the CT.
    pub origin_mm: [f64; 3],
    /// Distance of slices, rows and columns, mm.
    pub spacing_mm: [f64; 3],
}

/// Distance of voxels: of slices, and of rows and columns, mm.
const SLICE_MM: f64 = 3.0;
const PIXEL_MM: f64 = 4.07;
/// The scanner's point spread, full width at half maximum, mm.
const BLUR_MM: f64 = 6.0;
const FWHM_PER_DEVIATION: f64 = 2.354_82;

/// SUV of a voxel of the CT, by what it is.
fn uptake(hu: i16, organ: u8, lesion: Option<LesionKind>) -> f32 {
    match (lesion, organ) {
        (Some(LesionKind::SolidNodule), _) => 7.0,
        (Some(LesionKind::Consolidation), _) => 3.5,
        (Some(LesionKind::PartSolidNodule), _) => 2.5,
        (Some(LesionKind::GroundGlassOpacity), _) => 1.4,
        (Some(LesionKind::GroundGlassNodule), _) => 1.0,
        (None, LEFT_LUNG | RIGHT_LUNG) => 0.5,
        // Without the trachea.
        (None, CARDIOMEDIASTINUM) if hu > -300 => 1.8,
        // Air and foam, fat, marrow, muscle.
        _ if hu < -300 => 0.0,
        _ if hu < -40 => 0.3,
        _ if hu > 250 => 1.2,
        _ => 0.9,
    }
}

/// Simulates the PET of a patient whose CT and lesions are given.
pub fn simulate_pet(lesions: &[Lesion], ct: &Ct, seed: u64, task: &Task) -> Result<Pet, Cancelled> {
    let [ct_slice, ct_row, ct_column] = ct.spacing_mm;
    let deviation = BLUR_MM / FWHM_PER_DEVIATION;
    let kind = |number: u8| lesions.iter().find(|lesion| lesion.id == number).map(|lesion| lesion.kind);
    let (slices, rows, columns) = ct.hu.dim();
    let blurred: Vec<Array2<f32>> = (0..slices)
        .into_par_iter()
        .map(|z| {
            task.check()?;
            let slice = Array2::from_shape_fn((rows, columns), |(y, x)| {
                uptake(ct.hu[[z, y, x]], ct.organs[[z, y, x]], kind(ct.lesions[[z, y, x]]))
            });
            Ok(gaussian(&slice, (deviation / ct_column) as f32))
        })
        .collect::<Result<_, Cancelled>>()?;
    let count = |length: f64, step: f64| (length / step).floor() as usize + 1;
    let side = |pixels: usize, mm: f64| count((pixels - 1) as f64 * mm, PIXEL_MM);
    let shape = (count((slices - 1) as f64 * ct_slice, SLICE_MM), side(rows, ct_row), side(columns, ct_column));
    // Off the voxels of the CT, so that nothing fits by chance.
    let shift = [0.4, 1.3, -0.9];
    let depth_deviation = deviation.max(0.5 * ct_slice);
    let mut suv = Array3::zeros(shape);
    suv.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each(|(z, mut out)| {
        task.check()?;
        let height = (shift[0] + z as f64 * SLICE_MM) / ct_slice;
        let weights: Vec<f64> =
            (0..slices).map(|k| (-0.5 * ((k as f64 - height) * ct_slice / depth_deviation).powi(2)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let near: Vec<(&Array2<f32>, f32)> = blurred
            .iter()
            .zip(&weights)
            .filter(|(_, weight)| **weight > 0.005)
            .map(|(slice, weight)| (slice, (*weight / sum) as f32))
            .collect();
        for ((y, x), value) in out.indexed_iter_mut() {
            let row = (shift[1] + y as f64 * PIXEL_MM) / ct_row;
            let column = (shift[2] + x as f64 * PIXEL_MM) / ct_column;
            let mean: f32 = near.iter().map(|(slice, weight)| weight * bilinear(slice, row, column)).sum();
            let normal: f32 = (0..4).map(|i| hash01(x as i32, y as i32, z as i32 * 4 + i, seed as u32 ^ 0x9e7)).sum();
            *value = (mean + 0.09 * mean.max(0.0).sqrt() * (normal - 2.0) * 1.732).max(0.0);
        }
        Ok::<(), Cancelled>(())
    })?;
    let origin_mm = std::array::from_fn(|axis| ct.origin_mm[axis] + shift[2 - axis]);
    Ok(Pet { suv, origin_mm, spacing_mm: [SLICE_MM, PIXEL_MM, PIXEL_MM] })
}

/// The value between four pixels; beyond the edge that of the edge.
fn bilinear(slice: &Array2<f32>, row: f64, column: f64) -> f32 {
    let (rows, columns) = slice.dim();
    let split = |at: f64, count: usize| {
        let at = at.clamp(0.0, (count - 1) as f64);
        (at as usize, (at as usize + 1).min(count - 1), at.fract() as f32)
    };
    let ((r0, r1, fr), (c0, c1, fc)) = (split(row, rows), split(column, columns));
    let line = |r: usize| slice[[r, c0]] + fc * (slice[[r, c1]] - slice[[r, c0]]);
    line(r0) + fr * (line(r1) - line(r0))
}
