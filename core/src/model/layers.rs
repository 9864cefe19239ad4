//! Layers with weights: linear, 1x1 convolution, patches, layer norm. Weights come from a `VarBuilder` by name.

use candle_core::{Result, Tensor};
use candle_nn::init::Init;
use candle_nn::{VarBuilder, init};

use super::convolution::HE;
use super::cost;
use crate::nn::{Activation, ConvShape, Finish, Plan, Value, conv2d, layer_norm, linear};

/// A 1x1 convolution with bias.
pub(super) struct Pointwise {
    name: String,
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    pub(super) fn new(inputs: usize, outputs: usize, bias_start: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            name: vb.prefix(),
            weight: vb.get_with_hints((outputs, inputs, 1, 1), "weight", HE)?,
            bias: vb.get_with_hints(outputs, "bias", Init::Const(bias_start))?,
        })
    }

    /// One that starts by giving zeros.
    pub(super) fn zero(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            name: vb.prefix(),
            weight: vb.get_with_hints((outputs, inputs, 1, 1), "weight", init::ZERO)?,
            bias: vb.get_with_hints(outputs, "bias", init::ZERO)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = conv2d(x, &self.weight, Some(&self.bias), ConvShape::same(1, 1))?;
        cost::convolution(&self.name, &y, &self.weight);
        Ok(y)
    }

    /// [`Self::forward`] as a step of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, x: Value) -> Result<Value> {
        plan.conv(x, (&self.weight, Some(&self.bias)), ConvShape::same(1, 1), Finish::default())
    }
}

/// Cells of a map as tokens: a convolution whose stride is its kernel, written as a matrix product.
pub(super) struct PatchEmbedding {
    projection: Linear,
    patch: [usize; 2],
}

impl PatchEmbedding {
    /// Patches of `patch` rows and columns of a map of `channels`; weights `weight` (dimension, channels · rows · columns) and `bias`.
    pub(super) fn new(channels: usize, patch: [usize; 2], dimension: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let values = channels * patch[0] * patch[1];
        Ok(Self { projection: Linear::projection(values, dimension, vb)?, patch })
    }

    /// Rows and columns of patches that cover `x` (batch, channel, height, width).
    pub(super) fn cells(&self, x: &Tensor) -> Result<(usize, usize)> {
        let (_, _, height, width) = x.dims4()?;
        Ok((height.div_ceil(self.patch[0]), width.div_ceil(self.patch[1])))
    }

    /// Tokens (batch, token, dimension) of `x` (batch, channel, height, width) on `grid`; what lies behind the last whole patch is padded
    /// with zeros.
    pub(super) fn forward(&self, x: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let [rows, columns] = self.patch;
        let missing = |grid: usize, patch: usize, size: usize| (grid * patch).saturating_sub(size);
        let x = x
            .pad_with_zeros(2, 0, missing(grid.0, rows, height))?
            .pad_with_zeros(3, 0, missing(grid.1, columns, width))?
            .narrow(2, 0, grid.0 * rows)?
            .narrow(3, 0, grid.1 * columns)?;
        let cells = x.contiguous()?.reshape(vec![batch, channels, grid.0, rows, grid.1, columns])?;
        let patches = cells.permute(vec![0, 2, 4, 1, 3, 5])?.contiguous()?;
        self.projection.forward(&patches.reshape((batch, grid.0 * grid.1, channels * rows * columns))?)
    }

    /// [`Self::forward`] as a step of `plan`: a map of `grid`, or of [`Self::cells`] where there is none.
    pub(super) fn plan(&self, plan: &mut Plan, x: Value, grid: Option<(usize, usize)>) -> Result<Value> {
        let size = plan.size(x);
        let cells = (size.rows.div_ceil(self.patch[0]), size.columns.div_ceil(self.patch[1]));
        let Linear { weight, bias, .. } = &self.projection;
        plan.patches(x, (weight, bias), self.patch, grid.unwrap_or(cells))
    }
}

/// A fully connected layer.
pub(super) struct Linear {
    name: String,
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// `deviation` is the standard deviation that weights start with.
    pub(super) fn new(inputs: usize, outputs: usize, deviation: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let start = if deviation > 0.0 { Init::Randn { mean: 0.0, stdev: deviation } } else { init::ZERO };
        Ok(Self {
            name: vb.prefix(),
            weight: vb.get_with_hints((outputs, inputs), "weight", start)?,
            bias: vb.get_with_hints(outputs, "bias", init::ZERO)?,
        })
    }

    /// One that starts by keeping the variance of its inputs.
    pub(super) fn projection(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Self::new(inputs, outputs, (1.0 / inputs.max(1) as f64).sqrt(), vb)
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = linear(x, &self.weight, &self.bias)?;
        cost::note(&self.name, &y, || (x.elem_count() * self.bias.elem_count()) as u64);
        Ok(y)
    }

    /// [`Self::forward`] as a step of `plan`, with what follows it.
    pub(super) fn plan(
        &self,
        plan: &mut Plan,
        x: Value,
        residual: Option<Value>,
        activation: Activation,
    ) -> Result<Value> {
        plan.linear(x, (&self.weight, &self.bias), residual, activation)
    }
}

/// Layer normalisation.
pub(super) struct LayerNorm {
    gamma: Tensor,
    beta: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub(super) fn new(dimension: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            gamma: vb.get_with_hints(dimension, "weight", init::ONE)?,
            beta: vb.get_with_hints(dimension, "bias", init::ZERO)?,
            eps,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.gamma, &self.beta, self.eps)
    }

    /// [`Self::forward`] as a step of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, x: Value) -> Result<Value> {
        plan.layer_norm(x, &self.gamma, &self.beta, self.eps)
    }
}
