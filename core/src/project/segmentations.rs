//! DICOM segmentations of what was drawn and painted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::{AnnotatedFrame, Project, ProjectError, file_stem};
use crate::annotation::Label;
use crate::dicom::{DicomFile, SegmentationContext, uid_from_name, write_segmentation};
use crate::measure::Runs;
use crate::study::{
    CodedConcept, PlaneGeometry, Segment, SegmentAlgorithm, SegmentMask, Segmentation, SegmentationKind, SourceFrame,
};

/// A frame, and the pixels of each label on it.
type Member<'f, 'a> = (&'f AnnotatedFrame<'a>, BTreeMap<String, Runs>);

/// Writes a binary segmentation of each series into `folder` (of each image, where images have no place in the patient); returns how many, and
/// what could not be written. Unlike the other exports these objects name the patient, since they belong beside the images.
/// `date_time` is `YYYYMMDD` and `HHMMSS`.
pub fn export_segmentations(
    project: &Project,
    reader: &str,
    frames: &[AnnotatedFrame<'_>],
    folder: &Path,
    (date, time): (&str, &str),
) -> Result<(usize, Vec<String>), ProjectError> {
    fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
    let mut groups: BTreeMap<(String, String), Vec<Member<'_, '_>>> = BTreeMap::new();
    for frame in frames {
        let regions = frame.regions();
        if regions.is_empty() {
            continue;
        }
        let plane = frame.image.display.geometry.filter(|_| frame.series.frame_of_reference.is_some());
        // Planes of one object have one orientation and one size.
        let kind = match plane {
            Some(plane) => format!("{:?} {:?}", orientation(plane), frame.image.shape()),
            None => format!("{} {}", frame.instance.key(), frame.frame),
        };
        groups.entry((frame.series.reading_uid().0, kind)).or_default().push((frame, regions));
    }
    let (mut written, mut problems) = (0, Vec::new());
    for (number, ((series, kind), members)) in groups.iter().enumerate() {
        let Some((first, _)) = members.first() else { continue };
        let source = match DicomFile::read_headers(&first.instance.source) {
            Ok(file) => file,
            Err(error) => {
                problems.push(format!("no segmentation, since it has nothing to refer to: {error}"));
                continue;
            }
        };
        let name = format!("{:03}-{}.dcm", number + 1, file_stem(&first.series.modality).to_ascii_lowercase());
        let path = folder.join(name);
        let seed = format!("{} {reader} {series} {kind} {date}{time}", project.name());
        let context = SegmentationContext {
            series_uid: uid_from_name(&format!("{seed} {:?} series", SystemTime::now())),
            sop_instance_uid: uid_from_name(&format!("{seed} {:?}", SystemTime::now())),
            series_number: 9100 + number as u32,
            series_description: format!("Drawn by {reader}").chars().take(64).collect(),
            content_label: "ANNOTATION".into(),
            creator: reader.to_owned(),
            date: date.to_owned(),
            time: time.to_owned(),
            software_version: env!("CARGO_PKG_VERSION").into(),
            algorithm_version: String::new(),
        };
        match write_segmentation(&path, &segmentation(project, members), &source, &context) {
            Ok(()) => written += 1,
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok((written, problems))
}

/// To a thousandth: planes that differ by rounding alone belong together.
fn orientation(plane: PlaneGeometry) -> [i64; 6] {
    let [a, b, c] = plane.row_direction;
    let [d, e, f] = plane.column_direction;
    [a, b, c, d, e, f].map(|v| (v * 1000.0).round() as i64)
}

fn segmentation(project: &Project, members: &[Member<'_, '_>]) -> Segmentation {
    let mut keys: Vec<&String> = members.iter().flat_map(|(_, regions)| regions.keys()).collect();
    keys.sort();
    keys.dedup();
    let segments: Vec<Segment> =
        (1u16..).zip(&keys).map(|(number, key)| segment(number, key, project.labels().label(key))).collect();
    let mut masks = Vec::new();
    for (frame, regions) in members {
        for (key, runs) in regions {
            let Some(number) = keys.iter().position(|other| *other == key).and_then(|at| u16::try_from(at + 1).ok())
            else {
                continue;
            };
            masks.push(SegmentMask {
                segment: number,
                source: Some(SourceFrame {
                    sop_class_uid: frame.instance.sop_class.clone(),
                    sop_instance_uid: frame.instance.uid.clone(),
                    frame: (frame.instance.frames > 1).then_some(frame.frame),
                }),
                geometry: frame.image.display.geometry,
                values: runs.to_mask(frame.image.shape()),
            });
        }
    }
    let display = members.first().map(|(frame, _)| &frame.image.display);
    Segmentation {
        kind: SegmentationKind::Binary,
        label: project.name().chars().take(64).collect(),
        spacing_mm: display.filter(|d| d.geometry.is_some()).and_then(|d| d.spacing).map(|s| [s.row_mm, s.column_mm]),
        thickness_mm: display.and_then(|d| d.slice_thickness_mm),
        frame_of_reference_uid: members
            .first()
            .and_then(|(frame, _)| frame.series.frame_of_reference.clone())
            .filter(|_| members.iter().all(|(frame, _)| frame.image.display.geometry.is_some())),
        segments,
        masks,
    }
}

fn segment(number: u16, key: &str, label: Option<&Label>) -> Segment {
    let unknown = || CodedConcept::new("261665006", "SCT", "Unknown");
    Segment {
        number,
        label: label.map_or_else(|| key.to_owned(), |label| label.name.clone()),
        category: CodedConcept::new("49755003", "SCT", "Morphologically abnormal structure"),
        property: label.and_then(|label| label.concept.clone()).unwrap_or_else(unknown),
        region: None,
        algorithm: SegmentAlgorithm::Manual,
        color: label.map(Label::rgb),
    }
}
