//! Feature-size alignment: ResNet maps to the token grid, tokens to maps.

use candle_core::{Result, Tensor};

use super::config::ModelConfig;
use crate::nn::adaptive_avg_pool2d;

/// The token grid at the configured input size, and how it grows with the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alignment {
    grid: [usize; 2],
    input_size: usize,
}

impl Alignment {
    pub(super) fn new(config: &ModelConfig) -> Self {
        Self { grid: config.transformer.grid, input_size: config.input_size }
    }

    /// Token rows and columns for an input of `rows` × `columns` pixels: the configured grid, scaled with the input.
    pub(super) fn grid_for(&self, rows: usize, columns: usize) -> (usize, usize) {
        let scaled = |size: usize, grid: usize| (size * grid).div_ceil(self.input_size.max(1)).max(1);
        (scaled(rows, self.grid[0]), scaled(columns, self.grid[1]))
    }
}

/// A map (batch, channel, height, width) as tokens (batch, token, channel) on `grid`, each the mean of what lies in its cell.
pub(super) fn tokens_of(map: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
    let (batch, channels, ..) = map.dims4()?;
    let aligned = adaptive_avg_pool2d(map, grid.0, grid.1)?;
    aligned.reshape((batch, channels, grid.0 * grid.1))?.transpose(1, 2)?.contiguous()
}

/// Tokens (batch, token, dimension) as a map (batch, dimension, rows, columns).
pub(super) fn map_of(tokens: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
    let (batch, _, dimension) = tokens.dims3()?;
    tokens.transpose(1, 2)?.contiguous()?.reshape((batch, dimension, grid.0, grid.1))
}
