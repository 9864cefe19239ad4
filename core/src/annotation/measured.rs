//! What a shape measures, with the unit and with what must be known before it is believed.

use serde::Serialize;

use super::{Shape, ShapeKind};
use crate::measure::{
    self, PixelScale, Profile, ScaleKind, Spacing, Statistics, StatisticsError, Unit, angle_degrees, cobb_degrees,
    distance, ellipse_area, ellipse_perimeter, path_length, polygon_area,
};
use crate::study::Frame;

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// What was measured: `length`, `area`, ...
    pub quantity: &'static str,
    /// The number.
    pub value: f64,
    /// Its unit: `mm`, `mm²`, `°`, `HU`; empty where values have none.
    pub unit: String,
}

impl Measure {
    fn new(quantity: &'static str, value: f64, unit: &str) -> Self {
        Self { quantity, value, unit: unit.to_owned() }
    }

    /// The number with its unit, as readers write it: `42.3 mm`, `6.1 cm²`, `35.2°`.
    pub fn readable(&self) -> String {
        match self.unit.as_str() {
            "°" => format!("{:.1}°", self.value),
            "mm" if self.value < 1.0 => format!("{:.2} mm", self.value),
            "mm²" if self.value >= 1000.0 => format!("{:.2} cm²", self.value / 100.0),
            "mm" | "mm²" | "px" | "px²" => format!("{:.1} {}", self.value, self.unit),
            unit => format!("{} {unit}", readable_value(self.value)).trim_end().to_owned(),
        }
    }
}

/// A value of an image with as many digits as say something.
pub fn readable_value(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Everything that a shape measures on its frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Lengths, areas and angles. In pixels (`px`) where the spacing is unknown.
    pub sizes: Vec<Measure>,
    /// What lengths are worth; `None` for shapes that have none.
    pub scale: Option<ScaleKind>,
    /// Values inside a region, along a line or under a point; `None` for shapes that have none.
    pub values: Option<Result<Values, String>>,
}

/// Values of the image at a shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Inside a region.
    Region(Statistics),
    /// Along a line.
    Line(Profile),
    /// Under a point.
    Point(Measure),
}

impl Measured {
    /// Measures `shape` on the frame that it was drawn on, by hand-made spacing where there is one.
    pub fn of(shape: &Shape, frame: &Frame, by_hand: Option<Spacing>, unit: Unit) -> Self {
        let scale = PixelScale::of(&frame.display, by_hand);
        Self { values: values(shape, frame, scale, unit), ..Self::sizes_of(shape, scale) }
    }

    /// Its sizes alone, where its frame is not at hand.
    pub fn sizes_of(shape: &Shape, scale: PixelScale) -> Self {
        let sizes = sizes(shape, scale);
        let has_length = sizes.iter().any(|size| size.unit != "°");
        Self { sizes, scale: has_length.then_some(scale.kind), values: None }
    }

    /// What must be said beside its lengths; `None` where nothing must.
    pub fn caveat(&self) -> Option<&'static str> {
        self.scale.and_then(|kind| PixelScale { row: 1.0, column: 1.0, kind }.caveat())
    }

    /// Its caption on the image, line by line: sizes with their caveat, then the values in short.
    pub fn caption(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let known = self.scale != Some(ScaleKind::Unknown);
        if known {
            match self.sizes.as_slice() {
                [long, short] if long.quantity == "long axis" => {
                    lines.push(format!("{:.1} × {:.1} {}", long.value, short.value, long.unit));
                }
                sizes => lines.extend(sizes.iter().filter(|size| size.quantity != "perimeter").map(Measure::readable)),
            }
        }
        if let Some(caveat) = self.caveat() {
            match lines.last_mut() {
                Some(last) => *last = format!("{last} {caveat}"),
                None => lines.push(caveat.to_owned()),
            }
        }
        match &self.values {
            Some(Ok(Values::Region(s))) => {
                let text = format!("{} ± {} {}", readable_value(s.mean), readable_value(s.sd), s.units);
                lines.push(text.trim_end().to_owned());
            }
            Some(Ok(Values::Point(value))) => lines.push(value.readable()),
            _ => {}
        }
        lines
    }

    /// Everything in words, for tables: `length 42.3 mm`.
    pub fn in_words(&self) -> Vec<String> {
        let sizes = self.sizes.iter().map(|size| format!("{} {}", size.quantity, size.readable()));
        let mut words: Vec<String> = sizes.collect();
        match &self.values {
            Some(Ok(Values::Region(s))) => {
                let with =
                    |name: &str, value: f64| format!("{name} {} {}", readable_value(value), s.units).trim().to_owned();
                words.push(with("mean", s.mean));
                words.push(with("SD", s.sd));
                words.push(with("min", s.min));
                words.push(with("max", s.max));
            }
            Some(Ok(Values::Point(value))) => words.push(format!("value {}", value.readable())),
            _ => {}
        }
        words
    }
}

