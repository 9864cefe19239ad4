//! Sizes with a name, and the short forms of a configuration file.

use serde::Deserialize;

use super::config::{
    Alignment, AttentionKind, Block, Colour, Convolution, Fusion, ModelConfig, Norm, Position, ResNetConfig, Topology,
    TransformerConfig,
};
use crate::nn::Interpolation;

/// Mean and deviation of ImageNet's colours, which torchvision's weights expect.
pub const IMAGENET: Colour = Colour { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
/// From -1 to 1, which the ViTs of Google expect.
pub const HALF: Colour = Colour { mean: [0.5; 3], deviation: [0.5; 3] };

const USUAL_GROUPS: usize = 32;
const USUAL_EPS: f64 = 1e-6;
const USUAL_DILATION: usize = 2;
/// 64 x 64 cells; softmax attention over them takes 64 MiB a head.
const USUAL_LIMIT: usize = 4097;

pub(super) fn head_channels() -> usize {
    64
}

pub(super) fn is_usual_eps(value: &f64) -> bool {
    *value == USUAL_EPS
}

pub(super) fn is_usual_dilation(value: &usize) -> bool {
    *value == USUAL_DILATION
}

pub(super) fn is_usual_limit(value: &usize) -> bool {
    *value == USUAL_LIMIT
}

impl ResNetConfig {
    /// The ResNet of `depth` 18, 26, 34 or 50, with group normalisation.
    pub fn of_depth(depth: usize) -> Option<Self> {
        let (block, blocks): (Block, &[usize]) = match depth {
            18 => (Block::Basic, &[2, 2, 2, 2]),
            26 => (Block::Bottleneck, &[2, 2, 2, 2]),
            34 => (Block::Basic, &[3, 4, 6, 3]),
            50 => (Block::Bottleneck, &[3, 4, 6, 3]),
            _ => return None,
        };
        let wide = if block == Block::Bottleneck { 4 } else { 1 };
        Some(Self {
            channels: [64, 128, 256, 512].map(|channels| channels * wide).to_vec(),
            blocks: blocks.to_vec(),
            norm_groups: USUAL_GROUPS,
            block,
            ..Self::default()
        })
    }

    /// The same with batch normalisation, as torchvision has it.
    pub fn with_batch_norm(self) -> Self {
        Self { norm: Norm::Batch, ..self }
    }
}

impl TransformerConfig {
    /// A transformer of the given sizes on `grid`; everything else as usual.
    pub fn new(dimension: usize, depth: usize, heads: usize, mlp_ratio: usize, grid: [usize; 2]) -> Self {
        Self {
            dimension,
            depth,
            heads,
            mlp_ratio,
            grid,
            norm_eps: USUAL_EPS,
            position_dilation: USUAL_DILATION,
            max_tokens: USUAL_LIMIT,
            ..Self::default()
        }
    }

    /// `tiny`, `small` or `base` (Touvron et al., 2021; Dosovitskiy et al., 2021).
    pub fn of_size(size: &str, grid: [usize; 2]) -> Option<Self> {
        let (dimension, heads) = match size {
            "tiny" => (192, 3),
            "small" => (384, 6),
            "base" => (768, 12),
            _ => return None,
        };
        Some(Self::new(dimension, 12, heads, 4, grid))
    }
}

/// A [`ResNetConfig`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResNet {
    depth: Option<usize>,
    channels: Option<Vec<usize>>,
    blocks: Option<Vec<usize>>,
    norm_groups: Option<usize>,
    block: Option<Block>,
    #[serde(default)]
    norm: Norm,
    #[serde(default)]
    convolution: Convolution,
}

impl TryFrom<RawResNet> for ResNetConfig {
    type Error = String;

    fn try_from(raw: RawResNet) -> Result<Self, String> {
        let preset = match raw.depth {
            Some(depth) => Self::of_depth(depth).ok_or(format!("resnet.depth: {depth} is none of 18, 26, 34, 50"))?,
            None => Self::default(),
        };
        let (Some(channels), Some(blocks)) =
            (raw.channels.or(raw.depth.map(|_| preset.channels)), raw.blocks.or(raw.depth.map(|_| preset.blocks)))
        else {
            return Err("resnet: needs depth, or channels and blocks".into());
        };
        Ok(Self {
            channels,
            blocks,
            norm_groups: raw.norm_groups.unwrap_or(USUAL_GROUPS),
            block: raw.block.unwrap_or(preset.block),
            norm: raw.norm,
            convolution: raw.convolution,
        })
    }
}

/// A [`TransformerConfig`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTransformer {
    size: Option<String>,
    dimension: Option<usize>,
    depth: Option<usize>,
    heads: Option<usize>,
    mlp_ratio: Option<usize>,
    grid: [usize; 2],
    norm_eps: Option<f64>,
    #[serde(default)]
    registers: usize,
    #[serde(default)]
    position: Position,
    #[serde(default)]
    position_resize: Interpolation,
    position_dilation: Option<usize>,
    #[serde(default)]
    attention: AttentionKind,
    max_tokens: Option<usize>,
}

