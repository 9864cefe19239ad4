//! A volume through a bundle of slabs: each slice is asked about between its neighbours, and the answers are merged in three dimensions.
//!
//! | file | what is in it |
//! |---|---|
//! | `run.rs` | planes through the volume, batches through the network, probabilities as volumes |
//! | `pieces.rs` | connected pieces of a volume of probabilities, and how large they are |
//! | `slice.rs` | one image of the series as an [`super::Analysis`] |

mod pieces;
mod run;
mod slice;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::types::{Finding, Flag, ModelIdentity, Prediction};
use crate::study::SeriesUid;
use crate::volume::{PlaneKind, Vector, Volume, Voxels};

pub use run::{analyze_volume, slab_image};

/// Probabilities of a lesion class over a volume.
#[derive(Debug, Clone)]
pub struct ProbabilityVolume {
    /// Class, as in the bundle.
    pub label: String,
    /// Probability in 255 steps on the network's own lattice, half its input; read it by [`Volume::sample`], in the patient. Shared, so that any
    /// plane can be cut out of it on another thread.
    pub values: Arc<Volume>,
    /// Probability from which a piece becomes a finding.
    pub threshold: f32,
}

/// An organ in a volume: the largest connected piece.
#[derive(Debug, Clone)]
pub struct OrganVolume {
    /// Organ, as in the bundle.
    pub organ: String,
    /// As [`ProbabilityVolume::values`]; 0 outside the largest piece.
    pub values: Arc<Volume>,
    /// Volume from a probability of one half on, mm³.
    pub volume_mm3: f64,
}

/// The answer of a bundle for a volume.
#[derive(Debug, Clone)]
pub struct VolumeAnalysis {
    /// Which network.
    pub model: ModelIdentity,
    /// The series.
    pub series_uid: SeriesUid,
    /// The volume that was analysed.
    pub volume: Arc<Volume>,
    /// Which planes the network saw.
    pub plane: PlaneKind,
    /// How many.
    pub planes: usize,
    /// Of each class the highest probability over all planes, not calibrated: planes are many.
    pub predictions: Vec<Prediction>,
    /// Connected pieces, most probable first, as they are on the image of their peak.
    pub findings: Vec<Finding>,
    /// One a lesion class, in the bundle's order.
    pub lesions: Vec<ProbabilityVolume>,
    /// One an organ, in the bundle's order.
    pub organs: Vec<OrganVolume>,
    /// Warnings about the input and the answer.
    pub flags: Vec<Flag>,
    /// Wall-clock time, seconds.
    pub seconds: f64,
    /// How lesion maps were made, and from which layer, for people.
    lesion_words: (String, String),
    /// For each finding, in order: its centre on each plane that it reaches.
    tracks: Vec<Vec<Vector>>,
}

/// Probability from which a place counts as suspected by [`VolumeAnalysis::candidates`].
const SUSPECTED: u8 = 26;

impl VolumeAnalysis {
    /// Places of a lesion class that are suspected with a probability of a tenth or more, whatever the threshold of findings: the peaks of
    /// connected pieces (LPS, mm) with their probability. Candidates of a FROC.
    pub fn candidates(&self, label: &str) -> Vec<(Vector, f32)> {
        let Some(class) = self.lesions.iter().find(|class| class.label == label) else { return Vec::new() };
        let Voxels::U8(values) = &class.values.voxels else { return Vec::new() };
        let grid = &class.values.grid;
        // Pieces at rising thresholds: what hangs together at a low one may be two lesions at a higher one.
        let mut found: Vec<([usize; 3], u8)> = Vec::new();
        for threshold in (SUSPECTED..=230).step_by(34) {
            for piece in pieces::pieces(values, grid.shape(), threshold) {
                if !found.iter().any(|(at, _)| *at == piece.peak.0) {
                    found.push(piece.peak);
                }
            }
        }
        let place = |at: [usize; 3]| grid.patient_from_voxel(at.map(|x| x as f64));
        found.into_iter().map(|(at, value)| (place(at), f32::from(value) / 255.0)).collect()
    }

    /// Bytes of its probabilities, without those of the volume.
    pub fn bytes(&self) -> usize {
        let lesions = self.lesions.iter().map(|class| class.values.bytes());
        lesions.chain(self.organs.iter().map(|organ| organ.values.bytes())).sum()
    }
}
