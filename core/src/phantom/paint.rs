//! From shapes to voxels: a grid, a list of painted objects, and the painter that goes through it slice by slice.

use ndarray::{Array3, Axis};
use rayon::prelude::*;

use crate::task::{Cancelled, Task};

use super::geometry::{Bounds, Shape, Vec3, v};
use super::thorax::{LEFT_LUNG, LESION_SHIFT, ORGAN_MASK, RIGHT_LUNG, Thorax};

/// A regular grid in the patient: arrays over it are `[slice, row, column]` = `[z, y, x]`, all ascending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Number of voxels along x, y, z.
    pub size: [usize; 3],
    /// Centre of the first voxel, mm.
    pub origin: Vec3,
    /// Voxel size, mm.
    pub spacing: Vec3,
}

impl Grid {
    pub fn position(&self, x: usize, y: usize, z: usize) -> Vec3 {
        self.origin + v(x as f32, y as f32, z as f32).scale(self.spacing)
    }

    /// The indices along x and y that a box covers.
    fn range(&self, low: f32, high: f32, axis: usize) -> std::ops::Range<usize> {
        let (origin, spacing) =
            if axis == 0 { (self.origin.x, self.spacing.x) } else { (self.origin.y, self.spacing.y) };
        let start = ((low - origin) / spacing).ceil().max(0.0) as usize;
        let end = ((high - origin) / spacing).floor() + 1.0;
        start..(end.max(0.0) as usize).min(self.size[axis])
    }
}

/// How the inside of an object looks.
pub(super) enum Paint {
    /// One value.
    Solid(f32),
    /// A shell of `mm` and an inside.
    Shell { shell: f32, inside: f32, mm: f32 },
    /// A value for each place: position, signed distance, what was there before. `None` leaves it.
    Field(Box<dyn Fn(Vec3, f32, f32) -> Option<f32> + Send + Sync>),
}

/// How an object's value meets what is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blend {
    Over,
    /// Only where it is denser: vessels in consolidated lung stay hidden.
    Denser,
}

/// One thing to paint: the union of its parts.
pub(super) struct Object {
    pub parts: Vec<Box<dyn Shape>>,
    pub paint: Paint,
    pub blend: Blend,
    /// Only inside the lungs.
    pub in_lung: bool,
    /// Organ label to set.
    pub organ: Option<u8>,
    /// Lesion number to set (from 1).
    pub lesion: Option<u8>,
    /// How far outside its shapes the paint may reach, mm.
    pub reach: f32,
}

impl Object {
    pub fn new(parts: Vec<Box<dyn Shape>>, paint: Paint) -> Self {
        Self { parts, paint, blend: Blend::Over, in_lung: false, organ: None, lesion: None, reach: 0.0 }
    }

    pub fn of<S: Shape + 'static>(parts: impl IntoIterator<Item = S>, paint: Paint) -> Self {
        Self::new(parts.into_iter().map(|p| Box::new(p) as Box<dyn Shape>).collect(), paint)
    }

    pub fn organ(mut self, organ: u8) -> Self {
        self.organ = Some(organ);
        self
    }
}

/// Painted voxels: HU and labels, `[z, y, x]`.
pub(super) struct Painted {
    pub hu: Array3<i16>,
    pub label: Array3<u8>,
}

/// Paints the whole body on `grid`.
pub(super) fn paint(
    thorax: &Thorax,
    objects: &[Object],
    grid: &Grid,
    task: &Task,
    stage: &str,
) -> Result<Painted, Cancelled> {
    let [nx, ny, nz] = grid.size;
    let mut hu = Array3::<i16>::zeros((nz, ny, nx));
    let mut label = Array3::<u8>::zeros((nz, ny, nx));
    let bounds: Vec<Vec<Bounds>> = objects.iter().map(|o| o.parts.iter().map(|p| p.bounds()).collect()).collect();
    let done = std::sync::atomic::AtomicU64::new(0);
    hu.axis_iter_mut(Axis(0))
        .into_par_iter()
        .zip(label.axis_iter_mut(Axis(0)).into_par_iter())
        .enumerate()
        .try_for_each(|(z, (mut hu, mut label))| {
            task.check()?;
            let mut slice = Slice::new(grid, z);
            slice.base(thorax);
            for (object, bounds) in objects.iter().zip(&bounds) {
                slice.object(object, bounds);
            }
            for (target, value) in hu.iter_mut().zip(&slice.hu) {
                *target = value.round().clamp(-1024.0, 3071.0) as i16;
            }
            for (target, value) in label.iter_mut().zip(&slice.label) {
                *target = *value;
            }
            task.progress(stage, 1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed), nz as u64);
            Ok(())
        })?;
    Ok(Painted { hu, label })
}

