//! Connected pieces of a lattice of probabilities.

use crate::volume::{Grid, Vector, length, minus};

/// A connected piece: voxels (slice, row, column) that touch by a face.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) voxels: Vec<[usize; 3]>,
    /// The voxel of the highest value, and that value; where many share it, the one nearest to their middle.
    pub(super) peak: ([usize; 3], u8),
}

/// Pieces at or above `threshold` of an array `[slice, row, column]`, in the order of their first voxels.
pub(super) fn pieces(values: &[u8], shape: [usize; 3], threshold: u8) -> Vec<Piece> {
    let [slices, rows, columns] = shape;
    let mut seen = vec![false; values.len()];
    let index = |[k, r, c]: [usize; 3]| (k * rows + r) * columns + c;
    let mut found = Vec::new();
    let mut open = Vec::new();
    for start in 0..values.len() {
        if seen[start] || values[start] < threshold {
            continue;
        }
        seen[start] = true;
        open.push([start / (rows * columns), start / columns % rows, start % columns]);
        let mut voxels = Vec::new();
        let (mut highest, mut value_there) = (Vec::new(), 0);
        while let Some(at) = open.pop() {
            voxels.push(at);
            let value = values[index(at)];
            if value > value_there {
                highest.clear();
                value_there = value;
            }
            if value == value_there {
                highest.push(at);
            }
            for (axis, count) in [slices, rows, columns].into_iter().enumerate() {
                for step in [-1_isize, 1] {
                    let Some(next) = at[axis].checked_add_signed(step).filter(|next| *next < count) else { continue };
                    let mut other = at;
                    other[axis] = next;
                    let i = index(other);
                    if !seen[i] && values[i] >= threshold {
                        seen[i] = true;
                        open.push(other);
                    }
                }
            }
        }
        found.push(Piece { peak: (middle(&highest), value_there), voxels });
    }
    found
}

/// The voxel nearest to the middle of `voxels`: a network that is sure has a plateau for a peak.
fn middle(voxels: &[[usize; 3]]) -> [usize; 3] {
    let count = voxels.len().max(1) as f64;
    let centre: Vector = std::array::from_fn(|axis| voxels.iter().map(|at| at[axis] as f64).sum::<f64>() / count);
    let away = |at: &&[usize; 3]| length(minus(at.map(|x| x as f64), centre));
    voxels.iter().min_by(|a, b| away(a).total_cmp(&away(b))).copied().unwrap_or_default()
}

/// Volume of a voxel, mm³, for each slice: half the way to its neighbours.
pub(super) fn voxel_mm3(grid: &Grid) -> Vec<f64> {
    let [slices, ..] = grid.shape();
    let at = |voxel: Vector| grid.patient_from_voxel(voxel);
    let origin = at([0.0, 0.0, 0.0]);
    let (down, right) = (minus(at([0.0, 1.0, 0.0]), origin), minus(at([0.0, 0.0, 1.0]), origin));
    let face = crate::volume::cross(right, down);
    let gap = |k: usize| {
        let (from, to) = (at([k as f64, 0.0, 0.0]), at([k as f64 + 1.0, 0.0, 0.0]));
        crate::volume::dot(minus(to, from), face).abs()
    };
    (0..slices)
        .map(|k| {
            let before = k.checked_sub(1).map(gap);
            let after = (k + 1 < slices).then(|| gap(k));
            let beside = [before, after];
            beside.iter().flatten().sum::<f64>() / beside.iter().flatten().count().max(1) as f64
        })
        .collect()
}

impl Piece {
    /// Its volume, mm³.
    pub(super) fn mm3(&self, voxel_mm3: &[f64]) -> f64 {
        self.voxels.iter().filter_map(|[k, ..]| voxel_mm3.get(*k)).sum()
    }

    /// Longest distance between two of its voxels, from edge to edge, mm: between the furthest ones in many directions.
    pub(super) fn longest_mm(&self, grid: &Grid) -> f64 {
        let place = |at: &[usize; 3]| grid.patient_from_voxel(at.map(|x| x as f64));
        let points: Vec<Vector> = self.voxels.iter().map(place).collect();
        let mut furthest: Vec<Vector> = Vec::new();
        for direction in directions() {
            let reach = |point: &&Vector| crate::volume::dot(**point, direction);
            furthest.extend(points.iter().max_by(|a, b| reach(a).total_cmp(&reach(b))));
        }
        let mut longest: (f64, Vector) = (0.0, [0.0; 3]);
        for (index, a) in furthest.iter().enumerate() {
            for b in &furthest[index + 1..] {
                let between = minus(*a, *b);
                if length(between) > longest.0 {
                    longest = (length(between), between);
                }
            }
        }
        // From centre to centre; each end reaches half a voxel further.
        let along = crate::volume::unit(longest.1).map_or(grid.spacing()[1], |direction| grid.step_mm(direction));
        longest.0 + along
    }

