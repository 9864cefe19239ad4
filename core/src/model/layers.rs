//! Layers with weights: convolution with normalisation, linear, layer norm. Weights come from a `VarBuilder` by name.

use candle_core::{Result, Tensor};
use candle_nn::init::{FanInOut, Init, NonLinearity, NormalOrUniform};
use candle_nn::{VarBuilder, init};

use crate::nn::{ConvShape, NormEnd, conv_norm, conv2d, layer_norm, linear};

/// Variance of group normalisation is at least this, as in PyTorch.
const GROUP_NORM_EPS: f64 = 1e-5;
/// The same for layers, as in timm.
const LAYER_NORM_EPS: f64 = 1e-6;

/// Convolution and group normalisation.
pub(super) struct ConvNorm {
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    groups: usize,
    shape: ConvShape,
    relu: bool,
}

/// Sizes of a [`ConvNorm`].
#[derive(Clone, Copy)]
pub(super) struct ConvNormSizes {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
    pub relu: bool,
}

/// He initialisation (He et al., 2015), normal, by outgoing connections.
const HE: Init =
    Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanIn, non_linearity: NonLinearity::ReLU };

impl ConvNorm {
    /// `gamma_start` is the scale that training starts from: 0 makes a residual block start as the identity.
    pub(super) fn new(sizes: ConvNormSizes, gamma_start: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let ConvNormSizes { inputs, outputs, kernel, stride, groups, relu } = sizes;
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs, kernel, kernel), "conv.weight", HE)?,
            gamma: vb.get_with_hints(outputs, "norm.weight", Init::Const(gamma_start))?,
            beta: vb.get_with_hints(outputs, "norm.bias", init::ZERO)?,
            groups,
            shape: ConvShape::same(kernel, stride),
            relu,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, None)
    }

    /// With `residual` added before ReLU.
    pub(super) fn forward_with(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let end = NormEnd { groups: self.groups, eps: GROUP_NORM_EPS, residual, relu: self.relu };
        conv_norm(x, &self.weight, (&self.gamma, &self.beta), self.shape, end)
    }
}

/// A 1x1 convolution with bias.
pub(super) struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    pub(super) fn new(inputs: usize, outputs: usize, bias_start: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs, 1, 1), "weight", HE)?,
            bias: vb.get_with_hints(outputs, "bias", Init::Const(bias_start))?,
        })
    }

    /// One that starts by giving zeros.
    pub(super) fn zero(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs, 1, 1), "weight", init::ZERO)?,
            bias: vb.get_with_hints(outputs, "bias", init::ZERO)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv2d(x, &self.weight, Some(&self.bias), ConvShape::same(1, 1))
    }
}

/// Patches of a one-channel image as tokens: a convolution whose stride is its kernel, written as a matrix product.
pub(super) struct PatchEmbedding {
    projection: Linear,
    patch: [usize; 2],
}

impl PatchEmbedding {
    /// Patches of `patch` rows and columns.
    pub(super) fn new(patch: [usize; 2], dimension: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let values = patch[0] * patch[1];
        Ok(Self { projection: Linear::projection(values, dimension, vb.pp("proj"))?, patch })
    }

    /// Tokens (batch, token, dimension) of `x` (batch, 1, height, width) on `grid`; what lies behind the last whole patch is padded with
    /// zeros.
    pub(super) fn forward(&self, x: &Tensor, grid: (usize, usize)) -> Result<Tensor> {
        let (batch, _, height, width) = x.dims4()?;
        let [rows, columns] = self.patch;
        let missing = |grid: usize, patch: usize, size: usize| (grid * patch).saturating_sub(size);
        let x = x
            .pad_with_zeros(2, 0, missing(grid.0, rows, height))?
            .pad_with_zeros(3, 0, missing(grid.1, columns, width))?
            .narrow(2, 0, grid.0 * rows)?
            .narrow(3, 0, grid.1 * columns)?;
        let patches = x.reshape((batch, grid.0, rows, grid.1, columns))?.permute((0, 1, 3, 2, 4))?.contiguous()?;
        self.projection.forward(&patches.reshape((batch, grid.0 * grid.1, rows * columns))?)
    }
}

/// A fully connected layer.
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// `deviation` is the standard deviation that weights start with.
    pub(super) fn new(inputs: usize, outputs: usize, deviation: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let start = if deviation > 0.0 { Init::Randn { mean: 0.0, stdev: deviation } } else { init::ZERO };
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", start)?,
            bias: vb.get_with_hints(outputs, "bias", init::ZERO)?,
        })
    }

    /// One that starts by keeping the variance of its inputs.
    pub(super) fn projection(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Self::new(inputs, outputs, (1.0 / inputs.max(1) as f64).sqrt(), vb)
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, &self.bias)
    }
}

/// Layer normalisation.
pub(super) struct LayerNorm {
    gamma: Tensor,
    beta: Tensor,
}

impl LayerNorm {
    pub(super) fn new(dimension: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            gamma: vb.get_with_hints(dimension, "weight", init::ONE)?,
            beta: vb.get_with_hints(dimension, "bias", init::ZERO)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.gamma, &self.beta, LAYER_NORM_EPS)
    }
}
