//! Everything that a network computes for an input, as a file: to compare it with another implementation, or to work on it elsewhere.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};

use super::network::{Network, Output, Request};

/// The tensors of an output by name: `class_logits`, `lesion_logits`, `organ_logits` (where there are such classes), `stage1` and on,
/// `cls`, `tokens`, `attention1` and on (where it was asked for).
pub fn output_tensors(output: &Output) -> Vec<(String, Tensor)> {
    let features = &output.features;
    let logits = [
        ("class_logits", &output.class_logits),
        ("lesion_logits", &output.lesion_logits),
        ("organ_logits", &output.organ_logits),
        ("cls", &features.cls),
        ("tokens", &features.tokens),
    ];
    let named = logits.into_iter().map(|(name, tensor)| (name.to_owned(), tensor.clone()));
    let numbered = |name: &'static str, tensors: &[Tensor]| {
        let number = |(index, tensor): (usize, &Tensor)| (format!("{name}{}", index + 1), tensor.clone());
        tensors.iter().enumerate().map(number).collect::<Vec<_>>()
    };
    named
        .filter(|(_, tensor)| tensor.elem_count() > 0)
        .chain(numbered("stage", &features.stages))
        .chain(numbered("attention", &features.attention))
        .collect()
}

/// Runs `network` on the tensor `input` (batch, channel, height, width) of the safetensors file `from` and writes [`output_tensors`] into
/// the safetensors file `to`.
///
/// # Errors
/// Where `from` is no such file, its input does not fit the network, or `to` cannot be written.
pub fn features_of_file(network: &Network, device: &Device, from: &Path, to: &Path) -> Result<()> {
    let input = candle_core::safetensors::load(from, device)?;
    let Some(input) = input.get("input") else { candle_core::bail!("{}: no tensor named input", from.display()) };
    let input = input.to_dtype(DType::F32)?;
    let (_, channels, height, width) = input.dims4()?;
    let (config, stride) = (network.config(), network.config().coarsest_stride());
    if channels != 1 && channels != config.input_channels() || height % stride != 0 || width % stride != 0 {
        candle_core::bail!(
            "{}: an input of {channels} x {height} x {width}; the network takes 1 or {} channels and multiples of {stride} pixels",
            from.display(),
            config.input_channels()
        );
    }
    let output = network.forward(&input, &Request { attention: true, ..Request::default() })?;
    let on_cpu = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?));
    let tensors: HashMap<String, Tensor> = output_tensors(&output).into_iter().map(on_cpu).collect::<Result<_>>()?;
    candle_core::safetensors::save(&tensors, to)
}
