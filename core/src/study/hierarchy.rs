//! The tree of patient, study, series and instance, and the problems met while building it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PlaneGeometry;

macro_rules! uid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

uid!(
    /// Study Instance UID (0020,000D).
    StudyUid
);
uid!(
    /// Series Instance UID (0020,000E).
    SeriesUid
);
uid!(
    /// SOP Instance UID (0008,0018).
    InstanceUid
);

/// Names one instance within an index: its SOP Instance UID, and what tells it apart where other files claim the same UID.
///
/// Everything that belongs to one image (reviews, key images, analyses) is kept under this, never under the UID alone:
/// files are met that share a UID and show different patients. Equal to the UID where that is unique, so that what was
/// kept under a UID alone stays readable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceKey(pub String);

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the bytes of an instance are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// The file on disk; a ZIP archive where `member` is set.
    pub file: PathBuf,
    /// The name inside the ZIP archive.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<String>,
}

impl Source {
    /// A file of its own.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self { file: path.as_ref().to_path_buf(), member: None }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(member) = &self.member {
            write!(f, " » {member}")?;
        }
        Ok(())
    }
}

/// What a [`Problem`] means for the file that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used, only a part of it can, or whose it is must be settled first.
    Error,
    /// The file is read whole; what was odd about it is told.
    Remark,
}

/// Something that could not be read, or was read with doubt; the rest of the study stays usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whether the file is affected, or just odd.
    pub severity: Severity,
    /// The file (and archive member) it is about.
    pub source: Source,
    /// The attribute it is about, as `(gggg,eeee) Name`, where one is to blame.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<String>,
    /// What is wrong and what follows, in one sentence.
    pub cause: String,
    /// The same without names and numbers, where the cause has some: what equal problems of many files are counted by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<Box<str>>,
}

impl Problem {
    /// A file that cannot be used, or only in part.
    pub fn error(source: Source, tag: Option<String>, cause: impl Into<String>) -> Self {
        Self { severity: Severity::Error, source, tag, cause: cause.into(), kind: None }
    }

    /// Something odd about a file that can be used.
    pub fn remark(source: Source, tag: Option<String>, cause: impl Into<String>) -> Self {
        Self { severity: Severity::Remark, ..Self::error(source, tag, cause) }
    }

    /// Counted under `kind` together with others.
    #[must_use]
    pub fn of_kind(self, kind: impl Into<Box<str>>) -> Self {
        Self { kind: Some(kind.into()), ..self }
    }

    /// What equal problems of many files have in common: tag and kind.
    pub fn common(&self) -> String {
        let cause = self.kind.as_deref().unwrap_or(&self.cause);
        self.tag.as_ref().map_or_else(|| cause.to_owned(), |tag| format!("{tag}: {cause}"))
    }

    /// Kinds of problems, each with its number and its first problem, the most frequent first.
    pub fn by_kind(problems: &[Self]) -> Vec<(String, usize, &Self)> {
        let mut kinds: Vec<(String, usize, &Self)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for problem in problems {
            let place = *places.entry(problem.common()).or_insert(kinds.len());
            match kinds.get_mut(place) {
                Some((_, count, _)) => *count += 1,
                None => kinds.push((problem.common(), 1, problem)),
            }
        }
        kinds.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        kinds
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if let Some(tag) = &self.tag {
            write!(f, "{tag}: ")?;
        }
        f.write_str(&self.cause)
    }
}

/// The patient, as named in one study. All fields may be empty; dates are `YYYYMMDD` as in DICOM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// Patient's Name (0010,0010), for people: `Family, Given`.
    pub name: String,
    /// Patient ID (0010,0020).
    pub id: String,
    /// Patient's Birth Date (0010,0030).
    pub birth_date: String,
    /// Patient's Sex (0010,0040).
    pub sex: String,
    /// Patient's Age (0010,1010), as stored (`045Y`).
    pub age: String,
}

/// Everything that was found under the paths given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StudyIndex {
    /// Studies, newest first; each holds at least one series.
    pub studies: Vec<Study>,
    /// Files that cannot be used, or only in part ([`Severity::Error`]), by file.
    pub problems: Vec<Problem>,
    /// What was odd about files that can be used ([`Severity::Remark`]), by file.
    #[serde(default)]
    pub remarks: Vec<Problem>,
}

/// One study (PS3.3 C.7.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Study Instance UID; made up (`2.25.…`) for images that are not DICOM.
    pub uid: StudyUid,
    /// Whose study it is.
    pub patient: Patient,
    /// Study Date (0008,0020), `YYYYMMDD`, may be empty.
    pub date: String,
    /// Study Time (0008,0030), `HHMMSS.ffffff`, may be empty.
    pub time: String,
    /// Study Description (0008,1030), may be empty.
    pub description: String,
    /// Accession Number (0008,0050), may be empty.
    pub accession_number: String,
    /// Series, by series number.
    pub series: Vec<Series>,
}

