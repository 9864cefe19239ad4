//! The local branch: a ResNet (He et al., 2016) of basic, bottleneck or re-parameterised blocks.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::config::{Block, ModelConfig, ResNetConfig};
use super::convolution::{ConvNorm, ConvNormSizes, RepConv, Statistics, Style};
use super::network::Request;
use crate::nn::{Plan, Value, max_pool2d};

/// Scale of the last normalisation of a block at the start of training: blocks start near the identity.
const LAST_GAMMA: f64 = 0.2;

/// The convolutions of a block, before the shortcut is added.
enum Branch {
    Basic([ConvNorm; 2]),
    Bottleneck([ConvNorm; 3]),
    Rep([RepConv; 2]),
}

/// A residual block with its shortcut.
struct ResidualBlock {
    branch: Branch,
    downsample: Option<ConvNorm>,
}

impl ResidualBlock {
    fn new(config: &ResNetConfig, inputs: usize, outputs: usize, stride: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let style = Style::of(config);
        let sizes = |inputs, outputs, kernel, stride| ConvNormSizes { inputs, outputs, kernel, stride, relu: true };
        let conv = |name: &str, sizes, gamma| ConvNorm::new(sizes, style, gamma, vb.pp(name));
        let downsample = if stride != 1 || inputs != outputs {
            let sizes = ConvNormSizes { relu: false, ..sizes(inputs, outputs, 1, stride) };
            Some(conv("downsample", sizes, 1.0)?)
        } else {
            None
        };
        let branch = match config.block {
            Block::Basic => Branch::Basic([
                conv("conv1", sizes(inputs, outputs, 3, stride), 1.0)?,
                conv("conv2", sizes(outputs, outputs, 3, 1), LAST_GAMMA)?,
            ]),
            Block::Bottleneck => {
                let inside = outputs / 4;
                Branch::Bottleneck([
                    conv("conv1", sizes(inputs, inside, 1, 1), 1.0)?,
                    conv("conv2", sizes(inside, inside, 3, stride), 1.0)?,
                    conv("conv3", sizes(inside, outputs, 1, 1), LAST_GAMMA)?,
                ])
            }
            Block::Rep => Branch::Rep([
                RepConv::new(sizes(inputs, outputs, 3, stride), true, 1.0, vb.pp("conv1"))?,
                RepConv::new(sizes(outputs, outputs, 3, 1), false, LAST_GAMMA, vb.pp("conv2"))?,
            ]),
        };
        Ok(Self { branch, downsample })
    }

    fn forward(&self, x: &Tensor, statistics: Statistics) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x, statistics)?,
            None => x.clone(),
        };
        match &self.branch {
            Branch::Basic([first, second]) => {
                second.forward_with(&first.forward(x, statistics)?, Some(&shortcut), statistics)
            }
            Branch::Bottleneck([first, second, third]) => {
                let inner = second.forward(&first.forward(x, statistics)?, statistics)?;
                third.forward_with(&inner, Some(&shortcut), statistics)
            }
            Branch::Rep([first, second]) => {
                second.forward_with(&first.forward_with(x, None, statistics)?, Some(&shortcut), statistics)
            }
        }
    }

    /// [`Self::forward`] as steps of `plan`.
    fn plan(&self, plan: &mut Plan, x: Value) -> Result<Value> {
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.plan(plan, x, None)?,
            None => x,
        };
        match &self.branch {
            Branch::Basic([first, second]) => {
                let inner = first.plan(plan, x, None)?;
                second.plan(plan, inner, Some(shortcut))
            }
            Branch::Bottleneck([first, second, third]) => {
                let inner = first.plan(plan, x, None)?;
                let inner = second.plan(plan, inner, None)?;
                third.plan(plan, inner, Some(shortcut))
            }
            Branch::Rep([first, second]) => {
                let inner = first.plan(plan, x, None)?;
                second.plan(plan, inner, Some(shortcut))
            }
        }
    }
}

/// Stem (7x7, stride 2; 3x3 maximum, stride 2) and stages; stage i has stride `4 · 2^i`.
pub(super) struct ResNet {
    stem: Arc<ConvNorm>,
    pool_padding: (usize, usize),
    stages: Vec<Vec<Arc<ResidualBlock>>>,
}

impl ResNet {
    /// The ResNet of `config` on its input channels.
    pub(super) fn new(config: &ModelConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let (inputs, config) = (config.input_channels(), &config.resnet);
        let first = config.channels.first().copied().unwrap_or(config.norm_groups);
        let mut channels = if config.block == Block::Bottleneck { first / 4 } else { first };
        let stem = ConvNormSizes { inputs, outputs: channels, kernel: 7, stride: 2, relu: true };
        let mut stages = Vec::new();
        for (stage, (&outputs, &blocks)) in config.channels.iter().zip(&config.blocks).enumerate() {
            let vb = vb.pp(format!("layer{}", stage + 1));
            let mut built = Vec::new();
            for block in 0..blocks {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                built.push(Arc::new(ResidualBlock::new(config, channels, outputs, stride, &vb.pp(block))?));
                channels = outputs;
            }
            stages.push(built);
        }
        let style = Style::of(config);
        let stem = Arc::new(ConvNorm::new(stem, style, 1.0, vb.pp("stem"))?);
        Ok(Self { stem, pool_padding: style.pool_padding(), stages })
    }

    /// What the first stage takes.
    pub(super) fn stem(&self, x: &Tensor, request: &Request<'_>) -> Result<Tensor> {
        let padding = self.pool_padding;
        request
            .segment(&self.stem, x, move |stem, x, statistics| max_pool2d(&stem.forward(x, statistics)?, 3, 2, padding))
    }

    /// The map after stage `index` of what the stage before it gave, with the perturbation that `request` has for it: later stages see it.
    pub(super) fn stage(&self, index: usize, mut x: Tensor, request: &Request<'_>) -> Result<Tensor> {
        for block in self.stages.get(index).into_iter().flatten() {
            x = request.segment(block, &x, ResidualBlock::forward)?;
        }
        match request.stage_perturbation {
            Some((stage, perturbation)) if stage == index => &x + perturbation,
            _ => Ok(x),
        }
    }

    /// Maps after each stage, finest first.
    pub(super) fn forward(&self, x: &Tensor, request: &Request<'_>) -> Result<Vec<Tensor>> {
        let mut x = self.stem(x, request)?;
        let mut maps = Vec::with_capacity(self.stages.len());
        for index in 0..self.stages.len() {
            x = self.stage(index, x, request)?;
            maps.push(x.clone());
        }
        Ok(maps)
    }

    /// [`Self::stem`] as steps of `plan`.
    pub(super) fn plan_stem(&self, plan: &mut Plan, x: Value) -> Result<Value> {
        let x = self.stem.plan(plan, x, None)?;
        plan.max_pool(x, 3, 2, self.pool_padding)
    }

    /// [`Self::stage`] as steps of `plan`.
    pub(super) fn plan_stage(&self, index: usize, plan: &mut Plan, x: Value) -> Result<Value> {
        self.stages.get(index).into_iter().flatten().try_fold(x, |x, block| block.plan(plan, x))
    }

    /// [`Self::forward`] as steps of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, x: Value) -> Result<Vec<Value>> {
        let mut x = self.plan_stem(plan, x)?;
        let mut maps = Vec::with_capacity(self.stages.len());
        for index in 0..self.stages.len() {
            x = self.plan_stage(index, plan, x)?;
            maps.push(x);
        }
        Ok(maps)
    }
}