struct Slice<'a> {
    grid: &'a Grid,
    z: usize,
    hu: Vec<f32>,
    label: Vec<u8>,
    distance: Vec<f32>,
    /// Voxel size in the slice, over which borders are blended.
    voxel: f32,
}

impl<'a> Slice<'a> {
    fn new(grid: &'a Grid, z: usize) -> Self {
        let n = grid.size[0] * grid.size[1];
        let voxel = (grid.spacing.x + grid.spacing.y) * 0.5;
        Self { grid, z, hu: vec![-1000.0; n], label: vec![0; n], distance: vec![f32::INFINITY; n], voxel }
    }

    fn base(&mut self, thorax: &Thorax) {
        let nx = self.grid.size[0];
        for y in 0..self.grid.size[1] {
            for x in 0..nx {
                let tissue = thorax.tissue(self.grid.position(x, y, self.z), self.voxel);
                self.hu[y * nx + x] = tissue.hu;
                self.label[y * nx + x] = tissue.organ;
            }
        }
    }

    fn object(&mut self, object: &Object, bounds: &[Bounds]) {
        let nx = self.grid.size[0];
        let margin = self.voxel + object.reach;
        let height = self.grid.position(0, 0, self.z).z;
        let (mut x0, mut x1, mut y0, mut y1) = (usize::MAX, 0, usize::MAX, 0);
        for (part, bound) in object.parts.iter().zip(bounds) {
            if height < bound.low.z - margin || height > bound.high.z + margin {
                continue;
            }
            let columns = self.grid.range(bound.low.x - margin, bound.high.x + margin, 0);
            let rows = self.grid.range(bound.low.y - margin, bound.high.y + margin, 1);
            if columns.is_empty() || rows.is_empty() {
                continue;
            }
            for y in rows.clone() {
                for x in columns.clone() {
                    let d = part.distance(self.grid.position(x, y, self.z));
                    let slot = &mut self.distance[y * nx + x];
                    *slot = slot.min(d);
                }
            }
            (x0, x1) = (x0.min(columns.start), x1.max(columns.end));
            (y0, y1) = (y0.min(rows.start), y1.max(rows.end));
        }
        for y in y0..y1 {
            for x in x0..x1 {
                let i = y * nx + x;
                let d = std::mem::replace(&mut self.distance[i], f32::INFINITY);
                if d < margin {
                    self.mix(object, i, d, x, y);
                }
            }
        }
    }

    fn mix(&mut self, object: &Object, i: usize, d: f32, x: usize, y: usize) {
        let organ = self.label[i] & ORGAN_MASK;
        if object.in_lung && organ != LEFT_LUNG && organ != RIGHT_LUNG {
            return;
        }
        let before = self.hu[i];
        let cover = |d: f32| (0.5 - d / self.voxel).clamp(0.0, 1.0);
        let (value, share) = match &object.paint {
            Paint::Solid(hu) => (*hu, cover(d)),
            Paint::Shell { shell, inside, mm } => (shell + (inside - shell) * cover(d + mm), cover(d)),
            Paint::Field(field) => match field(self.grid.position(x, y, self.z), d, before) {
                Some(hu) => (hu, 1.0),
                None => return,
            },
        };
        let after = before + (value - before) * share;
        self.hu[i] = if object.blend == Blend::Denser { after.max(before) } else { after };
        let labelled = if object.reach > 0.0 { d < 0.0 } else { share > 0.5 };
        if labelled {
            if let Some(organ) = object.organ {
                // An organ painted over a lesion hides it.
                self.label[i] = organ;
            }
            if let Some(lesion) = object.lesion {
                self.label[i] = (self.label[i] & ORGAN_MASK) | (lesion << LESION_SHIFT);
            }
        }
    }
}
