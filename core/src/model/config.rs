//! What a network is built from.

use serde::{Deserialize, Serialize};

use super::detection::DetectionConfig;
use super::presets;
use crate::nn::Interpolation;

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
    /// The ResNet alone: its last map are the tokens, their mean stands for CLS.
    Resnet,
    /// The transformer alone, over patches of the image (Dosovitskiy et al., 2021).
    Vit,
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

/// How a ResNet map of any size comes onto the token grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// The mean of each cell (adaptive pooling), then a projection.
    #[default]
    Pooling,
    /// A convolution over each cell, whose stride is the cell, which projects as well.
    Convolution,
}

/// The residual block of a [`ResNetConfig`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Two 3x3 convolutions (ResNet-18, -34; He et al., 2016).
    #[default]
    Basic,
    /// 1x1, 3x3 at the block's stride (version 1.5), 1x1, with a quarter of the channels inside (ResNet-26, -50).
    Bottleneck,
    /// Two 3x3 convolutions that are trained with parallel 1x1 and identity branches and merged afterwards (RepVGG; Ding et al., 2021);
    /// the second, before the residual, without identity (RepConvN; Wang et al., 2022).
    Rep,
}

/// The normalisation behind each convolution of a [`ResNetConfig`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Over groups of channels of one image (Wu and He, 2018).
    #[default]
    Group,
    /// By the statistics of the batch in training, by running ones afterwards (Ioffe and Szegedy, 2015).
    Batch,
}

/// The convolutions of a [`ResNetConfig`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Convolution {
    /// As in the first ResNet, padded evenly.
    #[default]
    Plain,
    /// Weights standardised, padded as TensorFlow does (BiT; Kolesnikov et al., 2020; timm's hybrids).
    Standardised,
}

/// The local branch: a ResNet (He et al., 2016). In a file `depth` (18, 26, 34, 50) stands for `block`, `channels` and `blocks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "presets::RawResNet")]
pub struct ResNetConfig {
    /// Channels of each stage; the first also of the stem, a quarter of it where blocks are bottlenecks.
    pub channels: Vec<usize>,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Groups of each group normalisation, in the heads too.
    pub norm_groups: usize,
    /// Residual block.
    #[serde(skip_serializing_if = "is_default")]
    pub block: Block,
    /// Normalisation.
    #[serde(skip_serializing_if = "is_default")]
    pub norm: Norm,
    /// Convolutions.
    #[serde(skip_serializing_if = "is_default")]
    pub convolution: Convolution,
}

/// Where a token is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// An embedding, learned for each cell of the grid and resampled for other grids.
    #[default]
    Learned,
    /// A dilated depthwise 3x3 convolution over the token grid, added to the tokens (conditional positions; Chu et al., 2021).
    Convolutional,
}

/// How tokens look at each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKind {
    /// Softmax of scaled products (Vaswani et al., 2017).
    #[default]
    Softmax,
    /// Linear in the number of tokens (Katharopoulos et al., 2020).
    Linear,
}

/// The global branch: a pre-norm transformer encoder (Dosovitskiy et al., 2021). In a file `size` (`tiny`, `small`, `base`) stands for
/// `dimension`, `depth`, `heads` and `mlp_ratio`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "presets::RawTransformer")]
pub struct TransformerConfig {
    /// Values a token.
    pub dimension: usize,
    /// Layers.
    pub depth: usize,
    /// Attention heads, at most [`MAX_HEADS`]; divides the dimension.
    pub heads: usize,
    /// Hidden values of the feed-forward part, per token value.
    pub mlp_ratio: usize,
    /// Rows and columns of the token grid at the configured input size; it grows with the input.
    pub grid: [usize; 2],
    /// Added to the variance of layer normalisation.
    #[serde(skip_serializing_if = "presets::is_usual_eps")]
    pub norm_eps: f64,
    /// Learned tokens that stand for no place (registers; Darcet et al., 2024); the last of the sequence.
    #[serde(skip_serializing_if = "is_default")]
    pub registers: usize,
    /// Position embedding.
    #[serde(skip_serializing_if = "is_default")]
    pub position: Position,
    /// How learned positions are resampled for other grids.
    #[serde(skip_serializing_if = "is_default")]
    pub position_resize: Interpolation,
    /// Distance of the taps of convolutional positions, in cells.
    #[serde(skip_serializing_if = "presets::is_usual_dilation")]
    pub position_dilation: usize,
    /// Attention.
    #[serde(skip_serializing_if = "is_default")]
    pub attention: AttentionKind,
    /// The most tokens, CLS and registers included, that the layers get: larger inputs are laid on a coarser grid, or refused where the
    /// grid is given by patches. Memory of softmax attention grows with its square.
    #[serde(skip_serializing_if = "presets::is_usual_limit")]
    pub max_tokens: usize,
}

