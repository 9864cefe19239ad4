//! From one header to the entries of the tree.

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::made_up_uid;
use crate::dicom::data_set::{DataSet, tag_name};
use crate::dicom::file::DicomFile;
use crate::dicom::geometry::{FunctionalGroups, plane_geometry};
use crate::dicom::sop_class::{needs_image, sop_class_name};
use crate::study::{Instance, InstanceUid, Patient, Problem, Series, SeriesUid, Slice, Source, Study, StudyUid};

/// One instance with the study and series that it says it belongs to (both without children).
pub(super) struct Found {
    pub study: Study,
    pub series: Series,
    pub instance: Instance,
    /// What the order of each frame depends on; only the first frame's where nothing tells frames apart, and none where
    /// there is no image.
    pub frames: Vec<Slice>,
    pub problems: Vec<Problem>,
}

/// A file's problems as they are found.
struct Doubts<'a> {
    source: &'a Source,
    list: Vec<Problem>,
}

impl Doubts<'_> {
    fn add(&mut self, tag: Tag, cause: impl Into<String>) {
        self.push(Problem::remark(self.source.clone(), Some(tag_name(tag)), cause));
    }

    /// Something cannot be used.
    fn lost(&mut self, tag: Tag, cause: impl Into<String>, kind: &str) {
        self.push(Problem::error(self.source.clone(), Some(tag_name(tag)), cause).of_kind(kind));
    }

    fn push(&mut self, problem: Problem) {
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    fn has(&self, tag: Tag) -> bool {
        let tag = Some(tag_name(tag));
        self.list.iter().any(|problem| problem.tag == tag)
    }
}

/// From a DICOM header.
pub(super) fn from_file(file: &DicomFile) -> Found {
    let set = file.data_set();
    let mut doubts = Doubts { source: &file.source, list: file.problems.clone() };
    let study = study(set, &mut doubts);
    let series = series(set, &study, &mut doubts);
    let sop_class = match set.line(tags::SOP_CLASS_UID) {
        class if class.is_empty() => set.line(tags::MEDIA_STORAGE_SOP_CLASS_UID),
        class => class,
    };
    let mut uid = set.line(tags::SOP_INSTANCE_UID);
    if uid.is_empty() {
        uid = set.line(tags::MEDIA_STORAGE_SOP_INSTANCE_UID);
    }
    if uid.is_empty() {
        doubts.add(tags::SOP_INSTANCE_UID, "missing: one was made up from the file's name");
        uid = made_up_uid(&file.source.to_string());
    }
    let number = set.int(tags::INSTANCE_NUMBER);
    let rows = side(set, tags::ROWS);
    let columns = side(set, tags::COLUMNS);
    let frames = frame_count(file, rows, columns, &sop_class, &mut doubts);
    let groups = FunctionalGroups::of(set);
    let mut geometry_doubts = Vec::new();
    let set_time = set.int(tags::TEMPORAL_POSITION_IDENTIFIER).unwrap_or(0);
    let echo = set.int(tags::ECHO_NUMBERS).unwrap_or(0);
    // Without functional groups nothing tells frames apart: one entry stands for all, however many the file claims.
    let slices: Vec<Slice> = (0..frames.min(groups.positions().max(1)))
        .map(|frame| {
            let content = groups.get(frame, tags::FRAME_CONTENT_SEQUENCE);
            let time = content.and_then(|item| item.int(tags::TEMPORAL_POSITION_INDEX)).unwrap_or(set_time);
            let place = if frames > 1 { frame as i64 } else { number.unwrap_or(i64::MAX) };
            Slice {
                geometry: plane_geometry(set, &groups, frame, &mut geometry_doubts),
                keys: vec![time, echo, place],
                size: (rows, columns),
            }
        })
        .collect();
    geometry_doubts.sort_unstable();
    geometry_doubts.dedup();
    for (tag, cause) in geometry_doubts {
        doubts.add(tag, cause);
    }
    let instance = Instance {
        uid: InstanceUid(uid),
        twin: None,
        sop_class,
        source: file.source.clone(),
        number,
        transfer_syntax: file.transfer_syntax.clone(),
        rows,
        columns,
        frames,
        frame_order: Vec::new(),
        geometry: slices.first().and_then(|slice| slice.geometry),
    };
    let problems = doubts.list;
    Found { study, series, instance, frames: slices, problems }
}

