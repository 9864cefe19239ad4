//! Segmentations: masks of named structures over frames.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::{InstanceUid, PlaneGeometry};

/// A coded concept (PS3.3 8.8): `39607008`, `SCT`, `Lung structure`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CodedConcept {
    /// Code Value.
    pub value: String,
    /// Coding Scheme Designator: `SCT`, `DCM`, ...
    pub scheme: String,
    /// Code Meaning.
    pub meaning: String,
}

impl CodedConcept {
    /// A concept from its parts.
    pub fn new(value: &str, scheme: &str, meaning: &str) -> Self {
        Self { value: value.into(), scheme: scheme.into(), meaning: meaning.into() }
    }
}

/// What the values of a mask mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentationKind {
    /// 0 or 1.
    Binary,
    /// 0 to `maximum`: the probability that the pixel belongs to the segment, or else the share of it that does.
    Fractional {
        /// The value of certainty.
        maximum: u8,
        /// Probability, not occupancy.
        probability: bool,
    },
    /// 0 or 1, and no two segments share a pixel: stored as one image of labels.
    LabelMap,
}

impl SegmentationKind {
    /// The largest value of a mask.
    pub fn maximum(self) -> u8 {
        match self {
            Self::Fractional { maximum, .. } => maximum,
            Self::Binary | Self::LabelMap => 1,
        }
    }
}

/// Who or what drew a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentAlgorithm {
    /// A person.
    Manual,
    /// A person with help, by this name.
    SemiAutomatic(String),
    /// A program, by this name.
    Automatic(String),
}

/// One structure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Segment Number, from 1.
    pub number: u16,
    /// Segment Label: its name for people.
    pub label: String,
    /// Segmented Property Category: tissue, organ, lesion.
    pub category: CodedConcept,
    /// Segmented Property Type: what it is.
    pub property: CodedConcept,
    /// Anatomic region it lies in.
    pub region: Option<CodedConcept>,
    /// How it was made.
    pub algorithm: SegmentAlgorithm,
    /// Colour to show it in, sRGB.
    pub color: Option<[u8; 3]>,
}

/// The frame a mask was drawn on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceFrame {
    /// SOP Class UID of the instance.
    pub sop_class_uid: String,
    /// The instance.
    pub sop_instance_uid: InstanceUid,
    /// The frame, from 0; `None` for an instance of one frame.
    pub frame: Option<usize>,
}

/// One segment on one plane.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentMask {
    /// Number of the segment.
    pub segment: u16,
    /// The frame it was drawn on, where it is told.
    pub source: Option<SourceFrame>,
    /// Where the plane lies in the patient, where that is known.
    pub geometry: Option<PlaneGeometry>,
    /// `[row, column]`, 0 to [`SegmentationKind::maximum`].
    pub values: Array2<u8>,
}

/// Masks of named structures, on planes of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// What the values mean.
    pub kind: SegmentationKind,
    /// Name of the whole, for people.
    pub label: String,
    /// Distance of rows and of columns, mm, where it is known.
    pub spacing_mm: Option<[f64; 2]>,
    /// Thickness of the planes, mm, where it is known.
    pub thickness_mm: Option<f64>,
    /// Frame of Reference UID, where the planes have a place.
    pub frame_of_reference_uid: Option<String>,
    /// The structures.
    pub segments: Vec<Segment>,
    /// Their masks; a plane on which a segment is absent has none.
    pub masks: Vec<SegmentMask>,
}

impl Segmentation {
    /// The segment of this number.
    pub fn segment(&self, number: u16) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.number == number)
    }
}
