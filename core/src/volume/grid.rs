//! Where the voxels of a stack lie in the patient: an affine map, sheared for a tilted gantry, with slices at any distances.

use super::vector::{Vector, along, cross, dot, length, minus, unit};

/// The lattice of a stack of slices.
///
/// Voxel coordinates are (slice, row, column), fractional between voxel centres. Slices lie on a straight line, which need not be
/// perpendicular to them (gantry tilt): the map is affine and nothing is resampled. Where their distances differ, the slice
/// coordinate runs linearly between neighbours.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    shape: [usize; 3],
    origin: Vector,
    /// Unit vector from the first slice to the last.
    stack: Vector,
    /// Steps of one row and of one column, mm.
    row_step: Vector,
    column_step: Vector,
    /// Distance of each slice from the first one along `stack`, mm, growing.
    depths: Vec<f64>,
    /// The one distance of all neighbours, where there is one, mm.
    even: Option<f64>,
    /// Whether the gap after a slice is a hole: slices are missing there, and nothing is made up for them.
    holes: Vec<bool>,
    /// Rows of the inverse of `[stack, row_step, column_step]`.
    inverse: [Vector; 3],
}

/// Why a stack is no lattice.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GridError {
    /// Fewer than three slices.
    #[error("{0} slices at different positions are too few: a volume needs three")]
    TooFew(usize),
    /// Slices off the line, by so many mm at most.
    #[error("the slices do not lie in one line: one is {0:.1} mm beside it")]
    Crooked(f64),
    /// Steps that span no volume.
    #[error("the directions and distances of the pixels span no volume")]
    Flat,
}

/// Distances that differ less count as one: mm, and share.
const SAME_DISTANCE: (f64, f64) = (0.02, 0.01);
/// A gap that is so many times as wide as those beside it is a hole.
const HOLE: f64 = 1.8;

impl Grid {
    /// The lattice of slices whose first pixels lie at `positions` (in order along the stack, mm), of `rows` by `columns` pixels
    /// that are `row_step` and `column_step` apart.
    ///
    /// # Errors
    /// Where the slices are no lattice.
    pub fn new(
        positions: &[Vector],
        (rows, columns): (usize, usize),
        row_step: Vector,
        column_step: Vector,
    ) -> Result<Self, GridError> {
        let (Some(origin), Some(last)) = (positions.first(), positions.last()) else {
            return Err(GridError::TooFew(0));
        };
        if positions.len() < 3 {
            return Err(GridError::TooFew(positions.len()));
        }
        let stack = unit(minus(*last, *origin)).ok_or(GridError::Flat)?;
        let depths: Vec<f64> = positions.iter().map(|p| dot(minus(*p, *origin), stack)).collect();
        let beside = positions.iter().zip(&depths).map(|(p, depth)| length(minus(*p, along(*origin, stack, *depth))));
        let beside = beside.fold(0.0, |most: f64, mm| if mm.is_nan() { mm } else { most.max(mm) });
        let pixel = length(row_step).min(length(column_step));
        if beside.is_nan() || beside > 0.5 * pixel || depths.iter().any(|depth| !depth.is_finite()) {
            return Err(GridError::Crooked(beside));
        }
        if depths.windows(2).any(|pair| pair[1] - pair[0] < 1e-3) {
            return Err(GridError::Flat);
        }
        let determinant = dot(stack, cross(row_step, column_step));
        if !determinant.is_finite() || determinant.abs() < 1e-2 * length(row_step) * length(column_step) {
            return Err(GridError::Flat);
        }
        let inverse = [cross(row_step, column_step), cross(column_step, stack), cross(stack, row_step)]
            .map(|row| row.map(|x| x / determinant));
        let step = depths.last().copied().unwrap_or(0.0) / (depths.len() - 1) as f64;
        let even = depths
            .iter()
            .enumerate()
            .all(|(index, depth)| (depth - index as f64 * step).abs() <= SAME_DISTANCE.0 + SAME_DISTANCE.1 * step)
            .then_some(step);
        let gaps: Vec<f64> = depths.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let holes = (0..gaps.len())
            .map(|at| {
                let beside = [at.checked_sub(1), Some(at + 1)].into_iter().flatten();
                beside.filter_map(|other| gaps.get(other)).all(|other| gaps[at] > HOLE * other)
            })
            .collect();
        let shape = [positions.len(), rows, columns];
        Ok(Self { shape, origin: *origin, stack, row_step, column_step, depths, even, holes, inverse })
    }

    /// Slices, rows and columns.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Unit vectors along a row (growing column) and along a column (growing row) of the slices.
    pub fn slice_directions(&self) -> (Vector, Vector) {
        (unit(self.column_step).unwrap_or([1.0, 0.0, 0.0]), unit(self.row_step).unwrap_or([0.0, 1.0, 0.0]))
    }

