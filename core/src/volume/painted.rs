//! What was painted on the slices of a volume, as a volume of its own, so that planes cut it as they cut the image.

use super::{Volume, Voxels};
use crate::measure::Runs;
use crate::study::DisplayAttributes;

impl Volume {
    /// The pixels painted on slices (each slice with its pixels, numbered row by row) as voxels of 1 among voxels of 0: the part of this lattice
    /// around them, one voxel of rim on each side where the lattice has one. Half way between 0 and 1 is the edge of what was painted: its own
    /// pixels within a slice, half the way to the next slice across. `None` where nothing was painted on slices of this volume.
    pub fn of_painted(&self, slices: &[(usize, &Runs)]) -> Option<Self> {
        let shape @ [depth, rows, columns] = self.grid.shape();
        let inside = slices.iter().filter(|(slice, _)| *slice < depth);
        let bounds = inside.filter_map(|(slice, pixels)| {
            let [top, left, bottom, right] = pixels.bounds(columns)?;
            // A region of another size than the slice has no place here.
            (bottom < rows).then_some([[*slice, top, left], [*slice, bottom, right]])
        });
        let [first, last] = bounds.reduce(|a, b| {
            let each = |pick: fn(usize, usize) -> usize, end: usize| {
                std::array::from_fn(|axis| pick(a[end][axis], b[end][axis]))
            };
            [each(usize::min, 0), each(usize::max, 1)]
        })?;
        let first = first.map(|v: usize| v.saturating_sub(1));
        let end: [usize; 3] = std::array::from_fn(|axis| (last[axis] + 2).min(shape[axis]));
        // Fewer than three slices are no lattice.
        let low = first[0].min(depth.saturating_sub(3));
        let (first, end) = ([low, first[1], first[2]], [end[0].max(low + 3).min(depth), end[1], end[2]]);
        let size: [usize; 3] = std::array::from_fn(|axis| end[axis] - first[axis]);
        let mut voxels = vec![0_u8; size.iter().product()];
        for (slice, pixels) in slices.iter().filter(|(slice, _)| (first[0]..end[0]).contains(slice)) {
            for (from, count) in pixels.as_slice() {
                let (mut at, stop) = (*from as usize, (*from + *count) as usize);
                while at < stop {
                    let (row, column) = (at / columns, at % columns);
                    let to = (column + stop - at).min(columns);
                    at += to - column;
                    let within = (first[1]..end[1]).contains(&row) && column >= first[2] && to <= end[2];
                    let line = within.then(|| ((slice - first[0]) * size[1] + row - first[1]) * size[2]);
                    if let Some(line) = line {
                        voxels[line + column - first[2]..line + to - first[2]].fill(1);
                    }
                }
            }
        }
        Some(Self {
            grid: self.grid.part(first, size),
            voxels: Voxels::U8(voxels),
            places: Vec::new(),
            rescale: (1.0, 0.0),
            frame_of_reference: self.frame_of_reference.clone(),
            display: DisplayAttributes::default(),
            notes: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Grid, Plane, PlaneKind, Slab, Vector};
    use super::*;

    /// Slices 2 mm apart, sheared, of 20 by 30 pixels of 0.5 mm.
    fn volume(depths: &[f64]) -> Volume {
        let positions: Vec<Vector> = depths.iter().map(|z| [10.0, 20.0 + 0.1 * z, *z]).collect();
        let grid = Grid::new(&positions, (20, 30), [0.0, 0.5, 0.0], [0.5, 0.0, 0.0]).expect("a lattice");
        let voxels = Voxels::U8(vec![0; depths.len() * 600]);
        let display = DisplayAttributes::default();
        Volume {
            grid,
            voxels,
            places: Vec::new(),
            rescale: (1.0, 0.0),
            frame_of_reference: None,
            display,
            notes: Vec::new(),
        }
    }

    #[test]
    fn painted_pixels_lie_where_their_slices_are() {
        for depths in
            [(0..12).map(|k| 2.0 * f64::from(k)).collect::<Vec<_>>(), vec![0.0, 2.0, 4.0, 6.0, 11.0, 16.0, 21.0]]
        {
            let volume = volume(&depths);
            // Rows 3 to 5, columns 4 to 9 of slice 2, and its last pixel of all; one pixel of slice 6.
            let block = Runs::new((3..6).map(|row| (row * 30 + 4, 6)).chain([(599, 1)]).collect());
            let single = Runs::new(vec![(7 * 30 + 12, 1)]);
            let painted = volume.of_painted(&[(2, &block), (6, &single), (99, &block)]).expect("it was painted");
            for slice in 0..depths.len() {
                let plane = Plane::of_slice(&volume.grid, slice);
                let values = painted.sample(&plane, Slab::default());
                let expected = if slice == 2 {
                    block.clone()
                } else if slice == 6 {
                    single.clone()
                } else {
                    Runs::default()
                };
                let seen = Runs::of_flags(values.iter().map(|value| *value > 0.99));
                assert_eq!(seen, expected, "slice {slice}");
            }
            // Half the way to its neighbours.
            let at = |z: f64| painted.nearest_value([10.0 + 0.5 * 6.0, 20.0 + 0.1 * z + 0.5 * 4.0, z]);
            assert_eq!((at(3.1), at(4.9), at(2.9), at(5.1)), (Some(1.0), Some(1.0), Some(0.0), Some(0.0)));
            let bytes = painted.bytes();
            assert!(bytes < volume.bytes(), "{bytes}");
        }
    }

    #[test]
    fn one_slice_at_either_end_is_enough_and_none_is_nothing() {
        let volume = volume(&[0.0, 2.0, 4.0, 6.0]);
        let pixels = Runs::new(vec![(0, 2)]);
        for slice in [0, 3] {
            let painted = volume.of_painted(&[(slice, &pixels)]).expect("it was painted");
            let plane = Plane::across(
                &volume.grid,
                PlaneKind::Coronal.orientation(&volume.grid),
                volume.grid.patient_from_voxel([slice as f64, 0.0, 0.0]),
                volume.grid.patient_from_voxel([0.0; 3]),
                0.0,
                0.5,
            );
            let values = painted.sample(&plane.expect("it cuts"), Slab::default());
            assert!(values.iter().any(|value| *value == 1.0));
        }
        assert!(volume.of_painted(&[(1, &Runs::default())]).is_none());
        // A region of a larger image.
        assert!(volume.of_painted(&[(1, &Runs::new(vec![(5_000, 3)]))]).is_none());
    }
}
