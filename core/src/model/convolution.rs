//! Convolutions with their normalisation. Weights come from a `VarBuilder` by name.
//!
//! Batch normalisation is folded into the convolution wherever its statistics stand still: once, when weights are loaded, or at every pass
//! where they are variables of a training.

use candle_core::{Result, Tensor, Var};
use candle_nn::init::{FanInOut, Init, NonLinearity, NormalOrUniform};
use candle_nn::{VarBuilder, init};

use super::config::{Convolution, Norm, ResNetConfig};
use super::cost;
use crate::nn::{
    Activation, BatchStatistics, ConvBias, ConvShape, Finish, NormEnd, Plan, Value, add_relu, batch_norm, conv_bias,
    conv_norm, conv2d, fold_norm, standardise_weight,
};

/// Variance of group and batch normalisation is at least this, as in PyTorch.
const NORM_EPS: f64 = 1e-5;
/// Added to the variance of a filter that is standardised, as in timm's hybrids.
const STANDARD_EPS: f64 = 1e-8;
/// Share of the batch in the running statistics, as in PyTorch.
const MOMENTUM: f64 = 0.1;

/// He initialisation (He et al., 2015), normal, by incoming connections.
pub(super) const HE: Init =
    Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanIn, non_linearity: NonLinearity::ReLU };

/// What the convolutions of one network have in common.
#[derive(Clone, Copy)]
pub(super) struct Style {
    norm: Norm,
    groups: usize,
    convolution: Convolution,
}

impl Style {
    /// The style of a ResNet.
    pub(super) fn of(config: &ResNetConfig) -> Self {
        Self { norm: config.norm, groups: config.norm_groups, convolution: config.convolution }
    }

    /// Plain convolutions with group normalisation: the style of the heads.
    pub(super) fn plain(groups: usize) -> Self {
        Self { norm: Norm::Group, groups, convolution: Convolution::Plain }
    }

    fn shape(self, kernel: usize, stride: usize) -> ConvShape {
        match self.convolution {
            Convolution::Plain => ConvShape::same(kernel, stride),
            Convolution::Standardised => ConvShape::tensorflow_same(kernel, stride),
        }
    }

    /// Padding before and after of the stem's pooling, 3x3 at stride 2.
    pub(super) fn pool_padding(self) -> (usize, usize) {
        match self.convolution {
            Convolution::Plain => (1, 1),
            Convolution::Standardised => (0, 1),
        }
    }
}

/// Whose statistics a batch normalisation goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistics {
    /// The running ones.
    Running,
    /// The batch's own; the running ones follow where they are variables.
    Batch,
    /// The batch's own, in a pass that is done again: the running ones have followed.
    BatchAgain,
}

/// Batch normalisation's weights and running statistics.
struct BatchNorm {
    gamma: Tensor,
    beta: Tensor,
    running: BatchStatistics,
}

impl BatchNorm {
    fn new(channels: usize, gamma_start: f64, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            gamma: vb.get_with_hints(channels, "weight", Init::Const(gamma_start))?,
            beta: vb.get_with_hints(channels, "bias", init::ZERO)?,
            running: BatchStatistics {
                mean: vb.get_with_hints(channels, "running_mean", init::ZERO)?,
                variance: vb.get_with_hints(channels, "running_var", init::ONE)?,
            },
        })
    }

    /// By the batch's own statistics.
    fn train(&self, x: &Tensor, statistics: Statistics) -> Result<Tensor> {
        let (y, batch) = batch_norm(x, &self.gamma, &self.beta, NORM_EPS)?;
        for (running, now) in [(&self.running.mean, &batch.mean), (&self.running.variance, &batch.variance)] {
            if running.is_variable() && statistics == Statistics::Batch {
                let moved = ((running.detach() * (1.0 - MOMENTUM))? + (now * MOMENTUM)?)?;
                Var::from_tensor(running)?.set(&moved)?;
            }
        }
        Ok(y)
    }

    fn fold(&self, weight: &Tensor) -> Result<(Tensor, Tensor)> {
        // Statistics are no parameters: no gradient flows to them.
        let running = BatchStatistics { mean: self.running.mean.detach(), variance: self.running.variance.detach() };
        fold_norm(weight, (&self.gamma, &self.beta), &running, NORM_EPS)
    }
}

enum Normalisation {
    Group {
        gamma: Tensor,
        beta: Tensor,
        groups: usize,
    },
    Batch(BatchNorm),
    /// Batch normalisation that has been folded into the weights.
    Folded(ConvBias),
}

/// Sizes of a [`ConvNorm`].
#[derive(Clone, Copy)]
pub(super) struct ConvNormSizes {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub relu: bool,
}

