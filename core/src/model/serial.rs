//! The serial join: ResNet features, brought onto the token grid, flattened and projected, are the transformer's tokens.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::alignment::{Grid, ToTokens};
use super::config::ModelConfig;
use super::network::Request;
use super::planned::{PlannedFeatures, Scope};
use super::resnet::ResNet;
use super::vit::{Entry, Transformer};
use super::{Features, Hybrid};
use crate::nn::{Plan, Value};

/// ResNet -> alignment -> projection -> position embedding -> transformer.
pub struct Serial {
    resnet: ResNet,
    projection: ToTokens,
    transformer: Transformer,
    stage_channels: Vec<usize>,
    grid: Grid,
}

impl Serial {
    /// Builds it with weights from `vb`: `resnet.*`, `patch_embed.proj.*`, `vit.*`.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let last = config.resnet.channels.last().copied().unwrap_or(0);
        Ok(Self {
            resnet: ResNet::new(config, vb.pp("resnet"))?,
            projection: ToTokens::new(config, config.resnet.channels.len() - 1, last, vb.pp("patch_embed.proj"))?,
            transformer: Transformer::new(&config.transformer, vb.pp("vit"))?,
            stage_channels: config.resnet.channels.clone(),
            grid: Grid::new(config),
        })
    }
}

impl Hybrid for Serial {
    fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features> {
        let (_, _, rows, columns) = x.dims4()?;
        let grid = self.grid.for_input(rows, columns)?;
        let stages = self.resnet.forward(x, request)?;
        let Some(last) = stages.last() else { candle_core::bail!("a ResNet has at least one stage") };
        let tokens = self.projection.forward(last, grid)?;
        let (cls, tokens, attention) = self.transformer.forward(&tokens, grid, request, Entry::default())?;
        Ok(Features { activations: stages.clone(), stages, cls, tokens, grid, attention })
    }

    fn plan(&self, plan: &mut Plan, x: Value, scope: Scope) -> Result<PlannedFeatures> {
        let size = plan.size(x);
        let grid = self.grid.for_input(size.rows, size.columns)?;
        let stages = self.resnet.plan(plan, x)?;
        let Some(last) = stages.last() else { candle_core::bail!("a ResNet has at least one stage") };
        let tokens = self.projection.plan(plan, *last, grid)?;
        let (cls, tokens, attention) = self.transformer.plan(plan, tokens, grid, scope, None)?;
        Ok(PlannedFeatures { activations: stages.clone(), stages, cls, tokens, grid, attention })
    }

    fn depth(&self) -> usize {
        self.transformer.depth()
    }

    fn stage_channels(&self) -> &[usize] {
        &self.stage_channels
    }
}
