//! What a detector is built from.

use serde::{Deserialize, Serialize};

use super::super::config::ModelConfig;

/// A detector of the lesion classes on the hybrid's features: Faster R-CNN with a feature pyramid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectionConfig {
    /// Channels of each level of the pyramid.
    pub channels: usize,
    /// Values of the hidden layers that look at one region.
    pub hidden: usize,
    /// The finest ResNet stage that is a level, from 1. Behind the last stage comes one more level of half its size.
    pub first_stage: usize,
    /// Side of a square anchor of each level, input pixels, finest first.
    pub anchor_sizes: Vec<f32>,
    /// Heights divided by widths of the anchors of one place, of equal area.
    pub aspect_ratios: Vec<f32>,
    /// Regions an image that are looked at.
    pub proposals: usize,
    /// Of two proposals that overlap by more (intersection over union) one goes.
    pub proposal_overlap: f32,
    /// Boxes below this score are dropped.
    pub score_threshold: f32,
    /// Of two boxes of a class that overlap by more (intersection over union) the one with the lower score goes.
    pub overlap: f32,
    /// Boxes an image, at most.
    pub most_boxes: usize,
}

impl Default for DetectionConfig {
    fn default() -> Self {
        Self {
            channels: 64,
            hidden: 256,
            first_stage: 2,
            anchor_sizes: vec![32.0, 64.0, 128.0],
            aspect_ratios: vec![0.5, 1.0, 2.0],
            proposals: 100,
            proposal_overlap: 0.7,
            score_threshold: 0.05,
            overlap: 0.5,
            most_boxes: 20,
        }
    }
}

impl DetectionConfig {
    /// Checks that it fits the network it belongs to; the error names the field.
    pub(in super::super) fn validate(&self, model: &ModelConfig) -> Result<(), String> {
        let stages = model.resnet.channels.len();
        if !model.has_resnet() {
            return Err("detection: its pyramid needs a ResNet; topology vit has none".into());
        }
        if model.lesions.is_empty() {
            return Err("detection: there are no lesion classes to detect".into());
        }
        if !(1..=stages).contains(&self.first_stage) {
            return Err(format!("detection.first_stage: 1 to {stages}"));
        }
        let levels = stages - self.first_stage + 2;
        if self.anchor_sizes.len() != levels {
            return Err(format!(
                "detection.anchor_sizes: {levels} of them, one a stage from {} and one more",
                self.first_stage
            ));
        }
        let positive = |values: &[f32]| !values.is_empty() && values.iter().all(|v| v.is_finite() && *v > 0.0);
        if !positive(&self.anchor_sizes) || !positive(&self.aspect_ratios) {
            return Err("detection.anchor_sizes, detection.aspect_ratios: must be above 0".into());
        }
        let groups = model.resnet.norm_groups;
        if self.channels == 0 || groups == 0 || !self.channels.is_multiple_of(groups) || self.hidden == 0 {
            return Err(format!("detection.channels: a multiple of resnet.norm_groups ({groups}); hidden: above 0"));
        }
        if self.proposals == 0 || self.most_boxes == 0 {
            return Err("detection.proposals, detection.most_boxes: at least 1".into());
        }
        let shares = [self.proposal_overlap, self.score_threshold, self.overlap];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err("detection.proposal_overlap, score_threshold, overlap: 0 to 1".into());
        }
        Ok(())
    }
}
