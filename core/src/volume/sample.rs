//! Planes out of a volume: trilinear interpolation, and projections through a slab.

use std::str::FromStr;

use ndarray::Array2;
use rayon::prelude::*;

use super::grid::Grid;
use super::plane::Plane;
use super::{Volume, Voxels};
use crate::study::{DisplayAttributes, Frame, GrayPixels, PixelSpacing, Pixels, SpacingKind};

/// What is shown of the values along a line through a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Projection {
    /// Maximum intensity projection.
    #[default]
    Mip,
    /// Minimum intensity projection.
    MinIp,
    /// Mean.
    Mean,
}

impl Projection {
    /// All.
    pub const ALL: [Self; 3] = [Self::Mip, Self::MinIp, Self::Mean];

    /// Its name, as readers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mip => "MIP",
            Self::MinIp => "MinIP",
            Self::Mean => "Mean",
        }
    }
}

/// A name that is no projection's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no projection: give mip, minip or mean")]
pub struct UnknownProjection(String);

impl FromStr for Projection {
    type Err = UnknownProjection;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|projection| projection.name().eq_ignore_ascii_case(text));
        named.ok_or_else(|| UnknownProjection(text.to_owned()))
    }
}

/// How thick a plane is and what is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Slab {
    /// Thickness, mm, the plane in its middle; 0 is the plane alone.
    pub thickness_mm: f64,
    /// What is shown of what lies in it.
    pub projection: Projection,
}

/// Samples along a line through a slab are at most so many.
const MOST_STEPS: usize = 2_000;

impl Volume {
    /// Values of a plane in the modality's units, `[row, column]`; NaN outside the volume and where slices are missing.
    ///
    /// Between voxels values are interpolated linearly in all three directions. Through a slab samples are taken at even
    /// distances from edge to edge, not more than a voxel apart; the mean gives the two at the edges half weight (trapezoid
    /// rule). Lines that lie in the volume in part show that part.
    pub fn sample(&self, plane: &Plane, slab: Slab) -> Array2<f32> {
        self.sample_coarsely(plane, slab, 1.0)
    }

    /// As [`Volume::sample`], samples in a slab up to `coarseness` (1 and above) voxels apart: for what moves on the screen.
    pub fn sample_coarsely(&self, plane: &Plane, slab: Slab, coarseness: f64) -> Array2<f32> {
        let mut values = vec![f32::NAN; plane.rows * plane.columns];
        let rays = Rays::new(&self.grid, plane, slab, coarseness);
        let (slope, intercept) = (self.rescale.0 as f32, self.rescale.1 as f32);
        match &self.voxels {
            Voxels::U8(voxels) => rays.cast(voxels, slope, intercept, &mut values),
            Voxels::I16(voxels) => rays.cast(voxels, slope, intercept, &mut values),
            Voxels::U16(voxels) => rays.cast(voxels, slope, intercept, &mut values),
            Voxels::F32(voxels) => rays.cast(voxels, slope, intercept, &mut values),
        }
        Array2::from_shape_vec((plane.rows, plane.columns), values)
            .unwrap_or_else(|_| Array2::from_elem((plane.rows, plane.columns), f32::NAN))
    }

    /// A plane as a frame, with its place in the patient, spacing, thickness and the windows of the series.
    pub fn reformat(&self, plane: &Plane, slab: Slab) -> Frame {
        self.frame_of(plane, slab, self.sample(plane, slab))
    }

    /// The frame of a plane whose values have been sampled.
    pub fn frame_of(&self, plane: &Plane, slab: Slab, values: Array2<f32>) -> Frame {
        let display = DisplayAttributes {
            geometry: Some(plane.geometry()),
            spacing: Some(PixelSpacing {
                row_mm: plane.spacing_mm,
                column_mm: plane.spacing_mm,
                kind: SpacingKind::Patient,
            }),
            slice_thickness_mm: (slab.thickness_mm > 0.0).then_some(slab.thickness_mm),
            ..self.display.clone()
        };
        Frame { pixels: Pixels::Gray(GrayPixels::F32(values)), display }
    }
}

