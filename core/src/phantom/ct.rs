//! The CT series: slices with thickness, reconstruction noise, the table.

use ndarray::{Array2, Array3, Axis, s};
use rayon::prelude::*;

use crate::task::{Cancelled, Task};

use super::filter::gaussian;
use super::geometry::{Bounds, Shape, Vec3, v};
use super::paint::{Grid, Object, Paint, Painted, paint};
use super::random::hash01;
use super::thorax::Thorax;

/// Sub-slices that one slice averages: its thickness.
const SUB_SLICES: usize = 3;

/// Paints `grid` with slices as thick as their spacing and adds noise.
pub(super) fn scan(
    thorax: &Thorax,
    objects: &[Object],
    grid: &Grid,
    seed: u64,
    task: &Task,
) -> Result<Painted, Cancelled> {
    let thin = grid.spacing.z / SUB_SLICES as f32;
    let fine = Grid {
        size: [grid.size[0], grid.size[1], grid.size[2] * SUB_SLICES],
        origin: grid.origin - v(0.0, 0.0, thin * (SUB_SLICES / 2) as f32),
        spacing: v(grid.spacing.x, grid.spacing.y, thin),
    };
    let painted = paint(thorax, objects, &fine, task, "Scanning CT")?;
    let [nx, ny, nz] = grid.size;
    let mut hu = Array3::<i16>::zeros((nz, ny, nx));
    let label = painted.label.slice(s![SUB_SLICES / 2..;SUB_SLICES, .., ..]).to_owned();
    hu.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each(|(z, mut out)| {
        task.check()?;
        let slab = painted.hu.slice(s![z * SUB_SLICES..(z + 1) * SUB_SLICES, .., ..]);
        let mean = slab.mapv(f32::from).mean_axis(Axis(0)).unwrap_or_else(|| Array2::zeros((ny, nx)));
        let value = reconstruct(&mean, grid, z, seed);
        out.zip_mut_with(&value, |o, v| *o = v.round().clamp(-1024.0, 3071.0) as i16);
        Ok(())
    })?;
    Ok(Painted { hu, label })
}

/// Kernel blur, correlated noise that grows with what the rays passed, and the round field of view.
fn reconstruct(slice: &Array2<f32>, grid: &Grid, z: usize, seed: u64) -> Array2<f32> {
    let (ny, nx) = slice.dim();
    let mut image = gaussian(slice, 0.45);
    let mm = 1.0 / grid.spacing.x;
    // Mean attenuation along rows and columns stands for the rays through a voxel.
    let along = |axis: usize| slice.mapv(|h| (h + 1000.0).max(0.0) * 1e-3).mean_axis(Axis(axis));
    let (rows, columns) = (along(1), along(0));
    let salt = seed as u32 ^ 0x0c70_0000;
    let normal = |x: usize, y: usize, k: i32| {
        let sum: f32 = (0..4).map(|i| hash01(x as i32, y as i32, (z as i32 * 2 + k) * 4 + i, salt)).sum();
        (sum - 2.0) * 1.732
    };
    // Filtered back projection leaves noise without coarse waves: white noise, blurred, less its coarser part.
    let white = Array2::from_shape_fn((ny, nx), |(y, x)| normal(x, y, 0));
    let fine = gaussian(&white, 0.7);
    let coarse = gaussian(&white, 2.2);
    let streak_seed = Array2::from_shape_fn((ny, 1), |(y, _)| normal(0, y, 1));
    let streaks = gaussian(&streak_seed, 0.8);
    for ((y, x), value) in image.indexed_iter_mut() {
        let path = match (&rows, &columns) {
            (Some(rows), Some(columns)) => rows[y].max(0.02) * nx as f32 / mm * 0.6 + columns[x] * ny as f32 / mm * 0.4,
            _ => 150.0,
        };
        let sigma = (3.2 * (path * 0.0085).exp()).min(24.0);
        let streak = streaks[[y, 0]] * (path - 190.0).clamp(0.0, 120.0) * 0.09;
        *value += (fine[[y, x]] - coarse[[y, x]]) * 2.6 * sigma + streak;
        let p = grid.position(x, y, z);
        let r2 = p.x * p.x + (p.y - grid.origin.y - grid.spacing.y * (ny as f32 - 1.0) * 0.5).powi(2);
        let fov = grid.spacing.x * nx as f32 * 0.5;
        if r2 > fov * fov {
            *value = -1024.0;
        }
    }
    image
}

/// The couch: a thin hard shell around foam, under the back.
pub(super) fn table(back_y: f32) -> Object {
    struct Couch {
        top: f32,
    }
    impl Shape for Couch {
        fn bounds(&self) -> Bounds {
            Bounds { low: v(-215.0, self.top - 60.0, -1e4), high: v(215.0, self.top + 40.0, 1e4) }
        }
        fn distance(&self, p: Vec3) -> f32 {
            // A shallow trough, 35 mm thick.
            let sag = self.top - 0.0011 * p.x * p.x;
            (sag - p.y).max(p.y - sag - 35.0 + 0.0006 * p.x * p.x).max(p.x.abs() - 205.0)
        }
    }
    Object::of([Couch { top: back_y }], Paint::Shell { shell: -150.0, inside: -940.0, mm: 2.0 })
}
