//! Heads: lesion map from local features with global context, organ map from tokens, classes from CLS. Their normalisation is of groups.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::Init;

use super::Features;
use super::alignment::map_of;
use super::config::ModelConfig;
use super::convolution::{ConvNorm, ConvNormSizes, Statistics, Style};
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

/// Rows and columns of a map at `stride`, of an input with `grid` tokens of `patch` pixels.
fn laid_on(grid: (usize, usize), patch: [usize; 2], stride: usize) -> (usize, usize) {
    (grid.0 * patch[0] / stride, grid.1 * patch[1] / stride)
}

/// Lesion map from the ResNet's second stage (stride 8), with the last stage and the tokens as context; where lesions are fine, it is enlarged
/// with the first stage (stride 4) as a guide. Without a ResNet, from the tokens alone, enlarged at the end.
pub(super) struct LesionHead {
    /// Of the second and of the last stage.
    local: Option<(Pointwise, Pointwise)>,
    context: Pointwise,
    merge: ConvNorm,
    /// From the channels of the head to those of the first stage, and that stage.
    detail: Option<(Pointwise, Pointwise)>,
    refine: ConvNorm,
    out: Pointwise,
    /// Pixels of a token, where there is no ResNet.
    patch: [usize; 2],
}

impl LesionHead {
    pub(super) fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let (channels, groups) = (config.head_channels, config.head_groups());
        let stage = |index: usize| config.resnet.channels.get(index).copied().unwrap_or(groups);
        let local = match config.has_resnet() {
            true => Some((
                Pointwise::new(stage(1), channels, 0.0, vb.pp("fine"))?,
                Pointwise::new(stage(config.resnet.channels.len() - 1), channels, 0.0, vb.pp("coarse"))?,
            )),
            false => None,
        };
        let detail = match config.fine_lesions {
            true => Some((
                Pointwise::new(channels, stage(0), 0.0, vb.pp("narrow"))?,
                Pointwise::new(stage(0), stage(0), 0.0, vb.pp("detail"))?,
            )),
            false => None,
        };
        let last = if detail.is_some() { stage(0) } else { channels };
        Ok(Self {
            local,
            context: Pointwise::new(config.feature_dimension(), channels, 0.0, vb.pp("context"))?,
            merge: conv3(channels, channels, groups, vb.pp("merge"))?,
            detail,
            refine: conv3(last, last, groups, vb.pp("refine"))?,
            // Lesions are rare: the map starts at a probability of 5 %.
            out: Pointwise::new(last, config.lesions.len(), -3.0, vb.pp("out"))?,
            patch: config.patch(),
        })
    }

    /// Logits (batch, lesion, height / stride, width / stride).
    pub(super) fn forward(&self, features: &Features, dropout: Option<Dropout>) -> Result<Tensor> {
        let context = self.context.forward(&token_map(features)?)?;
        let Some((fine, coarse)) = &self.local else {
            let x = self.merge.forward(&dropped(context, dropout, LESION_SITE)?, Statistics::Running)?;
            let logits = self.out.forward(&self.refine.forward(&x, Statistics::Running)?)?;
            let (rows, columns) = laid_on(features.grid, self.patch, 8);
            return resize_bilinear(&logits, rows, columns);
        };
        let ([first, second, ..], Some(last)) = (features.stages.as_slice(), features.stages.last()) else {
            candle_core::bail!("the lesion head needs two stages");
        };
        let coarse = add_coarse(&coarse.forward(last)?, &context)?;
        let x = dropped(add_coarse(&fine.forward(second)?, &coarse)?, dropout, LESION_SITE)?;
        let mut x = self.merge.forward(&x, Statistics::Running)?;
        if let Some((narrow, detail)) = &self.detail {
            x = add_coarse(&detail.forward(first)?, &narrow.forward(&x)?)?;
        }
        self.out.forward(&self.refine.forward(&x, Statistics::Running)?)
    }

    /// [`Self::forward`] as steps of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, features: &PlannedFeatures) -> Result<Value> {
        let ([first, second, ..], Some(last), Some((fine, coarse))) =
            (features.stages.as_slice(), features.stages.last(), &self.local)
        else {
            candle_core::bail!("lesion maps of tokens alone are not planned");
        };
        let context = self.context.plan(plan, features.tokens)?;
        let coarse = coarse.plan(plan, *last)?;
        let coarse = plan.add_resized(coarse, context)?;
        let fine = fine.plan(plan, *second)?;
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

