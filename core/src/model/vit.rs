//! The global branch: a pre-norm transformer encoder (Dosovitskiy et al., 2021).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::Init;

use super::config::TransformerConfig;
use super::dropout::Dropout;
use super::layers::{LayerNorm, Linear};
use super::network::Request;
use crate::nn::{attention, attention_with_probabilities, bicubic_matrix, gelu};

struct Layer {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
}

impl Layer {
    fn new(config: &TransformerConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let d = config.dimension;
        let hidden = d * config.mlp_ratio;
        Ok(Self {
            norm1: LayerNorm::new(d, vb.pp("norm1"))?,
            qkv: Linear::projection(d, 3 * d, vb.pp("attn.qkv"))?,
            // Residual branches start at zero: unfreezing the transformer does not disturb what the ResNet has learned.
            proj: Linear::new(d, d, 0.0, vb.pp("attn.proj"))?,
            norm2: LayerNorm::new(d, vb.pp("norm2"))?,
            fc1: Linear::projection(d, hidden, vb.pp("mlp.fc1"))?,
            fc2: Linear::new(hidden, d, 0.0, vb.pp("mlp.fc2"))?,
            heads: config.heads,
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
            let (mixed, probabilities) = attention_with_probabilities(&qkv, self.heads, perturbation)?;
            (mixed, Some(probabilities))
        } else {
            (attention(&qkv, self.heads)?, None)
        };
        let x = (x + branch(self.proj.forward(&mixed)?, 0)?)?;
        let hidden = gelu(&self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        Ok(((&x + branch(self.fc2.forward(&hidden)?, 1)?)?, probabilities))
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

/// CLS token, position embedding, layers and final norm.
pub(super) struct Transformer {
    cls: Tensor,
    position: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
    grid: (usize, usize),
}

impl Transformer {
    pub(super) fn new(config: &TransformerConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let [rows, cols] = config.grid;
        let small = Init::Randn { mean: 0.0, stdev: 0.02 };
        let layers =
            (0..config.depth).map(|index| Layer::new(config, &vb.pp("blocks").pp(index))).collect::<Result<_>>()?;
        Ok(Self {
            cls: vb.get_with_hints((1, 1, config.dimension), "cls_token", small)?,
            position: vb.get_with_hints((rows * cols, config.dimension), "pos_embed", small)?,
            layers,
            norm: LayerNorm::new(config.dimension, vb.pp("norm"))?,
            grid: (rows, cols),
        })
    }

    pub(super) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Position embedding (token, dimension) for another grid: bicubic, antialiased, along each axis.
    fn position_for(&self, grid: (usize, usize)) -> Result<Tensor> {
        if grid == self.grid {
            return Ok(self.position.clone());
        }
        let (_, dimension) = self.position.dims2()?;
        let (from_rows, from_cols) = self.grid;
        let device = self.position.device();
        let by_row = bicubic_matrix(from_rows, grid.0, device)?.matmul(&self.position.reshape((from_rows, ()))?)?;
        let columns_first = by_row.reshape((grid.0, from_cols, dimension))?.transpose(0, 1)?.contiguous()?;
        let by_col = bicubic_matrix(from_cols, grid.1, device)?.matmul(&columns_first.reshape((from_cols, ()))?)?;
        by_col
            .reshape((grid.1, grid.0, dimension))?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((grid.0 * grid.1, dimension))
    }

    /// Tokens (batch, token, dimension) on `grid` to CLS (batch, dimension), tokens, and attention by layer where requested.
    pub(super) fn forward(
        &self,
        tokens: &Tensor,
        grid: (usize, usize),
        request: &Request<'_>,
        entry: Entry<'_>,
    ) -> Result<(Tensor, Tensor, Vec<Tensor>)> {
        let (batch, count, dimension) = tokens.dims3()?;
        let tokens = tokens.broadcast_add(&self.position_for(grid)?)?;
        let mut cls = self.cls.broadcast_as((batch, 1, dimension))?.contiguous()?;
        if let Some(before) = entry.cls {
            cls = (cls + before.unsqueeze(1)?)?;
        }
        let mut x = Tensor::cat(&[&cls, &tokens], 1)?;
        let mut attention = Vec::new();
        if !request.bypass_transformer {
            for (index, layer) in (entry.first_layer..).zip(&self.layers) {
                let perturbation = request.attention_perturbation.and_then(|all| all.get(index));
                let (next, probabilities) = layer.forward(
                    &x,
                    request.attention,
                    perturbation,
                    request.dropout.map(|dropout| (dropout, index as u64)),
                )?;
                attention.extend(probabilities);
                x = next;
            }
        }
        let x = self.norm.forward(&x)?;
        let cls = x.narrow(1, 0, 1)?.contiguous()?.reshape((batch, dimension))?;
        Ok((cls, x.narrow(1, 1, count)?.contiguous()?, attention))
    }
}
