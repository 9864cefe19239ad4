//! The hybrid network: ResNet, transformer, the ways to join them, heads, input, bundles.
//!
//! A [`Hybrid`] turns an image into [`Features`]: maps of the ResNet's stages (local) and tokens with a CLS token (global). How the
//! two are joined is its own affair, so that heads, explanations and training do not know it: [`Serial`] flattens and projects
//! the ResNet's features and gives them to a transformer (TransUNet; Chen et al., 2021), [`Interleaved`] puts a transformer after
//! each ResNet stage, [`Parallel`] runs both over the image and fuses them; [`ResNetAlone`] and [`VitAlone`] are one branch.
//! A [`Network`] is a hybrid with its heads.

mod alignment;
mod bundle;
mod config;
mod convolution;
mod cost;
mod describe;
mod detection;
mod device;
mod dropout;
mod features_file;
mod heads;
pub mod import;
mod input;
mod interleaved;
mod layers;
mod network;
mod parallel;
mod planned;
mod position;
mod presets;
mod resnet;
mod seeded;
mod serial;
mod shuffle;
mod single;
mod stored;
#[cfg(test)]
pub(crate) mod topology_tests;
#[cfg(test)]
mod variant_tests;
mod vit;

pub use bundle::{
    Bundle, BundleError, ClassCalibration, Familiarity, FineTuning, IntendedUse, LesionClass, Metadata, MetricValue,
    OrganClass, WeightPrecision, bundle_ids, bundle_weights, find_bundle, read_metadata, sha256_file, write_bundle,
};
pub use candle_core::Device;
pub use config::{
    Alignment, AttentionKind, Block, Colour, Convolution, Fusion, MAX_HEADS, ModelConfig, Norm, Position, ResNetConfig,
    SlabInput, Topology, TransformerConfig,
};
pub use describe::{Description, LayerCost, describe};
pub use detection::{Detection, DetectionConfig, Detector, Pyramid};
pub use device::{DeviceChoice, device_name, open_device};
pub use dropout::Dropout;
pub use features_file::{features_of_file, output_tensors};
pub use input::{INPUT_MEAN, INPUT_SCALE, ModelInput, NetworkImage, stretch};
pub use interleaved::Interleaved;
pub use network::{Logits, Network, Output, Request};
pub use parallel::Parallel;
pub use planned::{Heads, PlannedFeatures, Scope};
pub use presets::{HALF, IMAGENET, PRESETS};
pub use seeded::SeededVars;
pub use serial::Serial;
pub use shuffle::{Layer, layers_from_top};
pub use single::{ResNetAlone, VitAlone};

use candle_core::{Result, Tensor};

use crate::nn::{Plan, Value};

/// What a hybrid returns for a batch of images.
#[derive(Debug, Clone)]
pub struct Features {
    /// Local features after each ResNet stage: (batch, channel, height, width), finest first.
    pub stages: Vec<Tensor>,
    /// What each ResNet stage gave, where [`Request::stage_perturbation`] is added: the same as `stages`, but where a transformer writes
    /// back into the map, before it does.
    pub activations: Vec<Tensor>,
    /// Image-level token: (batch, dimension).
    pub cls: Tensor,
    /// Tokens in row-major order of the grid: (batch, token, dimension).
    pub tokens: Tensor,
    /// Rows and columns of the token grid.
    pub grid: (usize, usize),
    /// Attention probabilities of each layer, (batch, head, token from, token to): CLS, then the tokens, then registers; empty unless
    /// requested.
    pub attention: Vec<Tensor>,
}

/// A join of ResNet and transformer.
pub trait Hybrid: Send + Sync {
    /// Features of `x` (batch, channel, height, width); channels as configured, height and width multiples of the
    /// coarsest stride.
    fn features(&self, x: &Tensor, request: &Request<'_>) -> Result<Features>;

    /// [`Self::features`] as steps of `plan`, of its value `x`.
    ///
    /// # Errors
    /// Where weights are in training, or a layer has no step.
    fn plan(&self, plan: &mut Plan, x: Value, scope: Scope) -> Result<PlannedFeatures>;

    /// Number of transformer layers.
    fn depth(&self) -> usize;

    /// Channels of each stage's features, finest first, as in [`Features::stages`].
    fn stage_channels(&self) -> &[usize];
}