fn study(set: DataSet<'_>, doubts: &mut Doubts<'_>) -> Study {
    let patient = Patient {
        name: set.person_name(tags::PATIENT_NAME),
        id: set.line(tags::PATIENT_ID),
        birth_date: set.line(tags::PATIENT_BIRTH_DATE),
        sex: set.line(tags::PATIENT_SEX),
        age: set.line(tags::PATIENT_AGE),
    };
    let mut uid = set.line(tags::STUDY_INSTANCE_UID);
    if uid.is_empty() {
        doubts.add(tags::STUDY_INSTANCE_UID, "missing: grouped by folder and patient");
        uid = made_up_uid(&format!("study {} {} {}", folder(doubts.source), patient.id, patient.name));
    }
    Study {
        uid: StudyUid(uid),
        patient,
        date: set.line(tags::STUDY_DATE),
        time: set.line(tags::STUDY_TIME),
        description: set.line(tags::STUDY_DESCRIPTION),
        accession_number: set.line(tags::ACCESSION_NUMBER),
        series: Vec::new(),
    }
}

fn series(set: DataSet<'_>, study: &Study, doubts: &mut Doubts<'_>) -> Series {
    let modality = set.line(tags::MODALITY);
    let mut uid = set.line(tags::SERIES_INSTANCE_UID);
    if uid.is_empty() {
        if set.has(tags::STUDY_INSTANCE_UID) {
            doubts.add(tags::SERIES_INSTANCE_UID, "missing: grouped by folder and modality");
        }
        uid = made_up_uid(&format!("series {} {} {modality}", study.uid, folder(doubts.source)));
    }
    let laterality = match set.line(tags::IMAGE_LATERALITY) {
        side if side.is_empty() => set.line(tags::LATERALITY),
        side => side,
    };
    Series {
        uid: SeriesUid(uid),
        twin: None,
        modality,
        number: set.int(tags::SERIES_NUMBER),
        description: set.line(tags::SERIES_DESCRIPTION),
        body_part: set.line(tags::BODY_PART_EXAMINED),
        view_position: set.line(tags::VIEW_POSITION),
        laterality,
        manufacturer: set.line(tags::MANUFACTURER),
        institution: set.line(tags::INSTITUTION_NAME),
        frame_of_reference: set.string(tags::FRAME_OF_REFERENCE_UID),
        instances: Vec::new(),
        notes: Vec::new(),
    }
}

fn folder(source: &Source) -> String {
    let path = source.member.as_ref().map_or(source.file.as_path(), Path::new);
    let parent = path.parent().map(|parent| parent.display().to_string()).unwrap_or_default();
    if source.member.is_some() { format!("{} » {parent}", source.file.display()) } else { parent }
}

fn side(set: DataSet<'_>, tag: Tag) -> usize {
    set.int(tag).and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= 65_535).unwrap_or(0)
}

