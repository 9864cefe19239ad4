//! Planes through a volume: aligned to the patient, as acquired, or turned at will.

use std::str::FromStr;

use super::grid::Grid;
use super::vector::{Vector, along, cross, dot, length, minus, rotate, unit};
use crate::study::{DisplayAttributes, PlaneGeometry, SpacingKind};

/// Directions of a plane: unit vectors at right angles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orientation {
    /// Along a row, to the right of the picture.
    pub row: Vector,
    /// Along a column, down the picture.
    pub column: Vector,
}

/// The planes that readers know by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlaneKind {
    /// Seen from the feet, the front up.
    Axial,
    /// Seen from the front, the head up.
    Coronal,
    /// Seen from the left, the head up.
    Sagittal,
    /// As the slices were acquired.
    Acquired,
}

impl PlaneKind {
    /// The three planes of a patient.
    pub const ORTHOGONAL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
            Self::Acquired => "acquired",
        }
    }

    /// Its directions in a volume; by the patient, however the patient lay.
    pub fn orientation(self, grid: &Grid) -> Orientation {
        let of = |row: Vector, column: Vector| Orientation { row, column };
        match self {
            Self::Axial => of([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
            Self::Coronal => of([1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
            Self::Sagittal => of([0.0, 1.0, 0.0], [0.0, 0.0, -1.0]),
            Self::Acquired => {
                let (row, column) = grid.slice_directions();
                of(row, column)
            }
        }
    }
}

/// A name that is no plane's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no plane: give axial, coronal, sagittal or acquired")]
pub struct UnknownPlane(String);

impl FromStr for PlaneKind {
    type Err = UnknownPlane;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Axial, Self::Coronal, Self::Sagittal, Self::Acquired];
        all.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownPlane(text.to_owned()))
    }
}

impl Orientation {
    /// Row direction × column direction: where the plane moves to when it is scrolled forward.
    pub fn normal(&self) -> Vector {
        cross(self.row, self.column)
    }

    /// Turned about the unit vector `axis` by `radians`, by the right hand; stays at right angles however often it is turned.
    #[must_use]
    pub fn rotated(&self, axis: Vector, radians: f64) -> Self {
        let row = unit(rotate(self.row, axis, radians)).unwrap_or(self.row);
        let column = rotate(self.column, axis, radians);
        let column = unit(along(column, row, -dot(column, row))).unwrap_or(self.column);
        Self { row, column }
    }

    /// Distance of pixels at which a plane shows all that the voxels hold, mm: the voxels' own where it lies along them.
    pub fn spacing_mm(&self, grid: &Grid) -> f64 {
        grid.step_mm(self.row).min(grid.step_mm(self.column))
    }

    /// The nearest of the patient's planes, and whether this is it to within half a degree.
    pub fn nearest(&self) -> (PlaneKind, bool) {
        let [x, y, z] = self.normal().map(f64::abs);
        let (kind, cosine) = if z >= x && z >= y {
            (PlaneKind::Axial, z)
        } else if y >= x {
            (PlaneKind::Coronal, y)
        } else {
            (PlaneKind::Sagittal, x)
        };
        let straight = 0.5_f64.to_radians().cos();
        let in_line = [self.row, self.column].iter().all(|v| v.iter().any(|x| x.abs() > straight));
        (kind, cosine > straight && in_line)
    }
}

/// A rectangle of pixels in the patient, to be cut out of a volume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// Centre of the first pixel, LPS mm.
    pub origin: Vector,
    /// Directions of rows and columns.
    pub orientation: Orientation,
    /// Distance of neighbouring pixels, down and to the right alike, mm.
    pub spacing_mm: f64,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
}

/// Pixels that a plane has at most, in all and along a side (what graphics cards take); a finer spacing is made coarser.
const MOST_PIXELS: f64 = 16.0e6;
const MOST_SIDE: f64 = 8000.0;

