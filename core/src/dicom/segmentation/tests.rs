use std::path::Path;

use ndarray::Array2;

use super::*;
use crate::dicom::{CtSlice, DicomFile, ImageContext, uid_from_name, write_ct};
use crate::study::{
    CodedConcept, InstanceUid, PlaneGeometry, Segment, SegmentAlgorithm, SegmentMask, Segmentation, SegmentationKind,
    Source, SourceFrame, Window,
};

const ROWS: usize = 9;
const COLUMNS: usize = 13;

fn plane(slice: usize) -> PlaneGeometry {
    PlaneGeometry {
        position: [-20.0, 5.5, 3.0 * slice as f64],
        row_direction: [1.0, 0.0, 0.0],
        column_direction: [0.0, 1.0, 0.0],
    }
}

/// A CT slice to draw on.
fn source(folder: &Path, slice: usize) -> DicomFile {
    let path = folder.join(format!("ct{slice}.dcm"));
    let hu = Array2::<i16>::zeros((ROWS, COLUMNS));
    let context = ImageContext {
        patient_name: "Test^Segment".into(),
        study_uid: uid_from_name("study"),
        series_uid: uid_from_name("series"),
        ..ImageContext::default()
    };
    let image = CtSlice {
        sop_instance_uid: uid_from_name(&format!("ct {slice}")),
        number: slice as u32,
        hu: hu.view(),
        geometry: plane(slice),
        spacing_mm: [0.7, 0.8],
        thickness_mm: 3.0,
        field_mm: 10.0,
        frame_of_reference_uid: uid_from_name("frame of reference"),
        kvp: 120.0,
        patient_position: "HFS".into(),
        contrast: String::new(),
        windows: vec![Window::linear(0.0, 100.0)],
    };
    write_ct(&path, &context, &image).expect("it is written");
    DicomFile::read(&Source::file(&path)).expect("it reads")
}

fn segment(number: u16, label: &str) -> Segment {
    Segment {
        number,
        label: label.into(),
        category: CodedConcept::new("123037004", "SCT", "Body structure"),
        property: CodedConcept::new("39607008", "SCT", "Lung structure"),
        region: None,
        algorithm: if number == 1 { SegmentAlgorithm::Automatic("Test".into()) } else { SegmentAlgorithm::Manual },
        color: Some([200, 90, 30]),
    }
}

fn mask(segment: u16, slice: usize, value: impl Fn(usize, usize) -> u8) -> SegmentMask {
    SegmentMask {
        segment,
        source: Some(SourceFrame {
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
            sop_instance_uid: InstanceUid(uid_from_name(&format!("ct {slice}"))),
            frame: None,
        }),
        geometry: Some(plane(slice)),
        values: Array2::from_shape_fn((ROWS, COLUMNS), |(r, c)| value(r, c)),
    }
}

/// Two segments on three slices; 117 pixels a frame, so that packed frames do not begin on bytes.
fn example(kind: SegmentationKind) -> Segmentation {
    let top = kind.maximum();
    let graded = move |r: usize, c: usize| ((r * COLUMNS + c) as u32 * u32::from(top) / 116) as u8;
    let (left, right) = match kind {
        SegmentationKind::Fractional { .. } => (mask(1, 0, graded), mask(2, 2, move |r, c| top - graded(r, c))),
        _ => (mask(1, 0, |r, c| u8::from(c < 5 && r > 1)), mask(2, 2, |r, c| u8::from(c > 8 || r == 0))),
    };
    let both =
        [mask(1, 1, move |_, c| if c < 4 { top } else { 0 }), mask(2, 1, move |_, c| if c > 6 { top } else { 0 })];
    let [first, second] = both;
    Segmentation {
        kind,
        label: "Two halves".into(),
        spacing_mm: Some([0.7, 0.8]),
        thickness_mm: Some(3.0),
        frame_of_reference_uid: Some(uid_from_name("frame of reference")),
        segments: vec![segment(1, "Left half"), segment(2, "Right half")],
        masks: vec![left, first, second, right],
    }
}

