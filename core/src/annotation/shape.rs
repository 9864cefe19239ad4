//! What a reader draws on an image: measurements and annotations are the same thing, a shape with an optional label.

use serde::{Deserialize, Serialize};

use crate::analysis::FindingId;
use crate::measure::{self, Pixel, PixelScale, Point, Runs, ScaleKind};
use crate::study::{DisplayAttributes, InstanceKey, PixelSpacing, PlaneGeometry};

/// Names a shape within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShapeId(pub u64);

/// What kind of shape; the comments say what its points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeKind {
    /// A distance: its two ends.
    Length,
    /// An angle: end of an arm, vertex, end of the other arm.
    Angle,
    /// The angle between two lines: ends of one, ends of the other.
    Cobb,
    /// Longest diameter and the longest one across it (RECIST 1.1): ends of one, ends of the other.
    Bidirectional,
    /// An ellipse: ends of one axis, ends of the other.
    Ellipse,
    /// A box: its corners in order.
    Rectangle,
    /// A closed line: its vertices.
    Polygon,
    /// A closed line drawn by hand: its vertices.
    Freehand,
    /// A point, and the value under it.
    Point,
    /// An arrow: its tip, its tail.
    Arrow,
    /// Words at a point.
    Text,
}

impl ShapeKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Length,
        Self::Angle,
        Self::Cobb,
        Self::Bidirectional,
        Self::Ellipse,
        Self::Rectangle,
        Self::Polygon,
        Self::Freehand,
        Self::Point,
        Self::Arrow,
        Self::Text,
    ];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "Length",
            Self::Angle => "Angle",
            Self::Cobb => "Cobb angle",
            Self::Bidirectional => "Bidirectional",
            Self::Ellipse => "Ellipse",
            Self::Rectangle => "Box",
            Self::Polygon => "Polygon",
            Self::Freehand => "Freehand",
            Self::Point => "Point",
            Self::Arrow => "Arrow",
            Self::Text => "Text",
        }
    }

    /// Whether it goes around a region of pixels.
    pub fn is_region(self) -> bool {
        matches!(self, Self::Ellipse | Self::Rectangle | Self::Polygon | Self::Freehand)
    }

    /// Smallest and largest number of points that a whole shape has.
    fn points(self) -> (usize, usize) {
        match self {
            Self::Point | Self::Text => (1, 1),
            Self::Length | Self::Arrow => (2, 2),
            Self::Angle => (3, 3),
            Self::Cobb | Self::Bidirectional | Self::Ellipse | Self::Rectangle => (4, 4),
            Self::Polygon | Self::Freehand => (3, 100_000),
        }
    }
}

/// Where the points of a shape are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Points {
    /// In the patient: LPS, mm.
    Patient(Vec<Point>),
    /// On the frame: (row, column), fractional; the centre of the first pixel is (0, 0).
    Pixel(Vec<Pixel>),
}

/// How sure the reader is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Certainty {
    #[default]
    NotSaid,
    Possible,
    Probable,
    Definite,
}

impl Certainty {
    /// All, with their words.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::NotSaid, "certainty not said"),
        (Self::Possible, "possible"),
        (Self::Probable, "probable"),
        (Self::Definite, "definite"),
    ];

    /// The word; empty where nothing was said.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotSaid => "",
            Self::Possible => "possible",
            Self::Probable => "probable",
            Self::Definite => "definite",
        }
    }
}

/// The network's finding that a shape was taken over from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// SHA-256 of the weights.
    pub weights_sha256: String,
    /// The finding.
    pub finding: FindingId,
    /// Its class, as in the bundle.
    pub class: String,
}

/// Something drawn on one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// What it is.
    pub kind: ShapeKind,
    /// The instance that it was drawn on.
    pub instance: InstanceKey,
    /// The frame, from 0.
    pub frame: usize,
    /// Its points, as many as the kind asks for.
    pub points: Points,
    /// Its name; empty takes the kind's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Key of its label in the taxonomy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How sure the reader is.
    #[serde(default)]
    pub certainty: Certainty,
    /// Free text; of a text shape the words themselves.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Where the reader has put its caption: (row, column) on the frame; `None` leaves that to the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption_at: Option<Pixel>,
    /// Not drawn, but kept.
    #[serde(default)]
    pub hidden: bool,
    /// Where it comes from, unless the reader drew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// A coordinate as it is kept: to a millionth, so that it is short in the journal and reads back as the very same number.
