//! A hybrid with its heads.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::config::{ModelConfig, Topology};
use super::dropout::Dropout;
use super::heads::{ClassHead, LesionHead, OrganHead};
use super::interleaved::Interleaved;
use super::parallel::Parallel;
use super::serial::Serial;
use super::{Features, Hybrid};

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
}

/// Everything a forward pass returns.
#[derive(Debug, Clone)]
pub struct Output {
    /// Logits of the lesion maps: (batch, lesion, height / 8, width / 8).
    pub lesion_logits: Tensor,
    /// Logits of the organ maps: (batch, organ, height / 4, width / 4).
    pub organ_logits: Tensor,
    /// Logits of the image-level classes: (batch, lesion), not calibrated.
    pub class_logits: Tensor,
    /// Local features, tokens and attention.
    pub features: Features,
}

/// A hybrid network with lesion, organ and class heads.
pub struct Network {
    hybrid: Box<dyn Hybrid>,
    lesions: LesionHead,
    organs: OrganHead,
    classes: ClassHead,
    config: ModelConfig,
}

impl Network {
    /// Builds the network of `config` with weights from `vb`.
    pub fn new(config: &ModelConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        config.validate().map_err(candle_core::Error::msg)?;
        let hybrid: Box<dyn Hybrid> = match config.topology {
            Topology::Serial => Box::new(Serial::new(config, vb)?),
            Topology::Interleaved => Box::new(Interleaved::new(config, vb)?),
            Topology::Parallel => Box::new(Parallel::new(config, vb)?),
        };
        Ok(Self {
            hybrid,
            lesions: LesionHead::new(config, &vb.pp("heads.lesion"))?,
            organs: OrganHead::new(config, &vb.pp("heads.organ"))?,
            classes: ClassHead::new(config, &vb.pp("heads.class"))?,
            config: config.clone(),
        })
    }

    /// What it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The joined branches.
    pub fn hybrid(&self) -> &dyn Hybrid {
        self.hybrid.as_ref()
    }

    /// Forward pass of `x` (batch, 1, height, width), scaled as by [`super::input_from_values`].
    pub fn forward(&self, x: &Tensor, request: &Request<'_>) -> Result<Output> {
        let features = self.hybrid.features(x, request)?;
        let lesion_logits = self.lesions.forward(&features, request.dropout)?;
        let organ_logits = self.organs.forward(&features, request.dropout)?;
        let class_logits = self.classes.forward(&features, &lesion_logits, request.dropout)?;
        Ok(Output { lesion_logits, organ_logits, class_logits, features })
    }

    /// Logits of the image-level classes alone, (batch, lesion): a good part cheaper than [`Network::forward`].
    pub fn classify(&self, x: &Tensor) -> Result<Tensor> {
        let features = self.hybrid.features(x, &Request::default())?;
        self.classes.forward(&features, &self.lesions.forward(&features, None)?, None)
    }
}
