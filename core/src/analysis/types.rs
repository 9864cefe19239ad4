//! The result of an analysis, as plain data.

use std::sync::Arc;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::study::{InstanceKey, SeriesUid, Source, SpacingKind};

/// Which network answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Bundle id: the folder's name under `assets/models`.
    pub id: String,
    /// Version of the bundle.
    pub version: String,
    /// SHA-256 of `model.safetensors`, lower-case hexadecimal.
    pub weights_sha256: String,
    /// Device that it ran on: `CPU`, `CUDA 0`, `Metal 0`.
    pub device: String,
}

/// What was analysed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The series.
    pub series_uid: SeriesUid,
    /// The instance.
    pub instance_uid: InstanceKey,
    /// Frame within the instance, from 0.
    pub frame: usize,
    /// The files it was read from.
    pub sources: Vec<Source>,
    /// Rows of the frame.
    pub rows: usize,
    /// Columns of the frame.
    pub columns: usize,
}

/// Whether a probability was calibrated on other patients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// Calibrated on the validation patients named in the bundle.
    Calibrated,
    /// The network's raw probability.
    Uncalibrated,
}

/// A class with its probability for the whole image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Class, as in the bundle (`lung_opacity`).
    pub label: String,
    /// 0 to 1.
    pub probability: f32,
    /// State of the probability.
    pub calibration: Calibration,
    /// Probability from which the bundle calls it positive.
    pub threshold: f32,
}

/// Names a finding within its analysis, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FindingId(pub u32);

/// Third of the lung's height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Zone {
    Upper,
    Middle,
    Lower,
}

/// Extent in millimetres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SizeMm {
    /// Longest diameter of the contour, mm.
    pub longest_mm: f32,
    /// Longest diameter at right angles to it, mm.
    pub perpendicular_mm: f32,
    /// Whether it was measured in the patient or on the detector (projected, magnified).
    pub kind: SpacingKind,
}

/// A radiological observation of the network: a connected region of a lesion heat map above the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Names it in reviews.
    pub id: FindingId,
    /// Class, as in the bundle.
    pub label: String,
    /// Highest probability inside the region, 0 to 1.
    pub probability: f32,
    /// State of the probability.
    pub calibration: Calibration,
    /// Organ with the largest share of the region (`left_lung`); `None` outside all organs.
    pub organ: Option<String>,
    /// Third of that organ's height, for lungs.
    pub zone: Option<Zone>,
    /// Where the heat map is highest: (row, column).
    pub peak: (f32, f32),
    /// Centre of mass: (row, column).
    pub centroid: (f32, f32),
    /// Smallest box around the region: first row, first column, last row, last column (inclusive).
    pub bounding_box: [usize; 4],
    /// Pixels inside the region.
    pub area_px: usize,
    /// Size, where the spacing is known.
    pub size_mm: Option<SizeMm>,
    /// Outer contour, closed: (row, column) vertices.
    pub contour: Vec<(f32, f32)>,
    /// What it is in the volume, where a volume was analysed; everything above is then of one image: the one in view where the finding
    /// reaches it, else that of its peak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<VolumeExtent>,
}

/// A finding as a piece of a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeExtent {
    /// Volume of the voxels at or above the threshold, mm³.
    pub volume_mm3: f32,
    /// Longest diameter in any direction, mm.
    pub longest_mm: f32,
    /// Where the heat map is highest, in the patient (LPS), mm.
    pub peak_mm: [f64; 3],
    /// First and last image that it reaches, places in the reading order of the series, from 0.
    pub images: [usize; 2],
    /// The image of its peak, a place in the reading order; what the reader says of the finding is kept there.
    pub image: usize,
    /// The instance of that image.
    pub instance: InstanceKey,
    /// Its frame.
    pub frame: usize,
}

/// Lesion evidence from the local branch.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Lesion class.
    pub label: String,
    /// Probability, `[row, column]` in the size of the frame, 0 to 1.
    pub values: Arc<Array2<f32>>,
    /// Probability from which a region becomes a finding.
    pub threshold: f32,
    /// How it was made, for people: `lesion head, sigmoid`.
    pub method: String,
    /// Layer it was read from.
    pub layer: String,
}

/// Where an organ is.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganMap {
    /// Organ, as in the bundle (`left_lung`).
    pub organ: String,
    /// Probability, `[row, column]` in the size of the frame, 0 to 1.
    pub values: Arc<Array2<f32>>,
    /// Outer contours at 0.5: (row, column) vertices, closed.
    pub contours: Vec<Vec<(f32, f32)>>,
}

