//! DICOM segmentations of what was drawn and painted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::outside::Outside;
use super::{AnnotatedFrame, Project, ProjectError, file_stem};
use crate::annotation::Label;
use crate::dicom::{SegmentationContext, uid_from_name, write_segmentation};
use crate::measure::Runs;
use crate::study::{
    CodedConcept, InstanceUid, PlaneGeometry, Segment, SegmentAlgorithm, SegmentMask, Segmentation, SegmentationKind,
    SourceFrame,
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
    date_time: (&str, &str),
) -> Result<(usize, Vec<String>), ProjectError> {
    fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
    let mut writer = SegmentationWriter::new(project, reader, folder, date_time, Outside::default());
    writer.add(frames)?;
    Ok(writer.finish())
}

/// Writes segmentations series by series.
pub(super) struct SegmentationWriter<'p> {
    project: &'p Project,
    /// Empty, where the reader is not to be named.
    reader: String,
    folder: PathBuf,
    date: String,
    time: String,
    outside: Outside,
    number: u32,
    written: usize,
    problems: Vec<String>,
}

impl<'p> SegmentationWriter<'p> {
    pub(super) fn new(
        project: &'p Project,
        reader: &str,
        folder: &Path,
        (date, time): (&str, &str),
        outside: Outside,
    ) -> Self {
        Self {
            project,
            reader: reader.to_owned(),
            folder: folder.to_path_buf(),
            date: date.to_owned(),
            time: time.to_owned(),
            outside,
            number: 0,
            written: 0,
            problems: Vec::new(),
        }
    }

    /// Writes the objects of whole series.
    pub(super) fn add(&mut self, frames: &[AnnotatedFrame<'_>]) -> Result<(), ProjectError> {
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
        for ((series, kind), members) in &groups {
            self.write(series, kind, members);
        }
        Ok(())
    }

    fn write(&mut self, series: &str, kind: &str, members: &[Member<'_, '_>]) {
        let Some((first, _)) = members.first() else { return };
        self.number += 1;
        let source = match self.outside.source(self.project, first.study, &first.instance.source) {
            Ok(file) => file,
            Err(error) => {
                self.problems.push(format!("no segmentation, since it has nothing to refer to: {error}"));
                return;
            }
        };
        let name = format!("{:03}-{}.dcm", self.number, file_stem(&first.series.modality).to_ascii_lowercase());
        let path = self.folder.join(name);
        let seed = format!("{} {} {series} {kind} {}{}", self.project.name(), self.reader, self.date, self.time);
        let drawn_by = if self.reader.is_empty() { "Drawn".to_owned() } else { format!("Drawn by {}", self.reader) };
        let context = SegmentationContext {
            series_uid: uid_from_name(&format!("{seed} {:?} series", SystemTime::now())),
            sop_instance_uid: uid_from_name(&format!("{seed} {:?}", SystemTime::now())),
            series_number: 9099 + self.number,
            series_description: drawn_by.chars().take(64).collect(),
            content_label: "ANNOTATION".into(),
            creator: self.reader.clone(),
            date: self.date.clone(),
            time: self.time.clone(),
            software_version: env!("CARGO_PKG_VERSION").into(),
            algorithm_version: String::new(),
        };
        match write_segmentation(&path, &segmentation(self.project, &self.outside, members), &source, &context) {
            Ok(()) => self.written += 1,
            Err(error) => self.problems.push(error.to_string()),
        }
    }

    /// How many were written, and what could not be.
    pub(super) fn finish(self) -> (usize, Vec<String>) {
        (self.written, self.problems)
    }
}

/// To a thousandth: planes that differ by rounding alone belong together.
fn orientation(plane: PlaneGeometry) -> [i64; 6] {
    let [a, b, c] = plane.row_direction;
    let [d, e, f] = plane.column_direction;
    [a, b, c, d, e, f].map(|v| (v * 1000.0).round() as i64)
}

fn segmentation(project: &Project, outside: &Outside, members: &[Member<'_, '_>]) -> Segmentation {
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
                    sop_instance_uid: InstanceUid(outside.uid(&frame.instance.uid.0)),
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
            .and_then(|(frame, _)| frame.series.frame_of_reference.as_deref().map(|uid| outside.uid(uid)))
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
