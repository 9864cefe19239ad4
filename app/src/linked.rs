//! What links viewports in space: where one slice crosses another, and which slice lies at a place.

use bifocal_core::study::{PixelSpacing, PlaneGeometry, Series};
use bifocal_core::volume::{Vector, along, dot, length, minus};

use crate::images::LoadedFrame;

/// A frame's rectangle in the patient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlicePlane {
    /// Where it lies.
    pub geometry: PlaneGeometry,
    /// Distance of its pixels.
    pub spacing: PixelSpacing,
    /// Rows and columns.
    pub shape: (usize, usize),
}

impl SlicePlane {
    /// The rectangle of a decoded frame, where the file tells.
    pub fn of(frame: &LoadedFrame) -> Option<Self> {
        let frame = frame.frame();
        let (geometry, spacing) = (frame.display.geometry?, frame.display.spacing?);
        (spacing.row_mm > 0.0 && spacing.column_mm > 0.0).then(|| Self { geometry, spacing, shape: frame.shape() })
    }

    /// Patient position of a pixel.
    pub fn patient(&self, row: f64, column: f64) -> Vector {
        self.geometry.patient_from_pixel(row, column, self.spacing)
    }

    /// The pixel (row, column) that a patient position is projected on.
    pub fn pixel(&self, point: Vector) -> (f64, f64) {
        let offset = minus(point, self.geometry.position);
        (
            dot(offset, self.geometry.column_direction) / self.spacing.row_mm,
            dot(offset, self.geometry.row_direction) / self.spacing.column_mm,
        )
    }

    /// Where this rectangle crosses the plane of `on`, in that one's pixels: both ends as (row, column). `None` where it does not,
    /// or where the two are nearly parallel.
    pub fn crossing(&self, on: &Self) -> Option<[(f64, f64); 2]> {
        let normal = on.geometry.normal();
        // From 10 degrees on the line says where the slice is.
        if dot(normal, self.geometry.normal()).abs() > 10_f64.to_radians().cos() {
            return None;
        }
        let (bottom, right) = (self.shape.0 as f64 - 0.5, self.shape.1 as f64 - 0.5);
        let corners = [(-0.5, -0.5), (-0.5, right), (bottom, right), (bottom, -0.5)].map(|(r, c)| self.patient(r, c));
        let height = |point: Vector| dot(minus(point, on.geometry.position), normal);
        let mut ends: Vec<Vector> = Vec::new();
        for (index, a) in corners.iter().enumerate() {
            let b = corners[(index + 1) % 4];
            let (from, to) = (height(*a), height(b));
            if (from < 0.0) != (to < 0.0) {
                ends.push(along(*a, minus(b, *a), from / (from - to)));
            }
        }
        match ends[..] {
            [a, b] if length(minus(a, b)) > 1e-6 => Some([on.pixel(a), on.pixel(b)]),
            _ => None,
        }
    }
}

/// Plane of the image at a scroll position, where the index knows it: of single-frame files.
pub fn plane_at(series: &Series, position: usize) -> Option<PlaneGeometry> {
    series.frame_at(position).filter(|(instance, _)| instance.frames == 1)?.0.geometry
}

/// The position of the image that lies nearest to a patient position, among those parallel to the one in view.
pub fn nearest(series: &Series, in_view: usize, point: Vector) -> Option<usize> {
    let normal = plane_at(series, in_view)?.normal();
    let mut after = 0;
    let candidates = series.instances.iter().filter_map(|instance| {
        let position = after;
        after += instance.frames;
        let plane = instance.geometry.filter(|_| instance.frames == 1)?;
        let parallel = dot(plane.normal(), normal) > 0.999;
        parallel.then(|| (dot(minus(point, plane.position), normal).abs(), position))
    });
    // Of equals (phases) the one nearest to the image in view.
    candidates
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.abs_diff(in_view).cmp(&b.1.abs_diff(in_view))))
        .map(|(_, position)| position)
}

#[cfg(test)]
mod tests {
    use bifocal_core::study::SpacingKind;

    use super::*;
    use crate::state::fixtures;

    fn plane(position: Vector, row_direction: Vector, column_direction: Vector) -> SlicePlane {
        SlicePlane {
            geometry: PlaneGeometry { position, row_direction, column_direction },
            spacing: PixelSpacing { row_mm: 2.0, column_mm: 0.5, kind: SpacingKind::Patient },
            shape: (10, 40),
        }
    }

    #[test]
    fn a_coronal_slice_crosses_an_axial_one_in_a_row() {
        let axial = plane([0.0, 0.0, 5.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let coronal = plane([2.0, 6.0, 14.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]);
        let [a, b] = coronal.crossing(&axial).expect("they cross");
        assert!((a.0 - 3.0).abs() < 1e-9 && (b.0 - 3.0).abs() < 1e-9, "{a:?} {b:?}");
        let mut columns = [a.1, b.1];
        columns.sort_by(f64::total_cmp);
        // From half a pixel before x = 2 mm, 40 pixels of 0.5 mm on.
        assert!((columns[0] - 3.5).abs() < 1e-9 && (columns[1] - 43.5).abs() < 1e-9, "{columns:?}");
        assert_eq!(axial.crossing(&axial), None);
        let above = plane([2.0, 6.0, 94.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]);
        assert_eq!(above.crossing(&axial), None);
        assert_eq!(axial.pixel(axial.patient(3.0, 7.0)), (3.0, 7.0));
    }

    #[test]
    fn the_nearest_slice_is_found_by_place() {
        let mut study = fixtures::study("A", "CT", 5);
        let series = &mut study.series[0];
        assert_eq!(nearest(series, 0, [0.0; 3]), None, "positions are unknown");
        for (index, instance) in series.instances.iter_mut().enumerate() {
            instance.geometry = Some(plane([0.0, 0.0, 3.0 * index as f64], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).geometry);
        }
        assert_eq!(nearest(series, 0, [50.0, 9.0, 7.0]), Some(2));
        assert_eq!(nearest(series, 0, [0.0, 0.0, 1e6]), Some(4));
    }
}