/// Frames that the file can hold at most, whatever it says: a lie must not reserve memory or make a viewer scroll for ever.
fn frame_count(file: &DicomFile, rows: usize, columns: usize, sop_class: &str, doubts: &mut Doubts<'_>) -> usize {
    let set = file.data_set();
    let pixels = [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA]
        .into_iter()
        .find_map(|tag| set.get(tag));
    let Some(pixels) = pixels else {
        if needs_image(sop_class) || (sop_class.is_empty() && rows > 0) {
            let cause = format!("absent: no image to show ({})", sop_class_name(sop_class));
            doubts.lost(tags::PIXEL_DATA, cause, "absent: no image to show");
        }
        return 0;
    };
    if rows == 0 || columns == 0 {
        let tag = if rows == 0 { tags::ROWS } else { tags::COLUMNS };
        let cause = "missing or zero: the pixels cannot be laid out";
        doubts.lost(tag, cause, cause);
        return 0;
    }
    let stated = set.int(tags::NUMBER_OF_FRAMES);
    let wanted = stated.unwrap_or(1);
    if wanted < 1 {
        doubts.add(tags::NUMBER_OF_FRAMES, format!("says {wanted}: taken as 1"));
        return 1;
    }
    let wanted = wanted as u64;
    if pixels.is_encapsulated()
        && let Some(listed) = file.listed_frames()
        && listed as u64 != wanted
    {
        let cause = format!("says {wanted}, but the offset table of the pixel data lists {listed}");
        doubts.lost(tags::NUMBER_OF_FRAMES, cause, "not what the pixel data holds");
    }
    let Some(left) = file.pixel_bytes() else { return usize::try_from(wanted.min(1_000_000)).unwrap_or(1) };
    let fits = if pixels.is_encapsulated() {
        // A frame takes one fragment at least, and its header is 8 bytes.
        left / 8
    } else {
        let samples = set.int(tags::SAMPLES_PER_PIXEL).unwrap_or(1).clamp(1, 4) as u64;
        let subsampled = set.line(tags::PHOTOMETRIC_INTERPRETATION).ends_with("_422");
        let samples = if subsampled { samples.min(2) } else { samples };
        let bits = match pixels.tag() {
            tags::FLOAT_PIXEL_DATA => 32,
            tags::DOUBLE_FLOAT_PIXEL_DATA => 64,
            _ => set.int(tags::BITS_ALLOCATED).unwrap_or(8).clamp(1, 64) as u64,
        };
        let frame_bits = (rows as u64 * columns as u64 * samples * bits).max(1);
        let (whole, part) = (left.saturating_mul(8) / frame_bits, left.saturating_mul(8) % frame_bits > 0);
        if whole < wanted && wanted > 1 {
            let part = if part { " and part of another" } else { "" };
            let cause = format!("says {wanted}, but the file holds {whole}{part}");
            doubts.lost(tags::NUMBER_OF_FRAMES, cause, "not what the pixel data holds");
        } else if whole < wanted && !doubts.has(pixels.tag()) {
            let cause = format!("{left} bytes, but the image takes {}: it is incomplete", frame_bits.div_ceil(8));
            doubts.lost(pixels.tag(), cause, "fewer bytes than the image takes: it is incomplete");
        }
        // A frame that was cut off is shown as far as it goes.
        whole + u64::from(part)
    };
    if pixels.is_encapsulated() && fits < wanted && wanted > 1 {
        let cause = format!("says {wanted}, but the file holds at most {fits}");
        doubts.lost(tags::NUMBER_OF_FRAMES, cause, "not what the pixel data holds");
    }
    usize::try_from(wanted.min(fits.max(1))).unwrap_or(1)
}

/// From a PNG or JPEG: a series of its own, in a study made up for its folder.
pub(super) fn from_picture(source: &Source, (rows, columns): (usize, usize)) -> Found {
    let path = source.member.as_ref().map_or(source.file.as_path(), Path::new);
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let canonical = std::fs::canonicalize(&source.file).unwrap_or_else(|_| source.file.clone());
    let identity = Source { file: canonical, member: source.member.clone() };
    let place = match &source.member {
        Some(_) => name(Some(&source.file)),
        None => name(identity.file.parent()),
    };
    let study = Study {
        uid: StudyUid(made_up_uid(&format!("study {}", folder(&identity)))),
        patient: Patient::default(),
        date: String::new(),
        time: String::new(),
        description: place,
        accession_number: String::new(),
        series: Vec::new(),
    };
    let series = Series {
        uid: SeriesUid(made_up_uid(&format!("series {identity}"))),
        twin: None,
        modality: "OT".into(),
        number: None,
        description: name(Some(path)),
        body_part: String::new(),
        view_position: String::new(),
        laterality: String::new(),
        manufacturer: String::new(),
        institution: String::new(),
        frame_of_reference: None,
        instances: Vec::new(),
        notes: Vec::new(),
    };
    let instance = Instance {
        uid: InstanceUid(made_up_uid(&format!("instance {identity}"))),
        twin: None,
        sop_class: String::new(),
        source: source.clone(),
        number: None,
        transfer_syntax: String::new(),
        rows,
        columns,
        frames: 1,
        frame_order: Vec::new(),
        geometry: None,
    };
    let frames = vec![Slice { geometry: None, keys: vec![0, 0, 0], size: (rows, columns) }];
    Found { study, series, instance, frames, problems: Vec::new() }
}