impl Plane {
    /// The plane through `through` that shows all that the volume has within `thickness_mm` around it, with pixels
    /// `spacing_mm` apart, one of which is centred on the projection of `anchor`. `None` where it misses the volume.
    pub fn across(
        grid: &Grid,
        orientation: Orientation,
        through: Vector,
        anchor: Vector,
        thickness_mm: f64,
        spacing_mm: f64,
    ) -> Option<Self> {
        let [[top, bottom], [left, right]] = extent(grid, &orientation, through, thickness_mm)?;
        let normal = orientation.normal();
        let anchor = along(anchor, normal, dot(minus(through, anchor), normal));
        let (anchor_down, anchor_right) = (dot(anchor, orientation.column), dot(anchor, orientation.row));
        let mut spacing = if spacing_mm.is_finite() { spacing_mm.max(1e-3) } else { 1.0 };
        let area = (bottom - top) * (right - left);
        if area / (spacing * spacing) > MOST_PIXELS {
            spacing = (area / MOST_PIXELS).sqrt();
        }
        spacing = spacing.max((bottom - top).max(right - left) / MOST_SIDE);
        // Pixels whose centres lie inside, on the lattice of the anchor.
        let range = |low: f64, high: f64, at: f64| {
            let first = ((low - at) / spacing - 1e-6).ceil();
            let last = ((high - at) / spacing + 1e-6).floor();
            (first, (last - first).max(0.0) as usize + 1)
        };
        let (first_row, rows) = range(top, bottom, anchor_down);
        let (first_column, columns) = range(left, right, anchor_right);
        let origin = along(anchor, orientation.column, first_row * spacing);
        let origin = along(origin, orientation.row, first_column * spacing);
        Some(Self { origin, orientation, spacing_mm: spacing, rows, columns })
    }

    /// A slice of the stack, pixel by pixel as it was acquired. Where its pixels are not square, the direction of its columns is as much longer
    /// than 1 as they are higher than wide.
    pub fn of_slice(grid: &Grid, slice: usize) -> Self {
        let at = |row: f64, column: f64| grid.patient_from_voxel([slice as f64, row, column]);
        let origin = at(0.0, 0.0);
        let (right, down) = (minus(at(0.0, 1.0), origin), minus(at(1.0, 0.0), origin));
        let spacing_mm = length(right);
        let [_, rows, columns] = grid.shape();
        let orientation = Orientation { row: right.map(|x| x / spacing_mm), column: down.map(|x| x / spacing_mm) };
        Self { origin, orientation, spacing_mm, rows, columns }
    }

    /// The pixels of a frame; its columns as in [`Plane::of_slice`]. `None` where the file does not tell their place or their spacing in the patient.
    pub fn of_frame(display: &DisplayAttributes, (rows, columns): (usize, usize)) -> Option<Self> {
        let (geometry, spacing) = (display.geometry?, display.spacing?);
        let sane = |mm: f64| mm.is_finite() && mm > 0.0;
        let known = spacing.kind == SpacingKind::Patient && sane(spacing.row_mm) && sane(spacing.column_mm);
        let ratio = spacing.row_mm / spacing.column_mm;
        let orientation =
            Orientation { row: geometry.row_direction, column: geometry.column_direction.map(|x| x * ratio) };
        known.then_some(Self { origin: geometry.position, orientation, spacing_mm: spacing.column_mm, rows, columns })
    }

    /// The same area in whole blocks of pixels whose centres are up to `spacing_mm` apart; the last ones may reach beyond its edge.
    #[must_use]
    pub fn coarsened(&self, spacing_mm: f64) -> Self {
        let block = (spacing_mm / self.spacing_mm).floor().clamp(1.0, MOST_SIDE) as usize;
        let middle = (block as f64 - 1.0) / 2.0;
        Self {
            origin: self.patient_from_pixel(middle, middle),
            spacing_mm: self.spacing_mm * block as f64,
            rows: self.rows.div_ceil(block),
            columns: self.columns.div_ceil(block),
            ..*self
        }
    }

    /// The same plane, moved along its normal by `mm`.
    #[must_use]
    pub fn moved(&self, mm: f64) -> Self {
        let normal = unit(self.orientation.normal()).unwrap_or([0.0; 3]);
        Self { origin: along(self.origin, normal, mm), ..*self }
    }

    /// Where the plane lies, as for any frame.
    pub fn geometry(&self) -> PlaneGeometry {
        PlaneGeometry {
            position: self.origin,
            row_direction: self.orientation.row,
            column_direction: self.orientation.column,
        }
    }

    /// Patient position (LPS, mm) of a pixel at (`row`, `column`), which may be fractional.
    pub fn patient_from_pixel(&self, row: f64, column: f64) -> Vector {
        let down = along(self.origin, self.orientation.column, row * self.spacing_mm);
        along(down, self.orientation.row, column * self.spacing_mm)
    }
}

