//! From a frame and a model bundle to findings and maps.
//!
//! A volume is analysed slice by slice, each between its neighbours, and merged in three dimensions ([`VolumeAnalysis`]); each of its images
//! is then an [`Analysis`] like any other.
//!
//! An [`Analysis`] is immutable: reviews and comments live in [`crate::annotation::Session`]. All coordinates are those of the
//! analysed frame: (row, column) in pixels, the centre of the first pixel at (0, 0).

pub mod contour;
mod explained;
mod findings;
mod infer;
mod local;
mod run;
mod segmentation;
mod types;
mod volumes;

pub use explained::{CamMap, Explainer, Explanations, MapFaithfulness, MapId, MapKind, stage_count};
pub use findings::{Cut, largest_region, peaks, region_boxes};
pub use infer::{Inference, familiarity_features, infer};
pub use local::local_features;
pub use run::{AnalysisError, analyze, input_flags, network_image, network_values, prediction};
pub use segmentation::{PROBABILITIES, segmentation};
pub use types::{
    Analysis, AttentionMap, AttentionMethod, Calibration, Finding, FindingId, Flag, HeatMap, ModelIdentity,
    OrganAttention, OrganMap, Prediction, SizeMm, Target, TokenAttention, VolumeExtent, Zone,
};
pub use volumes::{OrganVolume, ProbabilityVolume, VolumeAnalysis, analyze_volume, slab_image};
