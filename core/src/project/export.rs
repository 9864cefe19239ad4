//! Everything that readers drew, for other programs: chosen, split by patient, with identifiers or without.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::coco::CocoWriter;
use super::label_map::LabelMapWriter;
use super::outside::{Burned, Outside};
use super::segmentations::SegmentationWriter;
use super::table::TableWriter;
use super::yolo::{YoloWriter, write_data_file};
use super::{AnnotatedFrame, CaseState, MOST_EMPTY, Project, ProjectError, membership, read_series, replace, visit};
use crate::dataset::hold_out;
use crate::study::{Series, SeriesUid, StudyIndex};
use crate::task::Task;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// Pictures, polygons, boxes and run lengths.
    Coco,
    /// Pictures and boxes.
    Yolo,
    /// DICOM segmentations.
    Seg,
    /// NIfTI label maps.
    Nifti,
    /// Measurements as a table.
    Csv,
}

impl ExportFormat {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Coco, "COCO"),
        (Self::Seg, "DICOM SEG"),
        (Self::Nifti, "NIfTI"),
        (Self::Csv, "CSV"),
        (Self::Yolo, "YOLO"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    /// Whether pictures are written, on which absence is told too.
    pub fn has_pictures(self) -> bool {
        matches!(self, Self::Coco | Self::Yolo)
    }
}

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To measure on.
    Test,
}

impl Side {
    /// All.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Shares of the patients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SplitShares {
    /// For validation, 0 to 1.
    pub validation: f64,
    /// For the test, 0 to 1.
    pub test: f64,
    /// The same seed gives the same split.
    pub seed: u64,
}

/// The side of each patient, by pseudonym.
pub type PatientSplit = BTreeMap<String, Side>;

/// Splits all patients of a project, so that one stays on its side however far readers are; where patients are added only those near the quantiles
/// change sides.
///
/// # Errors
/// In words, where the shares leave nobody to learn from.
pub fn split_patients(project: &Project, index: &StudyIndex, shares: SplitShares) -> Result<PatientSplit, String> {
    let SplitShares { validation, test, seed } = shares;
    let sound = |share: f64| (0.0..1.0).contains(&share);
    if !sound(validation) || !sound(test) || validation + test >= 1.0 {
        let percent = |share: f64| share * 100.0;
        return Err(format!(
            "{} % for validation and {} % for the test leave nobody to train on",
            percent(validation),
            percent(test)
        ));
    }
    let with_images = index.studies.iter().filter(|study| study.series.iter().any(|series| series.frame_count() > 0));
    let all: BTreeMap<String, String> = with_images.map(|study| (project.patient(study), String::new())).collect();
    let some = |patients: &BTreeMap<String, String>, share: f64| {
        if share > 0.0 { hold_out(patients, share, seed) } else { BTreeSet::new() }
    };
    let tested = some(&all, test);
    let rest = all.iter().filter(|(patient, _)| !tested.contains(*patient));
    let rest: BTreeMap<String, String> = rest.map(|(patient, stratum)| (patient.clone(), stratum.clone())).collect();
    let validated = some(&rest, validation / (1.0 - test));
    let side = |patient: &String| match (tested.contains(patient), validated.contains(patient)) {
        (true, _) => Side::Test,
        (_, true) => Side::Validation,
        _ => Side::Train,
    };
    Ok(all.keys().map(|patient| (patient.clone(), side(patient))).collect())
}

/// What of a project is written, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportOptions {
    /// In which format.
    pub format: ExportFormat,
    /// Whose annotations; those of several readers go into a folder each.
    pub readers: Vec<String>,
    /// Only series that the reader is done with.
    pub only_done: bool,
    /// Also series that the reader has set aside.
    pub flagged: bool,
    /// Splits the patients.
    pub split: Option<SplitShares>,
    /// Replaces identifiers, leaves readers' names and free text out, and lays copies of the images without identifiers beside segmentations and
    /// label maps.
    pub deidentify: bool,
    /// Now, as `YYYYMMDD` and `HHMMSS`, for DICOM objects.
    pub date_time: (String, String),
}

/// One data set that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Whose.
    pub reader: String,
    /// Of which side of the split.
    pub side: Option<Side>,
    /// Its folder.
    pub folder: PathBuf,
    /// Its patients.
    pub patients: usize,
    /// What was written, in words: `12 images, 30 annotations`.
    pub written: String,
}

/// What came of an export.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exported {
    /// What was written.
    pub parts: Vec<Part>,
    /// What was left out and why, and what a person must look at.
    pub problems: Vec<String>,
}