    /// Distances of neighbouring rows, of neighbouring columns, and the usual one of neighbouring slices, mm.
    pub fn spacing(&self) -> [f64; 3] {
        let usual = || {
            let mut gaps: Vec<f64> = self.depths.windows(2).map(|pair| pair[1] - pair[0]).collect();
            gaps.sort_by(f64::total_cmp);
            gaps.get(gaps.len() / 2).copied().unwrap_or(1.0)
        };
        [length(self.row_step), length(self.column_step), self.even.unwrap_or_else(usual)]
    }

    /// Angle between the stacking direction and the normal of the slices, degrees: the tilt of the gantry.
    pub fn tilt_degrees(&self) -> f64 {
        let normal = unit(cross(self.column_step, self.row_step)).unwrap_or(self.stack);
        dot(normal, self.stack).abs().clamp(0.0, 1.0).acos().to_degrees()
    }

    /// Number of gaps where slices are missing.
    pub fn holes(&self) -> usize {
        self.holes.iter().filter(|hole| **hole).count()
    }

    /// The smallest and largest distance of neighbouring slices along their normal, mm; `None` where they are all the same.
    pub fn uneven(&self) -> Option<(f64, f64)> {
        let upright = self.tilt_degrees().to_radians().cos();
        let gaps = self.depths.windows(2).map(|pair| (pair[1] - pair[0]) * upright);
        let range = gaps.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), gap| (low.min(gap), high.max(gap)));
        self.even.is_none().then_some(range)
    }

    /// Patient position (LPS, mm) of a voxel (slice, row, column), fractional and perhaps outside.
    pub fn patient_from_voxel(&self, [slice, row, column]: Vector) -> Vector {
        let depth = match self.even {
            Some(step) => slice * step,
            None => {
                let last = self.depths.len() - 2;
                let below = (slice.max(0.0) as usize).min(last);
                let (a, b) = (self.depths[below], self.depths[below + 1]);
                a + (slice - below as f64) * (b - a)
            }
        };
        let point = along(self.origin, self.stack, depth);
        along(along(point, self.row_step, row), self.column_step, column)
    }

    /// Voxel (slice, row, column) at a patient position (LPS, mm), fractional and perhaps outside.
    pub fn voxel_from_patient(&self, point: Vector) -> Vector {
        let [depth, row, column] = self.oblique(minus(point, self.origin));
        let slice = match self.even {
            Some(step) => depth / step,
            None => self.between(depth).0,
        };
        [slice, row, column]
    }

    /// Distance along a unit vector in which one voxel is passed in the direction in which most are, mm.
    pub fn step_mm(&self, direction: Vector) -> f64 {
        let [depth, row, column] = self.oblique(direction);
        let passed = (depth.abs() / self.spacing()[2]).max(row.abs()).max(column.abs());
        if passed > 0.0 { 1.0 / passed } else { 1.0 }
    }

    /// Corners of the volume, the outermost voxels whole, LPS mm.
    pub fn corners(&self) -> [Vector; 8] {
        let [low, high] = self.depth_range();
        let (bottom, right) = (self.shape[1] as f64 - 0.5, self.shape[2] as f64 - 0.5);
        std::array::from_fn(|index| {
            let pick = |bit: usize, a: f64, b: f64| if index & (1 << bit) == 0 { a } else { b };
            let point = along(self.origin, self.stack, pick(2, low, high));
            along(along(point, self.row_step, pick(1, -0.5, bottom)), self.column_step, pick(0, -0.5, right))
        })
    }

    /// The middle of the volume, LPS mm.
    pub fn center(&self) -> Vector {
        let corners = self.corners();
        along([0.0; 3], along(corners[0], corners[7], 1.0), 0.5)
    }

    /// Whether a patient position lies in the volume.
    pub fn contains(&self, point: Vector) -> bool {
        let coordinates = self.oblique(minus(point, self.origin));
        coordinates.iter().zip(self.limits()).all(|(v, [low, high])| (low..=high).contains(v))
    }

    /// (depth in mm, row, column) of an offset from the first voxel: linear, unlike the slice coordinate.
    pub(super) fn oblique(&self, offset: Vector) -> Vector {
        self.inverse.map(|row| dot(row, offset))
    }

    /// Offset of a patient position from the first voxel, in the linear coordinates of [`Grid::oblique`].
    pub(super) fn oblique_from_patient(&self, point: Vector) -> Vector {
        self.oblique(minus(point, self.origin))
    }

    /// What depth, row and column may be.
    pub(super) fn limits(&self) -> [[f64; 2]; 3] {
        let [_, rows, columns] = self.shape;
        [self.depth_range(), [-0.5, rows as f64 - 0.5], [-0.5, columns as f64 - 0.5]]
    }

    /// The outermost slices reach half a distance beyond their middles.
    fn depth_range(&self) -> [f64; 2] {
        let last = self.depths.len() - 1;
        let (first_gap, last_gap) = (self.depths[1], self.depths[last] - self.depths[last - 1]);
        [-0.5 * first_gap, self.depths[last] + 0.5 * last_gap]
    }

    /// The slice coordinate at a depth, and whether slices are missing there (each slice fills half its usual gap).
    pub(super) fn between(&self, depth: f64) -> (f64, bool) {
        let last = self.depths.len() - 2;
        let below = self.depths.partition_point(|d| *d <= depth).saturating_sub(1).min(last);
        let (a, b) = (self.depths[below], self.depths[below + 1]);
        let inside = (depth - a) / (b - a);
        let hole = self.holes[below] && {
            let edge = 0.5 * self.spacing_beside(below) / (b - a);
            inside > edge && inside < 1.0 - edge
        };
        // On the rim of a hole a slice is shown as it is, not blended with one that lies far away.
        let inside = if self.holes[below] { inside.round() } else { inside };
        (below as f64 + inside, hole)
    }

    fn spacing_beside(&self, gap: usize) -> f64 {
        let at = |low: usize| self.depths.get(low + 1).zip(self.depths.get(low)).map(|(b, a)| b - a);
        gap.checked_sub(1).and_then(at).or_else(|| at(gap + 1)).unwrap_or(0.0)
    }

    /// The `shape` (slices, at least two; rows; columns) of this lattice from a voxel on.
    ///
    /// # Panics
    /// Where the part does not lie in the lattice.
    pub(super) fn part(&self, first: [usize; 3], shape: [usize; 3]) -> Self {
        let depths = &self.depths[first[0]..first[0] + shape[0]];
        Self {
            shape,
            origin: self.patient_from_voxel(first.map(|v| v as f64)),
            depths: depths.iter().map(|depth| depth - depths[0]).collect(),
            holes: self.holes[first[0]..first[0] + shape[0] - 1].to_vec(),
            ..self.clone()
        }
    }

    /// The one distance of neighbouring slices, where there is one.
    pub(super) fn even_step(&self) -> Option<f64> {
        self.even
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Vector = [0.0, 0.5, 0.0];
    const COLUMN: Vector = [0.5, 0.0, 0.0];

    fn at(z: &[f64]) -> Vec<Vector> {
        z.iter().map(|z| [10.0, 20.0, *z]).collect()
    }

    #[test]
    fn there_and_back_through_a_sheared_lattice() {
        let tilted: Vec<Vector> = (0..9).map(|k| [1.0, 0.7 * f64::from(k), 2.0 * f64::from(k)]).collect();
        let grid = Grid::new(&tilted, (20, 30), ROW, COLUMN).expect("a lattice");
        assert!(length(minus(grid.patient_from_voxel([2.0, 0.0, 0.0]), [1.0, 1.4, 4.0])) < 1e-9);
        for voxel in [[0.0, 0.0, 0.0], [3.25, 7.5, 29.0], [-1.0, 40.0, 2.0]] {
            let back = grid.voxel_from_patient(grid.patient_from_voxel(voxel));
            assert!(length(minus(back, voxel)) < 1e-9, "{voxel:?} {back:?}");
        }
        assert!((grid.tilt_degrees() - (0.7_f64 / 2.0).atan().to_degrees()).abs() < 1e-9);
        assert!(grid.contains(grid.center()));
    }

    #[test]
    fn two_protocols_are_followed_slice_by_slice() {
        let grid = Grid::new(&at(&[0.0, 4.0, 8.0, 15.0, 22.0]), (4, 4), ROW, COLUMN).expect("a lattice");
        assert_eq!(grid.uneven(), Some((4.0, 7.0)));
        assert_eq!(grid.holes(), 0);
        for (z, slice) in [(6.0, 1.5), (8.0, 2.0), (11.5, 2.5), (22.0, 4.0)] {
            assert!((grid.voxel_from_patient([10.0, 20.0, z])[0] - slice).abs() < 1e-9);
            assert!((grid.patient_from_voxel([slice, 0.0, 0.0])[2] - z).abs() < 1e-9);
        }
    }

    #[test]
    fn a_lost_slice_leaves_a_hole() {
        let grid = Grid::new(&at(&[0.0, 2.0, 4.0, 8.0, 10.0]), (4, 4), ROW, COLUMN).expect("a lattice");
        assert_eq!(grid.holes(), 1);
        assert!(!grid.between(4.9).1 && grid.between(6.0).1 && !grid.between(7.1).1);
        assert_eq!(grid.between(4.9).0, 2.0);
        assert_eq!(grid.between(7.1).0, 3.0);
    }

    #[test]
    fn what_is_no_lattice_says_why() {
        assert_eq!(Grid::new(&at(&[0.0, 1.0]), (4, 4), ROW, COLUMN), Err(GridError::TooFew(2)));
        let crooked = [[0.0, 0.0, 0.0], [3.0, 0.0, 1.0], [0.0, 0.0, 2.0]];
        assert!(matches!(Grid::new(&crooked, (4, 4), ROW, COLUMN), Err(GridError::Crooked(_))));
        let flat = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]];
        assert_eq!(Grid::new(&flat, (4, 4), ROW, COLUMN), Err(GridError::Flat));
        let nan = [[0.0, 0.0, 0.0], [f64::NAN, 0.0, 1.0], [0.0, 0.0, 2.0]];
        assert!(Grid::new(&nan, (4, 4), ROW, COLUMN).is_err());
    }
}