/// The lines of sight of a plane, in the grid's linear coordinates (depth, row, column).
struct Rays<'a> {
    grid: &'a Grid,
    columns: usize,
    origin: [f64; 3],
    per_row: [f64; 3],
    per_column: [f64; 3],
    /// Offsets of the samples of a slab, and their weights.
    offsets: Vec<([f64; 3], f32)>,
    projection: Projection,
    /// Where the lines follow the voxels: the same places of all of them.
    along_voxels: Option<AlongVoxels>,
}

impl<'a> Rays<'a> {
    fn new(grid: &'a Grid, plane: &Plane, slab: Slab, coarseness: f64) -> Self {
        let step = |direction: [f64; 3], mm: f64| grid.oblique(direction.map(|x| x * mm));
        let orientation = &plane.orientation;
        let forward = step(orientation.normal(), 1.0);
        let thickness = if slab.thickness_mm.is_finite() { slab.thickness_mm.max(0.0) } else { 0.0 };
        let step_mm = grid.step_mm(orientation.normal()) * coarseness.max(1.0);
        let intervals = (thickness / step_mm - 1e-6).ceil().max(0.0) as usize;
        let intervals = intervals.min(MOST_STEPS);
        let offsets = if thickness == 0.0 {
            vec![([0.0; 3], 1.0)]
        } else {
            let intervals = intervals.max(1);
            (0..=intervals)
                .map(|index| {
                    let mm = thickness * (index as f64 / intervals as f64 - 0.5);
                    let weight = if index == 0 || index == intervals { 0.5 } else { 1.0 };
                    (forward.map(|x| x * mm), weight)
                })
                .collect()
        };
        let mut rays = Self {
            grid,
            columns: plane.columns,
            origin: grid.oblique_from_patient(plane.origin),
            per_row: step(orientation.column, plane.spacing_mm),
            per_column: step(orientation.row, plane.spacing_mm),
            offsets,
            projection: slab.projection,
            along_voxels: None,
        };
        rays.along_voxels = AlongVoxels::of(&rays);
        rays
    }

    fn cast<T: Copy + Into<f32> + Sync>(&self, voxels: &[T], slope: f32, intercept: f32, out: &mut [f32]) {
        let lattice = Lattice { voxels, shape: self.grid.shape() };
        out.par_chunks_mut(self.columns.max(1)).enumerate().with_min_len(8).for_each(|(row, line)| {
            let start: [f64; 3] = std::array::from_fn(|axis| self.origin[axis] + row as f64 * self.per_row[axis]);
            if let [(offset, _)] = self.offsets[..] {
                let start = std::array::from_fn(|axis| start[axis] + offset[axis]);
                self.along_line(&lattice, start, |column, value| line[column] = value * slope + intercept);
                return;
            }
            let mut weights = vec![0.0_f32; if self.projection == Projection::Mean { line.len() } else { 0 }];
            for (offset, weight) in &self.offsets {
                let start = std::array::from_fn(|axis| start[axis] + offset[axis]);
                // The extremes of NaN and a number are the number.
                match self.projection {
                    Projection::Mip => self.along_line(&lattice, start, |column, value| {
                        line[column] = line[column].max(value * slope + intercept);
                    }),
                    Projection::MinIp => self.along_line(&lattice, start, |column, value| {
                        line[column] = line[column].min(value * slope + intercept);
                    }),
                    Projection::Mean => self.along_line(&lattice, start, |column, value| {
                        let sum = if weights[column] > 0.0 { line[column] } else { 0.0 };
                        line[column] = sum + weight * (value * slope + intercept);
                        weights[column] += weight;
                    }),
                }
            }
            for (value, weight) in line.iter_mut().zip(weights) {
                *value = if weight > 0.0 { *value / weight } else { f32::NAN };
            }
        });
    }