/// Writes into `folder`, which is made where it is missing.
///
/// # Errors
/// Where the folder lies among the project's images, a reader has read nothing, the shares are none, something cannot be written, and where
/// it was cancelled; what was written by then stays.
pub fn export(
    project: &Project,
    index: &StudyIndex,
    options: &ExportOptions,
    folder: &Path,
    task: &Task,
) -> Result<Exported, ProjectError> {
    for source in project.sources() {
        membership::apart(folder, &source)?;
    }
    let split = match options.split {
        Some(shares) => {
            let split = split_patients(project, index, shares).map_err(|cause| ProjectError::content(folder, cause))?;
            fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
            replace(&folder.join("split.json"), &serde_json::json!({ "shares": shares, "patients": split }))?;
            Some(split)
        }
        None => None,
    };
    let mut run = Run {
        project,
        options,
        folder,
        split,
        outside: Outside::new(project, options.deidentify),
        copied: BTreeSet::new(),
        left_out: BTreeMap::new(),
        burned: Burned::default(),
        exported: Exported::default(),
    };
    for (number, reader) in options.readers.iter().enumerate() {
        run.reader(number, reader, index, task)?;
    }
    let Run { left_out, burned, mut exported, .. } = run;
    let counted = left_out.into_iter().map(|(reason, count)| format!("{count} {reason}"));
    exported.problems.extend(counted.chain(burned.told()));
    exported.problems.dedup();
    Ok(exported)
}

