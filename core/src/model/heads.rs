//! Heads: lesion map from local features with global context, organ map from tokens, classes from CLS. Their normalisation is of groups.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::Init;

use super::Features;
use super::alignment::map_of;
use super::config::ModelConfig;
use super::convolution::{ConvNorm, ConvNormSizes, Style};
use super::dropout::Dropout;
use super::layers::{Linear, Pointwise};
use super::planned::PlannedFeatures;
use crate::nn::{Plan, Value, resize_bilinear};

/// Tokens as a map: (batch, dimension, rows, columns).
pub(super) fn token_map(features: &Features) -> Result<Tensor> {
    map_of(&features.tokens, features.grid)
}

pub(super) fn conv3(inputs: usize, outputs: usize, groups: usize, vb: VarBuilder<'_>) -> Result<ConvNorm> {
    let sizes = ConvNormSizes { inputs, outputs, kernel: 3, stride: 1, relu: true };
    ConvNorm::new(sizes, Style::plain(groups), 1.0, vb)
}

/// Sites of dropout, behind those of the transformer's layers.
const LESION_SITE: u64 = 1 << 32;
const ORGAN_SITE: u64 = LESION_SITE + 1;
const CLASS_SITE: u64 = LESION_SITE + 2;

fn dropped(x: Tensor, dropout: Option<Dropout>, site: u64) -> Result<Tensor> {
    dropout.map_or(Ok(x.clone()), |dropout| dropout.channels(&x, site))
}

/// `fine` + `coarse` resampled to its size.
pub(super) fn add_coarse(fine: &Tensor, coarse: &Tensor) -> Result<Tensor> {
    let (_, _, rows, cols) = fine.dims4()?;
    fine + resize_bilinear(coarse, rows, cols)?
}

/// Lesion map from the ResNet's second stage (stride 8), with the last stage and the tokens as context; where lesions are fine, it is enlarged
/// with the first stage (stride 4) as a guide.
pub(super) struct LesionHead {
    fine: Pointwise,
    coarse: Pointwise,
    context: Pointwise,
    merge: ConvNorm,
    /// From the channels of the head to those of the first stage, and that stage.
    detail: Option<(Pointwise, Pointwise)>,
    refine: ConvNorm,
    out: Pointwise,
}

impl LesionHead {
    pub(super) fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let (channels, groups) = (config.head_channels, config.resnet.norm_groups);
        let stage = |index: usize| config.resnet.channels.get(index).copied().unwrap_or(groups);
        let detail = match config.fine_lesions {
            true => Some((
                Pointwise::new(channels, stage(0), 0.0, vb.pp("narrow"))?,
                Pointwise::new(stage(0), stage(0), 0.0, vb.pp("detail"))?,
            )),
            false => None,
        };
        let last = if detail.is_some() { stage(0) } else { channels };
        Ok(Self {
            fine: Pointwise::new(stage(1), channels, 0.0, vb.pp("fine"))?,
            coarse: Pointwise::new(stage(config.resnet.channels.len() - 1), channels, 0.0, vb.pp("coarse"))?,
            context: Pointwise::new(config.feature_dimension(), channels, 0.0, vb.pp("context"))?,
            merge: conv3(channels, channels, groups, vb.pp("merge"))?,
            detail,
            refine: conv3(last, last, groups, vb.pp("refine"))?,
            // Lesions are rare: the map starts at a probability of 5 %.
            out: Pointwise::new(last, config.lesions.len(), -3.0, vb.pp("out"))?,
        })
    }

    /// Logits (batch, lesion, height / stride, width / stride).
    pub(super) fn forward(&self, features: &Features, dropout: Option<Dropout>) -> Result<Tensor> {
        let ([first, fine, ..], Some(last)) = (features.stages.as_slice(), features.stages.last()) else {
            candle_core::bail!("the lesion head needs two stages");
        };
        let context = self.context.forward(&token_map(features)?)?;
        let coarse = add_coarse(&self.coarse.forward(last)?, &context)?;
        let x = dropped(add_coarse(&self.fine.forward(fine)?, &coarse)?, dropout, LESION_SITE)?;
        let mut x = self.merge.forward(&x, false)?;
        if let Some((narrow, detail)) = &self.detail {
            x = add_coarse(&detail.forward(first)?, &narrow.forward(&x)?)?;
        }
        self.out.forward(&self.refine.forward(&x, false)?)
    }

    /// [`Self::forward`] as steps of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, features: &PlannedFeatures) -> Result<Value> {
        let ([first, fine, ..], Some(last)) = (features.stages.as_slice(), features.stages.last()) else {
            candle_core::bail!("the lesion head needs two stages");
        };
        let context = self.context.plan(plan, features.tokens)?;
        let coarse = self.coarse.plan(plan, *last)?;
        let coarse = plan.add_resized(coarse, context)?;
        let fine = self.fine.plan(plan, *fine)?;
        let x = plan.add_resized(fine, coarse)?;
        let mut x = self.merge.plan(plan, x, None)?;
        if let Some((narrow, detail)) = &self.detail {
            let (narrow, detail) = (narrow.plan(plan, x)?, detail.plan(plan, *first)?);
            x = plan.add_resized(detail, narrow)?;
        }
        let x = self.refine.plan(plan, x, None)?;
        self.out.plan(plan, x)
    }
}

