//! Feature pyramid and region proposals.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::super::Features;
use super::super::config::ModelConfig;
use super::super::convolution::{ConvNorm, Statistics};
use super::super::heads::{add_coarse, conv3, token_map};
use super::super::layers::Pointwise;
use super::DetectionConfig;
use super::anchors::anchors;
use crate::nn::{BoundingBox, BoxCoder, max_pool2d, nms};

/// Anchors are corrected in their own sizes.
pub(super) const PROPOSAL_CODER: BoxCoder = BoxCoder { weights: [1.0; 4] };
/// Anchors of one level, highest first, that may become proposals.
const BEST_OF_LEVEL: usize = 400;
/// Proposals narrower or lower than this, input pixels, are dropped.
const SMALLEST_SIDE: f32 = 1.0;

/// What the first stage gives for a batch of images.
#[derive(Debug, Clone)]
pub struct Pyramid {
    /// Feature maps (batch, channel, rows, columns), finest first.
    pub levels: Vec<Tensor>,
    /// Input pixels per pixel of each level.
    pub strides: Vec<usize>,
    /// Reference boxes over the input, the same for every image, by level.
    pub anchors: Vec<BoundingBox>,
    /// Logit that an anchor holds an object: (batch, anchor).
    pub objectness: Tensor,
    /// How an object's box differs from the anchor: (batch, anchor, 4).
    pub deltas: Tensor,
    /// First anchor of each level, then the number of all.
    starts: Vec<usize>,
    /// Height and width of the input.
    input: (usize, usize),
}

impl Pyramid {
    /// Height and width of the input.
    pub fn input_size(&self) -> (usize, usize) {
        self.input
    }
}

/// Levels from the ResNet's stages, coarse ones added to finer ones (Lin et al., 2017); the coarsest stage is joined by the transformer's
/// tokens, so that every level knows the whole image.
pub(super) struct FeaturePyramid {
    laterals: Vec<Pointwise>,
    context: Pointwise,
    smooth: Vec<ConvNorm>,
    first_stage: usize,
}

impl FeaturePyramid {
    pub(super) fn new(config: &ModelConfig, detection: &DetectionConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let (channels, groups) = (detection.channels, config.resnet.norm_groups);
        let stages = config.resnet.channels.iter().enumerate().skip(detection.first_stage - 1);
        let (mut laterals, mut smooth) = (Vec::new(), Vec::new());
        for (index, inputs) in stages {
            laterals.push(Pointwise::new(*inputs, channels, 0.0, vb.pp("lateral").pp(index))?);
            smooth.push(conv3(channels, channels, groups, vb.pp("smooth").pp(index))?);
        }
        let context = Pointwise::new(config.feature_dimension(), channels, 0.0, vb.pp("context"))?;
        Ok(Self { laterals, context, smooth, first_stage: detection.first_stage })
    }

    /// Levels, finest first, with their strides.
    fn forward(&self, features: &Features) -> Result<(Vec<Tensor>, Vec<usize>)> {
        let mut coarser = self.context.forward(&token_map(features)?)?;
        let mut levels = Vec::new();
        let stages = features.stages.iter().skip(self.first_stage - 1);
        for ((stage, lateral), smooth) in stages.zip(&self.laterals).zip(&self.smooth).rev() {
            coarser = add_coarse(&lateral.forward(stage)?, &coarser)?;
            levels.push(smooth.forward(&coarser, Statistics::Running)?);
        }
        levels.reverse();
        if let Some(last) = levels.last() {
            levels.push(max_pool2d(last, 1, 2, (0, 0))?);
        }
        let strides = (0..levels.len()).map(|level| 4 << (self.first_stage - 1 + level)).collect();
        Ok((levels, strides))
    }
}

/// Region proposal network (Ren et al., 2015): one small head over all levels.
pub(super) struct ProposalHead {
    conv: ConvNorm,
    objectness: Pointwise,
    deltas: Pointwise,
    config: DetectionConfig,
}

impl ProposalHead {
    pub(super) fn new(detection: &DetectionConfig, groups: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let (channels, shapes) = (detection.channels, detection.aspect_ratios.len());
        Ok(Self {
            conv: conv3(channels, channels, groups, vb.pp("conv"))?,
            objectness: Pointwise::zero(channels, shapes, vb.pp("objectness"))?,
            deltas: Pointwise::zero(channels, 4 * shapes, vb.pp("deltas"))?,
            config: detection.clone(),
        })
    }

    /// The pyramid of `features`, with what this head says of its anchors.
    pub(super) fn forward(&self, pyramid: &FeaturePyramid, features: &Features) -> Result<Pyramid> {
        let Some(first) = features.stages.first() else { candle_core::bail!("a detector needs a ResNet") };
        let (batch, _, rows, columns) = first.dims4()?;
        let (levels, strides) = pyramid.forward(features)?;
        let (mut objectness, mut deltas) = (Vec::new(), Vec::new());
        let (mut all, mut starts) = (Vec::new(), vec![0]);
        for ((level, stride), size) in levels.iter().zip(&strides).zip(&self.config.anchor_sizes) {
            let (_, _, rows, columns) = level.dims4()?;
            let x = self.conv.forward(level, Statistics::Running)?;
            let by_place = |map: Tensor| map.permute((0, 2, 3, 1))?.contiguous();
            objectness.push(by_place(self.objectness.forward(&x)?)?.reshape((batch, ()))?);
            deltas.push(by_place(self.deltas.forward(&x)?)?.reshape((batch, (), 4))?);
            all.extend(anchors(rows, columns, *stride, *size, &self.config.aspect_ratios));
            starts.push(all.len());
        }
        Ok(Pyramid {
            levels,
            strides,
            anchors: all,
            objectness: Tensor::cat(&objectness, 1)?,
            deltas: Tensor::cat(&deltas, 1)?,
            starts,
            input: (4 * rows, 4 * columns),
        })
    }

    /// The regions of each image that are most likely to hold an object, most likely first. No gradient flows through them.
    pub(super) fn propose(&self, pyramid: &Pyramid) -> Result<Vec<Vec<BoundingBox>>> {
        let objectness = pyramid.objectness.to_vec2::<f32>()?;
        let deltas = pyramid.deltas.to_vec3::<f32>()?;
        Ok(objectness.iter().zip(&deltas).map(|(scores, deltas)| self.best(pyramid, scores, deltas)).collect())
    }

    fn best(&self, pyramid: &Pyramid, scores: &[f32], deltas: &[Vec<f32>]) -> Vec<BoundingBox> {
        let (height, width) = (pyramid.input.0 as f32, pyramid.input.1 as f32);
        let (mut boxes, mut kept_scores, mut levels) = (Vec::new(), Vec::new(), Vec::new());
        for (level, range) in pyramid.starts.windows(2).enumerate() {
            let mut order: Vec<usize> = (range[0]..range[1]).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            for index in order.into_iter().take(BEST_OF_LEVEL) {
                let [dx, dy, dw, dh] = deltas[index][..] else { continue };
                let bounds = PROPOSAL_CODER.decode(&pyramid.anchors[index], [dx, dy, dw, dh]).clipped(width, height);
                if bounds.width() >= SMALLEST_SIDE && bounds.height() >= SMALLEST_SIDE {
                    boxes.push(bounds);
                    kept_scores.push(scores[index]);
                    levels.push(level);
                }
            }
        }
        let kept = nms(&boxes, &kept_scores, &levels, self.config.proposal_overlap);
        kept.into_iter().take(self.config.proposals).map(|index| boxes[index]).collect()
    }
}
