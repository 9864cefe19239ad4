//! The parallel join: a ResNet and a vision transformer over the same image, fused by concatenation or by weights (the idea of TransFuse and
//! Conformer; Zhang et al., 2021; Peng et al., 2021).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::Init;

use super::alignment::{Grid, ToTokens};
use super::config::{Fusion, ModelConfig};
use super::layers::{LayerNorm, Linear, PatchEmbedding};
use super::network::Request;
use super::planned::{PlannedFeatures, Scope};
use super::resnet::ResNet;
use super::vit::{Entry, Transformer};
use super::{Features, Hybrid};
use crate::nn::{Activation, Plan, Value};

/// How local tokens `r` and global tokens `v` become one.
enum Join {
    /// `W [r; v]`, written `r + W v`, since `r` has its own projection already.
    Concatenation(Linear),
    /// `w r + (1 - w) v` with a learned weight, by feature.
    Weighted(Tensor),
}

impl Join {
    fn apply(&self, local: &Tensor, global: &Tensor) -> Result<Tensor> {
        match self {
            Self::Concatenation(linear) => local + linear.forward(global)?,
            Self::Weighted(weight) => {
                let weight = candle_nn::ops::sigmoid(weight)?;
                let difference = (local - global)?.broadcast_mul(&weight)?;
                global + difference
            }
        }
    }

    /// [`Self::apply`] as a step of `plan`.
    fn plan(&self, plan: &mut Plan, local: Value, global: Value) -> Result<Value> {
        match self {
            Self::Concatenation(linear) => linear.plan(plan, global, Some(local), Activation::None),
            Self::Weighted(weight) => plan.mix(local, global, &candle_nn::ops::sigmoid(weight)?),
        }
    }
}

/// Two branches over one image; tokens of both lie on the same grid.
pub struct Parallel {
    resnet: ResNet,
    projection: ToTokens,
    patches: PatchEmbedding,
    transformer: Transformer,
    join: Join,
    norm: LayerNorm,
    stage_channels: Vec<usize>,
    grid: Grid,
}

impl Parallel {
    /// Builds it with weights from `vb`: `resnet.*`, `patch_embed.proj.*` (of the ResNet's features), `vit.patch_embed.*`, `vit.*`, `fusion.*`.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let dimension = config.transformer.dimension;
        let last = config.resnet.channels.last().copied().unwrap_or(0);
        let patch = config.transformer.grid.map(|cells| config.input_size / cells.max(1));
        // Both ways start near the ResNet alone: what it has learned before the transformer joins is kept.
        let join = match config.fusion {
            Fusion::Concatenation => {
                Join::Concatenation(Linear::new(dimension, dimension, 0.0, vb.pp("fusion.global"))?)
            }
            Fusion::Weighted => Join::Weighted(vb.get_with_hints(dimension, "fusion.weight", Init::Const(4.0))?),
        };
        Ok(Self {
            resnet: ResNet::new(config, vb.pp("resnet"))?,
            projection: ToTokens::new(config, config.resnet.channels.len() - 1, last, vb.pp("patch_embed.proj"))?,
            patches: PatchEmbedding::new(config.input_channels(), patch, dimension, vb.pp("vit.patch_embed.proj"))?,
            transformer: Transformer::new(&config.transformer, vb.pp("vit"))?,
            join,
            norm: LayerNorm::new(dimension, config.transformer.norm_eps, vb.pp("fusion.norm"))?,
            stage_channels: config.resnet.channels.clone(),
            grid: Grid::new(config),
        })
    }
}

impl Hybrid for Parallel {
    fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features> {
        let (_, _, rows, columns) = x.dims4()?;
        let grid = self.grid.for_input(rows, columns)?;
        let stages = self.resnet.forward(x, request)?;
        let Some(last) = stages.last() else { candle_core::bail!("a ResNet has at least one stage") };
        let local = self.projection.forward(last, grid)?;
        let (tokens, cls, attention) = if request.bypass_transformer {
            (local.clone(), local.mean(1)?, Vec::new())
        } else {
            let patches = self.patches.forward(x, grid)?;
            let (cls, global, attention) = self.transformer.forward(&patches, grid, request, Entry::default())?;
            (self.join.apply(&local, &global)?, self.join.apply(&local.mean(1)?, &cls)?, attention)
        };
        Ok(Features {
            activations: stages.clone(),
            stages,
            cls: self.norm.forward(&cls)?,
            tokens: self.norm.forward(&tokens)?,
            grid,
            attention,
        })
    }

    fn plan(&self, plan: &mut Plan, x: Value, scope: Scope) -> Result<PlannedFeatures> {
        let size = plan.size(x);
        let grid = self.grid.for_input(size.rows, size.columns)?;
        let stages = self.resnet.plan(plan, x)?;
        let Some(last) = stages.last() else { candle_core::bail!("a ResNet has at least one stage") };
        let local = self.projection.plan(plan, *last, grid)?;
        let mean = plan.mean(local);
        let (tokens, cls, attention) = if scope.bypass_transformer {
            (local, mean, Vec::new())
        } else {
            let patches = self.patches.plan(plan, x, Some(grid))?;
            let (cls, global, attention) = self.transformer.plan(plan, patches, grid, scope, None)?;
            (self.join.plan(plan, local, global)?, self.join.plan(plan, mean, cls)?, attention)
        };
        let (cls, tokens) = (self.norm.plan(plan, cls)?, self.norm.plan(plan, tokens)?);
        Ok(PlannedFeatures { activations: stages.clone(), stages, cls, tokens, grid, attention })
    }

    fn depth(&self) -> usize {
        self.transformer.depth()
    }

    fn stage_channels(&self) -> &[usize] {
        &self.stage_channels
    }
}
