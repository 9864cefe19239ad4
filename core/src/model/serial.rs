//! The serial join: ResNet features, pooled to the token grid, flattened and projected, are the transformer's tokens.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::config::ModelConfig;
use super::layers::Linear;
use super::network::Request;
use super::resnet::ResNet;
use super::vit::Transformer;
use super::{Features, Hybrid};
use crate::nn::adaptive_avg_pool2d;

/// ResNet -> alignment -> projection -> position embedding -> transformer.
pub struct Serial {
    resnet: ResNet,
    projection: Linear,
    transformer: Transformer,
    stage_channels: Vec<usize>,
    /// Token rows and columns at the configured input size, and the last stage's size there.
    grid: [usize; 2],
    stage_side: usize,
}

impl Serial {
    /// Builds it with weights from `vb`: `resnet.*`, `patch_embed.proj.*`, `vit.*`.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let last = config.resnet.channels.last().copied().unwrap_or(0);
        let dimension = config.transformer.dimension;
        Ok(Self {
            resnet: ResNet::new(&config.resnet, vb.pp("resnet"))?,
            projection: Linear::new(last, dimension, (1.0 / last.max(1) as f64).sqrt(), vb.pp("patch_embed.proj"))?,
            transformer: Transformer::new(&config.transformer, vb.pp("vit"))?,
            stage_channels: config.resnet.channels.clone(),
            grid: config.transformer.grid,
            stage_side: config.input_size / config.coarsest_stride(),
        })
    }

    /// Token grid for a last stage of `size` pixels: the configured grid, scaled with the input.
    fn grid_for(&self, size: usize, configured: usize) -> usize {
        (size * configured).div_ceil(self.stage_side.max(1)).max(1)
    }
}

impl Hybrid for Serial {
    fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features> {
        let mut stages = self.resnet.forward(x)?;
        if let Some((stage, perturbation)) = request.stage_perturbation
            && let Some(map) = stages.get_mut(stage)
        {
            *map = (&*map + perturbation)?;
        }
        let Some(last) = stages.last() else { candle_core::bail!("a ResNet has at least one stage") };
        let (batch, channels, height, width) = last.dims4()?;
        let grid = (self.grid_for(height, self.grid[0]), self.grid_for(width, self.grid[1]));
        let aligned = adaptive_avg_pool2d(last, grid.0, grid.1)?;
        let flat = aligned.reshape((batch, channels, grid.0 * grid.1))?.transpose(1, 2)?.contiguous()?;
        let (cls, tokens, attention) = self.transformer.forward(&self.projection.forward(&flat)?, grid, request)?;
        Ok(Features { stages, cls, tokens, grid, attention })
    }

    fn depth(&self) -> usize {
        self.transformer.depth()
    }

    fn stage_channels(&self) -> &[usize] {
        &self.stage_channels
    }
}