/// Organ map: tokens, enlarged over two steps with the ResNet's maps as guides for the edges (TransUNet's decoder).
pub(super) struct OrganHead {
    tokens: Pointwise,
    guide2: Pointwise,
    merge2: ConvNorm,
    narrow: Pointwise,
    guide1: Pointwise,
    merge1: ConvNorm,
    out: Pointwise,
}

impl OrganHead {
    pub(super) fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let (channels, groups) = (config.head_channels, config.resnet.norm_groups);
        let stage = |index: usize| config.resnet.channels.get(index).copied().unwrap_or(groups);
        let narrow = stage(0);
        Ok(Self {
            tokens: Pointwise::new(config.feature_dimension(), channels, 0.0, vb.pp("tokens"))?,
            guide2: Pointwise::new(stage(1), channels, 0.0, vb.pp("guide2"))?,
            merge2: conv3(channels, channels, groups, vb.pp("merge2"))?,
            narrow: Pointwise::new(channels, narrow, 0.0, vb.pp("narrow"))?,
            guide1: Pointwise::new(stage(0), narrow, 0.0, vb.pp("guide1"))?,
            merge1: conv3(narrow, narrow, groups, vb.pp("merge1"))?,
            out: Pointwise::new(narrow, config.organs.len(), -1.0, vb.pp("out"))?,
        })
    }

    /// Logits (batch, organ, height / 4, width / 4).
    pub(super) fn forward(&self, features: &Features, dropout: Option<Dropout>) -> Result<Tensor> {
        let [first, second, ..] = features.stages.as_slice() else {
            candle_core::bail!("the organ head needs two stages");
        };
        let tokens = self.tokens.forward(&token_map(features)?)?;
        let x = dropped(add_coarse(&self.guide2.forward(second)?, &tokens)?, dropout, ORGAN_SITE)?;
        let x = self.merge2.forward(&x, false)?;
        let x = add_coarse(&self.guide1.forward(first)?, &self.narrow.forward(&x)?)?;
        let x = self.merge1.forward(&x, false)?;
        self.out.forward(&x)
    }

    /// [`Self::forward`] as steps of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, features: &PlannedFeatures) -> Result<Value> {
        let [first, second, ..] = features.stages.as_slice() else {
            candle_core::bail!("the organ head needs two stages");
        };
        let tokens = self.tokens.plan(plan, features.tokens)?;
        let guide = self.guide2.plan(plan, *second)?;
        let x = plan.add_resized(guide, tokens)?;
        let x = self.merge2.plan(plan, x, None)?;
        let narrow = self.narrow.plan(plan, x)?;
        let guide = self.guide1.plan(plan, *first)?;
        let x = plan.add_resized(guide, narrow)?;
        let x = self.merge1.plan(plan, x, None)?;
        self.out.plan(plan, x)
    }
}

/// Image-level classes: a linear read-out of CLS, plus the evidence of the lesion map.
pub(super) struct ClassHead {
    cls: Linear,
    evidence: Tensor,
}

impl ClassHead {
    pub(super) fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            cls: Linear::new(config.feature_dimension(), config.lesions.len(), 0.0, vb.pp("cls"))?,
            evidence: vb.get_with_hints(config.lesions.len(), "evidence", Init::Const(1.0))?,
        })
    }

    /// Logits (batch, lesion). The map's logits are pooled by a smooth maximum: `log(mean(exp(2 z))) / 2`.
    pub(super) fn forward(&self, features: &Features, lesion_map: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
        let flat = (lesion_map.flatten_from(2)? * 2.0)?;
        let count = flat.dim(D::Minus1)? as f64;
        let pooled = ((flat.log_sum_exp(D::Minus1)? - count.ln())? * 0.5)?;
        self.cls.forward(&dropped(features.cls.clone(), dropout, CLASS_SITE)?)?
            + pooled.broadcast_mul(&self.evidence)?
    }
}
