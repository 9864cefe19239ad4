//! The global branch: a pre-norm transformer encoder (Dosovitskiy et al., 2021).

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::Init;

use super::config::{AttentionKind, TransformerConfig};
use super::cost;
use super::dropout::Dropout;
use super::layers::{LayerNorm, Linear};
use super::network::Request;
use super::planned::Scope;
use super::position::PositionEmbedding;
use crate::nn::{
    Activation, Plan, Value, attention, attention_with_probabilities, gelu, linear_attention,
    linear_attention_with_probabilities,
};

struct Layer {
    name: String,
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    attention: AttentionKind,
}

impl Layer {
    fn new(config: &TransformerConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let d = config.dimension;
        let hidden = d * config.mlp_ratio;
        Ok(Self {
            name: vb.pp("attn").prefix(),
            norm1: LayerNorm::new(d, config.norm_eps, vb.pp("norm1"))?,
            qkv: Linear::projection(d, 3 * d, vb.pp("attn.qkv"))?,
            // Residual branches start at zero: unfreezing the transformer does not disturb what the ResNet has learned.
            proj: Linear::new(d, d, 0.0, vb.pp("attn.proj"))?,
            norm2: LayerNorm::new(d, config.norm_eps, vb.pp("norm2"))?,
            fc1: Linear::projection(d, hidden, vb.pp("mlp.fc1"))?,
            fc2: Linear::new(hidden, d, 0.0, vb.pp("mlp.fc2"))?,
            heads: config.heads,
            attention: config.attention,
        })
    }

    /// The tokens after this layer, and its attention probabilities where `explicit`.
    fn forward(
        &self,
        x: &Tensor,
        explicit: bool,
        perturbation: Option<&Tensor>,
        dropout: Option<(Dropout, u64)>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let branch = |x: Tensor, half: u64| match dropout {
            Some((dropout, layer)) => dropout.branch(&x, 2 * layer + half),
            None => Ok(x),
        };
        let qkv = self.qkv.forward(&self.norm1.forward(x)?)?;
        let (mixed, probabilities) = if explicit || perturbation.is_some() {
            let (mixed, probabilities) = match self.attention {
                AttentionKind::Softmax => attention_with_probabilities(&qkv, self.heads, perturbation)?,
                AttentionKind::Linear => linear_attention_with_probabilities(&qkv, self.heads, perturbation)?,
            };
            (mixed, Some(probabilities))
        } else {
            match self.attention {
                AttentionKind::Softmax => (attention(&qkv, self.heads)?, None),
                AttentionKind::Linear => (linear_attention(&qkv, self.heads)?, None),
            }
        };
        cost::note(&self.name, &mixed, || {
            // Each value of the output is a sum over tokens (softmax) or over a head's values (linear), and so is what it is weighted by.
            let (tokens, dimension) = (mixed.dims()[1], mixed.dims()[2]);
            let summands = match self.attention {
                AttentionKind::Softmax => tokens,
                AttentionKind::Linear => dimension / self.heads,
            };
            2 * (mixed.elem_count() * summands) as u64
        });
        let x = (x + branch(self.proj.forward(&mixed)?, 0)?)?;
        let hidden = gelu(&self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        Ok(((&x + branch(self.fc2.forward(&hidden)?, 1)?)?, probabilities))
    }

    /// [`Self::forward`] as steps of `plan`.
    fn plan(&self, plan: &mut Plan, x: Value, explicit: bool) -> Result<(Value, Option<Value>)> {
        let normal = self.norm1.plan(plan, x)?;
        let qkv = self.qkv.plan(plan, normal, None, Activation::None)?;
        let (mixed, probabilities) = match self.attention {
            AttentionKind::Softmax => plan.attention(qkv, self.heads, explicit)?,
            AttentionKind::Linear if explicit => candle_core::bail!("{}: a plan keeps no linear attention", self.name),
            AttentionKind::Linear => (plan.linear_attention(qkv, self.heads)?, None),
        };
        let x = self.proj.plan(plan, mixed, Some(x), Activation::None)?;
        let normal = self.norm2.plan(plan, x)?;
        let hidden = self.fc1.plan(plan, normal, None, Activation::Gelu)?;
        Ok((self.fc2.plan(plan, hidden, Some(x), Activation::None)?, probabilities))
    }
}

/// Where a transformer stands among several.
#[derive(Default)]
pub(super) struct Entry<'a> {
    /// Layers of the transformers before it.
    pub(super) first_layer: usize,
    /// CLS (batch, dimension) of the transformer before it, added to its own.
    pub(super) cls: Option<&'a Tensor>,
}

