//! Measurements on real files, oblique, anisotropic, tilted, projected and enhanced, against pydicom and numpy: `reference/measure.py`
//! made `reference/measure.json`.

mod support;

use bifocal_core::annotation::{Measured, Shape, ShapeKind, Values};
use bifocal_core::dicom::pixels::read_frame;
use bifocal_core::measure::{Pixel, Statistics, Unit};
use bifocal_core::study::{Frame, InstanceKey, Source};
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn pixel(value: &Value) -> Pixel {
    (number(&value[0]), number(&value[1]))
}

fn near(what: &str, path: &str, ours: f64, theirs: f64) {
    // Points are kept to a millionth of a millimetre.
    let tolerance = 1e-5 * theirs.abs().max(1.0);
    assert!((ours - theirs).abs() <= tolerance, "{path}: {what} is {ours}, pydicom and numpy say {theirs}");
}

fn measured(kind: ShapeKind, points: &[Pixel], frame: &Frame) -> Measured {
    let shape = Shape::new(kind, InstanceKey("1".into()), 0, points, &frame.display);
    Measured::of(&shape, frame, None, Unit::Modality)
}

fn region(measured: &Measured) -> &Statistics {
    match &measured.values {
        Some(Ok(Values::Region(statistics))) => statistics,
        other => panic!("no statistics but {other:?}"),
    }
}

fn compare(path: &str, ours: &Statistics, theirs: &Value) {
    assert_eq!(ours.count, theirs["count"].as_u64().expect("a count"), "{path}: pixels in the region");
    for (name, value) in
        [("mean", ours.mean), ("sd", ours.sd), ("min", ours.min), ("median", ours.median), ("max", ours.max)]
    {
        near(name, path, value, number(&theirs[name]));
    }
    assert_eq!(ours.histogram.counts.iter().sum::<u64>(), ours.count);
}

#[test]
fn measurements_agree_with_pydicom_and_numpy() {
    let Some(folder) = support::real_files() else { return };
    let cases: Vec<Value> = serde_json::from_str(include_str!("reference/measure.json")).expect("references");
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let path = case["path"].as_str().expect("a path");
        let index = case["frame"].as_u64().expect("a frame") as usize;
        let mut frame = read_frame(&Source::file(folder.join(path)), index).expect("a good file");
        // numpy knows no padding.
        frame.display.padding = None;
        let points: Vec<Pixel> = case["points"].as_array().expect("points").iter().map(pixel).collect();

        let line = measured(ShapeKind::Length, &[points[0], points[2]], &frame);
        near("length", path, line.sizes[0].value, number(&case["length"]));
        let angle = measured(ShapeKind::Angle, &points[..3], &frame);
        near("angle", path, angle.sizes[0].value, number(&case["angle"]));
        let cobb = measured(ShapeKind::Cobb, &points, &frame);
        near("Cobb angle", path, cobb.sizes[0].value, number(&case["cobb"]));

        let polygon = measured(ShapeKind::Polygon, &points, &frame);
        near("area", path, polygon.sizes[0].value, number(&case["area"]));
        near("perimeter", path, polygon.sizes[1].value, number(&case["perimeter"]));
        compare(path, region(&polygon), &case["polygon"]);

        let (middle, half) = (pixel(&case["ellipse"]["centre"]), pixel(&case["ellipse"]["half"]));
        let ends = [
            (middle.0, middle.1 - half.1),
            (middle.0, middle.1 + half.1),
            (middle.0 - half.0, middle.1),
            (middle.0 + half.0, middle.1),
        ];
        let ellipse = measured(ShapeKind::Ellipse, &ends, &frame);
        near("area of the ellipse", path, ellipse.sizes[0].value, number(&case["ellipse"]["area"]));
        compare(path, region(&ellipse), &case["ellipse"]);

        let Some(Ok(Values::Line(profile))) = &line.values else { panic!("{path}: no profile") };
        let values: Vec<f64> = profile.values.iter().map(|value| value.expect("inside the frame")).collect();
        let theirs = &case["profile"];
        assert_eq!(values.len() as u64, theirs["steps"].as_u64().expect("steps") + 1, "{path}");
        near("profile", path, values.iter().sum::<f64>() / values.len() as f64, number(&theirs["mean"]));
        near("profile's start", path, values[0], number(&theirs["first"]));
        near("profile's end", path, values[values.len() - 1], number(&theirs["last"]));
        let last = profile.positions.last().copied().expect("positions");
        near("profile's length", path, last, number(&case["length"]));

        if let Some(patient) = case["patient"].as_array() {
            let shape = Shape::new(ShapeKind::Polygon, InstanceKey("1".into()), index, &points, &frame.display);
            let bifocal_core::annotation::Points::Patient(kept) = &shape.points else {
                panic!("{path}: not kept in the patient");
            };
            for (ours, theirs) in kept.iter().zip(patient) {
                for axis in 0..3 {
                    assert!((ours[axis] - number(&theirs[axis])).abs() < 1e-5, "{path}: {ours:?} {theirs}");
                }
            }
        } else {
            assert_eq!(line.caveat(), Some("at detector"), "{path}: a projection is marked");
        }
    }
}