    /// Calls `each` with column and stored value for the pixels of a line that lie in the volume.
    fn along_line<T: Copy + Into<f32>>(
        &self,
        lattice: &Lattice<'_, T>,
        start: [f64; 3],
        mut each: impl FnMut(usize, f32),
    ) {
        let step = self.per_column;
        let Some((first, last)) = inside(start, step, self.grid.limits(), self.columns) else { return };
        if let Some(along) = &self.along_voxels {
            let slice = match self.grid.even_step() {
                Some(distance) => Some(start[0] / distance),
                None => Some(self.grid.between(start[0])).filter(|(_, hole)| !hole).map(|(slice, _)| slice),
            };
            // Along the slices their own place is not the line's.
            if let Some(slice) = slice {
                along.line(lattice, [slice, start[1], start[2]], first, last, each);
            }
            return;
        }
        let at = |column: usize, axis: usize| start[axis] + column as f64 * step[axis];
        match self.grid.even_step() {
            Some(distance) => {
                let per_slice = 1.0 / distance;
                for column in first..=last {
                    each(column, lattice.at(at(column, 0) * per_slice, at(column, 1), at(column, 2)));
                }
            }
            None => {
                for column in first..=last {
                    let (slice, hole) = self.grid.between(at(column, 0));
                    if !hole {
                        each(column, lattice.at(slice, at(column, 1), at(column, 2)));
                    }
                }
            }
        }
    }
}

/// Lines that follow one axis of the voxels, all at the same places of it, as those of planes along the voxels do: neighbours and weights are
/// worked out once for all lines, and each line is interpolated across first, then along itself.
struct AlongVoxels {
    axis: usize,
    /// For each column the neighbour below its place and how far it lies beyond that.
    places: Vec<(u32, f32)>,
}

impl AlongVoxels {
    fn of(rays: &Rays<'_>) -> Option<Self> {
        // A billionth of a voxel a step is nothing over any plane.
        let moves = |step: &[f64; 3], axis: usize| step[axis].abs() > 1e-9;
        let axis = (0..3).find(|axis| moves(&rays.per_column, *axis))?;
        let others = (0..3).filter(|other| *other != axis).any(|other| moves(&rays.per_column, other));
        let shifted = moves(&rays.per_row, axis) || rays.offsets.iter().any(|(offset, _)| moves(offset, axis));
        if others || shifted {
            return None;
        }
        let count = rays.grid.shape()[axis];
        let scale = if axis == 0 { 1.0 / rays.grid.even_step()? } else { 1.0 };
        let place = |column: usize| (rays.origin[axis] + column as f64 * rays.per_column[axis]) * scale;
        let places =
            (0..rays.columns).map(|column| neighbours(place(column), count)).map(|(at, _, beyond)| (at as u32, beyond));
        Some(Self { axis, places: places.collect() })
    }

    /// Calls `each` for the columns `first` to `last` of the line that starts at a voxel (slice, row, column).
    fn line<T: Copy + Into<f32>>(
        &self,
        lattice: &Lattice<'_, T>,
        start: [f64; 3],
        first: usize,
        last: usize,
        mut each: impl FnMut(usize, f32),
    ) {
        let shape = lattice.shape;
        let strides = [shape[1] * shape[2], shape[2], 1];
        let [(a_stride, a), (b_stride, b)] = match self.axis {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        }
        .map(|other| (strides[other], neighbours(start[other], shape[other])));
        // The part of the axis that the line takes.
        let ends = [self.places[first].0 as usize, self.places[last].0 as usize];
        let low = ends[0].min(ends[1]);
        let high = (ends[0].max(ends[1]) + 1).min(shape[self.axis] - 1);
        let stride = strides[self.axis];
        let run = |a: usize, b: usize| &lattice.voxels[a * a_stride + b * b_stride + low * stride..];
        let (near, far) = ([run(a.0, b.0), run(a.0, b.1)], [run(a.1, b.0), run(a.1, b.1)]);
        let value = |run: &[T], index: usize| -> f32 { run[index * stride].into() };
        let mix = |a: f32, b: f32, beyond: f32| a + beyond * (b - a);
        let beyond = b.2;
        let between = |[a, b]: [&[T]; 2], index| mix(value(a, index), value(b, index), beyond);
        let mut across = vec![0.0_f32; high + 1 - low];
        let all = across.iter_mut().enumerate();
        match (a.2 == 0.0, b.2 == 0.0) {
            (true, true) => all.for_each(|(index, to)| *to = value(near[0], index)),
            (true, false) => all.for_each(|(index, to)| *to = between(near, index)),
            (false, true) => all.for_each(|(index, to)| *to = mix(value(near[0], index), value(far[0], index), a.2)),
            (false, false) => all.for_each(|(index, to)| *to = mix(between(near, index), between(far, index), a.2)),
        }
        for (column, (at, beyond)) in (first..=last).zip(&self.places[first..=last]) {
            let at = *at as usize - low;
            let below = across[at];
            let above = across[(at + 1).min(across.len() - 1)];
            each(column, below + beyond * (above - below));
        }
    }
}

