//! A hybrid with its heads.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::config::{ModelConfig, Topology};
use super::convolution::Statistics;
use super::detection::Detector;
use super::dropout::Dropout;
use super::heads::{ClassHead, LesionHead, OrganHead};
use super::input::{INPUT_MEAN, INPUT_SCALE};
use super::interleaved::Interleaved;
use super::layers::Linear;
use super::parallel::Parallel;
use super::planned::{Heads, Maps, PlannedFeatures, Plans, Scope};
use super::seeded::SeededVars;
use super::serial::Serial;
use super::single::{ResNetAlone, VitAlone};
use super::stored::{as_stored, is_matrix};
use super::{Features, Hybrid};
use crate::nn::{Plan, Recompute, StepTime, Value, WeightStorage};

/// What a forward pass shall keep, and where gradients shall be readable.
#[derive(Default, Clone, Copy)]
pub struct Request<'a> {
    /// Keep the attention probabilities.
    pub attention: bool,
    /// Zero tensors (batch, head, token, token), one a layer, added to the attention probabilities; their gradients are the
    /// probabilities' gradients.
    pub attention_perturbation: Option<&'a [Tensor]>,
    /// Index of a ResNet stage and a zero tensor of its shape, added to it; its gradient is the stage's gradient.
    pub stage_perturbation: Option<(usize, &'a Tensor)>,
    /// Leave the transformer's layers out: tokens are the projected ResNet features (first stage of progressive training).
    pub bypass_transformer: bool,
    /// Drop features at random, in training.
    pub dropout: Option<Dropout>,
    /// Batch normalisation by the batch's own statistics, which the running ones follow where weights are variables.
    pub training: bool,
    /// Keep only what stands between the stem, the residual blocks and the transformer's layers, and compute the rest again on the way back. Gradients
    /// then come from [`Recompute::backward`]; layers whose attention is asked for are kept whole.
    pub recompute: Option<&'a Recompute>,
}

impl Request<'_> {
    /// `forward` of `x` by `part`, as a segment where values are computed again.
    pub(super) fn segment<P: Send + Sync + 'static>(
        &self,
        part: &Arc<P>,
        x: &Tensor,
        forward: impl Fn(&P, &Tensor, Statistics) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let training = self.training;
        let statistics = move |again: bool| match (training, again) {
            (false, _) => Statistics::Running,
            (true, false) => Statistics::Batch,
            (true, true) => Statistics::BatchAgain,
        };
        let Some(recompute) = self.recompute else { return forward(part, x, statistics(false)) };
        let part = part.clone();
        recompute.run(x, move |x, again| forward(&part, x, statistics(again)))
    }
}

/// Everything a forward pass returns.
#[derive(Debug, Clone)]
pub struct Output {
    /// Logits of the lesion maps: (batch, lesion, height / 8, width / 8), or by 4 where they are fine
    /// ([`ModelConfig::lesion_stride`]); empty where there is no lesion class, as below.
    pub lesion_logits: Tensor,
    /// Logits of the organ maps: (batch, organ, height / 4, width / 4).
    pub organ_logits: Tensor,
    /// Logits of the image-level classes: (batch, lesion + class), lesions first, not calibrated.
    pub class_logits: Tensor,
    /// Local features, tokens and attention.
    pub features: Features,
}

/// Logits of a forward pass, as in [`Output`].
#[derive(Debug, Clone)]
pub struct Logits {
    /// Of the lesion maps.
    pub lesion_logits: Tensor,
    /// Of the organ maps.
    pub organ_logits: Tensor,
    /// Of the image-level classes.
    pub class_logits: Tensor,
}

/// A hybrid network with lesion, organ and class heads: those that its configuration has classes for.
pub struct Network {
    hybrid: Box<dyn Hybrid>,
    lesions: Option<(LesionHead, ClassHead)>,
    organs: Option<OrganHead>,
    classes: Option<Linear>,
    detector: Option<Detector>,
    config: ModelConfig,
    plans: Plans,
    device: Device,
}

