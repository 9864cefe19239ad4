//! What a configuration comes to: layers, weights, multiplications.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::Init;
use candle_nn::var_builder::SimpleBackend;

use super::Features;
use super::config::{ModelConfig, SlabInput};
use super::cost;
use super::network::{Network, Request};
use crate::nn::{BoundingBox, Roi};

/// One layer with weights, or one weight that belongs to no layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerCost {
    /// Prefix of its weights' names.
    pub name: String,
    /// Shape of its output for one image; empty where it has none of its own.
    pub output: Vec<usize>,
    /// Weights, running statistics not counted.
    pub parameters: u64,
    /// Multiplications that are followed by an addition, for one image of the configured size.
    pub macs: u64,
}

/// What [`describe`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Layers in the order of a pass; weights of no layer at the end.
    pub layers: Vec<LayerCost>,
    /// All weights, running statistics not counted.
    pub parameters: u64,
    /// Multiplications with addition for one image: convolutions, linear layers and attention; norms, activations and resampling are not counted.
    pub macs: u64,
    /// Rows and columns of the token grid.
    pub grid: (usize, usize),
    /// Shape of each stage's map (channel, height, width).
    pub stages: Vec<Vec<usize>>,
    /// Every weight's name and shape.
    pub weights: BTreeMap<String, Vec<usize>>,
}

/// Gives zeros and remembers what was asked for.
#[derive(Clone, Default)]
struct Recorder {
    shapes: Arc<Mutex<BTreeMap<String, Vec<usize>>>>,
}

impl SimpleBackend for Recorder {
    fn get(&self, shape: Shape, name: &str, _init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut shapes = self.shapes.lock().map_err(|_| candle_core::Error::msg("weights are in use"))?;
        shapes.insert(name.to_owned(), shape.dims().to_vec());
        Tensor::zeros(shape, dtype, device)
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> Result<Tensor> {
        candle_core::bail!("{name}: the shape is needed")
    }

    fn contains_tensor(&self, _name: &str) -> bool {
        true
    }
}

/// The names and shapes of all weights of `config`, and the network with zeros for weights.
fn record(config: &ModelConfig) -> Result<(Network, BTreeMap<String, Vec<usize>>)> {
    let recorder = Recorder::default();
    let vb = VarBuilder::from_backend(Box::new(recorder.clone()), DType::F32, Device::Cpu);
    let network = Network::new(config, &vb)?;
    let shapes = recorder.shapes.lock().map_err(|_| candle_core::Error::msg("weights are in use"))?.clone();
    Ok((network, shapes))
}

/// The names and shapes of all weights of `config`.
pub(super) fn weight_shapes(config: &ModelConfig) -> Result<BTreeMap<String, Vec<usize>>> {
    Ok(record(config)?.1)
}

/// One image through the network and, where there is one, its detector, which looks at all the regions that it may.
fn pass(network: &Network, x: &Tensor) -> Result<Features> {
    let features = network.forward_by_layers(x, &Request::default())?.features;
    if let Some(detector) = network.detector() {
        let (_, _, rows, columns) = x.dims4()?;
        let bounds = BoundingBox::new(0.0, 0.0, columns as f32, rows as f32);
        let rois = vec![Roi { image: 0, bounds }; detector.config().proposals];
        detector.classify(&detector.pyramid(&features)?, &rois, None)?;
    }
    Ok(features)
}

/// Builds the network of `config` with zeros for weights and watches one image pass.
///
/// # Errors
/// Where the parts of `config` do not fit each other; the error names the field.
pub fn describe(config: &ModelConfig) -> Result<Description> {
    let (network, weights) = record(config)?;
    let side = config.input_size;
    let x = Tensor::zeros(
        (1, if config.slab.is_some() { SlabInput::SLICES } else { 1 }, side, side),
        DType::F32,
        &Device::Cpu,
    )?;
    let (features, notes) = cost::watch(|| pass(&network, &x));
    let features = features?;
    let mut layers: Vec<LayerCost> = notes
        .into_iter()
        .map(|note| LayerCost {
            name: note.layer,
            output: note.output.get(1..).unwrap_or_default().to_vec(),
            parameters: 0,
            macs: note.macs,
        })
        .collect();
    for (name, shape) in &weights {
        if name.contains(".running_") {
            continue;
        }
        let count = shape.iter().product::<usize>() as u64;
        // The layer with the longest name that the weight's name starts with.
        let of = |layer: &LayerCost| name.strip_prefix(layer.name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        let longest =
            layers.iter().enumerate().filter(|(_, layer)| of(layer)).max_by_key(|(_, layer)| layer.name.len());
        match longest.map(|(index, _)| index) {
            Some(index) => layers[index].parameters += count,
            None => {
                layers.push(LayerCost { name: name.clone(), output: Vec::new(), parameters: count, macs: 0 });
            }
        }
    }
    Ok(Description {
        parameters: layers.iter().map(|layer| layer.parameters).sum(),
        macs: layers.iter().map(|layer| layer.macs).sum(),
        layers,
        grid: features.grid,
        stages: features.stages.iter().map(|stage| stage.dims().get(1..).unwrap_or_default().to_vec()).collect(),
        weights,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ModelConfig, PRESETS};
    use super::describe;

    /// Parameters are those of torchvision and timm (whose hybrid base comes without its classes), multiplications half the operations that
    /// PyTorch's `FlopCounterMode` counts in a pass.
    #[test]
    fn known_networks_have_their_known_sizes() {
        for (name, parameters, macs) in [
            ("resnet18", 11_689_512, 1_814_073_344),
            ("resnet34", 21_797_672, 3_663_761_408),
            ("resnet50", 25_557_032, 4_089_184_256),
            ("vit-base", 86_567_656 - 768, 17_563_828_224),
            ("hybrid-r50-vit-base", 97_890_112 + 769_000 - 768, 21_535_358_976),
            ("hybrid-r26-vit-small", 36_431_912 - 384, 3_463_851_008),
        ] {
            let description = describe(&ModelConfig::preset(name).unwrap()).unwrap();
            // The position of CLS is part of CLS here.
            assert_eq!((description.parameters, description.macs), (parameters, macs), "{name}");
        }
    }

    #[test]
    fn every_preset_is_sound() {
        for name in PRESETS {
            let config = ModelConfig::preset(name).unwrap();
            config.validate().unwrap();
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<ModelConfig>(&text).unwrap(), config, "{name}");
        }
        assert!(ModelConfig::preset("resnet51").is_none());
    }
}