/// First and last of `count` steps from `start` that lie within all limits.
fn inside(start: [f64; 3], step: [f64; 3], limits: [[f64; 2]; 3], count: usize) -> Option<(usize, usize)> {
    let (mut first, mut last) = (0.0_f64, count as f64 - 1.0);
    for axis in 0..3 {
        // A rim of a millionth of a voxel, so that rounding does not open a seam along the border.
        let [low, high] = [limits[axis][0] - 1e-6, limits[axis][1] + 1e-6];
        if step[axis].abs() < 1e-12 {
            if !(low..=high).contains(&start[axis]) {
                return None;
            }
            continue;
        }
        let (a, b) = ((low - start[axis]) / step[axis], (high - start[axis]) / step[axis]);
        first = first.max(a.min(b).ceil());
        last = last.min(a.max(b).floor());
    }
    (first <= last).then_some((first as usize, last as usize))
}

struct Lattice<'a, T> {
    voxels: &'a [T],
    shape: [usize; 3],
}

impl<T: Copy + Into<f32>> Lattice<'_, T> {
    /// The value between the eight voxels around a place; on the rim, of those that are there.
    #[inline]
    fn at(&self, slice: f64, row: f64, column: f64) -> f32 {
        let [slices, rows, columns] = self.shape;
        let (k0, k1, fk) = neighbours(slice, slices);
        let (r0, r1, fr) = neighbours(row, rows);
        let (c0, c1, fc) = neighbours(column, columns);
        let line = |k: usize, r: usize| {
            let start = (k * rows + r) * columns;
            let (a, b): (f32, f32) = (self.voxels[start + c0].into(), self.voxels[start + c1].into());
            a + fc * (b - a)
        };
        let (a, b) = (line(k0, r0), line(k0, r1));
        let near = a + fr * (b - a);
        if fk == 0.0 {
            return near;
        }
        let (a, b) = (line(k1, r0), line(k1, r1));
        let far = a + fr * (b - a);
        near + fk * (far - near)
    }
}