impl Network {
    /// Builds the network of `config` with weights from `vb`.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        config.validate().map_err(candle_core::Error::msg)?;
        let hybrid: Box<dyn Hybrid> = match config.topology {
            Topology::Serial => Box::new(Serial::new(config, vb)?),
            Topology::Interleaved => Box::new(Interleaved::new(config, vb)?),
            Topology::Parallel => Box::new(Parallel::new(config, vb)?),
            Topology::Resnet => Box::new(ResNetAlone::new(config, vb)?),
            Topology::Vit => Box::new(VitAlone::new(config, vb)?),
        };
        let heads = vb.pp("heads");
        let lesions = if config.lesions.is_empty() {
            None
        } else {
            Some((LesionHead::new(config, &heads.pp("lesion"))?, ClassHead::new(config, &heads.pp("class"))?))
        };
        let organs = if config.organs.is_empty() { None } else { Some(OrganHead::new(config, &heads.pp("organ"))?) };
        let classes = match config.classes.len() {
            0 => None,
            count => Some(Linear::new(config.feature_dimension(), count, 0.0, heads.pp("classifier"))?),
        };
        let detector = match &config.detection {
            Some(detection) => Some(Detector::new(config, detection, &heads.pp("detection"))?),
            None => None,
        };
        Ok(Self {
            hybrid,
            lesions,
            organs,
            classes,
            detector,
            config: config.clone(),
            plans: Plans::default(),
            device: vb.device().clone(),
        })
    }

    /// The network of `config` with random weights, the same for the same `seed`, that stay as they are.
    pub fn random(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        Self::random_as(config, seed, device, DType::F32)
    }

    /// As [`Self::random`], with weights stored as `dtype`. On the CPU these are matrices and filters, and inputs have 32 bits; elsewhere inputs must
    /// have the precision of the weights.
    pub fn random_as(config: &ModelConfig, seed: u64, device: &Device, dtype: DType) -> Result<Self> {
        let start = SeededVars::new(seed);
        Self::new(config, &VarBuilder::from_backend(Box::new(start.clone()), DType::F32, Device::Cpu))?;
        let weights = start.into_vars().into_iter().map(|(name, var)| {
            let tensor = var.as_detached_tensor().to_device(device)?;
            let tensor = if is_matrix(&name, &tensor) { tensor.to_dtype(dtype)? } else { tensor };
            Ok((name, tensor))
        });
        let weights = weights.collect::<Result<_>>()?;
        match device.is_cpu() {
            true => Self::new(config, &as_stored(weights)),
            false => Self::new(config, &VarBuilder::from_tensors(weights, dtype, device)),
        }
    }

    /// From now on plans hold the weights of matrix products as `storage`; at first they do as they were loaded.
    pub fn hold_weights_as(&mut self, storage: WeightStorage) {
        self.plans = Plans::holding(storage);
    }

    #[cfg(test)]
    pub(super) fn plans(&self) -> &Plans {
        &self.plans
    }

    /// What it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where its weights are, and where its input must be.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The joined branches.
    pub fn hybrid(&self) -> &dyn Hybrid {
        self.hybrid.as_ref()
    }

    /// The detector, where the configuration has one; it takes the features of a forward pass.
    pub fn detector(&self) -> Option<&Detector> {
        self.detector.as_ref()
    }

    /// Features of `x`, as [`Network::forward`] takes it, without any head.
    pub fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features> {
        let x = self.coloured(x)?;
        match self.plans.run(self, &x, request, Scope::of(request, Heads::None))? {
            Some(output) => Ok(output.features),
            None => self.hybrid.features(&x, request),
        }
    }

    /// Forward pass of `x` (batch, 1, height, width), scaled as by [`super::NetworkImage::input`]; a network for colour images also takes
    /// (batch, 3, height, width), scaled as it was trained, and one for slabs takes nothing else. Where weights stand still and no gradient is asked for, it runs by a plan.
    pub fn forward(&self, x: &Tensor, request: &Request<'_>) -> Result<Output> {
        let coloured = self.coloured(x)?;
        match self.plans.run(self, &coloured, request, Scope::of(request, Heads::All))? {
            Some(output) => self.finish(x, output, request),
            None => self.forward_by_layers(x, request),
        }
    }

    /// [`Self::forward`] layer by layer, whatever the request: gradients flow.
    pub fn forward_by_layers(&self, x: &Tensor, request: &Request<'_>) -> Result<Output> {
        let features = self.hybrid.features(&self.coloured(x)?, request)?;
        let lesions = self.lesions.as_ref().map(|(maps, _)| maps.forward(&features, request.dropout));
        let organs = self.organs.as_ref().map(|organs| organs.forward(&features, request.dropout));
        let (lesion_logits, organ_logits) = (lesions.transpose()?, organs.transpose()?);
        self.finish(x, Maps { features, lesion_logits, organ_logits }, request)
    }

    /// What [`Self::forward`] returns, from the features and maps for `x`.
    fn finish(&self, x: &Tensor, output: Maps, request: &Request<'_>) -> Result<Output> {
        let (batch, _, height, width) = x.dims4()?;
        let empty = |by: usize| Tensor::zeros(&[batch, 0, height / by, width / by], x.dtype(), x.device());
        let lesion_logits = output.lesion_logits.map_or_else(|| empty(self.config.lesion_stride()), Ok)?;
        let organ_logits = output.organ_logits.map_or_else(|| empty(4), Ok)?;
        let class_logits = self.class_logits(&output.features, &lesion_logits, request)?;
        Ok(Output { lesion_logits, organ_logits, class_logits, features: output.features })
    }

    /// The forward pass over `x` as steps of `plan`: features, lesion maps, organ maps. Classes are read from those.
    pub(super) fn plan(
        &self,
        plan: &mut Plan,
        x: Value,
        scope: Scope,
    ) -> Result<(PlannedFeatures, Option<Value>, Option<Value>)> {
        let features = self.hybrid.plan(plan, x, scope)?;
        let lesions = match self.lesions.as_ref().filter(|_| scope.heads != Heads::None) {
            Some((maps, _)) => Some(maps.plan(plan, &features)?),
            None => None,
        };
        let organs = match self.organs.as_ref().filter(|_| scope.heads == Heads::All) {
            Some(organs) => Some(organs.plan(plan, &features)?),
            None => None,
        };
        Ok((features, lesions, organs))
    }

    /// What each step of the last pass takes, at best over the passes of its size; empty where it did not run by a plan.
    pub fn step_times(&self) -> Vec<StepTime> {
        self.plans.times()
    }

    /// As [`Network::forward`], without features: their memory is not kept.
    pub fn predict(&self, x: &Tensor) -> Result<Logits> {
        let coloured = self.coloured(x)?;
        let scope = Scope { heads: Heads::All, ..Scope::default() };
        let output = match self.plans.run(self, &coloured, &Request::default(), scope)? {
            Some(output) => self.finish(x, output, &Request::default())?,
            None => self.forward_by_layers(x, &Request::default())?,
        };
        let Output { lesion_logits, organ_logits, class_logits, .. } = output;
        Ok(Logits { lesion_logits, organ_logits, class_logits })
    }

    /// Logits of the image-level classes alone, (batch, lesion): without the organ maps.
    pub fn classify(&self, x: &Tensor) -> Result<Tensor> {
        let (x, request) = (self.coloured(x)?, Request::default());
        let scope = Scope { heads: Heads::Lesions, ..Scope::default() };
        let (features, maps) = match self.plans.run(self, &x, &request, scope)? {
            Some(output) => (output.features, output.lesion_logits),
            None => {
                let features = self.hybrid.features(&x, &request)?;
                let maps = self.lesions.as_ref().map(|(maps, _)| maps.forward(&features, None)).transpose()?;
                (features, maps)
            }
        };
        let maps = maps.map_or_else(|| Tensor::zeros(0, DType::F32, x.device()), Ok)?;
        self.class_logits(&features, &maps, &request)
    }

    /// Lesion classes, from CLS and their maps, then the other classes, from CLS alone.
    fn class_logits(&self, features: &Features, lesion_maps: &Tensor, request: &Request<'_>) -> Result<Tensor> {
        let mut logits = Vec::new();
        if let Some((_, classes)) = &self.lesions {
            logits.push(classes.forward(features, lesion_maps, request.dropout)?);
        }
        if let Some(classes) = &self.classes {
            logits.push(classes.forward(&features.cls)?);
        }
        match logits.is_empty() {
            true => Tensor::zeros((features.cls.dim(0)?, 0), DType::F32, features.cls.device()),
            false => Tensor::cat(&logits, 1),
        }
    }

    /// A grey image as the colour image that the network was made for, where it was made for one.
    fn coloured(&self, x: &Tensor) -> Result<Tensor> {
        let Some(colour) = self.config.colour.filter(|_| x.dims().get(1) == Some(&1)) else { return Ok(x.clone()) };
        let grey = ((x / f64::from(INPUT_SCALE))? + f64::from(INPUT_MEAN))?;
        let channel = |(mean, deviation): (f64, f64)| ((&grey - mean)? / deviation)?.contiguous();
        let channels: Vec<Tensor> =
            colour.mean.into_iter().zip(colour.deviation).map(channel).collect::<Result<_>>()?;
        Tensor::cat(&channels, 1)
    }
}