fn sizes(shape: &Shape, scale: PixelScale) -> Vec<Measure> {
    if !shape.is_whole() {
        return Vec::new();
    }
    let points = shape.millimetres(scale);
    let (mm, square) = if scale.is_known() { ("mm", "mm²") } else { ("px", "px²") };
    let four = || <[measure::Point; 4]>::try_from(points.as_slice()).ok();
    let angle = |degrees: Option<f64>| degrees.map(|d| vec![Measure::new("angle", d, "°")]).unwrap_or_default();
    match (shape.kind, points.as_slice()) {
        (ShapeKind::Length, [a, b]) => vec![Measure::new("length", distance(*a, *b), mm)],
        (ShapeKind::Angle, [a, vertex, b]) => angle(angle_degrees(*a, *vertex, *b)),
        (ShapeKind::Cobb, [a, b, c, d]) => angle(cobb_degrees([*a, *b], [*c, *d])),
        (ShapeKind::Bidirectional, [a, b, c, d]) => {
            let (one, other) = (distance(*a, *b), distance(*c, *d));
            vec![Measure::new("long axis", one.max(other), mm), Measure::new("short axis", one.min(other), mm)]
        }
        (ShapeKind::Ellipse, _) => four().map_or_else(Vec::new, |ends| {
            vec![
                Measure::new("area", ellipse_area(ends), square),
                Measure::new("perimeter", ellipse_perimeter(ends), mm),
            ]
        }),
        (ShapeKind::Rectangle | ShapeKind::Polygon | ShapeKind::Freehand, points) => vec![
            Measure::new("area", polygon_area(points), square),
            Measure::new("perimeter", path_length(points, true), mm),
        ],
        _ => Vec::new(),
    }
}