/// How far the volume reaches along a direction: smallest and largest `dot(point, direction)`, mm.
pub fn reach(grid: &Grid, direction: Vector) -> [f64; 2] {
    let along = grid.corners().map(|corner| dot(corner, direction));
    [along.iter().copied().fold(f64::INFINITY, f64::min), along.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
}

/// Top and bottom, left and right (mm along column and row direction) of what a slab cuts out of the volume.
pub fn extent(grid: &Grid, orientation: &Orientation, through: Vector, thickness_mm: f64) -> Option<[[f64; 2]; 2]> {
    let normal = orientation.normal();
    let half = thickness_mm.max(0.0) / 2.0;
    let corners = grid.corners();
    let height = |point: Vector| dot(minus(point, through), normal);
    let mut cut: Vec<Vector> = corners.into_iter().filter(|corner| height(*corner).abs() <= half + 1e-9).collect();
    for (index, a) in corners.iter().enumerate() {
        for bit in [1, 2, 4].into_iter().filter(|bit| index & bit == 0) {
            let b = corners[index | bit];
            let (from, to) = (height(*a), height(b));
            for level in [-half, half] {
                let share = (level - from) / (to - from);
                if (0.0..=1.0).contains(&share) {
                    cut.push(along(*a, minus(b, *a), share));
                }
            }
        }
    }
    let range = |direction: Vector| {
        let values = cut.iter().map(|point| dot(*point, direction));
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        (low <= high).then_some([low, high])
    };
    Some([range(orientation.column)?, range(orientation.row)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::PixelSpacing;

    fn grid() -> Grid {
        let positions: Vec<Vector> = (0..11).map(|k| [-50.0, -40.0, f64::from(k) * 5.0]).collect();
        Grid::new(&positions, (81, 101), [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]).expect("a lattice")
    }

    #[test]
    fn planes_are_named_by_the_patient() {
        let grid = grid();
        for (kind, letters) in
            [(PlaneKind::Axial, ["L", "P"]), (PlaneKind::Coronal, ["L", "F"]), (PlaneKind::Sagittal, ["P", "F"])]
        {
            let orientation = kind.orientation(&grid);
            let shown = [orientation.row, orientation.column].map(PlaneGeometry::direction_letters);
            assert_eq!(shown, letters);
            assert_eq!(orientation.nearest(), (kind, true));
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("oblique".parse::<PlaneKind>().is_err());
    }

    #[test]
    fn a_turned_plane_is_oblique_and_stays_square() {
        let mut orientation = PlaneKind::Axial.orientation(&grid());
        for _ in 0..10_000 {
            orientation = orientation.rotated([1.0, 0.0, 0.0], 0.01);
        }
        assert!(dot(orientation.row, orientation.column).abs() < 1e-12);
        assert!((length(orientation.normal()) - 1.0).abs() < 1e-12);
        let grid = grid();
        let spacing = |kind: PlaneKind| kind.orientation(&grid).spacing_mm(&grid);
        assert!((spacing(PlaneKind::Axial) - 1.0).abs() < 1e-12 && (spacing(PlaneKind::Coronal) - 1.0).abs() < 1e-12);
        let turned = PlaneKind::Axial.orientation(&grid).rotated([1.0, 0.0, 0.0], 20_f64.to_radians());
        assert_eq!(turned.nearest(), (PlaneKind::Axial, false));
        assert_eq!(PlaneGeometry::direction_letters(turned.column), "PH");
    }

    #[test]
    fn pixels_fall_on_voxels_where_they_can() {
        let grid = grid();
        let anchor = grid.patient_from_voxel([0.0, 0.0, 0.0]);
        let through = grid.patient_from_voxel([4.0, 3.0, 3.0]);
        let axial = PlaneKind::Axial.orientation(&grid);
        let plane = Plane::across(&grid, axial, through, anchor, 0.0, 1.0).expect("it cuts the volume");
        assert_eq!((plane.rows, plane.columns), (81, 101));
        assert!(length(minus(plane.origin, [-50.0, -40.0, 20.0])) < 1e-9);
        assert!(length(minus(plane.patient_from_pixel(80.0, 100.0), [50.0, 40.0, 20.0])) < 1e-9);
        assert_eq!(Plane::across(&grid, axial, [0.0, 0.0, 900.0], anchor, 5.0, 1.0), None);
    }

    #[test]
    fn a_slice_is_a_plane_as_it_was_acquired() {
        let positions: Vec<Vector> = (0..4).map(|k| [1.0, 2.0, f64::from(k) * -3.0]).collect();
        let grid = Grid::new(&positions, (5, 7), [0.0, 2.0, 0.0], [0.5, 0.0, 0.0]).expect("a lattice");
        let plane = Plane::of_slice(&grid, 2);
        assert_eq!((plane.rows, plane.columns, plane.spacing_mm), (5, 7, 0.5));
        assert!(length(minus(plane.patient_from_pixel(3.0, 4.0), [3.0, 8.0, -6.0])) < 1e-9);
        let moved = plane.moved(1.5);
        assert!(length(minus(moved.origin, [1.0, 2.0, -4.5])) < 1e-9, "{moved:?}");
    }

    #[test]
    fn a_frame_is_a_plane_whatever_the_shape_of_its_pixels() {
        // Turned by 30 degrees about x; pixels 2 mm high and 0.5 mm wide.
        let (sin, cos) = 30_f64.to_radians().sin_cos();
        let geometry = PlaneGeometry {
            position: [1.0, 2.0, 3.0],
            row_direction: [1.0, 0.0, 0.0],
            column_direction: [0.0, cos, sin],
        };
        let spacing = PixelSpacing { row_mm: 2.0, column_mm: 0.5, kind: SpacingKind::Patient };
        let display =
            DisplayAttributes { geometry: Some(geometry), spacing: Some(spacing), ..DisplayAttributes::default() };
        let plane = Plane::of_frame(&display, (5, 7)).expect("its place is known");
        let wanted = [1.0 + 4.0 * 0.5, 2.0 + 3.0 * 2.0 * cos, 3.0 + 3.0 * 2.0 * sin];
        assert!(length(minus(plane.patient_from_pixel(3.0, 4.0), wanted)) < 1e-12);
        assert_eq!(plane.coarsened(0.9), plane);
        // Blocks of three: the first one's middle is the second pixel, and all are covered.
        let coarse = plane.coarsened(1.7);
        assert_eq!((coarse.rows, coarse.columns, coarse.spacing_mm), (2, 3, 1.5));
        for block in [0.0, 1.0] {
            let (a, b) = (
                coarse.patient_from_pixel(block, block),
                plane.patient_from_pixel(3.0 * block + 1.0, 3.0 * block + 1.0),
            );
            assert!(length(minus(a, b)) < 1e-12, "{a:?} {b:?}");
        }
        let detector = PixelSpacing { kind: SpacingKind::Detector, ..spacing };
        assert_eq!(Plane::of_frame(&DisplayAttributes { spacing: Some(detector), ..display }, (5, 7)), None);
    }

    #[test]
    fn planes_stay_within_what_a_graphics_card_takes() {
        let grid = grid();
        let plane = |spacing| {
            let axial = PlaneKind::Axial.orientation(&grid);
            Plane::across(&grid, axial, grid.center(), grid.center(), 0.0, spacing).expect("it cuts the volume")
        };
        for spacing in [0.02, 1e-9, f64::NAN] {
            let plane = plane(spacing);
            assert!(plane.rows.max(plane.columns) <= 8001 && plane.rows * plane.columns < 17_000_000, "{spacing}");
        }
    }

    #[test]
    fn a_slab_takes_in_all_that_it_cuts() {
        let grid = grid();
        let oblique = PlaneKind::Axial.orientation(&grid).rotated([1.0, 0.0, 0.0], 45_f64.to_radians());
        let [[top, bottom], [left, right]] = extent(&grid, &oblique, grid.center(), 0.0).expect("it cuts");
        // 55 mm high, cut at 45 degrees.
        assert!((bottom - top - 55.0 * 2_f64.sqrt()).abs() < 1e-9);
        assert!((right - left - 101.0).abs() < 1e-9);
        let [[top, bottom], _] = extent(&grid, &oblique, grid.center(), 1e4).expect("it cuts");
        assert!((bottom - top - (81.0 + 55.0) / 2_f64.sqrt()).abs() < 1e-9);
    }
}
