//! Deep supervision (Lee et al., 2015): lesions read from the ResNet's last map and organs from the tokens by linear layers of their own, so that
//! both branches hear of their errors without the way through the heads. The layers are no part of the network and are thrown away.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::init::Init;

use super::data::{MapTarget, Targets};
use super::loss::{MapWeights, map_loss};
use crate::model::{Features, ModelConfig};

/// Prefix of the weights' names.
pub(super) const PREFIX: &str = "auxiliary.";

/// The linear layers.
pub(super) struct Auxiliary {
    /// (weight, bias) on the last stage; there is none without a ResNet.
    lesion: Option<(Tensor, Tensor)>,
    /// On the tokens.
    organ: (Tensor, Tensor),
    weight: f32,
}

/// A scalar whose gradients are those of the loss, and the loss.
pub(super) struct AuxiliaryLoss {
    pub(super) scalar: Tensor,
    pub(super) lesion: f32,
    pub(super) organ: f32,
}

impl Auxiliary {
    /// Of `weight`, with weights from `vb`.
    pub(super) fn new(config: &ModelConfig, weight: f32, vb: &VarBuilder<'_>) -> Result<Self> {
        let vb = vb.pp(PREFIX.trim_end_matches('.'));
        let linear = |name: &str, inputs: usize, outputs: usize, start: f64| -> Result<(Tensor, Tensor)> {
            let small = Init::Randn { mean: 0.0, stdev: 0.02 };
            let weight = vb.get_with_hints((outputs, inputs), &format!("{name}.weight"), small)?;
            Ok((weight, vb.get_with_hints(outputs, &format!("{name}.bias"), Init::Const(start))?))
        };
        let lesion = match config.resnet.channels.last() {
            Some(channels) if config.has_resnet() => Some(linear("lesion", *channels, config.lesions.len(), -3.0)?),
            _ => None,
        };
        let organ = linear("organ", config.feature_dimension(), config.organs.len(), -1.0)?;
        Ok(Self { lesion, organ, weight })
    }

    /// The loss of a batch, averaged over its images.
    pub(super) fn loss(&self, features: &Features, targets: &[Targets], focal: f32) -> Result<AuxiliaryLoss> {
        // (batch, token, dimension) to (batch, class, token).
        let tokens = features.tokens.transpose(1, 2)?.contiguous()?;
        let organ = read(&self.organ, &tokens)?;
        let weights = MapWeights { weight: self.weight, dice: 1.0, focal: 0.0 };
        let organs = |targets: &'_ Targets| -> Vec<Option<MapTarget>> { coarser(&targets.organs, features.grid) };
        let (organ_loss, mut scalar) = maps_loss(&organ, targets, organs, weights)?;
        let mut lesion_loss = 0.0;
        if let (Some(layer), Some(stage)) = (&self.lesion, features.stages.last()) {
            let (_, _, rows, columns) = stage.dims4()?;
            let logits = read(layer, &stage.flatten_from(2)?)?;
            let weights = MapWeights { weight: self.weight, dice: 0.5, focal };
            let lesions = |targets: &'_ Targets| coarser(&targets.lesions, (rows, columns));
            let (loss, more) = maps_loss(&logits, targets, lesions, weights)?;
            lesion_loss = loss;
            scalar = (scalar + more)?;
        }
        Ok(AuxiliaryLoss { scalar, lesion: lesion_loss, organ: organ_loss })
    }
}

/// Logits (batch, class, place) of values (batch, channel, place).
fn read((weight, bias): &(Tensor, Tensor), values: &Tensor) -> Result<Tensor> {
    let batch = values.dim(0)?;
    let (outputs, inputs) = weight.dims2()?;
    let weight = weight.unsqueeze(0)?.expand((batch, outputs, inputs))?.contiguous()?;
    weight.matmul(values)?.broadcast_add(&bias.reshape((1, outputs, 1))?)
}

/// Loss of logits (batch, class, place), and a scalar with its gradients.
fn maps_loss(
    logits: &Tensor,
    targets: &[Targets],
    maps: impl Fn(&Targets) -> Vec<Option<MapTarget>>,
    weights: MapWeights,
) -> Result<(f32, Tensor)> {
    let (_, classes, places) = logits.dims3()?;
    let values = logits.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    let mut gradient = vec![0.0; values.len()];
    let scale = 1.0 / targets.len().max(1) as f32;
    let mut loss = 0.0;
    for (image, targets) in targets.iter().enumerate() {
        for (class, map) in maps(targets).into_iter().enumerate() {
            let Some(map) = map else { continue };
            let at = (image * classes + class) * places..(image * classes + class + 1) * places;
            let weights = MapWeights { weight: weights.weight * map.weight * scale, ..weights };
            loss += map_loss(&values[at.clone()], &map.target, map.known.as_deref(), weights, &mut gradient[at]);
        }
    }
    let gradient = Tensor::from_vec(gradient, logits.dims(), logits.device())?;
    Ok((loss, (logits * gradient)?.sum_all()?))
}

/// Targets on a coarser grid: means over its cells; a cell is known as far as its pixels are.
fn coarser(maps: &[Option<MapTarget>], (rows, columns): (usize, usize)) -> Vec<Option<MapTarget>> {
    let pool = |values: &[f32]| -> Option<Vec<f32>> {
        let side = values.len().isqrt();
        // Maps are square; a grid that does not divide them takes whole cells and leaves the rest.
        let (tall, wide) = (side / rows.max(1), side / columns.max(1));
        if tall == 0 || wide == 0 {
            return None;
        }
        let cell = |row: usize, column: usize| {
            let inside = (0..tall).flat_map(|r| (0..wide).map(move |c| (row * tall + r) * side + column * wide + c));
            inside.map(|at| values[at]).sum::<f32>() / (tall * wide) as f32
        };
        Some((0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| cell(r, c)).collect())
    };
    let coarse = |map: &MapTarget| {
        let known = match &map.known {
            Some(known) => Some(pool(known)?),
            None => None,
        };
        Some(MapTarget { target: pool(&map.target)?, known, weight: map.weight })
    };
    maps.iter().map(|map| map.as_ref().and_then(coarse)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_averaged_over_cells() {
        let target: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 4 < 2))).collect();
        let map = MapTarget { target, known: Some(vec![0.5; 16]), weight: 0.7 };
        let coarse = coarser(&[Some(map), None], (2, 2));
        let map = coarse[0].as_ref().expect("a map");
        assert_eq!((map.target.as_slice(), map.weight), (&[1.0, 0.0, 1.0, 0.0][..], 0.7));
        assert_eq!(map.known.as_deref(), Some(&[0.5; 4][..]));
        assert!(coarse[1].is_none());
    }
}