/// The most heads of a transformer.
pub const MAX_HEADS: usize = 64;

/// For networks made for colour images: a grey image becomes three equal channels from 0 to 1, less `mean`, divided by `deviation`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Colour {
    /// Subtracted from red, green, blue.
    pub mean: [f64; 3],
    /// They are divided by it.
    pub deviation: [f64; 3],
}

/// For networks that see a slice of a volume between its two neighbours: three channels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlabInput {
    /// Values, in the modality's units (HU), that become 0 and 1; what lies outside is clipped.
    pub window: [f32; 2],
    /// Distance of the neighbours from the slice, mm, whatever the distance of the slices of the volume.
    pub spacing_mm: f32,
}

impl SlabInput {
    /// Slices of a slab; the middle one is the one that is asked about.
    pub const SLICES: usize = 3;
}

/// A network: hybrid and heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// How the branches are joined.
    #[serde(default)]
    pub topology: Topology,
    /// How parallel branches are fused; other topologies do not read it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fusion: Fusion,
    /// How ResNet maps come onto the token grid.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alignment: Alignment,
    /// Side of the square input, pixels.
    pub input_size: usize,
    /// Three channels instead of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// Three neighbouring slices instead of one image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slab: Option<SlabInput>,
    /// The local branch; `vit` has none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resnet: ResNetConfig,
    /// The global branch; `resnet` has none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transformer: TransformerConfig,
    /// Channels inside the heads.
    #[serde(default = "presets::head_channels")]
    pub head_channels: usize,
    /// Lesion maps at stride 4 instead of 8: for lesions of a few pixels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fine_lesions: bool,
    /// Lesion classes, in the order of the outputs: a map and an image-level logit each.
    #[serde(default)]
    pub lesions: Vec<String>,
    /// Organ classes, in the order of the outputs: a map each.
    #[serde(default)]
    pub organs: Vec<String>,
    /// Classes of the image alone, behind the lesions' image-level logits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub classes: Vec<String>,
    /// Boxes around the lesions, beside their maps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<DetectionConfig>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ModelConfig {
    /// Checks that the parts fit each other; the error names the field.
    pub fn validate(&self) -> Result<(), String> {
        if self.has_resnet() {
            self.validate_resnet()?;
        }
        let stride = self.coarsest_stride();
        if self.input_size == 0 || !self.input_size.is_multiple_of(stride) || self.input_size > 4096 {
            return Err(format!("input_size: not a multiple of {stride} up to 4096"));
        }
        if self.has_transformer() {
            self.validate_transformer()?;
        }
        if self.colour.is_some_and(|colour| colour.deviation.iter().any(|d| !d.is_finite() || *d <= 0.0)) {
            return Err("colour.deviation: must be above 0".into());
        }
        if let Some(slab) = &self.slab {
            let [low, high] = slab.window;
            let sound = low.is_finite() && high.is_finite() && low < high;
            if !sound || !slab.spacing_mm.is_finite() || slab.spacing_mm <= 0.0 {
                return Err("slab: window must rise, and spacing_mm be above 0".into());
            }
            if self.colour.is_some() {
                return Err("slab, colour: a network sees slices or colours, not both".into());
            }
        }
        if self.fine_lesions && !self.has_resnet() {
            return Err("fine_lesions: needs a ResNet, whose first stage guides them".into());
        }
        if self.has_maps() && self.head_channels < 2 {
            return Err("head_channels: at least 2".into());
        }
        if let Some(detection) = &self.detection {
            detection.validate(self)?;
        }
        Ok(())
    }

    fn validate_resnet(&self) -> Result<(), String> {
        let ResNetConfig { channels, blocks, norm_groups, block, norm, .. } = &self.resnet;
        if channels.len() < 2 || channels.len() != blocks.len() || channels.len() > 6 {
            return Err("resnet: channels and blocks name the same stages, 2 to 6".into());
        }
        if blocks.contains(&0) || channels.contains(&0) {
            return Err("resnet: channels and blocks are at least 1".into());
        }
        if *block == Block::Bottleneck && channels.iter().any(|channels| channels % 4 != 0) {
            return Err("resnet.channels: bottlenecks need multiples of 4".into());
        }
        if *block == Block::Rep && *norm != Norm::Batch {
            return Err("resnet.norm: branches can be merged behind batch normalisation only".into());
        }
        let inside = channels.iter().map(|c| if *block == Block::Bottleneck { c / 4 } else { *c });
        let grouped: Vec<usize> = match (norm, self.has_maps()) {
            (Norm::Group, true) => inside.chain([self.head_channels, channels[0]]).collect(),
            (Norm::Group, false) => inside.collect(),
            (Norm::Batch, true) => vec![self.head_channels, channels[0]],
            (Norm::Batch, false) => Vec::new(),
        };
        if grouped.iter().any(|c| *c == 0 || *norm_groups == 0 || c % norm_groups != 0) {
            return Err("resnet.norm_groups: does not divide every number of channels (head_channels too)".into());
        }
        Ok(())
    }

    fn validate_transformer(&self) -> Result<(), String> {
        let t = &self.transformer;
        if t.dimension == 0 {
            return Err("transformer: missing".into());
        }
        if t.heads == 0 || t.heads > MAX_HEADS || !t.dimension.is_multiple_of(t.heads) {
            return Err(format!("transformer.heads: 1 to {MAX_HEADS}, and must divide transformer.dimension"));
        }
        if t.grid.contains(&0) || t.mlp_ratio == 0 {
            return Err("transformer: grid and mlp_ratio are at least 1".into());
        }
        if t.norm_eps <= 0.0 || t.position_dilation == 0 {
            return Err("transformer: norm_eps and position_dilation are above 0".into());
        }
        let tokens = t.grid[0].saturating_mul(t.grid[1]).saturating_add(1 + t.registers);
        if tokens > t.max_tokens {
            return Err(format!("transformer.max_tokens: {}, but the grid has {tokens} tokens", t.max_tokens));
        }
        let patches = matches!(self.topology, Topology::Parallel | Topology::Vit);
        if patches && t.grid.iter().any(|cells| !self.input_size.is_multiple_of(*cells)) {
            return Err("transformer.grid: does not divide input_size into patches".into());
        }
        if self.topology == Topology::Interleaved && t.depth < self.resnet.channels.len() {
            return Err("transformer.depth: interleaved needs a layer for each ResNet stage".into());
        }
        if self.alignment == Alignment::Convolution && self.has_resnet() {
            let last = self.resnet.channels.len() - 1;
            let stages = if self.topology == Topology::Interleaved { 0..=last } else { last..=last };
            for stage in stages {
                let side = self.input_size / (4 << stage);
                if t.grid.iter().any(|cells| !side.is_multiple_of(*cells)) {
                    let [rows, columns] = t.grid;
                    return Err(format!(
                        "alignment: a convolution cannot lay stage {} ({side}x{side}) on a grid of {rows}x{columns}",
                        stage + 1
                    ));
                }
            }
        }
        Ok(())
    }

    /// Input pixels per pixel of the last stage, or of a patch where there is no ResNet.
    pub fn coarsest_stride(&self) -> usize {
        if self.has_resnet() {
            4 << self.resnet.channels.len().saturating_sub(1)
        } else {
            (self.input_size / self.transformer.grid[0].max(1)).max(1)
        }
    }

    /// Whether there is a local branch.
    pub fn has_resnet(&self) -> bool {
        self.topology != Topology::Vit
    }

    /// Whether there is a global branch.
    pub fn has_transformer(&self) -> bool {
        self.topology != Topology::Resnet
    }

    /// Whether there are heads with maps.
    pub(super) fn has_maps(&self) -> bool {
        !self.lesions.is_empty() || !self.organs.is_empty()
    }

    /// Values of a token and of CLS.
    pub fn feature_dimension(&self) -> usize {
        if self.has_transformer() {
            self.transformer.dimension
        } else {
            self.resnet.channels.last().copied().unwrap_or(0)
        }
    }

    /// Rows and columns of input pixels that a token of the configured grid stands for.
    pub(super) fn patch(&self) -> [usize; 2] {
        self.transformer.grid.map(|cells| self.input_size / cells.max(1))
    }

    /// Channels of the input.
    pub fn input_channels(&self) -> usize {
        if self.slab.is_some() {
            SlabInput::SLICES
        } else if self.colour.is_some() {
            3
        } else {
            1
        }
    }

    /// Groups of the normalisation in the heads: the ResNet's; without one, up to 8 that divide their channels.
    pub(super) fn head_groups(&self) -> usize {
        if self.has_resnet() {
            return self.resnet.norm_groups;
        }
        let divides =
            |groups: &usize| self.head_channels.is_multiple_of(*groups) && self.head_narrow().is_multiple_of(*groups);
        (1..=8).rev().find(divides).unwrap_or(1)
    }

    /// Channels of the last layers of the organ head: those of the ResNet's first stage, which guides it; without one, half of the heads'.
    pub(super) fn head_narrow(&self) -> usize {
        match self.resnet.channels.first() {
            Some(channels) if self.has_resnet() => *channels,
            _ => self.head_channels / 2,
        }
    }

    /// Input pixels per pixel of the lesion maps.
    pub fn lesion_stride(&self) -> usize {
        if self.fine_lesions { 4 } else { 8 }
    }
}
