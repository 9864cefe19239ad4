//! Bundles with the weights of some layers shuffled: what a map of such a network shares with the map of the real one does not come from
//! what was learned (Adebayo et al., 2018, "Sanity checks for saliency maps").

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bundle::{Bundle, BundleError, bundle_weights, read_metadata};
use super::config::{ModelConfig, Topology};
use super::network::Network;

/// A layer, for people, and what the names of its weights start with.
pub type Layer = (String, Vec<String>);

/// The layers from the answer down to the image, in the order of cascading randomisation.
pub fn layers_from_top(config: &ModelConfig) -> Vec<Layer> {
    let layer = |name: &str, starts: &[&str]| (name.to_owned(), starts.iter().map(|s| (*s).to_owned()).collect());
    let mut layers: Vec<Layer> = vec![layer("class head", &["heads.class."]), layer("lesion head", &["heads.lesion."])];
    if config.topology == Topology::Interleaved {
        layers.push(layer("transformers", &["interleaved."]));
    } else {
        for index in (0..config.transformer.depth).rev() {
            let mut starts = vec![format!("vit.blocks.{index}.")];
            if index + 1 == config.transformer.depth {
                starts.extend(["vit.norm.".to_owned(), "fusion.".to_owned()]);
            }
            layers.push((format!("transformer layer {}", index + 1), starts));
        }
        layers.push(layer("tokens", &["vit.cls_token", "vit.pos_embed", "vit.patch_embed.", "patch_embed."]));
    }
    for stage in (1..=config.resnet.channels.len()).rev() {
        layers.push((format!("ResNet stage {stage}"), vec![format!("resnet.layer{stage}.")]));
    }
    layers.push(layer("ResNet stem", &["resnet.stem."]));
    layers
}

impl Bundle {
    /// The bundle in `folder` with the values inside each tensor of `layers` shuffled: scales stay, what was learned goes.
    pub fn load_shuffled(
        folder: &Path,
        (device, device_name): (Device, String),
        layers: &[Layer],
        seed: u64,
    ) -> Result<Self, BundleError> {
        let metadata = read_metadata(folder)?;
        let content = |error: candle_core::Error| BundleError::Content {
            file: folder.join("model.safetensors"),
            cause: error.to_string(),
        };
        let mut weights = bundle_weights(folder, &metadata, &Device::Cpu)?;
        let mut names: Vec<String> = weights.keys().cloned().collect();
        names.sort();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for name in names {
            let chosen = layers.iter().flat_map(|(_, starts)| starts).any(|start| name.starts_with(start));
            if let Some(tensor) = weights.get_mut(&name).filter(|_| chosen) {
                *tensor = shuffled(tensor, &mut random).map_err(content)?;
            }
        }
        let weights = weights
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.to_device(&device)?)))
            .collect::<candle_core::Result<_>>()
            .map_err(content)?;
        let network = Network::new(&metadata.config, &VarBuilder::from_tensors(weights, DType::F32, &device));
        Ok(Self { metadata, network: network.map_err(content)?, device, device_name })
    }
}

/// The same values in another order (Fisher and Yates).
fn shuffled(tensor: &Tensor, random: &mut ChaCha8Rng) -> candle_core::Result<Tensor> {
    let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
    for last in (1..values.len()).rev() {
        values.swap(last, random.random_range(0..=last));
    }
    Tensor::from_vec(values, tensor.dims(), tensor.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::topology_tests::{ALL, config, network};

    #[test]
    fn every_weight_but_the_organ_heads_is_in_one_layer() {
        for (topology, fusion) in ALL {
            let config = config(topology, fusion);
            let layers = layers_from_top(&config);
            for (name, _) in network(&config).1 {
                let starts = layers.iter().flat_map(|(_, starts)| starts);
                let count = starts.filter(|start| name.starts_with(start.as_str())).count();
                assert_eq!(count, usize::from(!name.starts_with("heads.organ.")), "{topology:?}: {name}");
            }
        }
    }

    #[test]
    fn shuffling_keeps_the_values() {
        let tensor = Tensor::arange(0.0f32, 50.0, &Device::Cpu).unwrap().reshape((5, 10)).unwrap();
        let other = shuffled(&tensor, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        assert_eq!(other.dims(), tensor.dims());
        let mut values = other.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_ne!(values, tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        values.sort_by(f32::total_cmp);
        assert_eq!(values, tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
}