/// CLS token, position embedding, registers, layers and final norm.
pub(super) struct Transformer {
    cls: Tensor,
    registers: Option<Tensor>,
    position: PositionEmbedding,
    layers: Vec<Arc<Layer>>,
    norm: LayerNorm,
}

impl Transformer {
    /// Weights `cls_token` (1, 1, dimension), `registers` (1, register, dimension), those of the position embedding, `blocks.i.*`,
    /// `norm.*`.
    pub(super) fn new(config: &TransformerConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let d = config.dimension;
        let small = Init::Randn { mean: 0.0, stdev: 0.02 };
        let registers = match config.registers {
            0 => None,
            count => Some(vb.get_with_hints((1, count, d), "registers", small)?),
        };
        let layers = (0..config.depth).map(|index| Layer::new(config, &vb.pp("blocks").pp(index)).map(Arc::new));
        Ok(Self {
            cls: vb.get_with_hints((1, 1, d), "cls_token", small)?,
            registers,
            position: PositionEmbedding::new(config, &vb)?,
            layers: layers.collect::<Result<_>>()?,
            norm: LayerNorm::new(d, config.norm_eps, vb.pp("norm"))?,
        })
    }

    pub(super) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Tokens (batch, token, dimension) on `grid` to CLS (batch, dimension), tokens, and attention by layer where requested. Registers
    /// stand behind the tokens, so that places keep their numbers.
    pub(super) fn forward(
        &self,
        tokens: &Tensor,
        grid: (usize, usize),
        request: &Request<'_>,
        entry: Entry<'_>,
    ) -> Result<(Tensor, Tensor, Vec<Tensor>)> {
        let (batch, count, dimension) = tokens.dims3()?;
        let tokens = self.position.add_to(tokens, grid)?;
        let mut cls = self.cls.broadcast_as((batch, 1, dimension))?.contiguous()?;
        if let Some(before) = entry.cls {
            cls = (cls + before.unsqueeze(1)?)?;
        }
        let mut sequence = vec![cls, tokens];
        if let Some(registers) = &self.registers {
            sequence.push(registers.broadcast_as((batch, registers.dim(1)?, dimension))?.contiguous()?);
        }
        let mut x = Tensor::cat(&sequence, 1)?;
        let mut attention = Vec::new();
        if !request.bypass_transformer {
            for (index, layer) in (entry.first_layer..).zip(&self.layers) {
                let perturbation = request.attention_perturbation.and_then(|all| all.get(index));
                let dropout = request.dropout.map(|dropout| (dropout, index as u64));
                if !request.attention && perturbation.is_none() {
                    x = request.segment(layer, &x, move |layer, x, _| Ok(layer.forward(x, false, None, dropout)?.0))?;
                    continue;
                }
                let (next, probabilities) = layer.forward(&x, request.attention, perturbation, dropout)?;
                attention.extend(probabilities);
                x = next;
            }
        }
        let x = self.norm.forward(&x)?;
        let cls = x.narrow(1, 0, 1)?.contiguous()?.reshape((batch, dimension))?;
        Ok((cls, x.narrow(1, 1, count)?.contiguous()?, attention))
    }

    /// [`Self::forward`] as steps of `plan`, with CLS of the transformer before it: CLS, the tokens as a map of `grid`, and attention.
    pub(super) fn plan(
        &self,
        plan: &mut Plan,
        tokens: Value,
        grid: (usize, usize),
        scope: Scope,
        before: Option<Value>,
    ) -> Result<(Value, Value, Vec<Value>)> {
        let (tokens, places) = self.position.plan(plan, tokens, grid)?;
        let mut x = plan.sequence(tokens, (&self.cls, before), places.as_ref(), self.registers.as_ref())?;
        let mut attention = Vec::new();
        if !scope.bypass_transformer {
            for layer in &self.layers {
                let (next, probabilities) = layer.plan(plan, x, scope.attention)?;
                attention.extend(probabilities);
                x = next;
            }
        }
        let x = self.norm.plan(plan, x)?;
        Ok((plan.tokens(x, 0, (1, 1))?, plan.tokens(x, 1, grid)?, attention))
    }
}