fn context(name: &str) -> SegmentationContext {
    SegmentationContext {
        series_uid: uid_from_name(&format!("{name} series")),
        sop_instance_uid: uid_from_name(name),
        series_number: 100,
        series_description: "Segmentation".into(),
        content_label: "ORGANS".into(),
        creator: String::new(),
        date: "20260101".into(),
        time: "120000".into(),
        software_version: "1.0".into(),
        algorithm_version: "1.0".into(),
    }
}

const FRACTIONS: SegmentationKind = SegmentationKind::Fractional { maximum: 255, probability: true };

#[test]
fn every_kind_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = source(folder.path(), 0);
    for (name, kind) in
        [("binary", SegmentationKind::Binary), ("fractional", FRACTIONS), ("labels", SegmentationKind::LabelMap)]
    {
        // Kept where asked, so that other programs can be run on them.
        let kept = std::env::var_os("BIFOCAL_KEEP_SEGMENTATIONS").map(std::path::PathBuf::from);
        let path = kept.unwrap_or_else(|| folder.path().into()).join(format!("{name}.dcm"));
        let written = example(kind);
        write_segmentation(&path, &written, &image, &context(name)).expect(name);
        let read = read_segmentation(&Source::file(&path)).expect(name);
        assert_eq!((read.kind, &read.segments, &read.label), (kind, &written.segments, &"ORGANS".to_owned()));
        assert_eq!((read.spacing_mm, read.thickness_mm), (written.spacing_mm, written.thickness_mm));
        assert_eq!(read.frame_of_reference_uid, written.frame_of_reference_uid);
        assert_eq!(read.masks.len(), 4, "{name}");
        for mask in &written.masks {
            assert!(read.masks.contains(mask), "{name}: segment {} at {:?}", mask.segment, mask.geometry);
        }
        let file = DicomFile::read(&Source::file(&path)).expect("reads");
        assert!(file.problems.is_empty(), "{:?}", file.problems);
        assert_eq!(file.data_set().string(crate::dicom::tags::PATIENT_NAME).as_deref(), Some("Test^Segment"));
    }
}

#[test]
fn what_cannot_be_written_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = source(folder.path(), 0);
    let path = folder.path().join("x.dcm");
    let failure = |change: &dyn Fn(&mut Segmentation)| {
        let mut segmentation = example(SegmentationKind::LabelMap);
        change(&mut segmentation);
        write_segmentation(&path, &segmentation, &image, &context("x")).expect_err("it must fail").to_string()
    };
    assert!(failure(&|s| s.masks.clear()).contains("no mask"));
    assert!(failure(&|s| s.masks[1].values.fill(1)).contains("overlap"));
    assert!(failure(&|s| s.masks[0].segment = 7).contains("segment 7"));
    assert!(failure(&|s| s.masks[0].values = Array2::ones((2, 2))).contains("different sizes"));
    assert!(failure(&|s| s.frame_of_reference_uid = None).contains("without a place"));
    let error = read_segmentation(&image.source).expect_err("a CT").to_string();
    assert!(error.contains("(0008,0016)") && error.contains("no segmentation"), "{error}");
}

#[test]
fn colours_survive_cielab() {
    for color in [[0, 0, 0], [255, 255, 255], [200, 90, 30], [10, 250, 120]] {
        let mut segmentation = example(SegmentationKind::Binary);
        segmentation.segments[0].color = Some(color);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.dcm");
        write_segmentation(&path, &segmentation, &source(folder.path(), 0), &context("c")).expect("written");
        let back = read_segmentation(&Source::file(&path)).expect("reads").segments[0].color.expect("a colour");
        for (a, b) in color.into_iter().zip(back) {
            assert!(a.abs_diff(b) <= 1, "{color:?} became {back:?}");
        }
    }
}