/// Writes frames of one data set.
enum Writer<'p> {
    Coco(CocoWriter<'p>),
    Yolo(YoloWriter<'p>),
    Seg(SegmentationWriter<'p>),
    Nifti(LabelMapWriter<'p>),
    Csv(TableWriter<'p>),
}

/// A data set under way.
struct Open<'p> {
    folder: PathBuf,
    writer: Writer<'p>,
    patients: BTreeSet<String>,
}

struct Run<'p> {
    project: &'p Project,
    options: &'p ExportOptions,
    folder: &'p Path,
    split: Option<PatientSplit>,
    outside: Outside,
    /// Series whose images lie beside.
    copied: BTreeSet<SeriesUid>,
    /// Why things were left out, and how many.
    left_out: BTreeMap<String, usize>,
    burned: Burned,
    exported: Exported,
}

impl<'p> Run<'p> {
    fn reader<'i>(
        &mut self,
        number: usize,
        reader: &str,
        index: &'i StudyIndex,
        task: &Task,
    ) -> Result<(), ProjectError> {
        let (project, options) = (self.project, self.options);
        let (read, _) = read_series(project, reader, index)?;
        let mut wanted = BTreeSet::new();
        for series in &read {
            let drawn = !series.labels.is_empty() || !series.unplaced.is_empty();
            let reason = if options.only_done && series.case.state != CaseState::Done {
                "not done"
            } else if series.case.flagged && !options.flagged {
                "set aside"
            } else {
                wanted.insert(series.series.reading_uid());
                continue;
            };
            // Of what nobody has begun there is nothing to leave out.
            if drawn || series.case.state != CaseState::New {
                *self.left_out.entry(format!("series of {reader} left out: {reason}")).or_default() += 1;
            }
        }
        let place = match (options.readers.len(), options.deidentify) {
            (1, _) => self.folder.to_path_buf(),
            (_, false) => self.folder.join(reader),
            (_, true) => self.folder.join(format!("reader-{}", number + 1)),
        };
        let mut open: BTreeMap<Option<Side>, Open<'p>> = BTreeMap::new();
        // Frames of one series at a time are in memory.
        let mut held: Vec<AnnotatedFrame<'i>> = Vec::new();
        let empty = if options.format.has_pictures() { MOST_EMPTY } else { 0 };
        let is_wanted = |series: &Series| wanted.contains(&series.reading_uid());
        let take = &mut |frame: AnnotatedFrame<'i>| {
            let same = held.first().is_none_or(|first| first.series.reading_uid() == frame.series.reading_uid());
            if !same {
                self.write(&mut open, &place, reader, &std::mem::take(&mut held), task)?;
            }
            held.push(frame);
            Ok(())
        };
        let problems = visit(project, reader, index, empty, &is_wanted, task, take)?;
        self.write(&mut open, &place, reader, &held, task)?;
        self.exported.problems.extend(problems);
        if options.format == ExportFormat::Yolo && self.split.is_some() && !open.is_empty() {
            let sides: Vec<Side> = open.keys().copied().flatten().collect();
            write_data_file(self.project, &place, &sides)?;
        }
        for (side, Open { folder, writer, patients }) in open {
            let (written, problems) = writer.finish()?;
            self.exported.problems.extend(problems);
            let (reader, patients) = (reader.to_owned(), patients.len());
            self.exported.parts.push(Part { reader, side, folder, patients, written });
        }
        Ok(())
    }

    /// Writes the frames of one series where they belong.
    fn write(
        &mut self,
        open: &mut BTreeMap<Option<Side>, Open<'p>>,
        place: &Path,
        reader: &str,
        frames: &[AnnotatedFrame<'_>],
        task: &Task,
    ) -> Result<(), ProjectError> {
        let Some(first) = frames.first() else { return Ok(()) };
        let patient = self.project.patient(first.study);
        let side = self.split.as_ref().and_then(|split| split.get(&patient)).copied();
        let set = match open.entry(side) {
            Entry::Occupied(set) => set.into_mut(),
            Entry::Vacant(free) => {
                let folder = side.map_or(place.to_path_buf(), |side| place.join(side.name()));
                let writer = self.writer(&folder, reader)?;
                free.insert(Open { folder, writer, patients: BTreeSet::new() })
            }
        };
        set.patients.insert(patient);
        self.count_left_out(frames);
        if self.options.deidentify && self.options.format.has_pictures() {
            self.burned.look(&first.series.reading_uid().0, &first.instance.source);
        }
        if self.options.deidentify && matches!(self.options.format, ExportFormat::Seg | ExportFormat::Nifti) {
            let images = side.map_or(self.folder.to_path_buf(), |side| self.folder.join(side.name())).join("images");
            self.copy_images(first, &images, task)?;
        }
        set.writer.add(frames, task)
    }

    fn writer(&self, folder: &Path, reader: &str) -> Result<Writer<'p>, ProjectError> {
        let (project, outside) = (self.project, self.outside.clone());
        fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
        Ok(match self.options.format {
            ExportFormat::Coco => Writer::Coco(CocoWriter::new(project, folder)?.outside(outside)),
            ExportFormat::Yolo => Writer::Yolo(YoloWriter::new(project, folder)?),
            ExportFormat::Csv => Writer::Csv(TableWriter::new(project, folder, outside)),
            ExportFormat::Nifti => Writer::Nifti(LabelMapWriter::new(project, folder, outside)),
            ExportFormat::Seg => {
                let reader = if self.options.deidentify { "" } else { reader };
                let (date, time) = &self.options.date_time;
                Writer::Seg(SegmentationWriter::new(project, reader, folder, (date, time), outside))
            }
        })
    }

    /// Counts what the format has no place for.
    fn count_left_out(&mut self, frames: &[AnnotatedFrame<'_>]) {
        let format = self.options.format;
        let project = self.project;
        let mut count = |reason: String| *self.left_out.entry(reason).or_default() += 1;
        for shape in frames.iter().flat_map(|frame| &frame.shapes).filter(|shape| shape.is_whole()) {
            if format == ExportFormat::Csv {
                if self.options.deidentify && !shape.text.is_empty() {
                    count("texts left out: free text may name somebody".to_owned());
                }
            } else if !shape.kind.is_region() {
                count(format!("points, lengths and the like left out: {} has no place for them", format.name()));
            } else if shape.label.is_none() {
                count("shapes without a label left out".to_owned());
            }
        }
        if format.has_pictures() {
            let keys = frames.iter().flat_map(|frame| {
                frame.painted.keys().chain(frame.shapes.iter().filter_map(|shape| shape.label.as_ref()))
            });
            for key in keys.filter(|key| project.labels().label(key).is_none()) {
                count(format!("annotations left out: the project has no label {key}"));
            }
        }
    }

    /// Copies the images of a series without identifiers, once.
    fn copy_images(&mut self, of: &AnnotatedFrame<'_>, folder: &Path, task: &Task) -> Result<(), ProjectError> {
        if !self.copied.insert(of.series.reading_uid()) {
            return Ok(());
        }
        let folder = folder.join(self.project.patient(of.study)).join(format!("series-{:03}", self.copied.len()));
        let all = &of.series.instances;
        for (number, instance) in all.iter().enumerate() {
            task.check()?;
            task.progress("Copying images without identifiers", number as u64, all.len() as u64);
            let place = (folder.as_path(), number + 1);
            if let Err(error) = self.outside.copy(self.project, of.study, &instance.source, place)? {
                self.exported.problems.push(format!("image left out: {error}"));
            }
        }
        self.burned.look(&of.series.reading_uid().0, &of.instance.source);
        Ok(())
    }
}

impl Writer<'_> {
    fn add(&mut self, frames: &[AnnotatedFrame<'_>], task: &Task) -> Result<(), ProjectError> {
        match self {
            Self::Coco(writer) => frames.iter().try_for_each(|frame| writer.add(frame)),
            Self::Yolo(writer) => frames.iter().try_for_each(|frame| writer.add(frame)),
            Self::Seg(writer) => writer.add(frames),
            Self::Nifti(writer) => writer.add(frames, task),
            Self::Csv(writer) => {
                frames.iter().for_each(|frame| writer.add(frame));
                Ok(())
            }
        }
    }

    /// What was written, in words, and what was not.
    fn finish(self) -> Result<(String, Vec<String>), ProjectError> {
        let two = |(first, second): (usize, usize), one: [&str; 2], many: [&str; 2]| {
            format!("{}, {}", counted(first, one[0], many[0]), counted(second, one[1], many[1]))
        };
        Ok(match self {
            Self::Coco(writer) => {
                (two(writer.finish()?, ["image", "annotation"], ["images", "annotations"]), Vec::new())
            }
            Self::Yolo(writer) => (two(writer.finish()?, ["image", "box"], ["images", "boxes"]), Vec::new()),
            Self::Csv(writer) => (counted(writer.finish()?, "number", "numbers"), Vec::new()),
            Self::Seg(writer) => {
                let (written, problems) = writer.finish();
                (counted(written, "segmentation", "segmentations"), problems)
            }
            Self::Nifti(writer) => {
                let (written, problems) = writer.finish();
                (counted(written, "label map", "label maps"), problems)
            }
        })
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
