//! One branch alone: what weights of others mostly are, and what a hybrid must be compared with.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::alignment::{Grid, tokens_of};
use super::config::ModelConfig;
use super::layers::PatchEmbedding;
use super::network::Request;
use super::planned::{PlannedFeatures, Scope};
use super::resnet::ResNet;
use super::vit::{Entry, Transformer};
use super::{Features, Hybrid};
use crate::nn::{Plan, Value};

/// A ResNet without a transformer: the last map are the tokens, their mean stands for CLS, there is no attention.
pub struct ResNetAlone {
    resnet: ResNet,
    stage_channels: Vec<usize>,
}

impl ResNetAlone {
    /// Builds it with weights from `vb`: `resnet.*`.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self { resnet: ResNet::new(config, vb.pp("resnet"))?, stage_channels: config.resnet.channels.clone() })
    }
}

impl Hybrid for ResNetAlone {
    fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features> {
        let stages = self.resnet.forward(x, request)?;
        let Some(last) = stages.last() else { candle_core::bail!("a ResNet has at least one stage") };
        let (_, _, rows, columns) = last.dims4()?;
        let tokens = tokens_of(last)?;
        Ok(Features {
            cls: tokens.mean(1)?,
            tokens,
            grid: (rows, columns),
            attention: Vec::new(),
            activations: stages.clone(),
            stages,
        })
    }

    fn plan(&self, plan: &mut Plan, x: Value, _: Scope) -> Result<PlannedFeatures> {
        let stages = self.resnet.plan(plan, x)?;
        let Some(&tokens) = stages.last() else { candle_core::bail!("a ResNet has at least one stage") };
        let (cls, size) = (plan.mean(tokens), plan.size(tokens));
        let grid = (size.rows, size.columns);
        Ok(PlannedFeatures { activations: stages.clone(), stages, cls, tokens, grid, attention: Vec::new() })
    }

    fn depth(&self) -> usize {
        0
    }

    fn stage_channels(&self) -> &[usize] {
        &self.stage_channels
    }
}

/// A vision transformer over patches of the image, without a ResNet: there are no stages.
pub struct VitAlone {
    patches: PatchEmbedding,
    transformer: Transformer,
    grid: Grid,
}

impl VitAlone {
    /// Builds it with weights from `vb`: `vit.patch_embed.proj.*`, `vit.*`.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let patch = config.patch();
        let (channels, dimension) = (config.input_channels(), config.transformer.dimension);
        Ok(Self {
            patches: PatchEmbedding::new(channels, patch, dimension, vb.pp("vit.patch_embed.proj"))?,
            transformer: Transformer::new(&config.transformer, vb.pp("vit"))?,
            grid: Grid::new(config),
        })
    }
}

impl Hybrid for VitAlone {
    fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features> {
        let (_, _, rows, columns) = x.dims4()?;
        let grid = self.grid.for_input(rows, columns)?;
        let patches = self.patches.forward(x, grid)?;
        let (cls, tokens, attention) = self.transformer.forward(&patches, grid, request, Entry::default())?;
        Ok(Features { stages: Vec::new(), activations: Vec::new(), cls, tokens, grid, attention })
    }

    fn plan(&self, plan: &mut Plan, x: Value, scope: Scope) -> Result<PlannedFeatures> {
        let size = plan.size(x);
        let grid = self.grid.for_input(size.rows, size.columns)?;
        let patches = self.patches.plan(plan, x, Some(grid))?;
        let (cls, tokens, attention) = self.transformer.plan(plan, patches, grid, scope, None)?;
        Ok(PlannedFeatures { stages: Vec::new(), activations: Vec::new(), cls, tokens, grid, attention })
    }

    fn depth(&self) -> usize {
        self.transformer.depth()
    }

    fn stage_channels(&self) -> &[usize] {
        &[]
    }
}
