//! The lines that a shape is drawn with, in whatever coordinates its points are.

use super::{Points, Shape, ShapeKind};
use crate::measure::Pixel;
use crate::study::DisplayAttributes;

/// A line through places of `N` coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline<const N: usize> {
    /// Its vertices; a single one is a mark.
    pub points: Vec<[f64; N]>,
    /// Whether the last is joined to the first.
    pub closed: bool,
}

/// Sides that an ellipse is drawn with.
const ROUND: usize = 72;

impl Shape {
    /// Its lines in the patient, LPS mm; none where it lies on pixels alone.
    pub fn outlines_in_patient(&self) -> Vec<Outline<3>> {
        match &self.points {
            Points::Patient(points) => outlines(self.kind, points),
            Points::Pixel(_) => Vec::new(),
        }
    }

    /// Its lines on its frame, (row, column).
    pub fn outlines(&self, display: &DisplayAttributes) -> Vec<Outline<2>> {
        let points: Vec<[f64; 2]> =
            self.pixels(display).into_iter().map(|(row, column): Pixel| [row, column]).collect();
        outlines(self.kind, &points)
    }
}

fn outlines<const N: usize>(kind: ShapeKind, points: &[[f64; N]]) -> Vec<Outline<N>> {
    let open = |points: &[[f64; N]]| Outline { points: points.to_vec(), closed: false };
    match (kind, points) {
        (_, []) => Vec::new(),
        (ShapeKind::Cobb | ShapeKind::Bidirectional, [a, b, c, d]) => vec![open(&[*a, *b]), open(&[*c, *d])],
        (ShapeKind::Ellipse, [a, b, c, d]) => vec![Outline { points: ellipse([a, b, c, d]), closed: true }],
        (kind, points) => vec![Outline { points: points.to_vec(), closed: kind.is_region() }],
    }
}

/// Of the ends of both axes.
fn ellipse<const N: usize>([a, b, c, d]: [&[f64; N]; 4]) -> Vec<[f64; N]> {
    let turn = |n: usize| (std::f64::consts::TAU * n as f64 / ROUND as f64).sin_cos();
    let at = |n: usize| {
        let (sin, cos) = turn(n);
        std::array::from_fn(|k| {
            (a[k] + b[k] + c[k] + d[k]) / 4.0 + (b[k] - a[k]) / 2.0 * cos + (d[k] - c[k]) / 2.0 * sin
        })
    };
    (0..ROUND).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{InstanceKey, PixelSpacing, PlaneGeometry, SpacingKind};

    #[test]
    fn outlines_lie_where_the_shape_is() {
        let display = DisplayAttributes {
            geometry: Some(PlaneGeometry {
                position: [10.0, 20.0, 30.0],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            }),
            spacing: Some(PixelSpacing { row_mm: 2.0, column_mm: 0.5, kind: SpacingKind::Patient }),
            ..DisplayAttributes::default()
        };
        let shape = |kind, points: &[Pixel]| Shape::new(kind, InstanceKey("1".into()), 0, points, &display);
        // Axes of 8 rows and 12 columns around (5, 8).
        let ellipse = shape(ShapeKind::Ellipse, &[(1.0, 8.0), (9.0, 8.0), (5.0, 2.0), (5.0, 14.0)]);
        let [pixels] = &ellipse.outlines(&display)[..] else { panic!("one line") };
        let [patient] = &ellipse.outlines_in_patient()[..] else { panic!("one line") };
        assert!(pixels.closed && patient.closed);
        for ([row, column], [x, y, z]) in pixels.points.iter().zip(&patient.points) {
            assert!((((row - 5.0) / 4.0).powi(2) + ((column - 8.0) / 6.0).powi(2) - 1.0).abs() < 1e-6);
            assert!((x - 10.0 - 0.5 * column).abs() < 1e-5 && (y - 20.0 - 2.0 * row).abs() < 1e-5 && *z == 30.0);
        }
        let cobb = shape(ShapeKind::Cobb, &[(0.0, 0.0), (0.0, 5.0), (9.0, 0.0), (8.0, 5.0)]);
        assert_eq!(cobb.outlines(&display).iter().map(|line| line.points.len()).collect::<Vec<_>>(), [2, 2]);
        assert!(
            shape(ShapeKind::Rectangle, &[(0.0, 0.0), (0.0, 5.0), (4.0, 5.0), (4.0, 0.0)]).outlines(&display)[0].closed
        );
        let nowhere = Shape::new(
            ShapeKind::Length,
            InstanceKey("1".into()),
            0,
            &[(0.0, 0.0), (1.0, 1.0)],
            &DisplayAttributes::default(),
        );
        assert!(nowhere.outlines_in_patient().is_empty());
    }
}