/// Convolution, normalisation, and, in its place in a block, residual and ReLU.
pub(super) struct ConvNorm {
    name: String,
    weight: Tensor,
    normalisation: Normalisation,
    /// The weights are to be standardised at every pass.
    standardise: bool,
    shape: ConvShape,
    relu: bool,
}

impl ConvNorm {
    /// `gamma_start` is the scale that training starts from: 0 makes a residual block start as the identity.
    pub(super) fn new(sizes: ConvNormSizes, style: Style, gamma_start: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let ConvNormSizes { inputs, outputs, kernel, stride, relu } = sizes;
        let mut weight = vb.get_with_hints((outputs, inputs, kernel, kernel), "conv.weight", HE)?;
        let mut standardise = style.convolution == Convolution::Standardised;
        if standardise && !weight.is_variable() {
            weight = standardise_weight(&weight, STANDARD_EPS)?;
            standardise = false;
        }
        let norm = vb.pp("norm");
        let normalisation = match style.norm {
            Norm::Group => Normalisation::Group {
                gamma: norm.get_with_hints(outputs, "weight", Init::Const(gamma_start))?,
                beta: norm.get_with_hints(outputs, "bias", init::ZERO)?,
                groups: style.groups,
            },
            Norm::Batch => {
                let batch = BatchNorm::new(outputs, gamma_start, &norm)?;
                if weight.is_variable() {
                    Normalisation::Batch(batch)
                } else {
                    let (folded, bias) = batch.fold(&weight)?;
                    let conv = ConvBias::new(&folded, &bias)?;
                    // What was loaded is needed no more.
                    weight = conv.parts().0.clone();
                    Normalisation::Folded(conv)
                }
            }
        };
        Ok(Self { name: vb.prefix(), weight, normalisation, standardise, shape: style.shape(kernel, stride), relu })
    }

    fn weight(&self) -> Result<Tensor> {
        if self.standardise { standardise_weight(&self.weight, STANDARD_EPS) } else { Ok(self.weight.clone()) }
    }

    /// Convolution and normalisation; groups have no other statistics than their own.
    pub(super) fn forward(&self, x: &Tensor, statistics: Statistics) -> Result<Tensor> {
        self.forward_with(x, None, statistics)
    }

    /// With `residual` added before ReLU.
    pub(super) fn forward_with(&self, x: &Tensor, residual: Option<&Tensor>, statistics: Statistics) -> Result<Tensor> {
        let y = match &self.normalisation {
            Normalisation::Group { gamma, beta, groups } => {
                let end = NormEnd { groups: *groups, eps: NORM_EPS, residual, relu: self.relu };
                conv_norm(x, &self.weight()?, (gamma, beta), self.shape, end)?
            }
            Normalisation::Batch(norm) if statistics != Statistics::Running => {
                let y = norm.train(&conv2d(x, &self.weight()?, None, self.shape)?, statistics)?;
                match residual {
                    Some(residual) if self.relu => add_relu(&y, residual)?,
                    Some(residual) => (y + residual)?,
                    None if self.relu => y.relu()?,
                    None => y,
                }
            }
            Normalisation::Batch(norm) => {
                let (weight, bias) = norm.fold(&self.weight()?)?;
                conv_bias(x, &ConvBias::new(&weight, &bias)?, self.shape, residual, self.relu)?
            }
            Normalisation::Folded(conv) => conv_bias(x, conv, self.shape, residual, self.relu)?,
        };
        cost::convolution(&self.name, &y, &self.weight);
        Ok(y)
    }

    /// [`Self::forward_with`] as a step of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, x: Value, residual: Option<Value>) -> Result<Value> {
        let activation = activation(self.relu);
        match &self.normalisation {
            Normalisation::Group { gamma, beta, groups } if !self.standardise => {
                let norm = Some((gamma, beta, *groups, NORM_EPS));
                plan.conv(x, (&self.weight, None), self.shape, Finish { norm, residual, activation })
            }
            Normalisation::Folded(conv) => {
                let (weight, bias) = conv.parts();
                plan.conv(x, (weight, Some(bias)), self.shape, Finish { norm: None, residual, activation })
            }
            _ => candle_core::bail!("{}: a plan takes fixed weights", self.name),
        }
    }
}

fn activation(relu: bool) -> Activation {
    if relu { Activation::Relu } else { Activation::None }
}

/// A 3x3 convolution that is trained with a 1x1 branch and, where allowed, an identity branch beside it, each with its own batch
/// normalisation; merged into one convolution wherever statistics stand still (RepVGG; Ding et al., 2021).
pub(super) struct RepConv {
    name: String,
    full: (Tensor, BatchNorm),
    point: (Tensor, BatchNorm),
    identity: Option<BatchNorm>,
    merged: Option<ConvBias>,
    stride: usize,
    relu: bool,
}

