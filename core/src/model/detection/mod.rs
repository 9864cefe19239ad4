//! Faster R-CNN with a feature pyramid on the hybrid (Ren et al., 2015; Lin et al., 2017): proposals from all levels, then class and box of
//! each proposal.

mod anchors;
mod config;
mod pyramid;
mod region;
#[cfg(test)]
mod tests;

pub use config::DetectionConfig;
pub use pyramid::Pyramid;

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use self::pyramid::{FeaturePyramid, PROPOSAL_CODER, ProposalHead};
use self::region::{REGION_CODER, RegionHead};
use super::Features;
use super::config::ModelConfig;
use super::dropout::Dropout;
use crate::nn::{BoundingBox, BoxCoder, Roi, nms};

/// A box that the detector has found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Where.
    pub bounds: BoundingBox,
    /// Index of the lesion class.
    pub class: usize,
    /// Softmax of the class, 0 to 1, not calibrated.
    pub score: f32,
}

/// The detector of a network.
pub struct Detector {
    pyramid: FeaturePyramid,
    proposals: ProposalHead,
    regions: RegionHead,
    config: DetectionConfig,
}

impl Detector {
    /// How proposals differ from anchors.
    pub const PROPOSAL_CODER: BoxCoder = PROPOSAL_CODER;
    /// How boxes differ from proposals.
    pub const REGION_CODER: BoxCoder = REGION_CODER;

    /// Builds it with weights from `vb`: `pyramid.{lateral,smooth}.i.*`, `pyramid.context.*`, `proposal.*`, `region.*`.
    pub(super) fn new(config: &ModelConfig, detection: &DetectionConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            pyramid: FeaturePyramid::new(config, detection, &vb.pp("pyramid"))?,
            proposals: ProposalHead::new(detection, config.resnet.norm_groups, &vb.pp("proposal"))?,
            regions: RegionHead::new(detection, config.lesions.len(), &vb.pp("region"))?,
            config: detection.clone(),
        })
    }

    /// What it was built from.
    pub fn config(&self) -> &DetectionConfig {
        &self.config
    }

    /// Levels, anchors and what the proposal head says of them, for the images that gave `features`.
    pub fn pyramid(&self, features: &Features) -> Result<Pyramid> {
        self.proposals.forward(&self.pyramid, features)
    }

    /// Regions of each image that are worth a look, most likely first, in input pixels.
    pub fn propose(&self, pyramid: &Pyramid) -> Result<Vec<Vec<BoundingBox>>> {
        self.proposals.propose(pyramid)
    }

    /// Logits (region, 1 + class), background first, and corrections (region, class, 4) of `rois`, of which there must be one.
    pub fn classify(&self, pyramid: &Pyramid, rois: &[Roi], dropout: Option<Dropout>) -> Result<(Tensor, Tensor)> {
        self.regions.forward(pyramid, rois, dropout)
    }

    /// Boxes of each image that gave `features`, highest score first, in input pixels.
    pub fn detect(&self, features: &Features) -> Result<Vec<Vec<Detection>>> {
        self.boxes(&self.pyramid(features)?)
    }

    /// Boxes of each image of `pyramid`, highest score first, in input pixels.
    pub fn boxes(&self, pyramid: &Pyramid) -> Result<Vec<Vec<Detection>>> {
        let proposals = self.propose(pyramid)?;
        let of_image = |(image, boxes): (usize, &Vec<BoundingBox>)| -> Vec<Roi> {
            boxes.iter().map(|bounds| Roi { image, bounds: *bounds }).collect()
        };
        let rois: Vec<Roi> = proposals.iter().enumerate().flat_map(of_image).collect();
        if rois.is_empty() {
            return Ok(vec![Vec::new(); proposals.len()]);
        }
        let (logits, deltas) = self.classify(pyramid, &rois, None)?;
        let scores = candle_nn::ops::softmax(&logits, D::Minus1)?.to_vec2::<f32>()?;
        let deltas = deltas.to_vec3::<f32>()?;
        let mut found = vec![Vec::new(); proposals.len()];
        let (height, width) = pyramid.input_size();
        for ((roi, scores), deltas) in rois.iter().zip(&scores).zip(&deltas) {
            for (class, (score, deltas)) in scores.iter().skip(1).zip(deltas).enumerate() {
                let [dx, dy, dw, dh] = deltas[..] else { continue };
                let bounds = REGION_CODER.decode(&roi.bounds, [dx, dy, dw, dh]).clipped(width as f32, height as f32);
                if *score >= self.config.score_threshold && bounds.area() > 0.0 {
                    found[roi.image].push(Detection { bounds, class, score: *score });
                }
            }
        }
        Ok(found.into_iter().map(|found| self.without_doubles(&found)).collect())
    }

    fn without_doubles(&self, found: &[Detection]) -> Vec<Detection> {
        let boxes: Vec<BoundingBox> = found.iter().map(|d| d.bounds).collect();
        let scores: Vec<f32> = found.iter().map(|d| d.score).collect();
        let classes: Vec<usize> = found.iter().map(|d| d.class).collect();
        let kept = nms(&boxes, &scores, &classes, self.config.overlap);
        kept.into_iter().take(self.config.most_boxes).map(|index| found[index]).collect()
    }
}
