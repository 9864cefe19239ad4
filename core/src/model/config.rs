//! What a network is built from.

use serde::{Deserialize, Serialize};

/// How ResNet and transformer are joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// ResNet features, flattened and projected, are the transformer's tokens.
    #[default]
    Serial,
    /// A transformer after each ResNet stage, which writes back into its map.
    Interleaved,
    /// Two branches over the same image, fused.
    Parallel,
}

/// How the branches of [`Topology::Parallel`] are fused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// Concatenated and projected.
    #[default]
    Concatenation,
    /// A weighted sum, with a learned weight a feature.
    Weighted,
}

impl Fusion {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The local branch: a ResNet of basic blocks (He et al., 2016) with group normalisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Channels of each stage; the first also of the stem.
    pub channels: Vec<usize>,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Groups of each normalisation.
    pub norm_groups: usize,
}

/// The global branch: a pre-norm transformer encoder (Dosovitskiy et al., 2021).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Values a token.
    pub dimension: usize,
    /// Layers.
    pub depth: usize,
    /// Attention heads; divides the dimension.
    pub heads: usize,
    /// Hidden values of the feed-forward part, per token value.
    pub mlp_ratio: usize,
    /// Rows and columns of the token grid, to which the last stage's features are pooled; the position embedding is learned on it
    /// and resampled (bicubic) for other grids.
    pub grid: [usize; 2],
}

/// A network: hybrid and heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// How the branches are joined.
    #[serde(default)]
    pub topology: Topology,
    /// How parallel branches are fused; other topologies do not read it.
    #[serde(default, skip_serializing_if = "Fusion::is_default")]
    pub fusion: Fusion,
    /// Side of the square input, pixels.
    pub input_size: usize,
    /// The local branch.
    pub resnet: ResNetConfig,
    /// The global branch.
    pub transformer: TransformerConfig,
    /// Channels inside the heads.
    pub head_channels: usize,
    /// Lesion classes, in the order of the outputs.
    pub lesions: Vec<String>,
    /// Organ classes, in the order of the outputs.
    pub organs: Vec<String>,
}

impl ModelConfig {
    /// Checks that the parts fit each other; the error names the field.
    pub fn validate(&self) -> Result<(), String> {
        let ResNetConfig { channels, blocks, norm_groups } = &self.resnet;
        if channels.len() < 2 || channels.len() != blocks.len() {
            return Err("resnet: channels and blocks name the same stages, at least two".into());
        }
        if *norm_groups == 0 || channels.iter().chain([&self.head_channels]).any(|c| *c == 0 || c % norm_groups != 0) {
            return Err("resnet.norm_groups: does not divide every number of channels (head_channels too)".into());
        }
        let stride = self.coarsest_stride();
        if self.input_size == 0 || !self.input_size.is_multiple_of(stride) || self.input_size > 4096 {
            return Err(format!("input_size: not a multiple of {stride} up to 4096"));
        }
        let t = &self.transformer;
        if t.heads == 0 || t.dimension == 0 || !t.dimension.is_multiple_of(t.heads) {
            return Err("transformer.heads: does not divide transformer.dimension".into());
        }
        if t.grid.contains(&0) || t.mlp_ratio == 0 {
            return Err("transformer: grid and mlp_ratio are at least 1".into());
        }
        if self.topology == Topology::Interleaved && t.depth < channels.len() {
            return Err("transformer.depth: interleaved needs a layer for each ResNet stage".into());
        }
        if self.topology == Topology::Parallel && t.grid.iter().any(|cells| !self.input_size.is_multiple_of(*cells)) {
            return Err("transformer.grid: does not divide input_size into patches".into());
        }
        if self.lesions.is_empty() || self.organs.is_empty() {
            return Err("lesions, organs: at least one class each".into());
        }
        Ok(())
    }

    /// Input pixels per pixel of the last stage.
    pub fn coarsest_stride(&self) -> usize {
        4 << (self.resnet.channels.len() - 1)
    }
}