impl RepConv {
    /// An identity branch is made where `identity` is set and sizes allow it. Before a residual it must not be: the sum would hold the input
    /// twice (RepConvN; Wang et al., 2022).
    pub(super) fn new(sizes: ConvNormSizes, identity: bool, gamma_start: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let ConvNormSizes { inputs, outputs, kernel, stride, relu } = sizes;
        let branch = |name: &str, kernel: usize| -> Result<(Tensor, BatchNorm)> {
            let vb = vb.pp(name);
            let weight = vb.get_with_hints((outputs, inputs, kernel, kernel), "conv.weight", HE)?;
            Ok((weight, BatchNorm::new(outputs, gamma_start, &vb.pp("norm"))?))
        };
        let identity = if identity && stride == 1 && inputs == outputs {
            Some(BatchNorm::new(outputs, gamma_start, &vb.pp("identity.norm"))?)
        } else {
            None
        };
        let mut conv = Self {
            name: vb.prefix(),
            full: branch("full", kernel)?,
            point: branch("point", 1)?,
            identity,
            merged: None,
            stride,
            relu,
        };
        if !conv.full.0.is_variable() {
            conv.merged = Some(conv.merge()?);
        }
        Ok(conv)
    }

    /// The one convolution that equals all branches by their running statistics.
    fn merge(&self) -> Result<ConvBias> {
        let (mut weight, mut bias) = self.full.1.fold(&self.full.0)?;
        let (_, inputs, kernel, _) = weight.dims4()?;
        let mut add = |(point, shift): (Tensor, Tensor)| -> Result<()> {
            // A 1x1 kernel is a larger one whose middle alone is not zero.
            let rim = kernel / 2;
            weight = (&weight + point.pad_with_zeros(2, rim, rim)?.pad_with_zeros(3, rim, rim)?)?;
            bias = (&bias + shift)?;
            Ok(())
        };
        add(self.point.1.fold(&self.point.0)?)?;
        if let Some(norm) = &self.identity {
            let one = Tensor::eye(inputs, self.full.0.dtype(), self.full.0.device())?;
            add(norm.fold(&one.reshape((inputs, inputs, 1, 1))?)?)?;
        }
        ConvBias::new(&weight, &bias)
    }

    /// With `residual` added before ReLU.
    pub(super) fn forward_with(&self, x: &Tensor, residual: Option<&Tensor>, statistics: Statistics) -> Result<Tensor> {
        let shape = ConvShape::same(self.full.0.dim(2)?, self.stride);
        let y = if statistics != Statistics::Running {
            let full = self.full.1.train(&conv2d(x, &self.full.0, None, shape)?, statistics)?;
            let point = conv2d(x, &self.point.0, None, ConvShape::same(1, self.stride))?;
            let point = self.point.1.train(&point, statistics)?;
            let mut y = (full + point)?;
            let identity = self.identity.as_ref().map(|norm| norm.train(x, statistics)).transpose()?;
            for branch in identity.into_iter().chain(residual.cloned()) {
                y = (y + branch)?;
            }
            if self.relu { y.relu()? } else { y }
        } else {
            let merged = match &self.merged {
                Some(merged) => merged.clone(),
                None => self.merge()?,
            };
            conv_bias(x, &merged, shape, residual, self.relu)?
        };
        cost::convolution(&self.name, &y, &self.full.0);
        Ok(y)
    }

    /// [`Self::forward_with`] as a step of `plan`.
    pub(super) fn plan(&self, plan: &mut Plan, x: Value, residual: Option<Value>) -> Result<Value> {
        let Some(merged) = &self.merged else { candle_core::bail!("{}: a plan takes fixed weights", self.name) };
        let (weight, bias) = merged.parts();
        let shape = ConvShape::same(self.full.0.dim(2)?, self.stride);
        plan.conv(x, (weight, Some(bias)), shape, Finish { norm: None, residual, activation: activation(self.relu) })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::{VarBuilder, VarMap};

    use super::{ConvNorm, ConvNormSizes, RepConv, Statistics, Style};
    use crate::model::config::{Convolution, Norm};

    const SIZES: ConvNormSizes = ConvNormSizes { inputs: 4, outputs: 4, kernel: 3, stride: 1, relu: true };

    fn difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    }

    fn pictures(count: usize) -> Tensor {
        (Tensor::randn(0.0f32, 1.0, (count, 4, 9, 7), &Device::Cpu).unwrap() + 0.5).unwrap()
    }

