//! The interleaved join: after each ResNet stage a transformer looks over the whole map and writes back into it (as BoTNet and CoAtNet mix
//! the two kinds of layers; Srinivas et al., 2021; Dai et al., 2021).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::alignment::{Grid, ToTokens, map_of};
use super::config::ModelConfig;
use super::layers::Pointwise;
use super::network::Request;
use super::planned::{PlannedFeatures, Scope};
use super::resnet::ResNet;
use super::vit::{Entry, Transformer};
use super::{Features, Hybrid};
use crate::nn::{Plan, Value, resize_bilinear};

/// One stage's transformer, with its ways in and out.
struct Step {
    projection: ToTokens,
    transformer: Transformer,
    back: Pointwise,
}

/// stage 1 -> transformer -> stage 2 -> transformer -> ...; CLS is handed from one to the next.
pub struct Interleaved {
    resnet: ResNet,
    steps: Vec<Step>,
    stage_channels: Vec<usize>,
    depth: usize,
    grid: Grid,
}

impl Interleaved {
    /// Builds it with weights from `vb`: `resnet.*`, `interleaved.i.{proj,vit,back}.*`. The layers of the transformer are shared out among
    /// the stages, late stages first.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let dimension = config.transformer.dimension;
        let stages = config.resnet.channels.len();
        let mut steps = Vec::with_capacity(stages);
        for (index, &channels) in config.resnet.channels.iter().enumerate() {
            let mut part = config.transformer.clone();
            part.depth = (config.transformer.depth + index) / stages;
            let vb = vb.pp("interleaved").pp(index);
            steps.push(Step {
                projection: ToTokens::new(config, index, channels, vb.pp("proj"))?,
                transformer: Transformer::new(&part, vb.pp("vit"))?,
                // Starts at zero: unfreezing the transformers does not disturb what the ResNet has learned.
                back: Pointwise::zero(dimension, channels, vb.pp("back"))?,
            });
        }
        Ok(Self {
            resnet: ResNet::new(config, vb.pp("resnet"))?,
            steps,
            stage_channels: config.resnet.channels.clone(),
            depth: config.transformer.depth,
            grid: Grid::new(config),
        })
    }
}

impl Hybrid for Interleaved {
    fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features> {
        let (_, _, rows, columns) = x.dims4()?;
        let grid = self.grid.for_input(rows, columns)?;
        let mut x = self.resnet.stem(x, request)?;
        let (mut stages, mut activations, mut attention) = (Vec::new(), Vec::new(), Vec::new());
        let mut last: Option<(Tensor, Tensor)> = None;
        let mut first_layer = 0;
        for (index, step) in self.steps.iter().enumerate() {
            x = self.resnet.stage(index, x, request)?;
            activations.push(x.clone());
            let tokens = step.projection.forward(&x, grid)?;
            let entry = Entry { first_layer, cls: last.as_ref().map(|(cls, _)| cls) };
            let (cls, tokens, seen) = step.transformer.forward(&tokens, grid, request, entry)?;
            first_layer += step.transformer.depth();
            attention.extend(seen);
            if !request.bypass_transformer {
                let (_, _, height, width) = x.dims4()?;
                x = (&x + resize_bilinear(&step.back.forward(&map_of(&tokens, grid)?)?, height, width)?)?;
            }
            stages.push(x.clone());
            last = Some((cls, tokens));
        }
        let Some((cls, tokens)) = last else { candle_core::bail!("a ResNet has at least one stage") };
        Ok(Features { stages, activations, cls, tokens, grid, attention })
    }

    fn plan(&self, plan: &mut Plan, x: Value, scope: Scope) -> Result<PlannedFeatures> {
        let size = plan.size(x);
        let grid = self.grid.for_input(size.rows, size.columns)?;
        let mut x = self.resnet.plan_stem(plan, x)?;
        let (mut stages, mut activations, mut attention) = (Vec::new(), Vec::new(), Vec::new());
        let mut last: Option<(Value, Value)> = None;
        for (index, step) in self.steps.iter().enumerate() {
            x = self.resnet.plan_stage(index, plan, x)?;
            activations.push(x);
            let tokens = step.projection.plan(plan, x, grid)?;
            let before = last.map(|(cls, _)| cls);
            let (cls, tokens, seen) = step.transformer.plan(plan, tokens, grid, scope, before)?;
            attention.extend(seen);
            if !scope.bypass_transformer {
                let back = step.back.plan(plan, tokens)?;
                x = plan.add_resized(x, back)?;
            }
            stages.push(x);
            last = Some((cls, tokens));
        }
        let Some((cls, tokens)) = last else { candle_core::bail!("a ResNet has at least one stage") };
        Ok(PlannedFeatures { stages, activations, cls, tokens, grid, attention })
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn stage_channels(&self) -> &[usize] {
        &self.stage_channels
    }
}