impl TryFrom<RawTransformer> for TransformerConfig {
    type Error = String;

    fn try_from(raw: RawTransformer) -> Result<Self, String> {
        let preset = match &raw.size {
            Some(size) => Some(
                Self::of_size(size, raw.grid)
                    .ok_or(format!("transformer.size: {size:?} is none of tiny, small, base"))?,
            ),
            None => None,
        };
        let value = |given: Option<usize>, of: fn(&Self) -> usize, name: &str| {
            let value = given.or(preset.as_ref().map(of));
            value.ok_or(format!("transformer.{name}: missing; or give a size"))
        };
        let dimension = value(raw.dimension, |p| p.dimension, "dimension")?;
        let depth = value(raw.depth, |p| p.depth, "depth")?;
        let heads = value(raw.heads, |p| p.heads, "heads")?;
        let mlp_ratio = value(raw.mlp_ratio, |p| p.mlp_ratio, "mlp_ratio")?;
        let usual = Self::new(dimension, depth, heads, mlp_ratio, raw.grid);
        Ok(Self {
            norm_eps: raw.norm_eps.unwrap_or(usual.norm_eps),
            registers: raw.registers,
            position: raw.position,
            position_resize: raw.position_resize,
            position_dilation: raw.position_dilation.unwrap_or(usual.position_dilation),
            attention: raw.attention,
            max_tokens: raw.max_tokens.unwrap_or(usual.max_tokens),
            ..usual
        })
    }
}

/// Names that [`ModelConfig::preset`] knows.
pub const PRESETS: &[&str] = &[
    "resnet18",
    "resnet26",
    "resnet34",
    "resnet50",
    "vit-tiny",
    "vit-small",
    "vit-base",
    "serial-r50-vit-base",
    "interleaved-r18-vit-tiny",
    "parallel-r18-vit-tiny",
    "hybrid-r26-vit-small",
    "hybrid-r50-vit-base",
];

impl ModelConfig {
    /// A known network for 224 x 224 colour images of 1000 classes, by its name in [`PRESETS`].
    ///
    /// ResNets are torchvision's, with batch normalisation, in the first three joins too; `serial-r50-vit-base` puts Hugging Face's ViT behind
    /// one; `hybrid-*` are timm's `vit_small_r26_s32_224` and
    /// `vit_base_r50_s16_224`; transformers have patches of 16 pixels.
    pub fn preset(name: &str) -> Option<Self> {
        let resnet = |depth| ResNetConfig::of_depth(depth).map(ResNetConfig::with_batch_norm);
        let vit = |size, cells| TransformerConfig::of_size(size, [cells; 2]);
        let none = (Some(ResNetConfig::default()), Some(TransformerConfig::default()));
        let bit = |channels: &[usize], blocks: &[usize]| ResNetConfig {
            channels: channels.to_vec(),
            blocks: blocks.to_vec(),
            norm_groups: USUAL_GROUPS,
            block: Block::Bottleneck,
            convolution: Convolution::Standardised,
            ..ResNetConfig::default()
        };
        let (topology, resnet, transformer) = match name {
            "resnet18" => (Topology::Resnet, resnet(18), none.1),
            "resnet26" => (Topology::Resnet, resnet(26), none.1),
            "resnet34" => (Topology::Resnet, resnet(34), none.1),
            "resnet50" => (Topology::Resnet, resnet(50), none.1),
            "vit-tiny" => (Topology::Vit, none.0, vit("tiny", 14)),
            "vit-small" => (Topology::Vit, none.0, vit("small", 14)),
            "vit-base" => (Topology::Vit, none.0, vit("base", 14)),
            "serial-r50-vit-base" => {
                // As Hugging Face has it.
                let vit = vit("base", 7).map(|vit| TransformerConfig {
                    norm_eps: 1e-12,
                    position_resize: Interpolation::Bicubic,
                    ..vit
                });
                (Topology::Serial, resnet(50), vit)
            }
            "interleaved-r18-vit-tiny" => (Topology::Interleaved, resnet(18), vit("tiny", 7)),
            "parallel-r18-vit-tiny" => (Topology::Parallel, resnet(18), vit("tiny", 14)),
            "hybrid-r26-vit-small" => {
                (Topology::Serial, Some(bit(&[256, 512, 1024, 2048], &[2, 2, 2, 2])), vit("small", 7))
            }
            "hybrid-r50-vit-base" => (Topology::Serial, Some(bit(&[256, 512, 1024], &[3, 4, 9])), vit("base", 14)),
            _ => return None,
        };
        let imagenet = topology == Topology::Resnet || name.starts_with("serial");
        Some(Self {
            topology,
            fusion: Fusion::default(),
            alignment: Alignment::default(),
            input_size: 224,
            colour: Some(if imagenet { IMAGENET } else { HALF }),
            slab: None,
            resnet: resnet?,
            transformer: transformer?,
            head_channels: head_channels(),
            fine_lesions: false,
            lesions: Vec::new(),
            organs: Vec::new(),
            classes: (0..1000).map(|index| format!("class {index}")).collect(),
            detection: None,
        })
    }
}