/// The two indices around a place, and how far it lies beyond the first.
#[inline]
fn neighbours(place: f64, count: usize) -> (usize, usize, f32) {
    let last = count - 1;
    let place = place.clamp(0.0, last as f64);
    let below = place as usize;
    (below, (below + 1).min(last), (place - below as f64) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::vector::{Vector, along};
    use crate::volume::{Orientation, PlaneKind};

    /// A volume whose value is a linear function of the place in the patient: interpolation must find it exactly.
    fn linear(positions: &[Vector], row_step: Vector, column_step: Vector, shape: (usize, usize)) -> Volume {
        let grid = Grid::new(positions, shape, row_step, column_step).expect("a lattice");
        let [slices, rows, columns] = grid.shape();
        let mut voxels = Vec::new();
        for k in 0..slices {
            for r in 0..rows {
                for c in 0..columns {
                    let p = grid.patient_from_voxel([k as f64, r as f64, c as f64]);
                    voxels.push(value(p) as f32);
                }
            }
        }
        Volume {
            grid,
            voxels: Voxels::F32(voxels),
            places: Vec::new(),
            rescale: (1.0, 0.0),
            frame_of_reference: None,
            display: DisplayAttributes::default(),
            notes: Vec::new(),
        }
    }

    fn value([x, y, z]: Vector) -> f64 {
        3.0 * x - 2.0 * y + 5.0 * z + 7.0
    }

    fn stack(step: Vector, count: usize) -> Vec<Vector> {
        (0..count).map(|k| step.map(|x| x * k as f64)).collect()
    }

    /// Tilted by 18.5 degrees, oblique, and with two distances.
    fn volumes() -> Vec<Volume> {
        let tilted = linear(&stack([0.0, 0.669, 2.0], 20), [0.0, 0.9, 0.0], [0.8, 0.0, 0.0], (24, 26));
        let oblique = linear(&stack([0.6, 0.0, 1.9], 20), [0.0, 0.9, 0.0], [0.76, 0.0, -0.24], (24, 26));
        let uneven: Vec<Vector> =
            (0..20).map(|k| [0.0, 0.0, if k < 10 { k as f64 } else { 3.0 * k as f64 - 18.0 }]).collect();
        vec![tilted, oblique, linear(&uneven, [0.0, 0.9, 0.0], [0.8, 0.0, 0.0], (24, 26))]
    }

    #[test]
    fn a_linear_field_is_found_on_every_plane() {
        for volume in volumes() {
            let center = volume.grid.center();
            for kind in [PlaneKind::Axial, PlaneKind::Coronal, PlaneKind::Sagittal, PlaneKind::Acquired] {
                for degrees in [0.0_f64, 31.0] {
                    let orientation = kind.orientation(&volume.grid).rotated([0.6, 0.0, 0.8], degrees.to_radians());
                    let plane = Plane::across(&volume.grid, orientation, center, center, 0.0, 0.7).expect("it cuts");
                    let mut seen = 0;
                    for ((row, column), found) in volume.sample(&plane, Slab::default()).indexed_iter() {
                        let place = plane.patient_from_pixel(row as f64, column as f64);
                        let voxel = volume.grid.voxel_from_patient(place);
                        let [k, r, c] = volume.grid.shape().map(|n| n as f64 - 1.0);
                        let within = (0.0..=k).contains(&voxel[0])
                            && (0.0..=r).contains(&voxel[1])
                            && (0.0..=c).contains(&voxel[2]);
                        if within {
                            seen += 1;
                            assert!((f64::from(*found) - value(place)).abs() < 2e-3, "{kind:?} {degrees}");
                        } else if !volume.grid.contains(place) {
                            assert!(found.is_nan());
                        }
                    }
                    assert!(seen > 200, "{kind:?} {degrees}: {seen}");
                }
            }
        }
    }

    #[test]
    fn projections_through_a_slab_of_a_linear_field() {
        // Only z changes along the normal of an axial plane: by 5 a mm.
        for volume in volumes() {
            let center = volume.grid.center();
            let orientation = PlaneKind::Axial.orientation(&volume.grid);
            let plane = Plane::across(&volume.grid, orientation, center, center, 0.0, 0.5).expect("it cuts");
            for (projection, shift) in [(Projection::Mip, 5.0), (Projection::MinIp, -5.0), (Projection::Mean, 0.0)] {
                let values = volume.sample(&plane, Slab { thickness_mm: 2.0, projection });
                let (row, column) = (plane.rows / 2, plane.columns / 2);
                let place = plane.patient_from_pixel(row as f64, column as f64);
                let found = f64::from(values[[row, column]]);
                assert!((found - value(place) - shift).abs() < 1e-2, "{projection:?}: {found}");
            }
        }
    }

    #[test]
    fn a_bright_voxel_is_kept_by_the_maximum_and_thinned_by_the_mean() {
        let grid = Grid::new(&stack([0.0, 0.0, 2.0], 9), (9, 9), [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]).expect("a lattice");
        let mut voxels = vec![0_i16; 9 * 81];
        voxels[4 * 81 + 4 * 9 + 4] = 1000;
        let volume = Volume {
            grid,
            voxels: Voxels::I16(voxels),
            places: Vec::new(),
            rescale: (2.0, -100.0),
            frame_of_reference: None,
            display: DisplayAttributes::default(),
            notes: Vec::new(),
        };
        let through = volume.grid.patient_from_voxel([4.0, 4.0, 4.0]);
        let orientation = Orientation { row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] };
        let plane = Plane::across(&volume.grid, orientation, through, through, 0.0, 1.0).expect("it cuts");
        let at = |projection| volume.sample(&plane, Slab { thickness_mm: 8.0, projection })[[4, 4]];
        assert_eq!(at(Projection::Mip), 1900.0);
        assert_eq!(at(Projection::MinIp), -100.0);
        // Five samples over four slices of 2 mm: weights 1/2, 1, 1, 1, 1/2, the third is the bright one.
        assert_eq!(at(Projection::Mean), 2000.0 / 4.0 - 100.0);
        assert_eq!(volume.nearest_value(through), Some(1900.0));
        assert_eq!(volume.nearest_value([0.0, 0.0, 99.0]), None);
        let frame = volume.reformat(&plane, Slab { thickness_mm: 8.0, projection: Projection::Mip });
        assert_eq!(frame.value_at(4, 4), Some(1900.0));
        assert_eq!(frame.display.slice_thickness_mm, Some(8.0));
        assert!("mip".parse::<Projection>().is_ok() && "max".parse::<Projection>().is_err());
    }

    #[test]
    fn lines_along_voxels_are_interpolated_as_any_others() {
        let mut volumes = volumes();
        let mut seed = 7_u32;
        for volume in &mut volumes {
            let Voxels::F32(values) = &mut volume.voxels else { panic!("floating point") };
            for value in values {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value = (seed >> 16) as f32 / 64.0;
            }
            let center = volume.grid.center();
            for kind in [PlaneKind::Axial, PlaneKind::Coronal, PlaneKind::Sagittal, PlaneKind::Acquired] {
                for (shift, spacing_mm, thickness_mm) in [([0.0; 3], 0.9, 0.0), ([0.31, 0.17, 0.77], 0.35, 5.0)] {
                    let orientation = kind.orientation(&volume.grid);
                    let through = along(center, shift, 1.0);
                    let plane = Plane::across(&volume.grid, orientation, through, center, thickness_mm, spacing_mm);
                    let (plane, slab) = (plane.expect("it cuts"), Slab { thickness_mm, projection: Projection::Mean });
                    let mut rays = Rays::new(&volume.grid, &plane, slab, 1.0);
                    let Voxels::F32(voxels) = &volume.voxels else { panic!("floating point") };
                    let cast = |rays: &Rays<'_>| {
                        let mut values = vec![f32::NAN; plane.rows * plane.columns];
                        rays.cast(voxels, 2.0, 1.0, &mut values);
                        values
                    };
                    let fast = cast(&rays);
                    rays.along_voxels = None;
                    let same = |a: &f32, b: &f32| (a.is_nan() && b.is_nan()) || (a - b).abs() < 0.02;
                    assert!(fast.iter().zip(cast(&rays)).all(|(a, b)| same(a, &b)), "{kind:?} {spacing_mm}");
                }
            }
        }
        let straight = &volumes[2].grid;
        let plane =
            Plane::across(straight, PlaneKind::Axial.orientation(straight), straight.center(), [0.0; 3], 0.0, 1.0);
        let rays = Rays::new(straight, plane.as_ref().expect("it cuts"), Slab::default(), 1.0);
        assert!(rays.along_voxels.is_some(), "an axial plane of axial slices follows the voxels");
    }

    #[test]
    fn missing_slices_are_left_black() {
        let positions: Vec<Vector> = [0.0, 1.0, 2.0, 6.0, 7.0].into_iter().map(|z| [0.0, 0.0, z]).collect();
        let volume = linear(&positions, [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], (4, 4));
        let orientation = PlaneKind::Axial.orientation(&volume.grid);
        let value_at = |z: f64| {
            let through = [0.0, 0.0, z];
            let plane = Plane::across(&volume.grid, orientation, through, [0.0; 3], 0.0, 1.0).expect("it cuts");
            volume.sample(&plane, Slab::default())[[1, 1]]
        };
        assert!(value_at(4.0).is_nan());
        assert!(!value_at(2.3).is_nan() && !value_at(6.6).is_nan());
    }

    #[test]
    fn hostile_planes_do_no_harm() {
        let volume = &volumes()[0];
        let orientation = PlaneKind::Axial.orientation(&volume.grid);
        let mut plane = Plane { origin: [f64::NAN; 3], orientation, spacing_mm: 1.0, rows: 3, columns: 3 };
        assert!(volume.sample(&plane, Slab::default()).iter().all(|v| v.is_nan()));
        plane.origin = [0.0; 3];
        plane.spacing_mm = f64::INFINITY;
        volume.sample(&plane, Slab { thickness_mm: f64::NAN, projection: Projection::Mean });
        plane.spacing_mm = 1.0;
        volume.sample(&plane, Slab { thickness_mm: 1e12, projection: Projection::Mip });
        plane.rows = 0;
        assert_eq!(volume.sample(&plane, Slab::default()).dim(), (0, 3));
    }
}