/// How an attention map was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionMethod {
    /// Attention rollout (Abnar and Zuidema, 2020): class-agnostic.
    AttentionRollout,
    /// Gradient-weighted relevance (Chefer, Gur and Wolf, 2021): for one class.
    GradientRelevance,
}

/// Organ-level attention: where the transformer looks. Attention is not evidence of a lesion's place.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionMap {
    /// How it was made.
    pub method: AttentionMethod,
    /// The class it explains; `None` for rollout.
    pub label: Option<String>,
    /// One value a token, `[row, column]` of the token grid; not negative, sums to 1.
    pub tokens: Arc<Array2<f32>>,
    /// The same, `[row, column]` in the size of the frame, scaled so that the largest value is 1.
    pub values: Arc<Array2<f32>>,
    /// Layers it runs over.
    pub layer: String,
    /// By organ, in the bundle's order.
    pub organs: Vec<OrganAttention>,
}

/// How much of an attention map falls on an organ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrganAttention {
    /// Organ, as in the bundle.
    pub organ: String,
    /// Share of the attention that falls on the organ, 0 to 1. Organs overlap: shares need not sum to 1.
    pub share: f32,
    /// Share divided by the organ's share of the area: 1 is what an even map would give. A large organ wins on share alone.
    pub enrichment: f32,
}

/// Attention from every token to every token, for the probe: rollout over all layers. Empty where there is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenAttention {
    /// Rows and columns of the token grid.
    pub grid: (usize, usize),
    /// `[from, to]`, tokens in row-major order without CLS; rows sum to 1.
    pub matrix: Arc<Array2<f32>>,
    /// Coverage of each token by each organ, `[organ, token]`, 0 to 1, organs in the bundle's order.
    pub organ_coverage: Arc<Array2<f32>>,
    /// First row, first column, rows, columns of the frame's area that the token grid covers (it may reach beyond the frame).
    pub field: [f32; 4],
}

/// Something the reader must know before trusting the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// A stable name: `modality_not_intended`, `view_not_intended`, `unlike_training`, `branches_disagree`, ...
    pub code: String,
    /// One sentence.
    pub message: String,
}

impl Analysis {
    /// Instance and frame under which the reader's word on a finding is kept: of the image of its peak.
    pub fn home_of(&self, finding: &Finding) -> (InstanceKey, usize) {
        match &finding.extent {
            Some(extent) => (extent.instance.clone(), extent.frame),
            None => (self.target.instance_uid.clone(), self.target.frame),
        }
    }

    /// Findings that are kept with this image: all of a single image, those with their peak on it of a volume.
    pub fn own_findings(&self) -> impl Iterator<Item = &Finding> {
        let here = |finding: &&Finding| {
            let extent = finding.extent.as_ref();
            extent.is_none_or(|e| e.instance == self.target.instance_uid && e.frame == self.target.frame)
        };
        self.findings.iter().filter(here)
    }

    /// Whether a finding is on this image; those of a volume that do not reach it are listed all the same.
    pub fn shows(&self, finding: &Finding) -> bool {
        let place = self.place;
        finding.extent.as_ref().zip(place).is_none_or(|(extent, place)| {
            let [first, last] = extent.images;
            (first..=last).contains(&place)
        })
    }
}

/// The answer of a bundle for one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Which network.
    pub model: ModelIdentity,
    /// What was analysed.
    pub target: Target,
    /// Of an image of a volume that was analysed as a whole: its place in the reading order of the series, from 0.
    pub place: Option<usize>,
    /// Image-level classes; of a volume, the highest over its images.
    pub predictions: Vec<Prediction>,
    /// Regions, most probable first.
    pub findings: Vec<Finding>,
    /// One a lesion class.
    pub heat_maps: Vec<HeatMap>,
    /// One an organ, in the bundle's order.
    pub organ_maps: Vec<OrganMap>,
    /// Rollout first, then one a lesion class by gradient-weighted relevance; empty where it has not been asked for yet.
    pub attention_maps: Vec<AttentionMap>,
    /// For the probe.
    pub token_attention: TokenAttention,
    /// Warnings about the input and the answer.
    pub flags: Vec<Flag>,
    /// Wall-clock time, seconds.
    pub seconds: f64,
}
