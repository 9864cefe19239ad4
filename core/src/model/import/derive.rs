//! The network that weights belong to, read off their names and shapes.

use candle_core::Tensor;

use super::super::config::{Block, Convolution, ModelConfig, Norm, ResNetConfig, Topology, TransformerConfig};
use super::super::presets::{HALF, IMAGENET, head_channels};
use super::{HfConfig, ImportOptions, Renamed, Source};
use crate::nn::Interpolation;

/// Input of torchvision's ResNets, which their weights do not tell.
const USUAL_INPUT: usize = 224;
/// Groups of BiT's normalisation.
const BIT_GROUPS: usize = 32;

/// Groups of heads that may be put on a network of other origin.
fn norm_groups(channels: &[usize]) -> usize {
    if channels.iter().all(|c| c.is_multiple_of(BIT_GROUPS)) { BIT_GROUPS } else { 1 }
}

fn dims<'a>(renamed: &'a Renamed, name: &str) -> Option<&'a [usize]> {
    renamed.tensors.get(name).map(Tensor::dims)
}

/// The configuration of `renamed` weights of `source`.
pub(super) fn config(
    source: Source,
    renamed: &Renamed,
    beside: &HfConfig,
    options: &ImportOptions,
) -> Result<ModelConfig, String> {
    let topology = match source {
        Source::Torchvision => Topology::Resnet,
        Source::HfVit | Source::TimmVit => Topology::Vit,
        Source::TimmHybrid => Topology::Serial,
        Source::Bifocal => return Err("weights by our own names need a configuration to be imported into".into()),
    };
    let resnet = if topology == Topology::Vit { ResNetConfig::default() } else { resnet(source, renamed)? };
    let stem = if topology == Topology::Vit { "vit.patch_embed.proj.weight" } else { "resnet.stem.conv.weight" };
    let Some(&[_, input_channels, kernel, _]) = dims(renamed, stem) else {
        return Err(format!("{stem}: its counterpart is missing"));
    };
    let stride = if topology == Topology::Vit { kernel } else { 4 << (resnet.channels.len() - 1) };
    let (transformer, input_size) = if topology == Topology::Resnet {
        (TransformerConfig::default(), options.input_size.unwrap_or(USUAL_INPUT))
    } else {
        transformer(source, renamed, beside, options, stride)?
    };
    let colour = match input_channels {
        1 => None,
        3 => Some(if source == Source::Torchvision { IMAGENET } else { HALF }),
        other => return Err(format!("the input has {other} channels, not 1 or 3")),
    };
    let class = |index: usize| {
        let name = beside.id2label.get(&index.to_string()).cloned();
        name.unwrap_or_else(|| format!("class {index}"))
    };
    let classes = dims(renamed, "heads.classifier.weight").and_then(|shape| shape.first().copied()).unwrap_or(0);
    Ok(ModelConfig {
        topology,
        fusion: Default::default(),
        alignment: Default::default(),
        input_size,
        colour,
        slab: None,
        resnet,
        transformer,
        head_channels: head_channels(),
        fine_lesions: false,
        lesions: Vec::new(),
        organs: Vec::new(),
        classes: (0..classes).map(class).collect(),
        detection: None,
    })
}

fn resnet(source: Source, renamed: &Renamed) -> Result<ResNetConfig, String> {
    let block =
        if dims(renamed, "resnet.layer1.0.conv3.conv.weight").is_some() { Block::Bottleneck } else { Block::Basic };
    let last = if block == Block::Bottleneck { "conv3" } else { "conv2" };
    let (mut channels, mut blocks) = (Vec::new(), Vec::new());
    for stage in 1.. {
        let weight = |block: usize| dims(renamed, &format!("resnet.layer{stage}.{block}.{last}.conv.weight"));
        let Some(outputs) = weight(0).and_then(|shape| shape.first()) else { break };
        channels.push(*outputs);
        blocks.push((1..).find(|block| weight(*block).is_none()).unwrap_or(1));
    }
    if channels.is_empty() || channels.len() > 6 {
        return Err(format!("{} stages: not a ResNet of these sources", channels.len()));
    }
    let norm = match dims(renamed, "resnet.stem.norm.running_mean") {
        Some(_) => Norm::Batch,
        None => Norm::Group,
    };
    let hybrid = source == Source::TimmHybrid;
    Ok(ResNetConfig {
        norm_groups: if hybrid { BIT_GROUPS } else { norm_groups(&channels) },
        channels,
        blocks,
        block,
        norm,
        convolution: if hybrid { Convolution::Standardised } else { Convolution::Plain },
    })
}

/// The transformer, and the side of the input.
fn transformer(
    source: Source,
    renamed: &Renamed,
    beside: &HfConfig,
    options: &ImportOptions,
    stride: usize,
) -> Result<(TransformerConfig, usize), String> {
    let Some(&[.., dimension]) = dims(renamed, "vit.cls_token") else {
        return Err("the CLS token is missing: networks without one are not known".into());
    };
    let Some(cells) = renamed.positions.as_ref().and_then(|positions| positions.dims().first().copied()) else {
        return Err("the position embedding is missing".into());
    };
    let layer = |index: usize| dims(renamed, &format!("vit.blocks.{index}.mlp.fc1.weight"));
    let depth = (0..).find(|index| layer(*index).is_none()).unwrap_or(0);
    let hidden = layer(0).and_then(|shape| shape.first().copied()).unwrap_or(0);
    if depth == 0 || dimension == 0 || hidden == 0 || hidden % dimension != 0 {
        return Err(format!("{depth} layers with {hidden} hidden values for {dimension} a token are not known"));
    }
    let heads = match options.heads.or(beside.num_attention_heads) {
        Some(heads) => heads,
        None if dimension % 64 == 0 => dimension / 64,
        None => {
            return Err(format!(
                "weights of {dimension} values a token do not tell the number of attention heads: give it (--heads)"
            ));
        }
    };
    let input_size = options.input_size.unwrap_or(cells.isqrt() * stride);
    if input_size == 0 || !input_size.is_multiple_of(stride) {
        return Err(format!("input_size: {input_size} is not a multiple of {stride}"));
    }
    let hugging_face = source == Source::HfVit;
    let usual = TransformerConfig::new(dimension, depth, heads, hidden / dimension, [input_size / stride; 2]);
    let registers = dims(renamed, "vit.registers").and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let transformer = TransformerConfig {
        norm_eps: if hugging_face { beside.layer_norm_eps.unwrap_or(1e-12) } else { usual.norm_eps },
        registers,
        position_resize: if hugging_face { Interpolation::Bicubic } else { Interpolation::BicubicAntialias },
        ..usual
    };
    Ok((transformer, input_size))
}
