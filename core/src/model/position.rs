//! Position embedding for any token grid: learned and resampled, or convolutional.

use candle_core::{Result, Tensor};
use candle_nn::init::Init;
use candle_nn::{VarBuilder, init};

use super::alignment::{map_of, tokens_of};
use super::config::{Position, TransformerConfig};
use super::cost;
use crate::nn::{ConvShape, Interpolation, Plan, Value, conv2d, resize_matrix};

/// How tokens learn where they are.
pub(super) enum PositionEmbedding {
    /// (token, dimension) on a grid.
    Learned { embedding: Tensor, grid: (usize, usize), resize: Interpolation },
    /// A depthwise 3x3 convolution: zeros around the grid tell where its border is (Chu et al., 2021).
    Convolutional { name: String, weight: Tensor, bias: Tensor, dilation: usize },
}

impl PositionEmbedding {
    /// Weights `pos_embed` (token, dimension), or `position.{weight,bias}`.
    pub(super) fn new(config: &TransformerConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let ([rows, columns], d) = (config.grid, config.dimension);
        match config.position {
            Position::Learned => Ok(Self::Learned {
                embedding: vb.get_with_hints(
                    (rows * columns, d),
                    "pos_embed",
                    Init::Randn { mean: 0.0, stdev: 0.02 },
                )?,
                grid: (rows, columns),
                resize: config.position_resize,
            }),
            Position::Convolutional => {
                let vb = vb.pp("position");
                Ok(Self::Convolutional {
                    name: vb.prefix(),
                    weight: vb.get_with_hints((d, 1, 3, 3), "weight", Init::Randn { mean: 0.0, stdev: 0.02 })?,
                    bias: vb.get_with_hints(d, "bias", init::ZERO)?,
                    dilation: config.position_dilation,
                })
            }
        }
    }

    /// Tokens (batch, token, dimension) on `grid` with their places added.
    pub(super) fn add_to(&self, tokens: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
        match self {
            Self::Learned { embedding, grid: from, resize } => {
                tokens.broadcast_add(&resize_positions(embedding, *from, grid, *resize)?)
            }
            Self::Convolutional { name, weight, bias, dilation } => {
                let places = conv2d(&map_of(tokens, grid)?, weight, Some(bias), depthwise(weight, *dilation)?)?;
                cost::convolution(name, &places, weight);
                tokens + tokens_of(&places)?
            }
        }
    }

    /// [`Self::add_to`] in `plan`: the tokens on `grid`, and what is still to be added to them.
    pub(super) fn plan(&self, plan: &mut Plan, tokens: Value, grid: (usize, usize)) -> Result<(Value, Option<Tensor>)> {
        match self {
            Self::Learned { embedding, grid: from, resize } => {
                Ok((tokens, Some(resize_positions(embedding, *from, grid, *resize)?)))
            }
            Self::Convolutional { weight, bias, dilation, .. } => {
                Ok((plan.add_depthwise(tokens, (weight, bias), depthwise(weight, *dilation)?)?, None))
            }
        }
    }
}

/// Keeps the size of a map.
fn depthwise(weight: &Tensor, dilation: usize) -> Result<ConvShape> {
    Ok(ConvShape { stride: 1, padding: dilation, dilation, groups: weight.dim(0)?, trailing: 0 })
}

/// Learned positions (token, dimension) of one grid for another, resampled along each axis.
pub(super) fn resize_positions(
    positions: &Tensor,
    from: (usize, usize),
    to: (usize, usize),
    how: Interpolation,
) -> Result<Tensor> {
    if from == to {
        return Ok(positions.clone());
    }
    let (_, dimension) = positions.dims2()?;
    let device = positions.device();
    let by_row = resize_matrix(from.0, to.0, how, device)?.matmul(&positions.reshape((from.0, ()))?)?;
    let columns_first = by_row.reshape((to.0, from.1, dimension))?.transpose(0, 1)?.contiguous()?;
    let by_column = resize_matrix(from.1, to.1, how, device)?.matmul(&columns_first.reshape((from.1, ()))?)?;
    by_column.reshape((to.1, to.0, dimension))?.transpose(0, 1)?.contiguous()?.reshape((to.0 * to.1, dimension))
}