/// Organ map: tokens, enlarged over two steps with the ResNet's maps as guides for the edges (TransUNet's decoder); without a ResNet, enlarged
/// without guides (SETR's naive decoder).
pub(super) struct OrganHead {
    tokens: Pointwise,
    /// Of the second and of the first stage.
    guides: Option<(Pointwise, Pointwise)>,
    merge2: ConvNorm,
    narrow: Pointwise,
    merge1: ConvNorm,
    out: Pointwise,
    /// Pixels of a token, where there is no ResNet.
    patch: [usize; 2],
}

impl OrganHead {
    pub(super) fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let (channels, groups) = (config.head_channels, config.head_groups());
        let stage = |index: usize| config.resnet.channels.get(index).copied().unwrap_or(groups);
        let narrow = config.head_narrow();
        let guides = match config.has_resnet() {
            true => Some((
                Pointwise::new(stage(1), channels, 0.0, vb.pp("guide2"))?,
                Pointwise::new(stage(0), narrow, 0.0, vb.pp("guide1"))?,
            )),
            false => None,
        };
        Ok(Self {
            tokens: Pointwise::new(config.feature_dimension(), channels, 0.0, vb.pp("tokens"))?,
            guides,
            merge2: conv3(channels, channels, groups, vb.pp("merge2"))?,
            narrow: Pointwise::new(channels, narrow, 0.0, vb.pp("narrow"))?,
            merge1: conv3(narrow, narrow, groups, vb.pp("merge1"))?,
            out: Pointwise::new(narrow, config.organs.len(), -1.0, vb.pp("out"))?,
            patch: config.patch(),
        })
    }

    /// Logits (batch, organ, height / 4, width / 4).
    pub(super) fn forward(&self, features: &Features, dropout: Option<Dropout>) -> Result<Tensor> {
        let tokens = self.tokens.forward(&token_map(features)?)?;
        let Some((guide2, guide1)) = &self.guides else {
            let (rows, columns) = laid_on(features.grid, self.patch, 8);
            let x = resize_bilinear(&dropped(tokens, dropout, ORGAN_SITE)?, rows, columns)?;
            let x = self.narrow.forward(&self.merge2.forward(&x, Statistics::Running)?)?;
            let (rows, columns) = laid_on(features.grid, self.patch, 4);
            let x = self.merge1.forward(&resize_bilinear(&x, rows, columns)?, Statistics::Running)?;
            return self.out.forward(&x);
        };
        let [first, second, ..] = features.stages.as_slice() else {
            candle_core::bail!("the organ head needs two stages");
        };
        let x = dropped(add_coarse(&guide2.forward(second)?, &tokens)?, dropout, ORGAN_SITE)?;
        let x = self.merge2.forward(&x, Statistics::Running)?;
        let x = add_coarse(&guide1.forward(first)?, &self.narrow.forward(&x)?)?;
        let x = self.merge1.forward(&x, Statistics::Running)?;
        self.out.forward(&x)
    }

    /// [`Self::forward`] as steps of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, features: &PlannedFeatures) -> Result<Value> {
        let ([first, second, ..], Some((guide2, guide1))) = (features.stages.as_slice(), &self.guides) else {
            candle_core::bail!("organ maps of tokens alone are not planned");
        };
        let tokens = self.tokens.plan(plan, features.tokens)?;
        let guide = guide2.plan(plan, *second)?;
        let x = plan.add_resized(guide, tokens)?;
        let x = self.merge2.plan(plan, x, None)?;
        let narrow = self.narrow.plan(plan, x)?;
        let guide = guide1.plan(plan, *first)?;
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