fn values(shape: &Shape, frame: &Frame, scale: PixelScale, unit: Unit) -> Option<Result<Values, String>> {
    let pixels = shape.pixels(&frame.display);
    match (shape.kind, pixels.as_slice()) {
        (kind, _) if kind.is_region() => {
            let region = shape.region(&frame.display, frame.shape());
            let statistics = measure::statistics(frame, &region, unit);
            Some(statistics.map(Values::Region).map_err(|error: StatisticsError| error.to_string()))
        }
        (ShapeKind::Length, [a, b]) => measure::line_profile(frame, *a, *b, scale, unit).map(Values::Line).map(Ok),
        (ShapeKind::Point, [(row, column)]) => {
            let inside = *row >= -0.5 && *column >= -0.5;
            let value = if inside {
                frame.value_at(row.round().max(0.0) as usize, column.round().max(0.0) as usize)
            } else {
                None
            };
            let (factor, units) = unit.of(frame)?;
            value.map(|value| Ok(Values::Point(Measure::new("value", value * factor, &units))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::study::{
        DisplayAttributes, GrayPixels, InstanceKey, ModalityTransform, PixelSpacing, Pixels, SpacingKind,
    };

    fn frame(kind: Option<SpacingKind>) -> Frame {
        let spacing = kind.map(|kind| PixelSpacing { row_mm: 2.0, column_mm: 0.5, kind });
        let pixels = Pixels::Gray(GrayPixels::I16(Array2::from_shape_fn((20, 20), |(r, c)| (10 * r + c) as i16)));
        let modality = ModalityTransform::Rescale { slope: 1.0, intercept: -100.0 };
        Frame {
            pixels,
            display: DisplayAttributes { spacing, modality, units: "HU".into(), ..DisplayAttributes::default() },
        }
    }

    fn measured(kind: ShapeKind, points: &[(f64, f64)], frame: &Frame) -> Measured {
        let shape = Shape::new(kind, InstanceKey("1".into()), 0, points, &frame.display);
        Measured::of(&shape, frame, None, Unit::Modality)
    }

    #[test]
    fn captions_carry_unit_and_caveat() {
        let line = [(2.0, 2.0), (5.0, 18.0)];
        // 3 rows of 2 mm and 16 columns of 0.5 mm: 6 by 8.
        let known = measured(ShapeKind::Length, &line, &frame(Some(SpacingKind::Patient)));
        assert_eq!(known.caption(), ["10.0 mm"]);
        let detector = measured(ShapeKind::Length, &line, &frame(Some(SpacingKind::Detector)));
        assert_eq!(detector.caption(), ["10.0 mm at detector"]);
        let unknown = measured(ShapeKind::Length, &line, &frame(None));
        assert_eq!(unknown.caption(), ["no pixel spacing"]);
        assert_eq!((unknown.sizes[0].unit.as_str(), unknown.scale), ("px", Some(ScaleKind::Unknown)));
        let shape = Shape::new(ShapeKind::Length, InstanceKey("1".into()), 0, &line, &frame(None).display);
        let by_hand = Spacing { row_mm: 2.0, column_mm: 0.5 };
        let hand = Measured::of(&shape, &frame(None), Some(by_hand), Unit::Modality);
        assert_eq!(hand.caption(), ["10.0 mm calibrated by hand"]);
    }

    #[test]
    fn regions_give_area_and_values() {
        let frame = frame(Some(SpacingKind::Patient));
        let square = measured(ShapeKind::Rectangle, &[(1.5, 1.5), (1.5, 3.5), (3.5, 3.5), (3.5, 1.5)], &frame);
        // Pixels 22, 23, 32, 33: mean 27.5 - 100.
        assert_eq!(square.caption(), ["4.0 mm²".to_owned(), "-72.5 ± 5.02 HU".to_owned()]);
        let round = measured(ShapeKind::Ellipse, &[(8.0, 4.0), (8.0, 12.0), (7.0, 8.0), (9.0, 8.0)], &frame);
        assert!((round.sizes[0].value - 4.0 * std::f64::consts::PI).abs() < 1e-9);
        assert!(round.in_words().iter().any(|word| word.starts_with("SD ")));
    }

    #[test]
    fn angles_need_no_spacing_but_the_shape_of_a_pixel() {
        let points = [(0.0, 8.0), (0.0, 0.0), (2.0, 0.0)];
        let right = measured(ShapeKind::Angle, &points, &frame(None));
        assert_eq!((right.caption(), right.scale), (vec!["90.0°".to_owned()], None));
        // 45 degrees in millimetres: 4 columns of 0.5 mm beside 1 row of 2 mm.
        let slanted =
            measured(ShapeKind::Angle, &[(0.0, 4.0), (0.0, 0.0), (1.0, 4.0)], &frame(Some(SpacingKind::Patient)));
        assert_eq!(slanted.caption(), ["45.0°"]);
    }

    #[test]
    fn points_lines_and_diameters() {
        let frame = frame(Some(SpacingKind::Patient));
        assert_eq!(measured(ShapeKind::Point, &[(3.2, 4.4)], &frame).caption(), ["-66 HU"]);
        assert_eq!(measured(ShapeKind::Point, &[(-3.0, 4.0)], &frame).values, None);
        let Some(Ok(Values::Line(profile))) = measured(ShapeKind::Length, &[(1.0, 1.0), (1.0, 5.0)], &frame).values
        else {
            panic!("no profile");
        };
        assert_eq!(profile.values.first().copied().flatten(), Some(-89.0));
        let two = measured(ShapeKind::Bidirectional, &[(2.0, 2.0), (2.0, 6.0), (1.0, 4.0), (5.0, 4.0)], &frame);
        assert_eq!(two.caption(), ["8.0 × 2.0 mm"], "the longer one first");
        assert!(measured(ShapeKind::Length, &[(1.0, 1.0)], &frame).sizes.is_empty());
    }
}