/// One series (PS3.3 C.7.3).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Series Instance UID.
    pub uid: SeriesUid,
    /// Where another study of the index has a series of the same UID: what tells this one from it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub twin: Option<String>,
    /// Modality (0008,0060): `CT`, `DX`, ...; `OT` for images that are not DICOM.
    pub modality: String,
    /// Series Number (0020,0011).
    pub number: Option<i64>,
    /// Series Description (0008,103E), may be empty.
    pub description: String,
    /// Body Part Examined (0018,0015), may be empty.
    pub body_part: String,
    /// View Position (0018,5101), may be empty: `PA`, `AP`, `LL`, ...
    pub view_position: String,
    /// Image or Series Laterality, may be empty.
    pub laterality: String,
    /// Manufacturer (0008,0070), may be empty.
    pub manufacturer: String,
    /// Institution Name (0008,0080), may be empty.
    pub institution: String,
    /// Frame of Reference UID (0020,0052).
    pub frame_of_reference: Option<String>,
    /// Instances in reading order: by position along the normal where known, else by instance number.
    pub instances: Vec<Instance>,
    /// What a reader must know about the order and spacing of the slices.
    pub notes: Vec<SeriesNote>,
}

impl Series {
    /// The UID that a reading of the series is kept under: its own, with what tells it apart where another study has a
    /// series of the same UID.
    pub fn reading_uid(&self) -> SeriesUid {
        match &self.twin {
            None => self.uid.clone(),
            Some(twin) => SeriesUid(format!("{}#{twin}", self.uid)),
        }
    }

    /// Whether both series lie in one space, so that a place in one is known in the other (PS3.3 C.7.4.1).
    ///
    /// # Errors
    /// In words, where that is not known.
    pub fn in_space_of(&self, other: &Self) -> Result<(), &'static str> {
        match (&self.frame_of_reference, &other.frame_of_reference) {
            (Some(a), Some(b)) if a == b => Ok(()),
            (Some(_), Some(_)) => Err("It has another frame of reference: how the two lie to each other is not known."),
            (None, _) => Err("Its files name no frame of reference: where it lies is not known."),
            (_, None) => Err("The series in view names no frame of reference: where it lies is not known."),
        }
    }

    /// Number of frames over all instances: what a viewport scrolls through.
    pub fn frame_count(&self) -> usize {
        self.instances.iter().map(|instance| instance.frames).sum()
    }

    /// The instance and the frame within it (from 0) shown at scroll position `position` (from 0).
    pub fn frame_at(&self, position: usize) -> Option<(&Instance, usize)> {
        let mut rest = position;
        for instance in &self.instances {
            if rest < instance.frames {
                return Some((instance, instance.frame_order.get(rest).copied().unwrap_or(rest)));
            }
            rest -= instance.frames;
        }
        None
    }
}

/// One SOP instance with an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// SOP Instance UID as the file says it; [`Instance::key`] is what names the instance.
    pub uid: InstanceUid,
    /// Where other files of the index claim the same UID: a hash of this one's content.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub twin: Option<String>,
    /// SOP Class UID; empty for images that are not DICOM.
    pub sop_class: String,
    /// Where the bytes are.
    pub source: Source,
    /// Instance Number (0020,0013).
    pub number: Option<i64>,
    /// Transfer Syntax UID; empty for images that are not DICOM.
    pub transfer_syntax: String,
    /// Rows of one frame.
    pub rows: usize,
    /// Columns of one frame.
    pub columns: usize,
    /// Number of frames; 0 where the object holds no image (a report, a structure set).
    pub frames: usize,
    /// Frames of a multi-frame instance in reading order; empty where that is the stored order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub frame_order: Vec<usize>,
    /// Where the first frame lies in the patient.
    pub geometry: Option<PlaneGeometry>,
}

impl Instance {
    /// What reviews, key images and analyses of this instance are kept under.
    pub fn key(&self) -> InstanceKey {
        match &self.twin {
            None => InstanceKey(self.uid.0.clone()),
            Some(twin) => InstanceKey(format!("{}#{twin}", self.uid)),
        }
    }
}

/// A property of a series that changes how it must be read; shown to the user, never hidden.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SeriesNote {
    /// The slices are sheared against their normal (a tilted CT gantry).
    GantryTilt {
        /// Angle between the stacking direction and the slice normal, degrees.
        degrees: f64,
    },
    /// The distance between neighbouring slices is not the same everywhere.
    MixedSpacing {
        /// The distances met, mm, each with how often.
        spacings_mm: Vec<(f64, usize)>,
    },
    /// Distances that are whole multiples of the usual one: slices are missing.
    MissingSlices {
        /// How many are missing.
        count: usize,
    },
    /// Slices of differing orientation (a scout among axial slices).
    MixedOrientation {
        /// Number of different orientations.
        count: usize,
    },
    /// Two or more slices at the same position (phases, echoes, duplicates).
    RepeatedPositions {
        /// How many slices share a position with another.
        count: usize,
    },
    /// Frames of differing size.
    MixedSize,
    /// Positions are absent: the order is by instance number.
    NoPositions,
}

impl fmt::Display for SeriesNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GantryTilt { degrees } => write!(f, "gantry tilt {degrees:.1}°"),
            Self::MixedSpacing { spacings_mm } => {
                f.write_str("mixed slice spacing:")?;
                for (index, (mm, count)) in spacings_mm.iter().enumerate() {
                    write!(f, "{} {mm:.2} mm ×{count}", if index > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            Self::MissingSlices { count } => write!(f, "{count} slices missing"),
            Self::MixedOrientation { count } => write!(f, "{count} slice orientations"),
            Self::RepeatedPositions { count } => write!(f, "{count} slices share a position"),
            Self::MixedSize => f.write_str("frames of differing size"),
            Self::NoPositions => f.write_str("no slice positions: ordered by number"),
        }
    }
}