    /// Weights of `map` as they are, fixed.
    fn fixed(map: &VarMap) -> VarBuilder<'static> {
        let vars = map.data().lock().unwrap();
        let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().copy().unwrap().detach())).collect();
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
    }

    fn shake(map: &VarMap) {
        for (name, var) in map.data().lock().unwrap().iter() {
            if !name.contains("running") {
                let noise = Tensor::randn(0.0f32, 0.3, var.dims(), &Device::Cpu).unwrap();
                var.set(&(var.as_tensor() + noise).unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn branches_merge_into_the_same_function() {
        for identity in [true, false] {
            let map = VarMap::new();
            let vb = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
            let trained = RepConv::new(SIZES, identity, 1.0, vb).unwrap();
            assert_eq!(trained.identity.is_some(), identity);
            shake(&map);
            // Many batches of one distribution: running statistics come near those of a large batch.
            for _ in 0..100 {
                trained.forward_with(&pictures(8), None, Statistics::Batch).unwrap();
            }
            let merged = RepConv::new(SIZES, identity, 1.0, fixed(&map)).unwrap();
            assert!(merged.merged.is_some() && trained.merged.is_none());
            let x = pictures(64);
            let residual = pictures(64);
            let separate = trained.forward_with(&x, Some(&residual), Statistics::Batch).unwrap();
            let size = separate.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            let by_running = merged.forward_with(&x, Some(&residual), Statistics::Running).unwrap();
            assert!(difference(&separate, &by_running) < 0.15 * size);
            // By the very same statistics the two are equal.
            let trained = trained.forward_with(&x, Some(&residual), Statistics::Running).unwrap();
            let merged = RepConv::new(SIZES, identity, 1.0, fixed(&map)).unwrap();
            let merged = merged.forward_with(&x, Some(&residual), Statistics::Running).unwrap();
            assert!(difference(&trained, &merged) < 1e-5 * size);
        }
    }

    /// The branches written out: every convolution, normalised by its running statistics, summed.
    #[test]
    fn a_merged_convolution_equals_the_sum_of_its_branches() {
        let map = VarMap::new();
        let conv = RepConv::new(SIZES, true, 1.0, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu)).unwrap();
        shake(&map);
        conv.forward_with(&pictures(8), None, Statistics::Batch).unwrap();
        let vars = map.data().lock().unwrap();
        let x = pictures(2);
        let normal = |y: Tensor, name: &str| {
            let of = |part: &str| vars[&format!("{name}.norm.{part}")].as_tensor().reshape((1, 4, 1, 1)).unwrap();
            let deviation = (of("running_var") + 1e-5).unwrap().sqrt().unwrap();
            let y = y.broadcast_sub(&of("running_mean")).unwrap().broadcast_div(&deviation).unwrap();
            y.broadcast_mul(&of("weight")).unwrap().broadcast_add(&of("bias")).unwrap()
        };
        let full = normal(x.conv2d(vars["full.conv.weight"].as_tensor(), 1, 1, 1, 1).unwrap(), "full");
        let point = normal(x.conv2d(vars["point.conv.weight"].as_tensor(), 0, 1, 1, 1).unwrap(), "point");
        let sum = ((full + point).unwrap() + normal(x.clone(), "identity")).unwrap().relu().unwrap();
        assert!(difference(&sum, &conv.forward_with(&x, None, Statistics::Running).unwrap()) < 1e-4);
    }

    #[test]
    fn running_statistics_follow_the_batches() {
        let style = Style { norm: Norm::Batch, groups: 1, convolution: Convolution::Standardised };
        let map = VarMap::new();
        let conv = ConvNorm::new(SIZES, style, 1.0, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu)).unwrap();
        let before = map.data().lock().unwrap()["norm.running_mean"].as_tensor().copy().unwrap();
        conv.forward(&pictures(8), Statistics::Running).unwrap();
        let mean = || map.data().lock().unwrap()["norm.running_mean"].as_tensor().clone();
        assert_eq!(difference(&before, &mean()), 0.0);
        for _ in 0..100 {
            conv.forward(&pictures(8), Statistics::Batch).unwrap();
        }
        assert!(difference(&before, &mean()) > 1e-3);
        // Now both ways of normalising say nearly the same.
        let x = pictures(64);
        let (train, eval) =
            (conv.forward(&x, Statistics::Batch).unwrap(), conv.forward(&x, Statistics::Running).unwrap());
        assert!(difference(&train, &eval) < 0.3);
        let folded = ConvNorm::new(SIZES, style, 1.0, fixed(&map)).unwrap().forward(&x, Statistics::Running).unwrap();
        assert!(difference(&conv.forward(&x, Statistics::Running).unwrap(), &folded) < 1e-5);
    }
}
