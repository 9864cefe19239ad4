//! Feature-size alignment: ResNet maps to the token grid, tokens to maps.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::config::{Alignment, ModelConfig, Topology};
use super::layers::{Linear, PatchEmbedding};
use crate::nn::{Activation, Plan, Value, adaptive_avg_pool2d};

/// The token grid at the configured input size, and how it grows with the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    cells: [usize; 2],
    input_size: usize,
    /// The most cells.
    limit: usize,
    /// The grid is one of patches of fixed size.
    of_patches: bool,
}

impl Grid {
    pub(super) fn new(config: &ModelConfig) -> Self {
        let t = &config.transformer;
        Self {
            cells: t.grid,
            input_size: config.input_size,
            limit: t.max_tokens.saturating_sub(1 + t.registers).max(1),
            of_patches: matches!(config.topology, Topology::Parallel | Topology::Vit),
        }
    }

    /// Token rows and columns for an input of `rows` × `columns` pixels: the configured grid, scaled with the input, and coarser where it
    /// would have more tokens than allowed.
    pub(super) fn for_input(&self, rows: usize, columns: usize) -> Result<(usize, usize)> {
        let scaled = |size: usize, cells: usize| (size * cells).div_ceil(self.input_size.max(1)).max(1);
        let (mut rows, mut columns) = (scaled(rows, self.cells[0]), scaled(columns, self.cells[1]));
        if rows * columns <= self.limit {
            return Ok((rows, columns));
        }
        if self.of_patches {
            candle_core::bail!("{rows} x {columns} patches are more than the {} tokens that are allowed", self.limit);
        }
        let shrink = (self.limit as f64 / (rows * columns) as f64).sqrt();
        rows = ((rows as f64 * shrink) as usize).clamp(1, self.limit);
        columns = ((columns as f64 * shrink) as usize).clamp(1, self.limit / rows);
        Ok((rows, columns))
    }
}

/// The way of a map onto the grid, and its projection to tokens.
pub(super) enum ToTokens {
    Pooling(Linear),
    Convolution(PatchEmbedding),
}

impl ToTokens {
    /// For the map after stage `stage`, of `channels`; weights `weight` and `bias` of `vb`.
    pub(super) fn new(config: &ModelConfig, stage: usize, channels: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let dimension = config.transformer.dimension;
        Ok(match config.alignment {
            Alignment::Pooling => Self::Pooling(Linear::projection(channels, dimension, vb)?),
            Alignment::Convolution => {
                let side = config.input_size / (4 << stage);
                let cell = config.transformer.grid.map(|cells| (side / cells.max(1)).max(1));
                Self::Convolution(PatchEmbedding::new(channels, cell, dimension, vb)?)
            }
        })
    }

    /// A map (batch, channel, height, width) as tokens (batch, token, dimension) on `grid`.
    pub(super) fn forward(&self, map: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
        match self {
            Self::Pooling(projection) => projection.forward(&tokens_of(&adaptive_avg_pool2d(map, grid.0, grid.1)?)?),
            Self::Convolution(patches) => {
                // Where the limit of tokens makes the grid coarser, cells are larger than those of the convolution.
                let (rows, columns) = patches.cells(map)?;
                let tokens = patches.forward(map, (rows, columns))?;
                if (rows, columns) == grid {
                    return Ok(tokens);
                }
                tokens_of(&adaptive_avg_pool2d(&map_of(&tokens, (rows, columns))?, grid.0, grid.1)?)
            }
        }
    }

    /// [`Self::forward`] as steps of `plan`; the tokens are a map of `grid`.
    pub(super) fn plan(&self, plan: &mut Plan, map: Value, grid: (usize, usize)) -> Result<Value> {
        match self {
            Self::Pooling(projection) => {
                let pooled = plan.average_pool(map, grid.0, grid.1);
                projection.plan(plan, pooled, None, Activation::None)
            }
            Self::Convolution(patches) => {
                let tokens = patches.plan(plan, map, None)?;
                Ok(plan.average_pool(tokens, grid.0, grid.1))
            }
        }
    }
}

/// A map (batch, channel, height, width) as tokens (batch, token, channel).
pub(super) fn tokens_of(map: &Tensor) -> Result<Tensor> {
    map.flatten_from(2)?.transpose(1, 2)?.contiguous()
}

/// Tokens (batch, token, dimension) as a map (batch, dimension, rows, columns).
pub(super) fn map_of(tokens: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
    let (batch, _, dimension) = tokens.dims3()?;
    tokens.transpose(1, 2)?.contiguous()?.reshape((batch, dimension, grid.0, grid.1))
}
