//! Real segmentation objects against what pydicom says of them (`reference/segmentation.py`).
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use bifocal_core::dicom::{ContourKind, read_segmentation, read_structure_set};
use bifocal_core::study::{SegmentationKind, Source};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    r#type: String,
    rows: usize,
    columns: usize,
    segments: BTreeMap<u16, ExpectedSegment>,
}

#[derive(Deserialize, PartialEq, Debug)]
struct ExpectedSegment {
    label: String,
    sum: u64,
    planes: usize,
}

#[test]
fn real_segmentations_are_read_as_others_read_them() {
    let Some(folder) = support::real_files() else { return };
    let table: BTreeMap<String, Expected> = serde_json::from_str(include_str!("reference/segmentation.json")).unwrap();
    assert!(table.len() >= 10);
    for (name, expected) in &table {
        let segmentation = read_segmentation(&Source::file(folder.join(name))).unwrap();
        let kind = match segmentation.kind {
            SegmentationKind::Binary => "BINARY",
            SegmentationKind::Fractional { .. } => "FRACTIONAL",
            SegmentationKind::LabelMap => "LABELMAP",
        };
        assert_eq!(kind, expected.r#type, "{name}");
        let mut found: BTreeMap<u16, ExpectedSegment> = segmentation
            .segments
            .iter()
            .map(|segment| (segment.number, ExpectedSegment { label: segment.label.clone(), sum: 0, planes: 0 }))
            .collect();
        for mask in &segmentation.masks {
            assert_eq!(mask.values.dim(), (expected.rows, expected.columns), "{name}");
            let row = found.get_mut(&mask.segment).unwrap();
            row.sum += mask.values.iter().map(|v| u64::from(*v)).sum::<u64>();
            row.planes += 1;
        }
        assert_eq!(found, expected.segments, "{name}");
    }
    println!("{} segmentation objects", table.len());
}

#[test]
fn a_real_structure_set_is_read_as_pydicom_reads_it() {
    let Some(folder) = support::real_files() else { return };
    let file = folder.join("pydicom+pydicom/src/pydicom/data/test_files/rtstruct.dcm");
    let set = read_structure_set(&Source::file(file)).unwrap();
    assert!(set.problems.is_empty(), "{:?}", set.problems);
    let found: Vec<_> = set.regions.iter().map(|r| (r.name.as_str(), r.color, r.contours.len())).collect();
    let pink = Some([255, 64, 255]);
    assert_eq!(found, [("patient", Some([220, 160, 120]), 3), ("Isocenter 1", pink, 1), ("Isocenter 2", pink, 1)]);
    let contours = &set.regions[0].contours;
    assert_eq!(contours.iter().map(|contour| contour.points.len()).collect::<Vec<_>>(), [5, 6, 6]);
    assert_eq!(contours[1].points[..2], [[200.0, 0.0, -190.0], [200.0, -150.0, -190.0]]);
    assert_eq!((contours[0].kind, set.regions[1].contours[0].kind), (ContourKind::ClosedPlanar, ContourKind::Point));
}
