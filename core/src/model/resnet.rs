//! The local branch: a ResNet of basic blocks (He et al., 2016), with group normalisation (Wu and He, 2018), since batches are small.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::config::ResNetConfig;
use super::layers::{ConvNorm, ConvNormSizes};
use super::network::Request;
use crate::nn::max_pool2d;

/// 3x3, 3x3, and the shortcut.
struct BasicBlock {
    conv1: ConvNorm,
    conv2: ConvNorm,
    downsample: Option<ConvNorm>,
}

impl BasicBlock {
    fn new(inputs: usize, outputs: usize, stride: usize, groups: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let sizes = |inputs, kernel, stride, relu| ConvNormSizes { inputs, outputs, kernel, stride, groups, relu };
        let downsample = if stride != 1 || inputs != outputs {
            Some(ConvNorm::new(sizes(inputs, 1, stride, false), 1.0, vb.pp("downsample"))?)
        } else {
            None
        };
        Ok(Self {
            conv1: ConvNorm::new(sizes(inputs, 3, stride, true), 1.0, vb.pp("conv1"))?,
            conv2: ConvNorm::new(sizes(outputs, 3, 1, true), 0.2, vb.pp("conv2"))?,
            downsample,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.conv1.forward(x)?;
        match &self.downsample {
            Some(downsample) => self.conv2.forward_with(&inner, Some(&downsample.forward(x)?)),
            None => self.conv2.forward_with(&inner, Some(x)),
        }
    }
}

/// Stem (7x7, stride 2; 3x3 maximum, stride 2) and stages; stage i has stride `4 · 2^i`.
pub(super) struct ResNet {
    stem: ConvNorm,
    stages: Vec<Vec<BasicBlock>>,
}

impl ResNet {
    /// A ResNet on one channel.
    pub(super) fn new(config: &ResNetConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let groups = config.norm_groups;
        let first = config.channels.first().copied().unwrap_or(groups);
        let stem = ConvNormSizes { inputs: 1, outputs: first, kernel: 7, stride: 2, groups, relu: true };
        let mut stages = Vec::new();
        let mut inputs = first;
        for (stage, (&outputs, &blocks)) in config.channels.iter().zip(&config.blocks).enumerate() {
            let vb = vb.pp(format!("layer{}", stage + 1));
            let mut built = Vec::new();
            for block in 0..blocks {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                built.push(BasicBlock::new(inputs, outputs, stride, groups, &vb.pp(block))?);
                inputs = outputs;
            }
            stages.push(built);
        }
        Ok(Self { stem: ConvNorm::new(stem, 1.0, vb.pp("stem"))?, stages })
    }

    /// What the first stage takes.
    pub(super) fn stem(&self, x: &Tensor) -> Result<Tensor> {
        max_pool2d(&self.stem.forward(x)?, 3, 2, 1)
    }

    /// The map after stage `index` of what the stage before it gave, with the perturbation that `request` has for it: later stages see it.
    pub(super) fn stage(&self, index: usize, mut x: Tensor, request: &Request<'_>) -> Result<Tensor> {
        for block in self.stages.get(index).into_iter().flatten() {
            x = block.forward(&x)?;
        }
        match request.stage_perturbation {
            Some((stage, perturbation)) if stage == index => &x + perturbation,
            _ => Ok(x),
        }
    }

    /// Maps after each stage, finest first.
    pub(super) fn forward(&self, x: &Tensor, request: &Request<'_>) -> Result<Vec<Tensor>> {
        let mut x = self.stem(x)?;
        let mut maps = Vec::with_capacity(self.stages.len());
        for index in 0..self.stages.len() {
            x = self.stage(index, x, request)?;
            maps.push(x.clone());
        }
        Ok(maps)
    }
}