    /// Its centre on each slice that it reaches, in the patient, from the first slice on.
    pub(super) fn track(&self, grid: &Grid) -> Vec<Vector> {
        let first = self.voxels.iter().map(|[k, ..]| *k).min().unwrap_or(0);
        let last = self.voxels.iter().map(|[k, ..]| *k).max().unwrap_or(0);
        let mut sums = vec![(0.0, 0.0, 0.0); last + 1 - first];
        for [k, r, c] in &self.voxels {
            let sum = &mut sums[k - first];
            *sum = (sum.0 + *r as f64, sum.1 + *c as f64, sum.2 + 1.0);
        }
        let centre = |(k, (r, c, n)): (usize, (f64, f64, f64))| {
            // A piece is connected: it meets every slice between its first and its last.
            grid.patient_from_voxel([(first + k) as f64, r / f64::max(n, 1.0), c / f64::max(n, 1.0)])
        };
        sums.into_iter().enumerate().map(centre).collect()
    }
}

/// Directions spread evenly over the sphere (a Fibonacci lattice).
fn directions() -> impl Iterator<Item = Vector> {
    const COUNT: usize = 128;
    let golden = std::f64::consts::PI * (5.0_f64.sqrt() - 1.0);
    (0..COUNT).map(move |i| {
        let z = 1.0 - 2.0 * (i as f64 + 0.5) / COUNT as f64;
        let (radius, angle) = ((1.0 - z * z).sqrt(), golden * i as f64);
        [radius * angle.cos(), radius * angle.sin(), z]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let positions: Vec<Vector> = (0..20).map(|k| [0.0, 0.0, f64::from(k) * 2.5]).collect();
        Grid::new(&positions, (30, 30), [0.0, 2.0, 0.0], [2.0, 0.0, 0.0]).expect("a lattice")
    }

    #[test]
    fn a_plateau_peaks_in_its_middle() {
        let mut values = vec![0; 20 * 900];
        for (k, r, c) in (4..9).flat_map(|k| (10..17).flat_map(move |r| (20..25).map(move |c| (k, r, c)))) {
            values[(k * 30 + r) * 30 + c] = 255;
        }
        assert_eq!(pieces(&values, [20, 30, 30], 128)[0].peak, ([6, 13, 22], 255));
    }

    #[test]
    fn a_ball_has_its_volume_and_diameter() {
        let grid = grid();
        let centre = [28.0, 30.0, 24.0];
        let radius = 14.0;
        let values: Vec<u8> = (0..20 * 900)
            .map(|i| {
                let at = [(i / 900) as f64, (i / 30 % 30) as f64, (i % 30) as f64];
                let away = length(minus(grid.patient_from_voxel(at), centre));
                if away < radius { 200 - away as u8 } else { 10 }
            })
            .collect();
        let found = pieces(&values, grid.shape(), 128);
        assert_eq!(found.len(), 1);
        let ball = 4.0 / 3.0 * std::f64::consts::PI * radius.powi(3);
        let mm3 = found[0].mm3(&voxel_mm3(&grid));
        assert!((mm3 / ball - 1.0).abs() < 0.05, "{mm3} of {ball}");
        let longest = found[0].longest_mm(&grid);
        assert!((longest - 2.0 * radius).abs() < 2.5, "{longest}");
        assert!(found[0].peak.1 >= 199, "the middle is the highest");
        let track = found[0].track(&grid);
        assert!(track.iter().all(|p| (p[0] - centre[0]).abs() < 0.5 && (p[1] - centre[1]).abs() < 0.5));
    }

    #[test]
    fn pieces_touch_by_faces_alone() {
        let mut values = vec![0_u8; 27];
        values[0] = 9;
        values[13] = 9;
        values[14] = 12;
        let found = pieces(&values, [3, 3, 3], 9);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].peak, ([1, 1, 2], 12));
        assert!(pieces(&[], [0, 3, 3], 9).is_empty());
    }

    #[test]
    fn uneven_slices_have_voxels_of_their_own() {
        let positions = [0.0, 1.0, 3.0, 5.0].map(|z| [0.0, 0.0, z]);
        let grid = Grid::new(&positions, (2, 2), [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]).expect("a lattice");
        assert_eq!(voxel_mm3(&grid), [1.0, 1.5, 2.0, 2.0]);
    }
}