fn kept(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The plane and spacing that points in the patient are placed by; `None` where points stay on the pixels.
fn plane(display: &DisplayAttributes) -> Option<(PlaneGeometry, PixelSpacing)> {
    let known = PixelScale::of(display, None).kind == ScaleKind::Patient;
    display.geometry.zip(display.spacing).filter(|_| known)
}

impl Shape {
    /// A shape through (row, column) points of a frame: in the patient where the frame has a place there, else on its pixels.
    pub fn new(
        kind: ShapeKind,
        instance: InstanceKey,
        frame: usize,
        points: &[Pixel],
        display: &DisplayAttributes,
    ) -> Self {
        let mut shape = Self {
            kind,
            instance,
            frame,
            points: Points::Pixel(Vec::new()),
            name: String::new(),
            label: None,
            certainty: Certainty::NotSaid,
            text: String::new(),
            caption_at: None,
            hidden: false,
            origin: None,
        };
        shape.set_pixels(points, display);
        shape
    }

    /// Its points as (row, column) on its frame.
    pub fn pixels(&self, display: &DisplayAttributes) -> Vec<Pixel> {
        match (&self.points, plane(display)) {
            (Points::Pixel(points), _) => points.clone(),
            (Points::Patient(points), Some((plane, spacing))) => {
                points.iter().map(|point| plane.pixel_from_patient(*point, spacing)).map(|(r, c, _)| (r, c)).collect()
            }
            // The file has lost its geometry since: there is no place for them.
            (Points::Patient(_), None) => Vec::new(),
        }
    }

    /// Puts its points at (row, column) places of its frame.
    pub fn set_pixels(&mut self, points: &[Pixel], display: &DisplayAttributes) {
        self.points = match plane(display) {
            Some((plane, spacing)) => {
                let place = |(r, c): &Pixel| plane.patient_from_pixel(*r, *c, spacing).map(kept);
                Points::Patient(points.iter().map(place).collect())
            }
            None => Points::Pixel(points.iter().map(|(r, c)| (kept(*r), kept(*c))).collect()),
        };
    }

    /// Its points in millimetres: in the patient, or in the plane of the image by `scale`.
    pub fn millimetres(&self, scale: PixelScale) -> Vec<Point> {
        match &self.points {
            Points::Patient(points) => points.clone(),
            Points::Pixel(points) => points.iter().map(|point| scale.in_plane(*point)).collect(),
        }
    }

    /// The pixels that it goes around; empty for shapes that are no region.
    pub fn region(&self, display: &DisplayAttributes, size: (usize, usize)) -> Runs {
        let points = self.pixels(display);
        match self.kind {
            ShapeKind::Ellipse => match <[Pixel; 4]>::try_from(points) {
                Ok(ends) => measure::ellipse(ends, size),
                Err(_) => Runs::default(),
            },
            kind if kind.is_region() => measure::polygon(&points, size),
            _ => Runs::default(),
        }
    }

    /// Whether it has as many points as its kind asks for, all of them numbers.
    pub fn is_whole(&self) -> bool {
        let (count, finite) = match &self.points {
            Points::Patient(points) => (points.len(), points.iter().flatten().all(|v| v.is_finite())),
            Points::Pixel(points) => (points.len(), points.iter().all(|p| p.0.is_finite() && p.1.is_finite())),
        };
        let (least, most) = self.kind.points();
        finite && (least..=most).contains(&count)
    }

    /// What it is called: its own name, else its kind's.
    pub fn title(&self) -> &str {
        if self.name.trim().is_empty() { self.kind.name() } else { self.name.trim() }
    }
}

/// The points of a shape of `kind` that was drawn from one (row, column) to another, on pixels of `scale`.
pub fn drawn(kind: ShapeKind, from: Pixel, to: Pixel, scale: PixelScale) -> Vec<Pixel> {
    let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
    match kind {
        ShapeKind::Rectangle => vec![from, (from.0, to.1), to, (to.0, from.1)],
        ShapeKind::Ellipse => vec![(middle.0, from.1), (middle.0, to.1), (from.0, middle.1), (to.0, middle.1)],
        ShapeKind::Bidirectional => {
            let across = measure::axis_across(scale.in_plane(from), scale.in_plane(to), 0.5);
            let back = |point: Point| (point[1] / scale.row, point[0] / scale.column);
            vec![from, to, back(across[0]), back(across[1])]
        }
        _ => vec![from, to],
    }
}

/// The points after one of them was dragged to a place: corners of a box keep it a box, ends of an ellipse's axis keep the other
/// axis across it, and of a bidirectional measurement each diameter keeps to the other's line.
pub fn with_point_moved(kind: ShapeKind, points: &[Pixel], index: usize, to: Pixel, scale: PixelScale) -> Vec<Pixel> {
    let mut moved = points.to_vec();
    let Some(point) = moved.get_mut(index) else { return moved };
    *point = to;
    match (kind, <[Pixel; 4]>::try_from(points)) {
        (ShapeKind::Rectangle, Ok(corners)) => {
            // The opposite corner stays; the neighbours follow along the sides.
            let opposite = corners[(index + 2) % 4];
            let (next, previous) = ((index + 1) % 4, (index + 3) % 4);
            let along_row = (corners[next].0 - corners[index].0).abs() <= (corners[next].1 - corners[index].1).abs();
            let (a, b) = ((to.0, opposite.1), (opposite.0, to.1));
            moved[next] = if along_row { a } else { b };
            moved[previous] = if along_row { b } else { a };
            moved
        }
        (ShapeKind::Ellipse, Ok(ends)) => {
            let axis = index / 2;
            let other = 1 - axis;
            let opposite = ends[index ^ 1];
            let middle = ((opposite.0 + to.0) / 2.0, (opposite.1 + to.1) / 2.0);
            let before = ((ends[0].0 + ends[1].0) / 2.0, (ends[0].1 + ends[1].1) / 2.0);
            // The other axis keeps its length and turns with this one, in millimetres.
            let length = measure::distance(scale.in_plane(ends[2 * other]), scale.in_plane(ends[2 * other + 1]));
            let along = measure::distance(scale.in_plane(opposite), scale.in_plane(to));
            let share = if along > 0.0 { length / along } else { 0.0 };
            let [c, d] = measure::axis_across(scale.in_plane(opposite), scale.in_plane(to), share);
            let back = |point: Point| (point[1] / scale.row, point[0] / scale.column);
            let (c, d) = if along > 0.0 {
                (back(c), back(d))
            } else {
                let shift = (middle.0 - before.0, middle.1 - before.1);
                let move_by = |p: Pixel| (p.0 + shift.0, p.1 + shift.1);
                (move_by(ends[2 * other]), move_by(ends[2 * other + 1]))
            };
            moved[2 * other] = c;
            moved[2 * other + 1] = d;
            moved
        }
        _ => moved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::SpacingKind;

    fn oblique() -> DisplayAttributes {
        DisplayAttributes {
            spacing: Some(PixelSpacing { row_mm: 2.0, column_mm: 0.5, kind: SpacingKind::Patient }),
            geometry: Some(PlaneGeometry {
                position: [10.0, 20.0, 30.0],
                row_direction: [0.6, 0.8, 0.0],
                column_direction: [0.0, 0.0, -1.0],
            }),
            ..DisplayAttributes::default()
        }
    }

    fn shape(kind: ShapeKind, points: &[Pixel], display: &DisplayAttributes) -> Shape {
        Shape::new(kind, InstanceKey("1.2".into()), 0, points, display)
    }

    #[test]
    fn points_are_kept_in_the_patient_where_there_is_one() {
        let display = oblique();
        let line = shape(ShapeKind::Length, &[(1.0, 2.0), (4.0, 10.0)], &display);
        let Points::Patient(points) = &line.points else { panic!("not in the patient") };
        assert!(measure::distance(points[0], [10.6, 20.8, 28.0]) < 1e-5, "{points:?}");
        let back = line.pixels(&display);
        assert!((back[1].0 - 4.0).abs() < 1e-5 && (back[1].1 - 10.0).abs() < 1e-5);
        // On a detector there is no patient to be in.
        let mut detector = oblique();
        detector.spacing = Some(PixelSpacing { row_mm: 1.0, column_mm: 1.0, kind: SpacingKind::Detector });
        assert!(matches!(shape(ShapeKind::Length, &[(1.0, 2.0)], &detector).points, Points::Pixel(_)));
        assert!(line.pixels(&DisplayAttributes::default()).is_empty());
    }

    #[test]
    fn a_dragged_corner_keeps_the_box() {
        let scale = PixelScale { row: 2.0, column: 0.5, kind: ScaleKind::Patient };
        let start = drawn(ShapeKind::Rectangle, (1.0, 2.0), (5.0, 9.0), scale);
        for index in 0..4 {
            let moved = with_point_moved(ShapeKind::Rectangle, &start, index, (30.0, 40.0), scale);
            assert_eq!(moved[index], (30.0, 40.0));
            assert_eq!(moved[(index + 2) % 4], start[(index + 2) % 4], "the opposite corner stays");
            let area = measure::polygon_area(&moved.iter().map(|p| scale.in_plane(*p)).collect::<Vec<_>>());
            let opposite = start[(index + 2) % 4];
            assert!((area - (30.0 - opposite.0).abs() * 2.0 * (40.0 - opposite.1).abs() * 0.5).abs() < 1e-9);
        }
    }

    #[test]
    fn a_dragged_axis_keeps_the_other_across_it() {
        let scale = PixelScale { row: 2.0, column: 0.5, kind: ScaleKind::Patient };
        let start = drawn(ShapeKind::Ellipse, (0.0, 0.0), (10.0, 40.0), scale);
        let mm = |points: &[Pixel]| points.iter().map(|p| scale.in_plane(*p)).collect::<Vec<_>>();
        let across = |points: &[Pixel]| {
            let p = mm(points);
            (p[1][0] - p[0][0]) * (p[3][0] - p[2][0]) + (p[1][1] - p[0][1]) * (p[3][1] - p[2][1])
        };
        assert!(across(&start).abs() < 1e-9);
        let other = measure::distance(mm(&start)[2], mm(&start)[3]);
        let moved = with_point_moved(ShapeKind::Ellipse, &start, 1, (3.0, 60.0), scale);
        assert_eq!((moved[0], moved[1]), (start[0], (3.0, 60.0)));
        assert!(across(&moved).abs() < 1e-9);
        assert!((measure::distance(mm(&moved)[2], mm(&moved)[3]) - other).abs() < 1e-9);
    }

    #[test]
    fn bidirectional_begins_at_a_right_angle_in_millimetres() {
        let scale = PixelScale { row: 2.0, column: 0.5, kind: ScaleKind::Patient };
        let points = drawn(ShapeKind::Bidirectional, (2.0, 4.0), (10.0, 30.0), scale);
        let p: Vec<_> = points.iter().map(|p| scale.in_plane(*p)).collect();
        let dot = (p[1][0] - p[0][0]) * (p[3][0] - p[2][0]) + (p[1][1] - p[0][1]) * (p[3][1] - p[2][1]);
        assert!(dot.abs() < 1e-9);
        assert!((measure::distance(p[2], p[3]) - measure::distance(p[0], p[1]) / 2.0).abs() < 1e-9);
    }

    #[test]
    fn only_whole_shapes_count() {
        let display = DisplayAttributes::default();
        assert!(shape(ShapeKind::Angle, &[(1.0, 2.0), (2.0, 2.0), (3.0, 9.0)], &display).is_whole());
        assert!(!shape(ShapeKind::Angle, &[(1.0, 2.0), (2.0, 2.0)], &display).is_whole());
        assert!(!shape(ShapeKind::Point, &[(f64::NAN, 2.0)], &display).is_whole());
    }
}
